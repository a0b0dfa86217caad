//! Partition logs: the [`LogStore`] trait, on RocksDB and in memory, and the [`Log`] above it.
//! Synchronous: no async, no Kafka errors, no clock but the writer's lazy-sync timer.
//!
//! - [`store`](LogStore): the low seam and its promises. [`RocksLog`] and [`MemoryLog`] keep them;
//!   one conformance suite (`tests/suite/conformance.rs`) holds both to it.
//! - [`Log`]: partition table, tail cache and the one writer thread with group commit.
//! - `keys`: one stored key, one file, with its byte layout.
//! - [`CommandLog`]: the metadata log, in its own database.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

mod error;
mod keys;
mod log;
mod memory;
mod rocks;
mod store;
mod types;

pub use error::{AppendError, ReadError, StoreError};
pub use log::{
    Append, Done, KeyName, Lane, Late, LateParts, Log, LogOptions, LogStats, ProgressFn, Scrubbed,
};
pub use memory::{MemoryCommandLog, MemoryLog};
#[doc(hidden)]
pub use rocks::BareRocks;
pub use rocks::{Problem, RocksCommandLog, RocksLog, RocksOptions, StoreReader, Verified};
pub use store::{CommandLog, LogStore};
pub use types::{
    AbortedTransaction, Aborts, AppendPart, Appended, Bounds, Change, Compaction, CompactionPolicy,
    FlushPolicy, IndexRow, PartitionEntry, Placed, ProducerSnapshot, Progress, RetentionPolicy,
    StoreHealth, Stored,
};
