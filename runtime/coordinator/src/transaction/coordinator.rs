//! All transactional ids of one partition: requests in, effects out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::error::TransactionError;
use super::request::{
    DescribedTransaction, EndRequest, InitRequest, ListedTransaction, MarkerId, MarkerOutcome,
    TransactionEffect, TransactionMarker, TransactionOptions, TransactionReply, TransactionRequest,
};
use super::state::{Ended, Initialized, Producer, Transaction, TransactionState};
use crate::records::RecordError;
use crate::records::transaction_log::{self, TransactionRecord};
use crate::request::{AppendId, Token};

/// Additions that wait for the step before them; a producer has few requests in flight.
const MAX_PARKED: usize = 64;

/// The transactional ids of one `__transaction_state` partition.
///
/// Starts out loading: give it the partition's records with [`TransactionCoordinator::load`], then call
/// [`TransactionCoordinator::loaded`]; until then requests are refused.
#[derive(Debug)]
pub struct TransactionCoordinator {
    options: TransactionOptions,
    ids: BTreeMap<String, Entry>,
    effects: Vec<TransactionEffect>,
    appends: BTreeMap<AppendId, Step>,
    markers: BTreeMap<MarkerId, Unwritten>,
    next_id: u64,
    /// What to try again, and when.
    retries: BTreeSet<(i64, String)>,
    is_loaded: bool,
}

#[derive(Debug)]
struct Entry {
    /// As it is in the log.
    current: Transaction,
    /// A step is being appended; the next one waits or is refused.
    is_busy: bool,
    parked: VecDeque<(Token, Addition)>,
    /// Partitions of a prepared transaction without their marker, and whether one is on its way.
    unmarked: BTreeMap<(String, i32), bool>,
}

#[derive(Debug)]
struct Addition {
    producer: Producer,
    partitions: Vec<(String, i32)>,
    client_version: i16,
}

/// A record on its way to the log.
#[derive(Debug)]
struct Step {
    transactional_id: String,
    next: Transaction,
    then: Then,
}

/// Who waits for a step, and for what.
#[derive(Debug)]
enum Then {
    Init(Token),
    Add(Token),
    End(Token),
    /// The abort of an open transaction that fences its producer, for somebody or for its timeout.
    Fence(Option<Token>),
    Complete,
    Forget,
}

#[derive(Debug)]
struct Unwritten {
    transactional_id: String,
    partition: (String, i32),
}

impl TransactionCoordinator {
    pub fn new(options: TransactionOptions) -> TransactionCoordinator {
        TransactionCoordinator {
            options,
            ids: BTreeMap::new(),
            effects: Vec::new(),
            appends: BTreeMap::new(),
            markers: BTreeMap::new(),
            next_id: 0,
            retries: BTreeSet::new(),
            is_loaded: false,
        }
    }

    /// Whether [`TransactionCoordinator::handle`] wants a fresh producer id with this request. What changes in between
    /// costs the client a retry.
    pub fn needs_producer_id(&self, request: &TransactionRequest) -> bool {
        let entry = |id: &String| self.ids.get(id);
        match request {
            TransactionRequest::Init(init) => entry(&init.transactional_id)
                .is_none_or(|entry| !entry.is_busy && entry.current.is_exhausted()),
            TransactionRequest::End(end) => entry(&end.transactional_id)
                .is_some_and(|entry| !entry.is_busy && entry.current.is_exhausted()),
            _ => false,
        }
    }

    /// Takes a request in. `fresh_producer_id` has never been given out and, used or not, never will be again.
    pub fn handle(
        &mut self,
        token: Token,
        request: TransactionRequest,
        fresh_producer_id: Option<i64>,
        now_ms: i64,
    ) -> Vec<TransactionEffect> {
        if let Err(error) = self.check(&request) {
            self.reply(token, refusal(&request, error));
            return self.take_effects();
        }
        match request {
            TransactionRequest::Init(init) => self.init(token, &init, fresh_producer_id, now_ms),
            TransactionRequest::Add {
                transactional_id,
                producer,
                partitions,
                client_version,
            } => {
                let addition = Addition {
                    producer,
                    partitions,
                    client_version,
                };
                self.add(token, &transactional_id, addition, now_ms);
            }
            TransactionRequest::Verify {
                transactional_id,
                producer,
                partitions,
            } => {
                // A step on its way is not waited for: the partition checks again when it appends.
                let verified = match self.ids.get(&transactional_id) {
                    None => Err(TransactionError::InvalidProducerIdMapping),
                    Some(entry) => entry.current.verify(producer, &partitions),
                };
                self.reply(token, TransactionReply::Verify(verified));
            }
            TransactionRequest::End(end) => self.end(token, &end, fresh_producer_id, now_ms),
            TransactionRequest::Describe { transactional_id } => {
                let described = self.describe(&transactional_id);
                self.reply(token, TransactionReply::Describe(described));
            }
            TransactionRequest::List => {
                let listed = self.list();
                self.reply(token, TransactionReply::List(Ok(listed)));
            }
        }
        self.take_effects()
    }

    /// Tells the outcome of an append. Not ok: nothing of it is in the log.
    pub fn appended(&mut self, id: AppendId, ok: bool, now_ms: i64) -> Vec<TransactionEffect> {
        if let Some(step) = self.appends.remove(&id) {
            match ok {
                true => self.took_step(step, now_ms),
                false => self.missed_step(step, now_ms),
            }
        }
        self.take_effects()
    }

    /// Tells what became of a marker.
    pub fn marker_written(
        &mut self,
        id: MarkerId,
        outcome: MarkerOutcome,
        now_ms: i64,
    ) -> Vec<TransactionEffect> {
        if let Some(marker) = self.markers.remove(&id) {
            let name = marker.transactional_id;
            let Some(entry) = self.ids.get_mut(&name) else {
                return Vec::new();
            };
            if outcome == MarkerOutcome::Failed {
                entry.unmarked.insert(marker.partition, false);
                self.retry_later(name, now_ms);
            } else {
                entry.unmarked.remove(&marker.partition);
                if entry.unmarked.is_empty() {
                    self.complete(&name, now_ms);
                }
            }
        }
        self.take_effects()
    }

    /// Does what time has made due.
    pub fn tick(&mut self, now_ms: i64) -> Vec<TransactionEffect> {
        while let Some((due, name)) = self.retries.first().cloned()
            && due <= now_ms
        {
            self.retries.remove(&(due, name.clone()));
            self.go_on(&name, now_ms);
        }
        self.take_effects()
    }

    /// When `tick` has something to do next.
    pub fn next_deadline(&self) -> Option<i64> {
        self.retries.first().map(|(deadline, _)| *deadline)
    }

    /// Aborts transactions that are open for longer than their timeout, and fences their producers.
    pub fn abort_timed_out(&mut self, now_ms: i64) -> Vec<TransactionEffect> {
        let late = |entry: &Entry| !entry.is_busy && entry.current.is_timed_out(now_ms);
        for (name, next) in self.find(late, |current| current.fence(now_ms)) {
            self.step(name, next, Then::Fence(None));
        }
        self.take_effects()
    }

    /// Forgets transactional ids that nobody has used for long.
    pub fn expire_ids(&mut self, now_ms: i64) -> Vec<TransactionEffect> {
        let expiration_ms = self.options.id_expiration_ms;
        let idle =
            |entry: &Entry| !entry.is_busy && entry.current.is_expired(expiration_ms, now_ms);
        for (name, next) in self.find(idle, Transaction::clone) {
            self.step(name, next, Then::Forget);
        }
        self.take_effects()
    }

    /// Takes in one record of the partition, in order, before [`TransactionCoordinator::loaded`]. An error means that
    /// the record was skipped; records of unknown versions are skipped in silence.
    pub fn load(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), RecordError> {
        let TransactionRecord::Transaction {
            transactional_id,
            value,
        } = transaction_log::decode(key, value)?
        else {
            return Ok(());
        };
        match value.filter(|transaction| transaction.state != TransactionState::Dead) {
            Some(current) => self.ids.insert(transactional_id, Entry::new(current)),
            None => self.ids.remove(&transactional_id),
        };
        Ok(())
    }

    /// Everything is loaded: what was prepared goes on.
    pub fn loaded(&mut self, now_ms: i64) -> Vec<TransactionEffect> {
        self.is_loaded = true;
        let prepared = |entry: &Entry| entry.current.state.is_prepared();
        for (name, _) in self.find(prepared, Transaction::clone) {
            self.prepared(&name, now_ms);
        }
        self.take_effects()
    }

    /// How many transactional ids there are.
    pub fn id_count(&self) -> usize {
        self.ids.len()
    }

    /// How many transactions are open.
    pub fn ongoing_count(&self) -> usize {
        let ongoing = |entry: &&Entry| entry.current.state == TransactionState::Ongoing;
        self.ids.values().filter(ongoing).count()
    }

    fn check(&self, request: &TransactionRequest) -> Result<(), TransactionError> {
        if !self.is_loaded {
            return Err(TransactionError::CoordinatorLoadInProgress);
        }
        let id = match request {
            TransactionRequest::Init(init) => &init.transactional_id,
            TransactionRequest::End(end) => &end.transactional_id,
            TransactionRequest::Add {
                transactional_id, ..
            }
            | TransactionRequest::Verify {
                transactional_id, ..
            }
            | TransactionRequest::Describe { transactional_id } => transactional_id,
            TransactionRequest::List => return Ok(()),
        };
        // Longer ones do not fit the key of a record.
        if id.is_empty() || id.len() > i16::MAX as usize {
            return Err(TransactionError::InvalidRequest);
        }
        Ok(())
    }

    fn init(&mut self, token: Token, request: &InitRequest, fresh: Option<i64>, now_ms: i64) {
        let result = self.initialize(request, fresh, now_ms);
        let name = request.transactional_id.clone();
        match result {
            Ok(Initialized::Ready(next)) => self.step(name, next, Then::Init(token)),
            Ok(Initialized::Fenced(next)) => self.step(name, next, Then::Fence(Some(token))),
            Err(error) => self.reply(token, TransactionReply::Init(Err(error))),
        }
    }

    fn initialize(
        &mut self,
        request: &InitRequest,
        fresh: Option<i64>,
        now_ms: i64,
    ) -> Result<Initialized, TransactionError> {
        if !(1..=self.options.max_timeout_ms).contains(&request.timeout_ms) {
            return Err(TransactionError::InvalidTransactionTimeout);
        }
        if let Some(entry) = self.ids.get(&request.transactional_id) {
            entry.check_idle()?;
            return entry.current.init(request, fresh, now_ms);
        }
        if self.ids.len() >= self.options.max_ids {
            return Err(TransactionError::CoordinatorNotAvailable);
        }
        let fresh = fresh.ok_or(TransactionError::ConcurrentTransactions)?;
        let new = Transaction::new(fresh, now_ms);
        let initialized = new.init(request, None, now_ms)?;
        let name = request.transactional_id.clone();
        self.ids.insert(name, Entry::new(new));
        Ok(initialized)
    }

    fn add(&mut self, token: Token, name: &str, addition: Addition, now_ms: i64) {
        let max = self.options.max_partitions;
        let Some(entry) = self.ids.get_mut(name) else {
            let error = TransactionError::InvalidProducerIdMapping;
            return self.reply(token, TransactionReply::Add(Err(error)));
        };
        if entry.is_busy {
            if entry.parked.len() < MAX_PARKED {
                entry.parked.push_back((token, addition));
            } else {
                let error = TransactionError::ConcurrentTransactions;
                self.reply(token, TransactionReply::Add(Err(error)));
            }
            return;
        }
        let Addition {
            producer,
            partitions,
            client_version,
        } = addition;
        let added = entry
            .current
            .add(producer, &partitions, client_version, now_ms);
        match added {
            Ok(Some(next)) if next.partition_count() > max => {
                let error = TransactionError::InvalidRequest;
                self.reply(token, TransactionReply::Add(Err(error)));
            }
            Ok(Some(next)) => self.step(name.to_owned(), next, Then::Add(token)),
            Ok(None) => self.reply(token, TransactionReply::Add(Ok(()))),
            Err(error) => self.reply(token, TransactionReply::Add(Err(error))),
        }
    }

    fn end(&mut self, token: Token, request: &EndRequest, fresh: Option<i64>, now_ms: i64) {
        let name = &request.transactional_id;
        let ended = match self.ids.get(name) {
            None => Err(TransactionError::InvalidProducerIdMapping),
            Some(entry) => entry
                .check_idle()
                .and_then(|()| entry.current.end(request, fresh, now_ms)),
        };
        match ended {
            Ok(Ended::Prepare(next)) => self.step(name.clone(), next, Then::End(token)),
            Ok(Ended::Already(producer)) => self.reply(token, TransactionReply::End(Ok(producer))),
            Err(error) => self.reply(token, TransactionReply::End(Err(error))),
        }
    }

    fn describe(&self, name: &str) -> Result<DescribedTransaction, TransactionError> {
        let entry = self.ids.get(name).filter(|entry| !entry.is_new());
        let current = match entry {
            Some(entry) => &entry.current,
            None => return Err(TransactionError::TransactionalIdNotFound),
        };
        Ok(DescribedTransaction {
            state: current.state,
            producer: current.producer(),
            timeout_ms: current.timeout_ms,
            start_ms: current.start_ms,
            partitions: current.partitions.clone(),
        })
    }

    fn list(&self) -> Vec<ListedTransaction> {
        let known = self.ids.iter().filter(|(_, entry)| !entry.is_new());
        known
            .map(|(name, entry)| ListedTransaction {
                transactional_id: name.clone(),
                producer_id: entry.current.producer_id,
                state: entry.current.state,
                start_ms: entry.current.start_ms,
            })
            .collect()
    }

    /// Appends the record of a step; it is taken when that is stored.
    fn step(&mut self, transactional_id: String, next: Transaction, then: Then) {
        let Some(entry) = self.ids.get_mut(&transactional_id) else {
            return;
        };
        entry.is_busy = true;
        let key = transaction_log::key(&transactional_id);
        let value = match then {
            Then::Forget => None,
            _ => Some(transaction_log::value(&next)),
        };
        let id = self.fresh_id();
        let step = Step {
            transactional_id,
            next,
            then,
        };
        self.appends.insert(id, step);
        let record = (key, value);
        self.effects.push(TransactionEffect::Append { id, record });
    }

    fn took_step(&mut self, step: Step, now_ms: i64) {
        let name = step.transactional_id;
        if matches!(step.then, Then::Forget) {
            return self.forget(&name);
        }
        let Some(entry) = self.ids.get_mut(&name) else {
            return;
        };
        entry.is_busy = false;
        entry.current = step.next;
        let producer = entry.current.producer();
        let next_producer = entry.current.producer_when_complete();
        match step.then {
            Then::Init(token) => self.reply(token, TransactionReply::Init(Ok(producer))),
            Then::Add(token) => self.reply(token, TransactionReply::Add(Ok(()))),
            Then::End(token) => {
                self.reply(token, TransactionReply::End(Ok(next_producer)));
                self.prepared(&name, now_ms);
            }
            Then::Fence(token) => {
                if let Some(token) = token {
                    let error = TransactionError::ConcurrentTransactions;
                    self.reply(token, TransactionReply::Init(Err(error)));
                }
                self.prepared(&name, now_ms);
            }
            Then::Complete | Then::Forget => {}
        }
        self.unpark(&name, now_ms);
    }

    fn missed_step(&mut self, step: Step, now_ms: i64) {
        let name = step.transactional_id;
        if let Some(entry) = self.ids.get_mut(&name) {
            entry.is_busy = false;
            if entry.is_new() {
                self.forget(&name);
            }
        }
        let error = TransactionError::CoordinatorNotAvailable;
        match step.then {
            Then::Init(token) | Then::Fence(Some(token)) => {
                self.reply(token, TransactionReply::Init(Err(error)));
            }
            Then::Add(token) => self.reply(token, TransactionReply::Add(Err(error))),
            Then::End(token) => self.reply(token, TransactionReply::End(Err(error))),
            Then::Complete => self.retry_later(name.clone(), now_ms),
            // The next round finds it again.
            Then::Fence(None) | Then::Forget => {}
        }
        self.unpark(&name, now_ms);
    }

    /// Whoever waited for the step has its turn.
    fn unpark(&mut self, name: &str, now_ms: i64) {
        while let Some(entry) = self.ids.get_mut(name)
            && !entry.is_busy
            && let Some((token, addition)) = entry.parked.pop_front()
        {
            self.add(token, name, addition, now_ms);
        }
    }

    /// Prepare is in the log: the outcome is decided, and the partitions may know.
    fn prepared(&mut self, name: &str, now_ms: i64) {
        let Some(entry) = self.ids.get_mut(name) else {
            return;
        };
        entry.unmarked = entry
            .current
            .partitions
            .iter()
            .flat_map(|(topic, indexes)| indexes.iter().map(|index| (topic.clone(), *index)))
            .map(|partition| (partition, false))
            .collect();
        self.go_on(name, now_ms);
    }

    /// Writes the markers that are neither written nor on their way, or ends the transaction.
    fn go_on(&mut self, name: &str, now_ms: i64) {
        let Some(entry) = self.ids.get_mut(name) else {
            return;
        };
        if entry.is_busy || !entry.current.state.is_prepared() {
            return;
        }
        if entry.unmarked.is_empty() {
            return self.complete(name, now_ms);
        }
        let marker = TransactionMarker {
            producer: entry.current.producer(),
            commit: entry.current.state == TransactionState::PrepareCommit,
        };
        for (partition, under_way) in entry
            .unmarked
            .iter_mut()
            .filter(|(_, under_way)| !**under_way)
        {
            *under_way = true;
            self.next_id += 1;
            let unwritten = Unwritten {
                transactional_id: name.to_owned(),
                partition: partition.clone(),
            };
            self.markers.insert(self.next_id, unwritten);
            self.effects.push(TransactionEffect::WriteMarker {
                id: self.next_id,
                topic: partition.0.clone(),
                partition: partition.1,
                marker,
            });
        }
    }

    fn retry_later(&mut self, name: String, now_ms: i64) {
        let due = now_ms.saturating_add(self.options.retry_ms);
        self.retries.insert((due, name));
    }

    fn complete(&mut self, name: &str, now_ms: i64) {
        let Some(entry) = self.ids.get(name) else {
            return;
        };
        if !entry.is_busy && entry.current.state.is_prepared() {
            let next = entry.current.completed(now_ms);
            self.step(name.to_owned(), next, Then::Complete);
        }
    }

    /// What waits for the transactional id is told that nobody has it.
    fn forget(&mut self, name: &str) {
        let parked = self.ids.remove(name).map(|entry| entry.parked);
        for (token, _) in parked.into_iter().flatten() {
            let error = TransactionError::InvalidProducerIdMapping;
            self.reply(token, TransactionReply::Add(Err(error)));
        }
    }

    fn find(
        &self,
        wanted: impl Fn(&Entry) -> bool,
        next: impl Fn(&Transaction) -> Transaction,
    ) -> Vec<(String, Transaction)> {
        let found = self.ids.iter().filter(|(_, entry)| wanted(entry));
        found
            .map(|(name, entry)| (name.clone(), next(&entry.current)))
            .collect()
    }

    fn reply(&mut self, token: Token, reply: TransactionReply) {
        self.effects.push(TransactionEffect::Reply(token, reply));
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn take_effects(&mut self) -> Vec<TransactionEffect> {
        std::mem::take(&mut self.effects)
    }
}

impl Entry {
    fn new(current: Transaction) -> Entry {
        Entry {
            current,
            is_busy: false,
            parked: VecDeque::new(),
            unmarked: BTreeMap::new(),
        }
    }

    fn check_idle(&self) -> Result<(), TransactionError> {
        match self.is_busy {
            true => Err(TransactionError::ConcurrentTransactions),
            false => Ok(()),
        }
    }

    /// Nothing of it is in the log.
    fn is_new(&self) -> bool {
        self.current.producer_epoch < 0
    }
}

/// The reply that refuses a request as a whole.
fn refusal(request: &TransactionRequest, error: TransactionError) -> TransactionReply {
    match request {
        TransactionRequest::Init(_) => TransactionReply::Init(Err(error)),
        TransactionRequest::Add { .. } => TransactionReply::Add(Err(error)),
        TransactionRequest::Verify { .. } => TransactionReply::Verify(Err(error)),
        TransactionRequest::End(_) => TransactionReply::End(Err(error)),
        TransactionRequest::Describe { .. } => TransactionReply::Describe(Err(error)),
        TransactionRequest::List => TransactionReply::List(Err(error)),
    }
}
