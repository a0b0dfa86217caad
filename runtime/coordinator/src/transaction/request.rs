//! What the host asks, what it is told, and what it must do.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::error::TransactionError;
use super::state::{Producer, TransactionState};
use crate::request::{AppendId, Token};

/// Names one marker until it is written.
pub type MarkerId = u64;

/// Bounds, from the broker's configuration.
#[derive(Clone, Debug)]
pub struct TransactionOptions {
    /// The longest timeout that a producer may ask for (`transaction.max.timeout.ms`).
    pub max_timeout_ms: i32,
    /// How long an idle transactional id is remembered (`transactional.id.expiration.ms`).
    pub id_expiration_ms: i64,
    /// The most transactional ids of one coordinator; a new one beyond is refused.
    pub max_ids: usize,
    /// The most partitions of one transaction.
    pub max_partitions: usize,
    /// How long after a failed marker or record it is tried again.
    pub retry_ms: i64,
}

impl Default for TransactionOptions {
    fn default() -> TransactionOptions {
        TransactionOptions {
            max_timeout_ms: 900_000,
            id_expiration_ms: 7 * 24 * 3_600_000,
            max_ids: 100_000,
            max_partitions: 20_000,
            retry_ms: 100,
        }
    }
}

#[derive(Clone, Debug)]
pub enum TransactionRequest {
    Init(InitRequest),
    /// AddPartitionsToTxn, AddOffsetsToTxn, and what Produce adds from transaction.version 2 on.
    Add {
        transactional_id: String,
        producer: Producer,
        partitions: Vec<(String, i32)>,
        client_version: i16,
    },
    /// Whether the partitions are in the producer's open transaction.
    Verify {
        transactional_id: String,
        producer: Producer,
        partitions: Vec<(String, i32)>,
    },
    End(EndRequest),
    Describe {
        transactional_id: String,
    },
    List,
}

#[derive(Clone, Debug)]
pub struct InitRequest {
    pub transactional_id: String,
    pub timeout_ms: i32,
    /// The producer that the caller was until now (KIP-360); `None` for one that starts.
    pub expected: Option<Producer>,
}

#[derive(Clone, Debug)]
pub struct EndRequest {
    pub transactional_id: String,
    pub producer: Producer,
    pub commit: bool,
    /// 2 where the request bumps the epoch (EndTxn version 5), else 0.
    pub client_version: i16,
}

#[derive(Clone, Debug, PartialEq)]
pub enum TransactionEffect {
    Reply(Token, TransactionReply),
    /// Append this record to the partition, then tell the outcome to [`super::TransactionCoordinator::appended`]. A
    /// value of `None` is a tombstone.
    Append {
        id: AppendId,
        record: (Bytes, Option<Bytes>),
    },
    /// Write the marker to the partition, then tell the outcome to [`super::TransactionCoordinator::marker_written`].
    WriteMarker {
        id: MarkerId,
        topic: String,
        partition: i32,
        marker: TransactionMarker,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionMarker {
    pub producer: Producer,
    pub commit: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkerOutcome {
    Written,
    /// The partition does not exist any more, so there is nobody to tell.
    NoPartition,
    /// It may or may not be there; it is written again.
    Failed,
}

#[derive(Clone, Debug, PartialEq)]
pub enum TransactionReply {
    Init(Result<Producer, TransactionError>),
    Add(Result<(), TransactionError>),
    Verify(Result<(), TransactionError>),
    /// The producer that the client goes on with. The markers may still be on their way.
    End(Result<Producer, TransactionError>),
    Describe(Result<DescribedTransaction, TransactionError>),
    List(Result<Vec<ListedTransaction>, TransactionError>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedTransaction {
    pub state: TransactionState,
    pub producer: Producer,
    pub timeout_ms: i32,
    /// -1 before the first transaction.
    pub start_ms: i64,
    pub partitions: BTreeMap<String, BTreeSet<i32>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTransaction {
    pub transactional_id: String,
    pub producer_id: i64,
    pub state: TransactionState,
    pub start_ms: i64,
}
