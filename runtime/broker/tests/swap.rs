//! A plugin is swapped again and again while producers write: nothing is lost, nothing runs twice, and along the offsets of
//! a partition the versions stand in the order in which they became the latest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    CreateTopicsRequest, FetchRequest, InitProducerIdRequest, ProduceRequest, TopicName,
};
use tidegate_broker::Running;
use tidegate_protocol::StrBytes;
use tidegate_record::{Batch, BatchBuilder, Codec, DecodeLimits, Producer, RecordParts};

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

use admin::{admin, exchange};
use common::{Client, Connection};

const PARTITIONS: i32 = 3;
const PRODUCERS: u32 = 4;
/// Records of one batch.
const BATCH: u32 = 20;
/// Batches that each producer has acknowledged between two swaps, at least.
const BETWEEN: u64 = 250;
const NOT_ENOUGH_REPLICAS: i16 = 19;

/// A transform that writes this byte over the first one of each value.
fn marker(mark: u8) -> Vec<u8> {
    let bang = "(i32.const 33)";
    assert!(guests::MARK_ALL.contains(bang));
    let run = guests::MARK_ALL.replace(bang, &format!("(i32.const {mark})"));
    guests::Guest::transform(&run).build()
}

struct Load {
    /// Batches acknowledged, by producer.
    acked: Vec<AtomicU64>,
    stop: AtomicBool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn swaps_under_load_lose_nothing_and_run_nothing_twice() {
    let mut client = Client::start().await;
    push(&client.running, "1").await;
    create_topic(&mut client).await;
    let load = Arc::new(Load {
        acked: (0..PRODUCERS).map(|_| AtomicU64::new(0)).collect(),
        stop: AtomicBool::new(false),
    });
    let mut probing = Connection::open(&client.running).await;
    let mut producers = Vec::new();
    for number in 0..PRODUCERS {
        let connection = Connection::open(&client.running).await;
        producers.push(tokio::spawn(write(connection, number, load.clone())));
    }

    // What became the latest, in order, and what was written right after it.
    let mut moves = vec![b'1'];
    let mut probes = Vec::new();
    for step in ["2", "3", "<2", "4", "<1", "<3", "5", "<", "<"] {
        more_batches(&load).await;
        let latest = match step.strip_prefix('<') {
            None => push(&client.running, step).await,
            Some(version) => roll_back(&client.running, version).await,
        };
        let mark = latest.as_bytes()[0];
        moves.push(mark);
        let value = format!("?probe-{}", moves.len());
        let batch = batch(Producer::default(), std::slice::from_ref(&value));
        let offset = produce(&mut probing, 0, batch).await;
        probes.push((offset, mark, value));
    }
    more_batches(&load).await;
    load.stop.store(true, Ordering::Relaxed);
    let mut sent = BTreeSet::new();
    for producer in producers {
        sent.extend(producer.await.unwrap());
    }
    sent.extend(probes.iter().map(|(_, _, value)| value.clone()));

    let mut found = BTreeMap::<String, u32>::new();
    for partition in 0..PARTITIONS {
        let stored = read(&mut client, partition).await;
        let marks: Vec<u8> = stored.iter().map(|(_, mark, _)| *mark).collect();
        assert!(in_order(&marks, &moves), "partition {partition}: {marks:?}");
        if partition == 0 {
            for (offset, mark, value) in &probes {
                let record = stored.iter().find(|(at, _, _)| at == offset).unwrap();
                assert_eq!((&record.1, &record.2), (mark, value), "at {offset}");
            }
        }
        for (_, _, value) in stored {
            *found.entry(value).or_default() += 1;
        }
    }
    assert!(found.values().all(|count| *count == 1), "stored twice");
    assert!(
        found.keys().eq(&sent),
        "{} of {} stored",
        found.len(),
        sent.len()
    );

    let mut shown = 0;
    for version in ["1", "2", "3", "4", "5"] {
        roll_back(&client.running, version).await;
        let answer = admin(&client.running, "GET /v1/topics/t/plugins", b"").await;
        let binding = &answer["bindings"][0];
        assert_eq!(binding["version"], version);
        shown += binding["stats"]["records_in"].as_u64().unwrap();
    }
    assert_eq!(shown, sent.len() as u64, "a plugin saw each record once");
    let requests: u64 = load
        .acked
        .iter()
        .map(|acked| acked.load(Ordering::Relaxed))
        .sum();
    assert!(requests >= 10_000, "{requests}");
    assert_eq!(
        compilations(&client.running).await,
        5,
        "one for each version, none for a request"
    );
    client.running.stop().await;
}

/// Whether marks along the offsets come in the order of these moves, of which some may have met no batch.
fn in_order(marks: &[u8], moves: &[u8]) -> bool {
    let mut at = 0;
    for mark in marks {
        match moves[at..].iter().position(|moved| moved == mark) {
            Some(further) => at += further,
            None => return false,
        }
    }
    true
}

#[test]
fn the_order_of_marks_is_told() {
    assert!(in_order(b"1112233", b"123"));
    assert!(in_order(b"11331", b"1231"));
    assert!(!in_order(b"121", b"123"));
    assert!(!in_order(b"4", b"123"));
}

/// Writes until it is told to stop; gives the values that were acknowledged.
async fn write(mut connection: Connection, number: u32, load: Arc<Load>) -> Vec<String> {
    let request = InitProducerIdRequest::default().with_transactional_id(None);
    let id = connection.call(4, &request).await.producer_id.0;
    let mut sent = Vec::new();
    let mut sequences = [0; PARTITIONS as usize];
    for count in 0.. {
        if load.stop.load(Ordering::Relaxed) {
            break;
        }
        let values: Vec<String> = (0..BATCH)
            .map(|record| format!("?{number}-{count}-{record}"))
            .collect();
        let partition = count % PARTITIONS;
        let sequence = &mut sequences[partition as usize];
        let producer = Producer {
            id,
            epoch: 0,
            base_sequence: *sequence,
        };
        produce(&mut connection, partition, batch(producer, &values)).await;
        *sequence += BATCH as i32;
        sent.extend(values);
        load.acked[number as usize].fetch_add(1, Ordering::Relaxed);
    }
    sent
}

async fn more_batches(load: &Load) {
    let counts = || -> Vec<u64> {
        let counts = load.acked.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).collect()
    };
    let before = counts();
    let moved = async {
        while counts()
            .iter()
            .zip(&before)
            .any(|(now, then)| now - then < BETWEEN)
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), moved).await;
    assert!(waited.is_ok(), "the producers do not move");
}

/// Sends until it is acknowledged, as clients do; gives the base offset.
async fn produce(connection: &mut Connection, partition: i32, batch: Bytes) -> i64 {
    loop {
        let data = PartitionProduceData::default()
            .with_index(partition)
            .with_records(Some(batch.clone()));
        let topic = TopicProduceData::default()
            .with_name(name("t"))
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(30_000)
            .with_topic_data(vec![topic]);
        let mut response = connection.call(9, &request).await;
        let answer = response.responses.remove(0).partition_responses.remove(0);
        match answer.error_code {
            0 => return answer.base_offset,
            NOT_ENOUGH_REPLICAS => continue,
            code => panic!("error {code}: {:?}", answer.error_message),
        }
    }
}

fn batch(producer: Producer, values: &[String]) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.producer = producer;
    for value in values {
        let record = RecordParts {
            timestamp: 1_700_000_000_000,
            value: Some(value.as_bytes()),
            ..RecordParts::default()
        };
        builder.push(record).unwrap();
    }
    builder.build().unwrap().into_bytes()
}

/// Every record of a partition: offset, mark, and the value as it was before the mark.
async fn read(client: &mut Client, index: i32) -> Vec<(i64, u8, String)> {
    let limits = DecodeLimits {
        max_bytes: 64 << 20,
        max_records: 1_000_000,
    };
    let mut found = Vec::new();
    let mut next = 0;
    loop {
        let partition = FetchPartition::default()
            .with_partition(index)
            .with_fetch_offset(next)
            .with_partition_max_bytes(8 << 20);
        let topic = FetchTopic::default()
            .with_topic(name("t"))
            .with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_max_wait_ms(0)
            .with_min_bytes(0)
            .with_max_bytes(8 << 20)
            .with_topics(vec![topic]);
        let mut response = client.call(11, &request).await;
        let mut data = response.responses.remove(0).partitions.remove(0);
        assert_eq!(data.error_code, 0);
        let mut bytes = data.records.take().unwrap_or_default();
        while let Some(batch) = Batch::take(&mut bytes).unwrap() {
            next = batch.last_offset() + 1;
            for record in batch.records(limits).unwrap().iter() {
                let value = record.value.unwrap();
                let original = format!("?{}", std::str::from_utf8(&value[1..]).unwrap());
                let offset = batch.base_offset() + i64::from(record.offset_delta);
                found.push((offset, value[0], original));
            }
        }
        if next >= data.high_watermark {
            return found;
        }
    }
}

async fn create_topic(client: &mut Client) {
    let chain = CreatableTopicConfig::default()
        .with_name(StrBytes::from_static_str("tidegate.produce.chain"))
        .with_value(Some(StrBytes::from_static_str("mark")));
    let topic = CreatableTopic::default()
        .with_name(name("t"))
        .with_num_partitions(PARTITIONS)
        .with_replication_factor(-1)
        .with_configs(vec![chain]);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]);
    let created = client.call(7, &request).await.topics.remove(0);
    assert_eq!(created.error_code, 0, "{:?}", created.error_message);
}

async fn push(running: &Running, version: &str) -> String {
    let wasm = marker(version.as_bytes()[0]);
    let line = format!("PUT /v1/plugins/mark/{version}");
    let pushed = admin(running, &line, &wasm).await;
    assert_eq!(pushed["already"], false, "{pushed}");
    version.to_owned()
}

/// Back to a version, or to the one before where none is named. Gives what is the latest then.
async fn roll_back(running: &Running, version: &str) -> String {
    let body = match version {
        "" => "{}".to_owned(),
        version => format!("{{\"version\": \"{version}\"}}"),
    };
    let answer = admin(running, "POST /v1/plugins/mark/rollback", body.as_bytes()).await;
    answer["latest"].as_str().expect("a rollback").to_owned()
}

async fn compilations(running: &Running) -> u64 {
    let text = exchange(running, "GET /metrics", b"").await;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("tidegate_plugin_compilations_total "));
    line.expect("the counter").trim().parse().unwrap()
}

fn name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}
