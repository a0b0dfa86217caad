//! The counters of one binding.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::instance::CallError;
use crate::{BreakerState, FailureKind};

/// Counters since the binding was made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BindingStats {
    pub records_in: u64,
    pub kept: u64,
    pub dropped: u64,
    pub rejected: u64,
    pub routed: u64,
    /// Calls that failed, of every kind; runs that an open breaker refused count too.
    pub errors: u64,
    /// Calls into the guest.
    pub calls: u64,
    /// Wall time of those calls, lowering and lifting included.
    pub nanos: u64,
    pub traps: u64,
    pub deadline_hits: u64,
    pub memory_hits: u64,
    pub output_hits: u64,
    /// Instances alive now.
    pub instances: u64,
    /// Instances made since the binding was.
    pub instantiations: u64,
    /// Log messages not kept because of the rate limit.
    pub log_dropped: u64,
    pub breaker: BreakerState,
    pub last_error: Option<String>,
    /// The guest's own counters.
    pub counters: BTreeMap<String, u64>,
}

#[derive(Default)]
pub(crate) struct Counters {
    records_in: AtomicU64,
    kept: AtomicU64,
    dropped: AtomicU64,
    rejected: AtomicU64,
    routed: AtomicU64,
    errors: AtomicU64,
    calls: AtomicU64,
    nanos: AtomicU64,
    traps: AtomicU64,
    deadline_hits: AtomicU64,
    memory_hits: AtomicU64,
    output_hits: AtomicU64,
    last_error: Mutex<Option<String>>,
}

/// What one batch adds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) records_in: u64,
    pub(crate) dropped: u64,
    pub(crate) rejected: u64,
    pub(crate) routed: u64,
    pub(crate) calls: u64,
    pub(crate) nanos: u64,
}

impl Counters {
    pub(crate) fn add(&self, tally: &Tally) {
        let kept = tally
            .records_in
            .saturating_sub(tally.dropped + tally.rejected);
        for (counter, delta) in [
            (&self.records_in, tally.records_in),
            (&self.kept, kept),
            (&self.dropped, tally.dropped),
            (&self.rejected, tally.rejected),
            (&self.routed, tally.routed),
            (&self.calls, tally.calls),
            (&self.nanos, tally.nanos),
        ] {
            counter.fetch_add(delta, Ordering::Relaxed);
        }
    }

    pub(crate) fn failed(&self, error: &CallError) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        let counter = match error.kind {
            FailureKind::Trap => Some(&self.traps),
            FailureKind::Deadline => Some(&self.deadline_hits),
            FailureKind::Memory => Some(&self.memory_hits),
            FailureKind::OutputLimit => Some(&self.output_hits),
            _ => None,
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        if error.kind != FailureKind::BreakerOpen {
            let mut last = self
                .last_error
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *last = Some(error.message.clone());
        }
    }

    /// The counters; what they do not know is left for the binding to fill in.
    pub(crate) fn snapshot(&self) -> BindingStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BindingStats {
            records_in: get(&self.records_in),
            kept: get(&self.kept),
            dropped: get(&self.dropped),
            rejected: get(&self.rejected),
            routed: get(&self.routed),
            errors: get(&self.errors),
            calls: get(&self.calls),
            nanos: get(&self.nanos),
            traps: get(&self.traps),
            deadline_hits: get(&self.deadline_hits),
            memory_hits: get(&self.memory_hits),
            output_hits: get(&self.output_hits),
            last_error: self
                .last_error
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            ..BindingStats::default()
        }
    }
}
