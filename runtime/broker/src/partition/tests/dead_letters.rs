//! Rule 24 and the dead-letter topic: with the hole they leave or not at all, under their true source offsets.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidegate_plugin::{ChainResult, DeadRecord, FailureKind};
use tidegate_protocol::error::ErrorCode;
use tidegate_record::{Batch, BatchBuilder, Codec, Producer, RecordParts, partition_for_key};
use tidegate_storage::Stored;

use super::world::{World, batch, filter, in_groups, one_by_one};
use crate::partition::ProduceFailure;
use crate::partition::chain_run::{self, Processed};
use crate::partition::routes::Source;

/// A record of a dead-letter topic: key, value, timestamp, and the headers by name.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    key: Option<Vec<u8>>,
    value: Vec<u8>,
    timestamp: i64,
    headers: Vec<(String, String)>,
}

fn found(stored: &[Stored]) -> Vec<Found> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let mut found = Vec::new();
    for stored in stored {
        let batch = Batch::check(stored.batch.clone()).expect("a whole batch");
        let limits = tidegate_record::DecodeLimits {
            max_bytes: 1 << 24,
            max_records: 1 << 16,
        };
        for record in batch.records(limits).expect("it opens").iter() {
            let header = |(name, value): (&[u8], Option<&[u8]>)| {
                (text(name), text(value.unwrap_or_default()))
            };
            found.push(Found {
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.unwrap_or_default().to_vec(),
                timestamp: record.timestamp,
                headers: record.headers().map(header).collect(),
            });
        }
    }
    found
}

fn dead(index: usize, kind: Option<FailureKind>, message: &str) -> DeadRecord {
    DeadRecord {
        index,
        binding: 0,
        kind,
        message: message.into(),
    }
}

/// What a chain says that gives up these records.
fn giving_up(count: usize, dead: Vec<DeadRecord>) -> ChainResult {
    let mut result = ChainResult {
        keep: vec![true; count],
        taken_by: vec![0; count],
        ..ChainResult::default()
    };
    for record in &dead {
        result.keep[record.index] = false;
        result.taken_by[record.index] = 1;
    }
    result.dead = dead;
    result
}

/// Acts on what a chain said of `batch`, as the partition does.
fn finish(world: &World, batch: &Batch, result: ChainResult) -> Result<Processed, ProduceFailure> {
    let partition = world.partition("t", 0);
    let records = batch
        .records(world.env().decoding.limits())
        .expect("it opens");
    let chain = filter();
    let source = Source {
        env: world.env(),
        topic: &partition.topic,
        index: 0,
        now_ms: 7,
        chain: &chain,
        batch,
        records: &records,
    };
    chain_run::finish(&source, &partition.topic.config(), result)
}

/// Appends it, and tells the base offset.
fn append(world: &World, processed: Processed) -> i64 {
    let partition = world.partition("t", 0);
    let (ticket, outcome) = partition.admit_for_test();
    partition.work_on(ticket, || Ok(processed));
    let stored = world.outcome(outcome).expect("stored");
    world.log_barrier();
    stored.base_offset
}

fn world(configs: &[(&str, &str)], partitions: i32) -> World {
    let of_source = [("tidegate.dead.letter.topic", "dlq")];
    World::new(
        &[("t", 1, &of_source), ("dlq", partitions, configs)],
        one_by_one(),
    )
}

#[test]
fn a_dead_letter_is_what_the_client_sent_and_says_where_it_was() {
    let world = world(&[], 1);
    let mut builder = BatchBuilder::new(Codec::Zstd);
    for n in 0..4i64 {
        let record = RecordParts {
            timestamp: 1000 + n,
            key: Some(b"key"),
            value: Some(b"value"),
            headers: &[(b"own", Some(b"header"))],
            ..RecordParts::default()
        };
        builder.push(record).expect("it fits");
    }
    let batch = builder.build().expect("a batch");
    append(
        &world,
        finish(&world, &batch, giving_up(4, vec![])).expect("kept"),
    );
    let given_up = vec![
        dead(1, Some(FailureKind::OutputLimit), "too much"),
        dead(3, None, "no such field"),
    ];
    let base = append(
        &world,
        finish(&world, &batch, giving_up(4, given_up)).expect("fits"),
    );
    assert_eq!(base, 4);
    let digest = format!("sha256:{}", filter().bindings()[0].plugin().digest());
    let letter = |offset: &str, timestamp, kind: &str, error: &str| Found {
        key: Some(b"key".to_vec()),
        value: b"value".to_vec(),
        timestamp,
        headers: [
            ("own", "header"),
            ("tidegate.source.topic", "t"),
            ("tidegate.source.partition", "0"),
            ("tidegate.source.offset", offset),
            ("tidegate.plugin", "guest"),
            ("tidegate.plugin.digest", &digest),
            ("tidegate.error.kind", kind),
            ("tidegate.error", error),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec(),
    };
    assert_eq!(
        found(&world.stored("dlq", 0)),
        [
            letter("5", 1001, "output-limit", "too much"),
            letter("7", 1003, "rejected", "no such field"),
        ]
    );
    let source = world.stored("t", 0);
    assert_eq!(
        source[1].row.last_offset, 7,
        "the holes are the source's own"
    );
    assert_eq!(source[1].row.last_surviving_delta, 2);
}

#[test]
fn dead_letters_of_transactions_say_that_they_are_in_none() {
    let world = world(&[], 1);
    let mut builder = BatchBuilder::new(Codec::None);
    builder.transactional = true;
    builder.producer = Producer {
        id: 1,
        epoch: 0,
        base_sequence: 0,
    };
    builder.push(RecordParts::default()).expect("it fits");
    let batch = builder.build().expect("a batch");
    let given_up = vec![dead(0, None, "no")];
    append(
        &world,
        finish(&world, &batch, giving_up(1, given_up)).expect("fits"),
    );
    let letters = world.stored("dlq", 0);
    let header = Batch::check(letters[0].batch.clone()).expect("a batch");
    assert!(!header.header().attributes.is_transactional());
    let said = ("tidegate.transactional".to_owned(), "false".to_owned());
    assert!(found(&letters)[0].headers.contains(&said));
}

proptest! {
    #![proptest_config(super::cases(100))]

    /// Whatever sizes they have: in source order, in the partition of their key, in batches that fit.
    #[test]
    fn letters_are_split_into_batches_that_fit(
        sent in prop::collection::vec((b'a'..=b'f', 0usize..600, any::<bool>()), 1..40),
        written in any::<bool>(),
    ) {
        const MAX: usize = 1100;
        let world = world(&[("max.message.bytes", "1100")], 3);
        let values: Vec<Vec<u8>> = sent
            .iter()
            .enumerate()
            .map(|(n, (key, length, _))| {
                let mut value = vec![b'k', *key, n as u8];
                value.resize(3 + length, b'.');
                value
            })
            .collect();
        let batch = batch(Producer::default(), Codec::None, &values);
        let chosen: Vec<usize> = (0..sent.len()).filter(|n| sent[*n].2).collect();
        let given_up = chosen.iter().map(|n| dead(*n, None, "no")).collect();
        let processed = finish(&world, &batch, giving_up(sent.len(), given_up)).expect("each fits");
        world.store.script(&[written]);
        let partition = world.partition("t", 0);
        let (ticket, outcome) = partition.admit_for_test();
        partition.work_on(ticket, || Ok(processed));
        let outcome = world.outcome(outcome);
        world.log_barrier();
        prop_assert_eq!(outcome.is_ok(), written);
        let mut expected: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
        if written {
            for n in &chosen {
                let partition = partition_for_key(&values[*n][1..2], 3);
                expected.entry(partition).or_default().push(values[*n].clone());
            }
            // One write for all of it.
            prop_assert_eq!(world.store.writes().len(), 1);
        }
        for index in 0..3 {
            let stored = world.stored("dlq", index);
            prop_assert!(stored.iter().all(|stored| stored.batch.len() <= MAX));
            let values: Vec<_> = found(&stored).into_iter().map(|record| record.value).collect();
            let expected = expected.remove(&index.unsigned_abs()).unwrap_or_default();
            prop_assert_eq!(values, expected);
        }
    }
}

#[test]
fn a_letter_that_fits_nowhere_refuses_the_produce() {
    let world = world(&[("max.message.bytes", "500")], 1);
    let values = [b"ka".to_vec(), [b"kb".to_vec(), vec![b'.'; 400]].concat()];
    let batch = batch(Producer::default(), Codec::None, &values);
    let given_up = vec![dead(0, None, "no"), dead(1, None, "no")];
    let refused = finish(&world, &batch, giving_up(2, given_up)).map(drop);
    let refused = refused.expect_err("it does not fit");
    assert_eq!(refused.code, ErrorCode::InvalidRecord);
    assert_eq!(refused.records.len(), 1);
    assert_eq!(refused.records[0].index, 1);
    assert!(
        refused.message.contains("max.message.bytes of dlq (500)"),
        "{}",
        refused.message
    );
}

#[test]
fn without_a_dead_letter_topic_the_producer_tries_again() {
    let mut world = world(&[], 1);
    let batch = batch(Producer::default(), Codec::None, &[b"ka".to_vec()]);
    world.delete_topic("dlq");
    let given_up = || giving_up(1, vec![dead(0, None, "no")]);
    let refused = finish(&world, &batch, given_up()).map(drop);
    assert_eq!(
        refused.expect_err("gone").code,
        ErrorCode::NotEnoughReplicas
    );

    let world = World::new(&[("t", 1, &[])], in_groups());
    let refused = finish(&world, &batch, given_up()).map(drop);
    assert_eq!(
        refused.expect_err("not set").code,
        ErrorCode::NotEnoughReplicas
    );
}

/// The topic is deleted between the chain and the write.
#[test]
fn a_dead_letter_topic_that_goes_away_takes_the_source_along() {
    let mut world = world(&[], 1);
    let batch = batch(
        Producer::default(),
        Codec::None,
        &[b"ka".to_vec(), b"kb".to_vec()],
    );
    let given_up = vec![dead(0, None, "no")];
    let processed = finish(&world, &batch, giving_up(2, given_up)).expect("it fits");
    world.delete_topic("dlq");
    let partition = world.partition("t", 0);
    let (ticket, outcome) = partition.admit_for_test();
    partition.work_on(ticket, || Ok(processed));
    assert!(world.outcome(outcome).is_err());
    world.log_barrier();
    assert!(world.stored("t", 0).is_empty());
}
