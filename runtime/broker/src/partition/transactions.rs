//! Transactions in one partition (KIP-98, KIP-890): asking the coordinator before the first batch, markers, and what a
//! `read_committed` consumer may see.
//!
//! A marker passes the same FIFO as the batches of its transaction and is written behind all of them: what was admitted
//! before a producer was fenced can never reach the log behind the marker that ended its transaction.

use std::sync::Arc;

use tidegate_protocol::error::ErrorCode;
use tidegate_record::{BatchHeader, EndMarker, Offset};
use tidegate_storage::AbortedTransaction;
use tokio::sync::oneshot;

use crate::clock::now_ms;

use super::admission::{Flight, Item, Waiter};
use super::append::{Acks, ProduceFailure, ProduceOutcome};
use super::chain_run::Processed;
use super::read::{ReadFailure, blocking};
use super::{Partition, State};

/// What a transaction coordinator writes at the end of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) producer_id: i64,
    /// From transaction.version 2 on one more than that of the records, which fences them.
    pub(crate) producer_epoch: i16,
    pub(crate) coordinator_epoch: i32,
    pub(crate) commit: bool,
}

impl Partition {
    /// Ends the producer's transaction in this partition. The receiver hears of it when the marker is below the high
    /// watermark, so that the next transaction cannot be taken for a part of this one.
    ///
    /// Writes a marker where no transaction is open too: a coordinator that starts again does not know how far it came.
    ///
    /// # Errors
    /// INVALID_PRODUCER_EPOCH and TRANSACTION_COORDINATOR_FENCED for a marker that is older than what the partition has
    /// seen, and whatever refuses an append.
    pub(crate) fn end_transaction(
        self: &Arc<Self>,
        marker: Marker,
    ) -> oneshot::Receiver<ProduceOutcome> {
        let (reply, outcome) = oneshot::channel();
        let waiter = Waiter {
            acks: Acks::All,
            reply,
        };
        let mut state = self.lock();
        let fence = state.admission.producers.fence(
            marker.producer_id,
            marker.producer_epoch,
            marker.coordinator_epoch,
            now_ms(),
        );
        if let Err(stale) = fence {
            waiter.answer(Err(stale.into()));
            return outcome;
        }
        let ticket = state.admission.next_ticket();
        let flight = Flight {
            producer_id: marker.producer_id,
            epoch: state.replica.epoch(),
            waiters: vec![waiter],
        };
        state.admission.flights.insert(ticket, flight);
        state
            .admission
            .queue
            .push_back(Item::Marker { ticket, marker });
        self.pump(&mut state);
        outcome
    }

    /// Whether batches of the producer wait here for the coordinator's word. Says so once: who is told must see to it
    /// that [`Partition::confirm`] is called.
    pub(crate) fn asks(&self, producer_id: i64, epoch: i16) -> bool {
        self.lock().admission.ask(producer_id, epoch)
    }

    /// The coordinator's word: the partition is in the producer's transaction, or why its batches are refused.
    pub(crate) fn confirm(
        self: &Arc<Self>,
        producer_id: i64,
        epoch: i16,
        word: Result<(), ProduceFailure>,
    ) {
        let mut state = self.lock();
        if !state.admission.release(producer_id, epoch) {
            return;
        }
        match word {
            Ok(()) => state.admission.transactions.confirm(producer_id, epoch),
            Err(failure) => {
                // The last first, so that each is refused for the reason and none for the hole that another left.
                for ticket in state.admission.queued_of(producer_id).into_iter().rev() {
                    self.fail(&mut state, ticket, failure.clone());
                }
            }
        }
        self.pump(&mut state);
    }

    /// End of what a `read_committed` consumer may see: every transaction below it is decided.
    pub(crate) fn last_stable_offset(&self) -> Offset {
        let log_start = self.log_start();
        stable_offset(&self.lock()).max(log_start)
    }

    /// Aborted transactions with records in `from..to`. Blocks on the disk, if there are any, on a thread of its own.
    pub(crate) async fn aborted(
        self: &Arc<Self>,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<AbortedTransaction>, ReadFailure> {
        if from >= to || !self.env.log.may_have_aborted(self.id, from) {
            return Ok(Vec::new());
        }
        let partition = self.clone();
        blocking(move || Ok(partition.env.log.aborted(partition.id, from, to)?)).await
    }

    /// Whether a batch fits the transactions that are open here; it is not admitted yet.
    pub(super) fn check_transaction(
        state: &State,
        header: &BatchHeader,
    ) -> Result<(), ProduceFailure> {
        let producer = header.producer_id;
        if !header.attributes.is_transactional() {
            return match producer >= 0 && state.admission.transactions.is_open(producer) {
                true => Err(ProduceFailure::new(
                    ErrorCode::InvalidTxnState,
                    "the producer has an open transaction here, and the batch is not part of it",
                )),
                false => Ok(()),
            };
        }
        match state.admission.held_epoch(producer) {
            // Another incarnation of the producer waits for its coordinator; this one may come back when it is known.
            Some(epoch) if epoch != header.producer_epoch => Err(ProduceFailure::new(
                ErrorCode::NotEnoughReplicas,
                "the producer's epoch is being checked with its coordinator; the request may be retried",
            )),
            _ => Ok(()),
        }
    }

    /// Hands a marker to the log; everything of its transaction is there.
    pub(super) fn write_marker(self: &Arc<Self>, state: &mut State, ticket: u64, marker: Marker) {
        let end = EndMarker {
            commit: marker.commit,
            coordinator_epoch: marker.coordinator_epoch,
        };
        match end.batch(marker.producer_id, marker.producer_epoch, now_ms()) {
            Ok(batch) => {
                let stable = stable_offset(state);
                let aborts = match marker.commit {
                    true => None,
                    false => state
                        .admission
                        .transactions
                        .aborts(marker.producer_id, stable),
                };
                let processed = Processed {
                    aborts,
                    ..Processed::whole(batch)
                };
                self.append(state, ticket, processed);
            }
            Err(error) => {
                let failure = ProduceFailure::new(ErrorCode::UnknownServerError, error.to_string());
                self.fail(state, ticket, failure);
            }
        }
    }
}

/// `last stable offset <= high watermark`.
fn stable_offset(state: &State) -> Offset {
    let high_watermark = state.replica.high_watermark();
    let unstable = state.admission.transactions.first_unstable();
    unstable.map_or(high_watermark, |first| first.min(high_watermark))
}
