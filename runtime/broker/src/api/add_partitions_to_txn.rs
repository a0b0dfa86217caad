//! AddPartitionsToTxn (key 24), versions 0 to 5: partitions enter a transaction before anything is produced to them.
//!
//! From version 4 on it is what brokers send one another: many transactions at once, to be added to or only asked about
//! (KIP-890). It is answered to whoever asks, since it does nothing that version 3 does not.

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};
use tidegate_coordinator::transaction::{Producer, TransactionError};
use tidegate_protocol::error::ErrorCode;

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct AddPartitionsToTxn;

/// First version in which a fenced producer is called PRODUCER_FENCED (KIP-588).
const FENCED: i16 = 2;
const MANY_TRANSACTIONS: i16 = 4;

impl KafkaApi for AddPartitionsToTxn {
    const KEY: i16 = 24;
    const SERVED: RangeInclusive<i16> = 0..=5;
    type Request = AddPartitionsToTxnRequest;

    async fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        request: AddPartitionsToTxnRequest,
    ) -> AddPartitionsToTxnResponse {
        let version = context.head.api_version;
        if version >= MANY_TRANSACTIONS {
            let mut results = Vec::with_capacity(request.transactions.len());
            for transaction in request.transactions {
                let id = transaction.transactional_id.clone();
                let producer = Producer {
                    id: transaction.producer_id.0,
                    epoch: transaction.producer_epoch,
                };
                let topics = match transaction.verify_only {
                    true => verify(broker, &id, producer, transaction.topics).await,
                    false => add(broker, &id, producer, transaction.topics, version).await,
                };
                results.push(
                    AddPartitionsToTxnResult::default()
                        .with_transactional_id(id)
                        .with_topic_results(topics),
                );
            }
            return AddPartitionsToTxnResponse::default().with_results_by_transaction(results);
        }
        let producer = Producer {
            id: request.v3_and_below_producer_id.0,
            epoch: request.v3_and_below_producer_epoch,
        };
        let id = request.v3_and_below_transactional_id;
        let topics = add(broker, &id, producer, request.v3_and_below_topics, version).await;
        AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(topics)
    }
}

/// All partitions or none: one that does not exist keeps the others out.
async fn add(
    broker: &Arc<Broker>,
    transactional_id: &str,
    producer: Producer,
    topics: Vec<AddPartitionsToTxnTopic>,
    version: i16,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let refused = |topic: &str, index: i32| refusal(broker, topic, index);
    let any_refused = topics.iter().any(|topic| {
        let mut indexes = topic.partitions.iter();
        indexes.any(|index| refused(&topic.name, *index).is_some())
    });
    if any_refused {
        return results(topics, |topic, index| {
            refused(topic, index).map_or(ErrorCode::OperationNotAttempted.code(), |e| e.code())
        });
    }
    let added = broker
        .transactions
        .add(broker, transactional_id, producer, flat(&topics))
        .await;
    let code = added.err().map_or(0, |error| code(error, version));
    results(topics, |_, _| code)
}

/// A partition at a time, since each may be in the transaction or not.
async fn verify(
    broker: &Arc<Broker>,
    transactional_id: &str,
    producer: Producer,
    topics: Vec<AddPartitionsToTxnTopic>,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let mut codes = std::collections::HashMap::new();
    for place in flat(&topics) {
        let one = std::slice::from_ref(&place);
        let Producer { id, epoch } = producer;
        let verified = broker
            .transactions
            .verify(broker, transactional_id, id, epoch, one)
            .await;
        codes.insert(place, verified.err().map_or(0, TransactionError::code));
    }
    results(topics, |topic, index| {
        codes
            .get(&(topic.to_owned(), index))
            .copied()
            .unwrap_or_default()
    })
}

/// Why a partition cannot be in a client's transaction.
fn refusal(broker: &Broker, topic: &str, index: i32) -> Option<ErrorCode> {
    match broker.topics.get(topic) {
        // The offsets partition of a group comes with AddOffsetsToTxn.
        Some(found) if found.settings.internal() => Some(ErrorCode::InvalidTopicException),
        Some(found) if found.partition(index).is_some() => None,
        _ => Some(ErrorCode::UnknownTopicOrPartition),
    }
}

pub(super) fn code(error: TransactionError, version: i16) -> i16 {
    match version < FENCED {
        true => error.at_partition().code(),
        false => error.code(),
    }
}

fn flat(topics: &[AddPartitionsToTxnTopic]) -> Vec<(String, i32)> {
    let of_topic = |topic: &AddPartitionsToTxnTopic| {
        let name = topic.name.to_string();
        let indexes = topic.partitions.clone();
        indexes.into_iter().map(move |index| (name.clone(), index))
    };
    topics.iter().flat_map(of_topic).collect()
}

fn results(
    topics: Vec<AddPartitionsToTxnTopic>,
    code: impl Fn(&str, i32) -> i16,
) -> Vec<AddPartitionsToTxnTopicResult> {
    topics
        .into_iter()
        .map(|topic| {
            let result = |&index: &i32| {
                AddPartitionsToTxnPartitionResult::default()
                    .with_partition_index(index)
                    .with_partition_error_code(code(&topic.name, index))
            };
            let partitions = topic.partitions.iter().map(result).collect();
            AddPartitionsToTxnTopicResult::default()
                .with_name(topic.name)
                .with_results_by_partition(partitions)
        })
        .collect()
}
