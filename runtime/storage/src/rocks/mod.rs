//! The seam on RocksDB: the only module that names it.
#![allow(unused_variables, clippy::unimplemented)]

use std::path::Path;

use tidegate_record::{Offset, PartitionId};

use crate::{CommandLog, IndexRow, LogStore, PartitionEntry, Placed, StoreError, Stored};

#[derive(Clone, Debug, Default)]
pub struct RocksOptions {}

pub struct RocksLog {}
impl RocksLog {
    pub fn open(dir: impl AsRef<Path>, options: RocksOptions) -> Result<RocksLog, StoreError> {
        unimplemented!()
    }
}
#[rustfmt::skip]
impl LogStore for RocksLog {
    fn partitions(&self) -> Result<Vec<PartitionEntry>, StoreError> { unimplemented!() }
    fn create_partition(&self, entry: &PartitionEntry) -> Result<(), StoreError> { unimplemented!() }
    fn delete_partition(&self, id: PartitionId) -> Result<(), StoreError> { unimplemented!() }
    fn write(&self, writes: &[Placed<'_>]) -> Result<(), StoreError> { unimplemented!() }
    fn sync(&self) -> Result<(), StoreError> { unimplemented!() }
    fn read(&self, id: PartitionId, from: Offset, to: Offset, max_bytes: usize) -> Result<Vec<Stored>, StoreError> { unimplemented!() }
    fn rows(&self, id: PartitionId, from: Offset, limit: usize) -> Result<Vec<IndexRow>, StoreError> { unimplemented!() }
    fn last_row(&self, id: PartitionId) -> Result<Option<IndexRow>, StoreError> { unimplemented!() }
    fn end(&self, id: PartitionId) -> Result<Offset, StoreError> { unimplemented!() }
    fn set_log_start(&self, id: PartitionId, start: Offset) -> Result<(), StoreError> { unimplemented!() }
    fn delete_below(&self, id: PartitionId, start: Offset) -> Result<(), StoreError> { unimplemented!() }
    fn truncate(&self, id: PartitionId, to: Offset) -> Result<(), StoreError> { unimplemented!() }
}
pub struct RocksCommandLog {}
impl RocksCommandLog {
    pub fn open(dir: impl AsRef<Path>) -> Result<RocksCommandLog, StoreError> {
        unimplemented!()
    }
}
#[rustfmt::skip]
impl CommandLog for RocksCommandLog {
    fn append(&self, command: &[u8]) -> Result<u64, StoreError> { unimplemented!() }
    fn replay(&self, from: u64, f: &mut dyn FnMut(u64, &[u8]) -> Result<(), StoreError>) -> Result<(), StoreError> { unimplemented!() }
    fn snapshot(&self, index: u64, image: &[u8]) -> Result<(), StoreError> { unimplemented!() }
    fn load_snapshot(&self) -> Result<Option<(u64, Vec<u8>)>, StoreError> { unimplemented!() }
}
