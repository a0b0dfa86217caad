//! Fuzz targets: bytes from a client, a disk or a file, and what must hold whatever they are.
//!
//! One file in `targets` is one target; its module doc says what must hold. A target is a function of bytes that
//! panics when it does not: libFuzzer calls it with what it makes up (`bin/fuzz.rs`), and the tests with the corpus.

mod apis;
mod corpus;
mod input;
mod memory;
mod targets;

/// The allocator that counts, which is the one of the protocol crate's tests.
#[path = "../../../runtime/protocol/src/tests/allocator.rs"]
mod allocator;

pub use apis::is_checked;
pub use corpus::{Seed, parse, unparse};
pub use targets::{ALL, Target};
pub use tidegate_protocol::versions::all as served;

// What follows is the broker's own code, by path: its crates would bring RocksDB and wasmtime along. The files name each
// other from the root of their crate, so they stand at the root here too.

#[allow(dead_code, unreachable_pub)]
#[path = "../../../runtime/storage/src/error.rs"]
mod error;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../runtime/storage/src/keys/mod.rs"]
mod keys;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../runtime/storage/src/types.rs"]
mod types;

/// What an error of the store says of its disk.
mod rocks {
    pub(crate) const FLOOR_FILE: &str = "FLOOR";
}

#[allow(unused_imports)]
use {
    error::{ReadError, StoreError},
    types::{AbortedTransaction, IndexRow, PartitionEntry, ProducerSnapshot},
};

#[allow(dead_code)]
#[path = "../../../runtime/broker/src/plugins/chunk.rs"]
mod chunk;
#[allow(dead_code)]
#[path = "../../../runtime/broker/src/partition/notes.rs"]
mod notes;

/// The tables of the wire, and valid bodies made from them.
#[allow(dead_code)]
#[path = "../../../runtime/protocol/src/tests/sample.rs"]
mod sample;
#[allow(dead_code)]
#[path = "../../../runtime/protocol/src/schema/mod.rs"]
mod schema;

mod config;
