//! A host for a transaction coordinator: a log, partitions that take markers, tokens, answers.
// Each test binary compiles this file for itself and uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use tidegate_coordinator::Token;
use tidegate_coordinator::transaction::*;

pub type Marked = (String, i32, Producer, bool);

pub struct Host {
    pub coordinator: TransactionCoordinator,
    options: TransactionOptions,
    pub now: i64,
    pub log: Vec<(Bytes, Option<Bytes>)>,
    /// Appends whose outcome is not told yet, oldest first.
    pub in_flight: VecDeque<(u64, (Bytes, Option<Bytes>))>,
    /// Tell the outcome of an append at once.
    pub prompt: bool,
    /// Markers as the partitions have them, in order.
    pub markers: Vec<Marked>,
    /// Markers on their way.
    pub unmarked: VecDeque<(MarkerId, Marked)>,
    pub hold_markers: bool,
    pub replies: BTreeMap<Token, TransactionReply>,
    next_token: Token,
    next_producer_id: i64,
}

impl Host {
    pub fn new() -> Host {
        Host::with(TransactionOptions::default())
    }

    pub fn with(options: TransactionOptions) -> Host {
        let mut host = Host {
            coordinator: TransactionCoordinator::new(options.clone()),
            options,
            now: 0,
            log: vec![],
            in_flight: VecDeque::new(),
            prompt: true,
            markers: vec![],
            unmarked: VecDeque::new(),
            hold_markers: false,
            replies: BTreeMap::new(),
            next_token: 1,
            next_producer_id: 1000,
        };
        host.load();
        host
    }

    /// A process that ends: what was on its way may never arrive, and nobody is answered.
    pub fn crash(&mut self) {
        self.in_flight.clear();
        self.unmarked.clear();
        self.coordinator = TransactionCoordinator::new(self.options.clone());
    }

    pub fn load(&mut self) {
        for (key, value) in &self.log {
            self.coordinator.load(key, value.as_deref()).unwrap();
        }
        let effects = self.coordinator.loaded(self.now);
        self.perform(effects);
    }

    pub fn send(&mut self, request: TransactionRequest) -> Token {
        let token = self.next_token;
        self.next_token += 1;
        let fresh = self.coordinator.needs_producer_id(&request).then(|| {
            self.next_producer_id += 1;
            self.next_producer_id - 1
        });
        let effects = self.coordinator.handle(token, request, fresh, self.now);
        self.perform(effects);
        token
    }

    pub fn take(&mut self, token: Token) -> Option<TransactionReply> {
        self.replies.remove(&token)
    }

    fn ask(&mut self, request: TransactionRequest) -> TransactionReply {
        let token = self.send(request);
        self.take(token).expect("no answer yet")
    }

    pub fn advance(&mut self, ms: i64) {
        self.now += ms;
        let effects = self.coordinator.tick(self.now);
        self.perform(effects);
    }

    pub fn abort_timed_out(&mut self) {
        let effects = self.coordinator.abort_timed_out(self.now);
        self.perform(effects);
    }

    pub fn expire_ids(&mut self) {
        let effects = self.coordinator.expire_ids(self.now);
        self.perform(effects);
    }

    pub fn finish_append(&mut self, ok: bool) -> bool {
        let Some((id, record)) = self.in_flight.pop_front() else {
            return false;
        };
        if ok {
            self.log.push(record);
        }
        let effects = self.coordinator.appended(id, ok, self.now);
        self.perform(effects);
        true
    }

    pub fn finish_marker(&mut self, outcome: MarkerOutcome) -> bool {
        let Some((id, marked)) = self.unmarked.pop_front() else {
            return false;
        };
        if outcome == MarkerOutcome::Written {
            self.markers.push(marked);
        }
        let effects = self.coordinator.marker_written(id, outcome, self.now);
        self.perform(effects);
        true
    }

    pub fn perform(&mut self, effects: Vec<TransactionEffect>) {
        for effect in effects {
            match effect {
                TransactionEffect::Reply(token, reply) => {
                    let twice = self.replies.insert(token, reply);
                    assert!(twice.is_none(), "token {token} is answered twice");
                }
                TransactionEffect::Append { id, record } => self.in_flight.push_back((id, record)),
                TransactionEffect::WriteMarker {
                    id,
                    topic,
                    partition,
                    marker,
                } => {
                    let marked = (topic, partition, marker.producer, marker.commit);
                    self.unmarked.push_back((id, marked));
                }
            }
        }
        if self.prompt {
            self.finish_append(true);
        }
        if !self.hold_markers && self.prompt {
            self.finish_marker(MarkerOutcome::Written);
        }
    }

    pub fn send_init(&mut self, id: &str, timeout_ms: i32, expected: Option<Producer>) -> Token {
        self.send(TransactionRequest::Init(InitRequest {
            transactional_id: id.into(),
            timeout_ms,
            expected,
        }))
    }

    pub fn init_with(
        &mut self,
        id: &str,
        timeout_ms: i32,
        expected: Option<Producer>,
    ) -> Result<Producer, TransactionError> {
        let token = self.send_init(id, timeout_ms, expected);
        match self.take(token) {
            Some(TransactionReply::Init(result)) => result,
            other => panic!("{other:?}"),
        }
    }

    pub fn init(&mut self, id: &str) -> Result<Producer, TransactionError> {
        self.init_with(id, 60_000, None)
    }

    pub fn send_add(
        &mut self,
        id: &str,
        producer: Producer,
        partitions: &[(&str, i32)],
        client_version: i16,
    ) -> Token {
        self.send(TransactionRequest::Add {
            transactional_id: id.into(),
            producer,
            partitions: owned(partitions),
            client_version,
        })
    }

    pub fn add(
        &mut self,
        id: &str,
        producer: Producer,
        partitions: &[(&str, i32)],
    ) -> Result<(), TransactionError> {
        let token = self.send_add(id, producer, partitions, 0);
        match self.take(token) {
            Some(TransactionReply::Add(result)) => result,
            other => panic!("{other:?}"),
        }
    }

    pub fn add_v2(
        &mut self,
        id: &str,
        producer: Producer,
        partitions: &[(&str, i32)],
    ) -> Result<(), TransactionError> {
        let token = self.send_add(id, producer, partitions, 2);
        match self.take(token) {
            Some(TransactionReply::Add(result)) => result,
            other => panic!("{other:?}"),
        }
    }

    pub fn verify(
        &mut self,
        id: &str,
        producer: Producer,
        partitions: &[(&str, i32)],
    ) -> Result<(), TransactionError> {
        match self.ask(TransactionRequest::Verify {
            transactional_id: id.into(),
            producer,
            partitions: owned(partitions),
        }) {
            TransactionReply::Verify(result) => result,
            other => panic!("{other:?}"),
        }
    }

    pub fn end(
        &mut self,
        id: &str,
        producer: Producer,
        commit: bool,
        client_version: i16,
    ) -> Result<Producer, TransactionError> {
        match self.ask(TransactionRequest::End(EndRequest {
            transactional_id: id.into(),
            producer,
            commit,
            client_version,
        })) {
            TransactionReply::End(result) => result,
            other => panic!("{other:?}"),
        }
    }

    pub fn state(&mut self, id: &str) -> &'static str {
        match self.ask(TransactionRequest::Describe {
            transactional_id: id.into(),
        }) {
            TransactionReply::Describe(Ok(described)) => described.state.as_str(),
            TransactionReply::Describe(Err(_)) => "",
            other => panic!("{other:?}"),
        }
    }
}

fn owned(partitions: &[(&str, i32)]) -> Vec<(String, i32)> {
    let owned = |(topic, partition): &(&str, i32)| ((*topic).to_owned(), *partition);
    partitions.iter().map(owned).collect()
}
