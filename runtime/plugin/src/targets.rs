//! The topics a router may name.

use crate::verdict::{excerpt, valid_topic_chars, valid_topic_name};

/// Patterns that one router may name.
const MAX_TARGETS: usize = 1000;

/// One entry of what `targets` said: a topic, or `prefix-*`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum TargetPattern {
    Exact(String),
    /// Every topic whose name starts so; the star is not part of it.
    Prefix(String),
}

impl TargetPattern {
    /// Whether a router that named this pattern may route to the topic.
    pub fn matches(&self, topic: &str) -> bool {
        match self {
            TargetPattern::Exact(name) => name == topic,
            TargetPattern::Prefix(prefix) => {
                topic.len() > prefix.len() && topic.starts_with(prefix.as_str())
            }
        }
    }

    /// A bare `*` is refused: a router says where it writes.
    fn parse(text: &str) -> Result<TargetPattern, String> {
        match text.strip_suffix('*') {
            Some(prefix)
                if !prefix.is_empty() && prefix.len() < 249 && valid_topic_chars(prefix) =>
            {
                Ok(TargetPattern::Prefix(prefix.to_owned()))
            }
            None if valid_topic_name(text) => Ok(TargetPattern::Exact(text.to_owned())),
            _ => Err(format!(
                "`{}` is neither a topic's name nor a prefix followed by `*`",
                excerpt(text)
            )),
        }
    }
}

impl std::fmt::Display for TargetPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TargetPattern::Exact(name) => f.write_str(name),
            TargetPattern::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// Checks what a router said; duplicates are dropped.
pub(crate) fn check_targets(given: &[String]) -> Result<Vec<TargetPattern>, String> {
    if given.is_empty() {
        return Err("it names no topic to route to".to_owned());
    }
    if given.len() > MAX_TARGETS {
        return Err(format!(
            "it names {} targets, more than {MAX_TARGETS}",
            given.len()
        ));
    }
    let mut patterns = given
        .iter()
        .map(|t| TargetPattern::parse(t))
        .collect::<Result<Vec<_>, _>>()?;
    patterns.sort();
    patterns.dedup();
    Ok(patterns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_names_or_prefixes() {
        let given = ["b", "logs-*", "b"].map(str::to_owned);
        let patterns = check_targets(&given).unwrap();
        assert_eq!(
            patterns,
            [
                TargetPattern::Exact("b".into()),
                TargetPattern::Prefix("logs-".into())
            ]
        );
        assert!(patterns[1].matches("logs-eu"));
        assert!(!patterns[1].matches("logs-"));
        for bad in ["", "*", "a*b", "a b", "..", "a/b*"] {
            assert!(check_targets(&[bad.to_owned()]).is_err(), "{bad}");
        }
        assert!(check_targets(&[]).is_err());
        assert!(check_targets(&vec!["t".to_owned(); 1001]).is_err());
    }
}
