//! What a plugin says of itself, and the checks on it.

use std::collections::{BTreeMap, BTreeSet};

use crate::contract::wire;
use crate::verdict::excerpt;

const MAX_CONFIG_KEYS: usize = 256;
const MAX_NAME: usize = 128;
const MAX_TEXT: usize = 4096;

/// Which of the worlds of `tidegate:plugin` a component implements.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum World {
    Filter,
    Router,
    Transform,
}

impl World {
    pub fn as_str(self) -> &'static str {
        match self {
            World::Filter => "filter",
            World::Router => "router",
            World::Transform => "transform",
        }
    }
}

impl std::fmt::Display for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Description {
    pub name: String,
    pub version: String,
    pub summary: String,
    pub columns: Columns,
    pub state: State,
    pub config: Vec<ConfigKey>,
    /// What a transform may replace.
    pub writes: Columns,
}

/// The columns a plugin wants lowered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Columns {
    pub key: bool,
    pub value: bool,
    pub headers: bool,
    pub timestamp: bool,
}

impl Columns {
    pub fn union(self, other: Columns) -> Columns {
        Columns {
            key: self.key || other.key,
            value: self.value || other.value,
            headers: self.headers || other.headers,
            timestamp: self.timestamp || other.timestamp,
        }
    }

    pub fn intersection(self, other: Columns) -> Columns {
        Columns {
            key: self.key && other.key,
            value: self.value && other.value,
            headers: self.headers && other.headers,
            timestamp: self.timestamp && other.timestamp,
        }
    }

    pub fn is_empty(self) -> bool {
        self == Columns::default()
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// Any instance may see any batch, and a batch may be run again.
    None,
    /// One instance per binding and partition, called in order.
    Partition,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigKey {
    pub name: String,
    pub kind: ConfigKind,
    pub required: bool,
    pub default: Option<String>,
    pub doc: String,
    /// Never shown again once set.
    pub secret: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConfigKind {
    Text,
    Integer,
    Float,
    Boolean,
}

impl ConfigKind {
    pub fn as_str(self) -> &'static str {
        match self {
            ConfigKind::Text => "text",
            ConfigKind::Integer => "integer",
            ConfigKind::Float => "float",
            ConfigKind::Boolean => "boolean",
        }
    }

    /// Whether the text is a value of this kind: a 64-bit integer, a finite number, `true` or `false`.
    pub fn accepts(self, text: &str) -> bool {
        match self {
            ConfigKind::Text => true,
            ConfigKind::Integer => text.parse::<i64>().is_ok(),
            ConfigKind::Float => text.parse::<f64>().is_ok_and(f64::is_finite),
            ConfigKind::Boolean => matches!(text, "true" | "false"),
        }
    }
}

impl Description {
    /// Bounds and sense of what `describe` gave.
    pub(crate) fn check(given: wire::Description, world: World) -> Result<Description, String> {
        within("name", &given.name, MAX_NAME)?;
        within("version", &given.version, MAX_NAME)?;
        within("summary", &given.summary, MAX_TEXT)?;
        if given.name.is_empty() {
            return Err("its description has no name".to_owned());
        }
        if given.config.len() > MAX_CONFIG_KEYS {
            return Err(format!(
                "its description has {} configuration keys, more than {MAX_CONFIG_KEYS}",
                given.config.len()
            ));
        }
        let writes = Columns::from(given.writes);
        if world != World::Transform && !writes.is_empty() {
            return Err(format!(
                "its description says that it replaces columns, which a {world} does not"
            ));
        }
        let mut seen = BTreeSet::new();
        let mut config = Vec::with_capacity(given.config.len());
        for key in given.config {
            let key = ConfigKey::check(key)?;
            if !seen.insert(key.name.clone()) {
                return Err(format!("its description has the key `{}` twice", key.name));
            }
            config.push(key);
        }
        Ok(Description {
            name: given.name,
            version: given.version,
            summary: given.summary,
            columns: Columns::from(given.columns),
            state: match given.state {
                wire::State::None => State::None,
                wire::State::Partition => State::Partition,
            },
            config,
            writes,
        })
    }

    /// The values an instance gets: what the binding set, else the defaults. The error is a sentence, and
    /// never shows the value of a secret key.
    pub(crate) fn resolve(
        &self,
        set: &BTreeMap<String, String>,
    ) -> Result<Vec<(String, String)>, String> {
        if let Some(unknown) = set
            .keys()
            .find(|name| self.config.iter().all(|k| k.name != **name))
        {
            return Err(format!(
                "`{}` has no configuration key `{}`; {}",
                self.name,
                excerpt(unknown),
                self.known_keys()
            ));
        }
        let mut resolved = Vec::with_capacity(self.config.len());
        for key in &self.config {
            match set.get(&key.name).or(key.default.as_ref()) {
                Some(value) if key.kind.accepts(value) => {
                    resolved.push((key.name.clone(), value.clone()));
                }
                Some(value) => return Err(key.mismatch(&self.name, value)),
                None if key.required => {
                    return Err(format!(
                        "`{}` needs the configuration key `{}`: {}",
                        self.name, key.name, key.doc
                    ));
                }
                None => {}
            }
        }
        Ok(resolved)
    }

    fn known_keys(&self) -> String {
        if self.config.is_empty() {
            return "it takes none".to_owned();
        }
        let names: Vec<&str> = self.config.iter().map(|key| key.name.as_str()).collect();
        format!("it takes {}", names.join(", "))
    }
}

impl ConfigKey {
    fn check(given: wire::ConfigKey) -> Result<ConfigKey, String> {
        within("configuration key", &given.name, MAX_NAME)?;
        within("documentation", &given.doc, MAX_TEXT)?;
        if !valid_key(&given.name) {
            return Err(format!(
                "its configuration key `{}` has other characters than letters, digits, dot, underscore \
                 and hyphen",
                excerpt(&given.name)
            ));
        }
        let key = ConfigKey {
            name: given.name,
            kind: match given.kind {
                wire::ConfigType::Text => ConfigKind::Text,
                wire::ConfigType::Integer => ConfigKind::Integer,
                wire::ConfigType::Float => ConfigKind::Float,
                wire::ConfigType::Boolean => ConfigKind::Boolean,
            },
            required: given.required,
            default: given.default,
            doc: given.doc,
            secret: given.secret,
        };
        if let Some(default) = &key.default {
            within("default", default, MAX_TEXT)?;
            if !key.kind.accepts(default) {
                return Err(format!(
                    "the default of its key `{}` is not {}",
                    key.name,
                    key.a_kind()
                ));
            }
        }
        Ok(key)
    }

    fn mismatch(&self, plugin: &str, value: &str) -> String {
        let key = &self.name;
        let kind = self.a_kind();
        if self.secret {
            return format!("the value of `{plugin}`'s secret key `{key}` is not {kind}");
        }
        format!(
            "`{}` is not {kind}, which `{plugin}`'s key `{key}` takes",
            excerpt(value)
        )
    }

    fn a_kind(&self) -> &'static str {
        match self.kind {
            ConfigKind::Text => "a text",
            ConfigKind::Integer => "an integer",
            ConfigKind::Float => "a number",
            ConfigKind::Boolean => "`true` or `false`",
        }
    }
}

impl From<wire::Columns> for Columns {
    fn from(given: wire::Columns) -> Columns {
        Columns {
            key: given.contains(wire::Columns::KEY),
            value: given.contains(wire::Columns::VALUE),
            headers: given.contains(wire::Columns::HEADERS),
            timestamp: given.contains(wire::Columns::TIMESTAMP),
        }
    }
}

/// Keys end up in topic configs (`tidegate.plugin.<alias>.<key>`).
fn valid_key(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn within(what: &str, text: &str, max: usize) -> Result<(), String> {
    if text.len() > max {
        return Err(format!(
            "its {what} has {} bytes, more than {max}",
            text.len()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, kind: ConfigKind, default: Option<&str>, required: bool) -> ConfigKey {
        ConfigKey {
            name: name.into(),
            kind,
            required,
            default: default.map(Into::into),
            doc: "A sentence.".into(),
            secret: name == "token",
        }
    }

    fn description() -> Description {
        Description {
            name: "match".into(),
            version: "1.0.0".into(),
            summary: String::new(),
            columns: Columns::default(),
            state: State::None,
            config: vec![
                key("op", ConfigKind::Text, None, true),
                key("limit", ConfigKind::Integer, Some("10"), false),
                key("token", ConfigKind::Integer, None, false),
            ],
            writes: Columns::default(),
        }
    }

    fn resolve(set: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        let set = set
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        description().resolve(&set)
    }

    #[test]
    fn defaults_fill_what_is_not_set() {
        let expected = [("op", "eq"), ("limit", "10")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(resolve(&[("op", "eq")]).unwrap(), expected);
    }

    #[test]
    fn mistakes_are_sentences() {
        assert_eq!(
            resolve(&[("op", "eq"), ("oops", "1")]).unwrap_err(),
            "`match` has no configuration key `oops`; it takes op, limit, token"
        );
        assert_eq!(
            resolve(&[]).unwrap_err(),
            "`match` needs the configuration key `op`: A sentence."
        );
        assert_eq!(
            resolve(&[("op", "eq"), ("limit", "ten")]).unwrap_err(),
            "`ten` is not an integer, which `match`'s key `limit` takes"
        );
        assert!(
            !resolve(&[("op", "eq"), ("token", "hunter2")])
                .unwrap_err()
                .contains("hunter2")
        );
    }
}
