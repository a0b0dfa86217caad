//! A topic's configs, resolved once into types.

use std::collections::BTreeMap;

use super::check::boolean;
use super::{
    AliasConfig, COMPACTION_REWRITE_KEYS, COMPACTION_TOMBSTONES, CONSUME_CHAIN, ConfigDef,
    DEAD_LETTER_TOPIC, ON_ERROR, ON_REJECT, PRODUCE_CHAIN, SHADOW_CHAIN, alias_config, topic_def,
};
use crate::binding::{ChainSpec, parse_chain};

/// What a topic's configs come to: its own over the broker's over the defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    pub cleanup_compact: bool,
    pub cleanup_delete: bool,
    /// The codec to store with; `None` keeps the producer's, `Some("uncompressed")` means none.
    pub compression: Option<String>,
    pub compression_gzip_level: i32,
    pub compression_lz4_level: i32,
    pub compression_zstd_level: i32,
    pub delete_retention_ms: i64,
    /// `None` leaves syncing to acks.
    pub flush_messages: Option<u64>,
    pub flush_ms: Option<i64>,
    pub max_compaction_lag_ms: i64,
    pub max_message_bytes: usize,
    /// LogAppendTime rather than CreateTime.
    pub message_timestamp_type_append: bool,
    pub message_timestamp_after_max_ms: i64,
    pub message_timestamp_before_max_ms: i64,
    pub min_cleanable_dirty_ratio: f64,
    pub min_compaction_lag_ms: i64,
    pub min_insync_replicas: usize,
    /// `None` keeps all.
    pub retention_bytes: Option<u64>,
    /// `None` keeps for ever.
    pub retention_ms: Option<i64>,
    pub segment_bytes: u64,
    pub segment_ms: i64,
    pub unclean_leader_election: bool,
    pub produce_chain: ChainSpec,
    pub consume_chain: ChainSpec,
    /// Runs beside the produce chain; its verdicts are compared, never applied.
    pub shadow_chain: ChainSpec,
    /// `reject`, `drop`, `pass`, `dead-letter` or `pause`, for aliases without a policy of their own.
    pub on_error: String,
    /// `refuse`, `dead-letter` or `drop`, for aliases without a policy of their own.
    pub on_reject: String,
    pub dead_letter_topic: Option<String>,
    /// Filters and transforms see tombstones of a compacted topic like all other records.
    pub compaction_filters_tombstones: bool,
    /// A transform may replace keys of a compacted topic.
    pub compaction_rewrites_keys: bool,
    /// What is set for single aliases. Aliases that stand in no chain are kept: they may come first.
    pub aliases: BTreeMap<String, AliasSettings>,
}

/// What is set for one alias of a topic's chains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AliasSettings {
    /// The plugin's own settings by key.
    pub plugin: BTreeMap<String, String>,
    pub on_error: Option<String>,
    pub on_reject: Option<String>,
    /// Limits by their names, where they differ from the broker's.
    pub limits: BTreeMap<&'static str, u64>,
}

/// A stored or file-given value that is not valid. Nothing falls back to a default silently: a chain
/// that vanished by a typing error would let records past a validator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {why}")]
pub struct InvalidConfig {
    pub name: String,
    pub why: String,
}

impl TopicConfig {
    /// `broker` holds broker config names: the configuration file with the dynamic cluster-wide
    /// configs laid over it. Unknown names in either map are ignored.
    pub fn resolve(
        topic: &BTreeMap<String, String>,
        broker: &BTreeMap<String, String>,
    ) -> Result<TopicConfig, InvalidConfig> {
        let of = Layers { topic, broker };
        let cleanup = of.text("cleanup.policy")?;
        let has = |policy: &str| cleanup.split(',').any(|p| p.trim() == policy);
        Ok(TopicConfig {
            cleanup_compact: has("compact"),
            cleanup_delete: has("delete"),
            compression: match of.text("compression.type")?.as_str() {
                "producer" => None,
                "none" => Some("uncompressed".to_owned()),
                codec => Some(codec.to_owned()),
            },
            compression_gzip_level: of.int("compression.gzip.level")?,
            compression_lz4_level: of.int("compression.lz4.level")?,
            compression_zstd_level: of.int("compression.zstd.level")?,
            delete_retention_ms: of.long("delete.retention.ms")?,
            flush_messages: of.bounded("flush.messages")?.map(i64::cast_unsigned),
            flush_ms: of.bounded("flush.ms")?,
            max_compaction_lag_ms: of.long("max.compaction.lag.ms")?,
            max_message_bytes: of.size("max.message.bytes")?,
            message_timestamp_type_append: of.text("message.timestamp.type")? == "LogAppendTime",
            message_timestamp_after_max_ms: of.long("message.timestamp.after.max.ms")?,
            message_timestamp_before_max_ms: of.long("message.timestamp.before.max.ms")?,
            min_cleanable_dirty_ratio: of.double("min.cleanable.dirty.ratio")?,
            min_compaction_lag_ms: of.long("min.compaction.lag.ms")?,
            min_insync_replicas: of.size("min.insync.replicas")?,
            retention_bytes: u64::try_from(of.long("retention.bytes")?).ok(),
            retention_ms: Some(of.long("retention.ms")?).filter(|ms| *ms >= 0),
            segment_bytes: of.size("segment.bytes")? as u64,
            segment_ms: of.long("segment.ms")?,
            unclean_leader_election: of.boolean("unclean.leader.election.enable")?,
            produce_chain: of.chain(PRODUCE_CHAIN)?,
            consume_chain: of.chain(CONSUME_CHAIN)?,
            shadow_chain: of.chain(SHADOW_CHAIN)?,
            on_error: of.text(ON_ERROR)?,
            on_reject: of.text(ON_REJECT)?,
            dead_letter_topic: Some(of.text(DEAD_LETTER_TOPIC)?).filter(|name| !name.is_empty()),
            compaction_filters_tombstones: of.text(COMPACTION_TOMBSTONES)? == "filter",
            compaction_rewrites_keys: of.boolean(COMPACTION_REWRITE_KEYS)?,
            aliases: of.aliases()?,
        })
    }

    /// What becomes of records on which the plugin that stands as `alias` fails.
    pub fn error_policy(&self, alias: &str) -> &str {
        let own = self.aliases.get(alias).and_then(|a| a.on_error.as_deref());
        own.unwrap_or(&self.on_error)
    }

    /// What becomes of records that the plugin that stands as `alias` rejects.
    pub fn reject_policy(&self, alias: &str) -> &str {
        let own = self.aliases.get(alias).and_then(|a| a.on_reject.as_deref());
        own.unwrap_or(&self.on_reject)
    }

    /// Records without a value pass by filters and transforms: dropping one would change what
    /// compaction means.
    pub fn tombstones_bypass(&self) -> bool {
        self.cleanup_compact && !self.compaction_filters_tombstones
    }

    /// No transform may replace a key: on a compacted topic another key is another record.
    pub fn keys_fixed(&self) -> bool {
        self.cleanup_compact && !self.compaction_rewrites_keys
    }
}

/// The value a topic config has from the broker's layer, with its name there. `None`: not set there.
pub(super) fn from_broker(
    def: &ConfigDef,
    broker: &BTreeMap<String, String>,
) -> Option<(&'static str, String)> {
    def.synonyms.iter().find_map(|synonym| {
        let value = broker.get(synonym.name)?;
        let scaled = match (synonym.scale, value.trim().parse::<i64>()) {
            (1, _) | (_, Err(_)) => value.clone(),
            // Every negative number of hours or minutes means what -1 milliseconds means: for ever.
            (_, Ok(n)) if n < 0 => "-1".to_owned(),
            (scale, Ok(n)) => n.saturating_mul(scale).to_string(),
        };
        Some((synonym.name, scaled))
    })
}

struct Layers<'a> {
    topic: &'a BTreeMap<String, String>,
    broker: &'a BTreeMap<String, String>,
}

impl Layers<'_> {
    fn text(&self, name: &str) -> Result<String, InvalidConfig> {
        let refuse = |why: String| InvalidConfig {
            name: name.to_owned(),
            why,
        };
        let def = topic_def(name).ok_or_else(|| refuse("the config is not in the table".into()))?;
        let value = match self.topic.get(name) {
            Some(value) => value.clone(),
            None => from_broker(def, self.broker)
                .map_or_else(|| def.default.to_owned(), |(_, value)| value),
        };
        let value = value.trim().to_owned();
        def.check.validate(def.kind, &value).map_err(refuse)?;
        Ok(value)
    }

    fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        name: &str,
    ) -> Result<T, InvalidConfig> {
        self.text(name)?
            .parse()
            .map_err(|error: T::Err| InvalidConfig {
                name: name.to_owned(),
                why: error.to_string(),
            })
    }

    fn int(&self, name: &str) -> Result<i32, InvalidConfig> {
        self.parse(name)
    }

    fn long(&self, name: &str) -> Result<i64, InvalidConfig> {
        self.parse(name)
    }

    fn double(&self, name: &str) -> Result<f64, InvalidConfig> {
        self.parse(name)
    }

    fn size(&self, name: &str) -> Result<usize, InvalidConfig> {
        self.parse(name)
    }

    /// Kafka writes "never" as the largest long.
    fn bounded(&self, name: &str) -> Result<Option<i64>, InvalidConfig> {
        Ok(Some(self.long(name)?).filter(|value| *value != i64::MAX))
    }

    fn boolean(&self, name: &str) -> Result<bool, InvalidConfig> {
        boolean(&self.text(name)?).map_err(|why| InvalidConfig {
            name: name.to_owned(),
            why,
        })
    }

    fn chain(&self, name: &str) -> Result<ChainSpec, InvalidConfig> {
        parse_chain(&self.text(name)?).map_err(|why| InvalidConfig {
            name: name.to_owned(),
            why,
        })
    }

    fn aliases(&self) -> Result<BTreeMap<String, AliasSettings>, InvalidConfig> {
        let mut all: BTreeMap<String, AliasSettings> = BTreeMap::new();
        for (name, value) in self.broker.iter().chain(self.topic) {
            let Some(found) = alias_config(name) else {
                continue;
            };
            let refuse = |why: String| InvalidConfig {
                name: name.clone(),
                why,
            };
            found
                .check()
                .validate(found.kind(), value)
                .map_err(refuse)?;
            let trimmed = value.trim();
            let settings = all.entry(found.alias().to_owned()).or_default();
            match found {
                AliasConfig::Setting { key, .. } => {
                    settings.plugin.insert(key.to_owned(), value.clone());
                }
                AliasConfig::OnError { .. } => settings.on_error = Some(trimmed.to_owned()),
                AliasConfig::OnReject { .. } => settings.on_reject = Some(trimmed.to_owned()),
                AliasConfig::Limit { limit, .. } => {
                    let number = trimmed
                        .parse()
                        .map_err(|_| refuse("it is no number".into()))?;
                    settings.limits.insert(limit.name, number);
                }
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn a_topic_without_a_cleanup_policy_is_neither_deleted_from_nor_compacted() {
        let none = map(&[("cleanup.policy", "")]);
        assert_eq!(
            super::super::validate_topic_config("cleanup.policy", ""),
            Ok(())
        );
        let config = TopicConfig::resolve(&none, &map(&[])).unwrap();
        assert!(!config.cleanup_delete && !config.cleanup_compact);
    }

    #[test]
    fn defaults_are_kafkas() {
        let config = TopicConfig::resolve(&map(&[]), &map(&[])).unwrap();
        assert!(config.cleanup_delete && !config.cleanup_compact);
        assert_eq!(config.retention_ms, Some(604_800_000));
        assert_eq!(config.retention_bytes, None);
        assert_eq!(config.max_message_bytes, 1_048_588);
        assert_eq!(config.compression, None);
        assert_eq!((config.flush_messages, config.flush_ms), (None, None));
        assert_eq!(config.min_insync_replicas, 1);
        assert!(config.produce_chain.is_empty() && config.consume_chain.is_empty());
        assert_eq!(
            (config.on_error.as_str(), config.on_reject.as_str()),
            ("reject", "refuse")
        );
        assert!(config.shadow_chain.is_empty() && config.dead_letter_topic.is_none());
    }

    #[test]
    fn the_topic_is_stronger_than_the_broker_and_ms_than_hours() {
        let hours = map(&[("log.retention.hours", "2")]);
        let both = map(&[("log.retention.hours", "2"), ("log.retention.minutes", "3")]);
        let forever = map(&[("log.retention.hours", "-1")]);
        let of = |topic: &[(&str, &str)], broker: &BTreeMap<String, String>| {
            TopicConfig::resolve(&map(topic), broker)
                .unwrap()
                .retention_ms
        };
        assert_eq!(of(&[], &hours), Some(7_200_000));
        assert_eq!(of(&[], &both), Some(180_000));
        assert_eq!(of(&[], &forever), None);
        assert_eq!(of(&[("retention.ms", "5")], &both), Some(5));
        assert_eq!(of(&[("retention.ms", "-1")], &both), None);
    }

    #[test]
    fn plugins_settings_merge_by_key() {
        let broker = map(&[
            ("tidegate.produce.chain", "match"),
            ("tidegate.plugin.match.field", "key"),
            ("tidegate.plugin.match.op", "equals"),
        ]);
        let topic = map(&[
            ("tidegate.plugin.match.field", "value"),
            ("tidegate.plugin.other.a.b", "c"),
            ("cleanup.policy", "compact, delete"),
        ]);
        let config = TopicConfig::resolve(&topic, &broker).unwrap();
        assert_eq!(config.produce_chain.to_string(), "match");
        assert_eq!(
            config.aliases["match"].plugin,
            map(&[("field", "value"), ("op", "equals")])
        );
        assert_eq!(config.aliases["other"].plugin, map(&[("a.b", "c")]));
        assert!(config.cleanup_compact && config.cleanup_delete);
    }

    #[test]
    fn an_alias_has_its_own_policy_and_limits_over_the_topics() {
        let broker = map(&[
            ("tidegate.on.error", "pass"),
            ("tidegate.on.error.match", "drop"),
            ("tidegate.limit.match.deadline.ms", "10"),
            ("tidegate.limit.match.instances", "2"),
        ]);
        let topic = map(&[
            ("tidegate.on.error.match", "pause"),
            ("tidegate.on.reject", "drop"),
            ("tidegate.on.reject.other", "dead-letter"),
            ("tidegate.limit.match.deadline.ms", "20"),
            ("tidegate.dead.letter.topic", "dlq"),
        ]);
        let config = TopicConfig::resolve(&topic, &broker).unwrap();
        assert_eq!(config.error_policy("match"), "pause");
        assert_eq!(config.error_policy("other"), "pass");
        assert_eq!(config.reject_policy("match"), "drop");
        assert_eq!(config.reject_policy("other"), "dead-letter");
        assert_eq!(
            config.aliases["match"].limits,
            BTreeMap::from([("deadline.ms", 20), ("instances", 2)])
        );
        assert_eq!(config.dead_letter_topic.as_deref(), Some("dlq"));
        let broken = map(&[("tidegate.limit.match.instances", "many")]);
        assert!(TopicConfig::resolve(&broken, &map(&[])).is_err());
    }

    #[test]
    fn the_rules_of_compaction_hold_on_compacted_topics_only() {
        let of = |pairs: &[(&str, &str)]| TopicConfig::resolve(&map(pairs), &map(&[])).unwrap();
        assert!(!of(&[]).tombstones_bypass() && !of(&[]).keys_fixed());
        let compacted = of(&[("cleanup.policy", "compact")]);
        assert!(compacted.tombstones_bypass() && compacted.keys_fixed());
        let freed = of(&[
            ("cleanup.policy", "compact"),
            ("tidegate.compaction.tombstones", "filter"),
            ("tidegate.compaction.rewrite.keys", "true"),
        ]);
        assert!(!freed.tombstones_bypass() && !freed.keys_fixed());
    }

    #[test]
    fn an_invalid_stored_value_is_an_error_and_not_a_default() {
        let error = TopicConfig::resolve(&map(&[("tidegate.produce.chain", "a,a")]), &map(&[]))
            .unwrap_err();
        assert_eq!(error.name, "tidegate.produce.chain");
        assert!(TopicConfig::resolve(&map(&[("retention.ms", "x")]), &map(&[])).is_err());
    }
}
