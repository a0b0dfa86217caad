//! The tail cache: the newest batches of each partition as the bytes that were written, oldest
//! out first over all partitions together.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use tidegate_record::Offset;

use super::lock;
use super::partition::Partition;
use crate::Stored;

/// Memory of a cached batch beside its bytes: the row and the two queue slots.
pub(super) const OVERHEAD: usize = 192;

/// The newest batches of one partition, contiguous up to its end.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    batches: VecDeque<Stored>,
}

impl Tail {
    /// As [`crate::LogStore::read`]; `None` when the batch at `from` is older than the cache.
    pub(crate) fn read(&self, from: Offset, to: Offset, max_bytes: usize) -> Option<Vec<Stored>> {
        self.batches
            .front()
            .filter(|oldest| oldest.row.base_offset <= from)?;
        let first = self
            .batches
            .partition_point(|stored| stored.row.last_offset < from);
        let mut bytes = 0usize;
        let mut found = Vec::new();
        for stored in self
            .batches
            .range(first..)
            .take_while(|s| s.row.base_offset < to)
        {
            bytes = bytes.saturating_add(stored.batch.len());
            if !found.is_empty() && bytes > max_bytes {
                break;
            }
            found.push(stored.clone());
        }
        Some(found)
    }

    /// Whether the batch at `offset`, which is below the end of the log, is here.
    pub(crate) fn has(&self, offset: Offset) -> bool {
        let oldest = self.batches.front();
        oldest.is_some_and(|oldest| oldest.row.base_offset <= offset)
    }

    /// Frees the batches wholly below `start`.
    pub(crate) fn forget_below(&mut self, start: Offset) {
        let gone = self
            .batches
            .partition_point(|stored| stored.row.last_offset < start);
        self.batches.drain(..gone);
    }

    pub(crate) fn clear(&mut self) {
        self.batches.clear();
    }
}

/// Every cached batch in the order of publication, with the memory it is charged for. Owned by the
/// writer thread alone.
///
/// A batch that left its [`Tail`] early (log start moved, truncated, partition deleted) stays
/// charged until its turn comes: the budget is kept without any accounting on those paths.
#[derive(Default)]
pub(crate) struct Order {
    entries: VecDeque<Entry>,
    used: usize,
    budget: usize,
}

struct Entry {
    partition: Weak<Partition>,
    base_offset: Offset,
    charge: usize,
}

impl Order {
    pub(crate) fn new(budget: usize) -> Order {
        Order {
            budget,
            ..Order::default()
        }
    }

    pub(crate) fn publish(&mut self, partition: &Arc<Partition>, stored: Stored) {
        let charge = stored.batch.len().saturating_add(OVERHEAD);
        let base_offset = stored.row.base_offset;
        self.entries.push_back(Entry {
            partition: Arc::downgrade(partition),
            base_offset,
            charge,
        });
        self.used = self.used.saturating_add(charge);
        lock(&partition.tail).batches.push_back(stored);
        self.evict();
    }

    fn evict(&mut self) {
        while self.used > self.budget
            && let Some(entry) = self.entries.pop_front()
        {
            self.used = self.used.saturating_sub(entry.charge);
            let Some(partition) = entry.partition.upgrade() else {
                continue;
            };
            let mut tail = lock(&partition.tail);
            if tail
                .batches
                .front()
                .is_some_and(|s| s.row.base_offset == entry.base_offset)
            {
                tail.batches.pop_front();
            }
        }
    }
}
