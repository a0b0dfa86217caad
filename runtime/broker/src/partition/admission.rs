//! The one FIFO that every produce of a partition passes, in socket order, with or without a chain.

use std::collections::{HashMap, VecDeque};

use tidegate_record::{Batch, CheckedBatch, LeaderEpoch, Offset, PartitionId};
use tidegate_storage::{Log, ProducerSnapshot, ReadError};
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
    /// Every batch of the log below it that a producer sent has been told to `producers`.
    reflected: Offset,
    /// Where the last snapshot ends, and a start would have to begin to read.
    saved: Offset,
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
    /// Producer state as the last snapshot and the index rows behind it tell it.
    pub(super) fn replay(
        log: &Log,
        id: PartitionId,
        start: Offset,
    ) -> Result<Admission, ReadError> {
        let (mut producers, below) = restored(log, id)?.unwrap_or_default();
        let saved = below.max(start);
        let mut from = saved;
        loop {
            let rows = log.rows(id, from, REPLAY_ROWS)?;
            let Some(last) = rows.last() else { break };
            from = last.last_offset.saturating_add(1);
            for row in rows.iter().filter(|row| row.base_sequence >= 0) {
                producers.replay(
                    row.producer_id,
                    row.producer_epoch,
                    stored_batch(row),
                    row.append_time,
                );
            }
        }
        Ok(Admission {
            producers,
            queue: VecDeque::new(),
            flights: HashMap::new(),
            in_chain: false,
            next_ticket: 0,
            reflected: from,
            saved,
        })
    }

    pub(super) fn next_ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// The batch of a flight is in the log, and `producers` knows. Called in the order of the log.
    pub(super) fn landed(&mut self, last_offset: Offset) {
        self.reflected = self.reflected.max(last_offset.saturating_add(1));
    }

    /// What a start would need to know of the producers, if at least so many offsets (and one) lie behind the last
    /// snapshot. `log_end` was read before, under the lock that this is called under.
    pub(super) fn snapshot(
        &mut self,
        min_offsets: i64,
        log_end: Offset,
    ) -> Option<ProducerSnapshot> {
        // Every batch of a producer is a flight from before it is written until it is reflected; what else is written
        // here (routed copies) has no producer.
        let below = match self.flights.is_empty() {
            true => log_end.max(self.reflected),
            false => self.reflected,
        };
        if below - self.saved < min_offsets.max(1) {
            return None;
        }
        self.saved = below;
        Some(ProducerSnapshot {
            below,
            state: self.producers.snapshot().into(),
        })
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

/// The producers of the last snapshot, and the offset below which they are known. A snapshot that cannot be read is no
/// loss while the rows are there.
fn restored(log: &Log, id: PartitionId) -> Result<Option<(Producers, Offset)>, ReadError> {
    let Some(snapshot) = log.producers(id)? else {
        return Ok(None);
    };
    Ok(Producers::restore(&snapshot.state)
        .inspect_err(|error| {
            tracing::warn!(?id, %error, "a producer snapshot is not used; every row is read instead");
        })
        .ok()
        .map(|producers| (producers, snapshot.below)))
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
