//! DescribeLogDirs (key 35), versions 1 to 4 (KIP-113, KIP-827): what each partition takes of the disk.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;
use crate::topics::Topic;

pub(crate) struct DescribeLogDirs;

/// First version with the sizes of the file system.
const VOLUME: i16 = 4;

impl KafkaApi for DescribeLogDirs {
    const KEY: i16 = 35;
    const SERVED: RangeInclusive<i16> = 1..=4;
    type Request = DescribeLogDirsRequest;

    async fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        request: DescribeLogDirsRequest,
    ) -> DescribeLogDirsResponse {
        let topics = match request.topics {
            None => broker
                .topics
                .all()
                .iter()
                .map(|topic| describe(topic, |_| true))
                .collect(),
            Some(wanted) => wanted
                .into_iter()
                .filter_map(|wanted| {
                    let topic = broker.topics.get(&wanted.topic)?;
                    let asked: HashSet<i32> = wanted.partitions.into_iter().collect();
                    Some(describe(&topic, |index| asked.contains(&index)))
                })
                .collect(),
        };
        let dir = broker.config.log_dir();
        let result = DescribeLogDirsResult::default()
            .with_log_dir(StrBytes::from_string(dir.display().to_string()))
            .with_topics(topics);
        let result = match (context.head.api_version >= VOLUME, volume(&dir)) {
            (true, Some((total, usable))) => {
                result.with_total_bytes(total).with_usable_bytes(usable)
            }
            _ => result,
        };
        DescribeLogDirsResponse::default().with_results(vec![result])
    }
}

/// Bytes of the file system that holds the directory, and those of them that are free for us.
fn volume(dir: &Path) -> Option<(i64, i64)> {
    let volume = rustix::fs::statvfs(dir).ok()?;
    let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(volume.f_frsize)).ok();
    Some((bytes(volume.f_blocks)?, bytes(volume.f_bavail)?))
}

fn describe(topic: &Topic, wanted: impl Fn(i32) -> bool) -> DescribeLogDirsTopic {
    let partitions = topic.partitions().into_iter();
    let partitions = partitions.filter(|partition| wanted(partition.index));
    let name = topic.settings.name().to_owned();
    DescribeLogDirsTopic::default()
        .with_name(TopicName(StrBytes::from_string(name)))
        .with_partitions(
            partitions
                .map(|partition| {
                    let size = i64::try_from(partition.size_bytes()).unwrap_or(i64::MAX);
                    DescribeLogDirsPartition::default()
                        .with_partition_index(partition.index)
                        .with_partition_size(size)
                })
                .collect(),
        )
}
