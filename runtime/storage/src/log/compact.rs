//! Compaction: of each key only the latest record stays (KIP-58, KIP-354, KIP-534).
//!
//! One pass reads the keys of what was never compacted, then rewrites the log up to there without the records that a
//! later one replaces. Offsets never change: a batch that loses records becomes sparse, one that loses all of them goes,
//! unless it ends the log or holds a producer's last sequence, which its empty header then keeps. A tombstone stays for
//! `delete_retention_ms` after the pass that removed what it deletes, so that whoever had read that still hears of it.
//!
//! A pass ends below the last stable offset, so the fate of every transaction in its scope is known: records of aborted
//! ones go and replace nothing. A marker goes like a tombstone, `delete_retention_ms` after the last record of its
//! transaction went, unless it is what the log last heard of its producer.
//!
//! Appends and reads go on beside a pass: batches are replaced a few at a time, each time atomically, and a reader
//! sees the old or the new one.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use tidegate_record::{Batch, Offset, PartitionId, Records, last_kept_delta, retain};

use super::partition::Partition;
use super::times::LIMITS;
use super::{Log, lock};
use crate::{
    AbortedTransaction, Change, Compaction, CompactionPolicy, IndexRow, ReadError, Stored,
};

/// Rows looked at in one step.
const PAGE: usize = 1024;
/// Bytes of batches read, and of batches replaced, in one step.
const STEP_BYTES: usize = 1 << 20;

/// What is known of the part that is compacted, so that a look costs the new rows only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compacted {
    /// Everything below it.
    below: Offset,
    bytes: u64,
    /// The first time (ms) at which tombstones in it may go.
    next_horizon: i64,
}

/// The part of the log that a pass is about.
struct Scope {
    /// Where what was never compacted begins.
    dirty: Offset,
    /// Where the pass ends; nothing at or above it is touched.
    end: Offset,
}

/// Names a key by 128 bits. Two keys of one name would be taken for one and lose a record, so whoever chooses keys must
/// not be able to make a pair: a keyed hash, whose key the caller draws.
pub type KeyName = dyn Fn(&[u8]) -> u128;

/// Offset of the latest record of each key.
struct Latest<'a> {
    name: &'a KeyName,
    offsets: HashMap<u128, Offset>,
}

impl Log {
    /// Compacts the partition if enough of it is worth it. `None`: not now. Blocks on the disk for as long as it takes;
    /// a second call for the same partition waits for the first.
    pub fn compact(
        &self,
        id: PartitionId,
        policy: &CompactionPolicy,
        name: &KeyName,
    ) -> Result<Option<Compaction>, ReadError> {
        let partition = self.known(id)?;
        let mut known = lock(&partition.compaction);
        let compacted = match *known {
            Some(compacted) => compacted,
            None => self.recall(&partition)?,
        };
        *known = Some(compacted);
        let Some(scope) = self.scope(&partition, &compacted, policy)? else {
            return Ok(None);
        };
        let (latest, end) = self.latest(id, &scope, policy.max_keys, name)?;
        let scope = Scope { end, ..scope };
        let pass = Pass {
            log: self,
            partition: &partition,
            policy,
            latest: &latest,
            last_of_producer: self.last_of_producers(&partition)?,
            with_records: HashSet::new(),
            next_horizon: i64::MAX,
            done: Compaction {
                cleaned: end,
                records: 0,
                removed: 0,
                bytes_before: 0,
                bytes_after: 0,
            },
        };
        let (done, next_horizon) = pass.run(&scope)?;
        *known = Some(Compacted {
            below: end,
            bytes: done.bytes_after,
            next_horizon,
        });
        Ok(Some(done))
    }

    /// What the store remembers of earlier passes.
    fn recall(&self, partition: &Partition) -> Result<Compacted, ReadError> {
        let start = partition.start();
        let below = self
            .shared
            .store
            .cleaned(partition.id())?
            .clamp(start, partition.bounds().end);
        let mut compacted = Compacted {
            below,
            bytes: 0,
            next_horizon: i64::MAX,
        };
        self.each_row(partition.id(), start..below, |row| {
            compacted.bytes += u64::from(row.size);
            if row.delete_horizon > 0 {
                compacted.next_horizon = compacted.next_horizon.min(row.delete_horizon);
            }
            true
        })?;
        Ok(compacted)
    }

    fn scope(
        &self,
        partition: &Partition,
        compacted: &Compacted,
        policy: &CompactionPolicy,
    ) -> Result<Option<Scope>, ReadError> {
        let dirty = compacted.below.max(partition.start());
        let end = self.old_enough(partition, dirty, policy)?;
        if end <= dirty && compacted.next_horizon > policy.now_ms {
            return Ok(None);
        }
        // Positions tell sizes, so a log that is not due costs no walk over its rows.
        let id = partition.id();
        let first = self.shared.store.rows(id, dirty, 1)?;
        let oldest = first.first().map_or(i64::MAX, |row| row.append_time);
        let from = first
            .first()
            .map_or(partition.end().position, |row| row.position);
        let bytes = match end > dirty {
            true => self.position(partition, end)?.saturating_sub(from),
            false => 0,
        };
        let all = bytes + compacted.bytes;
        let worth = bytes > 0 && bytes as f64 >= policy.min_dirty_ratio * all as f64;
        let overdue = policy.now_ms.saturating_sub(oldest) > policy.max_lag_ms;
        let tombstones = compacted.next_horizon <= policy.now_ms;
        let due = worth || (bytes > 0 && overdue) || tombstones;
        Ok(due.then_some(Scope { dirty, end }))
    }

    /// Where what is too young, or not replicated yet, begins.
    fn old_enough(
        &self,
        partition: &Partition,
        dirty: Offset,
        policy: &CompactionPolicy,
    ) -> Result<Offset, ReadError> {
        let id = partition.id();
        if policy.to <= dirty {
            return Ok(dirty);
        }
        if policy.min_lag_ms == 0 {
            let last = self.shared.store.rows(id, policy.to - 1, 1)?;
            return Ok(match last.first() {
                Some(row) if row.base_offset < policy.to && row.last_offset >= policy.to => {
                    row.base_offset.max(dirty)
                }
                _ => policy.to,
            });
        }
        let mut end = dirty;
        let young = policy.now_ms.saturating_sub(policy.min_lag_ms);
        self.each_row(id, dirty..policy.to, |row| {
            let may = row.last_offset < policy.to && row.append_time <= young;
            if may {
                end = row.last_offset + 1;
            }
            may
        })?;
        Ok(end)
    }

    /// Bytes of the partition before the first batch at or behind an offset.
    fn position(&self, partition: &Partition, offset: Offset) -> Result<u64, ReadError> {
        let behind = self.shared.store.rows(partition.id(), offset, 1)?;
        Ok(match behind.first() {
            Some(row) => row.position,
            None => partition.end().position,
        })
    }

    /// The latest offset of each key in what was never compacted, and where remembering had to stop.
    fn latest<'a>(
        &self,
        id: PartitionId,
        scope: &Scope,
        max_keys: usize,
        name: &'a KeyName,
    ) -> Result<(Latest<'a>, Offset), ReadError> {
        let mut latest = Latest {
            name,
            offsets: HashMap::new(),
        };
        let mut next = scope.dirty;
        while next < scope.end {
            let stored = self.shared.store.read(id, next, scope.end, STEP_BYTES)?;
            if stored.is_empty() {
                break;
            }
            let aborted = self.aborted_in(id, &stored)?;
            for item in stored {
                // One batch may go beyond the bound, or a pass could get nowhere.
                if latest.offsets.len() >= max_keys && next > scope.dirty {
                    return Ok((latest, item.row.base_offset));
                }
                next = item.row.last_offset + 1;
                if is_aborted(&item.row, &aborted) {
                    continue;
                }
                if let Some(records) = open(&item)?.map(|(_, records)| records) {
                    latest.add(&records, item.row.base_offset);
                }
            }
        }
        Ok((latest, scope.end))
    }

    /// Base offsets of the batches that hold a producer's last sequence, and of the last markers, which hold epochs.
    fn last_of_producers(&self, partition: &Partition) -> Result<HashSet<Offset>, ReadError> {
        let mut last = HashMap::new();
        let bounds = partition.bounds();
        self.each_row(partition.id(), bounds.start..bounds.end, |row| {
            if row.producer_id >= 0 && (row.base_sequence >= 0 || is_control(row)) {
                last.insert((row.producer_id, is_control(row)), row.base_offset);
            }
            true
        })?;
        Ok(last.into_values().collect())
    }

    /// Aborted transactions that have records in these batches.
    fn aborted_in(
        &self,
        id: PartitionId,
        stored: &[Stored],
    ) -> Result<Vec<AbortedTransaction>, ReadError> {
        match (stored.first(), stored.last()) {
            (Some(first), Some(last)) => {
                self.aborted(id, first.row.base_offset, last.row.last_offset + 1)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Shows the rows that begin in the range, in order, until `each` says no.
    fn each_row(
        &self,
        id: PartitionId,
        range: std::ops::Range<Offset>,
        mut each: impl FnMut(&IndexRow) -> bool,
    ) -> Result<(), ReadError> {
        let mut next = range.start;
        while next < range.end {
            let rows = self.shared.store.rows(id, next, PAGE)?;
            let Some(last) = rows.last() else { break };
            next = last.last_offset.saturating_add(1);
            for row in &rows {
                if row.base_offset >= range.end || !each(row) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

struct Pass<'a> {
    log: &'a Log,
    partition: &'a Partition,
    policy: &'a CompactionPolicy,
    latest: &'a Latest<'a>,
    last_of_producer: HashSet<Offset>,
    /// Producers whose transaction, as far as it was walked over, still has records.
    with_records: HashSet<i64>,
    next_horizon: i64,
    done: Compaction,
}

impl Pass<'_> {
    fn run(mut self, scope: &Scope) -> Result<(Compaction, i64), ReadError> {
        let id = self.partition.id();
        let mut next = self.partition.start();
        while next < scope.end {
            let stored = self
                .log
                .shared
                .store
                .read(id, next, scope.end, STEP_BYTES)?;
            let Some(last) = stored.last() else { break };
            next = last.row.last_offset + 1;
            let aborted = self.log.aborted_in(id, &stored)?;
            let mut outcomes = Vec::with_capacity(stored.len());
            for item in &stored {
                outcomes.push(self.clean(item, &aborted)?);
            }
            let changes: Vec<Change<'_>> = outcomes
                .iter()
                .filter_map(|outcome| outcome.as_ref().map(Outcome::change))
                .collect();
            self.apply(&changes, scope.dirty)?;
        }
        self.close_ranks(scope)?;
        Ok((self.done, self.next_horizon))
    }

    /// What is left of one batch; `None` = all of it.
    fn clean(
        &mut self,
        item: &Stored,
        aborted: &[AbortedTransaction],
    ) -> Result<Option<Outcome>, ReadError> {
        self.done.bytes_before += u64::from(item.row.size);
        let row = item.row;
        if is_control(&row) {
            return Ok(self.clean_marker(row));
        }
        let Some((batch, records)) = open(item)? else {
            // Nothing in it that compaction knows; an empty header may go when nothing needs it any more.
            let goes = row.is_empty() && !self.is_needed(&row);
            self.done.bytes_after += if goes { 0 } else { u64::from(row.size) };
            return Ok(goes.then_some(Outcome::Remove(row.base_offset)));
        };
        let is_aborted = is_aborted(&row, aborted);
        let mut tombstones = false;
        let keep: Vec<bool> = records
            .iter()
            .map(|record| {
                let offset = row.base_offset + i64::from(record.offset_delta);
                let is_latest = record
                    .key
                    .is_some_and(|key| self.latest.is_latest(key, offset));
                let expired = record.value.is_none()
                    && row.delete_horizon > 0
                    && row.delete_horizon <= self.policy.now_ms;
                let keep = is_latest && !expired && !is_aborted;
                tombstones |= keep && record.value.is_none();
                keep
            })
            .collect();
        let kept = keep.iter().filter(|keep| **keep).count();
        if kept > 0 && is_transactional(&row) {
            self.with_records.insert(row.producer_id);
        }
        self.done.records += keep.len() as u64;
        self.done.removed += (keep.len() - kept) as u64;
        if kept == 0 && !self.is_needed(&row) {
            return Ok(Some(Outcome::Remove(row.base_offset)));
        }
        let horizon = match (tombstones, row.delete_horizon) {
            (false, _) => 0,
            (true, 0) => self.horizon(),
            (true, set) => set,
        };
        if tombstones {
            self.next_horizon = self.next_horizon.min(horizon);
        }
        if kept == keep.len() {
            self.done.bytes_after += u64::from(row.size);
            let marked = IndexRow {
                delete_horizon: horizon,
                ..row
            };
            return Ok((marked != row).then_some(Outcome::Row(marked)));
        }
        let keep = |index: usize| keep.get(index) == Some(&true);
        let rewritten = retain(&batch, &records, keep).map_err(corrupt)?;
        let row = IndexRow {
            last_surviving_delta: last_kept_delta(&records, keep),
            max_timestamp: rewritten.header().max_timestamp,
            attributes: rewritten.header().attributes.0,
            size: u32::try_from(rewritten.bytes().len()).unwrap_or(u32::MAX),
            delete_horizon: horizon,
            ..row
        };
        self.done.bytes_after += u64::from(row.size);
        Ok(Some(Outcome::Rewrite(row, rewritten.into_bytes())))
    }

    /// A marker has nothing to say once no record of its transaction is left; who had read them still hears of their end.
    fn clean_marker(&mut self, row: IndexRow) -> Option<Outcome> {
        let ends_records = self.with_records.remove(&row.producer_id);
        let horizon = match (ends_records || self.is_needed(&row), row.delete_horizon) {
            (true, _) => 0,
            (false, 0) => self.horizon(),
            (false, set) if set <= self.policy.now_ms => {
                return Some(Outcome::Remove(row.base_offset));
            }
            (false, set) => set,
        };
        if horizon > 0 {
            self.next_horizon = self.next_horizon.min(horizon);
        }
        self.done.bytes_after += u64::from(row.size);
        let marked = IndexRow {
            delete_horizon: horizon,
            ..row
        };
        (marked != row).then_some(Outcome::Row(marked))
    }

    /// From when on what this pass leaves behind for latecomers may go (ms).
    fn horizon(&self) -> i64 {
        let retention_ms = self.policy.delete_retention_ms;
        self.policy.now_ms.saturating_add(retention_ms).max(1)
    }

    /// The log ends with it, or a producer's sequence or epoch goes on from it.
    fn is_needed(&self, row: &IndexRow) -> bool {
        row.last_offset + 1 == self.partition.bounds().end
            || self.last_of_producer.contains(&row.base_offset)
    }

    /// Under the lock of whatever else changes what is stored, so that a batch that retention deleted meanwhile does not
    /// come back.
    fn apply(&self, changes: &[Change<'_>], cleaned: Offset) -> Result<(), ReadError> {
        let _admin = lock(&self.log.shared.admin);
        self.log.shared.check_online()?;
        let start = self.partition.start();
        let there: Vec<Change<'_>> = changes
            .iter()
            .filter(|change| match change {
                Change::Remove(base_offset) => *base_offset >= start,
                Change::Row(row) | Change::Rewrite(row, _) => row.last_offset >= start,
            })
            .copied()
            .collect();
        if there.is_empty() {
            return Ok(());
        }
        let store = &self.log.shared.store;
        let compacted = store.compact(self.partition.id(), &there, cleaned);
        self.log.guard(compacted)?;
        // Cached batches still have what just went.
        lock(&self.partition.tail).forget_below(self.done.cleaned);
        lock(&self.partition.stretches).clear();
        Ok(())
    }

    /// Moves the positions of what is left together, against what follows: the difference of two positions is a size.
    fn close_ranks(&self, scope: &Scope) -> Result<(), ReadError> {
        let id = self.partition.id();
        let end_position = self.log.position(self.partition, scope.end)?;
        let start = self.partition.start();
        let mut left = 0;
        self.log.each_row(id, start..scope.end, |row| {
            left += u64::from(row.size);
            true
        })?;
        let mut position = end_position.saturating_sub(left);
        let mut moved = Vec::new();
        let mut next = start;
        while next < scope.end {
            let rows = self.log.shared.store.rows(id, next, PAGE)?;
            let Some(last) = rows.last() else { break };
            next = last.last_offset.saturating_add(1);
            for row in rows.into_iter().filter(|row| row.base_offset < scope.end) {
                let size = u64::from(row.size);
                if row.position != position {
                    moved.push(IndexRow { position, ..row });
                }
                position += size;
            }
            let changes: Vec<Change<'_>> = moved.drain(..).map(Change::Row).collect();
            self.apply(&changes, scope.dirty)?;
        }
        let _admin = lock(&self.log.shared.admin);
        let store = &self.log.shared.store;
        self.log.guard(store.compact(id, &[], scope.end))?;
        let start = self.partition.start();
        let position = self.log.position(self.partition, start)?;
        self.partition.set_start(start, position);
        Ok(())
    }
}

/// What a batch becomes.
enum Outcome {
    Remove(Offset),
    Row(IndexRow),
    Rewrite(IndexRow, Bytes),
}

impl Outcome {
    fn change(&self) -> Change<'_> {
        match self {
            Outcome::Remove(base_offset) => Change::Remove(*base_offset),
            Outcome::Row(row) => Change::Row(*row),
            Outcome::Rewrite(row, bytes) => Change::Rewrite(*row, bytes),
        }
    }
}

impl Latest<'_> {
    fn add(&mut self, records: &Records, base_offset: Offset) {
        for record in records.iter() {
            if let Some(key) = record.key {
                let offset = base_offset + i64::from(record.offset_delta);
                self.offsets.insert((self.name)(key), offset);
            }
        }
    }

    fn is_latest(&self, key: &[u8], offset: Offset) -> bool {
        self.offsets
            .get(&(self.name)(key))
            .is_none_or(|latest| *latest <= offset)
    }
}

/// A batch of whose producer an aborted transaction reaches over it.
fn is_aborted(row: &IndexRow, aborted: &[AbortedTransaction]) -> bool {
    is_transactional(row)
        && aborted.iter().any(|transaction| {
            transaction.producer_id == row.producer_id
                && (transaction.first_offset..=transaction.last_offset).contains(&row.base_offset)
        })
}

/// A batch with records that have keys; `None` for control batches and empty ones.
fn open(item: &Stored) -> Result<Option<(Batch, Records)>, ReadError> {
    if item.row.is_empty() || is_control(&item.row) {
        return Ok(None);
    }
    let batch = Batch::stored(item.batch.clone()).map_err(corrupt)?;
    let records = batch.records(LIMITS).map_err(corrupt)?;
    Ok(Some((batch, records)))
}

fn is_transactional(row: &IndexRow) -> bool {
    tidegate_record::Attributes(row.attributes).is_transactional()
}

fn is_control(row: &IndexRow) -> bool {
    tidegate_record::Attributes(row.attributes).is_control()
}

fn corrupt(error: impl std::fmt::Display) -> ReadError {
    ReadError::Store(crate::StoreError::Corrupt(error.to_string()))
}
