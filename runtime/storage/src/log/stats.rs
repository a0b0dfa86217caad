//! What the writer thread counts, for metrics and benches.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Totals since the log was opened.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct LogStats {
    /// Writes to the store, each a group of appends.
    pub writes: u64,
    /// Batches written.
    pub batches: u64,
    /// Bytes of batches written.
    pub bytes: u64,
    /// Syncs that succeeded.
    pub syncs: u64,
    /// Time spent in them (ns).
    pub sync_nanos: u64,
}

#[derive(Default)]
pub(crate) struct Counters {
    writes: AtomicU64,
    batches: AtomicU64,
    bytes: AtomicU64,
    syncs: AtomicU64,
    sync_nanos: AtomicU64,
}

impl Counters {
    pub(crate) fn wrote(&self, batches: usize, bytes: usize) {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.batches.fetch_add(batches as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn synced(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.sync_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> LogStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LogStats {
            writes: read(&self.writes),
            batches: read(&self.batches),
            bytes: read(&self.bytes),
            syncs: read(&self.syncs),
            sync_nanos: read(&self.sync_nanos),
        }
    }
}
