//! The seam on RocksDB: the only module that names it.
//!
//! Batches live in blob files, so compaction moves keys and never the records. One write-ahead log
//! serves all column families, which makes a [`LogStore::write`] atomic across partitions.
//!
//! Recovery is RocksDB's default, point in time: it stops at the first damage in the write-ahead
//! log and drops what follows without an error. After a power cut that is the unsynced tail, as it
//! should be; damage below the last sync would look the same, so a separately synced *floor* (`floor`)
//! tells the two apart. The stricter modes are no choice: `tests/faults/power_cut.py` finds tails
//! that they refuse.
//!
//! After a full disk RocksDB refuses every write, deletions too, and looks every five seconds
//! whether [`RocksOptions::write_buffer_bytes`] are free again; then it goes on by itself. So it is
//! the operator who makes room: retention cannot, because a log start has to be written to move.

mod bare;
mod commands;
mod cursor;
mod floor;
mod janitor;
mod log_files;
mod open;
mod options;
mod reader;
mod verify;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use rocksdb::{DB, Direction, FlushOptions, IteratorMode, ReadOptions, WriteBatch, WriteOptions};
use tidegate_record::{Offset, PartitionId};

pub use self::bare::BareRocks;
pub use self::commands::RocksCommandLog;
use self::cursor::Cursor;
pub(crate) use self::floor::FLOOR_FILE;
use self::floor::Floor;
use self::janitor::Janitor;
pub use self::options::RocksOptions;
use self::options::{ABORTED, BATCHES, FAMILIES, NOTES, PARTITIONS, PRODUCERS, ROWS};
pub use self::reader::StoreReader;
pub use self::verify::{Problem, Verified};
use crate::keys::{aborted, batch, cleaned, format, index_row, note, partition, producers};
use crate::{
    AbortedTransaction, Change, IndexRow, LogStore, PartitionEntry, Placed, ProducerSnapshot,
    StoreError, Stored,
};

/// A [`LogStore`] in one RocksDB directory. Dropping it closes the database.
pub struct RocksLog {
    // Before the database: its thread holds the database too and must end first.
    janitor: Janitor,
    db: Arc<DB>,
    // Behind the database: its lock is given back last.
    floor: Floor,
    /// The partition table, kept in step with its column family.
    table: RwLock<BTreeMap<PartitionId, PartitionEntry>>,
    /// Held while the table changes on disk, so that the lock above need not be: the writer reads
    /// the table, and must not wait for the sync of another thread.
    changes: Mutex<()>,
}

impl RocksLog {
    /// Opens the store in `dir`, creating it if there is none. A directory can be open once.
    pub fn open(dir: impl AsRef<Path>, options: RocksOptions) -> Result<RocksLog, StoreError> {
        let (database, families) = options.build()?;
        let (db, floor) = open::open(dir.as_ref(), &database, families)?;
        check_format(&db)?;
        let table = read_table(&db)?;
        let db = Arc::new(db);
        let janitor = Janitor::start(db.clone())?;
        Ok(RocksLog {
            janitor,
            db,
            floor,
            table: RwLock::new(table),
            changes: Mutex::new(()),
        })
    }

    fn table(&self) -> RwLockReadGuard<'_, BTreeMap<PartitionId, PartitionEntry>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn table_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<PartitionId, PartitionEntry>> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn changes(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, id: PartitionId) -> Result<PartitionEntry, StoreError> {
        self.table()
            .get(&id)
            .copied()
            .ok_or(StoreError::UnknownPartition(id))
    }

    fn cursor(&self, id: PartitionId) -> Result<Cursor<'_>, StoreError> {
        self.entry(id)?;
        Cursor::open(&self.db, id)
    }

    fn put_entry(&self, entry: &PartitionEntry) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        let key = partition::encode_key(entry.id);
        batch.put_cf(family(&self.db, PARTITIONS)?, key, partition::encode(entry));
        write_synced(&self.db, batch)
    }

    /// One write for all of them, durable: an entry without its log would be empty, a log without its entry for ever out
    /// of reach.
    fn delete_logs(&self, gone: &BTreeMap<PartitionId, PartitionEntry>) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for id in gone.keys() {
            batch.delete_cf(family(&self.db, PARTITIONS)?, partition::encode_key(*id));
            batch.delete(cleaned::key(*id));
            batch.delete_cf(family(&self.db, PRODUCERS)?, producers::encode_key(*id));
        }
        for (first, last) in runs(gone.keys()) {
            let from = batch::encode(first, 0);
            self.delete_range(&mut batch, &from, &batch::behind(last))?;
        }
        write_synced(&self.db, batch)
    }

    /// Adds the deletion of `[from, to)` of every column family of batches.
    fn delete_range(
        &self,
        batch: &mut WriteBatch,
        from: &[u8],
        to: &[u8],
    ) -> Result<(), StoreError> {
        batch.delete_range_cf(family(&self.db, BATCHES)?, from, to);
        batch.delete_range_cf(family(&self.db, ROWS)?, from, to);
        batch.delete_range_cf(family(&self.db, NOTES)?, from, to);
        batch.delete_range_cf(family(&self.db, ABORTED)?, from, to);
        Ok(())
    }
}

impl LogStore for RocksLog {
    fn partitions(&self) -> Result<Vec<PartitionEntry>, StoreError> {
        Ok(self.table().values().copied().collect())
    }

    fn create_partitions(&self, entries: &[PartitionEntry]) -> Result<(), StoreError> {
        if let Some(entry) = entries.iter().find(|e| e.index < 0 || e.log_start < 0) {
            return Err(StoreError::Invalid(format!("partition entry: {entry:?}")));
        }
        let _changes = self.changes();
        let mut new = BTreeMap::new();
        for entry in entries {
            match self.entry(entry.id) {
                Ok(present) => present.same_partition(entry)?,
                Err(_) => {
                    let first = new.entry(entry.id).or_insert(*entry);
                    first.same_partition(entry)?;
                }
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let mut batch = WriteBatch::default();
        let family = family(&self.db, PARTITIONS)?;
        for entry in new.values() {
            batch.put_cf(
                family,
                partition::encode_key(entry.id),
                partition::encode(entry),
            );
        }
        write_synced(&self.db, batch)?;
        self.table_mut().append(&mut new);
        Ok(())
    }

    fn delete_partitions(&self, ids: &[PartitionId]) -> Result<(), StoreError> {
        let _changes = self.changes();
        // First of all: behind it no write comes, and the writer need not wait for the sync.
        let mut gone: BTreeMap<_, _> = {
            let mut table = self.table_mut();
            let found = ids.iter().filter_map(|id| table.remove(id));
            found.map(|entry| (entry.id, entry)).collect()
        };
        if gone.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.delete_logs(&gone) {
            self.table_mut().append(&mut gone);
            return Err(error);
        }
        gone.keys().for_each(|id| self.janitor.reclaim(*id));
        Ok(())
    }

    fn write(&self, writes: &[Placed<'_>]) -> Result<(), StoreError> {
        let table = self.table();
        let mut room = 0usize;
        for write in writes {
            if !table.contains_key(&write.id) {
                return Err(StoreError::UnknownPartition(write.id));
            }
            room = room
                .saturating_add(write.bytes.len())
                .saturating_add(ROOM_PER_BATCH)
                .saturating_add(write.note.map_or(0, |note| note.len() + ROOM_PER_NOTE));
        }
        let (batches, rows) = (family(&self.db, BATCHES)?, family(&self.db, ROWS)?);
        let mut batch = WriteBatch::with_capacity_bytes(room);
        for write in writes {
            let key = batch::encode(write.id, write.row.base_offset);
            batch.put_cf(batches, key, write.bytes);
            batch.put_cf(rows, key, index_row::encode(&write.row));
            if let Some(text) = write.note {
                batch.put_cf(family(&self.db, NOTES)?, key, note::encode(text));
            }
            if let Some(transaction) = &write.aborted {
                let family = family(&self.db, ABORTED)?;
                batch.put_cf(family, key, aborted::encode(transaction));
            }
        }
        self.db.write(batch).map_err(store_error)
    }

    fn sync(&self) -> Result<(), StoreError> {
        // Entries of this number and below were in the log before it was synced.
        let written = self.db.latest_sequence_number();
        self.db.flush_wal(true).map_err(store_error)?;
        self.floor.raise(written);
        Ok(())
    }

    fn read(
        &self,
        id: PartitionId,
        from: Offset,
        to: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        let mut cursor = self.cursor(id)?;
        let next = cursor.seek(from)?;
        cursor.collect(next, to, max_bytes)
    }

    fn rows(
        &self,
        id: PartitionId,
        from: Offset,
        limit: usize,
    ) -> Result<Vec<IndexRow>, StoreError> {
        let mut cursor = self.cursor(id)?;
        let mut next = cursor.seek(from)?;
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(row) = next
        {
            found.push(row);
            next = cursor.next()?;
        }
        Ok(found)
    }

    fn note(&self, id: PartitionId, offset: Offset) -> Result<Option<(Offset, Bytes)>, StoreError> {
        let mut cursor = self.cursor(id)?;
        let row = cursor.seek(offset)?;
        let Some(row) = row.filter(|row| row.base_offset <= offset) else {
            return Ok(None);
        };
        let note = cursor.note(&row)?;
        Ok(note.map(|note| (row.base_offset, note)))
    }

    fn aborted(
        &self,
        id: PartitionId,
        from: Offset,
        limit: usize,
    ) -> Result<Vec<AbortedTransaction>, StoreError> {
        self.entry(id)?;
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(batch::behind(id));
        let first = batch::encode(id, from);
        let start = IteratorMode::From(&first, Direction::Forward);
        let family = family(&self.db, ABORTED)?;
        let mut found = Vec::new();
        for item in self.db.iterator_cf_opt(family, options, start).take(limit) {
            let (key, value) = item.map_err(store_error)?;
            let (_, marker) = batch::decode(&key)?;
            found.push(aborted::decode(marker, &value)?);
        }
        Ok(found)
    }

    fn last_row(&self, id: PartitionId) -> Result<Option<IndexRow>, StoreError> {
        self.cursor(id)?.last()
    }

    fn end(&self, id: PartitionId) -> Result<Offset, StoreError> {
        let start = self.entry(id)?.log_start;
        let last = self.last_row(id)?;
        Ok(last.map_or(start, |row| row.last_offset.saturating_add(1).max(start)))
    }

    fn set_log_start(&self, id: PartitionId, start: Offset) -> Result<(), StoreError> {
        let _changes = self.changes();
        let present = self.entry(id)?;
        if start <= present.log_start {
            return Ok(());
        }
        let moved = PartitionEntry {
            log_start: start,
            ..present
        };
        self.put_entry(&moved)?;
        self.table_mut().insert(id, moved);
        Ok(())
    }

    fn delete_below(&self, id: PartitionId, start: Offset) -> Result<(), StoreError> {
        let first = self.cursor(id)?.seek(0)?;
        if first.is_none_or(|row| row.last_offset >= start) {
            return Ok(());
        }
        // The batch that holds `start` stays whole.
        let keep = self
            .cursor(id)?
            .seek(start)?
            .map_or(start, |row| row.base_offset.min(start));
        let mut batch = WriteBatch::default();
        self.delete_range(&mut batch, &batch::encode(id, 0), &batch::encode(id, keep))?;
        self.db.write(batch).map_err(store_error)?;
        self.janitor.reclaim(id);
        Ok(())
    }

    fn compact(
        &self,
        id: PartitionId,
        changes: &[Change<'_>],
        below: Offset,
    ) -> Result<(), StoreError> {
        let table = self.table();
        if !table.contains_key(&id) {
            return Err(StoreError::UnknownPartition(id));
        }
        let (batches, rows) = (family(&self.db, BATCHES)?, family(&self.db, ROWS)?);
        let (notes, aborted) = (family(&self.db, NOTES)?, family(&self.db, ABORTED)?);
        let mut write = WriteBatch::default();
        for change in changes {
            match change {
                Change::Remove(base_offset) => {
                    let key = batch::encode(id, *base_offset);
                    write.delete_cf(batches, key);
                    write.delete_cf(rows, key);
                    write.delete_cf(notes, key);
                    write.delete_cf(aborted, key);
                }
                Change::Row(row) => {
                    let key = batch::encode(id, row.base_offset);
                    write.put_cf(rows, key, index_row::encode(row));
                }
                Change::Rewrite(row, bytes) => {
                    let key = batch::encode(id, row.base_offset);
                    write.put_cf(batches, key, bytes);
                    write.put_cf(rows, key, index_row::encode(row));
                }
            }
        }
        write.put(cleaned::key(id), cleaned::encode(below));
        self.db.write(write).map_err(store_error)?;
        self.janitor.reclaim(id);
        Ok(())
    }

    fn cleaned(&self, id: PartitionId) -> Result<Offset, StoreError> {
        self.entry(id)?;
        let value = self.db.get(cleaned::key(id)).map_err(store_error)?;
        value.map_or(Ok(0), |value| cleaned::decode(&value))
    }

    fn producers(&self, id: PartitionId) -> Result<Option<ProducerSnapshot>, StoreError> {
        self.entry(id)?;
        let key = producers::encode_key(id);
        let found = self.db.get_pinned_cf(family(&self.db, PRODUCERS)?, key);
        let found = found.map_err(store_error)?;
        found.map(|value| producers::decode(&value)).transpose()
    }

    fn put_producers(
        &self,
        id: PartitionId,
        snapshot: &ProducerSnapshot,
    ) -> Result<(), StoreError> {
        // Held to the end: a partition that is deleted meanwhile must leave nothing behind.
        let table = self.table();
        if !table.contains_key(&id) {
            return Err(StoreError::UnknownPartition(id));
        }
        let (key, value) = (producers::encode_key(id), producers::encode(snapshot));
        let family = family(&self.db, PRODUCERS)?;
        self.db.put_cf(family, key, value).map_err(store_error)
    }

    fn settle(&self) -> Result<(), StoreError> {
        let families = FAMILIES.map(|name| family(&self.db, name));
        let families = families.into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.db
            .flush_cfs_opt(&families, &options)
            .map_err(store_error)?;
        self.sync()
    }

    fn truncate(&self, id: PartitionId, to: Offset) -> Result<(), StoreError> {
        let Some(first) = self.cursor(id)?.seek(to)? else {
            return Ok(());
        };
        let mut batch = WriteBatch::default();
        let from = batch::encode(id, first.base_offset);
        self.delete_range(&mut batch, &from, &batch::behind(id))?;
        if self.cleaned(id)? > first.base_offset {
            batch.put(cleaned::key(id), cleaned::encode(first.base_offset));
        }
        // One that cannot be read may know of one too.
        let knows_more = match self.producers(id) {
            Err(StoreError::Corrupt(_)) => true,
            known => known?.is_some_and(|known| known.below > to),
        };
        if knows_more {
            batch.delete_cf(family(&self.db, PRODUCERS)?, producers::encode_key(id));
        }
        write_synced(&self.db, batch)?;
        self.janitor.reclaim(id);
        Ok(())
    }
}

/// Runs of ids that follow each other, as the partitions of a topic do: one deletion for each, since every one is looked at by reads
/// until it is compacted.
fn runs<'a>(ascending: impl Iterator<Item = &'a PartitionId>) -> Vec<(PartitionId, PartitionId)> {
    let mut runs: Vec<(PartitionId, PartitionId)> = Vec::new();
    for id in ascending {
        match runs.last_mut() {
            Some((_, last)) if last.0.checked_add(1) == Some(id.0) => *last = *id,
            _ => runs.push((*id, *id)),
        }
    }
    runs
}

/// Two keys, a row and RocksDB's framing of both records.
const ROOM_PER_BATCH: usize = 2 * batch::LEN + index_row::LEN + 24;

/// Its key, its layout and the framing of one record more.
const ROOM_PER_NOTE: usize = batch::LEN + 13;

fn read_table(db: &DB) -> Result<BTreeMap<PartitionId, PartitionEntry>, StoreError> {
    let mut table = BTreeMap::new();
    for item in db.iterator_cf(family(db, PARTITIONS)?, IteratorMode::Start) {
        let (key, value) = item.map_err(store_error)?;
        let entry = partition::decode(&key, &value)?;
        table.insert(entry.id, entry);
    }
    Ok(table)
}

/// Refuses what a later version wrote, and what is no database of ours.
fn check_format_only(db: &DB) -> Result<(), StoreError> {
    match db.get(format::KEY).map_err(store_error)? {
        Some(found) => format::check(&found),
        None => Err(StoreError::Corrupt("it has no format version".into())),
    }
}

/// Refuses what a later version wrote; marks a database that is new, or from an earlier one.
fn check_format(db: &DB) -> Result<(), StoreError> {
    if let Some(found) = db.get(format::KEY).map_err(store_error)? {
        format::check(&found)?;
        if found == format::encode(format::CURRENT) {
            return Ok(());
        }
    }
    let mut batch = WriteBatch::default();
    batch.put(format::KEY, format::encode(format::CURRENT));
    write_synced(db, batch)
}

fn write_synced(db: &DB, batch: WriteBatch) -> Result<(), StoreError> {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    db.write_opt(batch, &options).map_err(store_error)
}

fn family<'a>(db: &'a DB, name: &str) -> Result<&'a rocksdb::ColumnFamily, StoreError> {
    db.cf_handle(name)
        .ok_or_else(|| StoreError::Corrupt(format!("column family {name} is missing")))
}

/// RocksDB's errors reach us as text; the operating system's own words are in it.
fn store_error(error: rocksdb::Error) -> StoreError {
    let kind = error.kind();
    let text = error.into_string();
    if text.contains("No space left on device") || text.contains("Disk quota exceeded") {
        return StoreError::DiskFull(text);
    }
    if text.contains("While lock file") {
        return StoreError::InUse(text);
    }
    match kind {
        rocksdb::ErrorKind::Corruption => StoreError::Corrupt(text),
        _ => StoreError::Io(text),
    }
}

#[cfg(test)]
mod tests {
    use rocksdb::ColumnFamilyDescriptor;
    use tidegate_record::{BatchBuilder, Codec, LeaderEpoch, RecordParts};

    use super::*;

    #[test]
    fn ids_that_follow_each_other_are_one_run() {
        let ids = [1, 2, 3, 7, 9, 10, u32::MAX].map(PartitionId);
        let found: Vec<_> = runs(ids.iter())
            .iter()
            .map(|run| (run.0.0, run.1.0))
            .collect();
        assert_eq!(found, [(1, 3), (7, 7), (9, 10), (u32::MAX, u32::MAX)]);
    }

    /// What a store held before there were notes and transactions: the same families but two.
    #[test]
    fn a_store_from_before_notes_opens() {
        let dir = tempfile::tempdir().unwrap();
        let entry = PartitionEntry {
            id: PartitionId(1),
            topic_id: [7; 16],
            index: 0,
            log_start: 0,
        };
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(RecordParts::default()).unwrap();
        let placed = builder.build().unwrap().place(0, LeaderEpoch(1));
        let row = IndexRow::of(&placed, 0, 0, 0, i64::MIN);
        {
            let (database, mut families) = RocksOptions::default().build().unwrap();
            families.retain(|family: &ColumnFamilyDescriptor| {
                ![NOTES, ABORTED].contains(&family.name())
            });
            let db = DB::open_cf_descriptors(&database, dir.path(), families).unwrap();
            check_format(&db).unwrap();
            let mut write = WriteBatch::default();
            let key = batch::encode(entry.id, 0);
            write.put_cf(family(&db, BATCHES).unwrap(), key, placed.bytes());
            write.put_cf(family(&db, ROWS).unwrap(), key, index_row::encode(&row));
            let table = family(&db, PARTITIONS).unwrap();
            write.put_cf(
                table,
                partition::encode_key(entry.id),
                partition::encode(&entry),
            );
            write_synced(&db, write).unwrap();
        }
        let store = RocksLog::open(dir.path(), RocksOptions::default()).unwrap();
        assert_eq!(store.rows(entry.id, 0, 9).unwrap(), [row]);
        assert_eq!(store.note(entry.id, 0).unwrap(), None);
        assert_eq!(store.aborted(entry.id, 0, 9).unwrap(), []);
        let note = Bytes::from_static(b"noted");
        let noted = Placed {
            id: entry.id,
            row: IndexRow {
                base_offset: 1,
                last_offset: 1,
                ..row
            },
            bytes: placed.bytes(),
            note: Some(&note),
            aborted: None,
        };
        store.write(&[noted]).unwrap();
        assert_eq!(store.note(entry.id, 1).unwrap(), Some((1, note)));
    }
}
