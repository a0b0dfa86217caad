//! A store that nobody has open, read as it lies: for whoever wants to look at it or check it.

use std::fs::File;
use std::path::{Path, PathBuf};

use rocksdb::{DB, ReadOptions};
use tidegate_record::{Offset, PartitionId};

use super::cursor::Cursor;
use super::floor::{self, FloorFile, Known};
use super::open::{check_there, open_to_read};
use super::options::PRODUCERS;
use super::{check_format_only, family, read_table, store_error};
use crate::keys::producers;
use crate::{IndexRow, PartitionEntry, ProducerSnapshot, StoreError, Stored};

/// A store of records opened for reading. Nothing in its directory changes but RocksDB's `LOG`: what a start would recover from the
/// write-ahead log is recovered in memory, up to the log's size (256 MiB as a broker sets it).
pub struct StoreReader {
    pub(super) db: DB,
    dir: PathBuf,
    floor: Option<Known>,
    /// Keeps brokers away. A store from before there were floors has nothing that could be locked.
    _lock: Option<File>,
}

impl StoreReader {
    /// Opens the store in `dir`. [`StoreError::InUse`] while a broker runs on it.
    pub fn open(dir: impl AsRef<Path>) -> Result<StoreReader, StoreError> {
        let dir = dir.as_ref();
        if !dir.is_dir() {
            return Err(StoreError::Io(format!(
                "{}: no such directory",
                dir.display()
            )));
        }
        let (lock, floor) = FloorFile::lock_to_read(dir)?;
        check_there(dir)?;
        let db = open_to_read(dir)?;
        check_format_only(&db)?;
        Ok(StoreReader {
            db,
            dir: dir.to_owned(),
            floor,
            _lock: lock,
        })
    }

    /// [`StoreError::Lost`] when less is there than was synced: a broker would refuse to start.
    pub fn check_floor(&self) -> Result<(), StoreError> {
        floor::check_manifest(&self.dir, self.floor)?;
        floor::check(&self.dir, self.floor, self.db.latest_sequence_number())
    }

    /// The partition table, by ascending id.
    pub fn partitions(&self) -> Result<Vec<PartitionEntry>, StoreError> {
        Ok(read_table(&self.db)?.into_values().collect())
    }

    /// Batches from the one that holds `from` on: one at least if there is any, then as many as fit into `max_bytes`.
    pub fn read(
        &self,
        id: PartitionId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        let mut cursor = Cursor::open(&self.db, id)?;
        let next = cursor.seek(from)?;
        cursor.collect(next, Offset::MAX, max_bytes)
    }

    /// First and last row of a partition.
    pub fn ends(&self, id: PartitionId) -> Result<Option<(IndexRow, IndexRow)>, StoreError> {
        let mut cursor = Cursor::open(&self.db, id)?;
        let first = cursor.seek(0)?;
        Ok(first.zip(cursor.last()?))
    }

    /// The producer snapshot of a partition.
    pub fn producers(&self, id: PartitionId) -> Result<Option<ProducerSnapshot>, StoreError> {
        // A store of format 1 has no such family.
        let Ok(family) = family(&self.db, PRODUCERS) else {
            return Ok(None);
        };
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let found = self
            .db
            .get_pinned_cf_opt(family, producers::encode_key(id), &options)
            .map_err(store_error)?;
        found.map(|value| producers::decode(&value)).transpose()
    }
}
