//! What a plugin says of itself, and the checks on it.

/// Which of the two worlds of `tidegate:plugin` a component implements.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum World {
    Filter,
    Router,
}

impl World {
    pub fn as_str(self) -> &'static str {
        match self {
            World::Filter => "filter",
            World::Router => "router",
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
