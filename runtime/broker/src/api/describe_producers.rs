//! DescribeProducers (key 61), version 0 (KIP-664): the idempotent producers that a partition remembers.

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId};
use tidegate_protocol::error::ErrorCode;
use tidegate_record::Offset;

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;
use crate::partition::{KnownProducer, Partition};

pub(crate) struct DescribeProducers;

impl KafkaApi for DescribeProducers {
    const KEY: i16 = 61;
    const SERVED: RangeInclusive<i16> = 0..=0;
    type Request = DescribeProducersRequest;

    async fn handle(
        broker: &Arc<Broker>,
        _context: &RequestContext,
        request: DescribeProducersRequest,
    ) -> DescribeProducersResponse {
        let topics = request
            .topics
            .into_iter()
            .map(|wanted| {
                let topic = broker.topics.get(&wanted.name);
                let describe = |&index: &i32| {
                    let partition = topic.as_ref().and_then(|topic| topic.partition(index));
                    respond(index, partition.as_deref())
                };
                let partitions = wanted.partition_indexes.iter().map(describe).collect();
                TopicResponse::default()
                    .with_name(wanted.name)
                    .with_partitions(partitions)
            })
            .collect();
        DescribeProducersResponse::default().with_topics(topics)
    }
}

fn respond(index: i32, partition: Option<&Partition>) -> PartitionResponse {
    let response = PartitionResponse::default().with_partition_index(index);
    match partition {
        None => response.with_error_code(ErrorCode::UnknownTopicOrPartition.code()),
        Some(partition) => {
            response.with_active_producers(partition.producers().iter().map(state).collect())
        }
    }
}

fn state((producer, transaction_start): &(KnownProducer, Option<Offset>)) -> ProducerState {
    ProducerState::default()
        .with_producer_id(ProducerId(producer.id))
        .with_producer_epoch(i32::from(producer.epoch))
        .with_last_sequence(producer.last_sequence)
        .with_last_timestamp(producer.last_used_ms)
        .with_coordinator_epoch(producer.coordinator_epoch)
        .with_current_txn_start_offset(transaction_start.unwrap_or(-1))
}
