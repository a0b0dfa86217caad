//! The seam in memory: [`MemoryLog`] and [`MemoryCommandLog`], for tests and benches.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use tidegate_record::{Offset, PartitionId};

use crate::{
    AbortedTransaction, Change, CommandLog, IndexRow, LogStore, PartitionEntry, Placed,
    ProducerSnapshot, StoreError, Stored,
};

/// A [`LogStore`] that forgets everything when dropped.
#[derive(Debug, Default)]
pub struct MemoryLog {
    partitions: RwLock<BTreeMap<PartitionId, Partition>>,
}

#[derive(Debug)]
struct Partition {
    entry: PartitionEntry,
    batches: BTreeMap<Offset, Stored>,
    /// By base offset of their batches.
    notes: BTreeMap<Offset, Bytes>,
    /// By the offset of their markers.
    aborted: BTreeMap<Offset, AbortedTransaction>,
    cleaned: Offset,
    producers: Option<ProducerSnapshot>,
}

impl MemoryLog {
    /// An empty store.
    pub fn new() -> MemoryLog {
        MemoryLog::default()
    }

    fn with<T>(&self, id: PartitionId, f: impl FnOnce(&Partition) -> T) -> Result<T, StoreError> {
        let partitions = self
            .partitions
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        partitions
            .get(&id)
            .map(f)
            .ok_or(StoreError::UnknownPartition(id))
    }

    fn with_mut<T>(
        &self,
        id: PartitionId,
        f: impl FnOnce(&mut Partition) -> T,
    ) -> Result<T, StoreError> {
        let mut partitions = self
            .partitions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        partitions
            .get_mut(&id)
            .map(f)
            .ok_or(StoreError::UnknownPartition(id))
    }
}

impl Partition {
    /// Batches from the one containing `from`, or the next one.
    fn from(&self, from: Offset) -> impl Iterator<Item = &Stored> {
        let containing = self
            .batches
            .range(..=from)
            .next_back()
            .filter(|(_, stored)| stored.row.last_offset >= from)
            .map_or(from, |(base, _)| *base);
        self.batches.range(containing..).map(|(_, stored)| stored)
    }

    fn keep(&mut self, stays: impl Fn(&IndexRow) -> bool) {
        self.batches.retain(|_, stored| stays(&stored.row));
        let batches = &self.batches;
        self.notes.retain(|base, _| batches.contains_key(base));
        self.aborted.retain(|base, _| batches.contains_key(base));
    }
}

impl LogStore for MemoryLog {
    fn partitions(&self) -> Result<Vec<PartitionEntry>, StoreError> {
        let partitions = self
            .partitions
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(partitions
            .values()
            .map(|partition| partition.entry)
            .collect())
    }

    fn create_partitions(&self, entries: &[PartitionEntry]) -> Result<(), StoreError> {
        let mut partitions = self
            .partitions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            if let Some(existing) = partitions.get(&entry.id) {
                existing.entry.same_partition(entry)?;
            }
        }
        for entry in entries {
            partitions.entry(entry.id).or_insert_with(|| Partition {
                entry: *entry,
                batches: BTreeMap::new(),
                notes: BTreeMap::new(),
                aborted: BTreeMap::new(),
                cleaned: 0,
                producers: None,
            });
        }
        Ok(())
    }

    fn delete_partitions(&self, ids: &[PartitionId]) -> Result<(), StoreError> {
        let mut partitions = self
            .partitions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        partitions.retain(|id, _| !ids.contains(id));
        Ok(())
    }

    fn write(&self, writes: &[Placed<'_>]) -> Result<(), StoreError> {
        let mut partitions = self
            .partitions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(unknown) = writes.iter().find(|w| !partitions.contains_key(&w.id)) {
            return Err(StoreError::UnknownPartition(unknown.id));
        }
        for write in writes {
            if let Some(partition) = partitions.get_mut(&write.id) {
                let stored = Stored {
                    row: write.row,
                    batch: write.bytes.clone(),
                };
                let base_offset = write.row.base_offset;
                partition.batches.insert(base_offset, stored);
                match write.note {
                    Some(note) => partition.notes.insert(base_offset, note.clone()),
                    None => partition.notes.remove(&base_offset),
                };
                match write.aborted {
                    Some(aborted) => partition.aborted.insert(base_offset, aborted),
                    None => partition.aborted.remove(&base_offset),
                };
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn read(
        &self,
        id: PartitionId,
        from: Offset,
        to: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        self.with(id, |partition| {
            let mut bytes = 0usize;
            let mut found = Vec::new();
            for stored in partition
                .from(from)
                .take_while(|stored| stored.row.base_offset < to)
            {
                bytes = bytes.saturating_add(stored.batch.len());
                if !found.is_empty() && bytes > max_bytes {
                    break;
                }
                found.push(stored.clone());
            }
            found
        })
    }

    fn rows(
        &self,
        id: PartitionId,
        from: Offset,
        limit: usize,
    ) -> Result<Vec<IndexRow>, StoreError> {
        self.with(id, |partition| {
            partition
                .from(from)
                .take(limit)
                .map(|stored| stored.row)
                .collect()
        })
    }

    fn note(&self, id: PartitionId, offset: Offset) -> Result<Option<(Offset, Bytes)>, StoreError> {
        self.with(id, |partition| {
            let row = partition.from(offset).next()?.row;
            let note = partition.notes.get(&row.base_offset)?;
            (row.base_offset <= offset).then(|| (row.base_offset, note.clone()))
        })
    }

    fn aborted(
        &self,
        id: PartitionId,
        from: Offset,
        limit: usize,
    ) -> Result<Vec<AbortedTransaction>, StoreError> {
        self.with(id, |partition| {
            let found = partition.aborted.range(from..).take(limit);
            found.map(|(_, aborted)| *aborted).collect()
        })
    }

    fn last_row(&self, id: PartitionId) -> Result<Option<IndexRow>, StoreError> {
        self.with(id, |partition| {
            partition.batches.values().next_back().map(|s| s.row)
        })
    }

    fn end(&self, id: PartitionId) -> Result<Offset, StoreError> {
        self.with(id, |partition| {
            let behind = partition
                .batches
                .values()
                .next_back()
                .map(|s| s.row.last_offset + 1);
            behind.unwrap_or(0).max(partition.entry.log_start)
        })
    }

    fn set_log_start(&self, id: PartitionId, start: Offset) -> Result<(), StoreError> {
        self.with_mut(id, |partition| {
            partition.entry.log_start = partition.entry.log_start.max(start);
        })
    }

    fn delete_below(&self, id: PartitionId, start: Offset) -> Result<(), StoreError> {
        self.with_mut(id, |partition| {
            partition.keep(|row| row.last_offset >= start);
        })
    }

    fn compact(
        &self,
        id: PartitionId,
        changes: &[Change<'_>],
        cleaned: Offset,
    ) -> Result<(), StoreError> {
        self.with_mut(id, |partition| {
            for change in changes {
                match change {
                    Change::Remove(base_offset) => {
                        partition.batches.remove(base_offset);
                        partition.notes.remove(base_offset);
                        partition.aborted.remove(base_offset);
                    }
                    Change::Row(row) => {
                        if let Some(stored) = partition.batches.get_mut(&row.base_offset) {
                            stored.row = *row;
                        }
                    }
                    Change::Rewrite(row, bytes) => {
                        let batch = Bytes::clone(bytes);
                        let stored = Stored { row: *row, batch };
                        partition.batches.insert(row.base_offset, stored);
                    }
                }
            }
            partition.cleaned = cleaned;
        })
    }

    fn cleaned(&self, id: PartitionId) -> Result<Offset, StoreError> {
        self.with(id, |partition| partition.cleaned)
    }

    fn producers(&self, id: PartitionId) -> Result<Option<ProducerSnapshot>, StoreError> {
        self.with(id, |partition| partition.producers.clone())
    }

    fn put_producers(
        &self,
        id: PartitionId,
        snapshot: &ProducerSnapshot,
    ) -> Result<(), StoreError> {
        self.with_mut(id, |partition| {
            partition.producers = Some(snapshot.clone());
        })
    }

    fn settle(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn truncate(&self, id: PartitionId, to: Offset) -> Result<(), StoreError> {
        self.with_mut(id, |partition| {
            partition.cleaned = partition.cleaned.min(to);
            partition.producers.take_if(|snapshot| snapshot.below > to);
            partition.keep(|row| row.last_offset < to);
        })
    }
}

/// A [`CommandLog`] that forgets everything when dropped.
#[derive(Debug, Default)]
pub struct MemoryCommandLog {
    state: Mutex<Commands>,
}

#[derive(Debug, Default)]
struct Commands {
    last: u64,
    commands: BTreeMap<u64, Bytes>,
    snapshot: Option<(u64, Vec<u8>)>,
}

impl MemoryCommandLog {
    /// An empty log.
    pub fn new() -> MemoryCommandLog {
        MemoryCommandLog::default()
    }

    fn state(&self) -> MutexGuard<'_, Commands> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CommandLog for MemoryCommandLog {
    fn append(&self, command: &[u8]) -> Result<u64, StoreError> {
        let mut state = self.state();
        state.last += 1;
        let index = state.last;
        state
            .commands
            .insert(index, Bytes::copy_from_slice(command));
        Ok(index)
    }

    fn replay(
        &self,
        from: u64,
        f: &mut dyn FnMut(u64, &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        // Collected first: `f` may append, and the lock is not reentrant.
        let commands: Vec<(u64, Bytes)> = self
            .state()
            .commands
            .range(from..)
            .map(|(i, c)| (*i, c.clone()))
            .collect();
        commands
            .iter()
            .try_for_each(|(index, command)| f(*index, command))
    }

    fn snapshot(&self, index: u64, image: &[u8]) -> Result<(), StoreError> {
        let mut state = self.state();
        let oldest = state.snapshot.as_ref().map_or(0, |(index, _)| *index);
        if index > state.last || index < oldest {
            return Err(StoreError::Invalid(format!(
                "snapshot at {index}: the log covers {oldest} to {}",
                state.last
            )));
        }
        state.commands = state.commands.split_off(&(index + 1));
        state.snapshot = Some((index, image.to_vec()));
        Ok(())
    }

    fn load_snapshot(&self) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        Ok(self.state().snapshot.clone())
    }
}
