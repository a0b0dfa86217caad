//! Transactions over the socket: as clients that add partitions themselves do it (v1), and as those do whose produces add them
//! (v2, KIP-890).

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::write_txn_markers_request::{
    WritableTxnMarker, WritableTxnMarkerTopic,
};
use kafka_protocol::messages::*;
use tidegate_broker::{ServeOptions, ServerConfig};
use tidegate_protocol::StrBytes;
use tidegate_record::{Batch, BatchBuilder, Codec, DecodeLimits, Producer, RecordParts};

mod common;

use common::Client;

const LIMITS: DecodeLimits = DecodeLimits {
    max_bytes: 1 << 20,
    max_records: 1 << 10,
};
const PROPERTIES: &str = "transaction.abort.timed.out.transaction.cleanup.interval.ms=20\n\
                          transaction.state.log.num.partitions=3\n\
                          offsets.topic.num.partitions=3\n";

const UNSTABLE_OFFSET_COMMIT: i16 = 88;
const INVALID_TXN_STATE: i16 = 48;
const INVALID_PRODUCER_EPOCH: i16 = 47;
const PRODUCER_FENCED: i16 = 90;
const CONCURRENT_TRANSACTIONS: i16 = 51;
const TRANSACTION_ABORTABLE: i16 = 120;

/// A broker with the topic `t` of two partitions, and a transactional producer's side of the protocol.
struct World {
    client: Client,
    /// Of the next batch, by partition.
    sequences: [i32; 2],
}

type Who = (i64, i16);

fn name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn config(data: &Path) -> ServerConfig {
    let file = data.join("server.properties");
    std::fs::write(&file, PROPERTIES).unwrap();
    let options = ServeOptions {
        config: Some(file),
        data_dir: Some(data.join("data")),
        listen: Some("127.0.0.1:0".into()),
        admin: Some("127.0.0.1:0".into()),
        compiler: None,
    };
    ServerConfig::load(&options).unwrap()
}

impl World {
    async fn new() -> World {
        World::with(Client::start_with(PROPERTIES).await).await
    }

    async fn with(client: Client) -> World {
        let mut world = World {
            client,
            sequences: [0; 2],
        };
        let topic = CreatableTopic::default()
            .with_name(name("t"))
            .with_num_partitions(2)
            .with_replication_factor(-1);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]);
        let created = world.client.call(7, &request).await.topics.remove(0);
        assert_eq!(created.error_code, 0);
        world
    }

    /// InitProducerId, as often as it is told to come back.
    async fn init(&mut self, id: &str) -> Who {
        loop {
            let (code, who) = self.try_init(id, 60_000, (-1, -1)).await;
            match code {
                0 => {
                    self.sequences = [0; 2];
                    return who;
                }
                CONCURRENT_TRANSACTIONS => tokio::task::yield_now().await,
                code => panic!("error {code}"),
            }
        }
    }

    async fn try_init(&mut self, id: &str, timeout_ms: i32, was: Who) -> (i16, Who) {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(TransactionalId(text(id))))
            .with_transaction_timeout_ms(timeout_ms)
            .with_producer_id(ProducerId(was.0))
            .with_producer_epoch(was.1);
        let response = self.client.call(5, &request).await;
        let who = (response.producer_id.0, response.producer_epoch);
        (response.error_code, who)
    }

    async fn add(&mut self, id: &str, who: Who, topic: &str, indexes: &[i32]) -> Vec<i16> {
        let topic = AddPartitionsToTxnTopic::default()
            .with_name(name(topic))
            .with_partitions(indexes.to_vec());
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(TransactionalId(text(id)))
            .with_v3_and_below_producer_id(ProducerId(who.0))
            .with_v3_and_below_producer_epoch(who.1)
            .with_v3_and_below_topics(vec![topic]);
        let mut response = self.client.call(3, &request).await;
        let results = response.results_by_topic_v3_and_below.remove(0);
        let results = results.results_by_partition.iter();
        results.map(|result| result.partition_error_code).collect()
    }

    /// Version 12 adds the partition, version 11 and below wants it added.
    async fn produce(&mut self, version: i16, id: Option<&str>, who: Who, value: &str) -> i16 {
        self.produce_to(version, id, who, 0, value).await
    }

    async fn produce_to(
        &mut self,
        version: i16,
        id: Option<&str>,
        who: Who,
        index: i32,
        value: &str,
    ) -> i16 {
        let sequence = &mut self.sequences[usize::try_from(index).unwrap()];
        let batch = batch(id.map(|_| who), *sequence, value);
        let data = PartitionProduceData::default()
            .with_index(index)
            .with_records(Some(batch));
        let topic = TopicProduceData::default()
            .with_name(name("t"))
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_transactional_id(id.map(|id| TransactionalId(text(id))))
            .with_acks(-1)
            .with_timeout_ms(10_000)
            .with_topic_data(vec![topic]);
        let response = self.client.call(version, &request).await;
        let code = response.responses[0].partition_responses[0].error_code;
        if code == 0 && id.is_some() {
            self.sequences[usize::try_from(index).unwrap()] += 1;
        }
        code
    }

    async fn end(&mut self, version: i16, id: &str, who: Who, commit: bool) -> (i16, Who) {
        let request = EndTxnRequest::default()
            .with_transactional_id(TransactionalId(text(id)))
            .with_producer_id(ProducerId(who.0))
            .with_producer_epoch(who.1)
            .with_committed(commit);
        let response = self.client.call(version, &request).await;
        let who = (response.producer_id.0, response.producer_epoch);
        (response.error_code, who)
    }

    async fn describe(&mut self, id: &str) -> describe_transactions_response::TransactionState {
        let request = DescribeTransactionsRequest::default()
            .with_transactional_ids(vec![TransactionalId(text(id))]);
        self.client
            .call(0, &request)
            .await
            .transaction_states
            .remove(0)
    }

    /// Waits until the transaction is complete: its markers are written.
    async fn complete(&mut self, id: &str) -> String {
        loop {
            let state = self.describe(id).await.transaction_state.to_string();
            if state.starts_with("Complete") {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Values of the partition's data records, with where aborted transactions of the answer begin.
    async fn fetch(&mut self, index: i32, read_committed: bool) -> (Vec<String>, Vec<Who64>) {
        let partition = FetchPartition::default()
            .with_partition(index)
            .with_fetch_offset(0)
            .with_partition_max_bytes(1 << 20);
        let topic = FetchTopic::default()
            .with_topic(name("t"))
            .with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_max_wait_ms(0)
            .with_min_bytes(0)
            .with_max_bytes(1 << 20)
            .with_isolation_level(i8::from(read_committed))
            .with_topics(vec![topic]);
        let mut response = self.client.call(11, &request).await;
        let data = response.responses.remove(0).partitions.remove(0);
        assert_eq!(data.error_code, 0);
        let aborted = data.aborted_transactions.iter().flatten();
        let aborted = aborted.map(|a| (a.producer_id.0, a.first_offset)).collect();
        (values(data.records.unwrap_or_default()), aborted)
    }

    async fn latest(&mut self, isolation: i8) -> i64 {
        let partition = ListOffsetsPartition::default().with_timestamp(-1);
        let topic = ListOffsetsTopic::default()
            .with_name(name("t"))
            .with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_isolation_level(isolation)
            .with_topics(vec![topic]);
        let response = self.client.call(7, &request).await;
        response.topics[0].partitions[0].offset
    }

    async fn commit_offset(&mut self, version: i16, id: &str, who: Who, offset: i64) -> i16 {
        let partition = TxnOffsetCommitRequestPartition::default()
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text("note")));
        let topic = TxnOffsetCommitRequestTopic::default()
            .with_name(name("t"))
            .with_partitions(vec![partition]);
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(TransactionalId(text(id)))
            .with_group_id(GroupId(text("g")))
            .with_producer_id(ProducerId(who.0))
            .with_producer_epoch(who.1)
            .with_topics(vec![topic]);
        let response = self.client.call(version, &request).await;
        response.topics[0].partitions[0].error_code
    }

    /// (error, offset) of partition 0 in group `g`.
    async fn committed(&mut self, require_stable: bool) -> (i16, i64) {
        let topic = OffsetFetchRequestTopics::default()
            .with_name(name("t"))
            .with_partition_indexes(vec![0]);
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(text("g")))
            .with_topics(Some(vec![topic]));
        let request = OffsetFetchRequest::default()
            .with_require_stable(require_stable)
            .with_groups(vec![group]);
        let mut response = self.client.call(8, &request).await;
        let found = &response.groups.remove(0).topics[0].partitions[0];
        (found.error_code, found.committed_offset)
    }
}

type Who64 = (i64, i64);

fn batch(who: Option<Who>, sequence: i32, value: &str) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    if let Some((id, epoch)) = who {
        builder.producer = Producer {
            id,
            epoch,
            base_sequence: sequence,
        };
        builder.transactional = true;
    }
    let record = RecordParts {
        timestamp: 1_700_000_000_000,
        value: Some(value.as_bytes()),
        ..RecordParts::default()
    };
    builder.push(record).unwrap();
    builder.build().unwrap().into_bytes()
}

fn values(mut records: Bytes) -> Vec<String> {
    let mut values = Vec::new();
    while !records.is_empty() {
        let length = i32::from_be_bytes(records[8..12].try_into().unwrap());
        let batch = Batch::check(records.split_to(12 + usize::try_from(length).unwrap())).unwrap();
        if batch.header().attributes.is_control() {
            continue;
        }
        for record in batch.records(LIMITS).unwrap().iter() {
            values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
        }
    }
    values
}

fn owned(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_is_hidden_and_what_was_aborted_is_named() {
    let mut world = World::new().await;
    let who = world.init("x").await;
    assert_eq!(world.add("x", who, "t", &[0, 1]).await, [0, 0]);
    assert_eq!(world.produce(9, Some("x"), who, "a").await, 0);
    assert_eq!(world.produce(9, None, (-1, -1), "plain").await, 0);
    assert_eq!(world.fetch(0, false).await.0, owned(&["a", "plain"]));
    assert_eq!(world.fetch(0, true).await.0, owned(&[]));
    assert_eq!((world.latest(0).await, world.latest(1).await), (2, 0));

    assert_eq!(world.end(3, "x", who, true).await.0, 0);
    assert_eq!(world.complete("x").await, "CompleteCommit");
    assert_eq!(world.fetch(0, true).await, (owned(&["a", "plain"]), vec![]));

    assert_eq!(world.add("x", who, "t", &[0]).await, [0]);
    assert_eq!(world.produce(9, Some("x"), who, "b").await, 0);
    assert_eq!(world.end(3, "x", who, false).await.0, 0);
    assert_eq!(world.complete("x").await, "CompleteAbort");
    let (seen, aborted) = world.fetch(0, true).await;
    // The client leaves them out, by the list.
    assert_eq!(seen, owned(&["a", "plain", "b"]));
    assert_eq!(aborted, [(who.0, 3)]);
    assert_eq!(world.latest(1).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_was_not_added_takes_nothing() {
    let mut world = World::new().await;
    let who = world.init("x").await;
    assert_eq!(
        world.produce(9, Some("x"), who, "a").await,
        INVALID_TXN_STATE
    );
    assert_eq!(
        world.produce(11, Some("x"), who, "a").await,
        TRANSACTION_ABORTABLE
    );
    assert_eq!(world.fetch(0, false).await.0, owned(&[]));
    assert_eq!(
        world.add("x", who, "t", &[0, 7]).await,
        [55, 3],
        "all or none"
    );
    assert_eq!(world.add("x", who, "__transaction_state", &[0]).await, [17]);
    assert_eq!(
        world.produce(9, Some("x"), who, "a").await,
        INVALID_TXN_STATE
    );

    // The form that brokers use among themselves.
    assert_eq!(world.add("x", who, "t", &[0]).await, [0]);
    let topic = AddPartitionsToTxnTopic::default()
        .with_name(name("t"))
        .with_partitions(vec![0, 1]);
    let transaction = AddPartitionsToTxnTransaction::default()
        .with_transactional_id(TransactionalId(text("x")))
        .with_producer_id(ProducerId(who.0))
        .with_producer_epoch(who.1)
        .with_verify_only(true)
        .with_topics(vec![topic]);
    let request = AddPartitionsToTxnRequest::default().with_transactions(vec![transaction]);
    let response = world.client.call(4, &request).await;
    let results = &response.results_by_transaction[0].topic_results[0].results_by_partition;
    let codes: Vec<_> = results.iter().map(|r| r.partition_error_code).collect();
    assert_eq!(codes, [0, TRANSACTION_ABORTABLE]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_produce_of_version_12_adds_and_each_end_bumps() {
    let mut world = World::new().await;
    let mut who = world.init("x").await;
    for n in 0..4 {
        let value = format!("{n}");
        assert_eq!(world.produce_to(12, Some("x"), who, 0, &value).await, 0);
        assert_eq!(world.produce_to(12, Some("x"), who, 1, &value).await, 0);
        let commit = n % 2 == 0;
        let (code, next) = world.end(5, "x", who, commit).await;
        assert_eq!((code, next), (0, (who.0, who.1 + 1)));
        assert_eq!(world.end(5, "x", who, commit).await, (0, next), "a retry");
        // The late batch of a transaction that is over.
        world.complete("x").await;
        assert_eq!(
            world.produce_to(12, Some("x"), who, 0, "late").await,
            INVALID_PRODUCER_EPOCH
        );
        who = next;
        world.sequences = [0; 2];
    }
    let (seen, aborted) = world.fetch(1, true).await;
    assert_eq!(seen, owned(&["0", "1", "2", "3"]));
    assert_eq!(aborted, [(who.0, 2), (who.0, 6)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_producer_fences_the_old_one_everywhere() {
    let mut world = World::new().await;
    let old = world.init("x").await;
    assert_eq!(world.add("x", old, "t", &[0]).await, [0]);
    assert_eq!(world.produce(9, Some("x"), old, "old").await, 0);
    let new = world.init("x").await;
    assert_eq!(new, (old.0, old.1 + 2));
    assert_eq!(world.fetch(0, true).await.1, [(old.0, 0)]);
    assert_eq!(world.add("x", old, "t", &[0]).await, [PRODUCER_FENCED]);
    assert_eq!(world.end(3, "x", old, true).await.0, PRODUCER_FENCED);
    assert_eq!(world.end(1, "x", old, true).await.0, INVALID_PRODUCER_EPOCH);
    assert_eq!(world.try_init("x", 60_000, old).await.0, PRODUCER_FENCED);
    assert_eq!(
        world.produce(9, Some("x"), old, "zombie").await,
        INVALID_PRODUCER_EPOCH
    );
    assert_eq!(world.try_init("x", 0, (-1, -1)).await.0, 50);
    assert_eq!(world.try_init("x", 900_001, (-1, -1)).await.0, 50);
    assert_eq!(world.try_init("", 60_000, (-1, -1)).await.0, 42);
    assert_eq!(world.try_init("x", 60_000, (new.0, -1)).await.0, 42);
    assert_eq!(
        world.try_init("x", 60_000, new).await,
        (0, (new.0, new.1 + 1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_ends_with_its_timeout() {
    let mut world = World::new().await;
    let (code, who) = world.try_init("x", 1_500, (-1, -1)).await;
    assert_eq!(code, 0);
    assert_eq!(world.add("x", who, "t", &[0]).await, [0]);
    assert_eq!(world.produce(9, Some("x"), who, "a").await, 0);
    assert_eq!(world.complete("x").await, "CompleteAbort");
    assert_eq!(world.latest(1).await, 2);
    assert_eq!(world.end(3, "x", who, true).await.0, PRODUCER_FENCED);
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_count_when_their_transaction_commits() {
    let mut world = World::new().await;
    for version in [3, 5] {
        let id = format!("x{version}");
        let mut who = world.init(&id).await;
        for (commit, offset) in [(true, 10), (false, 20), (true, 30)] {
            if version < 5 {
                assert_eq!(
                    world.commit_offset(version, &id, who, offset).await,
                    INVALID_TXN_STATE
                );
                let request = AddOffsetsToTxnRequest::default()
                    .with_transactional_id(TransactionalId(text(&id)))
                    .with_producer_id(ProducerId(who.0))
                    .with_producer_epoch(who.1)
                    .with_group_id(GroupId(text("g")));
                assert_eq!(world.client.call(3, &request).await.error_code, 0);
            }
            let before = world.committed(true).await;
            assert_eq!(world.commit_offset(version, &id, who, offset).await, 0);
            assert_eq!(world.committed(true).await, (UNSTABLE_OFFSET_COMMIT, -1));
            assert_eq!(world.committed(false).await, before, "not yet");
            let end = if version < 5 { 3 } else { 5 };
            let (code, next) = world.end(end, &id, who, commit).await;
            assert_eq!(code, 0);
            world.complete(&id).await;
            let expected = if commit { (0, offset) } else { before };
            assert_eq!(world.committed(true).await, expected);
            if version >= 5 {
                assert_eq!(
                    world.commit_offset(version, &id, who, 99).await,
                    INVALID_PRODUCER_EPOCH
                );
                who = next;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_changes_nothing() {
    let data = tempfile::tempdir().unwrap();
    let mut world = World::with(Client::of(config(data.path())).await).await;
    let who = world.init("x").await;
    assert_eq!(world.produce_to(12, Some("x"), who, 0, "before").await, 0);
    assert_eq!(world.commit_offset(5, "x", who, 7).await, 0);
    let World { client, sequences } = world;
    client.running.stop().await;

    let client = Client::of(config(data.path())).await;
    let mut world = World { client, sequences };
    let described = world.describe("x").await;
    assert_eq!(&*described.transaction_state, "Ongoing");
    assert_eq!(world.fetch(0, true).await.0, owned(&[]));
    assert_eq!(world.committed(true).await, (UNSTABLE_OFFSET_COMMIT, -1));
    assert_eq!(world.produce_to(12, Some("x"), who, 0, "after").await, 0);
    let (code, next) = world.end(5, "x", who, true).await;
    assert_eq!(code, 0);
    assert_eq!(world.complete("x").await, "CompleteCommit");
    assert_eq!(world.fetch(0, true).await.0, owned(&["before", "after"]));
    assert_eq!(world.committed(true).await, (0, 7));
    world.client.running.stop().await;

    let client = Client::of(config(data.path())).await;
    let sequences = [0; 2];
    let mut world = World { client, sequences };
    assert_eq!(
        world.committed(true).await,
        (0, 7),
        "replayed with its marker"
    );
    assert_eq!(
        world.end(5, "x", who, true).await,
        (0, next),
        "a late retry"
    );
    assert_eq!(world.produce_to(12, Some("x"), next, 0, "more").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_transactions_and_end_those_that_hang() {
    let mut world = World::new().await;
    let idle = world.init("idle").await;
    let who = world.init("open").await;
    assert_eq!(world.produce_to(12, Some("open"), who, 0, "a").await, 0);
    let described = world.describe("open").await;
    assert_eq!(&*described.transaction_state, "Ongoing");
    assert_eq!(described.producer_id.0, who.0);
    assert_eq!(described.transaction_timeout_ms, 60_000);
    assert_eq!(described.topics[0].partitions, [0]);
    assert!(described.transaction_start_time_ms > 1_700_000_000_000);
    assert_eq!(world.describe("nobody").await.error_code, 105);

    let mut list = async |request: ListTransactionsRequest| {
        let response = world.client.call(2, &request).await;
        let states = response.transaction_states.iter();
        let mut ids: Vec<_> = states.map(|s| s.transactional_id.to_string()).collect();
        ids.sort_unstable();
        (response.error_code, ids, response.unknown_state_filters)
    };
    let every = ListTransactionsRequest::default;
    assert_eq!(list(every()).await.1, ["idle", "open"]);
    let states =
        |names: &[&str]| every().with_state_filters(names.iter().map(|n| text(n)).collect());
    assert_eq!(list(states(&["Ongoing"])).await.1, ["open"]);
    let (_, ids, unknown) = list(states(&["Nonsense"])).await;
    assert_eq!((ids.len(), unknown), (0, vec![text("Nonsense")]));
    let of = every().with_producer_id_filters(vec![ProducerId(idle.0)]);
    assert_eq!(list(of).await.1, ["idle"]);
    let matching = |pattern: &str| every().with_transactional_id_pattern(Some(text(pattern)));
    assert_eq!(list(matching("op.*")).await.1, ["open"]);
    assert_eq!(list(matching("p")).await.1.len(), 0, "the whole id");
    assert_eq!(list(matching("(")).await.0, 128);
    let long = states(&["Ongoing"]).with_duration_filter(1_000_000);
    assert_eq!(list(long).await.1.len(), 0);

    // As kafka-transactions.sh abort does it.
    let topic = describe_producers_request::TopicRequest::default()
        .with_name(name("t"))
        .with_partition_indexes(vec![0]);
    let request = DescribeProducersRequest::default().with_topics(vec![topic]);
    let producer =
        world.client.call(0, &request).await.topics[0].partitions[0].active_producers[0].clone();
    assert_eq!(producer.current_txn_start_offset, 0);
    let topic = |topic: &str| {
        WritableTxnMarkerTopic::default()
            .with_name(name(topic))
            .with_partition_indexes(vec![0, 9])
    };
    let marker = WritableTxnMarker::default()
        .with_producer_id(producer.producer_id)
        .with_producer_epoch(i16::try_from(producer.producer_epoch).unwrap())
        .with_coordinator_epoch(producer.coordinator_epoch.max(0))
        .with_topics(vec![
            topic("t"),
            topic("none"),
            topic("__transaction_state"),
        ]);
    let request = WriteTxnMarkersRequest::default().with_markers(vec![marker]);
    let response = world.client.call(1, &request).await;
    let codes = |at: usize| -> Vec<i16> {
        let partitions = response.markers[0].topics[at].partitions.iter();
        partitions.map(|p| p.error_code).collect()
    };
    assert_eq!(
        (codes(0), codes(1), codes(2)),
        (vec![0, 3], vec![3, 3], vec![17, 17])
    );
    assert_eq!(world.latest(1).await, 2);
    assert_eq!(world.fetch(0, true).await.1, [(who.0, 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn features_say_that_transactions_are_of_version_2() {
    let mut world = World::new().await;
    let request = ApiVersionsRequest::default()
        .with_client_software_name(text("test"))
        .with_client_software_version(text("1"));
    for (version, supported) in [(0, 0), (2, 0), (3, 0), (4, 2)] {
        let asked = match version {
            0..=2 => ApiVersionsRequest::default(),
            _ => request.clone(),
        };
        let response = world.client.call(version, &asked).await;
        let named = response.supported_features.iter();
        let max = named
            .filter(|f| &*f.name == "transaction.version")
            .map(|f| f.max_version);
        assert_eq!(max.sum::<i16>(), supported);
        let named = response.finalized_features.iter();
        let level = named
            .filter(|f| &*f.name == "transaction.version")
            .map(|f| f.max_version_level);
        assert_eq!(level.sum::<i16>(), if version < 3 { 0 } else { 2 });
        assert_eq!(response.finalized_features_epoch >= 0, version >= 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_kinds_of_coordinators_are_here() {
    let mut world = World::new().await;
    for (kind, code) in [(0, 0), (1, 0), (2, 42)] {
        let request = FindCoordinatorRequest::default()
            .with_key_type(kind)
            .with_coordinator_keys(vec![text("x"), text("y")]);
        let found = world.client.call(4, &request).await.coordinators;
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|c| c.error_code == code), "{found:?}");
    }
}
