//! Rules 6, 8, 13, 23 and 26 with real plugins: what their policies do to a produce, and which records they never see.

use tidegate_plugin::{BindingSpec, Chain, OnError, OnReject};
use tidegate_protocol::error::ErrorCode;
use tidegate_record::{Batch, BatchBuilder, Codec, DecodeLimits, Producer, RecordParts};

use super::world::{
    World, batch, chain_of, checked, filter, filter_under, growing, in_groups, joined, records,
    router, spec, transform, transform_under,
};
use crate::partition::Acks;
use crate::plugins::testbed::guests;

const OPEN: DecodeLimits = DecodeLimits {
    max_bytes: 1 << 20,
    max_records: 1000,
};

fn sent(values: &[&[u8]]) -> Batch {
    let values: Vec<_> = values.iter().map(|value| value.to_vec()).collect();
    batch(Producer::default(), Codec::Lz4, &values)
}

fn values(world: &World, topic: &str) -> Vec<(i64, Vec<u8>)> {
    let stored = world.stored(topic, 0);
    stored
        .iter()
        .flat_map(|stored| records(&stored.batch))
        .collect()
}

/// Offsets that the dead letters of a topic name, with the kinds of their errors.
fn letters(world: &World, topic: &str) -> Vec<(String, String)> {
    let mut letters = Vec::new();
    for stored in world.stored(topic, 0) {
        let batch = Batch::check(stored.batch).expect("whole");
        for record in batch.records(OPEN).expect("it opens").iter() {
            let header = |name: &str| {
                let mut headers = record.headers();
                let found = headers.find(|(key, _)| *key == name.as_bytes());
                let value = found.and_then(|(_, value)| value).expect("it is there");
                String::from_utf8(value.to_vec()).expect("text")
            };
            letters.push((
                header("tidegate.source.offset"),
                header("tidegate.error.kind"),
            ));
        }
    }
    letters
}

fn with_letters() -> World {
    let configs = [("tidegate.dead.letter.topic", "dlq")];
    World::new(&[("t", 1, &configs), ("dlq", 1, &[])], in_groups())
}

#[test]
fn poison_and_rejected_records_become_dead_letters_and_nothing_else_does() {
    let world = with_letters();
    let chain = filter_under(BindingSpec {
        on_error: OnError::DeadLetter,
        on_reject: OnReject::DeadLetter,
        ..spec("guest")
    });
    world.bind("t", Some(&chain), None);
    world.produce(&sent(&[b"k"]), Acks::All).expect("stored");
    let stored = world
        .produce(&sent(&[b"k", b"ra", b"tb", b"d", b"k", b"tc"]), Acks::All)
        .expect("acknowledged");
    assert_eq!(stored.base_offset, 1);
    world.log_barrier();
    let kept: Vec<i64> = values(&world, "t")
        .iter()
        .map(|(offset, _)| *offset)
        .collect();
    assert_eq!(kept, [0, 1, 5]);
    let found: Vec<_> = values(&world, "dlq").into_iter().map(|(_, v)| v).collect();
    assert_eq!(found, [b"ra".to_vec(), b"tb".to_vec(), b"tc".to_vec()]);
    let named = letters(&world, "dlq");
    let named: Vec<(&str, &str)> = named
        .iter()
        .map(|(o, k)| (o.as_str(), k.as_str()))
        .collect();
    assert_eq!(named, [("2", "rejected"), ("3", "trap"), ("6", "trap")]);
}

#[test]
fn dead_letters_are_as_the_client_sent_them_whatever_came_before() {
    let world = with_letters();
    let late = BindingSpec {
        on_error: OnError::DeadLetter,
        ..spec("late")
    };
    // The first makes `E` of it; for that one the second falls over.
    let falls = "(if (i32.eq (call $first (local.get $batch) (i32.const 0)) (i32.const 69))
            (then (unreachable))) (call $ok (i32.const 0) (i32.const 0))";
    let second = chain_of(&guests::Guest::filter(falls).build(), late);
    world.bind("t", Some(&joined(&[transform(), second])), None);
    world
        .produce(&sent(&[b"e as sent"]), Acks::All)
        .expect("acknowledged");
    world.log_barrier();
    assert_eq!(values(&world, "dlq"), [(0, b"e as sent".to_vec())]);
    assert!(values(&world, "t").is_empty());
}

#[test]
fn a_paused_plugin_holds_everything_back_until_it_is_resumed() {
    let world = World::new(&[("t", 1, &[])], in_groups());
    let chain = filter_under(BindingSpec {
        on_error: OnError::Pause,
        ..spec("guest")
    });
    world.bind("t", Some(&chain), None);
    world.produce(&sent(&[b"k"]), Acks::All).expect("stored");
    for values in [&[&b"t"[..]][..], &[b"k"], &[b"k", b"t"]] {
        let failed = world.produce(&sent(values), Acks::All).expect_err("paused");
        assert_eq!(failed.code, ErrorCode::NotEnoughReplicas);
    }
    chain.bindings()[0].resume();
    assert_eq!(
        world
            .produce(&sent(&[b"k"]), Acks::All)
            .expect("stored")
            .base_offset,
        1
    );
}

fn compacted(more: &[(&'static str, &'static str)]) -> World {
    let configs = [&[("cleanup.policy", "compact")][..], more].concat();
    World::new(&[("t", 1, &configs)], in_groups())
}

/// A record and a tombstone.
fn pair() -> Batch {
    let mut builder = BatchBuilder::new(Codec::None);
    for value in [Some(&b"d"[..]), None] {
        let record = RecordParts {
            key: Some(b"key"),
            value,
            ..RecordParts::default()
        };
        builder.push(record).expect("it fits");
    }
    builder.build().expect("a batch")
}

fn drop_all() -> Chain {
    let all = "(call $all (local.get $batch) (i32.const 1))";
    chain_of(&guests::Guest::filter(all).build(), spec("guest"))
}

#[test]
fn tombstones_pass_by_plugins_on_a_compacted_topic() {
    for (configs, left) in [
        (&[][..], 1),
        (&[("tidegate.compaction.tombstones", "filter")][..], 0),
    ] {
        let world = compacted(configs);
        for chain in [drop_all(), joined(&[transform(), drop_all()])] {
            world.bind("t", Some(&chain), None);
            world.produce(&pair(), Acks::All).expect("stored");
            let stored = world.stored("t", 0);
            let batch = Batch::check(stored.last().expect("one").batch.clone()).expect("whole");
            assert_eq!(batch.record_count(), left, "{configs:?}");
            assert_eq!(batch.header().last_offset_delta, 1);
        }
    }
}

/// Gives every record no key.
const NO_KEYS: &str = "
    (local $n i32) (local $offsets i32) (local $nulls i32)
    (local.set $n (i32.load offset=48 (local.get $batch)))
    (local.set $offsets (call $words (i32.add (local.get $n) (i32.const 1))))
    (memory.fill (local.get $offsets) (i32.const 0)
        (i32.shl (i32.add (local.get $n) (i32.const 1)) (i32.const 2)))
    (local.set $nulls (call $words (local.get $n)))
    (memory.fill (local.get $nulls) (i32.const 255) (local.get $n))
    (drop (call $untouched))
    (i32.store8 (i32.const 1044) (i32.const 1))
    (i32.store (i32.const 1056) (local.get $offsets))
    (i32.store (i32.const 1060) (i32.add (local.get $n) (i32.const 1)))
    (i32.store (i32.const 1072) (local.get $nulls))
    (i32.store (i32.const 1076) (i32.shr_u (i32.add (local.get $n) (i32.const 7)) (i32.const 3)))
    (i32.const 1024)";

#[test]
fn a_compacted_topic_takes_no_record_whose_key_a_plugin_took() {
    let chain = chain_of(&guests::Guest::transform(NO_KEYS).build(), spec("guest"));
    let sent = sent(&[b"ka", b"kb"]);
    // Where keys may not be replaced at all it is the plugin's contract that is broken.
    let world = compacted(&[]);
    world.bind("t", Some(&chain), None);
    let failed = world
        .produce(&sent, Acks::All)
        .expect_err("the key is fixed");
    assert_eq!(failed.code, ErrorCode::InvalidRecord);
    assert!(failed.message.contains("key"), "{}", failed.message);

    let world = compacted(&[("tidegate.compaction.rewrite.keys", "true")]);
    world.bind("t", Some(&chain), None);
    let failed = world.produce(&sent, Acks::All).expect_err("no key is left");
    assert_eq!(failed.code, ErrorCode::InvalidRecord);
    assert_eq!(failed.records.len(), 2);

    let world = World::new(&[("t", 1, &[])], in_groups());
    world.bind("t", Some(&chain), None);
    world.produce(&sent, Acks::All).expect("stored");
    let stored = Batch::check(world.stored("t", 0)[0].batch.clone()).expect("whole");
    let records = stored.records(OPEN).expect("it opens");
    assert!(records.iter().all(|record| record.key.is_none()));
}

fn transactional() -> Batch {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.transactional = true;
    builder.producer = Producer {
        id: 5,
        epoch: 0,
        base_sequence: 0,
    };
    for value in [&b"k"[..], b"d", b"e"] {
        let record = RecordParts {
            value: Some(value),
            ..RecordParts::default()
        };
        builder.push(record).expect("it fits");
    }
    builder.build().expect("a batch")
}

#[test]
fn transactions_pass_filters_and_transforms_but_no_router() {
    let world = World::new(&[("t", 1, &[]), ("out", 1, &[])], in_groups());
    world.bind("t", Some(&router()), None);
    let failed = world
        .produce(&transactional(), Acks::All)
        .expect_err("refused");
    assert_eq!(failed.code, ErrorCode::PolicyViolation);
    world.bind("t", Some(&joined(&[filter(), transform()])), None);
    world.produce(&transactional(), Acks::All).expect("stored");
    let stored = Batch::check(world.stored("t", 0)[0].batch.clone()).expect("whole");
    let header = stored.header();
    assert!(header.attributes.is_transactional());
    assert_eq!((header.producer_id, header.base_sequence), (5, 0));
    assert_eq!((header.record_count, header.last_offset_delta), (2, 2));
}

#[test]
fn what_plugins_make_too_large_is_refused_so_that_it_can_be_split() {
    let world = World::new(&[("t", 1, &[("max.message.bytes", "2500")])], in_groups());
    world.bind("t", Some(&growing()), None);
    let plain = |values: &[&[u8]]| {
        let values: Vec<_> = values.iter().map(|value| value.to_vec()).collect();
        batch(Producer::default(), Codec::None, &values)
    };
    let failed = world.produce(&plain(&[b"a", b"b", b"c"]), Acks::All);
    assert_eq!(
        failed.expect_err("too large").code,
        ErrorCode::MessageTooLarge
    );
    world
        .produce(&plain(&[b"a", b"b"]), Acks::All)
        .expect("stored");
    assert!(world.stored("t", 0)[0].batch.len() > 2000);
    // What the broker could not open again is refused too, however well it compresses.
    let many: Vec<&[u8]> = vec![b"a"; 1100];
    let failed = world.produce(&sent(&many), Acks::All);
    assert_eq!(
        failed.expect_err("too large").code,
        ErrorCode::MessageTooLarge
    );
}

#[test]
fn a_topic_keeps_its_codec_and_its_time_through_plugins() {
    let configs = [
        ("compression.type", "zstd"),
        ("message.timestamp.type", "LogAppendTime"),
    ];
    let world = World::new(&[("t", 1, &configs)], in_groups());
    for (chain, count) in [
        (filter(), 2),
        (transform(), 2),
        (joined(&[filter(), transform()]), 2),
    ] {
        world.bind("t", Some(&chain), None);
        let told = world
            .produce(&sent(&[b"k", b"d", b"e"]), Acks::All)
            .expect("stored");
        let stored = world.stored("t", 0);
        let batch = Batch::check(stored.last().expect("one").batch.clone()).expect("whole");
        assert_eq!(batch.record_count(), count);
        assert_eq!(batch.codec(), Ok(Codec::Zstd));
        assert!(batch.header().attributes.is_log_append_time());
        assert_eq!(batch.header().max_timestamp, told.append_timestamp);
    }
}

#[test]
fn routed_copies_carry_the_edits_made_before_the_router() {
    let world = World::new(&[("t", 1, &[]), ("out", 1, &[])], in_groups());
    world.bind("t", Some(&joined(&[transform(), router()])), None);
    world
        .produce(&sent(&[b"k", b"e", b"d"]), Acks::All)
        .expect("stored");
    world.bind("t", Some(&joined(&[router(), transform()])), None);
    world
        .produce(&sent(&[b"k", b"e", b"d"]), Acks::All)
        .expect("stored");
    world.log_barrier();
    let found: Vec<_> = values(&world, "out").into_iter().map(|(_, v)| v).collect();
    assert_eq!(
        found,
        [&b"k"[..], b"E", b"k", b"e", b"d"].map(<[u8]>::to_vec)
    );
    let found: Vec<_> = values(&world, "t").into_iter().map(|(_, v)| v).collect();
    assert_eq!(found, [&b"k"[..], b"E", b"k", b"E"].map(<[u8]>::to_vec));
}

#[test]
fn a_targets_transform_edits_what_is_routed_there() {
    let world = World::new(&[("t", 1, &[]), ("out", 1, &[])], in_groups());
    world.bind("t", Some(&router()), None);
    let chain = transform_under(spec("there"));
    world.bind("out", Some(&chain), None);
    world
        .produce(&sent(&[b"k", b"d", b"e"]), Acks::All)
        .expect("stored");
    world.log_barrier();
    assert_eq!(
        values(&world, "out"),
        [(0, b"k".to_vec()), (1, b"E".to_vec())]
    );
    assert_eq!(values(&world, "t").len(), 3);
}

/// By murmur2 of the key as it is then; without one, the partition that the record came from.
#[test]
fn the_target_partition_is_that_of_the_edited_key() {
    let world = World::new(&[("t", 2, &[]), ("out", 3, &[])], in_groups());
    let keyless = chain_of(&guests::Guest::transform(NO_KEYS).build(), spec("guest"));
    let values: Vec<_> = (b'a'..=b'f').map(|key| vec![b'k', key]).collect();
    let sent = batch(Producer::default(), Codec::None, &values);
    let spread = |chain: &Chain| {
        world.bind("t", Some(chain), None);
        let before: Vec<usize> = (0..3)
            .map(|index| world.stored("out", index).len())
            .collect();
        let outcome = world.partition("t", 1).produce(checked(&sent), Acks::All);
        world.outcome(outcome).expect("stored");
        let after = (0..3).map(|index| world.stored("out", index).len());
        after
            .zip(before)
            .map(|(after, before)| after > before)
            .collect::<Vec<bool>>()
    };
    assert_eq!(
        spread(&joined(&[keyless.clone(), router()])),
        [false, true, false]
    );
    // What a later plugin does to the key is nothing to the copy.
    assert_eq!(spread(&joined(&[router(), keyless])), [true, true, true]);
}
