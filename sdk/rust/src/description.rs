//! What a plugin says of itself before it is configured.

use crate::bindings::types;

pub use types::{Columns, State};

impl Columns {
    /// [`Columns::KEY`], [`Columns::VALUE`], [`Columns::HEADERS`] and [`Columns::TIMESTAMP`].
    pub const EVERY: Self = Self::all();
}

/// What a plugin is called, which columns it reads and which configuration keys it takes.
///
/// The broker asks for it once, before any configuration is known, so it must not depend on one.
#[derive(Clone, Debug)]
pub struct Description {
    pub(crate) raw: types::Description,
}

impl Description {
    /// `version` is the author's own; what the broker calls a version is given when pushing.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            raw: types::Description {
                name: name.into(),
                version: version.into(),
                summary: String::new(),
                columns: Columns::empty(),
                state: State::None,
                config: Vec::new(),
                writes: Columns::empty(),
            },
        }
    }

    /// One sentence for `plugin list`.
    pub fn summary(mut self, summary: &str) -> Self {
        self.raw.summary = summary.into();
        self
    }

    /// The columns to lower; what is not named is never copied, and reads as absent.
    pub fn columns(mut self, columns: Columns) -> Self {
        self.raw.columns = columns;
        self
    }

    /// What a transform may replace; the broker refuses an edit of anything else. Not for filters
    /// and routers.
    pub fn writes(mut self, columns: Columns) -> Self {
        self.raw.writes = columns;
        self
    }

    /// Whether instances may be mixed between partitions ([`State::None`], the default).
    pub fn state(mut self, state: State) -> Self {
        self.raw.state = state;
        self
    }

    /// Adds a configuration key.
    pub fn config(mut self, key: ConfigKey) -> Self {
        self.raw.config.push(key.raw);
        self
    }

    /// The default of each key that has one.
    pub(crate) fn defaults(&self) -> impl Iterator<Item = (&str, &str)> {
        self.raw
            .config
            .iter()
            .filter_map(|key| Some((key.name.as_str(), key.default.as_deref()?)))
    }
}

/// A configuration key, bound as `tidegate.plugin.<alias>.<name>`. Optional unless
/// [`required`](Self::required).
#[derive(Clone, Debug)]
pub struct ConfigKey {
    raw: types::ConfigKey,
}

impl ConfigKey {
    pub fn text(name: &str) -> Self {
        Self::new(name, types::ConfigType::Text)
    }

    pub fn integer(name: &str) -> Self {
        Self::new(name, types::ConfigType::Integer)
    }

    pub fn float(name: &str) -> Self {
        Self::new(name, types::ConfigType::Float)
    }

    /// `true` or `false`.
    pub fn boolean(name: &str) -> Self {
        Self::new(name, types::ConfigType::Boolean)
    }

    fn new(name: &str, kind: types::ConfigType) -> Self {
        Self {
            raw: types::ConfigKey {
                name: name.into(),
                kind,
                required: false,
                default: None,
                doc: String::new(),
                secret: false,
            },
        }
    }

    /// A binding that does not set the key is refused.
    pub fn required(mut self) -> Self {
        self.raw.required = true;
        self
    }

    /// What the key is where the binding does not set it.
    pub fn default(mut self, value: &str) -> Self {
        self.raw.default = Some(value.into());
        self
    }

    /// One sentence for DescribeConfigs and `plugin show`.
    pub fn doc(mut self, sentence: &str) -> Self {
        self.raw.doc = sentence.into();
        self
    }

    /// Never shown again once set.
    pub fn secret(mut self) -> Self {
        self.raw.secret = true;
        self
    }
}
