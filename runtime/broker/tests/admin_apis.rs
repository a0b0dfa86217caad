//! The admin APIs of a running broker, over its socket, at every version they are served in.

use kafka_protocol::messages::alter_configs_request as legacy;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::incremental_alter_configs_request as incremental;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{
    AlterConfigsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest,
    DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest,
    IncrementalAlterConfigsRequest, MetadataRequest, TopicName,
};
use tidegate_protocol::StrBytes;
use tidegate_protocol::error::ErrorCode;
use uuid::Uuid;

mod common;

use common::Client;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

impl Client {
    async fn create(
        &mut self,
        version: i16,
        topics: Vec<CreatableTopic>,
        validate_only: bool,
    ) -> Vec<CreatableTopicResult> {
        let request = CreateTopicsRequest::default()
            .with_topics(topics)
            .with_validate_only(validate_only);
        self.call(version, &request).await.topics
    }

    async fn metadata(
        &mut self,
        version: i16,
        names: &[&str],
        create: bool,
    ) -> Vec<MetadataResponseTopic> {
        let topics = names
            .iter()
            .map(|n| MetadataRequestTopic::default().with_name(Some(name(n))))
            .collect();
        let request = MetadataRequest::default()
            .with_topics(Some(topics))
            .with_allow_auto_topic_creation(create || version < 4);
        self.call(version, &request).await.topics
    }

    async fn describe(&mut self, kind: i8, resource: &str, keys: &[&str]) -> DescribeConfigsResult {
        let keys = keys.iter().map(|key| text(key)).collect();
        let resource = DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(resource))
            .with_configuration_keys(Some(keys));
        let request = DescribeConfigsRequest::default()
            .with_resources(vec![resource])
            .with_include_synonyms(true)
            .with_include_documentation(true);
        self.call(4, &request).await.results.remove(0)
    }

    async fn value(&mut self, kind: i8, resource: &str, key: &str) -> (Option<String>, i8) {
        let mut result = self.describe(kind, resource, &[key]).await;
        let config: DescribeConfigsResourceResult = result.configs.remove(0);
        (
            config.value.map(|value| value.to_string()),
            config.config_source,
        )
    }

    async fn edit(
        &mut self,
        kind: i8,
        resource: &str,
        edits: &[(&str, i8, &str)],
        validate_only: bool,
    ) -> (i16, String) {
        let configs = edits.iter().map(|(name, operation, value)| {
            incremental::AlterableConfig::default()
                .with_name(text(name))
                .with_config_operation(*operation)
                .with_value((*operation != 1).then(|| text(value)))
        });
        let resource = incremental::AlterConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(resource))
            .with_configs(configs.collect());
        let request = IncrementalAlterConfigsRequest::default()
            .with_resources(vec![resource])
            .with_validate_only(validate_only);
        let response = self.call(1, &request).await.responses.remove(0);
        (
            response.error_code,
            response.error_message.unwrap_or_default().to_string(),
        )
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn name(name: &str) -> TopicName {
    TopicName(text(name))
}

fn topic(n: &str, partitions: i32) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(name(n))
        .with_num_partitions(partitions)
        .with_replication_factor(-1)
}

fn with_config(topic: CreatableTopic, key: &str, value: &str) -> CreatableTopic {
    let config = CreatableTopicConfig::default()
        .with_name(text(key))
        .with_value(Some(text(value)));
    topic.with_configs(vec![config])
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_created_found_grown_and_deleted_at_every_version() {
    let mut client = Client::start().await;
    let mut last = String::new();
    for version in 2..=7 {
        let n = format!("t{version}");
        let wanted = with_config(topic(&n, 2), "retention.ms", "5000");
        let checked = client.create(version, vec![wanted.clone()], true).await;
        assert_eq!(checked[0].error_code, 0, "{:?}", checked[0].error_message);
        assert!(client.metadata(9, &[&n], false).await[0].error_code == 3);
        let created = client.create(version, vec![wanted], false).await.remove(0);
        assert_eq!(created.error_code, 0, "{:?}", created.error_message);
        if version >= 5 {
            assert_eq!((created.num_partitions, created.replication_factor), (2, 1));
            let configs = created.configs.unwrap();
            let retention = configs
                .iter()
                .find(|c| c.name.as_str() == "retention.ms")
                .unwrap();
            assert_eq!(
                (retention.value.as_deref(), retention.config_source),
                (Some("5000"), 1)
            );
        }
        assert_eq!(created.topic_id.is_nil(), version < 7);
        last = n;
    }
    for version in 0..=13 {
        let found = client.metadata(version, &[&last], false).await.remove(0);
        assert_eq!(
            (found.error_code, found.partitions.len()),
            (0, 2),
            "version {version}"
        );
        assert_eq!(found.partitions[1].leader_id.0, 1);
        assert_eq!(found.topic_id.is_nil(), version < 10);
        // Below version 1 an empty list is all topics.
        let none = client.metadata(version, &[], false).await;
        assert_eq!(none.len(), if version == 0 { 6 } else { 0 });
        if version >= 1 {
            let request = MetadataRequest::default().with_topics(None);
            assert_eq!(client.call(version, &request).await.topics.len(), 6);
        }
        if version >= 12 {
            let by_id = MetadataRequestTopic::default()
                .with_name(None)
                .with_topic_id(found.topic_id);
            let unknown = by_id.clone().with_topic_id(Uuid::from_u128(9));
            let request = MetadataRequest::default().with_topics(Some(vec![by_id, unknown]));
            let topics = client.call(version, &request).await.topics;
            assert_eq!(
                topics[0].name.as_deref().map(StrBytes::as_str),
                Some(last.as_str())
            );
            assert_eq!(
                (topics[1].error_code, topics[1].name.is_none()),
                (100, true)
            );
        }
    }
    for version in 0..=3 {
        let grow = |count| {
            let topic = CreatePartitionsTopic::default()
                .with_name(name(&last))
                .with_count(count)
                .with_assignments(None);
            CreatePartitionsRequest::default().with_topics(vec![topic])
        };
        let count = 3 + i32::from(version);
        let checked = client
            .call(version, &grow(count).with_validate_only(true))
            .await;
        assert_eq!(checked.results[0].error_code, 0);
        let grown = client.call(version, &grow(count)).await;
        assert_eq!(
            grown.results[0].error_code, 0,
            "{:?}",
            grown.results[0].error_message
        );
        let refused = client.call(version, &grow(count)).await.results.remove(0);
        assert_eq!(refused.error_code, ErrorCode::InvalidPartitions.code());
        assert!(refused.error_message.unwrap().contains("can only grow"));
    }
    assert_eq!(
        client.metadata(9, &[&last], false).await[0]
            .partitions
            .len(),
        6
    );
    for version in 1..=5 {
        let n = name(&format!("t{}", version + 1));
        let request = DeleteTopicsRequest::default().with_topic_names(vec![n.clone()]);
        assert_eq!(
            client.call(version, &request).await.responses[0].error_code,
            0
        );
        let again = client.call(version, &request).await.responses.remove(0);
        assert_eq!((again.error_code, again.name), (3, Some(n)));
    }
    let id = client.metadata(13, &[&last], false).await[0].topic_id;
    let state = DeleteTopicState::default()
        .with_name(None)
        .with_topic_id(id);
    let request = DeleteTopicsRequest::default().with_topics(vec![state]);
    let deleted = client.call(6, &request).await.responses.remove(0);
    assert_eq!((deleted.error_code, deleted.name), (0, Some(name(&last))));
    assert_eq!(client.call(6, &request).await.responses[0].error_code, 100);
    client.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_topic_is_refused_with_a_code_and_a_sentence() {
    let mut client = Client::start().await;
    client.create(7, vec![topic("there", 1)], false).await;
    let factor = topic("a", 1).with_replication_factor(3);
    let cases = [
        (
            topic("there", 1),
            ErrorCode::TopicAlreadyExists,
            "already exists",
        ),
        (topic("a b", 1), ErrorCode::InvalidTopicException, "letters"),
        (
            topic("__consumer_offsets", 1),
            ErrorCode::InvalidTopicException,
            "broker's own",
        ),
        (topic("a", 0), ErrorCode::InvalidPartitions, "between 1 and"),
        (
            topic("a", i32::MAX),
            ErrorCode::InvalidPartitions,
            "between 1 and",
        ),
        (factor, ErrorCode::InvalidReplicationFactor, "only 1 broker"),
        (
            with_config(topic("a", 1), "retenton.ms", "1"),
            ErrorCode::InvalidConfig,
            "did you mean",
        ),
        (
            with_config(topic("a", 1), "retention.ms", "x"),
            ErrorCode::InvalidConfig,
            "retention.ms",
        ),
        (
            with_config(topic("a", 1), "tidegate.produce.chain", "match"),
            ErrorCode::InvalidConfig,
            "match",
        ),
    ];
    for (wanted, code, says) in cases {
        for validate_only in [true, false] {
            let result = client
                .create(7, vec![wanted.clone()], validate_only)
                .await
                .remove(0);
            let message = result.error_message.unwrap_or_default();
            assert_eq!(result.error_code, code.code(), "{message:?}");
            assert!(message.contains(says), "{message:?} does not say {says}");
        }
    }
    let twice = client
        .create(7, vec![topic("a", 1), topic("a", 1), topic("b", -1)], false)
        .await;
    let codes: Vec<i16> = twice.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [ErrorCode::InvalidRequest.code(), 0]);
    client.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_about_a_topic_creates_it_where_that_is_allowed() {
    let mut client = Client::start().await;
    assert_eq!(client.metadata(4, &["a"], false).await[0].error_code, 3);
    for (version, n) in [(0, "a"), (3, "b"), (4, "c"), (13, "d")] {
        let created = client.metadata(version, &[n], true).await.remove(0);
        assert_eq!(
            (created.error_code, created.partitions.len()),
            (0, 1),
            "{n}"
        );
    }
    let refused = client
        .metadata(12, &["a b", "__consumer_offsets"], true)
        .await;
    assert!(refused.iter().all(|topic| topic.error_code == 17));

    let operations = MetadataRequest::default()
        .with_topics(Some(vec![
            MetadataRequestTopic::default().with_name(Some(name("a"))),
        ]))
        .with_include_topic_authorized_operations(true);
    for version in 8..=13 {
        let request = operations
            .clone()
            .with_include_cluster_authorized_operations(version <= 10);
        let response = client.call(version, &request).await;
        assert_eq!(response.topics[0].topic_authorized_operations, 3576);
        let cluster = if version <= 10 { 8096 } else { i32::MIN };
        assert_eq!(response.cluster_authorized_operations, cluster);
        assert_eq!((response.brokers.len(), response.controller_id.0), (1, 1));
    }
    for version in 0..=2 {
        let request = DescribeClusterRequest::default();
        let response = client.call(version, &request).await;
        assert_eq!(response.error_code, 0);
        let port = i32::from(client.running.kafka_addresses()[0].port());
        assert_eq!(
            (response.brokers[0].port, response.brokers[0].host.as_str()),
            (port, "127.0.0.1")
        );
        assert!(!response.cluster_id.is_empty());
    }
    for version in 0..=2 {
        let ask = |n: &str, offset| {
            let partition = DeleteRecordsPartition::default().with_offset(offset);
            let topic = DeleteRecordsTopic::default()
                .with_name(name(n))
                .with_partitions(vec![partition]);
            DeleteRecordsRequest::default().with_topics(vec![topic])
        };
        for (n, offset, code, low) in [("a", -1, 0, 0), ("a", 1, 1, -1), ("x", 0, 3, -1)] {
            let response = client.call(version, &ask(n, offset)).await;
            let partition = &response.topics[0].partitions[0];
            assert_eq!(
                (partition.error_code, partition.low_watermark),
                (code, low),
                "{n}"
            );
        }
    }
    client.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn configs_are_described_edited_and_replaced() {
    let mut client = Client::start().await;
    client.create(7, vec![topic("t", 1)], false).await;

    for version in 1..=4 {
        let resources = [
            (TOPIC, "t"),
            (BROKER, "1"),
            (BROKER, ""),
            (TOPIC, "x"),
            (BROKER, "2"),
            (8, "1"),
        ];
        let resources = resources.map(|(kind, resource)| {
            DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(resource))
                .with_configuration_keys(None)
        });
        let request = DescribeConfigsRequest::default()
            .with_resources(resources.to_vec())
            .with_include_synonyms(true);
        let results = client.call(version, &request).await.results;
        let codes: Vec<i16> = results.iter().map(|result| result.error_code).collect();
        assert_eq!(codes, [0, 0, 0, 3, 42, 42]);
        assert!(results[0].configs.len() > 20 && results[1].configs.len() > 50);
        assert!(results[2].configs.is_empty());
    }
    let chain = client
        .describe(TOPIC, "t", &["tidegate.produce.chain"])
        .await
        .configs
        .remove(0);
    assert_eq!((chain.config_type, chain.config_source), (7, 5));
    assert!(chain.documentation.unwrap().contains("alias"));

    let set = [
        ("retention.ms", 0, "7000"),
        ("cleanup.policy", 2, "compact"),
    ];
    assert_eq!(client.edit(TOPIC, "t", &set, true).await.0, 0);
    assert_eq!(client.value(TOPIC, "t", "retention.ms").await.1, 5);
    assert_eq!(client.edit(TOPIC, "t", &set, false).await.0, 0);
    assert_eq!(
        client.value(TOPIC, "t", "retention.ms").await,
        (Some("7000".into()), 1)
    );
    let policy = client.value(TOPIC, "t", "cleanup.policy").await;
    assert_eq!(policy, (Some("delete,compact".into()), 1));
    client
        .edit(
            TOPIC,
            "t",
            &[("cleanup.policy", 3, "delete"), ("retention.ms", 1, "")],
            false,
        )
        .await;
    assert_eq!(
        client
            .value(TOPIC, "t", "cleanup.policy")
            .await
            .0
            .as_deref(),
        Some("compact")
    );
    assert_eq!(client.value(TOPIC, "t", "retention.ms").await.1, 5);

    // Settings of a plugin may come before the chain that it stands in, and are not shown until it is known.
    let early = [("tidegate.plugin.match.value", 0, "secret?")];
    assert_eq!(client.edit(TOPIC, "t", &early, false).await.0, 0);
    assert_eq!(client.value(TOPIC, "t", early[0].0).await, (None, 1));

    for (edit, code, says) in [
        (("tidegate.produce.chain", 0, "match"), 40, "match"),
        (("retention.ms", 0, "x"), 40, "retention.ms"),
        (("retention.ms", 2, "1"), 40, "only lists"),
        (("retention.ms", 9, "1"), 42, "not an operation"),
        (("tidegate.consume.chain", 0, "a,a"), 40, "twice"),
    ] {
        let (got, message) = client.edit(TOPIC, "t", &[edit], false).await;
        assert_eq!(got, code, "{message}");
        assert!(message.contains(says), "{message}");
    }
    assert_eq!(client.edit(TOPIC, "x", &[], false).await.0, 3);

    for version in 0..=2 {
        let config = legacy::AlterableConfig::default()
            .with_name(text("segment.ms"))
            .with_value(Some(text("60000")));
        let resource = legacy::AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text("t"))
            .with_configs(vec![config]);
        let request = AlterConfigsRequest::default().with_resources(vec![resource.clone()]);
        assert_eq!(
            client.call(version, &request).await.responses[0].error_code,
            0
        );
        let twice = request.with_resources(vec![resource.clone(), resource]);
        let responses = client.call(version, &twice).await.responses;
        assert!(responses.iter().all(|response| response.error_code == 42));
    }
    assert_eq!(
        client.value(TOPIC, "t", "segment.ms").await,
        (Some("60000".into()), 1)
    );
    assert_eq!(client.value(TOPIC, "t", "cleanup.policy").await.1, 5);

    for (resource, value, source) in [("", "9000", 3), ("1", "9001", 2)] {
        let set = [("log.retention.ms", 0, value)];
        assert_eq!(client.edit(BROKER, resource, &set, false).await.0, 0);
        assert_eq!(
            client.value(TOPIC, "t", "retention.ms").await,
            (Some(value.into()), source)
        );
        assert_eq!(
            client.value(BROKER, "1", "log.retention.ms").await,
            (Some(value.into()), source)
        );
        assert_eq!(
            client.value(BROKER, "", "log.retention.ms").await,
            (Some("9000".into()), 3)
        );
    }
    let (code, message) = client
        .edit(BROKER, "", &[("log.dirs", 0, "/x")], false)
        .await;
    assert!(
        code == 40 && message.contains("at start"),
        "{code} {message}"
    );
    let (code, message) = client
        .edit(BROKER, "2", &[("log.retention.ms", 0, "1")], false)
        .await;
    assert!(
        code == 42 && message.contains("broker 1"),
        "{code} {message}"
    );
    client.running.stop().await;
}
