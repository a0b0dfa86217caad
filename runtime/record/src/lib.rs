//! Vocabulary of the log: ids, checked record batches, compression. No async, no I/O.
//!
//! A batch travels as the bytes the client sent. The types say how far those bytes were checked:
//! [`Batch`] has a parsed header whose length matches, [`CheckedBatch`] is a batch a client may
//! produce, and [`Records`] holds every record of a batch, decompressed and validated.
//!
//! Deliberately absent: clocks, randomness, environment, and message formats 0 and 1.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

mod batch;
mod builder;
mod compression;
mod edit;
mod encode;
pub mod gap;
mod header;
mod ids;
mod marker;
mod partitioner;
mod produced;
mod records;
mod sparse;
mod varint;

pub use batch::{Batch, BatchError};
pub use builder::{BatchBuilder, BuildError, Header, Producer, RecordParts};
pub use compression::{Codec, Compression, CompressionError, compress, decompress};
pub use edit::{RecordEditParts, rewrite};
pub use header::{
    Attributes, BatchHeader, HEADER_LEN, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, last_sequence,
};
pub use ids::{LeaderEpoch, Offset, PartitionId};
pub use marker::EndMarker;
pub use partitioner::{murmur2, partition_for_key};
pub use produced::{CheckedBatch, ProduceError};
pub use records::{DecodeLimits, HeaderIter, RecordView, Records, last_surviving_delta};
pub use sparse::{cut, last_kept_delta, recode, retain};
