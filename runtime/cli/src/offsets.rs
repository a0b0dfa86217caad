//! Offsets of partitions and of groups, as several commands need them.

use std::collections::BTreeMap;

use tidegate_protocol::StrBytes;
use tidegate_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use tidegate_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use tidegate_protocol::messages::{
    BrokerId, ListOffsetsRequest, OffsetCommitRequest, OffsetFetchRequest,
};

use crate::client::{Client, ClientError, RETRY_FOR, check_code, group_id, retry, topic_name};

/// Timestamps that stand for places in a log.
pub(crate) const LATEST: i64 = -1;
pub(crate) const EARLIEST: i64 = -2;

/// A group's committed offset in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// The offset at `timestamp` (or a place) of each partition.
pub(crate) fn list(
    client: &mut Client,
    topic: &str,
    leaders: &BTreeMap<i32, BrokerId>,
    timestamp: i64,
) -> Result<BTreeMap<i32, i64>, ClientError> {
    let mut nodes: BTreeMap<BrokerId, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for (index, leader) in leaders {
        let asked = ListOffsetsPartition::default()
            .with_partition_index(*index)
            .with_timestamp(timestamp);
        nodes.entry(*leader).or_default().push(asked);
    }
    let mut offsets = BTreeMap::new();
    for (node, partitions) in nodes {
        let asked = ListOffsetsTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(partitions);
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(vec![asked]);
        retry(RETRY_FOR, || {
            let response = client.node(node, 5, &request)?;
            for found in response.topics.iter().flat_map(|t| &t.partitions) {
                let what = format!("{topic} partition {}", found.partition_index);
                check_code(found.error_code, what)?;
                offsets.insert(found.partition_index, found.offset);
            }
            Ok(())
        })?;
    }
    Ok(offsets)
}

/// Everything the group has committed.
pub(crate) fn committed(client: &mut Client, group: &str) -> Result<Vec<Committed>, ClientError> {
    let request = OffsetFetchRequest::default()
        .with_group_id(group_id(group))
        .with_topics(None);
    let what = format!("group {group}");
    let response = retry(RETRY_FOR, || {
        let node = client.coordinator(group)?;
        let response = client.node(node, 7, &request)?;
        check_code(response.error_code, &what)?;
        Ok(response)
    })?;
    let mut rows = Vec::new();
    for topic in response.topics {
        for partition in topic.partitions {
            check_code(partition.error_code, &what)?;
            // -1: asked for, never committed.
            if partition.committed_offset >= 0 {
                rows.push(Committed {
                    topic: topic.name.to_string(),
                    partition: partition.partition_index,
                    offset: partition.committed_offset,
                });
            }
        }
    }
    rows.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    Ok(rows)
}

/// Commits without being a member, which the coordinator takes while the group is empty.
pub(crate) fn commit(
    client: &mut Client,
    group: &str,
    topic: &str,
    positions: &BTreeMap<i32, i64>,
) -> Result<(), ClientError> {
    let partition = |(index, offset): (&i32, &i64)| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(*index)
            .with_committed_offset(*offset)
            .with_committed_metadata(Some(StrBytes::new()))
    };
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(positions.iter().map(partition).collect());
    let request = OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    retry(RETRY_FOR, || {
        let node = client.coordinator(group)?;
        let response = client.node(node, 8, &request)?;
        for partition in response.topics.iter().flat_map(|t| &t.partitions) {
            check_code(
                partition.error_code,
                format!("committing for group {group}"),
            )?;
        }
        Ok(())
    })
}
