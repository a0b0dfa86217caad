//! OffsetFetch (key 9), versions 1 to 9: one group, or many from version 8 on (KIP-709). Null topics ask for all.

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{GroupId, OffsetFetchRequest, OffsetFetchResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use tidegate_coordinator::{FoundOffset, GroupError, Reply, Request, TopicOffsets};

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct OffsetFetch;

const MANY_GROUPS: i16 = 8;
/// First version with an error for the whole group.
const GROUP_ERROR: i16 = 2;
const LEADER_EPOCH: i16 = 5;

type Wanted = Option<Vec<(String, Vec<i32>)>>;
type Found = TopicOffsets;

impl KafkaApi for OffsetFetch {
    const KEY: i16 = 9;
    const SERVED: RangeInclusive<i16> = 1..=9;
    type Request = OffsetFetchRequest;

    async fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        request: OffsetFetchRequest,
    ) -> OffsetFetchResponse {
        let version = context.head.api_version;
        let stable = request.require_stable;
        if version < MANY_GROUPS {
            let wanted: Wanted = request.topics.map(|topics| {
                topics
                    .into_iter()
                    .map(|t| (t.name.to_string(), t.partition_indexes))
                    .collect()
            });
            let asks = Asks::default();
            let found = fetch(broker, &request.group_id, asks, wanted.clone(), stable).await;
            return one_group(version, wanted, found);
        }
        let mut groups = Vec::with_capacity(request.groups.len());
        for group in request.groups {
            let wanted: Wanted = group.topics.map(|topics| {
                topics
                    .into_iter()
                    .map(|t| (t.name.to_string(), t.partition_indexes))
                    .collect()
            });
            let asks = Asks {
                member_id: group.member_id.map(|id| id.to_string()),
                member_epoch: group.member_epoch,
            };
            let found = fetch(broker, &group.group_id, asks, wanted, stable).await;
            groups.push(group_response(group.group_id, found));
        }
        OffsetFetchResponse::default().with_groups(groups)
    }
}

/// The member of a consumer group that asks, from version 9 on (KIP-848).
struct Asks {
    member_id: Option<String>,
    member_epoch: i32,
}

impl Default for Asks {
    fn default() -> Asks {
        Asks {
            member_id: None,
            member_epoch: -1,
        }
    }
}

async fn fetch(
    broker: &Arc<Broker>,
    group: &GroupId,
    asks: Asks,
    topics: Wanted,
    require_stable: bool,
) -> Result<Found, GroupError> {
    let group = group.to_string();
    let request = Request::FetchOffsets {
        group: group.clone(),
        member_id: asks.member_id,
        member_epoch: asks.member_epoch,
        topics,
        require_stable,
    };
    match broker.groups.ask(broker, &group, request).await? {
        Reply::FetchOffsets(found) => found,
        _ => Err(GroupError::CoordinatorNotAvailable),
    }
}

fn one_group(
    version: i16,
    wanted: Wanted,
    found: Result<Found, GroupError>,
) -> OffsetFetchResponse {
    let (found, error) = match found {
        Ok(found) => (found, 0),
        // Version 1 can only say it partition by partition.
        Err(error) => (unknown(wanted.unwrap_or_default()), error.code()),
    };
    let partition_error = if version < GROUP_ERROR { error } else { 0 };
    let topics = found
        .into_iter()
        .map(|(name, partitions)| {
            let partitions = partitions
                .into_iter()
                .map(|(index, found)| {
                    let (offset, epoch, metadata, unstable) = fields(found);
                    let partition = OffsetFetchResponsePartition::default()
                        .with_partition_index(index)
                        .with_committed_offset(offset)
                        .with_metadata(Some(metadata))
                        .with_error_code(unstable.max(partition_error));
                    match version >= LEADER_EPOCH {
                        true => partition.with_committed_leader_epoch(epoch),
                        false => partition,
                    }
                })
                .collect();
            OffsetFetchResponseTopic::default()
                .with_name(TopicName(StrBytes::from_string(name)))
                .with_partitions(partitions)
        })
        .collect();
    let response = OffsetFetchResponse::default().with_topics(topics);
    match version >= GROUP_ERROR {
        true => response.with_error_code(error),
        false => response,
    }
}

fn group_response(group: GroupId, found: Result<Found, GroupError>) -> OffsetFetchResponseGroup {
    let response = OffsetFetchResponseGroup::default().with_group_id(group);
    let found = match found {
        Ok(found) => found,
        Err(error) => return response.with_error_code(error.code()),
    };
    let topics = found
        .into_iter()
        .map(|(name, partitions)| {
            let partitions = partitions
                .into_iter()
                .map(|(index, found)| {
                    let (offset, epoch, metadata, unstable) = fields(found);
                    OffsetFetchResponsePartitions::default()
                        .with_partition_index(index)
                        .with_committed_offset(offset)
                        .with_committed_leader_epoch(epoch)
                        .with_metadata(Some(metadata))
                        .with_error_code(unstable)
                })
                .collect();
            OffsetFetchResponseTopics::default()
                .with_name(TopicName(StrBytes::from_string(name)))
                .with_partitions(partitions)
        })
        .collect();
    response.with_topics(topics)
}

/// Offset, its leader epoch, metadata and error code. Offset -1 is "nothing committed", as Kafka says it.
fn fields(found: FoundOffset) -> (i64, i32, StrBytes, i16) {
    match found {
        Ok(Some(found)) => (
            found.offset,
            found.leader_epoch,
            StrBytes::from_string(found.metadata),
            0,
        ),
        Ok(None) => (-1, -1, StrBytes::default(), 0),
        Err(error) => (-1, -1, StrBytes::default(), error.code()),
    }
}

fn unknown(wanted: Vec<(String, Vec<i32>)>) -> Found {
    wanted
        .into_iter()
        .map(|(topic, indexes)| {
            (
                topic,
                indexes.into_iter().map(|index| (index, Ok(None))).collect(),
            )
        })
        .collect()
}
