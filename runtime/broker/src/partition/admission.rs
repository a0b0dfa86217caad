//! The one FIFO that every produce of a partition passes, in socket order, with or without a chain.

use std::collections::{HashMap, VecDeque};

use tidegate_record::{Batch, CheckedBatch, LeaderEpoch, Offset, PartitionId};
use tidegate_storage::{Log, ReadError};
use tokio::sync::oneshot;

use super::append::{Acks, ProduceOutcome};
use super::producers::{Producers, StoredBatch, Ticket};

/// Rows read at a time while producer state is rebuilt.
const REPLAY_ROWS: usize = 4096;

pub(super) struct Admission {
    pub(super) producers: Producers,
    /// Admitted, not yet on their way: the head is next to meet the chain or the log.
    pub(super) queue: VecDeque<Queued>,
    /// Everybody who waits for a batch, from admission until its outcome: its sender first, then duplicates that joined.
    pub(super) flights: HashMap<Ticket, Flight>,
    /// A batch is inside the chain, or its append is undecided and the chain keeps state. Nothing overtakes it, chain or
    /// not (stream semantics, rule 9).
    pub(super) in_chain: bool,
    next_ticket: Ticket,
}

pub(super) struct Queued {
    pub(super) ticket: Ticket,
    pub(super) batch: CheckedBatch,
    pub(super) received_ms: i64,
}

pub(super) struct Flight {
    pub(super) producer_id: i64,
    /// The leader's epoch at admission; the append is refused under another (rule 12).
    pub(super) epoch: LeaderEpoch,
    pub(super) waiters: Vec<Waiter>,
}

pub(super) struct Waiter {
    pub(super) acks: Acks,
    pub(super) reply: oneshot::Sender<ProduceOutcome>,
}

impl Admission {
    /// Producer state as the log's index rows tell it.
    pub(super) fn replay(
        log: &Log,
        id: PartitionId,
        start: Offset,
        now_ms: i64,
    ) -> Result<Admission, ReadError> {
        let mut producers = Producers::default();
        let mut from = start;
        loop {
            let rows = log.rows(id, from, REPLAY_ROWS)?;
            let Some(last) = rows.last() else { break };
            from = last.last_offset.saturating_add(1);
            for row in rows.iter().filter(|row| row.base_sequence >= 0) {
                producers.replay(
                    row.producer_id,
                    row.producer_epoch,
                    stored_batch(row),
                    now_ms,
                );
            }
        }
        Ok(Admission {
            producers,
            queue: VecDeque::new(),
            flights: HashMap::new(),
            in_chain: false,
            next_ticket: 0,
        })
    }

    pub(super) fn next_ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// Drops a failed batch and every later one of its producer, wherever it is (what the log already has in its queue
    /// is refused there, by its lane); returns who waits for the batch itself and who waits for the later ones.
    pub(super) fn fail(&mut self, ticket: Ticket) -> (Vec<Waiter>, Vec<Waiter>) {
        let Some(flight) = self.flights.remove(&ticket) else {
            return Default::default();
        };
        let doomed = self.producers.failed(flight.producer_id, ticket);
        self.queue
            .retain(|queued| queued.ticket != ticket && !doomed.contains(&queued.ticket));
        let later = doomed
            .into_iter()
            .filter_map(|ticket| self.flights.remove(&ticket))
            .flat_map(|flight| flight.waiters)
            .collect();
        (flight.waiters, later)
    }
}

fn stored_batch(row: &tidegate_storage::IndexRow) -> StoredBatch {
    let span = i32::try_from(row.last_offset - row.base_offset).unwrap_or(i32::MAX);
    let append_time_kept = tidegate_record::Attributes(row.attributes).is_log_append_time();
    StoredBatch {
        first_sequence: row.base_sequence,
        last_sequence: tidegate_record::last_sequence(row.base_sequence, span),
        base_offset: row.base_offset,
        last_offset: row.last_offset,
        append_timestamp: if append_time_kept {
            row.max_timestamp
        } else {
            -1
        },
    }
}

/// What the duplicate cache remembers of a batch that was just appended at `base_offset`.
pub(super) fn remembered(batch: &Batch, base_offset: Offset) -> StoredBatch {
    let header = batch.header();
    let append_time_kept = header.attributes.is_log_append_time();
    StoredBatch {
        first_sequence: header.base_sequence,
        last_sequence: header.last_sequence(),
        base_offset,
        last_offset: base_offset + i64::from(header.last_offset_delta),
        append_timestamp: if append_time_kept {
            header.max_timestamp
        } else {
            -1
        },
    }
}
