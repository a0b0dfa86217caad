//! AlterReplicaLogDirs (key 34), versions 1 and 2 (KIP-113). There is one data directory: every replica is there already,
//! so naming it moves nothing, and no other can be named.

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::alter_replica_log_dirs_request::AlterReplicaLogDirTopic;
use kafka_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use kafka_protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};
use tidegate_protocol::error::ErrorCode;

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct AlterReplicaLogDirs;

impl KafkaApi for AlterReplicaLogDirs {
    const KEY: i16 = 34;
    const SERVED: RangeInclusive<i16> = 1..=2;
    type Request = AlterReplicaLogDirsRequest;

    async fn handle(
        broker: &Arc<Broker>,
        _context: &RequestContext,
        request: AlterReplicaLogDirsRequest,
    ) -> AlterReplicaLogDirsResponse {
        let here = broker.config.log_dir().display().to_string();
        let results = request
            .dirs
            .into_iter()
            .flat_map(|dir| {
                let ours = *dir.path == *here;
                dir.topics.into_iter().map(move |topic| (ours, topic))
            })
            .map(|(ours, topic)| stay(broker, ours, topic))
            .collect();
        AlterReplicaLogDirsResponse::default().with_results(results)
    }
}

fn stay(
    broker: &Broker,
    ours: bool,
    wanted: AlterReplicaLogDirTopic,
) -> AlterReplicaLogDirTopicResult {
    let topic = broker.topics.get(&wanted.name);
    let outcome = |index: i32| {
        let known = topic.as_ref().and_then(|topic| topic.partition(index));
        match (ours, known) {
            (false, _) => ErrorCode::LogDirNotFound.code(),
            (true, None) => ErrorCode::UnknownTopicOrPartition.code(),
            (true, Some(_)) => 0,
        }
    };
    let partitions = wanted
        .partitions
        .iter()
        .map(|&index| {
            AlterReplicaLogDirPartitionResult::default()
                .with_partition_index(index)
                .with_error_code(outcome(index))
        })
        .collect();
    AlterReplicaLogDirTopicResult::default()
        .with_topic_name(wanted.name)
        .with_partitions(partitions)
}
