//! DeleteRecords (key 21), versions 0 to 2 (KIP-107): moves the log start up to an offset, or up to what consumers see.

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::delete_records_request::DeleteRecordsPartition;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use tidegate_protocol::error::ErrorCode;
use tidegate_record::Offset;

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;
use crate::partition::ReadFailure;
use crate::topics::Topic;

pub(crate) struct DeleteRecords;

/// Everything that consumers see.
const HIGH_WATERMARK: Offset = -1;

impl KafkaApi for DeleteRecords {
    const KEY: i16 = 21;
    const SERVED: RangeInclusive<i16> = 0..=2;
    type Request = DeleteRecordsRequest;

    async fn handle(
        broker: &Arc<Broker>,
        _context: &RequestContext,
        request: DeleteRecordsRequest,
    ) -> DeleteRecordsResponse {
        let mut topics = Vec::with_capacity(request.topics.len());
        for wanted in request.topics {
            let topic = deletable(broker, &wanted.name);
            let mut partitions = Vec::with_capacity(wanted.partitions.len());
            for partition in &wanted.partitions {
                let moved = match &topic {
                    Ok(topic) => delete(topic, partition).await,
                    Err(code) => Err(*code),
                };
                partitions.push(respond(partition.partition_index, moved));
            }
            let result = DeleteRecordsTopicResult::default().with_name(wanted.name);
            topics.push(result.with_partitions(partitions));
        }
        DeleteRecordsResponse::default().with_topics(topics)
    }
}

/// A topic whose oldest records may go: not the broker's own, and not one that keeps the last record of each key.
fn deletable(broker: &Broker, name: &str) -> Result<Arc<Topic>, ErrorCode> {
    let topic = broker
        .topics
        .get(name)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let ours = topic.settings.internal();
    match ours || !topic.settings.config().cleanup_delete {
        true => Err(ErrorCode::PolicyViolation),
        false => Ok(topic),
    }
}

async fn delete(topic: &Topic, wanted: &DeleteRecordsPartition) -> Result<Offset, ErrorCode> {
    let partition = topic
        .partition(wanted.partition_index)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    partition.settled().await;
    let to = target(wanted.offset, partition.high_watermark())?;
    let moved = tokio::task::spawn_blocking(move || partition.delete_below(to))
        .await
        .map_err(|_| ErrorCode::UnknownServerError)?;
    moved.map_err(|failure| match failure {
        ReadFailure::OutOfRange => ErrorCode::OffsetOutOfRange,
        ReadFailure::NotLeader => ErrorCode::NotLeaderOrFollower,
        failure => {
            let topic = topic.settings.name();
            tracing::error!(topic, index = wanted.partition_index, %failure, "cannot delete records");
            ErrorCode::KafkaStorageError
        }
    })
}

fn target(offset: Offset, high_watermark: Offset) -> Result<Offset, ErrorCode> {
    match offset {
        HIGH_WATERMARK => Ok(high_watermark),
        offset if (0..=high_watermark).contains(&offset) => Ok(offset),
        _ => Err(ErrorCode::OffsetOutOfRange),
    }
}

fn respond(index: i32, moved: Result<Offset, ErrorCode>) -> DeleteRecordsPartitionResult {
    let result = DeleteRecordsPartitionResult::default().with_partition_index(index);
    match moved {
        Ok(log_start) => result.with_low_watermark(log_start),
        Err(code) => result.with_low_watermark(-1).with_error_code(code.code()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_go_up_to_what_consumers_see() {
        assert_eq!(target(HIGH_WATERMARK, 7), Ok(7));
        assert_eq!((target(0, 7), target(7, 7)), (Ok(0), Ok(7)));
        for offset in [8, -2, i64::MAX, i64::MIN] {
            assert_eq!(target(offset, 7), Err(ErrorCode::OffsetOutOfRange));
        }
    }
}
