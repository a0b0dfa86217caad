//! Configs of a topic as an admin client sends them: lines of `name=value`, the first half of them the broker's.
//!
//! Whatever validation takes one by one resolves, or is refused with a name and a sentence; all can be described. A
//! chain that is read is written as the same chain; lists stay lists.

use std::collections::BTreeMap;

use tidegate_metadata::binding::parse_chain;
use tidegate_metadata::config::{
    ConfigSource, TopicConfig, describe_broker, describe_topic, list_append, list_subtract,
    topic_defs, validate_dynamic_broker_config, validate_static_broker_config,
    validate_topic_config,
};
use tidegate_metadata::{collision_key, validate_topic_name};

use crate::corpus::Seed;
use crate::memory::within;

/// The tables themselves, described with all their words.
const TABLES: usize = 1 << 20;
const MOST_GROWTH: usize = 256;

pub(super) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    within(TABLES + MOST_GROWTH * text.len(), || {
        let pairs: Vec<(&str, &str)> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .collect();
        let (broker, topic) = pairs.split_at(pairs.len() / 2);
        pairs.iter().for_each(|(name, value)| each(name, value));
        let (broker, topic) = (owned(broker), owned(topic));
        match TopicConfig::resolve(&topic, &broker) {
            Ok(config) => {
                config.error_policy("match");
                config.reject_policy("match");
            }
            Err(invalid) => assert!(!invalid.name.is_empty() && !invalid.why.is_empty()),
        }
        let layers = [
            (&broker, ConfigSource::DynamicDefaultBroker),
            (&topic, ConfigSource::StaticBroker),
        ];
        describe_topic(&topic, &layers);
        describe_broker(&layers);
    });
}

fn each(name: &str, value: &str) {
    let alone = BTreeMap::from([(name.to_owned(), value.to_owned())]);
    if validate_topic_config(name, value).is_ok() {
        let resolved = TopicConfig::resolve(&alone, &BTreeMap::new());
        assert!(
            resolved.is_ok(),
            "{name}={value} was taken, and is {resolved:?}"
        );
    }
    let _ = validate_dynamic_broker_config(name, value);
    let _ = validate_static_broker_config(name, value);
    if let Ok(chain) = parse_chain(value) {
        assert_eq!(parse_chain(&chain.to_string()), Ok(chain));
    }
    lists(value, name);
    if validate_topic_name(name).is_ok() {
        assert!(name.len() <= 249 && validate_topic_name(&collision_key(name)).is_ok());
    }
}

/// Brackets around a list are Kafka's other way of writing one, so half of them change what a list is.
fn lists(list: &str, other: &str) {
    if list.contains(['[', ']']) || other.contains(['[', ']']) {
        return;
    }
    let longer = list_append(list, other);
    assert_eq!(list_append(&longer, other), longer, "each stands once");
    let shorter = list_subtract(&longer, other);
    assert_eq!(list_subtract(&shorter, other), shorter);
}

fn owned(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

pub(super) fn seeds() -> Vec<Seed> {
    let table: String = topic_defs()
        .iter()
        .map(|def| format!("{}={}\n", def.name, def.default))
        .collect();
    let chain = "log.retention.hours=2\ntidegate.produce.chain=match@0.1.0,late=match,x=route@sha256:00\n\
        tidegate.plugin.late.field=value\ntidegate.plugin.late.deadline.ms=5\ntidegate.on.error=fail\n\
        cleanup.policy=compact,delete\n";
    vec![Seed::made("table", table), Seed::made("chain", chain)]
}
