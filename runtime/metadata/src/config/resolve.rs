//! A topic's configs, resolved once into types.

use std::collections::BTreeMap;

use super::check::boolean;
use super::{CONSUME_CHAIN, ConfigDef, ON_ERROR, PRODUCE_CHAIN, plugin_key, topic_def};
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
    /// `reject`, `drop` or `pass`.
    pub on_error: String,
    /// Settings by alias, then key. Aliases that stand in no chain are kept: they may come first.
    pub plugin_config: BTreeMap<String, BTreeMap<String, String>>,
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
            on_error: of.text(ON_ERROR)?,
            plugin_config: of.plugin_config(),
        })
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

    fn plugin_config(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let mut settings: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for (name, value) in self.broker.iter().chain(self.topic) {
            if let Some((alias, key)) = plugin_key(name) {
                settings
                    .entry(alias.to_owned())
                    .or_default()
                    .insert(key.to_owned(), value.clone());
            }
        }
        settings
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
        assert_eq!(config.on_error, "reject");
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
            config.plugin_config["match"],
            map(&[("field", "value"), ("op", "equals")])
        );
        assert_eq!(config.plugin_config["other"], map(&[("a.b", "c")]));
        assert!(config.cleanup_compact && config.cleanup_delete);
    }

    #[test]
    fn an_invalid_stored_value_is_an_error_and_not_a_default() {
        let error = TopicConfig::resolve(&map(&[("tidegate.produce.chain", "a,a")]), &map(&[]))
            .unwrap_err();
        assert_eq!(error.name, "tidegate.produce.chain");
        assert!(TopicConfig::resolve(&map(&[("retention.ms", "x")]), &map(&[])).is_err());
    }
}
