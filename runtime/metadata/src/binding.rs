//! Chains as a topic config writes them: `[alias=]name[@version|@sha256:hex]`, comma-separated, with
//! or without surrounding brackets (kafka-configs.sh splits on commas outside brackets).

use std::collections::BTreeSet;
use std::fmt;

/// Longest chain value, in bytes.
pub const MAX_CHAIN_LEN: usize = 4096;
/// Most plugins in one chain.
pub const MAX_CHAIN_ENTRIES: usize = 16;
const MAX_NAME_LEN: usize = 64;

/// A chain, in the order in which its plugins see a batch. Empty means no chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ChainSpec(pub Vec<ChainEntry>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChainEntry {
    /// Names this stand of the plugin in `tidegate.plugin.<alias>.<key>`; the plugin's name unless
    /// given. Unique within the chain.
    pub alias: String,
    pub plugin: PluginRef,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PluginRef {
    pub name: String,
    pub pin: Pin,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pin {
    Latest,
    Version(String),
    /// SHA-256 in 64 lower-case hexadecimal digits.
    Digest(String),
}

/// Reads a chain; an empty value, or `[]`, is the empty chain. The error is a sentence.
pub fn parse_chain(value: &str) -> Result<ChainSpec, String> {
    if value.len() > MAX_CHAIN_LEN {
        return Err(format!("a chain is at most {MAX_CHAIN_LEN} bytes long"));
    }
    let list = strip_brackets(value.trim())?.trim();
    if list.is_empty() {
        return Ok(ChainSpec::default());
    }
    let mut aliases = BTreeSet::new();
    let mut entries = Vec::new();
    for item in list.split(',') {
        if entries.len() == MAX_CHAIN_ENTRIES {
            return Err(format!("a chain holds at most {MAX_CHAIN_ENTRIES} plugins"));
        }
        let entry = parse_entry(item.trim())?;
        if !aliases.insert(entry.alias.clone()) {
            return Err(format!(
                "`{}` stands twice in the chain; give one of them an alias: `other={}`",
                entry.alias, entry.plugin
            ));
        }
        entries.push(entry);
    }
    Ok(ChainSpec(entries))
}

/// Checks a plugin's name or alias: it becomes one segment of a config name, so it has no dots.
pub fn validate_plugin_name(name: &str) -> Result<(), String> {
    check_word("plugin name", name, |c| {
        c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
    })
}

/// Checks a plugin's version.
pub fn validate_plugin_version(version: &str) -> Result<(), String> {
    check_word("plugin version", version, |c| {
        c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+')
    })
}

impl ChainSpec {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, ChainEntry> {
        self.0.iter()
    }
}

/// Writes the chain so that [`parse_chain`] reads the same again.
impl fmt::Display for ChainSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, entry) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            if entry.alias != entry.plugin.name {
                write!(f, "{}=", entry.alias)?;
            }
            write!(f, "{}", entry.plugin)?;
        }
        Ok(())
    }
}

impl fmt::Display for PluginRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pin {
            Pin::Latest => f.write_str(&self.name),
            Pin::Version(version) => write!(f, "{}@{version}", self.name),
            Pin::Digest(digest) => write!(f, "{}@sha256:{digest}", self.name),
        }
    }
}

fn strip_brackets(value: &str) -> Result<&str, String> {
    match (value.strip_prefix('['), value.ends_with(']')) {
        (Some(inner), true) => Ok(inner.strip_suffix(']').unwrap_or(inner)),
        (None, false) => Ok(value),
        _ => Err("a chain's brackets come in pairs: `[a,b]`".to_owned()),
    }
}

fn parse_entry(item: &str) -> Result<ChainEntry, String> {
    if item.is_empty() {
        return Err("a chain has an empty entry between its commas".to_owned());
    }
    let (alias, reference) = match item.split_once('=') {
        Some((alias, reference)) => (Some(alias.trim()), reference.trim()),
        None => (None, item),
    };
    let (name, pin) = match reference.split_once('@') {
        Some((name, pin)) => (name.trim(), parse_pin(pin.trim())?),
        None => (reference, Pin::Latest),
    };
    validate_plugin_name(name)?;
    let alias = alias.unwrap_or(name);
    validate_plugin_name(alias)?;
    Ok(ChainEntry {
        alias: alias.to_owned(),
        plugin: PluginRef {
            name: name.to_owned(),
            pin,
        },
    })
}

fn parse_pin(pin: &str) -> Result<Pin, String> {
    match pin.strip_prefix("sha256:") {
        Some(hex) if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Ok(Pin::Digest(hex.to_ascii_lowercase()))
        }
        Some(_) => Err("a digest is `sha256:` and 64 hexadecimal digits".to_owned()),
        None => validate_plugin_version(pin).map(|()| Pin::Version(pin.to_owned())),
    }
}

fn check_word(what: &str, word: &str, allowed: fn(char) -> bool) -> Result<(), String> {
    if word.is_empty() {
        return Err(format!("a {what} cannot be empty"));
    }
    if word.len() > MAX_NAME_LEN {
        return Err(format!("a {what} has at most {MAX_NAME_LEN} characters"));
    }
    match word.chars().find(|c| !allowed(*c)) {
        Some(bad) => Err(format!("a {what} cannot hold {bad:?} (in `{word}`)")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(alias: &str, name: &str, pin: Pin) -> ChainEntry {
        ChainEntry {
            alias: alias.to_owned(),
            plugin: PluginRef {
                name: name.to_owned(),
                pin,
            },
        }
    }

    #[test]
    fn reads_every_form() {
        let digest = "AB".repeat(32);
        let chain = parse_chain(&format!(
            " [ match , late=match@1.2.0,x = route@sha256:{digest} ] "
        ))
        .unwrap();
        assert_eq!(
            chain.0,
            vec![
                one("match", "match", Pin::Latest),
                one("late", "match", Pin::Version("1.2.0".to_owned())),
                one("x", "route", Pin::Digest(digest.to_lowercase())),
            ]
        );
        assert!(parse_chain("").unwrap().is_empty());
        assert!(parse_chain(" [ ] ").unwrap().is_empty());
    }

    #[test]
    fn refuses_with_a_sentence() {
        for (bad, part) in [
            ("a,a", "twice"),
            ("a=x,a=y", "twice"),
            ("[a", "pairs"),
            ("a]", "pairs"),
            ("a,,b", "empty entry"),
            ("a.b", "cannot hold '.'"),
            ("=a", "cannot be empty"),
            ("a@", "cannot be empty"),
            ("a@sha256:12", "64 hexadecimal"),
            (&"x".repeat(65), "at most 64"),
            (&"x,".repeat(4000), "at most 4096 bytes"),
        ] {
            let error = parse_chain(bad).unwrap_err();
            assert!(error.contains(part), "{bad}: {error}");
        }
        let many: Vec<String> = (0..17).map(|i| format!("p{i}")).collect();
        assert!(
            parse_chain(&many.join(","))
                .unwrap_err()
                .contains("at most 16")
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            if let Ok(chain) = parse_chain(&text) {
                prop_assert_eq!(parse_chain(&chain.to_string()).unwrap(), chain);
            }
        }

        #[test]
        fn written_chains_read_back(names in proptest::collection::btree_set("[a-z][a-z0-9_-]{0,20}", 0..10)) {
            let spec = ChainSpec(names.iter().enumerate().map(|(i, name)| {
                let pin = if i % 2 == 0 { Pin::Latest } else { Pin::Version(format!("1.{i}")) };
                one(name, "plug", pin)
            }).collect());
            prop_assert_eq!(parse_chain(&spec.to_string()).unwrap(), spec);
        }
    }
}
