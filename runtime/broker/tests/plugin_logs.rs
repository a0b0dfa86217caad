//! What a plugin logs, as any Kafka client reads it.

use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{CreateTopicsRequest, FetchRequest, ProduceRequest, TopicName};
use serde_json::Value;
use tidegate_protocol::StrBytes;
use tidegate_record::{Batch, BatchBuilder, Codec, DecodeLimits, RecordParts};

#[path = "common/admin.rs"]
mod admin;
mod common;
#[path = "../../plugin/tests/suite/guests.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the plugin host's tests use all of it"
)]
mod guests;

use common::Client;

const LOGS: &str = "__tidegate_plugin_logs";

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_are_read_and_written_by_nobody_else() {
    let mut client = Client::start().await;
    let run = format!(
        "(call $log (i32.const 4) (i32.const 740) (i32.const 11)) {}",
        guests::KEEP_ALL
    );
    let wasm = guests::Guest::filter(&run).build();
    admin::admin(&client.running, "PUT /v1/plugins/chatty/1.2", &wasm).await;
    create_topic(&mut client).await;
    assert_eq!(produce(&mut client, "t").await, 0);

    let (key, line) = first_line(&mut client).await;
    assert_eq!(key, b"chatty");
    let told = ["topic", "alias", "plugin", "version", "level", "message"].map(|f| &line[f]);
    let expected = ["t", "chatty", "chatty", "1.2", "error", "A sentence."].map(Value::from);
    assert_eq!(told, expected.each_ref(), "{line}");
    assert_eq!(line["partition"], 0);

    assert_ne!(
        produce(&mut client, LOGS).await,
        0,
        "clients do not write it"
    );
    let metrics = admin::exchange(&client.running, "GET /metrics", b"").await;
    assert!(metrics.contains("\ntidegate_plugin_log_lines_lost_total 0\n"));
}

async fn create_topic(client: &mut Client) {
    let chain = CreatableTopicConfig::default()
        .with_name(StrBytes::from_static_str("tidegate.produce.chain"))
        .with_value(Some(StrBytes::from_static_str("chatty")));
    let topic = CreatableTopic::default()
        .with_name(name("t"))
        .with_num_partitions(1)
        .with_replication_factor(-1)
        .with_configs(vec![chain]);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]);
    let created = client.call(7, &request).await.topics.remove(0);
    assert_eq!(created.error_code, 0, "{:?}", created.error_message);
}

/// The error code of a produce of one record.
async fn produce(client: &mut Client, topic: &str) -> i16 {
    let mut builder = BatchBuilder::new(Codec::None);
    let record = RecordParts {
        value: Some(b"v"),
        ..RecordParts::default()
    };
    builder.push(record).unwrap();
    let data = PartitionProduceData::default()
        .with_index(0)
        .with_records(Some(builder.build().unwrap().into_bytes()));
    let topic = TopicProduceData::default()
        .with_name(name(topic))
        .with_partition_data(vec![data]);
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic]);
    let mut response = client.call(9, &request).await;
    let answer = response.responses.remove(0).partition_responses.remove(0);
    answer.error_code
}

/// Polls until the topic is there and has a record.
async fn first_line(client: &mut Client) -> (Vec<u8>, Value) {
    let read = async {
        loop {
            let bytes = fetch(client).await;
            if let Some(line) = bytes.and_then(line_of) {
                return line;
            }
        }
    };
    let line = tokio::time::timeout(std::time::Duration::from_secs(30), read).await;
    line.expect("a line in the topic")
}

async fn fetch(client: &mut Client) -> Option<Bytes> {
    let partition = FetchPartition::default()
        .with_partition(0)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default()
        .with_topic(name(LOGS))
        .with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_max_wait_ms(100)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_topics(vec![topic]);
    let mut response = client.call(11, &request).await;
    response.responses.remove(0).partitions.remove(0).records
}

fn line_of(mut bytes: Bytes) -> Option<(Vec<u8>, Value)> {
    let limits = DecodeLimits {
        max_bytes: 1 << 20,
        max_records: 1000,
    };
    let batch = Batch::take(&mut bytes).unwrap()?;
    let records = batch.records(limits).unwrap();
    let record = records.get(0)?;
    let value = serde_json::from_slice(record.value?).expect("JSON");
    Some((record.key?.to_vec(), value))
}

fn name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}
