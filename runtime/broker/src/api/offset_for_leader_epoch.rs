//! OffsetForLeaderEpoch (key 23), versions 2 to 4 (KIP-101, KIP-320): where the reign of a leader ended, so that whoever
//! read under it can tell whether what it read is still there.

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use tidegate_protocol::error::ErrorCode;
use tidegate_record::{LeaderEpoch, Offset};

use super::fetch::check_epoch;
use super::{KafkaApi, RequestContext};
use crate::broker::Broker;
use crate::topics::Topic;

pub(crate) struct OffsetForLeaderEpoch;

/// Epoch and offset of an answer that knows neither.
const UNKNOWN: (LeaderEpoch, Offset) = (LeaderEpoch(-1), -1);

impl KafkaApi for OffsetForLeaderEpoch {
    const KEY: i16 = 23;
    const SERVED: RangeInclusive<i16> = 2..=4;
    type Request = OffsetForLeaderEpochRequest;

    async fn handle(
        broker: &Arc<Broker>,
        _context: &RequestContext,
        request: OffsetForLeaderEpochRequest,
    ) -> OffsetForLeaderEpochResponse {
        let mut topics = Vec::with_capacity(request.topics.len());
        for wanted in request.topics {
            let topic = broker.topics.get(&wanted.topic);
            let mut partitions = Vec::with_capacity(wanted.partitions.len());
            for partition in &wanted.partitions {
                let end = end_of_epoch(topic.as_deref(), partition).await;
                partitions.push(respond(partition.partition, end));
            }
            topics.push(
                OffsetForLeaderTopicResult::default()
                    .with_topic(wanted.topic)
                    .with_partitions(partitions),
            );
        }
        OffsetForLeaderEpochResponse::default().with_topics(topics)
    }
}

async fn end_of_epoch(
    topic: Option<&Topic>,
    wanted: &OffsetForLeaderPartition,
) -> Result<(LeaderEpoch, Offset), ErrorCode> {
    let partition = topic
        .and_then(|topic| topic.partition(wanted.partition))
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    check_epoch(&partition, wanted.current_leader_epoch)?;
    let epoch = LeaderEpoch(wanted.leader_epoch);
    let found = tokio::task::spawn_blocking(move || partition.end_of_epoch(epoch))
        .await
        .map_err(|_| ErrorCode::UnknownServerError)?;
    match found {
        Ok(end) => Ok(end.unwrap_or(UNKNOWN)),
        Err(error) => {
            tracing::error!(index = wanted.partition, %error, "cannot look up a leader epoch");
            Err(ErrorCode::KafkaStorageError)
        }
    }
}

fn respond(index: i32, end: Result<(LeaderEpoch, Offset), ErrorCode>) -> EpochEndOffset {
    let code = end.as_ref().err().map_or(0, ErrorCode::code);
    let (epoch, offset) = end.unwrap_or(UNKNOWN);
    EpochEndOffset::default()
        .with_partition(index)
        .with_error_code(code)
        .with_leader_epoch(epoch.0)
        .with_end_offset(offset)
}
