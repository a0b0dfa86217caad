//! RocksDB without the store around it: the yardstick of `benches/append.rs`, opened with the very
//! options of [`RocksLog`](super::RocksLog).

use std::path::Path;

use bytes::Bytes;
use rocksdb::{DB, WriteBatch};
use tidegate_record::{Offset, PartitionId};

use super::options::{BATCHES, RocksOptions};
use super::{family, store_error};
use crate::StoreError;
use crate::keys::batch;

/// Puts batches under their keys and does nothing else.
pub struct BareRocks {
    db: DB,
}

impl BareRocks {
    /// Opens a database as [`RocksLog`](super::RocksLog) does.
    pub fn open(dir: impl AsRef<Path>, options: RocksOptions) -> Result<BareRocks, StoreError> {
        let (database, families) = options.build()?;
        let db = DB::open_cf_descriptors(&database, dir, families).map_err(store_error)?;
        Ok(BareRocks { db })
    }

    /// One write batch of one put per value. Not synced.
    pub fn write(&self, writes: &[(PartitionId, Offset, Bytes)]) -> Result<(), StoreError> {
        let family = family(&self.db, BATCHES)?;
        let room = writes.iter().map(|(_, _, value)| value.len() + 32).sum();
        let mut batch = WriteBatch::with_capacity_bytes(room);
        for (id, offset, value) in writes {
            batch.put_cf(family, batch::encode(*id, *offset), value);
        }
        self.db.write(batch).map_err(store_error)
    }
}
