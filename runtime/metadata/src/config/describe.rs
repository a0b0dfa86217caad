//! Configs as DescribeConfigs shows them, and the list edits of IncrementalAlterConfigs.

use std::collections::BTreeMap;

use super::resolve::from_broker;
use super::{ConfigType, alias_config, broker_defs, lookup, topic_def, topic_defs};

/// Where a value comes from; `code` is DescribeConfigs' number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    Topic,
    /// Set while it runs, for one broker.
    DynamicBroker,
    /// Set while they run, for all brokers.
    DynamicDefaultBroker,
    StaticBroker,
    Default,
    /// The level of one of a broker's loggers (KIP-412).
    BrokerLogger,
}

impl ConfigSource {
    pub fn code(self) -> i8 {
        match self {
            ConfigSource::Topic => 1,
            ConfigSource::DynamicBroker => 2,
            ConfigSource::DynamicDefaultBroker => 3,
            ConfigSource::StaticBroker => 4,
            ConfigSource::Default => 5,
            ConfigSource::BrokerLogger => 6,
        }
    }
}

/// Broker configs of one origin. Where several are taken, the strongest comes first.
pub type BrokerLayer<'a> = (&'a BTreeMap<String, String>, ConfigSource);

#[derive(Clone, Debug, PartialEq)]
pub struct DescribedConfig {
    pub name: String,
    /// `None` for a broker config that nothing gives a value.
    pub value: Option<String>,
    pub source: ConfigSource,
    pub kind: ConfigType,
    pub read_only: bool,
    pub doc: String,
    /// Every layer that has a value, strongest first.
    pub synonyms: Vec<DescribedSynonym>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DescribedSynonym {
    pub name: String,
    pub value: String,
    pub source: ConfigSource,
}

/// All configs of a topic, by name: the table, and those about an alias that are set anywhere.
pub fn describe_topic(
    topic: &BTreeMap<String, String>,
    broker: &[BrokerLayer<'_>],
) -> Vec<DescribedConfig> {
    let mut names: Vec<&str> = topic_defs().iter().map(|def| def.name).collect();
    let layers = broker.iter().map(|(layer, _)| *layer);
    for layer in std::iter::once(topic).chain(layers) {
        names.extend(
            layer
                .keys()
                .map(String::as_str)
                .filter(|name| alias_config(name).is_some()),
        );
    }
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .filter_map(|name| describe_config(name, topic, broker))
        .collect()
}

/// All broker configs, and the chains and plugin settings that stand broker-wide.
pub fn describe_broker(broker: &[BrokerLayer<'_>]) -> Vec<DescribedConfig> {
    let none = BTreeMap::new();
    let mut all: Vec<DescribedConfig> = broker_defs()
        .iter()
        .map(|def| {
            let synonyms = layers(def.name, def.default, broker);
            described(
                def.name,
                def.kind,
                def.doc.to_owned(),
                !def.dynamic,
                synonyms,
            )
        })
        .collect();
    all.extend(
        describe_topic(&none, broker)
            .into_iter()
            .filter(|config| config.name.starts_with("tidegate.")),
    );
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// IncrementalAlterConfigs' APPEND: the elements that are not there yet go to the end.
pub fn list_append(current: &str, added: &str) -> String {
    let mut list: Vec<&str> = elements(current).collect();
    for element in elements(added) {
        if !list.contains(&element) {
            list.push(element);
        }
    }
    list.join(",")
}

/// IncrementalAlterConfigs' SUBTRACT.
pub fn list_subtract(current: &str, removed: &str) -> String {
    let gone: Vec<&str> = elements(removed).collect();
    elements(current)
        .filter(|element| !gone.contains(element))
        .collect::<Vec<_>>()
        .join(",")
}

fn elements(list: &str) -> impl Iterator<Item = &str> {
    let list = list.trim();
    let bare = list
        .strip_prefix('[')
        .and_then(|l| l.strip_suffix(']'))
        .unwrap_or(list);
    bare.split(',')
        .map(str::trim)
        .filter(|element| !element.is_empty())
}

/// One config of a topic, set or not. `None`: no topic config has the name.
pub fn describe_config(
    name: &str,
    topic: &BTreeMap<String, String>,
    broker: &[BrokerLayer<'_>],
) -> Option<DescribedConfig> {
    let view = lookup(name)?;
    let mut synonyms = Vec::new();
    if let Some(value) = topic.get(name) {
        synonyms.push(synonym(name, value, ConfigSource::Topic));
    }
    match topic_def(name) {
        Some(def) => {
            for (layer, source) in broker {
                if let Some((named, value)) = from_broker(def, layer) {
                    synonyms.push(synonym(named, &value, *source));
                }
            }
            let named = def.synonyms.last().map_or(name, |synonym| synonym.name);
            synonyms.push(synonym(named, def.default, ConfigSource::Default));
        }
        None => {
            synonyms.extend(layers(name, None, broker));
            // An alias without a policy of its own has the topic's.
            let general = alias_config(name).and_then(|found| found.fallback());
            if let Some(general) = general.and_then(|g| describe_config(g, topic, broker)) {
                synonyms.extend(general.synonyms);
            }
        }
    }
    Some(described(
        name,
        view.kind,
        view.doc.into_owned(),
        false,
        synonyms,
    ))
}

fn layers(name: &str, default: Option<&str>, broker: &[BrokerLayer<'_>]) -> Vec<DescribedSynonym> {
    let set = broker
        .iter()
        .filter_map(|(layer, source)| Some(synonym(name, layer.get(name)?, *source)));
    let default = default.map(|v| synonym(name, v, ConfigSource::Default));
    set.chain(default).collect()
}

fn synonym(name: &str, value: &str, source: ConfigSource) -> DescribedSynonym {
    DescribedSynonym {
        name: name.to_owned(),
        value: value.to_owned(),
        source,
    }
}

fn described(
    name: &str,
    kind: ConfigType,
    doc: String,
    read_only: bool,
    synonyms: Vec<DescribedSynonym>,
) -> DescribedConfig {
    let strongest = synonyms.first();
    DescribedConfig {
        name: name.to_owned(),
        value: strongest.map(|s| s.value.clone()),
        source: strongest.map_or(ConfigSource::Default, |s| s.source),
        kind,
        read_only,
        doc,
        synonyms,
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
    fn the_strongest_layer_is_the_value_and_all_are_listed() {
        let all = describe_topic(
            &map(&[("retention.ms", "1"), ("tidegate.plugin.m.k", "v")]),
            &[
                (
                    &map(&[("log.retention.ms", "7")]),
                    ConfigSource::DynamicBroker,
                ),
                (
                    &map(&[("log.retention.ms", "2")]),
                    ConfigSource::DynamicDefaultBroker,
                ),
                (
                    &map(&[("log.retention.hours", "3"), ("message.max.bytes", "9")]),
                    ConfigSource::StaticBroker,
                ),
            ],
        );
        let find = |name: &str| all.iter().find(|c| c.name == name).unwrap();
        let retention = find("retention.ms");
        assert_eq!(retention.value.as_deref(), Some("1"));
        assert_eq!(retention.source, ConfigSource::Topic);
        let values: Vec<_> = retention
            .synonyms
            .iter()
            .map(|s| s.value.as_str())
            .collect();
        assert_eq!(values, ["1", "7", "2", "10800000", "604800000"]);
        let codes: Vec<_> = retention.synonyms.iter().map(|s| s.source.code()).collect();
        assert_eq!(codes, [1, 2, 3, 4, 5]);
        assert_eq!(find("max.message.bytes").source, ConfigSource::StaticBroker);
        assert_eq!(find("tidegate.plugin.m.k").value.as_deref(), Some("v"));
        assert_eq!(find("cleanup.policy").source, ConfigSource::Default);
    }

    #[test]
    fn an_alias_without_a_policy_has_the_topics() {
        let all = describe_topic(
            &map(&[
                ("tidegate.on.error.m", "drop"),
                ("tidegate.limit.m.instances", "3"),
            ]),
            &[(
                &map(&[("tidegate.on.error", "pass")]),
                ConfigSource::StaticBroker,
            )],
        );
        let find = |name: &str| all.iter().find(|c| c.name == name).unwrap();
        let own = find("tidegate.on.error.m");
        let told: Vec<_> = own
            .synonyms
            .iter()
            .map(|s| (s.name.as_str(), s.value.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("tidegate.on.error.m", "drop"),
                ("tidegate.on.error", "pass"),
                ("tidegate.on.error", "reject")
            ]
        );
        assert_eq!(find("tidegate.limit.m.instances").kind, ConfigType::Int);
    }

    #[test]
    fn broker_configs_show_the_file_and_what_is_read_only() {
        let all =
            describe_broker(&[(&map(&[("num.partitions", "4")]), ConfigSource::StaticBroker)]);
        let find = |name: &str| all.iter().find(|c| c.name == name).unwrap();
        assert_eq!(find("num.partitions").value.as_deref(), Some("4"));
        assert!(find("num.partitions").read_only);
        assert!(!find("log.retention.ms").read_only);
        assert_eq!(find("log.retention.ms").value, None);
        assert_eq!(find("tidegate.produce.chain").value.as_deref(), Some(""));
    }

    #[test]
    fn lists_grow_and_shrink() {
        assert_eq!(list_append("", "a"), "a");
        assert_eq!(list_append("[a, b]", "b,c"), "a,b,c");
        assert_eq!(list_subtract("[a,b,c]", "b, x"), "a,c");
        assert_eq!(list_subtract("a", "a"), "");
    }
}
