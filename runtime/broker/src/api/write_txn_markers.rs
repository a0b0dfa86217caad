//! WriteTxnMarkers (key 27), version 1: what coordinators send to partitions, and how an operator aborts a transaction that
//! hangs in one partition (KIP-664, `kafka-transactions.sh abort`).

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::write_txn_markers_request::WritableTxnMarker;
use kafka_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use kafka_protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use tidegate_protocol::error::ErrorCode;

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;
use crate::partition::Marker;
use crate::transactions::{TRANSACTIONS_TOPIC, write_marker};

pub(crate) struct WriteTxnMarkers;

impl KafkaApi for WriteTxnMarkers {
    const KEY: i16 = 27;
    const SERVED: RangeInclusive<i16> = 1..=1;
    type Request = WriteTxnMarkersRequest;

    async fn handle(
        broker: &Arc<Broker>,
        _context: &RequestContext,
        request: WriteTxnMarkersRequest,
    ) -> WriteTxnMarkersResponse {
        let mut results = Vec::with_capacity(request.markers.len());
        for marker in request.markers {
            results.push(write(broker, marker).await);
        }
        WriteTxnMarkersResponse::default().with_markers(results)
    }
}

async fn write(broker: &Arc<Broker>, request: WritableTxnMarker) -> WritableTxnMarkerResult {
    let marker = Marker {
        producer_id: request.producer_id.0,
        producer_epoch: request.producer_epoch,
        coordinator_epoch: request.coordinator_epoch,
        commit: request.transaction_result,
    };
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for index in topic.partition_indexes {
            partitions.push(
                WritableTxnMarkerPartitionResult::default()
                    .with_partition_index(index)
                    .with_error_code(write_one(broker, &topic.name, index, marker).await),
            );
        }
        topics.push(
            WritableTxnMarkerTopicResult::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    WritableTxnMarkerResult::default()
        .with_producer_id(request.producer_id)
        .with_topics(topics)
}

async fn write_one(broker: &Arc<Broker>, topic: &str, index: i32, marker: Marker) -> i16 {
    if marker.producer_id < 0 || marker.producer_epoch < 0 {
        return ErrorCode::InvalidRequest.code();
    }
    // Holds no transactions of anybody.
    if topic == TRANSACTIONS_TOPIC {
        return ErrorCode::InvalidTopicException.code();
    }
    match write_marker(broker, topic, index, marker).await {
        None => ErrorCode::UnknownTopicOrPartition.code(),
        Some(Ok(_)) => 0,
        Some(Err(failure)) => failure.code.code(),
    }
}
