//! Plugins that keep state: they see exactly the batches that are appended, in the order of the log.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tidegate_protocol::error::ErrorCode;
use tidegate_record::{Codec, Producer};

use tidegate_plugin::OnError;

use super::world::{
    TopicSpec, World, batch, checked, dedup, filter, in_groups, joined, one_by_one, records,
    router_under,
};
use crate::partition::Acks;

/// What one batch's records begin with, whether its write succeeds, and what its producer waits for.
type Sent = (Vec<u8>, bool, Acks);

fn sent() -> impl Strategy<Value = Sent> {
    let letters = prop::collection::vec(prop_oneof![12 => b'a'..=b'h', 1 => Just(b't')], 1..5);
    let acks = prop_oneof![Just(Acks::None), Just(Acks::Leader), Just(Acks::All)];
    (letters, prop::bool::weighted(0.8), acks)
}

fn values(world: &World) -> Vec<u8> {
    let stored = world.stored("t", 0);
    let records = stored.iter().flat_map(|stored| records(&stored.batch));
    records.map(|(_, value)| value[0]).collect()
}

proptest! {
    #![proptest_config(super::cases(300))]

    /// All batches are on their way together; some writes fail, some batches make the plugin trap, and now and then the
    /// partition has a new leader. The model remembers what it appended since it last lost something.
    #[test]
    fn state_is_of_what_was_appended(rounds in prop::collection::vec(
        (prop::collection::vec(sent(), 1..10), any::<bool>()),
        1..4,
    )) {
        let chain = dedup();
        let mut world = World::new(&[("t", 1, &[])], one_by_one());
        let mut seen = BTreeSet::new();
        let mut log: Vec<u8> = Vec::new();
        for (sent, elected) in rounds {
            world.bind("t", Some(&chain), None);
            let partition = world.partition("t", 0);
            let writes: Vec<bool> = sent
                .iter()
                .filter(|(letters, ..)| !letters.contains(&b't'))
                .map(|(_, written, _)| *written)
                .collect();
            let plug = world.plug(&partition);
            let outcomes: Vec<_> = sent
                .iter()
                .map(|(letters, _, acks)| {
                    let values: Vec<_> = letters.iter().map(|letter| vec![*letter]).collect();
                    partition.produce(checked(&batch(Producer::default(), Codec::None, &values)), *acks)
                })
                .collect();
            world.store.script(&writes);
            drop(plug);
            for ((letters, written, _), outcome) in sent.iter().zip(outcomes) {
                let outcome = world.outcome(outcome);
                if letters.contains(&b't') {
                    prop_assert_eq!(outcome.expect_err("it traps").code, ErrorCode::InvalidRecord);
                    seen.clear();
                } else if *written {
                    prop_assert!(outcome.is_ok(), "{outcome:?}");
                    log.extend(letters.iter().filter(|letter| seen.insert(**letter)));
                } else {
                    prop_assert_eq!(outcome.expect_err("not written").code, ErrorCode::KafkaStorageError);
                    seen.clear();
                }
            }
            world.log_barrier();
            world.store.script(&[]);
            prop_assert_eq!(values(&world), log.clone());
            if elected {
                partition.resign();
                world.reopen();
                seen.clear();
            }
        }
    }
}

#[test]
fn a_retry_of_what_was_not_appended_is_not_taken_for_a_repetition() {
    let world = World::new(&[("t", 1, &[])], one_by_one());
    world.bind("t", Some(&dedup()), None);
    let producer = Producer {
        id: 1,
        epoch: 0,
        base_sequence: 0,
    };
    let sent = batch(producer, Codec::None, &[b"a".to_vec(), b"b".to_vec()]);
    world.store.script(&[false]);
    let failed = world.produce(&sent, Acks::All).expect_err("not written");
    assert_eq!(failed.code, ErrorCode::KafkaStorageError);
    assert_eq!(
        world.produce(&sent, Acks::All).expect("stored").base_offset,
        0
    );
    assert_eq!(values(&world), b"ab");
    // A duplicate of what is stored meets no plugin, and what is new is compared with it.
    assert_eq!(
        world.produce(&sent, Acks::All).expect("known").base_offset,
        0
    );
    let more = batch(
        Producer {
            base_sequence: 2,
            ..producer
        },
        Codec::None,
        &[b"b".to_vec(), b"c".to_vec()],
    );
    assert_eq!(
        world.produce(&more, Acks::All).expect("stored").base_offset,
        2
    );
    assert_eq!(values(&world), b"abc");
}

/// What a later plugin rejects was not appended either.
#[test]
fn a_rejection_after_it_takes_the_state_along() {
    let world = World::new(&[("t", 1, &[])], in_groups());
    world.bind("t", Some(&joined(&[dedup(), filter()])), None);
    let send = |values: &[&[u8]]| {
        let values: Vec<_> = values.iter().map(|value| value.to_vec()).collect();
        world.produce(&batch(Producer::default(), Codec::None, &values), Acks::All)
    };
    assert_eq!(
        send(&[b"a", b"r"]).expect_err("rejected").code,
        ErrorCode::InvalidRecord
    );
    send(&[b"a", b"b"]).expect("stored");
    assert_eq!(values(&world), b"ab");
}

#[test]
fn each_partition_has_its_own_state_and_keeps_it() {
    let world = World::new(&[("t", 2, &[])], in_groups());
    let chain = dedup();
    world.bind("t", Some(&chain), None);
    let send = |index: i32, value: &[u8]| {
        let sent = batch(Producer::default(), Codec::None, &[value.to_vec()]);
        let outcome = world
            .partition("t", index)
            .produce(checked(&sent), Acks::All);
        world.outcome(outcome).expect("stored");
        let stored = world.stored("t", index);
        records(&stored.last().expect("one at least").batch).len()
    };
    assert_eq!((send(0, b"a"), send(1, b"a")), (1, 1));
    assert_eq!((send(0, b"a"), send(1, b"a")), (0, 0));
    world.partition("t", 1).resign();
    assert_eq!(
        send(0, b"a"),
        0,
        "another partition's leader is nothing to it"
    );
}

/// A record that its target refuses goes to the dead letters; redriven, it is no repetition.
#[test]
fn what_a_target_refuses_is_not_remembered() {
    let topics: [TopicSpec<'_>; 3] = [
        ("t", 1, &[("tidegate.dead.letter.topic", "dlq")]),
        ("out", 1, &[("max.message.bytes", "20")]),
        ("dlq", 1, &[]),
    ];
    let world = World::new(&topics, one_by_one());
    let chain = joined(&[dedup(), router_under(OnError::DeadLetter)]);
    world.bind("t", Some(&chain), None);
    let sent = batch(Producer::default(), Codec::None, &[b"a".to_vec()]);
    for letters in 1..=2 {
        world.produce(&sent, Acks::All).expect("stored");
        let dead = world.stored("dlq", 0);
        assert_eq!(dead.len(), letters, "a repetition would have been dropped");
    }
}
