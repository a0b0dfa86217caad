//! The one FIFO that every produce of a partition passes, in socket order, with or without a chain.

use std::collections::{HashMap, VecDeque};

use tidegate_record::{Batch, CheckedBatch, LeaderEpoch, Offset, PartitionId};
use tidegate_storage::{Log, ProducerSnapshot, ReadError};
use tokio::sync::oneshot;

use super::append::{Acks, ProduceOutcome};
use super::open_transactions::OpenTransactions;
use super::producers::{Producers, StoredBatch, Ticket};
use super::transactions::Marker;

/// Rows read at a time while producer state is rebuilt.
const REPLAY_ROWS: usize = 4096;

pub(super) struct Admission {
    pub(super) producers: Producers,
    pub(super) transactions: OpenTransactions,
    /// Admitted, not yet on their way: the head is next to meet the chain or the log.
    pub(super) queue: VecDeque<Item>,
    /// Everybody who waits for a batch, from admission until its outcome: its sender first, then duplicates that joined.
    pub(super) flights: HashMap<Ticket, Flight>,
    /// A batch is inside the chain, or its append is undecided and the chain keeps state. Nothing overtakes it, chain or
    /// not (stream semantics, rule 9).
    pub(super) in_chain: bool,
    /// Producers whose first batch in a transaction waits for their coordinator to confirm that the partition is in it.
    /// Their batches, and nobody else's, stay in the queue until then.
    holds: HashMap<i64, Hold>,
    next_ticket: Ticket,
    /// Every batch of the log below it that a producer sent has been told to `producers`.
    reflected: Offset,
    /// Where the last snapshot ends, and a start would have to begin to read.
    saved: Offset,
}

struct Hold {
    epoch: i16,
    /// Somebody has promised to ask the coordinator.
    asked: bool,
}

pub(super) enum Item {
    Batch(Queued),
    Marker { ticket: Ticket, marker: Marker },
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
        let Restored {
            mut producers,
            mut transactions,
            below,
        } = restored(log, id)?.unwrap_or_default();
        let saved = below.max(start);
        let mut from = saved;
        loop {
            let rows = log.rows(id, from, REPLAY_ROWS)?;
            let Some(last) = rows.last() else { break };
            from = last.last_offset.saturating_add(1);
            for row in rows.iter().filter(|row| row.producer_id >= 0) {
                let (id, epoch) = (row.producer_id, row.producer_epoch);
                let attributes = tidegate_record::Attributes(row.attributes);
                if attributes.is_control() {
                    // Which coordinator wrote it stands in the batch only, and it will say so again.
                    producers.replay_marker(id, epoch, row.append_time);
                    transactions.ended(id, row.base_offset);
                    continue;
                }
                if attributes.is_transactional() {
                    transactions.replay(id, epoch, row.base_offset);
                }
                if row.base_sequence >= 0 {
                    producers.replay(id, epoch, stored_batch(row), row.append_time);
                }
            }
        }
        Ok(Admission {
            producers,
            transactions,
            queue: VecDeque::new(),
            flights: HashMap::new(),
            in_chain: false,
            holds: HashMap::new(),
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
        // A transaction whose marker may yet be lost is neither open nor over, which a snapshot cannot say.
        if below - self.saved < min_offsets.max(1) || self.transactions.is_undecided() {
            return None;
        }
        self.saved = below;
        Some(ProducerSnapshot {
            below,
            state: self.producers.snapshot(&self.transactions).into(),
        })
    }

    /// Drops a failed batch and every later one of its producer, wherever it is (what the log already has in its queue
    /// is refused there, by its lane); returns who waits for the batch itself and who waits for the later ones.
    pub(super) fn fail(&mut self, ticket: Ticket) -> (Vec<Waiter>, Vec<Waiter>) {
        let Some(flight) = self.flights.remove(&ticket) else {
            return Default::default();
        };
        let doomed = self.producers.failed(flight.producer_id, ticket);
        let lost = |known: Ticket| known == ticket || doomed.contains(&known);
        self.queue.retain(|item| !lost(item.ticket()));
        for ticket in doomed.iter().chain([&ticket]) {
            self.transactions.failed(flight.producer_id, *ticket);
        }
        let later = doomed
            .into_iter()
            .filter_map(|ticket| self.flights.remove(&ticket))
            .flat_map(|flight| flight.waiters)
            .collect();
        (flight.waiters, later)
    }
}

impl Admission {
    /// Takes a batch of a client's in, behind everything that came before it. A transactional one whose transaction the
    /// coordinator has not confirmed here holds its producer back.
    pub(super) fn enqueue(&mut self, queued: Queued) {
        let header = queued.batch.batch().header();
        let (producer_id, epoch) = (header.producer_id, header.producer_epoch);
        if header.attributes.is_transactional() {
            self.transactions.sent(producer_id, epoch, queued.ticket);
            if !self.transactions.is_confirmed(producer_id, epoch) {
                let hold = Hold {
                    epoch,
                    asked: false,
                };
                self.holds.entry(producer_id).or_insert(hold);
            }
        }
        self.queue.push_back(Item::Batch(queued));
    }

    /// The first item that nothing holds back. Only items of the same producer wait behind one that is held.
    pub(super) fn next(&mut self) -> Option<Item> {
        let mut held = Vec::new();
        let may_go = |item: &Item| {
            let producer_id = item.producer_id();
            let waits = producer_id >= 0
                && (held.contains(&producer_id)
                    || self.holds.contains_key(&producer_id)
                    || item.is_marker() && self.transactions.is_ahead(producer_id, item.ticket()));
            if waits {
                held.push(producer_id);
            }
            !waits
        };
        let at = self.queue.iter().position(may_go)?;
        self.queue.remove(at)
    }

    /// See [`super::Partition::asks`].
    pub(super) fn ask(&mut self, producer_id: i64, epoch: i16) -> bool {
        match self.holds.get_mut(&producer_id) {
            Some(hold) if hold.epoch == epoch => !std::mem::replace(&mut hold.asked, true),
            _ => false,
        }
    }

    /// The epoch of the producer whose batches wait for their coordinator.
    pub(super) fn held_epoch(&self, producer_id: i64) -> Option<i16> {
        self.holds.get(&producer_id).map(|hold| hold.epoch)
    }

    /// Lets the producer's batches go; false if none of this epoch were held.
    pub(super) fn release(&mut self, producer_id: i64, epoch: i16) -> bool {
        self.held_epoch(producer_id) == Some(epoch) && self.holds.remove(&producer_id).is_some()
    }

    /// Batches of the producer that are in the queue, oldest first, up to its next marker.
    pub(super) fn queued_of(&self, producer_id: i64) -> Vec<Ticket> {
        self.queue
            .iter()
            .filter(|item| item.producer_id() == producer_id)
            .take_while(|item| !item.is_marker())
            .map(Item::ticket)
            .collect()
    }
}

impl Item {
    fn ticket(&self) -> Ticket {
        match self {
            Item::Batch(queued) => queued.ticket,
            Item::Marker { ticket, .. } => *ticket,
        }
    }

    fn producer_id(&self) -> i64 {
        match self {
            Item::Batch(queued) => queued.batch.batch().header().producer_id,
            Item::Marker { marker, .. } => marker.producer_id,
        }
    }

    fn is_marker(&self) -> bool {
        matches!(self, Item::Marker { .. })
    }
}

/// What a snapshot tells: the state of producers and transactions as it was below an offset.
#[derive(Default)]
struct Restored {
    producers: Producers,
    transactions: OpenTransactions,
    below: Offset,
}

/// What the last snapshot tells. One that cannot be read is no loss while the rows are there.
fn restored(log: &Log, id: PartitionId) -> Result<Option<Restored>, ReadError> {
    let Some(snapshot) = log.producers(id)? else {
        return Ok(None);
    };
    Ok(Producers::restore(&snapshot.state)
        .inspect_err(|error| {
            tracing::warn!(?id, %error, "a producer snapshot is not used; every row is read instead");
        })
        .ok()
        .map(|(producers, transactions)| Restored {
            producers,
            transactions,
            below: snapshot.below,
        }))
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
