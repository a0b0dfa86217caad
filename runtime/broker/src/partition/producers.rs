//! Sequence checks of idempotent producers (KIP-98), against *admitted* state: what the log holds plus what is in flight.
//!
//! Checking before the plugin runs is what makes a retry harmless: a duplicate of a stored batch is answered with its
//! first offset, a duplicate of one in flight joins it, and neither meets the plugin or a route again. Pure: no clock,
//! no log, no lock; the partition owns one and feeds it outcomes.

mod snapshot;

use std::collections::{HashMap, VecDeque};

use tidegate_record::{BatchHeader, Offset};
use tidegate_storage::Lane;

/// Handle of one admitted batch, unique within its partition.
pub(crate) type Ticket = u64;

/// Batches remembered per producer, as in Kafka: the most a client may have in flight with idempotence on.
const CACHED_BATCHES: usize = 5;

/// The last sequence of a producer that has sent nothing yet: it begins at 0.
const NONE_YET: i32 = -1;
/// The last sequence of a producer of which nothing is known: it may go on anywhere.
const UNKNOWN: i32 = i32::MIN;

/// What admission says of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admit {
    /// Goes on its way under the ticket it came with.
    New,
    /// Already in the log.
    Stored(StoredBatch),
    /// Already in flight under this ticket; share its outcome.
    Joined(Ticket),
    Refused(SequenceError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SequenceError {
    /// OUT_OF_ORDER_SEQUENCE_NUMBER
    OutOfOrder { expected: i32, got: i32 },
    /// INVALID_PRODUCER_EPOCH
    StaleEpoch { current: i16, got: i16 },
}

/// Why a marker is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StaleMarker {
    /// INVALID_PRODUCER_EPOCH
    Producer { current: i16, got: i16 },
    /// TRANSACTION_COORDINATOR_FENCED
    Coordinator { current: i32, got: i32 },
}

/// One batch of the duplicate cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredBatch {
    pub(crate) first_sequence: i32,
    pub(crate) last_sequence: i32,
    pub(crate) base_offset: Offset,
    pub(crate) last_offset: Offset,
    /// Log append time of the batch, or -1 where the topic keeps create time.
    pub(crate) append_timestamp: i64,
}

/// A producer as DescribeProducers shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownProducer {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    pub(crate) last_sequence: i32,
    pub(crate) last_used_ms: i64,
    /// Of the last marker; -1 if there was none since the broker started.
    pub(crate) coordinator_epoch: i32,
}

#[derive(Debug, Clone, Copy)]
struct Flight {
    ticket: Ticket,
    epoch: i16,
    first_sequence: i32,
    last_sequence: i32,
}

#[derive(Debug)]
struct Producer {
    /// Epoch of `stored`; meaningless while `stored` is empty.
    epoch: i16,
    stored: VecDeque<StoredBatch>,
    in_flight: VecDeque<Flight>,
    /// What its appends share on their way to the log, so that none is written behind one that was refused.
    lane: Lane,
    last_used_ms: i64,
    /// Epoch of the newest marker, -1 before the first: nothing older is taken.
    fenced: i16,
    /// What the next sequence of that epoch follows.
    fenced_sequence: i32,
    coordinator_epoch: i32,
}

impl Default for Producer {
    fn default() -> Producer {
        Producer {
            epoch: 0,
            stored: VecDeque::new(),
            in_flight: VecDeque::new(),
            lane: Lane::default(),
            last_used_ms: 0,
            fenced: -1,
            fenced_sequence: UNKNOWN,
            coordinator_epoch: -1,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Producers {
    by_id: HashMap<i64, Producer>,
}

impl Producers {
    /// Checks a client's batch and, if it is new, remembers it as in flight under `ticket`.
    ///
    /// Batches without a producer id are always new.
    pub(crate) fn admit(&mut self, header: &BatchHeader, ticket: Ticket, now_ms: i64) -> Admit {
        if header.producer_id < 0 {
            return Admit::New;
        }
        let producer = self.by_id.entry(header.producer_id).or_default();
        producer.last_used_ms = now_ms;
        let flight = Flight {
            ticket,
            epoch: header.producer_epoch,
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
        };
        let verdict = producer.check(&flight);
        if verdict == Admit::New {
            producer.in_flight.push_back(flight);
        }
        verdict
    }

    /// The batch of `ticket` is in the log.
    pub(crate) fn stored(&mut self, producer_id: i64, ticket: Ticket, stored: StoredBatch) {
        let Some(producer) = self.by_id.get_mut(&producer_id) else {
            return;
        };
        let Some(at) = producer
            .in_flight
            .iter()
            .position(|flight| flight.ticket == ticket)
        else {
            return;
        };
        if let Some(flight) = producer.in_flight.remove(at) {
            producer.remember(flight.epoch, stored);
        }
    }

    /// The batch of `ticket` will never be in the log. Returns the later batches of the same producer, which now have
    /// a hole before them and must fail with OUT_OF_ORDER_SEQUENCE_NUMBER; they are forgotten here too.
    pub(crate) fn failed(&mut self, producer_id: i64, ticket: Ticket) -> Vec<Ticket> {
        let Some(producer) = self.by_id.get_mut(&producer_id) else {
            return Vec::new();
        };
        let Some(at) = producer
            .in_flight
            .iter()
            .position(|flight| flight.ticket == ticket)
        else {
            return Vec::new();
        };
        let mut dropped = producer.in_flight.split_off(at);
        dropped.pop_front();
        if producer.stored.is_empty() && producer.in_flight.is_empty() && producer.fenced < 0 {
            self.by_id.remove(&producer_id);
        }
        dropped.into_iter().map(|flight| flight.ticket).collect()
    }

    /// The lane for the next append of a producer; none without a producer id.
    pub(crate) fn lane(&self, producer_id: i64) -> Option<Lane> {
        self.by_id
            .get(&producer_id)
            .map(|producer| producer.lane.clone())
    }

    /// The log refused the batch of `ticket`, and refuses what else stands in its lane; what is admitted from now on
    /// starts another. Only for a batch that is still known: of those it took down, the first one's outcome did it.
    pub(crate) fn leave_lane(&mut self, producer_id: i64, ticket: Ticket) {
        if let Some(producer) = self.by_id.get_mut(&producer_id)
            && producer
                .in_flight
                .iter()
                .any(|flight| flight.ticket == ticket)
        {
            producer.lane = Lane::default();
        }
    }

    /// Producers with a batch or a marker in the log.
    pub(crate) fn known(&self) -> Vec<KnownProducer> {
        let describe = |(&id, producer): (&i64, &Producer)| {
            let (epoch, last_sequence) = producer.logged()?;
            Some(KnownProducer {
                id,
                epoch,
                last_sequence: last_sequence.max(NONE_YET),
                last_used_ms: producer.last_used_ms,
                coordinator_epoch: producer.coordinator_epoch,
            })
        };
        self.by_id.iter().filter_map(describe).collect()
    }

    /// Rebuilds the stored side from the log, oldest batch first.
    pub(crate) fn replay(&mut self, producer_id: i64, epoch: i16, batch: StoredBatch, now_ms: i64) {
        if producer_id < 0 {
            return;
        }
        let producer = self.by_id.entry(producer_id).or_default();
        producer.last_used_ms = now_ms;
        producer.remember(epoch, batch);
    }

    /// A marker was in the log, behind what was replayed before.
    pub(crate) fn replay_marker(&mut self, producer_id: i64, epoch: i16, now_ms: i64) {
        let producer = self.by_id.entry(producer_id).or_default();
        producer.last_used_ms = now_ms;
        producer.fence(epoch);
    }

    /// A coordinator ends the producer's transaction with a marker of this epoch: from here on nothing older is admitted.
    pub(crate) fn fence(
        &mut self,
        producer_id: i64,
        epoch: i16,
        coordinator_epoch: i32,
        now_ms: i64,
    ) -> Result<(), StaleMarker> {
        let producer = self.by_id.entry(producer_id).or_default();
        let current = producer.tail().map_or(-1, |(epoch, _)| epoch);
        if epoch < current {
            let got = epoch;
            return Err(StaleMarker::Producer { current, got });
        }
        if coordinator_epoch < producer.coordinator_epoch {
            return Err(StaleMarker::Coordinator {
                current: producer.coordinator_epoch,
                got: coordinator_epoch,
            });
        }
        producer.last_used_ms = now_ms;
        producer.fence(epoch);
        producer.coordinator_epoch = coordinator_epoch;
        Ok(())
    }

    /// Takes in a batch without sequences, which the broker writes on behalf of a producer.
    ///
    /// # Errors
    /// A batch of an epoch that is not the newest any more.
    pub(crate) fn admit_unsequenced(
        &mut self,
        producer_id: i64,
        epoch: i16,
        now_ms: i64,
    ) -> Result<(), SequenceError> {
        let producer = self.by_id.entry(producer_id).or_default();
        let current = producer.tail().map_or(-1, |(epoch, _)| epoch);
        if epoch < current {
            let got = epoch;
            return Err(SequenceError::StaleEpoch { current, got });
        }
        producer.last_used_ms = now_ms;
        producer.fence(epoch);
        Ok(())
    }

    /// Forgets producers that have been silent since `before_ms`, have nothing in flight and no open transaction
    /// (`producer.id.expiration.ms`).
    pub(crate) fn expire(&mut self, before_ms: i64, is_open: impl Fn(i64) -> bool) {
        self.by_id
            .retain(|id, p| p.last_used_ms >= before_ms || !p.in_flight.is_empty() || is_open(*id));
    }
}

impl Producer {
    fn check(&self, batch: &Flight) -> Admit {
        let Some((epoch, last_sequence)) = self.tail() else {
            // Nothing is known of this producer (new, or its state aged away): any sequence may start it.
            return Admit::New;
        };
        if batch.epoch < epoch {
            return Admit::Refused(SequenceError::StaleEpoch {
                current: epoch,
                got: batch.epoch,
            });
        }
        if batch.epoch > epoch {
            return match batch.first_sequence {
                0 => Admit::New,
                got => Admit::Refused(SequenceError::OutOfOrder { expected: 0, got }),
            };
        }
        if let Some(duplicate) = self.duplicate_of(batch) {
            return duplicate;
        }
        let expected = next_sequence(last_sequence);
        match last_sequence == UNKNOWN || batch.first_sequence == expected {
            true => Admit::New,
            false => Admit::Refused(SequenceError::OutOfOrder {
                expected,
                got: batch.first_sequence,
            }),
        }
    }

    /// Nothing older than this epoch from here on.
    fn fence(&mut self, epoch: i16) {
        let tail = self.tail().map(|(epoch, _)| epoch);
        if self.fenced < epoch {
            self.fenced = epoch;
            // An epoch that follows one that is known is new; without one, batches of it may have aged away.
            self.fenced_sequence = match tail {
                Some(known) if known < epoch => NONE_YET,
                _ => UNKNOWN,
            };
        }
    }

    /// Epoch and last sequence that the next batch must follow.
    fn tail(&self) -> Option<(i16, i32)> {
        let in_flight = self.in_flight.back();
        let sent = in_flight.map(|flight| (flight.epoch, flight.last_sequence));
        newer(sent, self.logged())
    }

    /// The same, of what is in the log.
    fn logged(&self) -> Option<(i16, i32)> {
        let last = self.stored.back();
        let stored = last.map(|stored| (self.epoch, stored.last_sequence));
        let fence = (self.fenced >= 0).then_some((self.fenced, self.fenced_sequence));
        newer(stored, fence)
    }

    fn duplicate_of(&self, batch: &Flight) -> Option<Admit> {
        let in_flight = self.in_flight.iter().find(|flight| {
            flight.epoch == batch.epoch
                && flight.first_sequence == batch.first_sequence
                && flight.last_sequence == batch.last_sequence
        });
        if let Some(flight) = in_flight {
            return Some(Admit::Joined(flight.ticket));
        }
        if self.epoch != batch.epoch {
            return None;
        }
        self.stored
            .iter()
            .find(|stored| {
                stored.first_sequence == batch.first_sequence
                    && stored.last_sequence == batch.last_sequence
            })
            .map(|stored| Admit::Stored(*stored))
    }

    fn remember(&mut self, epoch: i16, batch: StoredBatch) {
        if epoch != self.epoch {
            self.stored.clear();
            self.epoch = epoch;
        }
        if self.stored.len() == CACHED_BATCHES {
            self.stored.pop_front();
        }
        self.stored.push_back(batch);
    }
}

/// Of two tails the one with the newer epoch; the first if they are as new.
fn newer(first: Option<(i16, i32)>, second: Option<(i16, i32)>) -> Option<(i16, i32)> {
    match (first, second) {
        (Some(first), Some(second)) if first.0 >= second.0 => Some(first),
        (first, None) => first,
        (_, second) => second,
    }
}

/// Sequences run from 0 to `i32::MAX` and wrap to 0.
fn next_sequence(last: i32) -> i32 {
    last.checked_add(1).unwrap_or(0)
}
