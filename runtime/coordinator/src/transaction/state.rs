//! What is known of one transactional id, and each step that it may take. A step gives the next state and changes
//! nothing: it becomes true when its record is in the log.

use std::collections::{BTreeMap, BTreeSet};

use super::error::TransactionError;
use super::request::{EndRequest, InitRequest};

/// The client bumps its epoch with every transaction (KIP-890, part 2).
pub(super) const EPOCH_BUMPS: i16 = 2;
const NO_PRODUCER: i64 = -1;
const NO_EPOCH: i16 = -1;
/// A client is given epochs below this one, so that there is always one left to fence it with.
const LAST_CLIENT_EPOCH: i16 = i16::MAX - 1;

/// A producer id and its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Producer {
    pub id: i64,
    pub epoch: i16,
}

/// A transactional id as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub producer_id: i64,
    /// -1 until the first InitProducerId is stored.
    pub producer_epoch: i16,
    /// The epoch before, if its holder may still ask again for this one (KIP-360); -1 if none may. Not stored.
    pub last_producer_epoch: i16,
    /// The producer id before the last step; -1 for none.
    pub previous_producer_id: i64,
    /// Takes over when the transaction is complete, because the epochs of this one are used up; -1 for none.
    pub next_producer_id: i64,
    pub timeout_ms: i32,
    pub state: TransactionState,
    pub partitions: BTreeMap<String, BTreeSet<i32>>,
    /// When the transaction began; -1 before the first.
    pub start_ms: i64,
    pub update_ms: i64,
    /// The transaction.version that the client's last request showed.
    pub client_version: i16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionState {
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
    /// Only in logs of Kafka, before a tombstone.
    Dead,
}

impl TransactionState {
    pub const ALL: [TransactionState; 7] = [
        TransactionState::Empty,
        TransactionState::Ongoing,
        TransactionState::PrepareCommit,
        TransactionState::PrepareAbort,
        TransactionState::CompleteCommit,
        TransactionState::CompleteAbort,
        TransactionState::Dead,
    ];

    /// The number in a record.
    pub fn id(self) -> i8 {
        self as i8
    }

    pub fn from_id(id: i8) -> Option<TransactionState> {
        TransactionState::ALL.into_iter().find(|s| s.id() == id)
    }

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            TransactionState::Empty => "Empty",
            TransactionState::Ongoing => "Ongoing",
            TransactionState::PrepareCommit => "PrepareCommit",
            TransactionState::PrepareAbort => "PrepareAbort",
            TransactionState::CompleteCommit => "CompleteCommit",
            TransactionState::CompleteAbort => "CompleteAbort",
            TransactionState::Dead => "Dead",
        }
    }

    pub(super) fn is_prepared(self) -> bool {
        matches!(
            self,
            TransactionState::PrepareCommit | TransactionState::PrepareAbort
        )
    }

    /// No transaction is under way.
    fn is_idle(self) -> bool {
        !self.is_prepared() && self != TransactionState::Ongoing
    }
}

/// How an InitProducerId goes on.
#[derive(Debug, PartialEq)]
pub(super) enum Initialized {
    /// The producer's id and epoch are these once it is stored.
    Ready(Transaction),
    /// The open transaction is aborted first, and the caller comes back.
    Fenced(Transaction),
}

/// How an EndTxn goes on.
#[derive(Debug, PartialEq)]
pub(super) enum Ended {
    Prepare(Transaction),
    /// A retry of what is done.
    Already(Producer),
}

impl Transaction {
    /// A transactional id nobody has used. Its first epoch will be 0.
    pub(super) fn new(producer_id: i64, now_ms: i64) -> Transaction {
        Transaction {
            producer_id,
            producer_epoch: NO_EPOCH,
            last_producer_epoch: NO_EPOCH,
            previous_producer_id: NO_PRODUCER,
            next_producer_id: NO_PRODUCER,
            timeout_ms: 0,
            state: TransactionState::Empty,
            partitions: BTreeMap::new(),
            start_ms: -1,
            update_ms: now_ms,
            client_version: 0,
        }
    }

    pub(super) fn producer(&self) -> Producer {
        Producer {
            id: self.producer_id,
            epoch: self.producer_epoch,
        }
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.producer_epoch >= LAST_CLIENT_EPOCH
    }

    /// InitProducerId (KIP-360 when the request names the producer it was). `fresh` is used where the epochs have run
    /// out; without one the caller is told to come back.
    pub(super) fn init(
        &self,
        request: &InitRequest,
        fresh: Option<i64>,
        now_ms: i64,
    ) -> Result<Initialized, TransactionError> {
        let expected = request.expected;
        if !expected.is_none_or(|expected| self.may_continue(expected)) {
            return Err(TransactionError::ProducerFenced);
        }
        if self.state.is_prepared() {
            return Err(TransactionError::ConcurrentTransactions);
        }
        if self.state == TransactionState::Ongoing {
            // Kafka fences without looking at the epoch here, and lets a zombie abort its successor's transaction.
            return match expected.is_none_or(|e| e == self.producer()) {
                true => Ok(Initialized::Fenced(self.fence(now_ms))),
                false => Err(TransactionError::ProducerFenced),
            };
        }
        let (producer_id, epoch, last_epoch) =
            if self.is_exhausted() && expected.is_none_or(|e| e.epoch == self.producer_epoch) {
                let fresh = fresh.ok_or(TransactionError::ConcurrentTransactions)?;
                let last = expected.map_or(NO_EPOCH, |_| self.producer_epoch);
                (fresh, 0, last)
            } else {
                let (epoch, last) = self.next_epoch(expected)?;
                (self.producer_id, epoch, last)
            };
        Ok(Initialized::Ready(Transaction {
            producer_id,
            producer_epoch: epoch,
            last_producer_epoch: last_epoch,
            previous_producer_id: self.producer_id,
            next_producer_id: NO_PRODUCER,
            timeout_ms: request.timeout_ms,
            state: TransactionState::Empty,
            partitions: BTreeMap::new(),
            start_ms: -1,
            update_ms: now_ms,
            client_version: 0,
        }))
    }

    /// Whether a producer that says who it was may still be the newest one.
    fn may_continue(&self, expected: Producer) -> bool {
        self.producer_epoch == NO_EPOCH
            || expected.id == self.producer_id
            // It used its epochs up and never heard of its new id.
            || (expected.id == self.previous_producer_id && expected.epoch >= LAST_CLIENT_EPOCH)
    }

    /// The epoch that InitProducerId gives, and who may ask for it again.
    fn next_epoch(&self, expected: Option<Producer>) -> Result<(i16, i16), TransactionError> {
        let next = self.producer_epoch.saturating_add(1);
        match expected {
            None => Ok((next, NO_EPOCH)),
            Some(e) if self.producer_epoch == NO_EPOCH || e.epoch == self.producer_epoch => {
                Ok((next, self.producer_epoch))
            }
            // A retry: a new producer in between would have left -1 here.
            Some(e) if e.epoch == self.last_producer_epoch => {
                Ok((self.producer_epoch, self.last_producer_epoch))
            }
            Some(_) => Err(TransactionError::ProducerFenced),
        }
    }

    /// Aborts the open transaction under an epoch that nobody has been given. Only for an ongoing one, whose epoch is one
    /// of a client's and therefore has a successor.
    pub(super) fn fence(&self, now_ms: i64) -> Transaction {
        Transaction {
            producer_epoch: self.producer_epoch.saturating_add(1),
            last_producer_epoch: NO_EPOCH,
            previous_producer_id: self.producer_id,
            next_producer_id: NO_PRODUCER,
            state: TransactionState::PrepareAbort,
            update_ms: now_ms,
            // Its epoch is nobody's, so no EndTxn of version 5 may be taken for a retry that led to it.
            client_version: 0,
            ..self.clone()
        }
    }

    /// The checks that every step of a client's own transaction begins with.
    fn check_producer(&self, producer: Producer) -> Result<(), TransactionError> {
        if self.producer_id != producer.id {
            Err(TransactionError::InvalidProducerIdMapping)
        } else if self.producer_epoch != producer.epoch {
            Err(TransactionError::ProducerFenced)
        } else if self.state.is_prepared() {
            Err(TransactionError::ConcurrentTransactions)
        } else {
            Ok(())
        }
    }

    /// Adds partitions, beginning a transaction if none is open. `None`: they are in it already.
    pub(super) fn add(
        &self,
        producer: Producer,
        partitions: &[(String, i32)],
        client_version: i16,
        now_ms: i64,
    ) -> Result<Option<Transaction>, TransactionError> {
        self.check_producer(producer)?;
        let ongoing = self.state == TransactionState::Ongoing;
        if ongoing && partitions.iter().all(|(t, p)| self.contains(t, *p)) {
            return Ok(None);
        }
        let mut next = Transaction {
            previous_producer_id: self.producer_id,
            next_producer_id: NO_PRODUCER,
            state: TransactionState::Ongoing,
            start_ms: if ongoing { self.start_ms } else { now_ms },
            update_ms: now_ms,
            client_version,
            ..self.clone()
        };
        for (topic, partition) in partitions {
            let of_topic = next.partitions.entry(topic.clone()).or_default();
            of_topic.insert(*partition);
        }
        Ok(Some(next))
    }

    /// Whether all these partitions are in the producer's open transaction (KIP-890, part 1).
    pub(super) fn verify(
        &self,
        producer: Producer,
        partitions: &[(String, i32)],
    ) -> Result<(), TransactionError> {
        self.check_producer(producer)?;
        let all_in = partitions.iter().all(|(t, p)| self.contains(t, *p));
        match all_in && self.state == TransactionState::Ongoing {
            true => Ok(()),
            false => Err(TransactionError::TransactionAbortable),
        }
    }

    fn contains(&self, topic: &str, partition: i32) -> bool {
        let of_topic = self.partitions.get(topic);
        of_topic.is_some_and(|indexes| indexes.contains(&partition))
    }

    pub(super) fn partition_count(&self) -> usize {
        self.partitions.values().map(BTreeSet::len).sum()
    }

    /// EndTxn. `fresh` is used where the next epoch would be the last one.
    pub(super) fn end(
        &self,
        request: &EndRequest,
        fresh: Option<i64>,
        now_ms: i64,
    ) -> Result<Ended, TransactionError> {
        match request.client_version >= EPOCH_BUMPS {
            // Before the producer is looked at, which may be told of by the end that is on its way (KAFKA-18464).
            true if self.state.is_prepared() => Err(TransactionError::ConcurrentTransactions),
            true => self.end_and_bump(request, fresh, now_ms),
            false => self.end_in_epoch(request, now_ms),
        }
    }

    /// EndTxn up to version 4: the epoch stays, so a second one for the same outcome is taken for a retry.
    fn end_in_epoch(&self, request: &EndRequest, now_ms: i64) -> Result<Ended, TransactionError> {
        if self.producer_id != request.producer.id {
            return Err(TransactionError::InvalidProducerIdMapping);
        }
        if self.producer_epoch != request.producer.epoch {
            return Err(TransactionError::ProducerFenced);
        }
        match (self.state, request.commit) {
            (TransactionState::Ongoing, commit) => {
                Ok(Ended::Prepare(self.prepared(commit, request, None, now_ms)))
            }
            (TransactionState::CompleteCommit, true) | (TransactionState::CompleteAbort, false) => {
                Ok(Ended::Already(self.producer()))
            }
            (state, _) if state.is_prepared() => Err(TransactionError::ConcurrentTransactions),
            _ => Err(TransactionError::InvalidTxnState),
        }
    }

    /// EndTxn from version 5 on: each one bumps the epoch, so the epoch tells a retry from the next transaction's end, and
    /// an abort is right even where nothing was begun.
    fn end_and_bump(
        &self,
        request: &EndRequest,
        fresh: Option<i64>,
        now_ms: i64,
    ) -> Result<Ended, TransactionError> {
        let Producer { id, epoch } = request.producer;
        let retry_after_overflow = self.previous_producer_id == id
            && self.producer_id != id
            && epoch == LAST_CLIENT_EPOCH
            && self.producer_epoch == 0;
        // A fence bumps the epoch too; who ends a transaction that was fenced is told so.
        let retry_after_bump = self.client_version >= EPOCH_BUMPS
            && self.producer_id == id
            && epoch.checked_add(1) == Some(self.producer_epoch);
        let retry = retry_after_bump || retry_after_overflow;
        if self.producer_id != id && !retry_after_overflow {
            return Err(TransactionError::InvalidProducerIdMapping);
        }
        let current = self.producer_epoch == epoch;
        let valid = match self.state {
            TransactionState::CompleteCommit | TransactionState::CompleteAbort => retry || current,
            _ => current,
        };
        if !valid {
            return Err(TransactionError::ProducerFenced);
        }
        let prepare = || {
            let next = match self.is_exhausted() {
                true => Some(fresh.ok_or(TransactionError::ConcurrentTransactions)?),
                false => None,
            };
            let prepared = self.prepared(request.commit, request, next, now_ms);
            Ok(Ended::Prepare(prepared))
        };
        match (self.state, request.commit) {
            (TransactionState::Ongoing, _) => prepare(),
            (TransactionState::CompleteCommit, true) | (TransactionState::CompleteAbort, false)
                if retry =>
            {
                Ok(Ended::Already(self.producer()))
            }
            (TransactionState::CompleteCommit | TransactionState::CompleteAbort, false)
                if !retry =>
            {
                prepare()
            }
            (TransactionState::Empty, false) => prepare(),
            _ => Err(TransactionError::InvalidTxnState),
        }
    }

    fn prepared(
        &self,
        commit: bool,
        request: &EndRequest,
        next_producer_id: Option<i64>,
        now_ms: i64,
    ) -> Transaction {
        let bumps = request.client_version >= EPOCH_BUMPS;
        let begun = self.state == TransactionState::Ongoing;
        Transaction {
            // In transaction.version 2 the marker carries the new epoch, so that it fences what comes late.
            producer_epoch: self.producer_epoch.saturating_add(i16::from(bumps)),
            last_producer_epoch: match bumps {
                true => self.producer_epoch,
                false => self.last_producer_epoch,
            },
            previous_producer_id: self.producer_id,
            next_producer_id: next_producer_id.unwrap_or(NO_PRODUCER),
            state: match commit {
                true => TransactionState::PrepareCommit,
                false => TransactionState::PrepareAbort,
            },
            start_ms: if begun { self.start_ms } else { now_ms },
            update_ms: now_ms,
            client_version: request.client_version,
            ..self.clone()
        }
    }

    /// After the last marker. Only for a prepared one.
    pub(super) fn completed(&self, now_ms: i64) -> Transaction {
        let producer = self.producer_when_complete();
        Transaction {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            previous_producer_id: self.producer_id,
            next_producer_id: NO_PRODUCER,
            state: match self.state {
                TransactionState::PrepareCommit => TransactionState::CompleteCommit,
                _ => TransactionState::CompleteAbort,
            },
            partitions: BTreeMap::new(),
            update_ms: now_ms,
            ..self.clone()
        }
    }

    /// What a client goes on with after the end of a prepared transaction.
    pub(super) fn producer_when_complete(&self) -> Producer {
        match self.next_producer_id {
            NO_PRODUCER => self.producer(),
            id => Producer { id, epoch: 0 },
        }
    }

    /// Ongoing for longer than its producer said it may be.
    pub(super) fn is_timed_out(&self, now_ms: i64) -> bool {
        self.state == TransactionState::Ongoing
            && self.start_ms.saturating_add(i64::from(self.timeout_ms)) < now_ms
    }

    /// Nobody has used it for so long.
    pub(super) fn is_expired(&self, expiration_ms: i64, now_ms: i64) -> bool {
        self.state.is_idle() && self.update_ms.saturating_add(expiration_ms) <= now_ms
    }
}
