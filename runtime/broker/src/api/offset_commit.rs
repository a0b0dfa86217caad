//! OffsetCommit (key 8), versions 2 to 9. A commit is answered when it is in the log.

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use tidegate_coordinator::{GroupError, OffsetAndMetadata, Reply, Request};
use tidegate_protocol::error::ErrorCode;

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;
use crate::clock::now_ms;

pub(crate) struct OffsetCommit;

/// First version whose generation may be a member epoch (KIP-848).
const MEMBER_EPOCHS: i16 = 9;

impl KafkaApi for OffsetCommit {
    const KEY: i16 = 8;
    const SERVED: RangeInclusive<i16> = 2..=9;
    type Request = OffsetCommitRequest;

    async fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        request: OffsetCommitRequest,
    ) -> OffsetCommitResponse {
        let group = request.group_id.to_string();
        let (offsets, mut responses) = sort(broker, request.topics);
        let asked: Vec<(String, i32)> = offsets
            .iter()
            .map(|(topic, index, _)| (topic.clone(), *index))
            .collect();
        let commit = Request::CommitOffsets {
            group: group.clone(),
            generation: request.generation_id_or_member_epoch,
            member_id: request.member_id.to_string(),
            group_instance_id: request.group_instance_id.map(|id| id.to_string()),
            knows_epochs: context.head.api_version >= MEMBER_EPOCHS,
            offsets,
        };
        let committed = match broker.groups.ask(broker, &group, commit).await {
            Ok(Reply::CommitOffsets(committed)) => committed,
            Ok(_) => failed(asked, GroupError::CoordinatorNotAvailable),
            Err(error) => failed(asked, error),
        };
        for (topic, index, result) in committed {
            let partition = OffsetCommitResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(result.err().map_or(0, GroupError::code));
            if let Some(response) = responses.iter_mut().find(|r| *r.name == *topic) {
                response.partitions.push(partition);
            }
        }
        OffsetCommitResponse::default().with_topics(responses)
    }
}

type Offsets = Vec<(String, i32, OffsetAndMetadata)>;

/// What goes to the coordinator, and a response for each topic that already names the partitions that do not exist.
fn sort(
    broker: &Broker,
    topics: Vec<OffsetCommitRequestTopic>,
) -> (Offsets, Vec<OffsetCommitResponseTopic>) {
    let now = now_ms();
    let mut offsets = Vec::new();
    let mut responses = Vec::with_capacity(topics.len());
    for topic in topics {
        let known = broker.topics.get(&topic.name);
        let mut response = OffsetCommitResponseTopic::default().with_name(topic.name.clone());
        for partition in topic.partitions {
            let index = partition.partition_index;
            if known
                .as_ref()
                .and_then(|topic| topic.partition(index))
                .is_none()
            {
                response.partitions.push(
                    OffsetCommitResponsePartition::default()
                        .with_partition_index(index)
                        .with_error_code(ErrorCode::UnknownTopicOrPartition.code()),
                );
                continue;
            }
            let offset = OffsetAndMetadata {
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition
                    .committed_metadata
                    .map(|m| m.to_string())
                    .unwrap_or_default(),
                commit_timestamp: now,
                expire_timestamp: None,
            };
            offsets.push((topic.name.to_string(), index, offset));
        }
        responses.push(response);
    }
    (offsets, responses)
}

fn failed(
    asked: Vec<(String, i32)>,
    error: GroupError,
) -> Vec<(String, i32, Result<(), GroupError>)> {
    asked
        .into_iter()
        .map(|(topic, index)| (topic, index, Err(error)))
        .collect()
}
