//! The topics a router may name.

/// One entry of what `targets` said: a topic, or `prefix-*`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum TargetPattern {
    Exact(String),
    /// Every topic whose name starts so; the star is not part of it.
    Prefix(String),
}

impl TargetPattern {
    pub fn matches(&self, topic: &str) -> bool {
        match self {
            TargetPattern::Exact(name) => name == topic,
            TargetPattern::Prefix(prefix) => {
                topic.len() > prefix.len() && topic.starts_with(prefix.as_str())
            }
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
