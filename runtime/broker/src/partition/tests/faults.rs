//! What happens when something fails: no sequence hole in the log, no lost answer, no stuck queue.

use super::world::{World, batch, checked, filter, in_groups, one_by_one, records, router};
use crate::partition::{Acks, ProduceFailure, ProduceOutcome};
use tidegate_protocol::error::ErrorCode;
use tidegate_record::{Batch, BatchBuilder, Codec, LeaderEpoch, Producer, RecordParts};
use tidegate_replication::Event;
use tidegate_storage::LogOptions;

fn of(base_sequence: i32, values: &[&str]) -> Batch {
    let values: Vec<_> = values
        .iter()
        .map(|value| value.as_bytes().to_vec())
        .collect();
    batch(
        Producer {
            id: 9,
            epoch: 0,
            base_sequence,
        },
        Codec::None,
        &values,
    )
}

fn code(outcome: ProduceOutcome) -> ErrorCode {
    outcome.expect_err("it must fail").code
}

fn values(world: &World, topic: &str, index: i32) -> Vec<String> {
    let stored = world.stored(topic, index);
    let records = stored.iter().flat_map(|stored| records(&stored.batch));
    records
        .map(|(_, value)| String::from_utf8(value).expect("text"))
        .collect()
}

#[test]
fn a_batch_behind_one_whose_write_failed_is_not_written() {
    let world = World::new(&[("t", 1, &[])], one_by_one());
    let partition = world.partition("t", 0);
    world.store.hold();
    let sent = [of(0, &["a"]), of(1, &["b"]), of(2, &["c"])];
    let outcomes = sent
        .each_ref()
        .map(|batch| partition.produce(checked(batch), Acks::Leader));
    world.store.script(&[true, false]);
    world.store.release();
    let [first, second, third] = outcomes.map(|outcome| world.outcome(outcome));
    assert_eq!(first.expect("stored").base_offset, 0);
    assert_eq!(code(second), ErrorCode::KafkaStorageError);
    assert_eq!(code(third), ErrorCode::OutOfOrderSequenceNumber);
    world.log_barrier();
    assert_eq!(values(&world, "t", 0), ["a"]);
    for (at, batch) in sent.iter().enumerate() {
        let stored = world.produce(batch, Acks::All).expect("the retry is taken");
        assert_eq!(usize::try_from(stored.base_offset), Ok(at));
    }
    assert_eq!(values(&world, "t", 0), ["a", "b", "c"]);
}

#[test]
fn a_batch_behind_a_refused_one_of_the_same_write_is_not_written() {
    let mut world = World::new(&[("t", 1, &[]), ("out", 1, &[])], in_groups());
    let partition = world.partition("t", 0);
    let stall = world.stall();
    world.bind("t", Some(&router()), None);
    let first = partition.produce(checked(&of(0, &["a"])), Acks::All);
    world.chain_barrier(&partition);
    world.bind("t", None, None);
    let second = partition.produce(checked(&of(1, &["b"])), Acks::All);
    // Of another producer, it has nothing to do with this.
    let other = batch(
        Producer {
            id: 8,
            epoch: 0,
            base_sequence: 0,
        },
        Codec::None,
        &[b"z".into()],
    );
    let third = partition.produce(checked(&other), Acks::All);
    world.delete_topic("out");
    drop(stall);
    assert_eq!(code(world.outcome(first)), ErrorCode::NotLeaderOrFollower);
    assert_eq!(
        code(world.outcome(second)),
        ErrorCode::OutOfOrderSequenceNumber
    );
    assert_eq!(world.outcome(third).expect("stored").base_offset, 0);
    assert_eq!(values(&world, "t", 0), ["z"]);
    assert_eq!(
        world
            .produce(&of(0, &["a"]), Acks::All)
            .expect("stored")
            .base_offset,
        1
    );
    assert_eq!(
        world
            .produce(&of(1, &["b"]), Acks::All)
            .expect("stored")
            .base_offset,
        2
    );
}

/// The chain rejects a batch while an earlier one of its producer is still with the writer: the retry goes on behind
/// that one and falls with it.
#[test]
fn a_retry_stands_behind_what_its_producer_still_has_with_the_writer() {
    let world = World::new(&[("t", 1, &[])], one_by_one());
    let partition = world.partition("t", 0);
    world.store.hold();
    let first = partition.produce(checked(&of(0, &["a"])), Acks::Leader);
    world.bind("t", Some(&filter()), None);
    let rejected = partition.produce(checked(&of(1, &["r"])), Acks::Leader);
    assert_eq!(code(world.outcome(rejected)), ErrorCode::InvalidRecord);
    let second = partition.produce(checked(&of(1, &["b"])), Acks::Leader);
    world.chain_barrier(&partition);
    world.store.script(&[false]);
    world.store.release();
    assert_eq!(code(world.outcome(first)), ErrorCode::KafkaStorageError);
    assert_eq!(
        code(world.outcome(second)),
        ErrorCode::OutOfOrderSequenceNumber
    );
    world.log_barrier();
    assert!(values(&world, "t", 0).is_empty());
}

#[test]
fn an_append_is_refused_under_another_epoch_than_it_was_admitted_in() {
    let world = World::new(&[("t", 1, &[])], in_groups());
    let partition = world.partition("t", 0);
    world.bind("t", Some(&filter()), None);
    let plug = world.plug(&partition);
    let outcome = partition.produce(checked(&of(0, &["a"])), Acks::All);
    let epoch = LeaderEpoch(partition.leader_epoch().0 + 1);
    let elected = Event::Elected {
        epoch,
        replicas: vec![0],
        isr: vec![0],
        min_isr: 1,
        log_end: 0,
        synced_end: 0,
        high_watermark: 0,
    };
    partition.lock().replica.step(elected, 0);
    world.log.set_epoch(partition.id, epoch);
    drop(plug);
    assert_eq!(code(world.outcome(outcome)), ErrorCode::NotLeaderOrFollower);
    assert!(values(&world, "t", 0).is_empty());
    assert_eq!(
        world
            .produce(&of(0, &["a"]), Acks::All)
            .expect("stored")
            .base_offset,
        0
    );
}

#[test]
fn a_panic_in_the_plugin_host_costs_its_batch_only() {
    let world = World::new(&[("t", 1, &[])], in_groups());
    let partition = world.partition("t", 0);
    let (ticket, outcome) = partition.admit_for_test();
    let behind = partition.produce(checked(&of(0, &["b"])), Acks::All);
    partition.work_on(ticket, || panic!("as the test wants it"));
    assert_eq!(code(world.outcome(outcome)), ErrorCode::UnknownServerError);
    assert_eq!(world.outcome(behind).expect("stored").base_offset, 0);
}

#[test]
fn whoever_waits_hears_that_the_partition_is_gone() {
    let world = World::new(&[("t", 1, &[])], in_groups());
    let partition = world.partition("t", 0);
    world.bind("t", Some(&filter()), None);
    let plug = world.plug(&partition);
    let sent = [of(0, &["a"]), of(1, &["b"]), of(1, &["b"])];
    let outcomes = sent.map(|batch| partition.produce(checked(&batch), Acks::All));
    partition.resign();
    for outcome in outcomes {
        assert_eq!(world.outcome(outcome), Err(ProduceFailure::gone()));
    }
    drop(plug);
    world.chain_barrier(&partition);
    world.log_barrier();
    assert!(values(&world, "t", 0).is_empty());
}

#[test]
fn control_batches_pass_the_chain_unseen() {
    let world = World::new(&[("t", 1, &[])], in_groups());
    world.bind("t", Some(&filter()), None);
    let mut builder = BatchBuilder::new(Codec::None);
    (builder.control, builder.transactional) = (true, true);
    builder.producer = Producer {
        id: 3,
        epoch: 1,
        base_sequence: -1,
    };
    let (key, value) = ([0, 0, 0, 1], *b"d\0\0\0\0\0");
    let record = RecordParts {
        key: Some(&key),
        value: Some(&value),
        ..RecordParts::default()
    };
    builder.push(record).expect("it fits");
    let marker = builder.build().expect("a batch");
    let outcome = world
        .partition("t", 0)
        .append_internal(marker.clone(), None);
    assert_eq!(world.outcome(outcome).expect("stored").base_offset, 0);
    let stored = &world.stored("t", 0)[0].batch;
    assert_eq!(stored[16..], marker.bytes()[16..]);
}

#[test]
fn a_duplicate_is_told_the_append_time_of_the_first() {
    let configs = [("message.timestamp.type", "LogAppendTime")];
    let mut world = World::new(&[("t", 1, &configs)], in_groups());
    world.bind("t", Some(&filter()), None);
    for (sequence, value) in [(0, "k"), (1, "d")] {
        let sent = of(sequence, &[value]);
        let first = world.produce(&sent, Acks::All).expect("stored");
        assert!(first.append_timestamp > 0);
        assert_eq!(world.produce(&sent, Acks::All), Ok(first));
        world.reopen();
        assert_eq!(world.produce(&sent, Acks::All), Ok(first));
        world.bind("t", Some(&filter()), None);
    }
}

#[test]
fn a_relaxed_topic_answers_and_shows_before_the_sync() {
    let never = LogOptions {
        lazy_sync_ms: u64::MAX,
        ..LogOptions::default()
    };
    for (configs, expected) in [
        (&[("flush.messages", "1000")][..], (1, 0)),
        (&[("flush.ms", "3600000")], (1, 0)),
        // What asks for a sync each time is answered behind it, as is who asks for nothing.
        (&[("flush.messages", "1"), ("flush.ms", "3600000")], (1, 1)),
        (&[], (1, 1)),
    ] {
        let world = World::new(&[("t", 1, configs)], never.clone());
        world.produce(&of(0, &["a"]), Acks::All).expect("stored");
        let partition = world.partition("t", 0);
        let synced = world.log.bounds(partition.id).expect("there").synced_end;
        assert_eq!(
            (partition.high_watermark(), synced),
            expected,
            "{configs:?}"
        );
    }
}
