//! Reading: the tail cache first, then what was read a moment ago or ahead, the store behind them.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use tidegate_record::{Offset, PartitionId};

use super::ahead::Stretch;
use super::partition::Partition;
use super::{Log, Shared, lock};
use crate::{AbortedTransaction, Bounds, IndexRow, PartitionEntry, ReadError, StoreError, Stored};

/// Aborted transactions read in one step.
const ABORTED_PAGE: usize = 1024;

impl Log {
    /// Every partition of the store with its present log start, by ascending id; also those the
    /// cluster's metadata does not know.
    pub fn partitions(&self) -> Vec<PartitionEntry> {
        let partitions = self
            .shared
            .partitions
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let mut entries: Vec<_> = partitions.values().map(|p| p.entry()).collect();
        entries.sort_by_key(|entry| entry.id);
        entries
    }

    /// Where the partition's log begins and ends; `None` when there is no such partition.
    pub fn bounds(&self, id: PartitionId) -> Option<Bounds> {
        Some(self.shared.partition(id)?.bounds())
    }

    /// Bytes of the partition's readable batches; 0 when there is no such partition.
    pub fn size_bytes(&self, id: PartitionId) -> u64 {
        self.shared
            .partition(id)
            .map_or(0, |partition| partition.size_bytes())
    }

    /// Batches from the one containing `from`, ascending, with `base_offset < to`: at least one
    /// when there is any, then as many as fit in `max_bytes`. Empty at the end of the log. The
    /// first batch may begin before `from`, even before the log start.
    ///
    /// Blocks on the disk when the batches are no longer cached.
    pub fn read(
        &self,
        id: PartitionId,
        from: Offset,
        to: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Stored>, ReadError> {
        let partition = self.known(id)?;
        let end = in_range(&partition, from)?;
        let to = to.min(end);
        if from >= to {
            return Ok(Vec::new());
        }
        if let Some(cached) = lock(&partition.tail).read(from, to, max_bytes) {
            return Ok(cached);
        }
        self.ask_store(&partition, from, |store| {
            store.read(id, from, to, max_bytes)
        })
    }

    /// As [`Log::read`], and keeps what was not cached for a while: for consumers, of whom others may want the same. It may
    /// come to less than `max_bytes` where somebody read it for less.
    pub fn read_shared(
        &self,
        id: PartitionId,
        from: Offset,
        to: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Stored>, ReadError> {
        let partition = self.known(id)?;
        let to = to.min(in_range(&partition, from)?);
        let is_cached = from >= to || lock(&partition.tail).has(from);
        if is_cached || !self.shared.ahead.keeps(max_bytes) {
            return self.read(id, from, to, max_bytes);
        }
        if let Some(recent) = lock(&partition.stretches).read(from, to, max_bytes) {
            return Ok(recent);
        }
        let stretch = lock(&partition.stretches).at(from);
        self.shared.fill(&partition, &stretch, from, max_bytes)?;
        let read = stretch.read(from, to, max_bytes);
        // Whoever read it could not.
        if read.is_empty() {
            return self.read(id, from, to, max_bytes);
        }
        Ok(read)
    }

    /// As [`Log::read_shared`] but from what was read a moment ago, or ahead, so it never blocks on the disk. `None` when that
    /// is not there: ask [`Log::read_shared`].
    pub fn read_recent(
        &self,
        id: PartitionId,
        from: Offset,
        to: Offset,
        max_bytes: usize,
    ) -> Option<Vec<Stored>> {
        let partition = self.shared.partition(id)?;
        let to = to.min(in_range(&partition, from).ok()?);
        lock(&partition.stretches).read(from, to, max_bytes)
    }

    /// Work for whoever may block on the disk: reads what comes after a read of older batches that began at `began` and
    /// ended before `next`. `None` where it would not be worth it.
    pub fn ahead(
        &self,
        id: PartitionId,
        began: Offset,
        next: Offset,
        max_bytes: usize,
    ) -> Option<impl FnOnce() + Send + 'static> {
        let partition = self.shared.partition(id)?;
        let is_old = next < partition.end().offset && !lock(&partition.tail).has(next);
        let stretch =
            is_old.then(|| self.shared.ahead.next(&partition, began, next, max_bytes))??;
        let shared = self.shared.clone();
        Some(move || {
            if let Err(error) = shared.fill(&partition, &stretch, next, max_bytes) {
                tracing::debug!(?id, %error, "cannot read ahead");
            }
        })
    }

    /// As [`Log::read`] but from the tail cache alone, so it never blocks on the disk. `None` when
    /// `from` is not cached or not in the log: ask [`Log::read`].
    pub fn read_tail(
        &self,
        id: PartitionId,
        from: Offset,
        to: Offset,
        max_bytes: usize,
    ) -> Option<Vec<Stored>> {
        let partition = self.shared.partition(id)?;
        let to = to.min(in_range(&partition, from).ok()?);
        if from >= to {
            return Some(Vec::new());
        }
        lock(&partition.tail).read(from, to, max_bytes)
    }

    /// At most `limit` rows from the one containing `from`, ascending. May block on the disk.
    pub fn rows(
        &self,
        id: PartitionId,
        from: Offset,
        limit: usize,
    ) -> Result<Vec<IndexRow>, ReadError> {
        let partition = self.known(id)?;
        let end = in_range(&partition, from)?;
        let mut rows = self.ask_store(&partition, from, |store| store.rows(id, from, limit))?;
        // The store may be ahead of what was published.
        rows.retain(|row| row.base_offset < end);
        Ok(rows)
    }

    /// What the writer of the batch containing `offset` noted of it, with the batch's base offset;
    /// `None` where it noted nothing. May block on the disk.
    pub fn note(
        &self,
        id: PartitionId,
        offset: Offset,
    ) -> Result<Option<(Offset, Bytes)>, ReadError> {
        let partition = self.known(id)?;
        let end = in_range(&partition, offset)?;
        let note = self.ask_store(&partition, offset, |store| store.note(id, offset))?;
        // The store may be ahead of what was published.
        Ok(note.filter(|(base_offset, _)| *base_offset < end))
    }

    /// Aborted transactions that have records in `from..to`, ascending by marker, which may stand behind `to`. Blocks on
    /// the disk, if there are any that end at `from` or behind it.
    pub fn aborted(
        &self,
        id: PartitionId,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<AbortedTransaction>, ReadError> {
        let partition = self.known(id)?;
        let mut found = Vec::new();
        let mut next = from;
        while next <= partition.last_abort() {
            let page = self.shared.store.aborted(id, next, ABORTED_PAGE)?;
            let Some(last) = page.last() else { break };
            next = last.last_offset.saturating_add(1);
            // Everything behind it began at or behind its stable offset.
            let is_last = last.stable_offset >= to;
            found.extend(page.iter().filter(|aborted| aborted.first_offset < to));
            if is_last {
                break;
            }
        }
        Ok(found)
    }

    /// Whether [`Log::aborted`] from there on would find anything; asks no disk.
    pub fn may_have_aborted(&self, id: PartitionId, from: Offset) -> bool {
        self.shared
            .partition(id)
            .is_some_and(|partition| from <= partition.last_abort())
    }

    pub(super) fn known(&self, id: PartitionId) -> Result<Arc<Partition>, ReadError> {
        self.shared
            .partition(id)
            .ok_or(ReadError::UnknownPartition(id))
    }

    /// A read that raced with retention may find nothing, or half of what it looked for: whatever
    /// the store said, the answer is then that the offset is gone.
    fn ask_store<T>(
        &self,
        partition: &Partition,
        from: Offset,
        read: impl FnOnce(&dyn crate::LogStore) -> Result<T, StoreError>,
    ) -> Result<T, ReadError> {
        let found = read(self.shared.store.as_ref());
        in_range(partition, from)?;
        Ok(found?)
    }
}

impl Shared {
    /// Reads a stretch that begins at `from`, unless that is done.
    fn fill(
        &self,
        partition: &Arc<Partition>,
        stretch: &Arc<Stretch>,
        from: Offset,
        max_bytes: usize,
    ) -> Result<(), ReadError> {
        let mut failed = None;
        let filled = stretch.fill(|| {
            let read = self
                .store
                .read(partition.id(), from, partition.end().offset, max_bytes);
            read.unwrap_or_else(|error| {
                failed = Some(error);
                Vec::new()
            })
        });
        if filled {
            self.ahead.keep(partition, from, stretch);
        }
        in_range(partition, from)?;
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// The log end if `from` is inside the log or right at its end.
fn in_range(partition: &Partition, from: Offset) -> Result<Offset, ReadError> {
    let Bounds { start, end, .. } = partition.bounds();
    if (start..=end).contains(&from) {
        Ok(end)
    } else {
        Err(ReadError::OutOfRange { start, end })
    }
}
