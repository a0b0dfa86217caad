//! The tests of the storage crate, in one binary: linking RocksDB is most of the work.

mod ahead;
mod common;
mod compaction;
mod conformance;
mod damage;
mod log;
mod rocks;
mod syncs;
