//! What plugins cost a broker over its life: compiled once, never for a request, and not again at a restart.

use std::fmt::Write;
use std::path::Path;

use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, TopicName};
use tidegate_broker::{ServeOptions, ServerConfig};
use tidegate_protocol::StrBytes;
use tidegate_record::{BatchBuilder, Codec, RecordParts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

mod common;
#[path = "../../plugin/tests/suite/guests.rs"]
#[allow(dead_code, reason = "the plugin host's tests use all of it")]
mod guests;

use common::Client;
use guests::{BY_VALUE, Guest};

const PLUGINS: u8 = 50;
const REQUESTS: usize = 10_000;

/// A configuration with so many plugins, each bound to a topic of its own.
fn configuration(directory: &Path, plugins: u8) -> ServerConfig {
    let mut toml = String::new();
    for number in 0..plugins {
        let mut wasm = Guest::filter(BY_VALUE).build();
        // A custom section makes another digest.
        wasm.extend([0, 3, 1, b'n', number]);
        std::fs::write(directory.join(format!("p{number}.wasm")), wasm).unwrap();
        let _ = write!(
            toml,
            "[[plugin]]\nname = \"p{number}\"\nversion = \"1\"\npath = \"p{number}.wasm\"\n\
             [topic.t{number}]\npartitions = 1\ntidegate.produce.chain = \"p{number}\"\n"
        );
    }
    let path = directory.join("broker.toml");
    std::fs::write(&path, toml).unwrap();
    ServerConfig::load(&ServeOptions {
        config: Some(path),
        data_dir: Some(directory.join("data")),
        listen: Some("127.0.0.1:0".into()),
        admin: Some("127.0.0.1:0".into()),
        compiler: None,
    })
    .unwrap()
}

/// The value of a metric without labels.
async fn metric(client: &Client, name: &str) -> u64 {
    let mut socket = TcpStream::connect(client.running.admin_address())
        .await
        .unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).await.unwrap();
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.expect("the metric is there").parse().unwrap()
}

async fn compilations_and_hits(client: &Client) -> (u64, u64) {
    (
        metric(client, "tidegate_plugin_compilations_total").await,
        metric(client, "tidegate_plugin_cache_hits_total").await,
    )
}

fn produce(topic: &str, value: &str) -> ProduceRequest {
    let mut builder = BatchBuilder::new(Codec::None);
    builder
        .push(RecordParts {
            timestamp: 1_700_000_000_000,
            value: Some(value.as_bytes()),
            ..RecordParts::default()
        })
        .unwrap();
    let batch = builder.build().unwrap();
    let partition = PartitionProduceData::default()
        .with_index(0)
        .with_records(Some(batch.bytes().clone()));
    let topic = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from(topic.to_owned())))
        .with_partition_data(vec![partition]);
    ProduceRequest::default()
        .with_acks(1)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic])
}

/// Whether the record was taken, and where the partition goes on.
async fn send(client: &mut Client, topic: &str, value: &str) -> i64 {
    let response = client.call(9, &produce(topic, value)).await;
    let partition = &response.responses[0].partition_responses[0];
    assert_eq!(partition.error_code, 0, "{:?}", partition.error_message);
    partition.base_offset
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_with_fifty_plugins_compiles_none() {
    let directory = tempfile::tempdir().unwrap();
    let config = configuration(directory.path(), PLUGINS);
    let first = Client::of(config.clone()).await;
    assert_eq!(compilations_and_hits(&first).await, (PLUGINS.into(), 0));
    first.running.stop().await;

    let mut again = Client::of(config).await;
    assert_eq!(compilations_and_hits(&again).await, (0, PLUGINS.into()));
    for number in 0..PLUGINS {
        send(&mut again, &format!("t{number}"), "keep").await;
    }
    assert_eq!(compilations_and_hits(&again).await, (0, PLUGINS.into()));
    again.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_requests_compile_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut client = Client::of(configuration(directory.path(), 1)).await;
    assert_eq!(compilations_and_hits(&client).await, (1, 0));
    for number in 0..REQUESTS {
        let value = if number % 3 == 0 { "drop" } else { "keep" };
        let offset = send(&mut client, "t0", value).await;
        assert_eq!(offset, number as i64);
    }
    assert_eq!(compilations_and_hits(&client).await, (1, 0));
    client.running.stop().await;
}
