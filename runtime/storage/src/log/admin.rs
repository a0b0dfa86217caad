//! Partitions coming and going, epochs, the log start, truncation.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLockWriteGuard};

use tidegate_record::{LeaderEpoch, Offset, PartitionId};

use super::partition::{End, Partition};
use super::{Log, lock};
use crate::{FlushPolicy, IndexRow, PartitionEntry, ReadError, RetentionPolicy, StoreError};

/// Rows looked at per step of retention.
const PAGE: usize = 1024;

impl Log {
    /// Creates the partition unless it is there; durable. It takes no appends before
    /// [`Log::set_epoch`].
    pub fn ensure_partition(&self, entry: PartitionEntry) -> Result<(), StoreError> {
        self.ensure_partitions(&[entry])
    }

    /// The same for many, all or none, with one sync: a topic may have thousands.
    pub fn ensure_partitions(&self, entries: &[PartitionEntry]) -> Result<(), StoreError> {
        let _admin = lock(&self.shared.admin);
        let mut new = Vec::new();
        for entry in entries {
            match self.shared.partition(entry.id) {
                Some(present) => present.entry().same_partition(entry)?,
                None => new.push(*entry),
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        self.shared.check_online()?;
        self.guard(self.shared.store.create_partitions(&new))?;
        for entry in new {
            let partition = Partition::load(self.shared.store.as_ref(), entry)?;
            self.table().insert(entry.id, Arc::new(partition));
        }
        Ok(())
    }

    /// Removes the partition and its records, durably; queued appends to it are refused.
    /// Removing what is not there is no error.
    pub fn delete_partition(&self, id: PartitionId) -> Result<(), StoreError> {
        self.delete_partitions(&[id])
    }

    /// The same for many, all or none, with one sync, for which no append waits.
    pub fn delete_partitions(&self, ids: &[PartitionId]) -> Result<(), StoreError> {
        let _admin = lock(&self.shared.admin);
        self.shared.check_online()?;
        {
            // Whoever comes behind the writer finds it either done with the partition or refusing it.
            let _gate = lock(&self.shared.gate);
            let mut table = self.table();
            for id in ids {
                if let Some(partition) = table.remove(id) {
                    lock(&partition.tail).clear();
                    lock(&partition.stretches).clear();
                }
            }
        }
        self.guard(self.shared.store.delete_partitions(ids))
    }

    /// From its return on, appends to the partition carrying another epoch are refused
    /// (stream-semantics rule 12). Waits for a write under way, not for a sync.
    pub fn set_epoch(&self, id: PartitionId, epoch: LeaderEpoch) {
        let Some(partition) = self.shared.partition(id) else {
            return;
        };
        let _gate = lock(&self.shared.gate);
        partition.set_epoch(epoch);
    }

    /// When appends to the partition that nobody waits for are synced; takes effect with the next one. An append with
    /// [`Append::sync`](super::Append::sync) is synced at once whatever this says.
    pub fn set_flush_policy(&self, id: PartitionId, policy: FlushPolicy) {
        if let Some(partition) = self.shared.partition(id) {
            partition.set_flush_policy(policy);
        }
    }

    /// Moves the log start to `to` and deletes what lies below it, durable first: a crash in
    /// between leaves records nobody can read, deleted at the next start. Returns the log start,
    /// which never moves back.
    pub fn move_log_start(&self, id: PartitionId, to: Offset) -> Result<Offset, ReadError> {
        let _admin = lock(&self.shared.admin);
        let partition = self.known(id)?;
        let bounds = partition.bounds();
        if to > bounds.end {
            return Err(ReadError::OutOfRange {
                start: bounds.start,
                end: bounds.end,
            });
        }
        if to <= bounds.start {
            return Ok(bounds.start);
        }
        self.shared.check_online()?;
        let store = self.shared.store.as_ref();
        self.guard(store.set_log_start(id, to))?;
        let first = self.guard(store.rows(id, to, 1))?;
        let position = first
            .first()
            .map_or(partition.end().position, |row| row.position);
        partition.set_start(to, position);
        lock(&partition.tail).forget_below(to);
        self.guard(store.delete_below(id, to))?;
        Ok(to)
    }

    /// Applies a retention policy to the batches wholly below `to` (the high watermark). Returns
    /// the new log start if it moved.
    pub fn retain(
        &self,
        id: PartitionId,
        policy: RetentionPolicy,
        now_ms: i64,
        to: Offset,
    ) -> Result<Option<Offset>, ReadError> {
        let partition = self.known(id)?;
        let start = partition.start();
        let end_position = partition.end().position;
        let mut keep_from = start;
        loop {
            let page = self.rows(id, keep_from, PAGE)?;
            let gone = page
                .iter()
                .take_while(|row| row.last_offset < to)
                .take_while(|row| expired(row, policy, now_ms, end_position))
                .count();
            if let Some(last) = gone.checked_sub(1).and_then(|last| page.get(last)) {
                keep_from = last.last_offset.saturating_add(1);
            }
            if gone < PAGE {
                break;
            }
        }
        if keep_from == start {
            return Ok(None);
        }
        self.move_log_start(id, keep_from).map(Some)
    }

    /// Deletes every batch with a record at or above `to`, durably, for a follower that has to
    /// agree with its leader. Nothing may be queued for the partition.
    pub fn truncate(&self, id: PartitionId, to: Offset) -> Result<(), ReadError> {
        let _admin = lock(&self.shared.admin);
        let partition = self.known(id)?;
        self.shared.check_online()?;
        let _gate = lock(&self.shared.gate);
        let store = self.shared.store.as_ref();
        if to >= partition.end().offset {
            return Ok(());
        }
        self.guard(store.truncate(id, to))?;
        let last = self.guard(store.last_row(id))?;
        partition.cut(End::behind(last.as_ref(), partition.start()));
        lock(&partition.tail).clear();
        lock(&partition.stretches).clear();
        Ok(())
    }

    /// These writes are synced: when one fails with anything but a full disk, it is unknown what
    /// the disk holds, as after a failed commit.
    pub(super) fn guard<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error @ (StoreError::Io(_) | StoreError::Corrupt(_))) = &result {
            self.shared.go_offline(&error.to_string());
        }
        result
    }

    fn table(&self) -> RwLockWriteGuard<'_, HashMap<PartitionId, Arc<Partition>>> {
        self.shared
            .partitions
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// By age, a batch goes by its newest record; one without records, or without timestamps, by when
/// it was appended. By size, it goes when enough stays without it.
fn expired(row: &IndexRow, policy: RetentionPolicy, now_ms: i64, end_position: u64) -> bool {
    let newest = if row.is_empty() || row.max_timestamp < 0 {
        row.append_time
    } else {
        row.max_timestamp
    };
    let too_old = |max_age_ms| now_ms.saturating_sub(newest) > max_age_ms;
    let behind = end_position.saturating_sub(row.end_position());
    policy.max_age_ms.is_some_and(too_old) || policy.max_bytes.is_some_and(|max| behind >= max)
}
