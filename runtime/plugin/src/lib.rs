//! The plugin host: the only user of wasmtime.
//!
//! [`Engine::load`] turns uploaded bytes into a [`Plugin`], [`Engine::bind`] gives it a configuration and
//! limits ([`Binding`]), a [`Chain`] runs several bindings over one batch. Everything is synchronous; a
//! run belongs on the engine's [`Pool`], never on an async worker.
//!
//! Invariants: a component is compiled once per digest; a guest can reach nothing but its own memory and
//! `tidegate:plugin/host`; nothing a guest says is believed before it is checked, and nothing it does can
//! panic, block past its deadline, or allocate beyond its limits; only `clock` reads a clock.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)
)]

mod artifact;
mod binding;
mod breaker;
mod cache;
mod chain;
mod clock;
mod columns;
mod compile;
mod contract;
mod description;
mod edits;
mod engine;
mod failure;
mod guest;
mod histogram;
mod instance;
mod instances;
mod limits;
mod load;
mod log;
mod outcome;
mod plugin;
mod pool;
mod run;
mod signature;
mod site;
mod stats;
mod targets;
mod verdict;

pub use binding::{BindError, Binding, BindingSpec};
pub use breaker::BreakerState;
pub use chain::Chain;
pub use compile::{COMPILE_COMMAND, Compiler, compile_child};
pub use description::{Columns, ConfigKey, ConfigKind, Description, State, World};
pub use edits::{Edits, Header, RecordEdit};
pub use engine::{Engine, EngineError, EngineOptions};
pub use histogram::Histogram;
pub use limits::{Limits, OnError, OnReject};
pub use log::{LogLevel, LogLine, LogSink};
pub use outcome::{
    ChainFailure, ChainInput, ChainOutcome, ChainResult, DeadRecord, Failure, FailureKind,
    PartitionChoice, Rejection, Route, Side,
};
pub use plugin::{Digest, LoadError, Plugin};
pub use pool::{Job, Pool, PoolFull, PoolKey};
pub use signature::{KeyError, PrivateKey, PublicKey, Signature, SignedBy};
pub use site::Allocation;
pub use stats::BindingStats;
pub use targets::TargetPattern;
