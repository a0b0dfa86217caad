//! The counters of one binding.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::failure::CallError;
use crate::histogram::{AtomicHistogram, Histogram};
use crate::{BreakerState, FailureKind};

/// Counters since the binding was made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BindingStats {
    pub records_in: u64,
    /// Records that went on to the next plugin, edited ones and those passed by a policy among them.
    pub kept: u64,
    /// Kept with something replaced.
    pub edited: u64,
    pub dropped: u64,
    pub rejected: u64,
    pub routed: u64,
    /// Records for the dead-letter topic, for failing the plugin or being rejected.
    pub dead_lettered: u64,
    /// Records that stayed undecided because of `tidegate.on.error=pass`.
    pub passed: u64,
    /// Calls that failed, of every kind; runs that an open breaker refused count too.
    pub errors: u64,
    /// Calls into the guest.
    pub calls: u64,
    /// Wall time of those calls, lowering and lifting included.
    pub nanos: u64,
    /// CPU time of those calls.
    pub cpu_nanos: u64,
    /// Wall time of whole runs, one for each batch: all its calls, and waiting for an instance.
    pub latency: Histogram,
    /// Bytes of columns put into the guest.
    pub lowered_bytes: u64,
    pub traps: u64,
    pub deadline_hits: u64,
    pub memory_hits: u64,
    pub output_hits: u64,
    /// Hits of each limit, by name: `deadline`, `memory`, `table.elements`, `instances`, `output.bytes`, `output.records`,
    /// `log.rate` and `counters`. A limit that was never hit is not there.
    pub limit_hits: BTreeMap<&'static str, u64>,
    /// Instances alive now.
    pub instances: u64,
    /// Instances made since the binding was.
    pub instantiations: u64,
    /// The largest linear memory of a live instance, in bytes.
    pub memory_bytes: u64,
    /// Log messages not kept because of the rate limit.
    pub log_dropped: u64,
    pub breaker: BreakerState,
    /// Why `tidegate.on.error=pause` stopped it, until it is resumed.
    pub paused: Option<String>,
    pub last_error: Option<String>,
    /// The guest's own counters.
    pub counters: BTreeMap<String, u64>,
}

#[derive(Default)]
pub(crate) struct Counters {
    records_in: AtomicU64,
    kept: AtomicU64,
    edited: AtomicU64,
    dropped: AtomicU64,
    rejected: AtomicU64,
    routed: AtomicU64,
    dead_lettered: AtomicU64,
    passed: AtomicU64,
    errors: AtomicU64,
    calls: AtomicU64,
    nanos: AtomicU64,
    cpu_nanos: AtomicU64,
    lowered_bytes: AtomicU64,
    latency: AtomicHistogram,
    traps: AtomicU64,
    deadline_hits: AtomicU64,
    memory_hits: AtomicU64,
    output_hits: AtomicU64,
    troubles: Mutex<Troubles>,
}

/// What only failures touch.
#[derive(Default)]
struct Troubles {
    limit_hits: BTreeMap<&'static str, u64>,
    last_error: Option<String>,
}

/// What one batch adds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) records_in: u64,
    pub(crate) edited: u64,
    pub(crate) dropped: u64,
    pub(crate) rejected: u64,
    pub(crate) routed: u64,
    pub(crate) dead_lettered: u64,
    pub(crate) passed: u64,
    pub(crate) calls: u64,
    pub(crate) nanos: u64,
    pub(crate) cpu_nanos: u64,
    pub(crate) lowered_bytes: u64,
}

impl Counters {
    /// `run_nanos`: the wall time of the whole run.
    pub(crate) fn add(&self, tally: &Tally, run_nanos: u64) {
        let taken = tally.dropped + tally.rejected + tally.dead_lettered;
        let kept = tally.records_in.saturating_sub(taken);
        for (counter, delta) in [
            (&self.records_in, tally.records_in),
            (&self.kept, kept),
            (&self.edited, tally.edited),
            (&self.dropped, tally.dropped),
            (&self.rejected, tally.rejected),
            (&self.routed, tally.routed),
            (&self.dead_lettered, tally.dead_lettered),
            (&self.passed, tally.passed),
            (&self.calls, tally.calls),
            (&self.nanos, tally.nanos),
            (&self.cpu_nanos, tally.cpu_nanos),
            (&self.lowered_bytes, tally.lowered_bytes),
        ] {
            if delta > 0 {
                counter.fetch_add(delta, Ordering::Relaxed);
            }
        }
        self.latency.add(run_nanos);
    }

    /// `told`: the error with the place where it happened.
    pub(crate) fn failed(&self, error: &CallError, told: String) {
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
        let mut troubles = self.troubles();
        if let Some(limit) = error.limit {
            *troubles.limit_hits.entry(limit).or_default() += 1;
        }
        // Not having been asked must not hide why.
        if !matches!(error.kind, FailureKind::BreakerOpen | FailureKind::Paused) {
            troubles.last_error = Some(told);
        }
    }

    /// The counters; what they do not know is left for the binding to fill in.
    pub(crate) fn snapshot(&self) -> BindingStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let troubles = self.troubles();
        BindingStats {
            records_in: get(&self.records_in),
            kept: get(&self.kept),
            edited: get(&self.edited),
            dropped: get(&self.dropped),
            rejected: get(&self.rejected),
            routed: get(&self.routed),
            dead_lettered: get(&self.dead_lettered),
            passed: get(&self.passed),
            errors: get(&self.errors),
            calls: get(&self.calls),
            nanos: get(&self.nanos),
            cpu_nanos: get(&self.cpu_nanos),
            lowered_bytes: get(&self.lowered_bytes),
            latency: self.latency.snapshot(),
            traps: get(&self.traps),
            deadline_hits: get(&self.deadline_hits),
            memory_hits: get(&self.memory_hits),
            output_hits: get(&self.output_hits),
            limit_hits: troubles.limit_hits.clone(),
            last_error: troubles.last_error.clone(),
            ..BindingStats::default()
        }
    }

    fn troubles(&self) -> MutexGuard<'_, Troubles> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
