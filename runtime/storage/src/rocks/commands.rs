//! The metadata log, in a RocksDB of its own: it is synced at every command, and its directory
//! can be kept on another disk than the records.

use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rocksdb::{
    ColumnFamilyDescriptor, DB, DEFAULT_COLUMN_FAMILY_NAME, Direction, IteratorMode, ReadOptions,
    WriteBatch,
};

use super::floor::{self, Floor, FloorFile};
use super::{check_format, check_format_only, open, options, store_error, write_synced};
use crate::keys::{command, snapshot};
use crate::{CommandLog, StoreError};

/// A [`CommandLog`] in one RocksDB directory.
pub struct RocksCommandLog {
    db: DB,
    /// `None` of a log that is only read.
    floor: Option<Floor>,
    /// Of a log that is only read: keeps brokers away.
    _lock: Option<File>,
    last: Mutex<Last>,
}

struct Last {
    index: u64,
    /// An earlier write failed, with this reason: what reached the disk is unknown.
    failed: Option<String>,
}

impl RocksCommandLog {
    /// Opens the log in `dir`, creating it if there is none. A directory can be open once.
    pub fn open(dir: impl AsRef<Path>) -> Result<RocksCommandLog, StoreError> {
        let mut options = options::database();
        options.set_write_buffer_size(4 << 20);
        let families = vec![ColumnFamilyDescriptor::new(
            DEFAULT_COLUMN_FAMILY_NAME,
            options.clone(),
        )];
        let (db, floor) = open::open(dir.as_ref(), &options, families)?;
        check_format(&db)?;
        let index = last_index(&db)?;
        Ok(RocksCommandLog {
            db,
            floor: Some(floor),
            _lock: None,
            last: Mutex::new(Last {
                index,
                failed: None,
            }),
        })
    }
}

impl RocksCommandLog {
    /// Opens the log in `dir` as it lies, to be read only: nothing in the directory changes.
    pub fn open_to_read(dir: impl AsRef<Path>) -> Result<RocksCommandLog, StoreError> {
        let dir = dir.as_ref();
        let (lock, floor) = FloorFile::lock_to_read(dir)?;
        open::check_there(dir)?;
        floor::check_manifest(dir, floor)?;
        let db = open::open_to_read(dir)?;
        check_format_only(&db)?;
        floor::check(dir, floor, db.latest_sequence_number())?;
        let index = last_index(&db)?;
        let failed = Some("it was opened to be read".into());
        Ok(RocksCommandLog {
            db,
            floor: None,
            _lock: lock,
            last: Mutex::new(Last { index, failed }),
        })
    }

    fn synced(&self) {
        if let Some(floor) = &self.floor {
            floor.raise(self.db.latest_sequence_number());
        }
    }
}

impl CommandLog for RocksCommandLog {
    fn append(&self, command: &[u8]) -> Result<u64, StoreError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.check()?;
        let index = last
            .index
            .checked_add(1)
            .ok_or_else(|| StoreError::Invalid("full".into()))?;
        let mut batch = WriteBatch::default();
        batch.put(command::encode_key(index), command);
        last.written(write_synced(&self.db, batch))?;
        last.index = index;
        self.synced();
        Ok(index)
    }

    fn replay(
        &self,
        from: u64,
        f: &mut dyn FnMut(u64, &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(command::behind());
        let start = command::encode_key(from);
        let mode = IteratorMode::From(&start, Direction::Forward);
        let mut previous = None;
        for item in self.db.iterator_opt(mode, options) {
            let (key, value) = item.map_err(store_error)?;
            let index = command::decode_key(&key)?;
            if previous.is_some_and(|previous: u64| previous.checked_add(1) != Some(index)) {
                return Err(StoreError::Corrupt(format!(
                    "commands are missing before {index}"
                )));
            }
            previous = Some(index);
            f(index, &value)?;
        }
        Ok(())
    }

    fn snapshot(&self, index: u64, image: &[u8]) -> Result<(), StoreError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.check()?;
        let oldest = self.load_snapshot()?.map_or(0, |(index, _)| index);
        if index > last.index || index < oldest {
            return Err(StoreError::Invalid(format!(
                "snapshot at {index}: the log covers {oldest} to {}",
                last.index
            )));
        }
        let mut batch = WriteBatch::default();
        batch.put(snapshot::KEY, snapshot::encode(index, image));
        batch.delete_range(
            command::encode_key(0),
            command::encode_key(index.saturating_add(1)),
        );
        last.written(write_synced(&self.db, batch))?;
        self.synced();
        Ok(())
    }

    fn load_snapshot(&self) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        let Some(value) = self.db.get_pinned(snapshot::KEY).map_err(store_error)? else {
            return Ok(None);
        };
        let (index, image) = snapshot::decode(&value)?;
        Ok(Some((index, image.to_vec())))
    }
}

impl Last {
    fn check(&self) -> Result<(), StoreError> {
        self.failed
            .as_ref()
            .map_or(Ok(()), |reason| Err(StoreError::Offline(reason.clone())))
    }

    fn written(&mut self, result: Result<(), StoreError>) -> Result<(), StoreError> {
        if let Err(error) = &result {
            tracing::error!(%error, "the metadata log accepts nothing more");
            self.failed = Some(error.to_string());
        }
        result
    }
}

/// The last command's index; right after a snapshot there may be none behind it.
fn last_index(db: &DB) -> Result<u64, StoreError> {
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(command::encode_key(0));
    options.set_iterate_upper_bound(command::behind());
    let last = db
        .iterator_opt(IteratorMode::End, options)
        .next()
        .transpose()
        .map_err(store_error)?;
    let last = last.map(|(key, _)| command::decode_key(&key)).transpose()?;
    let image = db.get_pinned(snapshot::KEY).map_err(store_error)?;
    let image = image
        .map(|value| snapshot::decode(&value).map(|(index, _)| index))
        .transpose()?;
    Ok(last.unwrap_or(0).max(image.unwrap_or(0)))
}
