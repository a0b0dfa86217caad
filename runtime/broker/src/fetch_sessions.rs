//! Incremental fetch sessions (KIP-227): the broker remembers which partitions a client polls, so that a poll of many
//! partitions says only what changed, in both directions.
//!
//! Knows requests and responses, and neither partitions nor sockets. A session belongs to whoever names its id and the
//! right epoch; ids are random, and an epoch that is not the next one means that a response was lost.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{FetchRequest, FetchResponse, TopicName};
use tidegate_protocol::error::ErrorCode;
use uuid::Uuid;

/// First version that carries sessions.
const SESSIONS: i16 = 7;
/// First version whose partitions are named by topic id; a session keeps to one way of naming.
const TOPIC_IDS: i16 = 13;
/// No session, and what a request without one names.
const NO_SESSION: i32 = 0;
/// The epoch that asks for a new session.
const INITIAL: i32 = 0;
/// The epoch that ends a session, or asks for none.
const FINAL: i32 = -1;
/// A session that was used within this time is not given up for a new one.
const KEPT: Duration = Duration::from_secs(120);
/// Partitions in one session; whoever wants more polls without one.
const MAX_PARTITIONS: usize = 100_000;

/// All sessions of a broker. Bounded by their number (`max.incremental.fetch.session.cache.slots`).
pub(crate) struct FetchSessions {
    slots: usize,
    sessions: Mutex<HashMap<i32, Slot>>,
}

struct Slot {
    session: Arc<Mutex<Session>>,
    used: Instant,
}

/// What a request asks for, once its session has had its say.
pub(crate) struct Asked {
    pub(crate) topics: Vec<FetchTopic>,
    answer: Answer,
}

enum Answer {
    /// Everything is told, and nothing is remembered.
    Plain,
    /// Everything is told, and remembered under this id.
    Full(i32, Arc<Mutex<Session>>),
    /// Only what changed is told.
    Changes(i32, Arc<Mutex<Session>>),
}

struct Session {
    /// The epoch of the next request.
    epoch: i32,
    by_id: bool,
    partitions: HashMap<Key, Kept>,
    /// Keys in the order of the poll. Who got records goes to the end, so that a small `max_bytes` starves nobody.
    order: BTreeMap<u64, Key>,
    next_order: u64,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    /// Empty where topics go by id.
    topic: TopicName,
    topic_id: Uuid,
    index: i32,
}

struct Kept {
    order: u64,
    wanted: FetchPartition,
    /// High watermark and log start as last told; `None` before the first answer.
    told: Option<(i64, i64)>,
}

impl FetchSessions {
    pub(crate) fn new(slots: usize) -> FetchSessions {
        FetchSessions {
            slots,
            sessions: Mutex::default(),
        }
    }

    /// Finds out which partitions a request is about. An error is the whole response's.
    pub(crate) fn open(&self, version: i16, request: &FetchRequest) -> Result<Asked, ErrorCode> {
        let plain = || Asked {
            topics: request.topics.clone(),
            answer: Answer::Plain,
        };
        if version < SESSIONS {
            return Ok(plain());
        }
        match (request.session_id, request.session_epoch) {
            (id, FINAL) => {
                self.lock().remove(&id);
                Ok(plain())
            }
            (id, INITIAL) => {
                self.lock().remove(&id);
                let session = Session::new(version >= TOPIC_IDS, &request.topics);
                let answer = match session.and_then(|session| self.keep(session)) {
                    Some((id, session)) => Answer::Full(id, session),
                    None => Answer::Plain,
                };
                Ok(Asked { answer, ..plain() })
            }
            (id, epoch) => self.next(version, id, epoch, request),
        }
    }

    /// The answer to a client that is held up, which gets nothing for now (KIP-219): its session goes on, but none begins.
    pub(crate) fn nothing_yet(&self, version: i16, request: &FetchRequest) -> FetchResponse {
        let response = FetchResponse::default();
        if version < SESSIONS || request.session_epoch == INITIAL {
            return response;
        }
        match self.open(version, request) {
            Ok(asked) => match asked.answer {
                Answer::Changes(id, _) => response.with_session_id(id),
                Answer::Plain | Answer::Full(..) => response,
            },
            Err(code) => response.with_error_code(code.code()),
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.lock().len()
    }

    fn next(
        &self,
        version: i16,
        id: i32,
        epoch: i32,
        request: &FetchRequest,
    ) -> Result<Asked, ErrorCode> {
        let mut sessions = self.lock();
        let slot = sessions
            .get_mut(&id)
            .ok_or(ErrorCode::FetchSessionIdNotFound)?;
        slot.used = Instant::now();
        let shared = slot.session.clone();
        drop(sessions);
        let mut session = lock(&shared);
        if session.by_id != (version >= TOPIC_IDS) {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        if session.epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        session.epoch = after(epoch);
        for topic in &request.forgotten_topics_data {
            for index in &topic.partitions {
                let key = session.key(&topic.topic, topic.topic_id, *index);
                session.forget(&key);
            }
        }
        session.want(&request.topics);
        if session.partitions.len() > MAX_PARTITIONS {
            drop(session);
            self.lock().remove(&id);
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        let topics = session.topics();
        drop(session);
        Ok(Asked {
            topics,
            answer: Answer::Changes(id, shared),
        })
    }

    /// Takes a session in if there is room, or one that nobody has used for long.
    fn keep(&self, session: Session) -> Option<(i32, Arc<Mutex<Session>>)> {
        let mut sessions = self.lock();
        if sessions.len() >= self.slots {
            let (&oldest, slot) = sessions.iter().min_by_key(|(_, slot)| slot.used)?;
            if slot.used.elapsed() < KEPT {
                return None;
            }
            sessions.remove(&oldest);
        }
        let id = loop {
            let id = random_id();
            if !sessions.contains_key(&id) {
                break id;
            }
        };
        let session = Arc::new(Mutex::new(session));
        let slot = Slot {
            session: session.clone(),
            used: Instant::now(),
        };
        sessions.insert(id, slot);
        Some((id, session))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i32, Slot>> {
        // Every change behind the lock is one call on the map.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    /// The response as this session sends it: without the partitions of which there is nothing new to say.
    pub(crate) fn answer(self, mut response: FetchResponse) -> FetchResponse {
        let (id, session, changes_only) = match self.answer {
            Answer::Plain => return response,
            Answer::Full(id, session) => (id, session, false),
            Answer::Changes(id, session) => (id, session, true),
        };
        let mut session = lock(&session);
        for topic in &mut response.responses {
            topic.partitions.retain(|data| {
                let key = session.key(&topic.topic, topic.topic_id, data.partition_index);
                session.tell(&key, data) || !changes_only
            });
        }
        response
            .responses
            .retain(|topic| !topic.partitions.is_empty());
        response.with_session_id(id)
    }
}

impl Session {
    /// None when there are too many partitions, or none at all.
    fn new(by_id: bool, topics: &[FetchTopic]) -> Option<Session> {
        let mut session = Session {
            epoch: after(INITIAL),
            by_id,
            partitions: HashMap::new(),
            order: BTreeMap::new(),
            next_order: 0,
        };
        session.want(topics);
        let count = session.partitions.len();
        (1..=MAX_PARTITIONS).contains(&count).then_some(session)
    }

    fn key(&self, topic: &TopicName, topic_id: Uuid, index: i32) -> Key {
        match self.by_id {
            true => Key {
                topic: TopicName::default(),
                topic_id,
                index,
            },
            false => Key {
                topic: topic.clone(),
                topic_id: Uuid::nil(),
                index,
            },
        }
    }

    /// Adds partitions, or takes over what the client now says of them.
    fn want(&mut self, topics: &[FetchTopic]) {
        for topic in topics {
            for wanted in &topic.partitions {
                let key = self.key(&topic.topic, topic.topic_id, wanted.partition);
                if let Some(kept) = self.partitions.get_mut(&key) {
                    kept.wanted = wanted.clone();
                    continue;
                }
                let order = self.next_order;
                self.next_order += 1;
                self.order.insert(order, key.clone());
                let kept = Kept {
                    order,
                    wanted: wanted.clone(),
                    told: None,
                };
                self.partitions.insert(key, kept);
            }
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some(kept) = self.partitions.remove(key) {
            self.order.remove(&kept.order);
        }
    }

    /// All partitions as a request would name them, in their order.
    fn topics(&self) -> Vec<FetchTopic> {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for key in self.order.values() {
            let Some(kept) = self.partitions.get(key) else {
                continue;
            };
            let same = topics
                .last()
                .is_some_and(|last| last.topic == key.topic && last.topic_id == key.topic_id);
            if !same {
                let topic = FetchTopic::default()
                    .with_topic(key.topic.clone())
                    .with_topic_id(key.topic_id);
                topics.push(topic);
            }
            if let Some(last) = topics.last_mut() {
                last.partitions.push(kept.wanted.clone());
            }
        }
        topics
    }

    /// Remembers what the client is told of a partition; whether that is news.
    fn tell(&mut self, key: &Key, data: &PartitionData) -> bool {
        let Some(kept) = self.partitions.get_mut(key) else {
            return true;
        };
        let has_records = data.records.as_ref().is_some_and(|bytes| !bytes.is_empty());
        let now = (data.high_watermark, data.log_start_offset);
        let news = has_records || data.error_code != 0 || kept.told != Some(now);
        // After an error the client is told again, whatever it knew before.
        kept.told = (data.error_code == 0).then_some(now);
        if has_records {
            let order = self.next_order;
            self.next_order += 1;
            self.order.remove(&kept.order);
            self.order.insert(order, key.clone());
            kept.order = order;
        }
        news
    }
}

/// Epochs run from 1 and wrap to 1: 0 and -1 mean something else.
fn after(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

/// Positive, so that it is never [`NO_SESSION`].
fn random_id() -> i32 {
    loop {
        let id = (Uuid::new_v4().as_u128() as i32) & i32::MAX;
        if id != NO_SESSION {
            return id;
        }
    }
}

fn lock(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kafka_protocol::messages::fetch_request::ForgottenTopic;
    use kafka_protocol::messages::fetch_response::FetchableTopicResponse;
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    const V: i16 = 12;

    fn name(name: &str) -> TopicName {
        TopicName(StrBytes::from_string(name.to_owned()))
    }

    fn topic(n: &str, partitions: &[(i32, i64)]) -> FetchTopic {
        let partition = |&(index, offset): &(i32, i64)| {
            FetchPartition::default()
                .with_partition(index)
                .with_fetch_offset(offset)
        };
        FetchTopic::default()
            .with_topic(name(n))
            .with_partitions(partitions.iter().map(partition).collect())
    }

    fn request(id: i32, epoch: i32, topics: Vec<FetchTopic>) -> FetchRequest {
        FetchRequest::default()
            .with_session_id(id)
            .with_session_epoch(epoch)
            .with_topics(topics)
    }

    /// Answers every partition that is asked for, with records in those named.
    fn respond(asked: Asked, high_watermark: i64, with_records: &[i32]) -> FetchResponse {
        let answer = |wanted: &FetchTopic| {
            let data = |wanted: &FetchPartition| {
                let records = match with_records.contains(&wanted.partition) {
                    true => Bytes::from_static(b"records"),
                    false => Bytes::new(),
                };
                PartitionData::default()
                    .with_partition_index(wanted.partition)
                    .with_high_watermark(high_watermark)
                    .with_records(Some(records))
            };
            FetchableTopicResponse::default()
                .with_topic(wanted.topic.clone())
                .with_topic_id(wanted.topic_id)
                .with_partitions(wanted.partitions.iter().map(data).collect())
        };
        let responses = asked.topics.iter().map(answer).collect();
        asked.answer(FetchResponse::default().with_responses(responses))
    }

    fn told(response: &FetchResponse) -> Vec<i32> {
        let partitions = response
            .responses
            .iter()
            .flat_map(|topic| &topic.partitions);
        partitions.map(|data| data.partition_index).collect()
    }

    fn wanted(asked: &Asked) -> Vec<(i32, i64)> {
        let partitions = asked.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|p| (p.partition, p.fetch_offset)).collect()
    }

    #[test]
    fn a_session_tells_what_changed() {
        let sessions = FetchSessions::new(10);
        let all = vec![topic("t", &[(0, 0), (1, 0), (2, 0)])];
        let asked = sessions.open(V, &request(0, INITIAL, all)).unwrap();
        let first = respond(asked, 5, &[]);
        let id = first.session_id;
        assert!(id > 0);
        assert_eq!(told(&first), [0, 1, 2], "the first answer is whole");

        let asked = sessions.open(V, &request(id, 1, vec![])).unwrap();
        assert_eq!(wanted(&asked), [(0, 0), (1, 0), (2, 0)]);
        assert!(told(&respond(asked, 5, &[])).is_empty());

        let asked = sessions.open(V, &request(id, 2, vec![])).unwrap();
        assert_eq!(told(&respond(asked, 5, &[0])), [0]);

        // The client moves on in partition 0, which had its turn and now comes last.
        let moved = vec![topic("t", &[(0, 5)])];
        let asked = sessions.open(V, &request(id, 3, moved)).unwrap();
        assert_eq!(wanted(&asked), [(1, 0), (2, 0), (0, 5)]);
        let response = respond(asked, 6, &[]);
        assert_eq!(told(&response), [1, 2, 0], "the watermark moved");

        let forgotten = ForgottenTopic::default()
            .with_topic(name("t"))
            .with_partitions(vec![1]);
        let change =
            request(id, 4, vec![topic("u", &[(7, 9)])]).with_forgotten_topics_data(vec![forgotten]);
        let asked = sessions.open(V, &change).unwrap();
        assert_eq!(wanted(&asked), [(2, 0), (0, 5), (7, 9)]);
        assert_eq!(told(&respond(asked, 6, &[])), [7]);
    }

    #[test]
    fn errors_are_told_each_time() {
        let sessions = FetchSessions::new(10);
        let asked = sessions
            .open(V, &request(0, INITIAL, vec![topic("t", &[(0, 0)])]))
            .unwrap();
        let failed = |asked: Asked| {
            let data = PartitionData::default().with_error_code(3);
            let topic = FetchableTopicResponse::default()
                .with_topic(name("t"))
                .with_partitions(vec![data]);
            asked.answer(FetchResponse::default().with_responses(vec![topic]))
        };
        let id = failed(asked).session_id;
        for epoch in 1..4 {
            let asked = sessions.open(V, &request(id, epoch, vec![])).unwrap();
            assert_eq!(told(&failed(asked)), [0]);
        }
        let asked = sessions.open(V, &request(id, 4, vec![])).unwrap();
        assert_eq!(told(&respond(asked, 0, &[])), [0], "it is well again");
    }

    #[test]
    fn ids_and_epochs_are_checked() {
        let sessions = FetchSessions::new(10);
        let all = || vec![topic("t", &[(0, 0)])];
        let refused = |version, request: &FetchRequest| sessions.open(version, request).err();
        let asked = sessions.open(V, &request(0, INITIAL, all())).unwrap();
        let id = respond(asked, 0, &[]).session_id;
        assert_eq!(
            refused(V, &request(id ^ 1, 1, vec![])),
            Some(ErrorCode::FetchSessionIdNotFound)
        );
        for epoch in [2, 7] {
            assert_eq!(
                refused(V, &request(id, epoch, vec![])),
                Some(ErrorCode::InvalidFetchSessionEpoch)
            );
        }
        assert_eq!(
            refused(TOPIC_IDS, &request(id, 1, vec![])),
            Some(ErrorCode::FetchSessionTopicIdError)
        );
        assert!(refused(V, &request(id, 1, vec![])).is_none(), "it lives on");
        let ended = sessions.open(V, &request(id, FINAL, all())).unwrap();
        assert_eq!(respond(ended, 0, &[]).session_id, NO_SESSION);
        assert_eq!(
            refused(V, &request(id, 2, vec![])),
            Some(ErrorCode::FetchSessionIdNotFound)
        );
        assert_eq!(sessions.len(), 0);
    }

    #[test]
    fn sessions_are_few_and_those_in_use_stay() {
        let sessions = FetchSessions::new(2);
        let open = || {
            let all = vec![topic("t", &[(0, 0)])];
            let asked = sessions.open(V, &request(0, INITIAL, all)).unwrap();
            respond(asked, 0, &[]).session_id
        };
        let (first, second) = (open(), open());
        assert!(first != second && first > 0 && second > 0);
        assert_eq!(open(), NO_SESSION, "no room: the poll works without one");
        assert!(sessions.open(V, &request(first, 1, vec![])).is_ok());
        assert!(sessions.open(6, &request(0, INITIAL, vec![])).is_ok());
        assert_eq!(sessions.len(), 2);
    }
}
