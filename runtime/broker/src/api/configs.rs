//! Configs as clients are told of them: the cluster's table, with what the plugins say of their own settings.

use std::collections::BTreeMap;

use kafka_protocol::messages::describe_configs_response::DescribeConfigsSynonym;
use kafka_protocol::protocol::StrBytes;
use tidegate_metadata::Image;
use tidegate_metadata::binding::{ChainEntry, Pin, PluginRef, parse_chain};
use tidegate_metadata::config::{
    BrokerLayer, CHAINS, ConfigSource, ConfigType, DescribedConfig, DescribedSynonym,
    PLUGIN_PREFIX, describe_broker, describe_topic, plugin_key,
};
use tidegate_plugin::{ConfigKey, ConfigKind, Digest, Engine};

use super::alias_configs;
use super::topic_admin::AdminError;
use crate::broker::Broker;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;

/// What the configs of a request belong to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Resource {
    Topic(String),
    /// This broker: everything it runs with.
    Broker,
    /// All brokers: what was set while they run.
    Cluster,
    /// The loggers of this broker.
    Loggers,
}

impl Resource {
    /// `kind` and `name` as Kafka numbers and names them (KIP-133, KIP-226).
    pub(crate) fn parse(kind: i8, name: &str, node_id: i32) -> Result<Resource, AdminError> {
        match kind {
            TOPIC => Ok(Resource::Topic(name.to_owned())),
            BROKER if name.is_empty() => Ok(Resource::Cluster),
            BROKER if name == node_id.to_string() => Ok(Resource::Broker),
            BROKER_LOGGER if name == node_id.to_string() => Ok(Resource::Loggers),
            BROKER | BROKER_LOGGER => Err(AdminError::invalid_request(format!(
                "this is broker {node_id}; a broker's configs are asked of itself, or of all with an empty name"
            ))),
            other => Err(AdminError::invalid_request(format!(
                "resources of type {other} have no configs here; topics are {TOPIC}, brokers {BROKER} and loggers {BROKER_LOGGER}"
            ))),
        }
    }
}

/// One config as it is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ConfigEntry {
    pub(crate) name: String,
    /// `None`: nothing gives it a value, or it is not shown.
    pub(crate) value: Option<String>,
    pub(crate) source: ConfigSource,
    pub(crate) kind: ConfigType,
    pub(crate) read_only: bool,
    pub(crate) sensitive: bool,
    pub(crate) doc: String,
    pub(crate) synonyms: Vec<DescribedSynonym>,
}

impl ConfigEntry {
    pub(crate) fn synonyms(&self) -> Vec<DescribeConfigsSynonym> {
        let told = |synonym: &DescribedSynonym| {
            let value = (!self.sensitive).then(|| synonym.value.clone());
            DescribeConfigsSynonym::default()
                .with_name(StrBytes::from_string(synonym.name.clone()))
                .with_value(value.map(StrBytes::from_string))
                .with_source(synonym.source.code())
        };
        self.synonyms.iter().map(told).collect()
    }
}

/// What the plugins that are loaded here say of their settings, by alias.
#[derive(Debug, Default)]
pub(crate) struct KnownKeys {
    by_alias: BTreeMap<String, Vec<ConfigKey>>,
    /// Aliases that stand in a chain: their settings are listed even where they are not set.
    bound: Vec<String>,
}

/// The configs of a topic that has these of its own.
pub(crate) fn topic_entries(
    broker: &Broker,
    image: &Image,
    own: &BTreeMap<String, String>,
) -> Vec<ConfigEntry> {
    let layers = layers(broker.node_id(), image, &broker.config.topic_defaults);
    let mut described = describe_topic(own, &layers);
    alias_configs::complete(&mut described, (own, &layers), &broker.config.plugin_limits);
    let known = KnownKeys::find(&described, image, broker.plugins.engine());
    entries(described, &known)
}

/// The configs this broker runs with.
pub(crate) fn broker_entries(broker: &Broker, image: &Image) -> Vec<ConfigEntry> {
    let file = effective_file(broker, image);
    entries_of(broker, image, &layers(broker.node_id(), image, &file))
}

/// What was set for all brokers while they run.
pub(crate) fn cluster_entries(broker: &Broker, image: &Image) -> Vec<ConfigEntry> {
    let layers = [(&image.broker_configs, ConfigSource::DynamicDefaultBroker)];
    let mut all = entries_of(broker, image, &layers);
    all.retain(|entry| entry.source == ConfigSource::DynamicDefaultBroker);
    all
}

/// The layers of broker configs that this broker and its topics follow.
pub(super) fn layers<'a>(
    node_id: i32,
    image: &'a Image,
    file: &'a BTreeMap<String, String>,
) -> Vec<BrokerLayer<'a>> {
    let own = image.own_broker_configs.get(&node_id);
    let own = own.map(|own| (own, ConfigSource::DynamicBroker));
    own.into_iter()
        .chain([
            (&image.broker_configs, ConfigSource::DynamicDefaultBroker),
            (file, ConfigSource::StaticBroker),
        ])
        .collect()
}

fn entries_of(broker: &Broker, image: &Image, layers: &[BrokerLayer<'_>]) -> Vec<ConfigEntry> {
    let mut described = describe_broker(layers);
    let none = BTreeMap::new();
    alias_configs::complete(
        &mut described,
        (&none, layers),
        &broker.config.plugin_limits,
    );
    let known = KnownKeys::find(&described, image, broker.plugins.engine());
    entries(described, &known)
}

/// Lays what plugins say over what the table says.
pub(crate) fn entries(described: Vec<DescribedConfig>, known: &KnownKeys) -> Vec<ConfigEntry> {
    let mut all: BTreeMap<String, ConfigEntry> = known
        .unset()
        .map(|entry| (entry.name.clone(), entry))
        .collect();
    for config in described {
        let entry = match plugin_key(&config.name) {
            Some((alias, key)) => plugin_entry(known.get(alias, key), &config),
            None => table_entry(&config),
        };
        all.insert(config.name, entry);
    }
    all.into_values().collect()
}

fn table_entry(config: &DescribedConfig) -> ConfigEntry {
    let sensitive = config.kind == ConfigType::Password;
    ConfigEntry {
        name: config.name.clone(),
        value: config.value.clone().filter(|_| !sensitive),
        source: config.source,
        kind: config.kind,
        read_only: config.read_only,
        sensitive,
        doc: config.doc.clone(),
        synonyms: config.synonyms.clone(),
    }
}

/// A setting that no loaded plugin declares may be a secret, so it is not shown; Kafka does the same with what it has
/// no definition of.
fn plugin_entry(key: Option<&ConfigKey>, config: &DescribedConfig) -> ConfigEntry {
    let mut entry = table_entry(config);
    entry.sensitive = key.is_none_or(|key| key.secret);
    if entry.sensitive {
        entry.value = None;
    }
    if let Some(key) = key {
        entry.kind = kind(key);
        entry.doc = key.doc.clone();
        entry.synonyms.extend(default_of(&entry.name, key));
    }
    entry
}

fn kind(key: &ConfigKey) -> ConfigType {
    match key.kind {
        _ if key.secret => ConfigType::Password,
        ConfigKind::Text => ConfigType::String,
        ConfigKind::Integer => ConfigType::Long,
        ConfigKind::Float => ConfigType::Double,
        ConfigKind::Boolean => ConfigType::Boolean,
    }
}

fn default_of(name: &str, key: &ConfigKey) -> Option<DescribedSynonym> {
    let value = key.default.clone()?;
    Some(DescribedSynonym {
        name: name.to_owned(),
        value,
        source: ConfigSource::Default,
    })
}

impl KnownKeys {
    /// Looks up the plugins of all chains, and for settings whose alias is in none the plugin of that name.
    fn find(described: &[DescribedConfig], image: &Image, engine: &Engine) -> KnownKeys {
        let mut known = KnownKeys::default();
        let chains = described
            .iter()
            .filter(|config| CHAINS.contains(&config.name.as_str()))
            .filter_map(|config| parse_chain(config.value.as_deref()?).ok());
        for ChainEntry { alias, plugin } in chains.flat_map(|chain| chain.0) {
            if let Some(keys) = keys_of(&plugin, image, engine) {
                // One alias may mean several plugins, one in each chain.
                known
                    .by_alias
                    .entry(alias.clone())
                    .or_default()
                    .extend(keys);
                known.bound.push(alias);
            }
        }
        for (alias, _) in described
            .iter()
            .filter_map(|config| plugin_key(&config.name))
        {
            if !known.by_alias.contains_key(alias) {
                let namesake = PluginRef {
                    name: alias.to_owned(),
                    pin: Pin::Latest,
                };
                let keys = keys_of(&namesake, image, engine).unwrap_or_default();
                known.by_alias.insert(alias.to_owned(), keys);
            }
        }
        known
    }

    /// The declaration of a setting; where two plugins declare it, the one that keeps it secret.
    fn get(&self, alias: &str, key: &str) -> Option<&ConfigKey> {
        let declared = self
            .by_alias
            .get(alias)?
            .iter()
            .filter(|declared| declared.name == key);
        declared.max_by_key(|declared| declared.secret)
    }

    /// Every setting of the plugins that stand in a chain, as it is while it is not set.
    fn unset(&self) -> impl Iterator<Item = ConfigEntry> + '_ {
        let declared = |alias: &'_ String| self.by_alias.get(alias).into_iter().flatten();
        self.bound
            .iter()
            .flat_map(move |alias| declared(alias).map(move |key| (alias, key)))
            .filter_map(|(alias, key)| Some(unset_entry(alias, self.get(alias, &key.name)?)))
    }
}

fn unset_entry(alias: &str, key: &ConfigKey) -> ConfigEntry {
    let name = format!("{PLUGIN_PREFIX}{alias}.{}", key.name);
    ConfigEntry {
        value: key.default.clone().filter(|_| !key.secret),
        source: ConfigSource::Default,
        kind: kind(key),
        read_only: false,
        sensitive: key.secret,
        doc: key.doc.clone(),
        synonyms: default_of(&name, key).into_iter().collect(),
        name,
    }
}

fn keys_of(plugin: &PluginRef, image: &Image, engine: &Engine) -> Option<Vec<ConfigKey>> {
    let digest = Digest(image.resolve_plugin(plugin)?.plugin.digest);
    Some(engine.plugin(&digest)?.description().config.clone())
}

/// The configuration file's values, with what this broker made of those that can be left open there.
fn effective_file(broker: &Broker, image: &Image) -> BTreeMap<String, String> {
    let mut file = broker.config.topic_defaults.clone();
    let id = broker.node_id().to_string();
    file.insert("node.id".to_owned(), id.clone());
    file.insert("broker.id".to_owned(), id);
    file.insert(
        "log.dirs".to_owned(),
        broker.config.data_dir.display().to_string(),
    );
    let listeners = image.brokers.get(&broker.node_id()).map(|row| {
        let listener =
            |l: &tidegate_metadata::Listener| format!("{}://{}:{}", l.name, l.host, l.port);
        row.listeners
            .iter()
            .map(listener)
            .collect::<Vec<_>>()
            .join(",")
    });
    if let Some(listeners) = listeners {
        file.insert("advertised.listeners".to_owned(), listeners);
    }
    file
}

#[cfg(test)]
mod tests {
    use tidegate_protocol::error::ErrorCode;

    use super::*;

    fn key(name: &str, kind: ConfigKind, default: Option<&str>, secret: bool) -> ConfigKey {
        ConfigKey {
            name: name.to_owned(),
            kind,
            required: false,
            default: default.map(str::to_owned),
            doc: format!("About {name}."),
            secret,
        }
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn described(own: &[(&str, &str)]) -> BTreeMap<String, ConfigEntry> {
        let known = KnownKeys {
            by_alias: BTreeMap::from([(
                "m".to_owned(),
                vec![
                    key("op", ConfigKind::Text, Some("equals"), false),
                    key("size", ConfigKind::Integer, None, false),
                    key("token", ConfigKind::Text, Some("hidden"), true),
                ],
            )]),
            bound: vec!["m".to_owned()],
        };
        let all = describe_topic(&map(own), &[]);
        entries(all, &known)
            .into_iter()
            .map(|entry| (entry.name.clone(), entry))
            .collect()
    }

    #[test]
    fn a_plugins_settings_are_told_with_type_default_and_meaning() {
        let all = described(&[("tidegate.plugin.m.op", "regex")]);
        let op = &all["tidegate.plugin.m.op"];
        assert_eq!(op.value.as_deref(), Some("regex"));
        assert_eq!(
            (op.source, op.kind),
            (ConfigSource::Topic, ConfigType::String)
        );
        assert_eq!(op.doc, "About op.");
        let values: Vec<_> = op.synonyms.iter().map(|s| s.value.as_str()).collect();
        assert_eq!(values, ["regex", "equals"]);

        let all = described(&[]);
        let op = &all["tidegate.plugin.m.op"];
        assert_eq!(
            (op.value.as_deref(), op.source),
            (Some("equals"), ConfigSource::Default)
        );
        let size = &all["tidegate.plugin.m.size"];
        assert_eq!((size.value.as_deref(), size.kind), (None, ConfigType::Long));
    }

    #[test]
    fn secrets_and_what_nobody_declares_are_not_shown() {
        let set = [
            ("tidegate.plugin.m.token", "t"),
            ("tidegate.plugin.x.y", "z"),
        ];
        let all = described(&set);
        for name in ["tidegate.plugin.m.token", "tidegate.plugin.x.y"] {
            let entry = &all[name];
            assert_eq!(
                (entry.value.as_deref(), entry.sensitive),
                (None, true),
                "{name}"
            );
            assert!(
                entry
                    .synonyms()
                    .iter()
                    .all(|synonym| synonym.value.is_none()),
                "{name}"
            );
        }
        assert_eq!(described(&[])["tidegate.plugin.m.token"].value, None);
        assert!(!all["retention.ms"].sensitive);
        assert!(
            all["retention.ms"]
                .synonyms()
                .iter()
                .all(|synonym| synonym.value.is_some())
        );
    }

    #[test]
    fn of_two_declarations_the_secret_one_counts() {
        let known = KnownKeys {
            by_alias: BTreeMap::from([(
                "m".to_owned(),
                vec![
                    key("k", ConfigKind::Text, None, true),
                    key("k", ConfigKind::Text, Some("v"), false),
                ],
            )]),
            bound: vec!["m".to_owned()],
        };
        let all = entries(Vec::new(), &known);
        assert_eq!(all.len(), 1);
        assert!(all[0].sensitive && all[0].value.is_none());
    }

    #[test]
    fn resources_are_topics_this_broker_and_all_brokers() {
        let parse = |kind, name| Resource::parse(kind, name, 4).map_err(|error| error.code);
        assert_eq!(parse(2, "t"), Ok(Resource::Topic("t".to_owned())));
        assert_eq!(parse(4, "4"), Ok(Resource::Broker));
        assert_eq!(parse(4, ""), Ok(Resource::Cluster));
        assert_eq!(parse(8, "4"), Ok(Resource::Loggers));
        for (kind, name) in [
            (4, "5"),
            (4, "x"),
            (4, "04"),
            (8, "5"),
            (8, ""),
            (0, ""),
            (-1, "t"),
        ] {
            assert_eq!(parse(kind, name), Err(ErrorCode::InvalidRequest));
        }
    }
}
