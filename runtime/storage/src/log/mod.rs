//! The partition path: partition table, tail cache and one writer thread over a [`LogStore`].
#![allow(unused_variables, clippy::unimplemented)]

use std::sync::Arc;

use tidegate_record::{LeaderEpoch, Offset, PartitionId};

use crate::{
    AppendError, AppendPart, Appended, Bounds, IndexRow, LogStore, PartitionEntry, Progress,
    ReadError, RetentionPolicy, StoreError, StoreHealth, Stored,
};

pub type Done = Box<dyn FnOnce(Result<Vec<Appended>, AppendError>) + Send>;
pub type ProgressFn = Box<dyn Fn(&[Progress]) + Send + Sync>;

pub struct Append {
    pub parts: Vec<AppendPart>,
    pub sync: bool,
    pub now_ms: i64,
    pub done: Done,
}

#[derive(Clone, Debug)]
pub struct LogOptions {
    pub tail_cache_bytes: usize,
    pub queue_bytes: usize,
    pub lazy_sync_ms: u64,
    /// Most bytes of batches that go into one write.
    pub group_bytes: usize,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            tail_cache_bytes: 128 << 20,
            queue_bytes: 64 << 20,
            lazy_sync_ms: 20,
            group_bytes: 8 << 20,
        }
    }
}

pub struct Log {
    _x: (),
}

#[rustfmt::skip]
impl Log {
    pub fn open(store: Arc<dyn LogStore>, options: LogOptions) -> Result<Arc<Log>, StoreError> { unimplemented!() }
    pub fn partitions(&self) -> Vec<PartitionEntry> { unimplemented!() }
    pub fn ensure_partition(&self, entry: PartitionEntry) -> Result<(), StoreError> { unimplemented!() }
    pub fn delete_partition(&self, id: PartitionId) -> Result<(), StoreError> { unimplemented!() }
    pub fn bounds(&self, id: PartitionId) -> Option<Bounds> { unimplemented!() }
    pub fn set_epoch(&self, id: PartitionId, epoch: LeaderEpoch) { unimplemented!() }
    #[allow(clippy::result_large_err)]
    pub fn submit(&self, append: Append) -> Result<(), Append> { unimplemented!() }
    pub fn read(&self, id: PartitionId, from: Offset, to: Offset, max_bytes: usize) -> Result<Vec<Stored>, ReadError> { unimplemented!() }
    pub fn read_tail(&self, id: PartitionId, from: Offset, to: Offset, max_bytes: usize) -> Option<Vec<Stored>> { unimplemented!() }
    pub fn rows(&self, id: PartitionId, from: Offset, limit: usize) -> Result<Vec<IndexRow>, ReadError> { unimplemented!() }
    pub fn lookup_timestamp(&self, id: PartitionId, target_ts: i64, to: Offset) -> Result<Option<(Offset, i64, i32)>, ReadError> { unimplemented!() }
    pub fn max_timestamp(&self, id: PartitionId, to: Offset) -> Result<Option<(Offset, i64)>, ReadError> { unimplemented!() }
    pub fn move_log_start(&self, id: PartitionId, to: Offset) -> Result<Offset, ReadError> { unimplemented!() }
    pub fn retain(&self, id: PartitionId, policy: RetentionPolicy, now_ms: i64, to: Offset) -> Result<Option<Offset>, ReadError> { unimplemented!() }
    pub fn truncate(&self, id: PartitionId, to: Offset) -> Result<(), ReadError> { unimplemented!() }
    pub fn size_bytes(&self, id: PartitionId) -> u64 { unimplemented!() }
    pub fn health(&self) -> StoreHealth { unimplemented!() }
    pub fn on_progress(&self, f: ProgressFn) { unimplemented!() }
    pub fn close(&self) { unimplemented!() }
}
