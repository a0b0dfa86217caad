//! Transactions in one partition: a `read_committed` consumer, who does what Kafka's clients do with the aborted list,
//! reads what was committed and nothing else, through filters, holes and restarts.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use tidegate_plugin::Chain;
use tidegate_protocol::error::ErrorCode;
use tidegate_record::{Batch, BatchBuilder, Codec, EndMarker, Offset, Producer, RecordParts, gap};

use super::world::{World, checked, filter, in_groups, records};
use crate::config::GapMode;
use crate::partition::{Acks, Cursor, Isolation, Marker, ProduceFailure, ProduceOutcome};

fn of(id: i64, epoch: i16, base_sequence: i32, values: &[&str]) -> Batch {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.transactional = true;
    builder.producer = Producer {
        id,
        epoch,
        base_sequence,
    };
    for value in values {
        let record = RecordParts {
            value: Some(value.as_bytes()),
            ..RecordParts::default()
        };
        builder.push(record).expect("it fits");
    }
    builder.build().expect("a batch")
}

fn marker(producer_id: i64, producer_epoch: i16, commit: bool) -> Marker {
    Marker {
        producer_id,
        producer_epoch,
        coordinator_epoch: 0,
        commit,
    }
}

fn world(produce: Option<&Chain>, consume: Option<&Chain>) -> World {
    let world = World::new(&[("t", 1, &[])], in_groups());
    world.bind("t", produce, consume);
    world
}

fn end(world: &World, marker: Marker) -> ProduceOutcome {
    world.outcome(world.partition("t", 0).end_transaction(marker))
}

fn code(outcome: ProduceOutcome) -> ErrorCode {
    outcome.expect_err("it must fail").code
}

/// Reads like a client: what the broker sends from an offset on, without what it lists as aborted.
fn read(world: &World, isolation: Isolation, mode: GapMode, from: Offset) -> Vec<(Offset, String)> {
    let partition = world.partition("t", 0);
    let (mut position, mut resumed) = (from, None);
    let mut found = Vec::new();
    loop {
        let end = partition.visible_end(isolation);
        let next: Offset = resumed.take().unwrap_or(position);
        let mut cursor = Cursor::new(position, next).isolated(isolation);
        if mode != GapMode::Marker {
            cursor = cursor.without_control();
        }
        let aborted = world.block_on(async {
            // One small step at a time, so that transactions are cut by the ends of answers.
            partition
                .scan(&mut cursor, end, 150, true)
                .await
                .expect("it can be read");
            partition
                .aborted_for(&cursor)
                .await
                .expect("it can be read")
        });
        let answer = cursor.finish(mode);
        if answer.batches.is_empty() && answer.resume.is_none() {
            return found;
        }
        let mut pending: Vec<(Offset, i64)> = aborted
            .iter()
            .map(|aborted| (aborted.first_offset, aborted.producer_id))
            .collect();
        pending.sort_unstable();
        let mut leaving_out = HashSet::new();
        for bytes in &answer.batches {
            let batch = Batch::check(bytes.clone()).expect("a whole batch");
            let header = *batch.header();
            while pending
                .first()
                .is_some_and(|(first, _)| *first <= batch.last_offset())
            {
                leaving_out.insert(pending.remove(0).1);
            }
            position = batch.last_offset() + 1;
            if header.attributes.is_control() {
                let is_gap = header.producer_id == gap::GAP_PRODUCER_ID;
                assert!(is_gap || mode == GapMode::Marker, "{header:?}");
                if mode == GapMode::Marker {
                    let end = EndMarker::of(&batch).expect("a marker").expect("a marker");
                    if !end.commit {
                        leaving_out.remove(&header.producer_id);
                    }
                }
                continue;
            }
            if header.attributes.is_transactional() && leaving_out.contains(&header.producer_id) {
                continue;
            }
            let of_batch = records(bytes).into_iter();
            found.extend(
                of_batch
                    .filter(|(offset, _)| *offset >= from)
                    .map(|(offset, value)| (offset, String::from_utf8(value).expect("text"))),
            );
        }
        if let Some((asked, next)) = answer.resume {
            assert_eq!(asked, position);
            resumed = Some(next);
        }
    }
}

fn committed(world: &World) -> Vec<(Offset, String)> {
    read(world, Isolation::ReadCommitted, GapMode::Marker, 0)
}

fn texts(found: Vec<(Offset, String)>) -> Vec<String> {
    found.into_iter().map(|(_, value)| value).collect()
}

#[test]
fn committed_reading_ends_at_the_first_open_transaction() {
    let world = world(None, None);
    world
        .produce(&of(1, 0, 0, &["a"]), Acks::All)
        .expect("stored");
    world
        .produce(&of(2, 0, 0, &["x"]), Acks::All)
        .expect("stored");
    assert!(committed(&world).is_empty());
    let partition = world.partition("t", 0);
    assert_eq!(
        (partition.last_stable_offset(), partition.high_watermark()),
        (0, 2)
    );
    end(&world, marker(2, 0, false)).expect("written");
    assert_eq!(
        partition.last_stable_offset(),
        0,
        "the other one is still open"
    );
    end(&world, marker(1, 0, true)).expect("written");
    assert_eq!(partition.last_stable_offset(), 4);
    assert_eq!(texts(committed(&world)), ["a"]);
    let all = read(&world, Isolation::ReadUncommitted, GapMode::Marker, 0);
    assert_eq!(texts(all), ["a", "x"]);
}

#[test]
fn a_batch_waits_for_the_coordinator_and_holds_back_nobody_else() {
    let world = world(None, None);
    let partition = world.partition("t", 0);
    let first = partition.produce(checked(&of(1, 0, 0, &["a"])), Acks::Leader);
    let second = partition.produce(checked(&of(1, 0, 1, &["b"])), Acks::Leader);
    world
        .produce(&of(2, 0, 0, &["x"]), Acks::Leader)
        .expect("it passes");
    assert!(partition.asks(1, 0));
    assert!(!partition.asks(1, 0), "one question is enough");
    assert!(!partition.asks(1, 1));
    partition.confirm(1, 0, Ok(()));
    assert_eq!(world.outcome(first).expect("stored").base_offset, 1);
    assert_eq!(world.outcome(second).expect("stored").base_offset, 2);
    let third = partition.produce(checked(&of(1, 0, 2, &["c"])), Acks::Leader);
    assert!(!partition.asks(1, 0), "until the transaction ends");
    world.outcome(third).expect("stored");
    end(&world, marker(1, 0, true)).expect("written");
    let next = partition.produce(checked(&of(1, 0, 3, &["d"])), Acks::Leader);
    assert!(partition.asks(1, 0), "the next transaction is another");
    partition.confirm(1, 0, Ok(()));
    world.outcome(next).expect("stored");
}

#[test]
fn what_the_coordinator_refuses_is_not_written() {
    let world = world(None, None);
    let partition = world.partition("t", 0);
    let sent = [of(1, 0, 0, &["a"]), of(1, 0, 1, &["b"])];
    let outcomes = sent
        .each_ref()
        .map(|batch| partition.produce(checked(batch), Acks::Leader));
    assert!(partition.asks(1, 0));
    let refusal = ProduceFailure::new(ErrorCode::InvalidTxnState, "not yours");
    partition.confirm(1, 0, Err(refusal));
    for outcome in outcomes {
        assert_eq!(code(world.outcome(outcome)), ErrorCode::InvalidTxnState);
    }
    world.log_barrier();
    assert!(world.stored("t", 0).is_empty());
    world
        .produce(&sent[0], Acks::All)
        .expect("another try is taken");
}

#[test]
fn a_producer_with_an_open_transaction_writes_nothing_outside_of_it() {
    let world = world(None, None);
    world
        .produce(&of(1, 0, 0, &["a"]), Acks::All)
        .expect("stored");
    let plain = super::world::batch(
        Producer {
            id: 1,
            epoch: 0,
            base_sequence: 1,
        },
        Codec::None,
        &[b"b".to_vec()],
    );
    assert_eq!(
        code(world.produce(&plain, Acks::All)),
        ErrorCode::InvalidTxnState
    );
    end(&world, marker(1, 0, true)).expect("written");
    world
        .produce(&plain, Acks::All)
        .expect("the transaction is over");
}

#[test]
fn a_marker_stands_behind_all_of_its_transaction_and_fences_the_rest() {
    let world = world(Some(&filter()), None);
    let partition = world.partition("t", 0);
    world
        .produce(&of(1, 0, 0, &["a"]), Acks::All)
        .expect("stored");
    let plug = world.plug(&partition);
    let stuck = partition.produce(checked(&of(1, 0, 1, &["b"])), Acks::Leader);
    let ended = partition.end_transaction(marker(1, 1, false));
    let late = partition.produce(checked(&of(1, 0, 2, &["c"])), Acks::Leader);
    assert_eq!(code(world.outcome(late)), ErrorCode::InvalidProducerEpoch);
    drop(plug);
    assert_eq!(world.outcome(stuck).expect("stored").base_offset, 1);
    assert_eq!(world.outcome(ended).expect("written").base_offset, 2);
    assert!(committed(&world).is_empty());
    assert_eq!(partition.last_stable_offset(), 3, "nothing hangs");
    // The epoch of the marker begins anew.
    let skipped = world.produce(&of(1, 1, 3, &["d"]), Acks::All);
    assert_eq!(code(skipped), ErrorCode::OutOfOrderSequenceNumber);
    world
        .produce(&of(1, 1, 0, &["d"]), Acks::All)
        .expect("stored");
    assert_eq!(
        code(end(&world, marker(1, 0, true))),
        ErrorCode::InvalidProducerEpoch
    );
}

#[test]
fn an_older_coordinator_is_fenced() {
    let world = world(None, None);
    let newer = Marker {
        coordinator_epoch: 5,
        ..marker(1, 0, true)
    };
    end(&world, newer).expect("written");
    let older = Marker {
        coordinator_epoch: 4,
        ..newer
    };
    assert_eq!(
        code(end(&world, older)),
        ErrorCode::TransactionCoordinatorFenced
    );
}

#[test]
fn a_marker_behind_a_batch_whose_write_failed_is_written() {
    let world = world(None, None);
    let partition = world.partition("t", 0);
    world
        .produce(&of(1, 0, 0, &["a"]), Acks::All)
        .expect("stored");
    world.store.script(&[false]);
    let lost = partition.produce(checked(&of(1, 0, 1, &["b"])), Acks::Leader);
    let ended = partition.end_transaction(marker(1, 0, false));
    assert_eq!(code(world.outcome(lost)), ErrorCode::KafkaStorageError);
    world.outcome(ended).expect("written");
    assert_eq!(partition.last_stable_offset(), 2);
}

#[test]
fn a_restart_finds_what_is_open_and_what_was_aborted() {
    let mut world = world(None, None);
    world
        .produce(&of(1, 0, 0, &["a"]), Acks::All)
        .expect("stored");
    end(&world, marker(1, 0, false)).expect("written");
    world
        .produce(&of(2, 3, 0, &["b"]), Acks::All)
        .expect("stored");
    world.reopen();
    let partition = world.partition("t", 0);
    assert_eq!(partition.last_stable_offset(), 2);
    assert!(committed(&world).is_empty());
    let known = partition.producers();
    let open = known.iter().find(|(producer, _)| producer.id == 2);
    assert_eq!(
        open.expect("known").1,
        Some(2),
        "its transaction begins there"
    );
    // The coordinator had confirmed it before the batch was written.
    let more = partition.produce(checked(&of(2, 3, 1, &["c"])), Acks::All);
    assert!(!partition.asks(2, 3));
    world.outcome(more).expect("stored");
    end(&world, marker(2, 3, true)).expect("written");
    assert_eq!(texts(committed(&world)), ["b", "c"]);
}

#[derive(Debug, Clone)]
enum Step {
    /// Values of one batch; `d` is dropped by a filter.
    Send(i64, Vec<char>),
    End(i64, bool),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let value = prop_oneof![3 => Just('k'), 2 => Just('d')];
    prop_oneof![
        6 => (0i64..4, prop::collection::vec(value, 1..4))
            .prop_map(|(producer, values)| Step::Send(producer, values)),
        4 => (0i64..4, any::<bool>()).prop_map(|(producer, commit)| Step::End(producer, commit)),
        1 => Just(Step::Restart),
    ]
}

/// What a reader must find, from the history alone.
#[derive(Default)]
struct Model {
    end: Offset,
    /// Offset, value, and the producer while its transaction is open.
    records: Vec<(Offset, String)>,
    open: BTreeMap<i64, Vec<Offset>>,
    aborted: HashSet<Offset>,
    sequences: BTreeMap<i64, i32>,
}

impl Model {
    /// Producer 0 writes outside of transactions.
    fn send(&mut self, producer: i64, values: &[char]) -> Batch {
        let sequence = self.sequences.entry(producer).or_default();
        let texts: Vec<String> = values
            .iter()
            .enumerate()
            .map(|(at, value)| format!("{value}{}", self.end + at as i64))
            .collect();
        let batch = of(
            producer,
            0,
            *sequence,
            &texts.iter().map(String::as_str).collect::<Vec<_>>(),
        );
        *sequence += i32::try_from(values.len()).expect("few");
        for text in texts {
            if producer > 0 {
                self.open.entry(producer).or_default().push(self.end);
            }
            self.records.push((self.end, text));
            self.end += 1;
        }
        match producer {
            0 => plain(&batch),
            _ => batch,
        }
    }

    fn finish(&mut self, producer: i64, commit: bool) {
        let offsets = self.open.remove(&producer).unwrap_or_default();
        if !commit {
            self.aborted.extend(offsets);
        }
        self.end += 1;
    }

    fn stable(&self) -> Offset {
        let firsts = self.open.values().filter_map(|offsets| offsets.first());
        firsts.copied().min().unwrap_or(self.end)
    }

    fn committed(&self, from: Offset, filtered: bool) -> Vec<(Offset, String)> {
        let stable = self.stable();
        self.records
            .iter()
            .filter(|(offset, value)| {
                (from..stable).contains(offset)
                    && !self.aborted.contains(offset)
                    && !(filtered && value.starts_with('d'))
            })
            .cloned()
            .collect()
    }
}

fn plain(batch: &Batch) -> Batch {
    let header = *batch.header();
    let values: Vec<_> = records(batch.bytes()).into_iter().map(|(_, v)| v).collect();
    super::world::batch(
        Producer {
            id: header.producer_id,
            epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
        },
        Codec::None,
        &values,
    )
}

proptest! {
    #![proptest_config(super::cases(60))]

    #[test]
    fn committed_readers_follow_the_model(
        steps in prop::collection::vec(step(), 1..25),
        filtered in prop_oneof![Just(None), Just(Some(true)), Just(Some(false))],
        from in 0i64..10,
    ) {
        let chain = filter();
        let (produce, consume) = match filtered {
            None => (None, None),
            Some(true) => (Some(&chain), None),
            Some(false) => (None, Some(&chain)),
        };
        let mut world = world(produce, consume);
        let mut model = Model::default();
        for step in &steps {
            match step {
                Step::Send(producer, values) => {
                    let first = model.end;
                    let batch = model.send(*producer, values);
                    let stored = world.produce(&batch, Acks::All);
                    prop_assert_eq!(stored.map(|stored| stored.base_offset), Ok(first));
                }
                Step::End(0, _) => continue,
                Step::End(producer, commit) => {
                    let at = end(&world, marker(*producer, 0, *commit));
                    prop_assert_eq!(at.map(|stored| stored.base_offset), Ok(model.end));
                    model.finish(*producer, *commit);
                }
                Step::Restart => {
                    world.reopen();
                    world.bind("t", produce, consume);
                }
            }
            let partition = world.partition("t", 0);
            prop_assert_eq!(partition.last_stable_offset(), model.stable());
        }
        let from = from.min(model.stable());
        let expected = model.committed(from, filtered.is_some());
        for mode in [GapMode::Marker, GapMode::Before, GapMode::Cursor] {
            let found = read(&world, Isolation::ReadCommitted, mode, from);
            prop_assert_eq!(&found, &expected, "{:?}", mode);
        }
    }
}
