//! DescribeTopicPartitions (key 75), version 0 (KIP-966): what Metadata says of topics, in pages of partitions. Topics go by
//! name, and a cursor names the first partition of the next page.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::describe_topic_partitions_request::Cursor;
use kafka_protocol::messages::describe_topic_partitions_response::{
    self, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::metadata_response::MetadataResponsePartition;
use kafka_protocol::messages::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::metadata::{TOPIC_OPERATIONS, described};
use super::topic_admin::unknown_topic;
use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct DescribeTopicPartitions;

/// Kafka's `max.request.partition.size.limit`.
const MAX_PARTITIONS: usize = 2000;

impl KafkaApi for DescribeTopicPartitions {
    const KEY: i16 = 75;
    const SERVED: RangeInclusive<i16> = 0..=0;
    type Request = DescribeTopicPartitionsRequest;

    async fn handle(
        broker: &Arc<Broker>,
        _context: &RequestContext,
        request: DescribeTopicPartitionsRequest,
    ) -> DescribeTopicPartitionsResponse {
        let names: BTreeSet<String> = match request.topics.is_empty() {
            true => broker
                .image()
                .topics
                .values()
                .map(|topic| topic.name.clone())
                .collect(),
            false => request.topics.iter().map(|t| t.name.to_string()).collect(),
        };
        let limit = usize::try_from(request.response_partition_limit).unwrap_or(0);
        let mut page = Page {
            left: limit.clamp(1, MAX_PARTITIONS),
            topics: Vec::new(),
            next: None,
        };
        let (from, mut first) = start(request.cursor);
        for name in names.into_iter().filter(|name| *name >= from) {
            // A topic that is gone since the last page leaves the next one to begin at its start.
            let skip = if name == from { first } else { 0 };
            first = 0;
            if !page.add(topic(broker, &name), &name, skip) {
                break;
            }
        }
        DescribeTopicPartitionsResponse::default()
            .with_topics(page.topics)
            .with_next_cursor(page.next)
    }
}

/// The topic and the partition that the page begins with.
fn start(cursor: Option<Cursor>) -> (String, usize) {
    match cursor {
        None => (String::new(), 0),
        Some(cursor) => (
            cursor.topic_name.to_string(),
            usize::try_from(cursor.partition_index).unwrap_or(0),
        ),
    }
}

fn topic(broker: &Broker, name: &str) -> DescribeTopicPartitionsResponseTopic {
    let image = broker.image();
    let Some(found) = image.topic(name) else {
        let error = unknown_topic(name);
        return DescribeTopicPartitionsResponseTopic::default()
            .with_error_code(error.code.code())
            .with_name(Some(TopicName(StrBytes::from_string(name.to_owned()))));
    };
    let topic = described(broker, found);
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(topic.error_code)
        .with_name(topic.name)
        .with_topic_id(topic.topic_id)
        .with_is_internal(topic.is_internal)
        .with_topic_authorized_operations(TOPIC_OPERATIONS)
        .with_partitions(topic.partitions.into_iter().map(partition).collect())
}

fn partition(row: MetadataResponsePartition) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition::default()
        .with_error_code(row.error_code)
        .with_partition_index(row.partition_index)
        .with_leader_id(row.leader_id)
        .with_leader_epoch(row.leader_epoch)
        .with_replica_nodes(row.replica_nodes)
        .with_isr_nodes(row.isr_nodes)
        .with_eligible_leader_replicas(Some(Vec::new()))
        .with_last_known_elr(Some(Vec::new()))
        .with_offline_replicas(row.offline_replicas)
}

struct Page {
    /// Partitions that still fit.
    left: usize,
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
    next: Option<describe_topic_partitions_response::Cursor>,
}

impl Page {
    /// Adds a topic's partitions from `skip` on, as many as fit; false when the page is full and says where the next begins.
    fn add(
        &mut self,
        mut topic: DescribeTopicPartitionsResponseTopic,
        name: &str,
        skip: usize,
    ) -> bool {
        let end = topic.partitions.len();
        let fit = end.min(skip.saturating_add(self.left));
        if self.left > 0 {
            topic.partitions.truncate(fit);
            topic.partitions.drain(..skip.min(fit));
            self.left -= topic.partitions.len();
            self.topics.push(topic);
            if fit == end {
                return true;
            }
        }
        self.next = Some(
            describe_topic_partitions_response::Cursor::default()
                .with_topic_name(TopicName(StrBytes::from_string(name.to_owned())))
                .with_partition_index(i32::try_from(fit).unwrap_or(i32::MAX)),
        );
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(partitions: i32) -> DescribeTopicPartitionsResponseTopic {
        let rows = (0..partitions)
            .map(|index| {
                DescribeTopicPartitionsResponsePartition::default().with_partition_index(index)
            })
            .collect();
        DescribeTopicPartitionsResponseTopic::default().with_partitions(rows)
    }

    /// What pages of `limit` say of topics with these many partitions, until there is no cursor.
    fn pages(sizes: &[(&str, i32)], limit: usize) -> Vec<Vec<(String, Vec<i32>)>> {
        let (mut pages, mut from, mut skip) = (Vec::new(), String::new(), 0);
        loop {
            let mut page = Page {
                left: limit,
                topics: Vec::new(),
                next: None,
            };
            let mut names = Vec::new();
            for &(name, partitions) in sizes.iter().filter(|row| row.0 >= from.as_str()) {
                let first = if name == from { skip } else { 0 };
                let went_on = page.add(topic(partitions), name, first);
                names.push(name.to_owned());
                if !went_on {
                    break;
                }
            }
            let rows = page
                .topics
                .iter()
                .map(|topic| topic.partitions.iter().map(|p| p.partition_index).collect());
            pages.push(names.into_iter().zip(rows).collect());
            let Some(next) = page.next else { return pages };
            (from, skip) = (next.topic_name.to_string(), next.partition_index as usize);
            assert!(pages.len() < 20, "pages must end");
        }
    }

    #[test]
    fn pages_hold_every_partition_once_and_in_order() {
        let sizes = [("a", 3), ("b", 1), ("c", 0), ("d", 4)];
        for limit in 1..=9 {
            let mut seen: Vec<(String, i32)> = Vec::new();
            for page in pages(&sizes, limit) {
                let rows: usize = page.iter().map(|(_, rows)| rows.len()).sum();
                assert!(rows <= limit);
                for (name, rows) in page {
                    seen.extend(rows.into_iter().map(|row| (name.clone(), row)));
                }
            }
            let every: Vec<(String, i32)> = sizes
                .iter()
                .flat_map(|(name, count)| (0..*count).map(move |row| ((*name).to_owned(), row)))
                .collect();
            assert_eq!(seen, every, "in pages of {limit}");
        }
    }
}
