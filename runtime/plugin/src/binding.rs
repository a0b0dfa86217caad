//! A plugin with a configuration and limits, ready to be put into chains.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Limits, OnError, Plugin, TargetPattern};

#[derive(Clone, Debug, Default)]
pub struct BindingSpec {
    /// The name this plugin carries in the chain.
    pub alias: String,
    pub config: BTreeMap<String, String>,
    pub limits: Limits,
    pub on_error: OnError,
}

/// Why a plugin was not bound. Each is a sentence for whoever set the configuration.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BindError {
    #[error("{0}")]
    Config(String),
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Unsupported(String),
    #[error("{0}")]
    Failed(String),
    #[error("{0}")]
    Targets(String),
}

pub struct Binding {
    plugin: Arc<Plugin>,
    spec: BindingSpec,
    targets: Vec<TargetPattern>,
}

impl Binding {
    pub fn alias(&self) -> &str {
        &self.spec.alias
    }

    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    pub fn on_error(&self) -> OnError {
        self.spec.on_error
    }

    pub fn limits(&self) -> &Limits {
        &self.spec.limits
    }

    /// What a router may name; empty for a filter.
    pub fn targets(&self) -> &[TargetPattern] {
        &self.targets
    }

    pub fn stats(&self) -> BindingStats {
        BindingStats::default()
    }

    /// Closes the breaker, as an operator's `plugin resume` does.
    pub fn resume(&self) {}
}

/// Counters since the binding was made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BindingStats {
    pub records_in: u64,
    pub kept: u64,
    pub dropped: u64,
    pub rejected: u64,
    pub routed: u64,
    /// Runs that failed, of every kind.
    pub errors: u64,
    /// Calls into the guest.
    pub calls: u64,
    /// Wall time of those calls.
    pub nanos: u64,
    pub traps: u64,
    pub deadline_hits: u64,
    pub memory_hits: u64,
    pub output_hits: u64,
    /// Instances alive now.
    pub instances: u64,
    /// Instances made since the binding was.
    pub instantiations: u64,
    /// Log messages and bytes not kept because of the rate limit.
    pub log_dropped: u64,
    pub breaker: BreakerState,
    pub last_error: Option<String>,
    /// The guest's own counters.
    pub counters: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum BreakerState {
    #[default]
    Closed,
    Open,
    /// Open long enough: one call is let through to try.
    HalfOpen,
}
