//! A host for a coordinator: a log, tokens, answers.
// Each test binary compiles this file for itself and uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tidegate_coordinator::{
    BeatRefusal, Beaten, ConsumerHeartbeat, Coordinator, DescribedConsumerGroup, Effect,
    GroupOptions, JoinRequest, Joined, LeavingMember, OffsetAndMetadata, Partitions, Reply,
    Request, SyncRequest, Token, TopicId, Topics,
};

pub type LogRecord = (Bytes, Option<Bytes>);

pub struct Host {
    pub coordinator: Coordinator,
    pub now: i64,
    pub log: Vec<LogRecord>,
    /// Appends whose outcome is not told yet, oldest first.
    pub in_flight: VecDeque<(u64, Vec<LogRecord>)>,
    /// Tell the outcome of an append at once.
    pub prompt: bool,
    pub replies: BTreeMap<Token, Reply>,
    next_token: Token,
    options: GroupOptions,
    topics: Arc<Topics>,
}

impl Host {
    pub fn new() -> Host {
        Host::with(GroupOptions::default())
    }

    pub fn with(options: GroupOptions) -> Host {
        let mut coordinator = Coordinator::new(options.clone());
        coordinator.loaded(0);
        Host {
            options,
            topics: Arc::default(),
            coordinator,
            now: 0,
            log: vec![],
            in_flight: VecDeque::new(),
            prompt: true,
            replies: BTreeMap::new(),
            next_token: 1,
        }
    }

    /// A new coordinator with what the log holds.
    pub fn reload(&self) -> Coordinator {
        let mut coordinator = Coordinator::new(self.options.clone());
        coordinator.set_topics(self.topics.clone());
        for (key, value) in &self.log {
            coordinator.load(key, value.as_deref()).unwrap();
        }
        coordinator.loaded(self.now);
        coordinator
    }

    /// The topics that there are from now on: name and number of partitions. Ids follow from the names.
    pub fn set_topics(&mut self, topics: &[(&str, i32)]) {
        let version = self.topics.version + 1;
        let all = topics
            .iter()
            .map(|(name, count)| (name.to_string(), topic_id(name), *count));
        self.topics = Arc::new(Topics::new(version, all));
        self.coordinator.set_topics(self.topics.clone());
    }

    /// Sends a heartbeat, whose answer must be there at once.
    pub fn beat(&mut self, beat: ConsumerHeartbeat) -> Result<Beaten, BeatRefusal> {
        match self.ask(Request::ConsumerHeartbeat(beat)) {
            Reply::ConsumerHeartbeat(result) => result,
            other => panic!("{other:?}"),
        }
    }

    pub fn describe_consumer(&mut self, group: &str) -> Option<DescribedConsumerGroup> {
        let request = Request::DescribeConsumer {
            group: group.into(),
        };
        match self.ask(request) {
            Reply::DescribeConsumer(described) => described.ok(),
            other => panic!("{other:?}"),
        }
    }

    pub fn send(&mut self, request: Request) -> Token {
        let token = self.next_token;
        self.next_token += 1;
        let effects = self
            .coordinator
            .handle(token, request, self.now, &format!("u{token}"));
        self.perform(effects);
        token
    }

    /// Sends and takes the answer, which must be there at once.
    pub fn ask(&mut self, request: Request) -> Reply {
        let token = self.send(request);
        self.take(token).expect("no answer yet")
    }

    pub fn take(&mut self, token: Token) -> Option<Reply> {
        self.replies.remove(&token)
    }

    pub fn advance(&mut self, ms: i64) {
        let end = self.now + ms;
        while let Some(due) = self.coordinator.next_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            let effects = self.coordinator.tick(self.now);
            self.perform(effects);
        }
        self.now = end;
    }

    /// Lets time pass from deadline to deadline until a request is answered.
    pub fn wait_for(&mut self, token: Token) {
        while !self.replies.contains_key(&token) {
            self.now = self
                .coordinator
                .next_deadline()
                .expect("nothing will ever answer");
            let effects = self.coordinator.tick(self.now);
            self.perform(effects);
        }
    }

    pub fn finish_append(&mut self, ok: bool) -> bool {
        let Some((id, records)) = self.in_flight.pop_front() else {
            return false;
        };
        match ok {
            true => self.log.extend(records),
            // What is behind it stands in the same lane.
            false => self.in_flight.clear(),
        }
        let effects = self.coordinator.appended(id, ok, self.now);
        self.perform(effects);
        true
    }

    pub fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Reply(token, reply) => {
                    let twice = self.replies.insert(token, reply);
                    assert!(twice.is_none(), "token {token} is answered twice");
                }
                Effect::Append { id, records } => {
                    assert!(!records.is_empty());
                    self.in_flight.push_back((id, records));
                }
                Effect::AppendInTransaction { .. } => panic!("nobody began a transaction"),
            }
        }
        if self.prompt {
            self.finish_append(true);
        }
    }

    pub fn heartbeat(&mut self, group: &str, member: &str, generation: i32) -> Option<i16> {
        match self.ask(Request::Heartbeat {
            group: group.into(),
            generation,
            member_id: member.into(),
            group_instance_id: None,
        }) {
            Reply::Heartbeat(result) => result.err().map(|error| error.code()),
            other => panic!("{other:?}"),
        }
    }

    pub fn joined(&mut self, token: Token) -> Joined {
        match self.take(token) {
            Some(Reply::Join(Ok(joined))) => joined,
            other => panic!("{other:?}"),
        }
    }

    pub fn join_error(&mut self, token: Token) -> (i16, String) {
        match self.take(token) {
            Some(Reply::Join(Err(refusal))) => (refusal.error.code(), refusal.member_id),
            other => panic!("{other:?}"),
        }
    }

    pub fn assignment(&mut self, token: Token) -> Bytes {
        match self.take(token) {
            Some(Reply::Sync(Ok(synced))) => synced.assignment,
            other => panic!("{other:?}"),
        }
    }

    pub fn sync_error(&mut self, token: Token) -> i16 {
        match self.take(token) {
            Some(Reply::Sync(Err(error))) => error.code(),
            other => panic!("{other:?}"),
        }
    }

    /// Brings `n` members of a new group to a stable generation; gives their ids, leader first.
    pub fn stable(&mut self, group: &str, n: usize) -> Vec<String> {
        let tokens: Vec<_> = (0..n)
            .map(|_| self.send(Request::Join(join(group, ""))))
            .collect();
        self.wait_for(tokens[0]);
        let joined: Vec<_> = tokens.into_iter().map(|token| self.joined(token)).collect();
        let leader = joined[0].leader.clone();
        let mut ids: Vec<_> = joined.iter().map(|j| j.member_id.clone()).collect();
        ids.sort_by_key(|id| *id != leader);
        let followers: Vec<_> = ids[1..]
            .iter()
            .map(|id| self.send(sync(group, id, joined[0].generation, &[])))
            .collect();
        let all: Vec<&str> = ids.iter().map(String::as_str).collect();
        let led = self.send(sync(group, &leader, joined[0].generation, &all));
        assert_eq!(self.assignment(led), format!("for {leader}"));
        for (token, id) in followers.into_iter().zip(&ids[1..]) {
            assert_eq!(self.assignment(token), format!("for {id}"));
        }
        ids
    }
}

pub fn join(group: &str, member: &str) -> JoinRequest {
    JoinRequest {
        group: group.into(),
        member_id: member.into(),
        client_id: "app".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::from_static(b"topics"))],
        ..JoinRequest::default()
    }
}

pub fn static_join(group: &str, member: &str, instance: &str) -> JoinRequest {
    JoinRequest {
        group_instance_id: Some(instance.into()),
        ..join(group, member)
    }
}

/// A SyncGroup; `members` get an assignment that names them.
pub fn sync(group: &str, member: &str, generation: i32, members: &[&str]) -> Request {
    Request::Sync(SyncRequest {
        group: group.into(),
        generation,
        member_id: member.into(),
        assignments: members
            .iter()
            .map(|id| (id.to_string(), Bytes::from(format!("for {id}"))))
            .collect(),
        ..SyncRequest::default()
    })
}

pub fn leave(group: &str, member: &str) -> Request {
    let leaving = LeavingMember {
        member_id: member.into(),
        group_instance_id: None,
    };
    Request::Leave {
        group: group.into(),
        members: vec![leaving],
    }
}

pub fn topic_id(name: &str) -> TopicId {
    let mut id = [0; 16];
    for (byte, letter) in id.iter_mut().zip(name.bytes()) {
        *byte = letter;
    }
    id
}

pub fn partitions(topic: &str, indexes: impl IntoIterator<Item = i32>) -> Partitions {
    Partitions::from([(topic_id(topic), indexes.into_iter().collect())])
}

/// A first heartbeat.
pub fn joining(group: &str, member: &str, topics: &[&str]) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        group: group.into(),
        member_id: member.into(),
        epoch: 0,
        rebalance_timeout_ms: 60_000,
        subscribed_names: Some(topics.iter().map(|name| name.to_string()).collect()),
        owned: Some(Partitions::new()),
        client_id: "app".into(),
        client_host: "/127.0.0.1".into(),
        makes_own_id: true,
        ..ConsumerHeartbeat::default()
    }
}

/// A heartbeat in which nothing changed but, perhaps, what the member holds.
pub fn beating(
    group: &str,
    member: &str,
    epoch: i32,
    owned: Option<Partitions>,
) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        group: group.into(),
        member_id: member.into(),
        epoch,
        rebalance_timeout_ms: -1,
        owned,
        client_id: "app".into(),
        client_host: "/127.0.0.1".into(),
        makes_own_id: true,
        ..ConsumerHeartbeat::default()
    }
}

/// What a consumer joins a classic group with: ConsumerProtocolSubscription, version 1.
pub fn subscription(topics: &[&str], owned: &[(&str, &[i32])]) -> Bytes {
    let mut bytes = vec![0, 1];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1i32).to_be_bytes());
    bytes.extend(assignment_body(owned));
    bytes.into()
}

/// What a leader hands to a member: ConsumerProtocolAssignment, version 1.
pub fn assigned(partitions: &[(&str, &[i32])]) -> Bytes {
    let mut bytes = vec![0, 1];
    bytes.extend(assignment_body(partitions));
    bytes.extend((-1i32).to_be_bytes());
    bytes.into()
}

fn assignment_body(partitions: &[(&str, &[i32])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((partitions.len() as i32).to_be_bytes());
    for (topic, indexes) in partitions {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
        bytes.extend((indexes.len() as i32).to_be_bytes());
        for index in *indexes {
            bytes.extend(index.to_be_bytes());
        }
    }
    bytes
}

pub fn at(offset: i64) -> OffsetAndMetadata {
    OffsetAndMetadata {
        offset,
        leader_epoch: -1,
        metadata: String::new(),
        commit_timestamp: 0,
        expire_timestamp: None,
    }
}

pub fn commit(group: &str, member: &str, generation: i32, offset: i64) -> Request {
    Request::CommitOffsets {
        group: group.into(),
        generation,
        member_id: member.into(),
        group_instance_id: None,
        knows_epochs: true,
        offsets: vec![("t".into(), 0, at(offset))],
    }
}

pub fn fetch_all(coordinator: &mut Coordinator, group: &str) -> BTreeMap<(String, i32), i64> {
    let request = Request::FetchOffsets {
        group: group.into(),
        member_id: None,
        member_epoch: -1,
        topics: None,
        require_stable: false,
    };
    let effects = coordinator.handle(u64::MAX, request, 0, "-");
    let [Effect::Reply(_, Reply::FetchOffsets(Ok(topics)))] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    let rows = topics.iter().flat_map(|(topic, partitions)| {
        partitions
            .iter()
            .map(move |(p, found)| ((topic.clone(), *p), found.clone().unwrap().unwrap().offset))
    });
    rows.collect()
}
