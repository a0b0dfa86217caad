//! Client quotas over a socket: set, described, and what becomes of clients that use too much.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    AlterClientQuotasRequest, ApiVersionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeClientQuotasRequest, FetchRequest, FetchResponse, MetadataRequest, ProduceRequest,
    ProduceResponse, TopicName,
};
use tidegate_broker::{ServeOptions, ServerConfig};
use tidegate_protocol::StrBytes;
use tidegate_record::{BatchBuilder, Codec, RecordParts};

#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "common/admin.rs"]
mod admin;
mod common;

use admin::exchange;
use common::{Client, Connection};

/// Windows so short that a test need not wait for long: what a quota allows in one second may come at once.
const SHORT: &str = "quota.window.num=2\nquota.window.size.seconds=1\n\
    controller.quota.window.num=1\ncontroller.quota.window.size.seconds=1\n";

const THROTTLING_QUOTA_EXCEEDED: i16 = 89;
const INVALID_REQUEST: i16 = 42;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

/// An entity as pairs of type and name, null for the default.
type Entity<'a> = &'a [(&'a str, Option<&'a str>)];

fn entry(entity: Entity<'_>, ops: &[(&str, Option<f64>)]) -> EntryData {
    let entity = entity.iter().map(|(kind, name)| {
        EntityData::default()
            .with_entity_type(text(kind))
            .with_entity_name(name.map(text))
    });
    let ops = ops.iter().map(|(key, limit)| {
        OpData::default()
            .with_key(text(key))
            .with_value(limit.unwrap_or_default())
            .with_remove(limit.is_none())
    });
    EntryData::default()
        .with_entity(entity.collect())
        .with_ops(ops.collect())
}

impl Client {
    async fn set(&mut self, entity: Entity<'_>, key: &str, limit: Option<f64>) -> i16 {
        let entries = vec![entry(entity, &[(key, limit)])];
        let request = AlterClientQuotasRequest::default().with_entries(entries);
        let mut response = self.call(1, &request).await;
        response.entries.remove(0).error_code
    }

    /// Entities as `type=name` with their limits as `key=limit`; a default has no name.
    async fn described(
        &mut self,
        version: i16,
        components: &[(&str, i8, Option<&str>)],
        strict: bool,
    ) -> Vec<(String, String)> {
        let components = components.iter().map(|(kind, how, name)| {
            ComponentData::default()
                .with_entity_type(text(kind))
                .with_match_type(*how)
                .with_match(name.map(text))
        });
        let request = DescribeClientQuotasRequest::default()
            .with_components(components.collect())
            .with_strict(strict);
        let response = self.call(version, &request).await;
        assert_eq!(response.error_code, 0, "{:?}", response.error_message);
        let rows = response.entries.unwrap();
        rows.iter()
            .map(|row| {
                let entity = row.entity.iter().map(|part| {
                    let name = part.entity_name.as_ref().map_or("", |name| name.as_str());
                    format!("{}={name}", part.entity_type)
                });
                let limits = row.values.iter();
                let limits = limits.map(|value| format!("{}={}", value.key, value.value));
                (
                    entity.collect::<Vec<_>>().join(","),
                    limits.collect::<Vec<_>>().join(","),
                )
            })
            .collect()
    }

    async fn create_topic(&mut self, name: &str) {
        let request = create(name, 1);
        assert_eq!(self.call(7, &request).await.topics[0].error_code, 0);
    }

    async fn counts(&self, line: &str) -> bool {
        let text = exchange(&self.running, "GET /metrics", b"").await;
        text.lines().any(|l| l.starts_with(line))
    }
}

fn create(name: &str, partitions: i32) -> CreateTopicsRequest {
    let wanted = CreatableTopic::default()
        .with_name(topic(name))
        .with_num_partitions(partitions)
        .with_replication_factor(-1);
    CreateTopicsRequest::default().with_topics(vec![wanted])
}

async fn produce(connection: &mut Connection, name: &str, bytes: usize) -> ProduceResponse {
    let mut builder = BatchBuilder::new(Codec::None);
    let value = vec![b'x'; bytes];
    let record = RecordParts {
        timestamp: 1_700_000_000_000,
        value: Some(&value),
        ..RecordParts::default()
    };
    builder.push(record).unwrap();
    let data = PartitionProduceData::default()
        .with_index(0)
        .with_records(Some(builder.build().unwrap().into_bytes()));
    let data = TopicProduceData::default()
        .with_name(topic(name))
        .with_partition_data(vec![data]);
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![data]);
    let response = connection.call(9, &request).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    response
}

async fn fetch(connection: &mut Connection, name: &str, offset: i64) -> FetchResponse {
    let partition = FetchPartition::default()
        .with_partition(0)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20);
    let wanted = FetchTopic::default()
        .with_topic(topic(name))
        .with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_max_wait_ms(1_000)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_session_id(0)
        .with_session_epoch(0)
        .with_topics(vec![wanted]);
    connection.call(11, &request).await
}

fn records(response: &FetchResponse) -> usize {
    let partitions = response.responses.iter().flat_map(|t| &t.partitions);
    let bytes = partitions.map(|p| p.records.as_ref().map_or(0, Bytes::len));
    bytes.sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_are_set_described_and_removed() {
    let mut client = Client::start().await;
    let alice: Entity<'_> = &[("user", Some("alice"))];
    let report: Entity<'_> = &[("user", Some("alice")), ("client-id", Some("report"))];
    let defaults: Entity<'_> = &[("client-id", None)];
    let address: Entity<'_> = &[("ip", Some("10.0.0.1"))];
    for (entity, key, limit) in [
        (alice, "producer_byte_rate", 1000.0),
        (alice, "request_percentage", 12.5),
        (report, "consumer_byte_rate", 2000.0),
        (defaults, "controller_mutation_rate", 3.0),
        (address, "connection_creation_rate", 4.0),
    ] {
        assert_eq!(client.set(entity, key, Some(limit)).await, 0, "{key}");
    }
    for version in 0..=1 {
        assert_eq!(client.described(version, &[], false).await.len(), 4);
        assert!(client.described(version, &[], true).await.is_empty());
    }
    let exact = [("user", 0, Some("alice"))];
    let limits = "producer_byte_rate=1000,request_percentage=12.5";
    assert_eq!(
        client.described(1, &exact, true).await,
        [("user=alice".to_owned(), limits.to_owned())]
    );
    assert_eq!(client.described(1, &exact, false).await.len(), 2);
    let row = |entity: &str, limits: &str| (entity.to_owned(), limits.to_owned());
    assert_eq!(
        client.described(1, &[("client-id", 1, None)], false).await,
        [row("client-id=", "controller_mutation_rate=3")]
    );
    assert_eq!(
        client
            .described(1, &[("client-id", 2, None), ("user", 2, None)], true)
            .await,
        [row(
            "user=alice,client-id=report",
            "consumer_byte_rate=2000"
        )]
    );
    let group: Entity<'_> = &[("group", Some("g"))];
    let nowhere: Entity<'_> = &[("ip", Some("nowhere"))];
    let nobody: Entity<'_> = &[];
    for (entity, key, limit) in [
        (alice, "no_such_key", 1.0),
        (alice, "producer_byte_rate", -1.0),
        (alice, "connection_creation_rate", 1.0),
        (group, "producer_byte_rate", 1.0),
        (nowhere, "connection_creation_rate", 1.0),
        (nobody, "producer_byte_rate", 1.0),
    ] {
        let code = client.set(entity, key, Some(limit)).await;
        assert_eq!(code, INVALID_REQUEST, "{entity:?} {key}");
    }
    assert_eq!(client.set(alice, "producer_byte_rate", None).await, 0);
    assert_eq!(client.set(alice, "request_percentage", None).await, 0);
    assert!(client.described(1, &exact, true).await.is_empty());

    // Only checked.
    let entries = vec![entry(alice, &[("producer_byte_rate", Some(1.0))])];
    let request = AlterClientQuotasRequest::default()
        .with_entries(entries)
        .with_validate_only(true);
    assert_eq!(client.call(1, &request).await.entries[0].error_code, 0);
    assert!(client.described(1, &exact, true).await.is_empty());
    client.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_are_there_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let config = || {
        ServerConfig::load(&ServeOptions {
            data_dir: Some(data.path().join("data")),
            listen: Some("127.0.0.1:0".into()),
            admin: Some("127.0.0.1:0".into()),
            ..ServeOptions::default()
        })
        .unwrap()
    };
    let mut client = Client::of(config()).await;
    let entity: Entity<'_> = &[("client-id", Some("p"))];
    let set = client.set(entity, "producer_byte_rate", Some(1.0)).await;
    assert_eq!(set, 0);
    client.running.stop().await;
    let mut client = Client::of(config()).await;
    assert_eq!(client.described(1, &[], false).await.len(), 1);
    client.create_topic("t").await;
    let mut slow = Connection::open_as(&client.running, "p").await;
    assert!(produce(&mut slow, "t", 10_000).await.throttle_time_ms > 0);
    client.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_over_its_quota_is_answered_and_then_not_read_from() {
    let mut client = Client::start_with(SHORT).await;
    client.create_topic("t").await;
    let entity: Entity<'_> = &[("client-id", Some("slow"))];
    client
        .set(entity, "producer_byte_rate", Some(10_000.0))
        .await;
    let mut slow = Connection::open_as(&client.running, "slow").await;
    let mut free = Connection::open_as(&client.running, "free").await;
    assert_eq!(produce(&mut slow, "t", 1_000).await.throttle_time_ms, 0);
    let began = Instant::now();
    let throttle = produce(&mut slow, "t", 30_000).await.throttle_time_ms;
    // Some 21,000 bytes more than the window holds, at 10,000 a second.
    assert!((1_000..5_000).contains(&throttle), "{throttle}");
    // Nobody else waits.
    assert_eq!(produce(&mut free, "t", 30_000).await.throttle_time_ms, 0);
    slow.call(3, &ApiVersionsRequest::default()).await;
    let waited = began.elapsed();
    let least = Duration::from_millis(u64::try_from(throttle).unwrap());
    assert!(waited >= least, "{waited:?} {least:?}");
    assert!(
        client
            .counts(r#"tidegate_quota_throttled_total{quota="producer_byte_rate"}"#)
            .await
    );
    client.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_producer_gets_through_in_a_window_is_bounded() {
    let mut client = Client::start_with(SHORT).await;
    client.create_topic("t").await;
    let everybody: Entity<'_> = &[("user", None)];
    client
        .set(everybody, "producer_byte_rate", Some(20_000.0))
        .await;
    let mut slow = Connection::open_as(&client.running, "any").await;
    let (began, mut sent) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(3) {
        produce(&mut slow, "t", 2_000).await;
        sent += 2_000;
    }
    // One second's worth at once, then the rate; the last batch may go over.
    let allowed = 20_000.0 * (1.0 + began.elapsed().as_secs_f64()) + 2_500.0;
    assert!(f64::from(sent) <= allowed, "{sent} of {allowed}");
    assert!(sent >= 20_000, "{sent}");
    client.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_over_its_quota_gets_nothing_until_it_owes_nothing() {
    let mut client = Client::start_with(SHORT).await;
    client.create_topic("t").await;
    let mut free = Connection::open_as(&client.running, "free").await;
    for _ in 0..20 {
        produce(&mut free, "t", 8_000).await;
    }
    let user: Entity<'_> = &[("user", Some("ANONYMOUS")), ("client-id", Some("slow"))];
    client.set(user, "consumer_byte_rate", Some(2_000.0)).await;
    let mut slow = Connection::open_as(&client.running, "slow").await;
    // No fetch comes to more than the window, whatever its client asks for, but for a larger first batch.
    let first = fetch(&mut slow, "t", 0).await;
    assert!(
        (8_000..9_000).contains(&records(&first)),
        "{}",
        records(&first)
    );
    assert!(
        (1_000..5_000).contains(&first.throttle_time_ms),
        "{}",
        first.throttle_time_ms
    );
    // The same client by another connection: empty, with no session begun, and told how long.
    let mut other = Connection::open_as(&client.running, "slow").await;
    let nothing = fetch(&mut other, "t", 0).await;
    assert_eq!((nothing.error_code, nothing.session_id), (0, 0));
    assert_eq!(records(&nothing), 0);
    assert!(nothing.throttle_time_ms > 0);
    // That connection was muted for as long as it takes to owe nothing.
    assert!(records(&fetch(&mut other, "t", 0).await) > 0);
    let all = fetch(&mut free, "t", 0).await;
    assert_eq!(all.throttle_time_ms, 0);
    assert!(records(&all) > 80_000);
    client.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn creating_and_deleting_partitions_has_a_rate() {
    let mut client = Client::start_with(SHORT).await;
    let entity: Entity<'_> = &[("client-id", Some("admin"))];
    client
        .set(entity, "controller_mutation_rate", Some(5.0))
        .await;
    let mut admin = Connection::open_as(&client.running, "admin").await;
    // What is saved up may be exceeded once.
    let created = admin.call(7, &create("a", 20)).await;
    assert_eq!(created.topics[0].error_code, 0);
    let refused = admin.call(7, &create("b", 1)).await;
    assert_eq!(refused.topics[0].error_code, THROTTLING_QUOTA_EXCEEDED);
    assert!(refused.throttle_time_ms > 0, "{refused:?}");
    // The connection was muted for what it owed, so now there is room again.
    let created = admin.call(7, &create("b", 1)).await;
    assert_eq!(created.topics[0].error_code, 0);
    // Clients that do not know the error are held up instead.
    let delete = DeleteTopicsRequest::default()
        .with_topic_names(vec![topic("a"), topic("b")])
        .with_timeout_ms(10_000);
    let deleted = admin.call(4, &delete).await;
    assert!(deleted.responses.iter().all(|r| r.error_code == 0));
    assert!(deleted.throttle_time_ms > 0);
    client.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn request_time_has_a_quota() {
    let mut client = Client::start_with(SHORT).await;
    let entity: Entity<'_> = &[("client-id", Some("busy"))];
    client.set(entity, "request_percentage", Some(0.01)).await;
    let mut busy = Connection::open_as(&client.running, "busy").await;
    let mut throttle = 0;
    for _ in 0..1_000 {
        throttle = busy
            .call(9, &MetadataRequest::default())
            .await
            .throttle_time_ms;
        if throttle > 0 {
            break;
        }
    }
    assert!((1..=1_000).contains(&throttle), "{throttle}");
    let mut free = Connection::open_as(&client.running, "free").await;
    let answer = free.call(9, &MetadataRequest::default()).await;
    assert_eq!(answer.throttle_time_ms, 0);
    client.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_connects_only_so_often() {
    let mut client = Client::start_with(SHORT).await;
    let entity: Entity<'_> = &[("ip", Some("127.0.0.1"))];
    client
        .set(entity, "connection_creation_rate", Some(2.0))
        .await;
    let ask = ApiVersionsRequest::default();
    let mut closed = 0;
    for _ in 0..20 {
        let mut connection = Connection::open(&client.running).await;
        closed += usize::from(connection.try_call(3, &ask).await.is_none());
        if closed > 0 {
            break;
        }
    }
    assert!(closed > 0);
    // Who is connected is left alone, and can lift the limit.
    assert_eq!(
        client.set(entity, "connection_creation_rate", None).await,
        0
    );
    let mut connection = Connection::open(&client.running).await;
    assert!(connection.try_call(3, &ask).await.is_some());
    client.running.stop().await;
}
