//! What the log keeps in memory of one partition.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU64, Ordering};

use tidegate_record::{LeaderEpoch, Offset, PartitionId};

use super::ahead::Stretches;
use super::compact::Compacted;
use super::lock;
use super::tail::Tail;
use crate::{Bounds, FlushPolicy, IndexRow, LogStore, PartitionEntry, StoreError};

/// Positions of one partition. Only the writer moves the end forward; truncation moves it back
/// under the gate, so it never runs beside the writer. `start <= end` and `synced_end <= end`.
pub(crate) struct Partition {
    entry: PartitionEntry,
    start: AtomicI64,
    end: AtomicI64,
    synced_end: AtomicI64,
    /// How often the end moved back.
    cuts: AtomicU64,
    epoch: AtomicI32,
    /// Position of the first batch that is still readable.
    start_position: AtomicU64,
    end_position: AtomicU64,
    max_timestamp: AtomicI64,
    /// At or behind the last marker that aborted something, -1 without one: where a reader need not look.
    last_abort: AtomicI64,
    pub(crate) tail: Mutex<Tail>,
    pub(crate) stretches: Mutex<Stretches>,
    flush: Mutex<FlushPolicy>,
    /// Held through a pass of compaction, so that there is one at a time.
    pub(crate) compaction: Mutex<Option<Compacted>>,
}

/// Where the next batch of a partition goes.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct End {
    pub(crate) offset: Offset,
    pub(crate) position: u64,
    pub(crate) max_timestamp: i64,
}

impl End {
    /// Behind `last`; at `start` when the log is empty.
    pub(crate) fn behind(last: Option<&IndexRow>, start: Offset) -> End {
        last.map_or(
            End {
                offset: start,
                position: 0,
                max_timestamp: i64::MIN,
            },
            |row| End {
                offset: row.last_offset.saturating_add(1).max(start),
                position: row.end_position(),
                max_timestamp: row.max_timestamp_so_far,
            },
        )
    }
}

impl Partition {
    /// A partition as the store holds it. Everything found is taken as synced: a store that opens
    /// has flushed what it recovered.
    pub(crate) fn load(
        store: &dyn LogStore,
        entry: PartitionEntry,
    ) -> Result<Partition, StoreError> {
        let end = End::behind(store.last_row(entry.id)?.as_ref(), entry.log_start);
        let oldest = store.rows(entry.id, 0, 1)?;
        if oldest
            .first()
            .is_some_and(|row| row.last_offset < entry.log_start)
        {
            // A crash came between moving the log start and deleting what lies below it.
            store.delete_below(entry.id, entry.log_start)?;
        }
        let first = store.rows(entry.id, entry.log_start, 1)?;
        let start_position = first.first().map_or(end.position, |row| row.position);
        Ok(Partition {
            entry,
            start: AtomicI64::new(entry.log_start),
            end: AtomicI64::new(end.offset),
            synced_end: AtomicI64::new(end.offset),
            cuts: AtomicU64::new(0),
            epoch: AtomicI32::new(-1),
            start_position: AtomicU64::new(start_position),
            end_position: AtomicU64::new(end.position),
            max_timestamp: AtomicI64::new(end.max_timestamp),
            last_abort: AtomicI64::new(last_abort(store, entry, end.offset)?),
            tail: Mutex::default(),
            stretches: Mutex::default(),
            flush: Mutex::default(),
            compaction: Mutex::default(),
        })
    }

    pub(crate) fn id(&self) -> PartitionId {
        self.entry.id
    }

    pub(crate) fn entry(&self) -> PartitionEntry {
        PartitionEntry {
            log_start: self.start(),
            ..self.entry
        }
    }

    pub(crate) fn start(&self) -> Offset {
        self.start.load(Ordering::Acquire)
    }

    /// The synced end is read before the end, which only ever is ahead of it.
    pub(crate) fn bounds(&self) -> Bounds {
        let synced_end = self.synced_end.load(Ordering::Acquire);
        Bounds {
            start: self.start(),
            end: self.end.load(Ordering::Acquire),
            synced_end,
        }
    }

    pub(crate) fn end(&self) -> End {
        End {
            offset: self.end.load(Ordering::Acquire),
            position: self.end_position.load(Ordering::Acquire),
            max_timestamp: self.max_timestamp.load(Ordering::Acquire),
        }
    }

    /// The offset goes last: whoever sees it finds the batches below it in the tail or the store.
    pub(crate) fn set_end(&self, end: End) {
        self.end_position.store(end.position, Ordering::Release);
        self.max_timestamp
            .store(end.max_timestamp, Ordering::Release);
        self.end.store(end.offset, Ordering::Release);
    }

    /// For truncation: readers stop before the end does, so that they never see a synced end
    /// beyond it. Under the gate.
    pub(crate) fn cut(&self, end: End) {
        self.cuts.fetch_add(1, Ordering::AcqRel);
        let synced = self.synced_end.load(Ordering::Acquire);
        self.synced_end
            .store(synced.min(end.offset), Ordering::Release);
        self.set_end(end);
    }

    pub(crate) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Acquire)
    }

    /// Everything up to `end`, as it was after so many cuts, is on disk. False: what stands there now came later. Under the
    /// gate.
    pub(crate) fn set_synced(&self, end: Offset, cuts: u64) -> bool {
        let holds = self.cuts() == cuts;
        if holds {
            self.synced_end.fetch_max(end, Ordering::AcqRel);
        }
        holds
    }

    pub(crate) fn set_start(&self, start: Offset, position: u64) {
        self.start_position.store(position, Ordering::Release);
        self.start.store(start, Ordering::Release);
    }

    pub(crate) fn epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.epoch.load(Ordering::Acquire))
    }

    pub(crate) fn set_epoch(&self, epoch: LeaderEpoch) {
        self.epoch.store(epoch.0, Ordering::Release);
    }

    pub(crate) fn last_abort(&self) -> Offset {
        self.last_abort.load(Ordering::Acquire)
    }

    pub(crate) fn aborted(&self, marker: Offset) {
        self.last_abort.fetch_max(marker, Ordering::AcqRel);
    }

    pub(crate) fn flush_policy(&self) -> FlushPolicy {
        *lock(&self.flush)
    }

    pub(crate) fn set_flush_policy(&self, policy: FlushPolicy) {
        *lock(&self.flush) = policy;
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        let end = self.end_position.load(Ordering::Acquire);
        end.saturating_sub(self.start_position.load(Ordering::Acquire))
    }
}

/// Behind every marker, if any transaction was aborted at all: which one was the last does not matter.
fn last_abort(
    store: &dyn LogStore,
    entry: PartitionEntry,
    end: Offset,
) -> Result<Offset, StoreError> {
    let any = !store.aborted(entry.id, entry.log_start, 1)?.is_empty();
    Ok(if any { end } else { -1 })
}
