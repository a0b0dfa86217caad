//! What configs do, over a socket: where values come from, what changes while the broker runs, what is refused.

use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, DescribeConfigsRequest, FetchRequest,
    IncrementalAlterConfigsRequest, ProduceRequest, TopicName,
};
use tidegate_broker::{ServeOptions, ServerConfig};
use tidegate_protocol::StrBytes;
use tidegate_record::{Batch, BatchBuilder, Codec, RecordParts};

mod common;

use common::{Client, Connection};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const INVALID_CONFIG: i16 = 40;
const INVALID_TIMESTAMP: i16 = 32;

// DescribeConfigs' numbers of where a value comes from.
const OF_TOPIC: i8 = 1;
const OF_BROKER: i8 = 2;
const OF_ALL_BROKERS: i8 = 3;
const OF_FILE: i8 = 4;
const OF_DEFAULT: i8 = 5;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

impl Client {
    /// The error of creating a topic with these configs, and what is said about it.
    async fn create(&mut self, name: &str, configs: &[(&str, &str)]) -> (i16, String) {
        let configs = configs.iter().map(|(name, value)| {
            CreatableTopicConfig::default()
                .with_name(text(name))
                .with_value(Some(text(value)))
        });
        let wanted = CreatableTopic::default()
            .with_name(topic(name))
            .with_num_partitions(1)
            .with_replication_factor(-1)
            .with_configs(configs.collect());
        let request = CreateTopicsRequest::default().with_topics(vec![wanted]);
        let created = self.call(7, &request).await.topics.remove(0);
        let message = created.error_message.unwrap_or_default();
        (created.error_code, message.to_string())
    }

    /// Sets a config, or removes it.
    async fn alter(
        &mut self,
        kind: i8,
        resource: &str,
        name: &str,
        value: Option<&str>,
    ) -> (i16, String) {
        let config = AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(i8::from(value.is_none()))
            .with_value(value.map(text));
        let resource = AlterConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(resource))
            .with_configs(vec![config]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let altered = self.call(1, &request).await.responses.remove(0);
        let message = altered.error_message.unwrap_or_default();
        (altered.error_code, message.to_string())
    }

    async fn describe(
        &mut self,
        kind: i8,
        resource: &str,
        name: &str,
    ) -> DescribeConfigsResourceResult {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(resource))
            .with_configuration_keys(Some(vec![text(name)]));
        let request = DescribeConfigsRequest::default()
            .with_resources(vec![resource])
            .with_include_synonyms(true)
            .with_include_documentation(true);
        let mut result = self.call(4, &request).await.results.remove(0);
        assert_eq!(result.error_code, 0, "{:?}", result.error_message);
        result.configs.remove(0)
    }

    /// Name, value and source of every layer, strongest first.
    async fn layers(&mut self, kind: i8, resource: &str, name: &str) -> Vec<(String, String, i8)> {
        let config = self.describe(kind, resource, name).await;
        let layer = |synonym: &kafka_protocol::messages::describe_configs_response::DescribeConfigsSynonym| {
            let value = synonym.value.clone().unwrap_or_default();
            (synonym.name.to_string(), value.to_string(), synonym.source)
        };
        let layers: Vec<_> = config.synonyms.iter().map(layer).collect();
        let first = layers
            .first()
            .map(|(_, value, source)| (value.clone(), *source));
        let told = config
            .value
            .map(|value| (value.to_string(), config.config_source));
        assert_eq!(told, first);
        layers
    }

    async fn produce(&mut self, name: &str, batch: Bytes) -> PartitionProduceResponse {
        let data = PartitionProduceData::default()
            .with_index(0)
            .with_records(Some(batch));
        let data = TopicProduceData::default()
            .with_name(topic(name))
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(10_000)
            .with_topic_data(vec![data]);
        let mut response = self.call(9, &request).await;
        response.responses.remove(0).partition_responses.remove(0)
    }

    async fn fetch(&mut self, name: &str) -> Bytes {
        let partition = FetchPartition::default()
            .with_partition(0)
            .with_partition_max_bytes(1 << 24);
        let wanted = FetchTopic::default()
            .with_topic(topic(name))
            .with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_max_wait_ms(1_000)
            .with_min_bytes(1)
            .with_max_bytes(1 << 24)
            .with_topics(vec![wanted]);
        let mut response = self.call(11, &request).await;
        let mut data = response.responses.remove(0).partitions.remove(0);
        data.records.take().unwrap_or_default()
    }
}

fn batch(codec: Codec, records: &[(i64, &[u8])]) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    for (timestamp, value) in records {
        let record = RecordParts {
            timestamp: *timestamp,
            value: Some(value),
            ..RecordParts::default()
        };
        builder.push(record).unwrap();
    }
    builder.build().unwrap().into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn values_come_from_the_strongest_layer_and_survive_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("server.properties");
    std::fs::write(&file, "log.retention.hours=1\n").unwrap();
    let config = || {
        ServerConfig::load(&ServeOptions {
            config: Some(file.clone()),
            data_dir: Some(data.path().join("data")),
            listen: Some("127.0.0.1:0".into()),
            admin: Some("127.0.0.1:0".into()),
            ..ServeOptions::default()
        })
        .unwrap()
    };
    let mut client = Client::of(config()).await;
    assert_eq!(client.create("t", &[("retention.ms", "5")]).await.0, 0);
    assert_eq!(client.create("u", &[]).await.0, 0);
    let name = "log.retention.ms";
    assert_eq!(client.alter(BROKER, "", name, Some("3000")).await.0, 0);
    assert_eq!(client.alter(BROKER, "1", name, Some("4000")).await.0, 0);
    client.running.stop().await;

    let mut client = Client::of(config()).await;
    let layer = |name: &str, value: &str, source| (name.to_owned(), value.to_owned(), source);
    let below = [
        layer("log.retention.ms", "4000", OF_BROKER),
        layer("log.retention.ms", "3000", OF_ALL_BROKERS),
        layer("log.retention.hours", "3600000", OF_FILE),
        layer("log.retention.hours", "604800000", OF_DEFAULT),
    ];
    assert_eq!(client.layers(TOPIC, "u", "retention.ms").await, below);
    let mut all = vec![layer("retention.ms", "5", OF_TOPIC)];
    all.extend(below.clone());
    assert_eq!(client.layers(TOPIC, "t", "retention.ms").await, all);
    assert_eq!(client.layers(BROKER, "1", name).await, below[..2]);
    assert_eq!(
        client.describe(BROKER, "", name).await.value,
        Some(text("3000"))
    );
    assert!(!client.describe(BROKER, "1", name).await.read_only);
    assert!(client.describe(BROKER, "1", "log.dirs").await.read_only);

    assert_eq!(client.alter(BROKER, "1", name, None).await.0, 0);
    assert_eq!(client.layers(TOPIC, "u", "retention.ms").await, below[1..]);
    for (resource, name, value) in [
        ("1", "log.dirs", "/x"),
        ("1", "tidegate.on.error", "drop"),
        ("", "no.such.config", "1"),
        ("1", "max.connections", "-1"),
        ("", "max.connections.per.ip.overrides", "x"),
    ] {
        let (code, message) = client.alter(BROKER, resource, name, Some(value)).await;
        assert_eq!(code, INVALID_CONFIG, "{name}");
        assert!(message.contains(name), "{message}");
    }
    client.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_does_not_begin_with_retention() {
    let data = tempfile::tempdir().unwrap();
    let config = || {
        ServerConfig::load(&ServeOptions {
            data_dir: Some(data.path().to_owned()),
            listen: Some("127.0.0.1:0".into()),
            admin: Some("127.0.0.1:0".into()),
            ..ServeOptions::default()
        })
        .unwrap()
    };
    let mut client = Client::of(config()).await;
    assert_eq!(client.create("t", &[("retention.ms", "1")]).await.0, 0);
    let old = batch(Codec::None, &[(1, b"old")]);
    assert_eq!(client.produce("t", old).await.error_code, 0);
    client.running.stop().await;

    let mut client = Client::of(config()).await;
    assert!(!client.fetch("t").await.is_empty());
    client.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topic_configs_that_are_not_there_are_refused() {
    let mut client = Client::start().await;
    for (name, value) in [
        ("message.format.version", "3.0"),
        ("message.downconversion.enable", "false"),
        ("remote.storage.enable", "true"),
        ("no.such.config", "1"),
        ("local.retention.ms", "-3"),
    ] {
        let (code, message) = client.create("t", &[(name, value)]).await;
        assert_eq!(code, INVALID_CONFIG, "{name}");
        assert!(message.contains(name), "{message}");
    }
    let fine = [
        ("remote.storage.enable", "false"),
        ("local.retention.ms", "7"),
    ];
    assert_eq!(client.create("t", &fine).await.0, 0);
    client.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_out_of_their_time_are_refused_by_their_index() {
    let mut client = Client::start().await;
    let bounds = [
        ("message.timestamp.before.max.ms", "60000"),
        ("message.timestamp.after.max.ms", "60000"),
    ];
    client.create("bound", &bounds).await;
    client.create("default", &[]).await;
    let stamped = [
        bounds[0],
        bounds[1],
        ("message.timestamp.type", "LogAppendTime"),
    ];
    client.create("stamped", &stamped).await;
    let now = now_ms();
    let (old, new) = (now - 600_000, now + 600_000);
    let refused = async |client: &mut Client, name: &str, times: &[i64], codec| {
        let records: Vec<_> = times.iter().map(|time| (*time, &b"v"[..])).collect();
        let told = client.produce(name, batch(codec, &records)).await;
        let indexes: Vec<_> = told.record_errors.iter().map(|e| e.batch_index).collect();
        if told.error_code != 0 {
            assert_eq!(told.error_code, INVALID_TIMESTAMP);
            let message = told.error_message.unwrap_or_default();
            assert!(message.contains("message.timestamp."), "{message}");
        }
        indexes
    };
    for codec in [Codec::None, Codec::Zstd] {
        let mixed = [now, old, now, new];
        assert_eq!(refused(&mut client, "bound", &mixed, codec).await, [1, 3]);
        // No time at all is no wrong time.
        assert!(
            refused(&mut client, "bound", &[now, -1], codec)
                .await
                .is_empty()
        );
        assert!(
            refused(&mut client, "default", &mixed, codec)
                .await
                .is_empty()
        );
        let far = [old, now + 7_200_000];
        assert_eq!(refused(&mut client, "default", &far, codec).await, [1]);
        assert!(
            refused(&mut client, "stamped", &mixed, codec)
                .await
                .is_empty()
        );
    }
    // The broker's default holds from now on.
    let name = "log.message.timestamp.after.max.ms";
    let day = "86400000";
    assert_eq!(client.alter(BROKER, "", name, Some(day)).await.0, 0);
    let far = [old, now + 7_200_000];
    assert!(
        refused(&mut client, "default", &far, Codec::None)
            .await
            .is_empty()
    );
    client.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_is_capped_by_the_broker_but_for_its_first_batch() {
    let mut client = Client::start_with("fetch.max.bytes=4096\n").await;
    client.create("t", &[]).await;
    let now = now_ms();
    for _ in 0..10 {
        client
            .produce("t", batch(Codec::None, &[(now, &[b'x'; 2_000])]))
            .await;
    }
    let capped = client.fetch("t").await.len();
    assert!((1..=4096 + 2_100).contains(&capped), "{capped}");
    client.create("large", &[]).await;
    for _ in 0..2 {
        client
            .produce("large", batch(Codec::None, &[(now, &[b'x'; 9_000])]))
            .await;
    }
    let one = client.fetch("large").await;
    assert!((9_000..10_000).contains(&one.len()), "{}", one.len());
    client.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn levels_tell_the_broker_how_hard_to_compress() {
    let mut client = Client::start().await;
    let value: Vec<u8> = (0..60_000_u32)
        .flat_map(|n| {
            (n.wrapping_mul(2_654_435_761) >> 20)
                .to_string()
                .into_bytes()
        })
        .collect();
    for (codec, fast, small) in [("gzip", "1", "9"), ("zstd", "-20", "19")] {
        let mut sizes = Vec::new();
        for level in [fast, small] {
            let name = format!("{codec}{}", level.trim_start_matches('-'));
            let key = format!("compression.{codec}.level");
            let configs = [("compression.type", codec), (key.as_str(), level)];
            assert_eq!(client.create(&name, &configs).await.0, 0);
            let sent = batch(Codec::None, &[(1, &value)]);
            assert_eq!(client.produce(&name, sent).await.error_code, 0);
            let stored = Batch::check(client.fetch(&name).await).unwrap();
            assert_eq!(stored.codec().unwrap().name(), codec);
            sizes.push(stored.size());
        }
        assert!(sizes[1] < sizes[0], "{codec}: {sizes:?}");
    }
    client.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_connections_change_while_the_broker_runs() {
    let mut client = Client::start().await;
    let ask = ApiVersionsRequest::default();
    let answered = async |client: &Client| {
        let mut connection = Connection::open(&client.running).await;
        connection.try_call(3, &ask).await.is_some()
    };
    assert!(answered(&client).await);
    for (name, value) in [
        ("max.connections", "1"),
        ("max.connections.per.ip", "1"),
        ("max.connections.per.ip.overrides", "127.0.0.1:1,10.0.0.1:9"),
    ] {
        assert_eq!(client.alter(BROKER, "1", name, Some(value)).await.0, 0);
        assert!(!answered(&client).await, "{name}");
        assert_eq!(client.alter(BROKER, "1", name, None).await.0, 0);
        // The connections that were closed are counted off when they are gone.
        let mut tries = 0;
        while !answered(&client).await {
            tries += 1;
            assert!(tries < 1_000, "{name}");
            tokio::task::yield_now().await;
        }
    }
    client.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_get_the_buffers_that_are_asked_for() {
    let buffers = "socket.send.buffer.bytes=65536\nsocket.receive.buffer.bytes=65536\n\
        socket.listen.backlog.size=16\n";
    let mut client = Client::start_with(buffers).await;
    client.create("t", &[]).await;
    // Answers and requests far larger than the buffers still come through.
    let value = vec![b'x'; 900_000];
    let told = client
        .produce("t", batch(Codec::None, &[(1, &value)]))
        .await;
    assert_eq!(told.error_code, 0);
    assert!(client.fetch("t").await.len() > value.len());
    let told = client
        .describe(BROKER, "1", "socket.send.buffer.bytes")
        .await;
    assert_eq!(told.value, Some(text("65536")));
    client.running.stop().await;
}
