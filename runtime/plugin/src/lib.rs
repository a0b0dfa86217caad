//! The plugin host: the only user of wasmtime.

mod binding;
mod chain;
mod description;
mod engine;
mod limits;
mod outcome;
mod plugin;
mod pool;
mod targets;

pub use binding::{BindError, Binding, BindingSpec, BindingStats, BreakerState};
pub use chain::Chain;
pub use description::{Columns, ConfigKey, ConfigKind, Description, State, World};
pub use engine::{Engine, EngineError, EngineOptions};
pub use limits::{Limits, OnError};
pub use outcome::{
    ChainFailure, ChainInput, ChainOutcome, ChainResult, FailureKind, PartitionChoice, Rejection,
    Route, Side,
};
pub use plugin::{Digest, LoadError, Plugin};
pub use pool::{Job, Pool, PoolFull, PoolKey};
pub use targets::TargetPattern;
