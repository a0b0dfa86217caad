//! ListOffsets (key 2), versions 1 to 10: latest, earliest, greatest timestamp (KIP-734), earliest local (KIP-405),
//! and the first record at or after a time.

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use tidegate_protocol::error::ErrorCode;

use super::fetch::{check_epoch, error_code};
use super::{KafkaApi, RequestContext};
use crate::broker::Broker;
use crate::partition::{Isolation, Partition};
use crate::topics::Topic;

pub(crate) struct ListOffsets;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
/// First version that carries leader epochs.
const EPOCHS: i16 = 4;

impl KafkaApi for ListOffsets {
    const KEY: i16 = 2;
    const SERVED: RangeInclusive<i16> = 1..=10;
    type Request = ListOffsetsRequest;

    async fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        request: ListOffsetsRequest,
    ) -> ListOffsetsResponse {
        let version = context.head.api_version;
        let isolation = match request.isolation_level {
            0 => Isolation::ReadUncommitted,
            _ => Isolation::ReadCommitted,
        };
        let mut topics = Vec::with_capacity(request.topics.len());
        for wanted in request.topics {
            let topic = broker.topics.get(&wanted.name);
            let mut partitions = Vec::with_capacity(wanted.partitions.len());
            for partition in &wanted.partitions {
                partitions.push(look_up(topic.as_deref(), partition, isolation, version).await);
            }
            topics.push(
                ListOffsetsTopicResponse::default()
                    .with_name(wanted.name)
                    .with_partitions(partitions),
            );
        }
        ListOffsetsResponse::default().with_topics(topics)
    }
}

async fn look_up(
    topic: Option<&Topic>,
    wanted: &ListOffsetsPartition,
    isolation: Isolation,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let response = ListOffsetsPartitionResponse::default()
        .with_partition_index(wanted.partition_index)
        .with_timestamp(-1)
        .with_offset(-1);
    let found = match topic.and_then(|topic| topic.partition(wanted.partition_index)) {
        None => Err(ErrorCode::UnknownTopicOrPartition),
        Some(partition) => match check_epoch(&partition, wanted.current_leader_epoch) {
            Err(code) => Err(code),
            Ok(()) if version < since(wanted.timestamp) => Err(ErrorCode::UnsupportedVersion),
            Ok(()) => find(&partition, wanted.timestamp, isolation).await,
        },
    };
    match found {
        Err(code) => response.with_error_code(code.code()),
        Ok(None) => response,
        Ok(Some(found)) => {
            let response = response
                .with_offset(found.offset)
                .with_timestamp(found.timestamp);
            match version >= EPOCHS {
                true => response.with_leader_epoch(found.epoch),
                false => response,
            }
        }
    }
}

/// The first version that may ask so, as Kafka has it.
fn since(timestamp: i64) -> i16 {
    match timestamp {
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        _ => 0,
    }
}

struct Found {
    offset: i64,
    timestamp: i64,
    epoch: i32,
}

async fn find(
    partition: &Arc<Partition>,
    timestamp: i64,
    isolation: Isolation,
) -> Result<Option<Found>, ErrorCode> {
    let epoch = partition.leader_epoch().0;
    let bound = |offset| {
        Ok(Some(Found {
            offset,
            timestamp: -1,
            epoch,
        }))
    };
    if timestamp == LATEST || timestamp == MAX_TIMESTAMP || timestamp >= 0 {
        partition.settled().await;
    }
    match timestamp {
        LATEST => bound(partition.visible_end(isolation)),
        EARLIEST | EARLIEST_LOCAL => bound(partition.log_start()),
        LATEST_TIERED => Ok(None),
        MAX_TIMESTAMP => {
            let found = partition
                .offset_of_max_time(isolation)
                .await
                .map_err(|e| error_code(&e))?;
            Ok(found.map(|(offset, timestamp)| Found {
                offset,
                timestamp,
                epoch,
            }))
        }
        time if time >= 0 => {
            let found = partition
                .offset_for_time(time, isolation)
                .await
                .map_err(|e| error_code(&e))?;
            Ok(found.map(|(offset, timestamp, epoch)| Found {
                offset,
                timestamp,
                epoch,
            }))
        }
        _ => Err(ErrorCode::UnsupportedVersion),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_offsets_came_with_versions() {
        let asked = [-1, -2, -3, -4, -5, 0].map(since);
        assert_eq!(asked, [0, 0, 7, 8, 9, 0]);
    }
}
