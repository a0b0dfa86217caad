//! Fetch (key 1), versions 4 to 18: long polls, byte limits, topic ids from 13 on, and the gap marker on every
//! response that ends in a hole (stream semantics, "Consume path" and "The gap marker").
//!
//! `read_committed` ends at the last stable offset and names the aborted transactions (KIP-98). Sessions (KIP-227) are
//! `fetch_sessions.rs`. Not served: followers.

use std::ops::RangeInclusive;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, FetchableTopicResponse, PartitionData,
};
use kafka_protocol::messages::{FetchRequest, FetchResponse, ProducerId};
use tidegate_protocol::error::ErrorCode;
use tidegate_protocol::{EncodeError, Frame, RecordSets, encode_fetch_response};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{KafkaApi, RequestContext};
use crate::answer_memory::{AnswerMemory, Reserved};
use crate::broker::Broker;
use crate::config::GapMode;
use crate::connection::ConnectionContext;
use crate::partition::{Cursor, Isolation, Partition, ReadFailure};
use crate::topics::Topic;

pub(crate) struct Fetch;

const TOPIC_IDS: i16 = 13;
/// Longest a poll may wait, whatever the client says.
const MAX_WAIT_MS: u64 = 60_000;
/// Stored bytes one fetch may look at before it answers with what it has, so that a filter that matches nothing
/// neither stalls its consumer nor starves others.
const SCAN_BUDGET: usize = 64 << 20;

impl KafkaApi for Fetch {
    const KEY: i16 = 1;
    const SERVED: RangeInclusive<i16> = 4..=18;
    type Request = FetchRequest;

    async fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        request: FetchRequest,
    ) -> FetchResponse {
        if request.replica_id.0 >= 0 || request.replica_state.replica_id.0 >= 0 {
            // A replica fetch sees unfiltered bytes, so it is not for whoever asks (CVE-2018-1288).
            return FetchResponse::default()
                .with_error_code(ErrorCode::ClusterAuthorizationFailed.code());
        }
        let version = context.head.api_version;
        let client_id = context.head.client_id.as_deref().unwrap_or_default();
        let gaps = Gaps {
            mode: broker.config.gap_mode(client_id),
            connection: context.connection.clone(),
        };
        let client = context.client();
        let owed = broker.quotas.fetch_owed(client);
        if !owed.is_zero() {
            context.throttle(owed);
            return broker.fetch_sessions.nothing_yet(version, &request);
        }
        let asked = match broker.fetch_sessions.open(version, &request) {
            Ok(asked) => asked,
            Err(code) => return FetchResponse::default().with_error_code(code.code()),
        };
        let bounds = Bounds::of(broker, broker.quotas.fetch_window(client));
        let mut poll = Poll::new(broker, version, gaps, bounds, (&request, &asked.topics));
        poll.run().await;
        poll.look_up_aborted().await;
        context.throttle(broker.quotas.fetched(client, poll.used_bytes()));
        for slot in poll.slots() {
            broker
                .metrics
                .fetched(slot.cursor.records, slot.cursor.bytes);
        }
        *context
            .reserved
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = poll.reserved.take();
        let mut sets = RecordSets::default();
        let response = asked.answer(poll.respond(&mut sets));
        *record_sets(context) = sets;
        response
    }

    /// The records go to the socket from where the log keeps them.
    fn encode(context: &RequestContext, response: &FetchResponse) -> Result<Frame, EncodeError> {
        let (version, id) = (context.head.api_version, context.head.correlation_id);
        encode_fetch_response(version, id, response, &record_sets(context))
    }
}

fn record_sets(context: &RequestContext) -> MutexGuard<'_, RecordSets> {
    let sets = context.record_sets.lock();
    sets.unwrap_or_else(PoisonError::into_inner)
}

/// How this client is told of holes.
struct Gaps {
    mode: GapMode,
    connection: Arc<ConnectionContext>,
}

/// How much one fetch may send and look at, whatever the client says.
struct Bounds {
    max_bytes: usize,
    scan_bytes: usize,
}

impl Bounds {
    /// A fetch never comes to more than its client's quota lets it save up, or one fetch would be throttled for long.
    fn of(broker: &Broker, window: Option<usize>) -> Bounds {
        let window = window.unwrap_or(usize::MAX);
        Bounds {
            max_bytes: broker.config.fetch_max_bytes.min(window),
            scan_bytes: SCAN_BUDGET.min(window),
        }
    }
}

/// One fetch request while it is being answered.
struct Poll {
    gaps: Gaps,
    isolation: Isolation,
    min_bytes: usize,
    max_bytes: usize,
    scan_bytes: usize,
    deadline: Instant,
    topics: Vec<(FetchTopic, Vec<Slot>)>,
    wake: Arc<Notify>,
    memory: Arc<AnswerMemory>,
    /// Of what was collected.
    reserved: Option<Reserved>,
}

/// What one step of a poll says of the next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// There is more to look at.
    More,
    /// Nothing is there beyond what was looked at.
    End,
    /// No more can be taken, for now.
    Full,
}

/// One partition of a fetch.
struct Slot {
    index: i32,
    max_bytes: usize,
    partition: Result<Arc<Partition>, ErrorCode>,
    cursor: Cursor,
    /// What a `read_committed` consumer must leave out of the batches it gets.
    aborted: Vec<AbortedTransaction>,
}

impl Poll {
    fn new(
        broker: &Broker,
        version: i16,
        gaps: Gaps,
        bounds: Bounds,
        (request, topics): (&FetchRequest, &[FetchTopic]),
    ) -> Poll {
        let wait = u64::from(request.max_wait_ms.max(0).unsigned_abs()).min(MAX_WAIT_MS);
        let isolation = match request.isolation_level {
            0 => Isolation::ReadUncommitted,
            _ => Isolation::ReadCommitted,
        };
        let topics = topics
            .iter()
            .map(|wanted| {
                let topic = match version >= TOPIC_IDS {
                    true => broker
                        .topics
                        .get_by_id(wanted.topic_id.as_bytes())
                        .ok_or(ErrorCode::UnknownTopicId),
                    false => broker
                        .topics
                        .get(&wanted.topic)
                        .ok_or(ErrorCode::UnknownTopicOrPartition),
                };
                let slots = wanted
                    .partitions
                    .iter()
                    .map(|p| Slot::new(&topic, p, &gaps, isolation))
                    .collect();
                (wanted.clone().with_partitions(Vec::new()), slots)
            })
            .collect();
        Poll {
            gaps,
            isolation,
            min_bytes: bytes_of(request.min_bytes),
            max_bytes: bytes_of(request.max_bytes).min(bounds.max_bytes),
            scan_bytes: bounds.scan_bytes,
            deadline: Instant::now() + Duration::from_millis(wait),
            topics,
            wake: Arc::new(Notify::new()),
            memory: broker.answer_memory.clone(),
            reserved: None,
        }
    }

    /// Collects until there is enough, something failed, or the time is up.
    async fn run(&mut self) {
        loop {
            // Registered before looking, so that what is appended in between wakes us.
            self.watch();
            let step = self.collect().await;
            let scanned: usize = self.slots().map(|slot| slot.cursor.scanned_bytes).sum();
            let collected: usize = self.slots().map(|slot| slot.cursor.bytes).sum();
            let failed = self.slots().any(|slot| slot.partition.is_err());
            if failed
                || step == Step::Full
                || collected >= self.min_bytes.min(self.max_bytes)
                || scanned >= self.scan_bytes
            {
                return;
            }
            if Instant::now() >= self.deadline {
                return;
            }
            if step == Step::More {
                tokio::task::yield_now().await;
                continue;
            }
            if tokio::time::timeout_at(self.deadline, self.wake.notified())
                .await
                .is_err()
            {
                return;
            }
        }
    }

    fn watch(&self) {
        for slot in self.slots() {
            if let Ok(partition) = &slot.partition {
                partition.watch(&self.wake);
            }
        }
    }

    /// One step in every partition, in the order asked for, as far as there is memory for an answer.
    async fn collect(&mut self) -> Step {
        let mut more = false;
        let already: usize = self.slots().map(|slot| slot.cursor.bytes).sum();
        let wanted = self.max_bytes.saturating_sub(already).max(1);
        let Some(mut reserved) = self.memory.reserve(wanted, self.deadline).await else {
            return Step::Full;
        };
        let (isolation, limit) = (self.isolation, already + reserved.bytes());
        let mut total = already;
        for slot in self.topics.iter_mut().flat_map(|(_, slots)| slots) {
            let Ok(partition) = slot.partition.clone() else {
                continue;
            };
            let before = slot.cursor.bytes;
            let room = slot.max_bytes.min(before + limit.saturating_sub(total));
            let end = partition.visible_end(isolation);
            match partition
                .scan(&mut slot.cursor, end, room, total == 0)
                .await
            {
                Ok(has_more) => more |= has_more && total < limit,
                Err(failure) => slot.partition = Err(error_code(&failure)),
            }
            total += slot.cursor.bytes - before;
        }
        reserved.settle(total - already);
        match &mut self.reserved {
            Some(held) => held.join(reserved),
            held => *held = Some(reserved),
        }
        match more {
            true => Step::More,
            // The share was smaller than what was asked for, and not everything may have fitted.
            false if limit < self.max_bytes && total > 0 => Step::Full,
            false => Step::End,
        }
    }

    async fn look_up_aborted(&mut self) {
        for slot in self.topics.iter_mut().flat_map(|(_, slots)| slots) {
            let Ok(partition) = &slot.partition else {
                continue;
            };
            match partition.aborted_for(&slot.cursor).await {
                Ok(aborted) => {
                    let on_the_wire = aborted.iter().map(|transaction| {
                        AbortedTransaction::default()
                            .with_producer_id(ProducerId(transaction.producer_id))
                            .with_first_offset(transaction.first_offset)
                    });
                    slot.aborted = on_the_wire.collect();
                }
                Err(failure) => slot.partition = Err(error_code(&failure)),
            }
        }
    }

    fn respond(self, sets: &mut RecordSets) -> FetchResponse {
        let (gaps, isolation) = (self.gaps, self.isolation);
        let responses = self
            .topics
            .into_iter()
            .map(|(topic, slots)| {
                FetchableTopicResponse::default()
                    .with_topic(topic.topic)
                    .with_topic_id(topic.topic_id)
                    .with_partitions(
                        slots
                            .into_iter()
                            .map(|slot| slot.respond(&gaps, isolation, sets))
                            .collect(),
                    )
            })
            .collect();
        FetchResponse::default().with_responses(responses)
    }

    /// What counts under a quota: what was sent, and what was looked at for it (stream semantics, rule 15).
    fn used_bytes(&self) -> usize {
        let used = |slot: &Slot| slot.cursor.bytes.max(slot.cursor.scanned_bytes);
        self.slots().map(used).sum()
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.topics.iter().flat_map(|(_, slots)| slots)
    }
}

impl Slot {
    fn new(
        topic: &Result<Arc<Topic>, ErrorCode>,
        wanted: &FetchPartition,
        gaps: &Gaps,
        isolation: Isolation,
    ) -> Slot {
        let partition = topic.as_ref().map_err(|code| *code).and_then(|topic| {
            let partition = topic
                .partition(wanted.partition)
                .ok_or(ErrorCode::UnknownTopicOrPartition)?;
            check_epoch(&partition, wanted.current_leader_epoch)?;
            partition
                .check_offset(wanted.fetch_offset)
                .map_err(|error| error_code(&error))?;
            Ok(partition)
        });
        let next = match &partition {
            Ok(partition) if gaps.mode == GapMode::Cursor => {
                gaps.connection.position(partition.id, wanted.fetch_offset)
            }
            _ => wanted.fetch_offset,
        };
        let cursor = Cursor::new(wanted.fetch_offset, next).isolated(isolation);
        Slot {
            index: wanted.partition,
            max_bytes: bytes_of(wanted.partition_max_bytes),
            partition,
            cursor: match gaps.mode {
                GapMode::Marker => cursor,
                GapMode::Before | GapMode::Cursor => cursor.without_control(),
            },
            aborted: Vec::new(),
        }
    }

    fn respond(
        mut self,
        gaps: &Gaps,
        isolation: Isolation,
        sets: &mut RecordSets,
    ) -> PartitionData {
        let data = PartitionData::default().with_partition_index(self.index);
        let partition = match &self.partition {
            Ok(partition) => partition,
            Err(code) => {
                return data
                    .with_error_code(code.code())
                    .with_high_watermark(-1)
                    .with_last_stable_offset(-1)
                    .with_log_start_offset(-1)
                    .with_records(Some(Bytes::new()));
            }
        };
        let high_watermark = partition.high_watermark();
        let aborted = std::mem::take(&mut self.aborted);
        let aborted = (isolation == Isolation::ReadCommitted).then_some(aborted);
        data.with_high_watermark(high_watermark)
            .with_last_stable_offset(partition.last_stable_offset())
            .with_log_start_offset(partition.log_start())
            .with_aborted_transactions(aborted)
            .with_records(Some(sets.keep(self.batches(gaps))))
    }

    fn batches(self, gaps: &Gaps) -> Vec<Bytes> {
        let answer = self.cursor.finish(gaps.mode);
        if let (Some((asked, next)), Ok(partition)) = (answer.resume, &self.partition) {
            gaps.connection.keep_position(partition.id, asked, next);
        }
        answer.batches
    }
}

/// KIP-320: a client that knows an older or newer leader must refresh its metadata first.
pub(super) fn check_epoch(partition: &Partition, known: i32) -> Result<(), ErrorCode> {
    let current = partition.leader_epoch().0;
    match known {
        -1 => Ok(()),
        known if known < current => Err(ErrorCode::FencedLeaderEpoch),
        known if known > current => Err(ErrorCode::UnknownLeaderEpoch),
        _ => Ok(()),
    }
}

pub(super) fn error_code(failure: &ReadFailure) -> ErrorCode {
    match failure {
        ReadFailure::OutOfRange => ErrorCode::OffsetOutOfRange,
        ReadFailure::NotLeader => ErrorCode::NotLeaderOrFollower,
        ReadFailure::Storage(_) | ReadFailure::Chain(_) => {
            tracing::warn!(%failure, "a fetch was refused");
            ErrorCode::KafkaStorageError
        }
    }
}

fn bytes_of(wire: i32) -> usize {
    usize::try_from(wire).unwrap_or(0)
}
