//! Rules 10, 20, 22 and 24: routed records enter the log with their source or not at all, once, and in its order.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidegate_plugin::{BindingSpec, OnError, OnReject};
use tidegate_protocol::error::ErrorCode;
use tidegate_record::{Codec, Producer, partition_for_key};

use super::world::{
    TopicSpec, World, batch, chain_of, checked, dedup, filter, filter_under, joined, one_by_one,
    records, router, router_under, spec,
};
use crate::partition::Acks;
use crate::plugins::testbed::guests;

const TARGETS: u32 = 3;

#[derive(Debug, Clone)]
struct Send {
    /// A record for each key.
    keys: Vec<u8>,
    codec: Codec,
    written: bool,
    /// Sent a second time when it is through.
    twice: bool,
}

fn send() -> impl Strategy<Value = Send> {
    let keys = prop::collection::vec(b'0'..=b'8', 1..6);
    let codec = prop::sample::select(Codec::ALL.to_vec());
    (
        keys,
        codec,
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(keys, codec, written, twice)| Send {
            keys,
            codec,
            written,
            twice,
        })
}

proptest! {
    #![proptest_config(super::cases(200))]

    #[test]
    fn routes_and_their_source_are_one_append(sends in prop::collection::vec(send(), 1..12)) {
        let count = i32::try_from(TARGETS).expect("few");
        let world = World::new(&[("t", 1, &[]), ("out", count, &[])], one_by_one());
        world.bind("t", Some(&router()), None);
        let source = world.partition("t", 0);
        let target = |index| world.partition("out", index);
        let mut expected: BTreeMap<i32, Vec<Vec<u8>>> = BTreeMap::new();
        let mut next_offsets = BTreeMap::new();
        let mut writes = Vec::new();
        let mut sequence = 0;
        for (at, send) in sends.iter().enumerate() {
            let value = |(i, key): (usize, &u8)| [b"k", &[*key][..], format!("{at}/{i}").as_bytes()].concat();
            let values: Vec<_> = send.keys.iter().enumerate().map(value).collect();
            let producer = Producer { id: 1, epoch: 0, base_sequence: sequence };
            let sent = batch(producer, send.codec, &values);
            world.store.script(&[send.written]);
            let outcome = world.produce(&sent, Acks::All);
            if !send.written {
                prop_assert_eq!(outcome.expect_err("the write failed").code, ErrorCode::KafkaStorageError);
                continue;
            }
            let stored = outcome.expect("stored");
            if send.twice {
                prop_assert_eq!(world.produce(&sent, Acks::All), Ok(stored));
            }
            sequence += sent.header().last_offset_delta + 1;
            let mut write = vec![(source.id, stored.base_offset)];
            for index in 0..count {
                let chosen = values.iter().filter(|value| {
                    partition_for_key(&value[1..2], TARGETS) == index.unsigned_abs()
                });
                let chosen: Vec<_> = chosen.cloned().collect();
                if !chosen.is_empty() {
                    let next: &mut i64 = next_offsets.entry(index).or_default();
                    write.push((target(index).id, *next));
                    *next += i64::try_from(chosen.len()).expect("few");
                    expected.entry(index).or_default().extend(chosen);
                }
            }
            write.sort();
            writes.push(write);
        }
        // The targets' high watermarks follow right behind the last answer.
        world.log_barrier();
        let mut found = world.store.writes();
        found.iter_mut().for_each(|write| write.sort());
        prop_assert_eq!(found, writes);
        for index in 0..count {
            let stored = world.stored("out", index);
            prop_assert!(stored.iter().all(|stored| stored.row.producer_id == -1));
            let values = stored.iter().flat_map(|stored| records(&stored.batch)).map(|(_, v)| v);
            let values: Vec<_> = values.collect();
            prop_assert_eq!(values.clone(), expected.remove(&index).unwrap_or_default());
            let high_watermark = target(index).high_watermark();
            prop_assert_eq!(usize::try_from(high_watermark), Ok(values.len()));
        }
    }
}

/// With one target partition whose filter rejects what begins with an `r`.
fn routed_under(policy: OnError) -> World {
    let configs = [("tidegate.dead.letter.topic", "dlq")];
    let topics: [TopicSpec<'_>; 3] = [("t", 1, &configs), ("out", 1, &[]), ("dlq", 1, &[])];
    let world = World::new(&topics, one_by_one());
    world.bind("t", Some(&router_under(policy)), None);
    world.bind("out", Some(&filter()), None);
    world
}

fn values(world: &World, topic: &str) -> Vec<Vec<u8>> {
    let stored = world.stored(topic, 0);
    stored
        .iter()
        .flat_map(|stored| records(&stored.batch))
        .map(|(_, value)| value)
        .collect()
}

#[test]
fn what_a_target_rejects_is_told_in_the_clients_indices() {
    let count = i32::try_from(TARGETS).expect("few");
    let world = World::new(&[("t", 1, &[]), ("out", count, &[])], one_by_one());
    world.bind("t", Some(&router()), None);
    world.bind("out", Some(&filter()), None);
    let partition_of = |key: u8| partition_for_key(&[key], TARGETS);
    // The rejected ones stand first in their partition, so their places there say nothing of their places here.
    let elsewhere = (b'a'..=b'z').find(|key| partition_of(*key) != partition_of(b'0'));
    let other = elsewhere.expect("one of many keys");
    let values = [[b'k', other], [b'd', other], *b"r0", *b"k0", *b"r0"].map(Vec::from);
    let sent = batch(Producer::default(), Codec::None, &values);
    let failure = world.produce(&sent, Acks::All).expect_err("rejected");
    assert_eq!(failure.code, ErrorCode::InvalidRecord);
    let indices: Vec<i32> = failure.records.iter().map(|record| record.index).collect();
    assert_eq!(indices, [2, 4]);
    assert!(world.store.writes().is_empty());
}

#[test]
fn what_a_target_rejects_takes_nothing_else_with_it() {
    let sent = [b"ka".to_vec(), b"rb".into(), b"kc".into()];
    for (policy, source, letters) in [
        (OnError::Drop, vec![b"ka".to_vec(), b"kc".into()], vec![]),
        (OnError::Pass, sent.to_vec(), vec![]),
        (
            OnError::DeadLetter,
            vec![b"ka".to_vec(), b"kc".into()],
            vec![b"rb".to_vec()],
        ),
    ] {
        let world = routed_under(policy);
        let sent = batch(Producer::default(), Codec::None, &sent);
        assert_eq!(
            world.produce(&sent, Acks::All).expect("stored").base_offset,
            0
        );
        assert_eq!(values(&world, "t"), source, "{policy:?}");
        assert_eq!(
            values(&world, "out"),
            [b"ka".to_vec(), b"kc".into()],
            "{policy:?}"
        );
        assert_eq!(values(&world, "dlq"), letters, "{policy:?}");
    }
}

/// Whoever sends a dead letter again sends it to every target.
#[test]
fn a_dead_letter_leaves_no_copies_behind() {
    let configs = [("tidegate.dead.letter.topic", "dlq")];
    let others: [TopicSpec<'_>; 3] = [("out", 1, &[]), ("two", 1, &[]), ("dlq", 1, &[])];
    let world = World::new(
        &[&[("t", 1, &configs[..])][..], &others].concat(),
        one_by_one(),
    );
    let two = guests::Guest {
        extra: r#"(data (i32.const 640) "\88\02\00\00\03\00\00\00two")"#.into(),
        ..guests::Guest::router(guests::ROUTE_ALL)
    };
    let two = chain_of(&two.build(), spec("two"));
    world.bind("out", Some(&filter()), None);
    for chain in [
        [router_under(OnError::DeadLetter), two.clone()],
        [two, router_under(OnError::DeadLetter)],
    ] {
        world.bind("t", Some(&joined(&chain)), None);
        let values = [b"ka".to_vec(), b"rb".into(), b"kc".into()];
        let sent = batch(Producer::default(), Codec::None, &values);
        world.produce(&sent, Acks::All).expect("stored");
    }
    world.log_barrier();
    let left = [b"ka".to_vec(), b"kc".into(), b"ka".into(), b"kc".into()];
    for topic in ["t", "out", "two"] {
        assert_eq!(values(&world, topic), left, "{topic}");
    }
    assert_eq!(values(&world, "dlq"), [b"rb".to_vec(), b"rb".into()]);
}

/// The policy of a target's own chain is not asked: only the source knows an offset for the letter.
#[test]
fn what_a_targets_chain_would_dead_letter_meets_the_routers_policy() {
    let world = routed_under(OnError::Drop);
    let giving_up = filter_under(BindingSpec {
        on_reject: OnReject::DeadLetter,
        ..spec("there")
    });
    world.bind("out", Some(&giving_up), None);
    let values_sent = [b"ka".to_vec(), b"rb".into()];
    let sent = batch(Producer::default(), Codec::None, &values_sent);
    world.produce(&sent, Acks::All).expect("stored");
    world.log_barrier();
    for topic in ["t", "out"] {
        assert_eq!(values(&world, topic), [b"ka".to_vec()], "{topic}");
    }
    assert!(values(&world, "dlq").is_empty());
}

#[test]
fn targets_with_a_router_or_with_state_are_refused() {
    for there in [router(), dedup()] {
        let world = routed_under(OnError::Reject);
        world.bind("out", Some(&there), None);
        let sent = batch(Producer::default(), Codec::None, &[b"ka".into()]);
        let refused = world.produce(&sent, Acks::All).expect_err("refused");
        assert_eq!(refused.code, ErrorCode::PolicyViolation);
        assert!(world.store.writes().is_empty());
    }
}

#[test]
fn under_pause_whoever_produces_tries_again_until_the_target_takes_it() {
    let world = routed_under(OnError::Pause);
    let sent = batch(Producer::default(), Codec::None, &[b"rb".into()]);
    let refused = world.produce(&sent, Acks::All).expect_err("refused");
    assert_eq!(refused.code, ErrorCode::NotEnoughReplicas);
    assert!(world.store.writes().is_empty());
}

#[test]
fn a_rejected_batch_cancels_its_routes() {
    let world = World::new(&[("t", 1, &[]), ("out", 1, &[])], one_by_one());
    let both = [router(), filter()]
        .map(|chain| chain.bindings().to_vec())
        .concat();
    world.bind("t", Some(&tidegate_plugin::Chain::new(both)), None);
    let sent = batch(
        Producer::default(),
        Codec::None,
        &[b"ka".into(), b"rb".into()],
    );
    let outcome = world.outcome(world.partition("t", 0).produce(checked(&sent), Acks::All));
    assert_eq!(
        outcome.expect_err("rejected").code,
        ErrorCode::InvalidRecord
    );
    assert!(world.store.writes().is_empty());
}
