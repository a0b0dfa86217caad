//! Pure state machines of transactions (KIP-98, KIP-360, KIP-890).
//!
//! A [`TransactionCoordinator`] holds the transactional ids of one `__transaction_state` partition. The host hands in
//! requests, the time, and producer ids where a request needs a fresh one; what comes back are [`TransactionEffect`]s:
//! replies, records to append, and markers to write.
//!
//! ```text
//! Empty ──add──> Ongoing ──end──> PrepareCommit ──all markers written──> CompleteCommit ──add──> Ongoing
//!                   └──end, timeout, fenced──> PrepareAbort ───────────> CompleteAbort
//! ```
//!
//! Promises:
//! - every token handed to [`TransactionCoordinator::handle`] is answered exactly once;
//! - no transition is told to anybody, or acted on, before its record is in the log;
//! - once Prepare is in the log, every partition of the transaction gets that outcome's marker, over any number of
//!   crashes; until then none does;
//! - a transactional id begins no transaction before the one before it has all its markers.
//!
//! Where Kafka bumps the epoch twice when it aborts a timed-out transaction of transaction.version 2 (once to fence, once
//! for the transaction), this bumps it once: the marker fences either way, and the epoch cannot run over.
//!
//! Deliberately absent: clocks, sockets, and the partitions themselves.

mod coordinator;
mod error;
mod request;
mod state;

pub use coordinator::TransactionCoordinator;
pub use error::TransactionError;
pub use request::{
    DescribedTransaction, EndRequest, InitRequest, ListedTransaction, MarkerId, MarkerOutcome,
    TransactionEffect, TransactionMarker, TransactionOptions, TransactionReply, TransactionRequest,
};
pub use state::{Producer, Transaction, TransactionState};

/// The partition of `__transaction_state` that holds a transactional id; the same rule as for groups.
pub fn partition_for_transaction(transactional_id: &str, partitions: i32) -> i32 {
    crate::partition_for_group(transactional_id, partitions)
}
