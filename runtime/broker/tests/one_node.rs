//! What one node says of leaders, replicas, disks, producers and offsets, over its socket.

use bytes::Bytes;
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest, BrokerId, CreateTopicsRequest,
    DeleteRecordsRequest, DescribeLogDirsRequest, DescribeProducersRequest,
    DescribeTopicPartitionsRequest, ElectLeadersRequest, FetchRequest, GroupId,
    InitProducerIdRequest, ListConfigResourcesRequest, ListOffsetsRequest,
    ListPartitionReassignmentsRequest, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetForLeaderEpochRequest, ProduceRequest, TopicName, describe_producers_request,
    describe_topic_partitions_request, elect_leaders_request,
};
use tidegate_protocol::StrBytes;
use tidegate_record::{Batch, BatchBuilder, Codec, DecodeLimits, Producer, RecordParts};

mod common;

use common::Client;

const LIMITS: DecodeLimits = DecodeLimits {
    max_bytes: 1 << 20,
    max_records: 1 << 10,
};

fn name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// A broker with the topic `t` of two partitions.
async fn with_topic() -> Client {
    with_configs("", &[]).await
}

/// The same with a configuration of the broker, and one of the topic.
async fn with_configs(properties: &str, configs: &[(&str, &str)]) -> Client {
    let mut client = Client::start_with(properties).await;
    let config = |(name, value): &(&str, &str)| {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_string((*name).to_owned()))
            .with_value(Some(StrBytes::from_string((*value).to_owned())))
    };
    let topic = CreatableTopic::default()
        .with_name(name("t"))
        .with_num_partitions(2)
        .with_replication_factor(-1)
        .with_configs(configs.iter().map(config).collect());
    let request = CreateTopicsRequest::default().with_topics(vec![topic]);
    let created = client.call(7, &request).await.topics.remove(0);
    assert_eq!(created.error_code, 0, "{:?}", created.error_message);
    client
}

fn batch(producer: Option<(i64, i16)>, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    if let Some((id, epoch)) = producer {
        builder.producer = Producer {
            id,
            epoch,
            base_sequence: 0,
        };
    }
    for value in values {
        let value = Some(value.as_bytes());
        let record = RecordParts {
            timestamp: 1_700_000_000_000,
            value,
            ..RecordParts::default()
        };
        builder.push(record).unwrap();
    }
    builder.build().unwrap().into_bytes()
}

async fn produce(client: &mut Client, batch: Bytes) {
    produce_with(client, -1, batch).await;
}

async fn produce_with(client: &mut Client, acks: i16, batch: Bytes) {
    let data = PartitionProduceData::default()
        .with_index(0)
        .with_records(Some(batch));
    let topic = TopicProduceData::default()
        .with_name(name("t"))
        .with_partition_data(vec![data]);
    let request = ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![topic]);
    let response = client.call(9, &request).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_is_known_by_its_end() {
    let mut client = with_topic().await;
    produce(&mut client, batch(None, &["a", "b", "c"])).await;
    for version in 2..=4 {
        let mut ask = async |index: i32, current: i32, epoch: i32| {
            let partition = OffsetForLeaderPartition::default()
                .with_partition(index)
                .with_current_leader_epoch(current)
                .with_leader_epoch(epoch);
            let topic = OffsetForLeaderTopic::default()
                .with_topic(name("t"))
                .with_partitions(vec![partition]);
            let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
            let mut response = client.call(version, &request).await;
            let end = response.topics.remove(0).partitions.remove(0);
            (end.error_code, end.leader_epoch, end.end_offset)
        };
        assert_eq!(ask(0, -1, 0).await, (0, 0, 3));
        assert_eq!(ask(0, 0, 0).await, (0, 0, 3));
        assert_eq!(ask(0, -1, 9).await, (0, -1, -1), "nobody has heard of it");
        assert_eq!(ask(0, 9, 0).await.0, 75, "UNKNOWN_LEADER_EPOCH");
        assert_eq!(ask(7, -1, 0).await.0, 3, "UNKNOWN_TOPIC_OR_PARTITION");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_without_a_sync_is_at_the_end_of_the_log() {
    // Nothing but a question brings the sync before the minute is over.
    let mut client = with_configs("tidegate.sync.lazy.ms=60000", &[]).await;
    for end in [2, 4] {
        produce_with(&mut client, 1, batch(None, &["a", "b"])).await;
        let partition = ListOffsetsPartition::default().with_timestamp(-1);
        let topic = ListOffsetsTopic::default()
            .with_name(name("t"))
            .with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(vec![topic]);
        let response = client.call(7, &request).await;
        assert_eq!(response.topics[0].partitions[0].offset, end);
    }
    produce_with(&mut client, 1, batch(None, &["a", "b"])).await;
    let partition = DeleteRecordsPartition::default().with_offset(6);
    let topic = DeleteRecordsTopic::default()
        .with_name(name("t"))
        .with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default()
        .with_timeout_ms(1000)
        .with_topics(vec![topic]);
    let response = client.call(2, &request).await;
    let deleted = &response.topics[0].partitions[0];
    assert_eq!((deleted.error_code, deleted.low_watermark), (0, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn log_dirs_tell_what_partitions_take() {
    let mut client = with_topic().await;
    let batch = batch(None, &["a"; 100]);
    let size = batch.len() as i64;
    produce(&mut client, batch).await;
    let every = DescribeLogDirsRequest::default().with_topics(None);
    for version in 1..=4 {
        let all = client.call(version, &every).await;
        let dir = &all.results[0];
        assert_eq!(dir.error_code, 0);
        let topic = dir.topics.iter().find(|topic| topic.name == name("t"));
        let sizes: Vec<_> = topic
            .unwrap()
            .partitions
            .iter()
            .map(|p| p.partition_size)
            .collect();
        assert_eq!(sizes, [size, 0]);
        if version >= 4 {
            assert!(dir.usable_bytes > 0 && dir.total_bytes > dir.usable_bytes);
        }
        let wanted = DescribableLogDirTopic::default()
            .with_topic(name("t"))
            .with_partitions(vec![1, 7]);
        let request = DescribeLogDirsRequest::default().with_topics(Some(vec![wanted]));
        let some = client.call(version, &request).await;
        let partitions = &some.results[0].topics[0].partitions;
        assert_eq!(partitions.len(), 1);
        assert_eq!(partitions[0].partition_index, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_elected_and_nothing_is_moved() {
    let mut client = with_topic().await;
    for version in 0..=2 {
        let topic = elect_leaders_request::TopicPartitions::default()
            .with_topic(name("t"))
            .with_partitions(vec![0, 7]);
        let request = ElectLeadersRequest::default().with_topic_partitions(Some(vec![topic]));
        let mut response = client.call(version, &request).await;
        let results = response.replica_election_results.remove(0).partition_result;
        let codes: Vec<_> = results.iter().map(|result| result.error_code).collect();
        assert_eq!(codes, [84, 3]);
        let every = ElectLeadersRequest::default().with_topic_partitions(None);
        let response = client.call(version, &every).await;
        assert!(response.error_code == 0 && response.replica_election_results.is_empty());
    }
    for version in 0..=1 {
        let to = |index: i32, replicas: Option<&[i32]>| {
            ReassignablePartition::default()
                .with_partition_index(index)
                .with_replicas(replicas.map(|ids| ids.iter().copied().map(BrokerId).collect()))
        };
        let partitions = vec![
            to(0, Some(&[1])),
            to(1, Some(&[1, 2])),
            to(1, Some(&[1, 1])),
            to(1, Some(&[])),
            to(1, None),
            to(7, Some(&[1])),
        ];
        let topic = ReassignableTopic::default()
            .with_name(name("t"))
            .with_partitions(partitions);
        let request = AlterPartitionReassignmentsRequest::default().with_topics(vec![topic]);
        let mut response = client.call(version, &request).await;
        let partitions = response.responses.remove(0).partitions;
        let codes: Vec<_> = partitions.iter().map(|p| p.error_code).collect();
        assert_eq!(codes, [0, 39, 39, 39, 85, 3]);
        let said = partitions[1].error_message.as_deref().unwrap_or_default();
        assert!(said.contains("broker 2"), "{said}");
    }
    let request = ListPartitionReassignmentsRequest::default().with_topics(None);
    let response = client.call(0, &request).await;
    assert!(response.error_code == 0 && response.topics.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_are_shown_with_their_last_sequence() {
    let mut client = with_topic().await;
    let request = InitProducerIdRequest::default().with_transactional_id(None);
    let producer = client.call(4, &request).await;
    assert_eq!(producer.error_code, 0);
    let (id, epoch) = (producer.producer_id, producer.producer_epoch);
    produce(&mut client, batch(Some((id.0, epoch)), &["a", "b"])).await;
    let topic = describe_producers_request::TopicRequest::default()
        .with_name(name("t"))
        .with_partition_indexes(vec![0, 1, 7]);
    let request = DescribeProducersRequest::default().with_topics(vec![topic]);
    let partitions = client.call(0, &request).await.topics.remove(0).partitions;
    let active = &partitions[0].active_producers;
    assert_eq!(active.len(), 1);
    assert_eq!((active[0].producer_id, active[0].last_sequence), (id, 1));
    assert_eq!(active[0].current_txn_start_offset, -1);
    assert!(partitions[1].active_producers.is_empty());
    assert_eq!(partitions[2].error_code, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_an_idle_group_are_deleted() {
    let mut client = with_topic().await;
    let group = GroupId(StrBytes::from_static_str("g"));
    let committed = OffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(5);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(name("t"))
        .with_partitions(vec![committed]);
    let commit = OffsetCommitRequest::default()
        .with_group_id(group.clone())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    let delete = |topic: &str, indexes: &[i32]| {
        let partition =
            |&index: &i32| OffsetDeleteRequestPartition::default().with_partition_index(index);
        let topic = OffsetDeleteRequestTopic::default()
            .with_name(name(topic))
            .with_partitions(indexes.iter().map(partition).collect());
        OffsetDeleteRequest::default()
            .with_group_id(group.clone())
            .with_topics(vec![topic])
    };
    // The coordinator of a group is there a moment after it is first asked for.
    loop {
        let response = client.call(8, &commit).await;
        match response.topics[0].partitions[0].error_code {
            0 => break,
            14 | 15 => tokio::task::yield_now().await,
            code => panic!("{code}"),
        }
    }
    let mut response = client.call(0, &delete("t", &[0, 1, 7])).await;
    assert_eq!(response.error_code, 0);
    let partitions = response.topics.remove(0).partitions;
    let codes: Vec<_> = partitions.iter().map(|p| p.error_code).collect();
    assert_eq!(codes, [0, 0, 3]);
    let mut unknown = delete("t", &[0]);
    unknown.group_id = GroupId(StrBytes::from_static_str("none"));
    assert_eq!(client.call(0, &unknown).await.error_code, 69);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_session_tells_what_changed() {
    let mut client = with_topic().await;
    let poll = |id: i32, epoch: i32, partitions: &[(i32, i64)]| {
        let partition = |&(index, offset): &(i32, i64)| {
            FetchPartition::default()
                .with_partition(index)
                .with_fetch_offset(offset)
                .with_partition_max_bytes(1 << 20)
        };
        let topic = FetchTopic::default()
            .with_topic(name("t"))
            .with_partitions(partitions.iter().map(partition).collect());
        let topics = match partitions.is_empty() {
            true => vec![],
            false => vec![topic],
        };
        FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(10_000)
            .with_min_bytes(0)
            .with_max_bytes(1 << 20)
            .with_session_id(id)
            .with_session_epoch(epoch)
            .with_topics(topics)
    };
    for version in 7..=12 {
        let first = client.call(version, &poll(0, 0, &[(0, 0), (1, 0)])).await;
        let id = first.session_id;
        assert!(id > 0 && first.error_code == 0);
        assert_eq!(first.responses[0].partitions.len(), 2);
        let end = first.responses[0].partitions[0].high_watermark;
        let caught_up = client.call(version, &poll(id, 1, &[(0, end)])).await;
        assert_eq!(caught_up.session_id, id);
        assert!(caught_up.responses.is_empty(), "{version}: {caught_up:?}");
        produce(&mut client, batch(None, &["a"])).await;
        let news = client.call(version, &poll(id, 2, &[])).await;
        let told = &news.responses[0].partitions;
        assert_eq!((told.len(), told[0].partition_index), (1, 0));
        assert!(!told[0].records.as_ref().unwrap().is_empty());
        let lost = client.call(version, &poll(id, 2, &[])).await;
        assert_eq!((lost.error_code, lost.responses.len()), (71, 0));
        let ended = client.call(version, &poll(id, -1, &[(1, 0)])).await;
        assert_eq!((ended.error_code, ended.session_id), (0, 0));
        assert_eq!(client.call(version, &poll(id, 3, &[])).await.error_code, 70);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_keeps_the_latest_of_each_key() {
    let mut client = with_configs(
        "log.cleaner.backoff.ms=20",
        &[
            ("cleanup.policy", "compact"),
            ("min.cleanable.dirty.ratio", "0"),
        ],
    )
    .await;
    for round in 0..10 {
        let mut builder = BatchBuilder::new(Codec::Lz4);
        for key in ["a", "b", "c"] {
            let value = format!("{key}{round}");
            let record = RecordParts {
                timestamp: 1_700_000_000_000,
                key: Some(key.as_bytes()),
                value: Some(value.as_bytes()),
                ..RecordParts::default()
            };
            builder.push(record).unwrap();
        }
        produce(&mut client, builder.build().unwrap().into_bytes()).await;
    }
    let partition = FetchPartition::default()
        .with_partition(0)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default()
        .with_topic(name("t"))
        .with_partitions(vec![partition]);
    let poll = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_bytes(1 << 20)
        .with_topics(vec![topic]);
    // Compaction comes when it comes; until then every record is there.
    loop {
        let response = client.call(4, &poll).await;
        let mut bytes = response.responses[0].partitions[0].records.clone().unwrap();
        let mut found = Vec::new();
        while let Some(batch) = Batch::take(&mut bytes).unwrap() {
            for record in batch.records(LIMITS).unwrap().iter() {
                found.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
            }
        }
        if found == ["a9", "b9", "c9"] {
            break;
        }
        assert!(found.ends_with(&["a9".into(), "b9".into(), "c9".into()]));
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_described_in_pages() {
    let mut client = with_topic().await;
    let asked = |names: &[&str]| {
        names
            .iter()
            .map(|one| {
                describe_topic_partitions_request::TopicRequest::default().with_name(name(one))
            })
            .collect()
    };
    let request = DescribeTopicPartitionsRequest::default()
        .with_topics(asked(&["t", "nosuch"]))
        .with_response_partition_limit(1);
    let first = client.call(0, &request).await;
    let codes: Vec<_> = first.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [3, 0]);
    let topic = &first.topics[1];
    assert_eq!(topic.name, Some(name("t")));
    assert!(!topic.topic_id.is_nil());
    let row = &topic.partitions[0];
    assert_eq!((row.partition_index, row.error_code), (0, 0));
    assert_eq!(row.replica_nodes, [row.leader_id]);
    assert_eq!(row.isr_nodes, [row.leader_id]);

    let cursor = first.next_cursor.unwrap();
    assert_eq!((cursor.topic_name, cursor.partition_index), (name("t"), 1));
    let next = describe_topic_partitions_request::Cursor::default()
        .with_topic_name(name("t"))
        .with_partition_index(1);
    let second = client.call(0, &request.with_cursor(Some(next))).await;
    assert_eq!(second.next_cursor, None);
    assert_eq!(second.topics[0].partitions[0].partition_index, 1);
    assert_eq!(second.topics[0].partitions.len(), 1);

    let all = client
        .call(0, &DescribeTopicPartitionsRequest::default())
        .await;
    assert!(all.topics.iter().any(|topic| topic.name == Some(name("t"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_with_configs_are_listed() {
    let mut client = with_topic().await;
    let none = client.call(0, &ListConfigResourcesRequest::default()).await;
    assert_eq!((none.error_code, none.config_resources.len()), (0, 0));
    let all = client.call(1, &ListConfigResourcesRequest::default()).await;
    let has = |kind: i8, name: &str| {
        let mut rows = all.config_resources.iter();
        rows.any(|row| row.resource_type == kind && row.resource_name == *name)
    };
    assert!(has(2, "t") && has(4, "1"), "{all:?}");
    let topics = ListConfigResourcesRequest::default().with_resource_types(vec![2]);
    let topics = client.call(1, &topics).await;
    assert!(
        topics
            .config_resources
            .iter()
            .all(|row| row.resource_type == 2)
    );
    let unknown = ListConfigResourcesRequest::default().with_resource_types(vec![77]);
    assert_eq!(client.call(1, &unknown).await.error_code, 35);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_already_in_the_only_directory() {
    let mut client = with_topic().await;
    let dirs = DescribeLogDirsRequest::default().with_topics(None);
    let here = client.call(1, &dirs).await.results[0].log_dir.clone();
    for version in 1..=2 {
        for (path, expected) in [
            (here.clone(), [0, 3]),
            (StrBytes::from_static_str("/elsewhere"), [57, 57]),
        ] {
            let topic = AlterReplicaLogDirTopic::default()
                .with_name(name("t"))
                .with_partitions(vec![0, 7]);
            let dir = AlterReplicaLogDir::default()
                .with_path(path)
                .with_topics(vec![topic]);
            let request = AlterReplicaLogDirsRequest::default().with_dirs(vec![dir]);
            let response = client.call(version, &request).await;
            let rows = &response.results[0].partitions;
            let codes: Vec<_> = rows.iter().map(|row| row.error_code).collect();
            assert_eq!(codes, expected);
        }
    }
}
