//! Produce (key 0), versions 3 to 13: acks 0, 1 and all; idempotent batches; topic ids from 13 on (KIP-516).
//!
//! Transactional batches wait in their partition until the coordinator knows of it: `transactional_produce.rs`.

use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use kafka_protocol::protocol::StrBytes;
use tidegate_protocol::DecodeBudget;
use tidegate_protocol::error::ErrorCode;
use tidegate_record::{CheckedBatch, ProduceError};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Refused, RequestContext, throttle_ms};
use crate::broker::Broker;
use crate::partition::{Acks, ProduceFailure, ProduceOutcome};
use crate::topics::Topic;
use crate::transactional_produce::Questions;

pub(crate) const KEY: i16 = 0;
pub(crate) const SERVED: RangeInclusive<i16> = 3..=13;
/// From 0, because old librdkafka switches compression off where Produce 0 is not named.
pub(crate) const ADVERTISED: RangeInclusive<i16> = 0..=13;

/// First version whose response can name single records.
const RECORD_ERRORS: i16 = 8;
/// First version that names topics by id only.
const TOPIC_IDS: i16 = 13;

type Outcomes = Vec<TopicOutcomes>;

struct TopicOutcomes {
    response: TopicProduceResponse,
    partitions: Vec<(i32, Waiting)>,
}

enum Waiting {
    For(oneshot::Receiver<ProduceOutcome>),
    Failed(ProduceFailure),
}

/// What all batches of a request have in common.
struct Sender {
    acks: Acks,
    transactional_id: Option<String>,
    questions: Questions,
}

type Answer = Pin<Box<dyn Future<Output = Result<Option<Bytes>, Refused>> + Send>>;

/// Admits every batch of the request before it returns; the future is the answer, and the time is for how long the client
/// is not read from.
pub(crate) fn admit(
    broker: &Arc<Broker>,
    context: RequestContext,
    body: Bytes,
) -> (Answer, Duration) {
    let started = broker.quotas.counts_time().then(std::time::Instant::now);
    let version = context.head.api_version;
    let bytes = body.len();
    let decoded = decode(version, body);
    let request = match decoded {
        Ok(request) => request,
        Err(refused) => {
            let answer = std::future::ready(Err(refused));
            return (Box::pin(answer), Duration::ZERO);
        }
    };
    let timeout = Duration::from_millis(request.timeout_ms.max(0).unsigned_abs().into());
    let deadline = Instant::now() + timeout;
    let raw_acks = request.acks;
    let outcomes = match acks_of(raw_acks) {
        Some(acks) => {
            let mut sender = Sender {
                acks,
                transactional_id: request.transactional_id.map(|id| id.0.to_string()),
                questions: Questions::default(),
            };
            let outcomes = admit_topics(broker, version, &mut sender, request.topic_data);
            if let Some(transactional_id) = &sender.transactional_id {
                sender.questions.ask(broker, version, transactional_id);
            }
            outcomes
        }
        None => refuse_topics(version, request.topic_data),
    };
    let client = context.client();
    // As Kafka does it: the whole request counts, whatever becomes of its batches.
    context.throttle(broker.quotas.produced(client, bytes));
    if let Some(started) = started {
        context.throttle(broker.quotas.worked(client, started.elapsed()));
    }
    let throttle = context.throttled();
    let correlation_id = context.head.correlation_id;
    let broker = broker.clone();
    let answer: Answer = Box::pin(async move {
        let response = collect(&broker, version, deadline, outcomes).await;
        let response = response.with_throttle_time_ms(throttle_ms(throttle));
        if raw_acks == 0 {
            return match first_error(&response) {
                // There is no response to put the error in; a closed connection is how the client learns of it.
                Some(code) => Err(Refused::Unanswerable(code)),
                None => Ok(None),
            };
        }
        Ok(Some(tidegate_protocol::encode_response(
            KEY,
            version,
            correlation_id,
            &response,
        )?))
    });
    (answer, throttle)
}

fn decode(version: i16, body: Bytes) -> Result<ProduceRequest, Refused> {
    if !SERVED.contains(&version) {
        return Err(Refused::UnsupportedVersion { key: KEY, version });
    }
    let budget = DecodeBudget::for_request(KEY, body.len());
    Ok(tidegate_protocol::decode(KEY, version, body, budget)?)
}

fn acks_of(acks: i16) -> Option<Acks> {
    match acks {
        0 => Some(Acks::None),
        1 => Some(Acks::Leader),
        -1 => Some(Acks::All),
        _ => None,
    }
}

fn admit_topics(
    broker: &Broker,
    version: i16,
    sender: &mut Sender,
    topics: Vec<TopicProduceData>,
) -> Outcomes {
    topics
        .into_iter()
        .map(|data| {
            let topic = find_topic(broker, version, &data);
            let response = TopicProduceResponse::default()
                .with_name(data.name)
                .with_topic_id(data.topic_id);
            let partitions = data
                .partition_data
                .into_iter()
                .map(|data| (data.index, admit_batch(broker, &topic, sender, data)))
                .collect();
            TopicOutcomes {
                response,
                partitions,
            }
        })
        .collect()
}

fn refuse_topics(_version: i16, topics: Vec<TopicProduceData>) -> Outcomes {
    let failure = ProduceFailure::new(ErrorCode::InvalidRequiredAcks, "acks must be -1, 0 or 1");
    topics
        .into_iter()
        .map(|data| TopicOutcomes {
            response: TopicProduceResponse::default()
                .with_name(data.name)
                .with_topic_id(data.topic_id),
            partitions: data
                .partition_data
                .iter()
                .map(|data| (data.index, Waiting::Failed(failure.clone())))
                .collect(),
        })
        .collect()
}

fn find_topic(
    broker: &Broker,
    version: i16,
    data: &TopicProduceData,
) -> Result<Arc<Topic>, ProduceFailure> {
    let found = match version >= TOPIC_IDS {
        true => broker
            .topics
            .get_by_id(data.topic_id.as_bytes())
            .ok_or(ErrorCode::UnknownTopicId),
        false => broker
            .topics
            .get(&data.name)
            .ok_or(ErrorCode::UnknownTopicOrPartition),
    };
    let topic = found.map_err(|code| ProduceFailure::new(code, "the topic does not exist"))?;
    match topic.settings.internal() {
        true => Err(ProduceFailure::new(
            ErrorCode::InvalidTopicException,
            "only the broker writes to an internal topic",
        )),
        false => Ok(topic),
    }
}

fn admit_batch(
    broker: &Broker,
    topic: &Result<Arc<Topic>, ProduceFailure>,
    sender: &mut Sender,
    data: PartitionProduceData,
) -> Waiting {
    let admitted = topic.as_ref().map_err(Clone::clone).and_then(|topic| {
        let unknown = || {
            let sentence = format!("the topic has no partition {}", data.index);
            ProduceFailure::new(ErrorCode::UnknownTopicOrPartition, sentence)
        };
        let partition = topic.partition(data.index).ok_or_else(unknown)?;
        let max_bytes = topic.settings.config().max_message_bytes;
        let batch = CheckedBatch::check(data.records.unwrap_or_default(), max_bytes)
            .map_err(|error| refusal(&error))?;
        let header = *batch.batch().header();
        if header.attributes.is_transactional() && sender.transactional_id.is_none() {
            let sentence = "a transactional batch needs the request's transactional id";
            let code = ErrorCode::TransactionalIdAuthorizationFailed;
            return Err(ProduceFailure::new(code, sentence));
        }
        broker
            .metrics
            .produced(batch.batch().record_count(), batch.batch().size());
        let outcome = partition.produce(batch, sender.acks);
        let questions = &mut sender.questions;
        questions.collect(topic.settings.name(), &partition, &header);
        Ok(outcome)
    });
    match admitted {
        Ok(outcome) => Waiting::For(outcome),
        Err(failure) => Waiting::Failed(failure),
    }
}

fn refusal(error: &ProduceError) -> ProduceFailure {
    let code = match error {
        ProduceError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        ProduceError::Corrupt(_) => ErrorCode::CorruptMessage,
        ProduceError::InvalidRecord(_) => ErrorCode::InvalidRecord,
        ProduceError::InvalidTimestamp => ErrorCode::InvalidTimestamp,
        ProduceError::UnsupportedMagic(_) => ErrorCode::UnsupportedForMessageFormat,
        ProduceError::UnsupportedCodec => ErrorCode::UnsupportedCompressionType,
    };
    ProduceFailure::new(code, error.to_string())
}

async fn collect(
    broker: &Broker,
    version: i16,
    deadline: Instant,
    outcomes: Outcomes,
) -> ProduceResponse {
    let mut responses = Vec::with_capacity(outcomes.len());
    for topic in outcomes {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (index, waiting) in topic.partitions {
            let outcome = match waiting {
                Waiting::For(outcome) => settle(outcome, deadline).await,
                Waiting::Failed(failure) => Err(failure),
            };
            partitions.push(partition_response(broker, version, index, outcome));
        }
        responses.push(topic.response.with_partition_responses(partitions));
    }
    ProduceResponse::default().with_responses(responses)
}

async fn settle(outcome: oneshot::Receiver<ProduceOutcome>, deadline: Instant) -> ProduceOutcome {
    match tokio::time::timeout_at(deadline, outcome).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(ProduceFailure::new(
            ErrorCode::NotLeaderOrFollower,
            "the partition was closed before it answered",
        )),
        Err(_) => Err(ProduceFailure::new(
            ErrorCode::RequestTimedOut,
            "the batch was not committed within the request's timeout",
        )),
    }
}

fn partition_response(
    broker: &Broker,
    version: i16,
    index: i32,
    outcome: ProduceOutcome,
) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(index);
    match outcome {
        Ok(stored) => response
            .with_base_offset(stored.base_offset)
            .with_log_append_time_ms(stored.append_timestamp)
            .with_log_start_offset(stored.log_start),
        Err(failure) => {
            broker.metrics.failed(KEY, failure.code.code());
            let response = response
                .with_error_code(failure.code.code())
                .with_base_offset(-1)
                .with_log_append_time_ms(-1)
                .with_log_start_offset(-1);
            if version < RECORD_ERRORS {
                return response;
            }
            let records = failure
                .records
                .into_iter()
                .map(|record| {
                    BatchIndexAndErrorMessage::default()
                        .with_batch_index(record.index)
                        .with_batch_index_error_message(Some(StrBytes::from_string(record.message)))
                })
                .collect();
            response
                .with_record_errors(records)
                .with_error_message(Some(StrBytes::from_string(failure.message)))
        }
    }
}

fn first_error(response: &ProduceResponse) -> Option<i16> {
    response
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses)
        .map(|partition| partition.error_code)
        .find(|code| *code != 0)
}
