//! A loaded plugin: compiled once, described, not yet bound.

use crate::instance::Exports;
use crate::site::Prepared;
use crate::{Allocation, Description, World};

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

/// A component that passed every check of [`Engine::load`](crate::Engine::load).
pub struct Plugin {
    pub(crate) digest: Digest,
    pub(crate) description: Description,
    pub(crate) size: usize,
    pub(crate) pre: Prepared,
    pub(crate) exports: Exports,
}

impl Plugin {
    pub fn digest(&self) -> Digest {
        self.digest
    }

    pub fn world(&self) -> World {
        self.exports.world
    }

    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Bytes of the uploaded component.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether its instances fit the pool or take memory on demand.
    pub fn allocation(&self) -> Allocation {
        self.pre.allocation()
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.description.name)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// Why a component was not accepted. Each is a sentence for whoever pushed it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LoadError {
    #[error("the file has {size} bytes, more than the {max} that a plugin may have")]
    TooLarge { size: usize, max: usize },
    #[error("{0}")]
    NotAComponent(String),
    /// It imports something other than `tidegate:plugin/host`.
    #[error("{0}")]
    Import(String),
    /// Its exports are neither a filter's nor a router's.
    #[error("{0}")]
    World(String),
    #[error("{0}")]
    Compile(String),
    #[error("the plugin takes longer to compile than the {max_ms} ms that it may")]
    CompileTime { max_ms: u64 },
    #[error("the plugin takes more memory to compile than the {} MiB that it may", max_bytes >> 20)]
    CompileMemory { max_bytes: u64 },
    /// The compiler itself is in trouble: nothing is known about the plugin, and another try may do.
    #[error("{0}")]
    Unavailable(String),
    /// The dry run failed, or what `describe` said cannot be used.
    #[error("{0}")]
    Describe(String),
}
