//! TxnOffsetCommit (key 28), versions 0 to 5: offsets that count when the transaction commits (KIP-98, KIP-447). From version
//! 5 on it adds the group's offsets partition to the transaction itself (KIP-890); before, the partition must be in it.

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestTopic;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use tidegate_coordinator::transaction::TransactionError;
use tidegate_coordinator::{GroupError, OffsetAndMetadata, Reply, Request};
use tidegate_protocol::error::ErrorCode;

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;
use crate::clock::now_ms;
use crate::groups::OFFSETS_TOPIC;

pub(crate) struct TxnOffsetCommit;

/// First version whose clients know TRANSACTION_ABORTABLE.
const ABORTABLE: i16 = 4;
const ADDS_PARTITION: i16 = 5;
/// How often a commit is checked again because markers of others came between the check and it.
const MAX_CHECKS: usize = 20;

impl KafkaApi for TxnOffsetCommit {
    const KEY: i16 = 28;
    const SERVED: RangeInclusive<i16> = 0..=5;
    type Request = TxnOffsetCommitRequest;

    async fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        mut request: TxnOffsetCommitRequest,
    ) -> TxnOffsetCommitResponse {
        let version = context.head.api_version;
        let topics = std::mem::take(&mut request.topics);
        let (offsets, mut responses) = sort(broker, topics);
        let asked: Vec<(String, i32)> = offsets
            .iter()
            .map(|(topic, index, _)| (topic.clone(), *index))
            .collect();
        let outcome = commit(broker, &request, offsets, version).await;
        let codes = match outcome {
            Ok(committed) => committed
                .into_iter()
                .map(|(topic, index, result)| (topic, index, result.err().map_or(0, |e| e.code())))
                .collect(),
            Err(code) => asked
                .into_iter()
                .map(|(topic, index)| (topic, index, code))
                .collect::<Vec<_>>(),
        };
        for (topic, index, code) in codes {
            if let Some(response) = responses.iter_mut().find(|r| *r.name == *topic) {
                response.partitions.push(answer(index, code));
            }
        }
        TxnOffsetCommitResponse::default().with_topics(responses)
    }
}

type Offsets = Vec<(String, i32, OffsetAndMetadata)>;
type Committed = Vec<(String, i32, Result<(), GroupError>)>;

/// Checks with the transaction coordinator and commits; an error is a code for every partition.
async fn commit(
    broker: &Arc<Broker>,
    request: &TxnOffsetCommitRequest,
    offsets: Offsets,
    version: i16,
) -> Result<Committed, i16> {
    let group = request.group_id.to_string();
    if group.is_empty() {
        return Err(GroupError::InvalidGroupId.code());
    }
    if offsets.is_empty() {
        return Ok(Vec::new());
    }
    let partition = broker
        .groups
        .partition_of(broker, &group)
        .await
        .map_err(GroupError::code)?;
    let commit = Request::CommitInTransaction {
        group,
        producer_id: request.producer_id.0,
        producer_epoch: request.producer_epoch,
        generation: request.generation_id,
        member_id: request.member_id.to_string(),
        group_instance_id: request.group_instance_id.as_ref().map(|id| id.to_string()),
        offsets,
    };
    for _ in 0..MAX_CHECKS {
        // What the check says holds until a marker ends the transaction.
        let markers = broker.groups.markers(partition);
        check(broker, request, partition, version).await?;
        let reply = broker
            .groups
            .ask_before_marker(partition, commit.clone(), markers)
            .await;
        match reply.map_err(GroupError::code)? {
            Some(Reply::CommitOffsets(committed)) => return Ok(committed),
            Some(_) => return Err(GroupError::CoordinatorNotAvailable.code()),
            None => {}
        }
    }
    Err(TransactionError::ConcurrentTransactions.code())
}

/// Sees to it that the offsets partition is in the transaction.
async fn check(
    broker: &Arc<Broker>,
    request: &TxnOffsetCommitRequest,
    partition: i32,
    version: i16,
) -> Result<(), i16> {
    let (id, epoch) = (request.producer_id.0, request.producer_epoch);
    let name = &request.transactional_id;
    let places = [(OFFSETS_TOPIC.to_owned(), partition)];
    let transactions = &broker.transactions;
    let checked = match version >= ADDS_PARTITION {
        true => {
            transactions
                .add_partitions(broker, name, id, epoch, &places)
                .await
        }
        false => transactions.verify(broker, name, id, epoch, &places).await,
    };
    checked.map_err(|error| match error {
        TransactionError::TransactionAbortable if version < ABORTABLE => {
            TransactionError::InvalidTxnState.code()
        }
        other => other.code(),
    })
}

/// What goes to the coordinator, and a response for each topic that already names the partitions that do not exist.
fn sort(
    broker: &Broker,
    topics: Vec<TxnOffsetCommitRequestTopic>,
) -> (Offsets, Vec<TxnOffsetCommitResponseTopic>) {
    let now = now_ms();
    let mut offsets = Vec::new();
    let mut responses = Vec::with_capacity(topics.len());
    for topic in topics {
        let known = broker.topics.get(&topic.name);
        let mut response = TxnOffsetCommitResponseTopic::default().with_name(topic.name.clone());
        for partition in topic.partitions {
            let index = partition.partition_index;
            let found = known.as_ref().and_then(|topic| topic.partition(index));
            if found.is_none() {
                let code = ErrorCode::UnknownTopicOrPartition.code();
                response.partitions.push(answer(index, code));
                continue;
            }
            let metadata = partition.committed_metadata;
            let offset = OffsetAndMetadata {
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: metadata.map(|m| m.to_string()).unwrap_or_default(),
                commit_timestamp: now,
                expire_timestamp: None,
            };
            offsets.push((topic.name.to_string(), index, offset));
        }
        responses.push(response);
    }
    (offsets, responses)
}

fn answer(index: i32, code: i16) -> TxnOffsetCommitResponsePartition {
    TxnOffsetCommitResponsePartition::default()
        .with_partition_index(index)
        .with_error_code(code)
}
