//! The names, types, defaults and meanings of configs, and what a topic's configs come to.
//!
//! A topic follows, in this order: its own configs, the dynamic configs of the broker, those of all
//! brokers, the broker's configuration file (all three under the broker's name for the setting, or the same name for
//! `tidegate.*`), and the default in the table.

mod alias;
mod broker_table;
mod check;
mod describe;
mod resolve;
mod topic_table;

use std::borrow::Cow;

pub use alias::{
    AliasConfig, ERROR_POLICIES, LIMIT_PREFIX, LimitDef, REJECT_POLICIES, alias_config, limit_defs,
    plugin_key,
};
pub use broker_table::{BrokerConfigDef, broker_defs};
pub use check::{Check, overrides};
pub use describe::{
    BrokerLayer, ConfigSource, DescribedConfig, DescribedSynonym, describe_broker, describe_config,
    describe_topic, list_append, list_subtract,
};
pub use resolve::{AliasSettings, InvalidConfig, TopicConfig};
pub use topic_table::topic_defs;

pub const PRODUCE_CHAIN: &str = "tidegate.produce.chain";
pub const CONSUME_CHAIN: &str = "tidegate.consume.chain";
pub const SHADOW_CHAIN: &str = "tidegate.shadow.chain";
/// The three configs that put plugins into place.
pub const CHAINS: [&str; 3] = [PRODUCE_CHAIN, CONSUME_CHAIN, SHADOW_CHAIN];
/// The policy of every alias that has none of its own under `tidegate.on.error.<alias>`.
pub const ON_ERROR: &str = "tidegate.on.error";
/// As [`ON_ERROR`], of rejected records.
pub const ON_REJECT: &str = "tidegate.on.reject";
pub const DEAD_LETTER_TOPIC: &str = "tidegate.dead.letter.topic";
pub const COMPACTION_TOMBSTONES: &str = "tidegate.compaction.tombstones";
pub const COMPACTION_REWRITE_KEYS: &str = "tidegate.compaction.rewrite.keys";
/// What a plugin's own settings start with: `tidegate.plugin.<alias>.<key>`.
pub const PLUGIN_PREFIX: &str = "tidegate.plugin.";

/// Longest value of one config, in bytes.
pub const MAX_VALUE_LEN: usize = 32 * 1024;
/// Longest name of one config, in bytes.
pub const MAX_NAME_LEN: usize = 256;
/// Most configs set on one topic or on the cluster.
pub const MAX_CONFIGS: usize = 512;

/// Config names of the plugin contract that this version does not serve yet.
const NOT_YET: [&str; 2] = ["tidegate.view.of", "tidegate.view.route"];

/// Topic configs that Kafka 4.0 gave up. Logs of older programs hold them, so they are still applied, to no effect; who
/// sets one today is refused ([`is_retired`]).
const RETIRED: [&str; 2] = ["message.downconversion.enable", "message.format.version"];

/// Kafka's config types, as DescribeConfigs reports them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigType {
    Boolean,
    String,
    Int,
    Long,
    Double,
    List,
    Password,
}

impl ConfigType {
    /// DescribeConfigs' number for the type (KIP-569).
    pub fn code(self) -> i8 {
        match self {
            ConfigType::Boolean => 1,
            ConfigType::String => 2,
            ConfigType::Int => 3,
            ConfigType::Long => 5,
            ConfigType::Double => 6,
            ConfigType::List => 7,
            ConfigType::Password => 9,
        }
    }
}

/// One topic config that has a name of its own.
#[derive(Debug)]
pub struct ConfigDef {
    pub name: &'static str,
    pub kind: ConfigType,
    pub default: &'static str,
    pub doc: &'static str,
    pub check: Check,
    /// The broker configs that give this one's default, strongest first.
    pub synonyms: &'static [Synonym],
}

/// A broker config standing for a topic config, in units of `scale` (hours to milliseconds).
#[derive(Debug)]
pub struct Synonym {
    pub name: &'static str,
    pub scale: i64,
}

/// A config as a name finds it: from the table, or about an alias.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigView {
    pub name: String,
    pub kind: ConfigType,
    /// `None` where the plugin, the topic's policy or the broker's limits give the default.
    pub default: Option<&'static str>,
    pub doc: Cow<'static, str>,
}

/// Finds a topic config by name, also those about one alias.
pub fn lookup(name: &str) -> Option<ConfigView> {
    if let Some(def) = topic_def(name) {
        return Some(ConfigView {
            name: name.to_owned(),
            kind: def.kind,
            default: Some(def.default),
            doc: Cow::Borrowed(def.doc),
        });
    }
    let found = alias_config(name)?;
    Some(ConfigView {
        name: name.to_owned(),
        kind: found.kind(),
        default: None,
        doc: Cow::Owned(found.doc()),
    })
}

/// Finds a topic config of the table by name.
pub fn topic_def(name: &str) -> Option<&'static ConfigDef> {
    topic_defs().iter().find(|def| def.name == name)
}

/// A topic config that Kafka had up to 3.9: kept where it is stored, and not taken from clients.
pub fn is_retired(name: &str) -> bool {
    RETIRED.contains(&name)
}

/// Checks one topic config; the error is a sentence. Whether a chain's plugins exist is checked when
/// a command is applied.
pub fn validate_topic_config(name: &str, value: &str) -> Result<(), String> {
    check_size(name, value)?;
    if let Some(def) = topic_def(name) {
        return def.check.validate(def.kind, value);
    }
    if is_retired(name) {
        return Ok(());
    }
    match alias_config(name) {
        Some(found) => found.check().validate(found.kind(), value),
        None => Err(unknown_topic_config(name)),
    }
}

/// Checks a cluster-wide dynamic broker config; the error is a sentence.
pub fn validate_dynamic_broker_config(name: &str, value: &str) -> Result<(), String> {
    check_size(name, value)?;
    if name.starts_with("tidegate.") && lookup(name).is_some() {
        return validate_topic_config(name, value);
    }
    match broker_defs().iter().find(|def| def.name == name) {
        Some(def) if def.dynamic => def.check.validate(def.kind, value),
        Some(_) => Err(format!(
            "`{name}` is read at start and cannot be changed while running"
        )),
        None => Err(format!("`{name}` is not a broker config")),
    }
}

/// Checks a dynamic config of one broker; the error is a sentence.
pub fn validate_own_broker_config(name: &str, value: &str) -> Result<(), String> {
    if name.starts_with("tidegate.") {
        return Err(format!(
            "`{name}` is about topics, which no two brokers may treat in two ways: set it for all brokers, or for a topic"
        ));
    }
    validate_dynamic_broker_config(name, value)
}

/// Checks a broker config from a configuration file, dynamic or not. `Ok(false)`: the name is not
/// known here, which a file is allowed to hold unless it is one of Tidegate's: a policy that does
/// not hold for a typing error would let records past a validator.
pub fn validate_static_broker_config(name: &str, value: &str) -> Result<bool, String> {
    if name.starts_with("tidegate.") && lookup(name).is_some() {
        return validate_topic_config(name, value).map(|()| true);
    }
    match broker_defs().iter().find(|def| def.name == name) {
        Some(def) => def.check.validate(def.kind, value).map(|()| true),
        None if name.starts_with("tidegate.") => Err(unknown_topic_config(name)),
        None => Ok(false),
    }
}

fn check_size(name: &str, value: &str) -> Result<(), String> {
    if name.len() > MAX_NAME_LEN {
        return Err(format!("a config name has at most {MAX_NAME_LEN} bytes"));
    }
    if value.len() > MAX_VALUE_LEN {
        return Err(format!("a config value has at most {MAX_VALUE_LEN} bytes"));
    }
    Ok(())
}

fn unknown_topic_config(name: &str) -> String {
    if NOT_YET.contains(&name) {
        return format!("`{name}` is not served by this version yet");
    }
    if let Some(sentence) = alias::unknown(name) {
        return sentence;
    }
    match nearest(name) {
        Some(near) => format!("unknown topic config `{name}`; did you mean `{near}`?"),
        None => format!("unknown topic config `{name}`"),
    }
}

/// The known name that is at most two edits away.
fn nearest(name: &str) -> Option<&'static str> {
    topic_defs()
        .iter()
        .map(|def| (edits(name, def.name), def.name))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, near)| near)
}

/// Levenshtein distance; both names are short, so the quadratic walk is fine.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut next = vec![i + 1];
        for ((y, above), diagonal) in b.bytes().zip(row.iter().skip(1)).zip(row.iter()) {
            let left = next.last().copied().unwrap_or(0);
            next.push(
                (above + 1)
                    .min(left + 1)
                    .min(diagonal + usize::from(x != y)),
            );
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_in_the_tables_is_valid() {
        for def in topic_defs() {
            assert_eq!(
                validate_topic_config(def.name, def.default),
                Ok(()),
                "{}",
                def.name
            );
            // Our own names stand broker-wide under themselves, without a row of their own.
            for synonym in def
                .synonyms
                .iter()
                .filter(|s| !s.name.starts_with("tidegate."))
            {
                assert!(
                    broker_defs().iter().any(|b| b.name == synonym.name),
                    "{} names {}, which is not a broker config",
                    def.name,
                    synonym.name
                );
            }
        }
        for def in broker_defs() {
            if let Some(default) = def.default {
                assert_eq!(
                    def.check.validate(def.kind, default),
                    Ok(()),
                    "{}",
                    def.name
                );
            }
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = topic_defs().iter().map(|def| def.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), topic_defs().len());
        let mut names: Vec<_> = broker_defs().iter().map(|def| def.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), broker_defs().len());
    }

    #[test]
    fn unknown_names_get_a_helpful_sentence() {
        let refuse = |name: &str| validate_topic_config(name, "1").unwrap_err();
        assert!(refuse("retenton.ms").contains("did you mean `retention.ms`"));
        assert!(refuse("tidegate.view.of").contains("not served by this version yet"));
        assert!(refuse("tidegate.plugin.match").contains("of the form"));
        assert!(!refuse("something.else.entirely").contains("did you mean"));
        // What an older program stored does not keep a log from loading.
        assert_eq!(
            validate_topic_config("message.format.version", "2.8"),
            Ok(())
        );
        assert!(
            is_retired("message.format.version") && topic_def("message.format.version").is_none()
        );
        assert_eq!(
            validate_topic_config("tidegate.plugin.match.field", "json:/delay"),
            Ok(())
        );
        assert_eq!(validate_topic_config("tidegate.plugin.m.a.b", "x"), Ok(()));
    }

    #[test]
    fn policies_are_one_of_their_names() {
        for policy in ["reject", "drop", "pass", "dead-letter", "pause"] {
            assert_eq!(validate_topic_config(ON_ERROR, policy), Ok(()));
        }
        for policy in ["refuse", "dead-letter", "drop"] {
            assert_eq!(validate_topic_config(ON_REJECT, policy), Ok(()));
        }
        for (name, value) in [
            (ON_ERROR, "explode"),
            (ON_REJECT, "pause"),
            (COMPACTION_TOMBSTONES, "drop"),
        ] {
            let why = validate_topic_config(name, value).unwrap_err();
            assert!(why.contains("one of"), "{why}");
        }
        let why = validate_topic_config(DEAD_LETTER_TOPIC, "a b").unwrap_err();
        assert!(why.contains("topic"), "{why}");
        assert_eq!(validate_topic_config(DEAD_LETTER_TOPIC, ""), Ok(()));
    }

    #[test]
    fn read_only_broker_configs_are_told_apart_from_unknown_ones() {
        assert!(
            validate_dynamic_broker_config("log.dirs", "/x")
                .unwrap_err()
                .contains("at start")
        );
        assert!(
            validate_dynamic_broker_config("nope", "1")
                .unwrap_err()
                .contains("not a broker")
        );
        assert_eq!(
            validate_dynamic_broker_config("log.retention.ms", "1000"),
            Ok(())
        );
        assert_eq!(validate_dynamic_broker_config(PRODUCE_CHAIN, "a,b"), Ok(()));
        assert!(
            validate_own_broker_config(PRODUCE_CHAIN, "a,b")
                .unwrap_err()
                .contains("all brokers")
        );
        assert_eq!(validate_own_broker_config("max.connections", "7"), Ok(()));
        let overrides = "max.connections.per.ip.overrides";
        assert_eq!(
            validate_own_broker_config(overrides, "10.0.0.1:5, ::1:0,"),
            Ok(())
        );
        for wrong in ["10.0.0.1", "10.0.0.1:-1", "here:1"] {
            assert!(
                validate_own_broker_config(overrides, wrong)
                    .unwrap_err()
                    .contains("address:number"),
                "{wrong}"
            );
        }
        assert_eq!(
            validate_static_broker_config("zookeeper.connect", "x:2181"),
            Ok(false)
        );
        assert_eq!(
            validate_static_broker_config("num.partitions", "3"),
            Ok(true)
        );
        assert!(validate_static_broker_config("num.partitions", "x").is_err());
        assert!(
            validate_static_broker_config("tidegate.on.eror", "drop")
                .unwrap_err()
                .contains("tidegate.on.error")
        );
        assert_eq!(
            validate_static_broker_config("tidegate.limit.m.deadline.ms", "5"),
            Ok(true)
        );
    }
}
