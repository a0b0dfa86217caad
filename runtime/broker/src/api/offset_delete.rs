//! OffsetDelete (key 47), version 0 (KIP-496): forgets committed offsets of topics that nobody in the group consumes.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{GroupId, OffsetDeleteRequest, OffsetDeleteResponse};
use tidegate_coordinator::{DeletedOffset, GroupError, Reply, Request};
use tidegate_protocol::error::ErrorCode;

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct OffsetDelete;

/// By topic and partition: a request may name very many.
type Deleted = HashMap<(String, i32), Result<(), GroupError>>;

impl KafkaApi for OffsetDelete {
    const KEY: i16 = 47;
    const SERVED: RangeInclusive<i16> = 0..=0;
    type Request = OffsetDeleteRequest;

    async fn handle(
        broker: &Arc<Broker>,
        _context: &RequestContext,
        request: OffsetDeleteRequest,
    ) -> OffsetDeleteResponse {
        // Only partitions that exist are the group's business.
        let asked = pairs(&request.topics)
            .filter(|(topic, partition)| exists(broker, topic, *partition))
            .collect();
        let deleted = match delete(broker, &request.group_id, asked).await {
            Ok(deleted) => deleted,
            Err(error) => return OffsetDeleteResponse::default().with_error_code(error.code()),
        };
        let deleted: Deleted = deleted
            .into_iter()
            .map(|(topic, partition, result)| ((topic, partition), result))
            .collect();
        let topics = request.topics.iter().map(|topic| respond(topic, &deleted));
        OffsetDeleteResponse::default().with_topics(topics.collect())
    }
}

fn pairs(topics: &[OffsetDeleteRequestTopic]) -> impl Iterator<Item = (String, i32)> {
    topics.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(|partition| (topic.name.to_string(), partition.partition_index))
    })
}

fn exists(broker: &Broker, topic: &str, partition: i32) -> bool {
    let topic = broker.topics.get(topic);
    topic.is_some_and(|topic| topic.partition(partition).is_some())
}

async fn delete(
    broker: &Arc<Broker>,
    group: &GroupId,
    partitions: Vec<(String, i32)>,
) -> Result<Vec<DeletedOffset>, GroupError> {
    let request = Request::DeleteOffsets {
        group: group.to_string(),
        partitions,
    };
    match broker.groups.ask(broker, group, request).await? {
        Reply::DeleteOffsets(deleted) => deleted,
        _ => Err(GroupError::CoordinatorNotAvailable),
    }
}

fn respond(topic: &OffsetDeleteRequestTopic, deleted: &Deleted) -> OffsetDeleteResponseTopic {
    let answer = |index: i32| {
        let code = match deleted.get(&(topic.name.to_string(), index)) {
            None => ErrorCode::UnknownTopicOrPartition.code(),
            Some(result) => result.err().map_or(0, GroupError::code),
        };
        OffsetDeleteResponsePartition::default()
            .with_partition_index(index)
            .with_error_code(code)
    };
    let partitions = topic.partitions.iter();
    OffsetDeleteResponseTopic::default()
        .with_name(topic.name.clone())
        .with_partitions(partitions.map(|p| answer(p.partition_index)).collect())
}
