//! The produce side: admit, run the chain, append, answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tidegate_protocol::error::ErrorCode;
use tidegate_record::{Attributes, Batch, CheckedBatch, Offset};
use tidegate_storage::{Append, AppendError, AppendPart, Appended, Lane};
use tokio::sync::oneshot;

use crate::clock::now_ms;
use crate::plugins::Real;
use crate::topics::ChainSlot;

use super::admission::{Flight, Item, Queued, Waiter, remembered};
use super::chain_run::{self, Processed};
use super::flush;
use super::producers::{Admit, SequenceError, StaleMarker, StoredBatch, Ticket};
use super::{Partition, State};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acks {
    None,
    Leader,
    All,
}

pub(crate) type ProduceOutcome = Result<Stored, ProduceFailure>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) base_offset: Offset,
    /// -1 unless the topic keeps log append time.
    pub(crate) append_timestamp: i64,
    pub(crate) log_start: Offset,
}

/// Why a batch was not appended, as the Produce response says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProduceFailure {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    /// Only the records that caused it (Produce v8+).
    pub(crate) records: Vec<RecordError>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordError {
    /// Index in the client's batch.
    pub(crate) index: i32,
    pub(crate) message: String,
}

impl ProduceFailure {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> ProduceFailure {
        ProduceFailure {
            code,
            message: message.into(),
            records: Vec::new(),
        }
    }

    pub(super) fn gone() -> ProduceFailure {
        ProduceFailure::new(
            ErrorCode::NotLeaderOrFollower,
            "this broker does not lead the partition any more; refresh metadata",
        )
    }

    fn sequence(error: &SequenceError) -> ProduceFailure {
        match error {
            SequenceError::OutOfOrder { expected, got } => ProduceFailure::new(
                ErrorCode::OutOfOrderSequenceNumber,
                format!("the batch starts at sequence {got}, the next one expected is {expected}"),
            ),
            SequenceError::StaleEpoch { current, got } => ProduceFailure::new(
                ErrorCode::InvalidProducerEpoch,
                format!("producer epoch {got} is older than {current}"),
            ),
        }
    }

    fn broken_sequence() -> ProduceFailure {
        ProduceFailure::new(
            ErrorCode::OutOfOrderSequenceNumber,
            "an earlier batch of this producer failed, so this one would leave a gap",
        )
    }
}

impl From<StaleMarker> for ProduceFailure {
    fn from(stale: StaleMarker) -> ProduceFailure {
        match stale {
            StaleMarker::Producer { current, got } => {
                ProduceFailure::sequence(&SequenceError::StaleEpoch { current, got })
            }
            StaleMarker::Coordinator { current, got } => ProduceFailure::new(
                ErrorCode::TransactionCoordinatorFenced,
                format!("coordinator epoch {got} is older than {current}"),
            ),
        }
    }
}

impl From<AppendError> for ProduceFailure {
    fn from(error: AppendError) -> ProduceFailure {
        let code = match &error {
            AppendError::UnknownPartition(_) | AppendError::StaleEpoch { .. } => {
                ErrorCode::NotLeaderOrFollower
            }
            AppendError::LaneBroken => return ProduceFailure::broken_sequence(),
            AppendError::Invalid(_) => ErrorCode::UnknownServerError,
            // What stands in a record is the reason why its dead letter cannot be made.
            AppendError::Late(_) => ErrorCode::InvalidRecord,
            AppendError::Offline(_) | AppendError::Store(_) => ErrorCode::KafkaStorageError,
        };
        ProduceFailure::new(code, error.to_string())
    }
}

impl Partition {
    /// Admits a batch and returns at once; the receiver gets the outcome when `acks` is satisfied.
    ///
    /// Callers of one connection call this in socket order, and that is the order of the log. After a transactional batch
    /// they must look at [`Partition::asks`].
    pub(crate) fn produce(
        self: &Arc<Self>,
        batch: CheckedBatch,
        acks: Acks,
    ) -> oneshot::Receiver<ProduceOutcome> {
        let (reply, outcome) = oneshot::channel();
        let waiter = Waiter { acks, reply };
        let received_ms = now_ms();
        let mut state = self.lock();
        let header = *batch.batch().header();
        let may = self
            .may_append(&state, acks)
            .and_then(|()| Partition::check_transaction(&state, &header));
        if let Err(failure) = may {
            waiter.answer(Err(failure));
            return outcome;
        }
        let ticket = state.admission.next_ticket();
        match state
            .admission
            .producers
            .admit(&header, ticket, received_ms)
        {
            Admit::New => {
                let (producer_id, epoch) = (header.producer_id, state.replica.epoch());
                let flight = Flight {
                    producer_id,
                    epoch,
                    waiters: vec![waiter],
                };
                state.admission.flights.insert(ticket, flight);
                state.admission.enqueue(Queued {
                    ticket,
                    batch,
                    received_ms,
                });
                self.pump(&mut state);
            }
            Admit::Joined(ticket) => match state.admission.flights.get_mut(&ticket) {
                Some(flight) => flight.waiters.push(waiter),
                // In flight without a flight: it was doomed a moment ago.
                None => waiter.answer(Err(ProduceFailure::broken_sequence())),
            },
            Admit::Stored(stored) => self.acknowledge(&mut state, waiter, &stored),
            Admit::Refused(error) => waiter.answer(Err(ProduceFailure::sequence(&error))),
        }
        outcome
    }

    /// Appends a batch of the broker's own (offsets, plugin chunks), synced, past every check that is about clients. One
    /// that is part of a client's transaction must not be older than the producer's newest epoch. Where one is refused that
    /// stands in a lane, so are those behind it there.
    pub(crate) fn append_internal(
        self: &Arc<Self>,
        batch: Batch,
        lane: Option<Lane>,
    ) -> oneshot::Receiver<ProduceOutcome> {
        let (reply, outcome) = oneshot::channel();
        let mut state = self.lock();
        let ticket = state.admission.next_ticket();
        let waiter = Waiter {
            acks: Acks::All,
            reply,
        };
        let epoch = state.replica.epoch();
        let header = *batch.header();
        if header.attributes.is_transactional() && !header.attributes.is_control() {
            let (id, producer_epoch) = (header.producer_id, header.producer_epoch);
            let admission = &mut state.admission;
            if let Err(stale) = admission
                .producers
                .admit_unsequenced(id, producer_epoch, now_ms())
            {
                waiter.answer(Err(ProduceFailure::sequence(&stale)));
                return outcome;
            }
            admission.transactions.confirm(id, producer_epoch);
            admission.transactions.sent(id, producer_epoch, ticket);
        }
        let flight = Flight {
            producer_id: header.producer_id,
            epoch,
            waiters: vec![waiter],
        };
        state.admission.flights.insert(ticket, flight);
        let processed = Processed {
            lane: lane.clone(),
            ..Processed::whole(batch)
        };
        if !self.append(&mut state, ticket, processed)
            && let Some(lane) = lane
        {
            lane.break_off();
        }
        outcome
    }

    fn may_append(&self, state: &State, acks: Acks) -> Result<(), ProduceFailure> {
        if !self.online() {
            return Err(ProduceFailure::new(
                ErrorCode::KafkaStorageError,
                "the store of this partition is offline; see the broker's log",
            ));
        }
        match acks == Acks::All && !state.replica.can_accept_all() {
            true => Err(ProduceFailure::new(
                ErrorCode::NotEnoughReplicas,
                "fewer replicas are in sync than min.insync.replicas asks for",
            )),
            false => Ok(()),
        }
    }

    /// Sends queued batches on, in order, until the queue is empty or one of them is inside the chain.
    pub(super) fn pump(self: &Arc<Self>, state: &mut State) {
        while !state.admission.in_chain {
            let queued = match state.admission.next() {
                None => return,
                Some(Item::Marker { ticket, marker }) => {
                    self.write_marker(state, ticket, marker);
                    continue;
                }
                Some(Item::Batch(queued)) => queued,
            };
            let chain = match &self.topic.chains().produce {
                ChainSlot::Unavailable(reason) => {
                    let failure = ProduceFailure::new(ErrorCode::NotEnoughReplicas, reason.clone());
                    self.fail(state, queued.ticket, failure);
                    continue;
                }
                ChainSlot::Ready(chain) => Some(chain.clone()),
                ChainSlot::None => None,
            };
            if chain.is_none()
                && !chain_run::needs_records(&self.topic, &queued.batch, queued.received_ms)
            {
                let batch = chain_run::stamped(&self.topic, queued.batch, queued.received_ms);
                let batch = batch.into_batch();
                let place = (self.index, queued.received_ms);
                chain_run::show_shadow(&self.env, &self.topic, place, &batch, Real::default);
                self.append(state, queued.ticket, Processed::whole(batch));
                continue;
            }
            state.admission.in_chain = true;
            let ticket = queued.ticket;
            let partition = self.clone();
            let job = Box::new(move || partition.work(queued, chain));
            if self
                .env
                .engine
                .pool()
                .submit(self.topic.pool_key(), job)
                .is_err()
            {
                state.admission.in_chain = false;
                let failure = ProduceFailure::new(
                    ErrorCode::NotEnoughReplicas,
                    "the plugin pool is full; the request may be retried",
                );
                self.fail(state, ticket, failure);
            }
        }
    }

    /// Runs on the plugin pool.
    fn work(self: Arc<Self>, queued: Queued, chain: Option<Arc<tidegate_plugin::Chain>>) {
        let ticket = queued.ticket;
        self.work_on(ticket, || {
            chain_run::process(&self.env, &self.topic, self.index, queued, chain.as_ref())
        });
    }

    /// Whatever `process` does, the batch gets its outcome and the next one its turn.
    pub(super) fn work_on(
        self: &Arc<Self>,
        ticket: Ticket,
        process: impl FnOnce() -> Result<Processed, ProduceFailure>,
    ) {
        let processed = catch_unwind(AssertUnwindSafe(process)).unwrap_or_else(|_| {
            Err(ProduceFailure::new(
                ErrorCode::UnknownServerError,
                "the plugin host failed",
            ))
        });
        let mut state = self.lock();
        // A chain that keeps state sees no other batch before it has heard of this one's append.
        let mut undecided = false;
        match processed {
            Ok(processed) => {
                let keeps_state = processed.settlement.is_some();
                let queued = self.append(&mut state, ticket, processed);
                undecided = keeps_state && queued;
            }
            Err(failure) => self.fail(&mut state, ticket, failure),
        }
        state.admission.in_chain = undecided;
        self.pump(&mut state);
    }

    /// False: the batch is not on its way to the log, and whoever waits for it knows.
    pub(super) fn append(
        self: &Arc<Self>,
        state: &mut State,
        ticket: Ticket,
        processed: Processed,
    ) -> bool {
        let Some(flight) = state.admission.flights.get(&ticket) else {
            return false;
        };
        let sync = !flush::is_relaxed(&self.topic)
            && flight.waiters.iter().any(|waiter| waiter.acks == Acks::All);
        let written = Written {
            ticket,
            producer_id: processed.batch.header().producer_id,
            attributes: processed.batch.header().attributes,
            remembered: remembered(&processed.batch, 0),
        };
        let source = AppendPart {
            id: self.id,
            epoch: flight.epoch,
            last_surviving_delta: processed.last_surviving_delta,
            batch: processed.batch,
        };
        // What has no sequence leaves no hole in them.
        let in_sequence = written.remembered.first_sequence >= 0;
        let lane = match in_sequence {
            true => state.admission.producers.lane(written.producer_id),
            false => processed.lane,
        };
        let parts = std::iter::once(source).chain(processed.routed).collect();
        let partition = self.clone();
        let settlement = processed.settlement;
        let done = Box::new(move |result: Result<Vec<Appended>, AppendError>| {
            let keeps_state = settlement.is_some();
            // First of all: the next batch must not meet what this one may have left behind.
            match settlement {
                Some(settlement) if result.is_ok() => settlement.appended(),
                lost => drop(lost),
            }
            let mut state = partition.lock();
            partition.appended(&mut state, written, result);
            if keeps_state {
                state.admission.in_chain = false;
            }
            // What waits may wait for the chain, or be a marker that this was ahead of.
            partition.pump(&mut state);
        });
        if self
            .env
            .log
            .submit(Append {
                parts,
                sync,
                now_ms: now_ms(),
                lane,
                late: processed.late,
                note: processed.note,
                aborts: processed.aborts,
                done,
            })
            .is_err()
        {
            let failure = match self.online() {
                true => ProduceFailure::new(
                    ErrorCode::NotEnoughReplicas,
                    "the append queue is full; the request may be retried",
                ),
                false => ProduceFailure::new(ErrorCode::KafkaStorageError, "the store is offline"),
            };
            self.fail(state, ticket, failure);
            return false;
        }
        true
    }

    /// Runs on the store's writer thread, in the order of the log.
    fn appended(
        &self,
        state: &mut State,
        written: Written,
        result: Result<Vec<Appended>, AppendError>,
    ) {
        let Written {
            ticket,
            producer_id,
            attributes,
            remembered,
        } = written;
        let appended = match result.map(|appended| appended.into_iter().next()) {
            Ok(Some(appended)) => appended,
            Ok(None) => {
                let failure =
                    ProduceFailure::new(ErrorCode::UnknownServerError, "the append said nothing");
                return self.fail(state, ticket, failure);
            }
            Err(error) => {
                state.admission.producers.leave_lane(producer_id, ticket);
                return self.fail(state, ticket, error.into());
            }
        };
        let stored = StoredBatch {
            base_offset: appended.base_offset,
            last_offset: appended.last_offset,
            ..remembered
        };
        let admission = &mut state.admission;
        if attributes.is_control() {
            admission
                .transactions
                .ended(producer_id, stored.base_offset);
        } else {
            admission.producers.stored(producer_id, ticket, stored);
            if attributes.is_transactional() {
                admission
                    .transactions
                    .stored(producer_id, ticket, stored.base_offset);
            }
        }
        admission.landed(stored.last_offset);
        let Some(flight) = state.admission.flights.remove(&ticket) else {
            return;
        };
        for waiter in flight.waiters {
            self.acknowledge(state, waiter, &stored);
        }
    }

    /// Answers for a batch that is in the log: now, or when the high watermark has passed it.
    fn acknowledge(&self, state: &mut State, waiter: Waiter, stored: &StoredBatch) {
        let outcome = Ok(Stored {
            base_offset: stored.base_offset,
            append_timestamp: stored.append_timestamp,
            log_start: self.log_start(),
        });
        match waiter.acks == Acks::All && state.replica.high_watermark() <= stored.last_offset {
            true => state
                .acks
                .push((stored.last_offset + 1, waiter.reply, outcome)),
            false => waiter.answer(outcome),
        }
    }

    pub(super) fn fail(&self, state: &mut State, ticket: Ticket, failure: ProduceFailure) {
        let (own, later) = state.admission.fail(ticket);
        for waiter in own {
            waiter.answer(Err(failure.clone()));
        }
        for waiter in later {
            waiter.answer(Err(ProduceFailure::broken_sequence()));
        }
    }

    pub(super) fn fail_all(&self, state: &mut State, failure: &ProduceFailure) {
        state.admission.queue.clear();
        for (_, flight) in state.admission.flights.drain() {
            for waiter in flight.waiters {
                waiter.answer(Err(failure.clone()));
            }
        }
        for (_, reply, _) in state.acks.drain(..) {
            drop(reply.send(Err(failure.clone())));
        }
    }
}

/// What is to be remembered of a batch once it is in the log.
struct Written {
    ticket: Ticket,
    producer_id: i64,
    attributes: Attributes,
    remembered: StoredBatch,
}

impl Waiter {
    pub(super) fn answer(self, outcome: ProduceOutcome) {
        // A closed receiver is a client that went away.
        drop(self.reply.send(outcome));
    }
}
