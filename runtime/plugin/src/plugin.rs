//! A loaded plugin: compiled once, described, not yet bound.

use crate::{Description, World};

/// sha256 of the uploaded bytes.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Digest(pub [u8; 32]);

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sha256:{self}")
    }
}

pub struct Plugin {
    digest: Digest,
    world: World,
    description: Description,
    size: usize,
}

impl Plugin {
    pub fn digest(&self) -> Digest {
        self.digest
    }

    pub fn world(&self) -> World {
        self.world
    }

    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Bytes of the uploaded component.
    pub fn size(&self) -> usize {
        self.size
    }
}

/// Why a component was not accepted. Each is a sentence for whoever pushed it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LoadError {
    #[error("the file has {size} bytes, more than the {max} that a plugin may have")]
    TooLarge { size: usize, max: usize },
    #[error("{0}")]
    NotAComponent(String),
    #[error("{0}")]
    Import(String),
    #[error("{0}")]
    World(String),
    #[error("{0}")]
    Compile(String),
    #[error("{0}")]
    Describe(String),
}
