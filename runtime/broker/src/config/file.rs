//! Where values come from: a file in one of two formats, and the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tidegate_metadata::binding::{validate_plugin_name, validate_plugin_version};
use tidegate_metadata::config::{lookup, validate_topic_config};
use toml::Value;

use super::{ConfigError, properties};

const ENV_PREFIX: &str = "TIDEGATE_CFG_";
/// Keys of a topic section that are not topic configs.
const TOPIC_KEYS: [&str; 2] = ["partitions", "replication.factor"];

/// A plugin to be loaded at start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginFile {
    pub name: String,
    pub version: String,
    /// Relative paths are taken from the configuration file's directory.
    pub path: PathBuf,
    /// What `tidegate plugin sign` wrote for it.
    pub signature: Option<PathBuf>,
}

/// A topic to be there after start, with these configs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicDeclaration {
    /// Only for its creation; an existing topic keeps its own count unless this is greater.
    pub partitions: Option<i32>,
    pub replication_factor: Option<i16>,
    pub configs: BTreeMap<String, String>,
}

/// One place that gives values, weaker than the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Layer {
    /// As errors name it.
    pub(super) origin: String,
    pub(super) values: BTreeMap<String, String>,
    pub(super) plugins: Vec<PluginFile>,
    pub(super) topics: BTreeMap<String, BTreeMap<String, String>>,
}

/// Every `TIDEGATE_CFG_` variable as a key: `_` is a dot, `__` an underscore.
pub(super) fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            Some((env_key(&name)?, value.into_string().ok()?))
        })
        .collect()
}

fn env_key(variable: &str) -> Option<String> {
    let key = variable.strip_prefix(ENV_PREFIX)?.to_ascii_lowercase();
    Some(
        key.split("__")
            .map(|part| part.replace('_', "."))
            .collect::<Vec<_>>()
            .join("_"),
    )
}

/// Reads a file: TOML or properties by its extension, else by what it parses as.
pub(super) fn read(path: &Path) -> Result<Layer, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read {
        path: path.to_owned(),
        why: error.to_string(),
    })?;
    let layer = parse(path, &text).map_err(|why| ConfigError::Syntax {
        path: path.to_owned(),
        why,
    })?;
    Ok(layer.relative_to(path.parent().unwrap_or(Path::new(""))))
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Layer, String> {
    let origin = path.display().to_string();
    let toml = |text: &str| {
        text.parse::<toml::Table>()
            .map_err(|error| error.to_string())
    };
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => from_toml(origin, toml(text)?),
        Some("properties") => from_pairs(origin, properties::parse(text)?),
        _ => match toml(text) {
            Ok(table) => from_toml(origin, table),
            Err(_) => from_pairs(origin, properties::parse(text)?),
        },
    }
}

/// Sorts flat pairs: `plugin.<name>.path`, `topic.<name>.<config>`, and all others.
pub(super) fn from_pairs(
    origin: String,
    pairs: impl IntoIterator<Item = (String, String)>,
) -> Result<Layer, String> {
    let mut layer = Layer {
        origin,
        ..Layer::default()
    };
    let mut plugins = BTreeMap::<String, BTreeMap<String, String>>::new();
    for (key, value) in pairs {
        let plugin = key
            .strip_prefix("plugin.")
            .and_then(|rest| rest.rsplit_once('.'));
        if let Some((name, field)) = plugin {
            plugins
                .entry(name.to_owned())
                .or_default()
                .insert(field.to_owned(), value);
        } else if let Some(rest) = key.strip_prefix("topic.") {
            let (topic, config) = split_topic(rest).ok_or_else(|| topic_form(&key))?;
            layer
                .topics
                .entry(topic.to_owned())
                .or_default()
                .insert(config.to_owned(), value);
        } else {
            layer.values.insert(key, value);
        }
    }
    for (name, mut fields) in plugins {
        fields.insert("name".to_owned(), name);
        layer.plugins.push(plugin(fields)?);
    }
    Ok(layer)
}

impl Layer {
    fn relative_to(mut self, directory: &Path) -> Layer {
        for plugin in &mut self.plugins {
            plugin.path = directory.join(&plugin.path);
            plugin.signature = plugin.signature.take().map(|path| directory.join(path));
        }
        self
    }
}

fn from_toml(origin: String, mut table: toml::Table) -> Result<Layer, String> {
    let plugins = match table.remove("plugin") {
        None => Vec::new(),
        Some(Value::Array(entries)) => entries
            .into_iter()
            .map(|entry| plugin(flat(entry)?))
            .collect::<Result<_, String>>()?,
        Some(Value::Table(named)) => named
            .into_iter()
            .map(|(name, entry)| {
                let mut fields = flat(entry)?;
                fields.insert("name".to_owned(), name);
                plugin(fields)
            })
            .collect::<Result<_, String>>()?,
        Some(_) => return Err("plugins are `[[plugin]]` sections".to_owned()),
    };
    let topics = match table.remove("topic") {
        None => BTreeMap::new(),
        Some(Value::Table(named)) => named
            .into_iter()
            .map(|(name, entry)| Ok((name, flat(entry)?)))
            .collect::<Result<_, String>>()?,
        Some(_) => return Err("topics are `[topic.\"name\"]` sections".to_owned()),
    };
    Ok(Layer {
        origin,
        values: flat(Value::Table(table))?,
        plugins,
        topics,
    })
}

/// Dotted keys and their values as text, as a properties file would have them.
fn flat(value: Value) -> Result<BTreeMap<String, String>, String> {
    let Value::Table(table) = value else {
        return Err("a section was expected where a value stands".to_owned());
    };
    let mut out = BTreeMap::new();
    for (key, value) in table {
        match value {
            Value::Table(_) => out.extend(
                flat(value)?
                    .into_iter()
                    .map(|(rest, value)| (format!("{key}.{rest}"), value)),
            ),
            Value::Array(items) => {
                let items = items.into_iter().map(|item| scalar(&key, item));
                out.insert(key.clone(), items.collect::<Result<Vec<_>, _>>()?.join(","));
            }
            scalar_value => {
                let text = scalar(&key, scalar_value)?;
                out.insert(key, text);
            }
        }
    }
    Ok(out)
}

fn scalar(key: &str, value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(yes) => Ok(yes.to_string()),
        _ => Err(format!(
            "`{key}` takes text, a number, true or false, or a list of those"
        )),
    }
}

fn plugin(mut fields: BTreeMap<String, String>) -> Result<PluginFile, String> {
    let mut take = |field: &str| {
        fields
            .remove(field)
            .ok_or_else(|| format!("a plugin section has no `{field}`"))
    };
    let (name, version, path) = (take("name")?, take("version")?, take("path")?);
    let signature = fields.remove("signature").map(PathBuf::from);
    validate_plugin_name(&name)?;
    validate_plugin_version(&version)?;
    match fields.keys().next() {
        Some(extra) => Err(format!(
            "plugin `{name}`: `{extra}` is not one of name, version, path, signature"
        )),
        None => Ok(PluginFile {
            name,
            version,
            path: PathBuf::from(path),
            signature,
        }),
    }
}

/// A topic's name may hold dots, so it ends where the rest is the name of a config.
fn split_topic(rest: &str) -> Option<(&str, &str)> {
    rest.match_indices('.')
        .map(|(dot, _)| (&rest[..dot], &rest[dot + 1..]))
        .find(|(topic, config)| {
            !topic.is_empty() && (TOPIC_KEYS.contains(config) || lookup(config).is_some())
        })
}

/// Reads a topic's section. The error is a sentence and the key it is about.
pub(super) fn declaration(
    mut fields: BTreeMap<String, String>,
) -> Result<TopicDeclaration, (String, String)> {
    let partitions = count(&mut fields, "partitions", 10_000)?;
    let replication_factor = count(&mut fields, "replication.factor", 100)?;
    for (key, value) in &fields {
        validate_topic_config(key, value).map_err(|why| (key.clone(), why))?;
    }
    Ok(TopicDeclaration {
        partitions,
        replication_factor: replication_factor.and_then(|factor| factor.try_into().ok()),
        configs: fields,
    })
}

fn count(
    fields: &mut BTreeMap<String, String>,
    key: &str,
    max: i32,
) -> Result<Option<i32>, (String, String)> {
    let Some(text) = fields.remove(key) else {
        return Ok(None);
    };
    let number = text
        .trim()
        .parse()
        .ok()
        .filter(|number| (1..=max).contains(number));
    let wrong = || {
        (
            key.to_owned(),
            format!("expected a number from 1 to {max}, not `{text}`"),
        )
    };
    number.map(Some).ok_or_else(wrong)
}

fn topic_form(key: &str) -> String {
    format!(
        "`{key}`: a topic is given by topic.<name>.partitions, topic.<name>.replication.factor and \
         topic.<name>.<topic config>; this ends in none of them"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    const TOML: &str = r#"
        "num.partitions" = 3
        log.retention.hours = 2
        listeners = ["PLAINTEXT://:9092", "B://:9093"]

        [tidegate]
        consume.gap = "marker"
        "consume.gap.clients" = "a=before"

        [[plugin]]
        name = "match"
        version = "0.1.0"
        path = "plugins/match.wasm"

        [topic."orders.eu"]
        partitions = 4
        retention.ms = 1000
        tidegate.produce.chain = ["match", "late=match"]
        "tidegate.plugin.match.field" = "value"
    "#;

    const PROPERTIES: &str = "\
        num.partitions=3\nlog.retention.hours=2\nlisteners=PLAINTEXT://:9092,B://:9093\n\
        tidegate.consume.gap=marker\ntidegate.consume.gap.clients=a=before\n\
        plugin.match.version=0.1.0\nplugin.match.path=plugins/match.wasm\n\
        topic.orders.eu.partitions=4\ntopic.orders.eu.retention.ms=1000\n\
        topic.orders.eu.tidegate.produce.chain=match,late=match\n\
        topic.orders.eu.tidegate.plugin.match.field=value\n";

    #[test]
    fn both_formats_say_the_same() {
        let toml = parse(Path::new("x.toml"), TOML).unwrap();
        let other = parse(Path::new("x.properties"), PROPERTIES).unwrap();
        assert_eq!(toml.values, other.values);
        assert_eq!(toml.plugins, other.plugins);
        assert_eq!(toml.topics, other.topics);
        assert_eq!(
            toml.topics["orders.eu"]["tidegate.produce.chain"],
            "match,late=match"
        );
        assert_eq!(toml.values["tidegate.consume.gap.clients"], "a=before");
    }

    #[test]
    fn the_format_is_guessed_without_an_extension() {
        let path = Path::new("config");
        assert_eq!(
            parse(path, "node.id = 3").unwrap().values,
            map(&[("node.id", "3")])
        );
        assert_eq!(
            parse(path, "listeners=PLAINTEXT://:1").unwrap().values,
            map(&[("listeners", "PLAINTEXT://:1")])
        );
    }

    #[test]
    fn sections_are_checked_because_no_kafka_file_has_them() {
        let read = |text| parse(Path::new("c.properties"), text).unwrap_err();
        assert!(read("topic.orders.retenton.ms=1").contains("topic config"));
        assert!(read("plugin.match.path=x").contains("version"));
        assert!(
            read("plugin.match.path=x\nplugin.match.version=1\nplugin.match.sha=y").contains("sha")
        );
        assert!(
            parse(Path::new("c.toml"), "plugin = 3")
                .unwrap_err()
                .contains("[[plugin]]")
        );
        assert!(
            parse(Path::new("c.toml"), "a = 1979-05-27")
                .unwrap_err()
                .contains("`a`")
        );
    }

    #[test]
    fn declarations_check_their_configs() {
        let good = declaration(map(&[("partitions", "4"), ("retention.ms", "5")])).unwrap();
        assert_eq!(good.partitions, Some(4));
        assert_eq!(good.configs, map(&[("retention.ms", "5")]));
        assert_eq!(
            declaration(map(&[("partitions", "0")])).unwrap_err().0,
            "partitions"
        );
        assert_eq!(
            declaration(map(&[("retention.ms", "x")])).unwrap_err().0,
            "retention.ms"
        );
    }

    #[test]
    fn variables_are_keys() {
        assert_eq!(
            env_key("TIDEGATE_CFG_LOG_DIRS").as_deref(),
            Some("log.dirs")
        );
        assert_eq!(
            env_key("TIDEGATE_CFG_TOPIC_MY__T_PARTITIONS").as_deref(),
            Some("topic.my_t.partitions")
        );
        assert_eq!(env_key("PATH"), None);
    }
}
