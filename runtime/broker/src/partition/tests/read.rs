//! The consume path on random logs: a consumer that follows Kafka's rules reads every record that is left once, in
//! order, and gets to the end, however it is told of holes.

use std::collections::HashMap;

use proptest::prelude::*;
use tidegate_plugin::{BindingSpec, OnError};
use tidegate_record::{Batch, BatchBuilder, Codec, Offset, Producer, RecordParts, gap};
use tidegate_storage::LogOptions;

use super::world::{
    TIMESTAMP, World, batch, filter, filter_under, growing, in_groups, joined, records, spec,
    transform,
};
use crate::config::GapMode;
use crate::partition::{Acks, Cursor, ReadFailure};

#[derive(Debug, Clone)]
enum Piece {
    /// One offset for each entry; those that are `None` were dropped on produce.
    Records(Vec<Option<u8>>, Codec),
    /// The end of a transaction.
    Control,
    /// The broker starts again, under the next epoch.
    Restart,
}

#[derive(Debug, Clone)]
struct Scene {
    pieces: Vec<Piece>,
    tail_cache_bytes: usize,
    consume_chain: bool,
    /// In hundredths of the log.
    log_start: i64,
    from: i64,
    max_bytes: Vec<usize>,
}

fn piece() -> impl Strategy<Value = Piece> {
    let value = prop_oneof![
        3 => Just(None),
        3 => Just(Some(b'k')),
        1 => Just(Some(b'd')),
        1 => Just(Some(b'e')),
    ];
    let codec = prop_oneof![3 => Just(Codec::None), 1 => Just(Codec::Lz4)];
    let dropped = (1usize..6).prop_map(|count| Piece::Records(vec![None; count], Codec::None));
    let mixed = prop::collection::vec(value, 1..7);
    prop_oneof![
        8 => (mixed, codec).prop_map(|(values, codec)| Piece::Records(values, codec)),
        4 => dropped,
        1 => Just(Piece::Control),
        1 => Just(Piece::Restart),
    ]
}

fn scene() -> impl Strategy<Value = Scene> {
    let bytes = prop_oneof![
        Just(0),
        Just(1),
        Just(80),
        Just(200),
        Just(500),
        Just(1 << 20)
    ];
    (
        prop::collection::vec(piece(), 1..25),
        prop_oneof![Just(0), Just(700), Just(1 << 20)],
        any::<bool>(),
        prop_oneof![2 => Just(0), 1 => 0..100i64],
        prop_oneof![2 => Just(0), 3 => 0..=100i64],
        prop::collection::vec(bytes, 1..4),
    )
        .prop_map(
            |(pieces, tail_cache_bytes, consume_chain, log_start, from, max_bytes)| Scene {
                pieces,
                tail_cache_bytes,
                consume_chain,
                log_start,
                from,
                max_bytes,
            },
        )
}

/// A stored batch, as the model knows it.
struct Known {
    last_offset: Offset,
    epoch: i32,
    records: Vec<(Offset, Vec<u8>)>,
}

struct Stage {
    world: World,
    log: Vec<Known>,
    chain: bool,
}

impl Stage {
    fn build(scene: &Scene) -> Stage {
        let options = LogOptions {
            tail_cache_bytes: scene.tail_cache_bytes,
            ..in_groups()
        };
        let mut stage = Stage {
            world: World::new(&[("t", 1, &[])], options),
            log: Vec::new(),
            chain: scene.consume_chain,
        };
        for piece in &scene.pieces {
            match piece {
                Piece::Restart => stage.world.reopen(),
                Piece::Control => stage.append(control(), 1, &[]),
                Piece::Records(values, codec) => {
                    let base = stage.end();
                    let values: Vec<_> = (base..)
                        .zip(values)
                        .map(|(at, v)| (at, value(at, *v)))
                        .collect();
                    let left = values
                        .iter()
                        .filter_map(|(at, value)| Some((*at, value.clone()?)));
                    let left: Vec<_> = left.collect();
                    stage.append(sparse(&values, *codec), values.len(), &left);
                }
            }
        }
        // The high watermark follows right behind the last answer.
        stage.world.log_barrier();
        stage
            .world
            .bind("t", None, scene.consume_chain.then(transform).as_ref());
        stage
    }

    fn append(&mut self, batch: Batch, count: usize, left: &[(Offset, Vec<u8>)]) {
        let (base, control) = (self.end(), batch.header().attributes.is_control());
        let last = left.last().map_or(-1, |(offset, _)| offset - base);
        let last_surviving = if control {
            0
        } else {
            i32::try_from(last).expect("few")
        };
        assert_eq!(self.world.append_raw(batch, last_surviving), base);
        self.log.push(Known {
            last_offset: base + i64::try_from(count).expect("few") - 1,
            epoch: self.world.partition("t", 0).leader_epoch().0,
            records: left.to_vec(),
        });
    }

    fn end(&self) -> Offset {
        self.log.last().map_or(0, |known| known.last_offset + 1)
    }

    /// What a consumer from `from` on must see.
    fn visible(&self, from: Offset) -> Vec<(Offset, Vec<u8>)> {
        let all = self.log.iter().flat_map(|known| &known.records);
        let visible = all.filter(|(at, value)| *at >= from && !(self.chain && value[0] == b'd'));
        let seen = |(at, value): &(Offset, Vec<u8>)| match (self.chain, value[0]) {
            (true, b'e') => (*at, b"E".to_vec()),
            _ => (*at, value.clone()),
        };
        visible.map(seen).collect()
    }

    fn known(&self, offset: Offset) -> &Known {
        self.log
            .iter()
            .find(|known| known.last_offset >= offset)
            .expect("below the end")
    }
}

fn value(at: Offset, kind: Option<u8>) -> Option<Vec<u8>> {
    Some([&[kind?, b'x'][..], at.to_string().as_bytes()].concat())
}

pub(crate) fn sparse(values: &[(Offset, Option<Vec<u8>>)], codec: Codec) -> Batch {
    let mut builder = BatchBuilder::new(codec);
    builder.last_offset_delta = Some(i32::try_from(values.len()).expect("few") - 1);
    for (delta, (_, value)) in (0..).zip(values) {
        let Some(value) = value else { continue };
        let record = RecordParts {
            offset_delta: Some(delta),
            timestamp: TIMESTAMP,
            value: Some(value),
            ..RecordParts::default()
        };
        builder.push(record).expect("it fits");
    }
    builder.build().expect("a batch")
}

fn control() -> Batch {
    let mut builder = BatchBuilder::new(Codec::None);
    (builder.control, builder.transactional) = (true, true);
    builder.producer = Producer {
        id: 3,
        epoch: 1,
        base_sequence: -1,
    };
    let record = RecordParts {
        timestamp: TIMESTAMP,
        key: Some(&[0, 0, 0, 1]),
        value: Some(&[0; 6]),
        ..RecordParts::default()
    };
    builder.push(record).expect("it fits");
    builder.build().expect("a batch")
}

/// A consumer and its connection.
struct Consumer<'a> {
    stage: &'a Stage,
    mode: GapMode,
    /// Where the next fetch starts: behind the last batch that came.
    position: Offset,
    /// What the broker keeps for a connection in mode `cursor`.
    resumes: HashMap<Offset, Offset>,
    seen: Vec<(Offset, Vec<u8>)>,
}

impl Consumer<'_> {
    fn read_to_the_end(&mut self, max_bytes: &[usize]) -> Result<(), TestCaseError> {
        let end = self.stage.end();
        for max_bytes in max_bytes.iter().cycle() {
            if self.standing() >= end {
                return Ok(());
            }
            let before = (self.position, self.standing());
            self.fetch(*max_bytes)?;
            let after = (self.position, self.standing());
            prop_assert!(after > before, "stands still at {before:?} of {end}");
        }
        Ok(())
    }

    /// Where the broker goes on for this consumer.
    fn standing(&self) -> Offset {
        self.resumes
            .get(&self.position)
            .copied()
            .unwrap_or(self.position)
    }

    fn fetch(&mut self, max_bytes: usize) -> Result<(), TestCaseError> {
        let partition = self.stage.world.partition("t", 0);
        let (asked, high_watermark) = (self.position, partition.high_watermark());
        let mut cursor = Cursor::new(asked, self.standing());
        let scanned: Result<(), ReadFailure> = self.stage.world.block_on(async {
            loop {
                let first = cursor.bytes == 0;
                if !partition
                    .scan(&mut cursor, high_watermark, max_bytes, first)
                    .await?
                {
                    return Ok(());
                }
            }
        });
        prop_assert!(scanned.is_ok(), "{scanned:?}");
        let answer = cursor.finish(self.mode);
        let is_data = |bytes: &&bytes::Bytes| {
            let batch = Batch::check((*bytes).clone()).expect("whole, with a good CRC");
            batch.header().producer_id != gap::GAP_PRODUCER_ID
        };
        let sizes: Vec<_> = answer
            .batches
            .iter()
            .filter(is_data)
            .map(bytes::Bytes::len)
            .collect();
        prop_assert!(
            sizes.len() <= 1 || sizes.iter().sum::<usize>() <= max_bytes,
            "{sizes:?}"
        );
        for (at, bytes) in answer.batches.iter().enumerate() {
            let batch = Batch::check(bytes.clone()).expect("whole, with a good CRC");
            if batch.header().producer_id == gap::GAP_PRODUCER_ID {
                prop_assert_eq!(at + 1, answer.batches.len(), "a marker comes last");
                self.check_marker(&batch, asked, at == 0)?;
            } else {
                self.take(&batch, asked)?;
            }
            // What a client keeps of a batch: the offset behind it, and its leader's epoch.
            prop_assert!(
                batch.last_offset() >= self.position,
                "a batch that moves nobody"
            );
            prop_assert!(batch.last_offset() < high_watermark);
            let epoch = self.stage.known(batch.last_offset()).epoch;
            prop_assert_eq!(batch.leader_epoch().0, epoch);
            self.position = batch.last_offset() + 1;
        }
        if let Some((asked, next)) = answer.resume {
            prop_assert_eq!((self.mode, asked), (GapMode::Cursor, self.position));
            prop_assert!(next > asked && next <= high_watermark);
            self.resumes.insert(asked, next);
        }
        Ok(())
    }

    fn check_marker(
        &self,
        marker: &Batch,
        asked: Offset,
        alone: bool,
    ) -> Result<(), TestCaseError> {
        let header = marker.header();
        prop_assert!(header.attributes.is_control() && header.attributes.is_transactional());
        prop_assert!(asked <= marker.last_offset());
        let known = self.stage.known(marker.last_offset());
        prop_assert_eq!(
            marker.last_offset(),
            known.last_offset,
            "the last scanned offset"
        );
        match self.mode {
            GapMode::Marker => prop_assert_eq!(marker.base_offset(), marker.last_offset()),
            GapMode::Before => {
                prop_assert!(alone);
                // At 0 its offset is -1, which no batch of a log can say and `records` refuses.
                prop_assert!(asked == 0 || records(marker.bytes())[0].0 == asked - 1);
            }
            GapMode::Cursor => prop_assert!(false, "this client cannot read a marker"),
        }
        Ok(())
    }

    fn take(&mut self, batch: &Batch, asked: Offset) -> Result<(), TestCaseError> {
        let found = records(batch.bytes());
        let Some((last, _)) = found.last() else {
            prop_assert!(false, "a batch without records");
            return Ok(());
        };
        prop_assert!(
            *last >= asked,
            "its records all lie before the fetch offset"
        );
        prop_assert_eq!(batch.last_offset(), *last, "cut where its records end");
        if !batch.header().attributes.is_control() {
            let position = self.position;
            self.seen
                .extend(found.into_iter().filter(|(offset, _)| *offset >= position));
        } else {
            prop_assert!(!self.stage.chain, "real markers are elided behind a chain");
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(super::cases(1000))]

    #[test]
    fn a_consumer_reads_what_is_left_and_gets_to_the_end(scene in scene()) {
        let stage = Stage::build(&scene);
        let partition = stage.world.partition("t", 0);
        prop_assert_eq!(partition.high_watermark(), stage.end());
        let log_start = stage.end() * scene.log_start / 100;
        partition.delete_below(log_start).expect("the log start moves");
        let from = log_start + (stage.end() - log_start) * scene.from / 100;
        for mode in [GapMode::Marker, GapMode::Before, GapMode::Cursor] {
            let resumes = HashMap::new();
            let mut consumer = Consumer { stage: &stage, mode, position: from, resumes, seen: vec![] };
            consumer.read_to_the_end(&scene.max_bytes)?;
            prop_assert_eq!(&consumer.seen, &stage.visible(from), "{:?}", mode);
            // The same consumer again, on the same connection.
            (consumer.position, consumer.seen) = (log_start, Vec::new());
            consumer.read_to_the_end(&scene.max_bytes)?;
            prop_assert_eq!(&consumer.seen, &stage.visible(log_start), "{:?} again", mode);
        }
    }
}

#[test]
fn a_chain_that_fails_stops_its_consumers_right_before_the_record() {
    let world = World::new(&[("t", 1, &[])], in_groups());
    for values in ["k", "kd", "d", "kt", "k"] {
        let values: Vec<_> = values.bytes().map(|kind| vec![kind]).collect();
        world
            .produce(&batch(Producer::default(), Codec::None, &values), Acks::All)
            .expect("stored");
    }
    world.bind("t", None, Some(&filter()));
    let partition = world.partition("t", 0);
    let end = partition.high_watermark();
    let mut cursor = Cursor::new(0, 0);
    let more = world.block_on(partition.scan(&mut cursor, end, 1 << 20, true));
    assert!(matches!(more, Ok(false)), "{more:?}");
    // A poll that waits for more looks again, and must not send anything twice.
    let again = world.block_on(partition.scan(&mut cursor, end, 1 << 20, true));
    assert!(matches!(again, Ok(false)), "{again:?}");
    let offsets: Vec<_> = cursor
        .finish(GapMode::Marker)
        .batches
        .into_iter()
        .map(|bytes| Batch::check(bytes).expect("good").last_offset())
        .collect();
    assert_eq!(offsets, [0, 1, 4]);
    let mut cursor = Cursor::new(5, 5);
    let failed = world.block_on(partition.scan(&mut cursor, end, 1 << 20, true));
    assert!(matches!(failed, Err(ReadFailure::Chain(_))), "{failed:?}");
}

#[test]
fn a_chain_that_stopped_is_not_run_again_until_somebody_says_so() {
    let world = World::new(&[("t", 1, &[])], in_groups());
    let values: Vec<_> = b"kktk".iter().map(|kind| vec![*kind]).collect();
    world
        .produce(&batch(Producer::default(), Codec::Zstd, &values), Acks::All)
        .expect("stored");
    let chain = filter();
    world.bind("t", None, Some(&chain));
    let partition = world.partition("t", 0);
    let calls = || chain.bindings()[0].stats().calls;
    let fetch = |from| {
        let mut cursor = Cursor::new(from, from);
        let more = world.block_on(partition.scan(&mut cursor, 4, 1 << 20, true));
        let batches = cursor.finish(GapMode::Marker).batches;
        let found = batches.iter().flat_map(records);
        let found = found.filter(|(offset, _)| *offset >= from);
        more.map(|_| found.collect::<Vec<_>>())
    };
    // Everything before the record that breaks the chain, then the failure, however often they ask.
    let before = [(0, b"k".to_vec()), (1, b"k".to_vec())];
    assert_eq!(fetch(0).expect("what stands before"), before);
    let after_first = calls();
    for _ in 0..3 {
        assert_eq!(fetch(0).expect("what stands before"), before);
        assert!(matches!(fetch(2), Err(ReadFailure::Chain(_))));
    }
    assert_eq!(calls(), after_first);

    partition.resume_chain();
    assert!(matches!(fetch(2), Err(ReadFailure::Chain(_))));
    let after_resume = calls();
    assert!(after_resume > after_first);
    assert!(matches!(fetch(2), Err(ReadFailure::Chain(_))));
    assert_eq!(calls(), after_resume);

    // Another binding has its own try.
    let lenient = filter_under(BindingSpec {
        on_error: OnError::Drop,
        ..spec("guest")
    });
    world.bind("t", None, Some(&lenient));
    assert_eq!(fetch(2).expect("it goes on"), [(3, b"k".to_vec())]);
}

#[test]
fn a_pause_on_the_way_to_consumers_ends_with_a_resume() {
    let world = World::new(&[("t", 1, &[])], in_groups());
    for values in ["kt", "k"] {
        let values: Vec<_> = values.bytes().map(|kind| vec![kind]).collect();
        world
            .produce(&batch(Producer::default(), Codec::None, &values), Acks::All)
            .expect("stored");
    }
    let chain = filter_under(BindingSpec {
        on_error: OnError::Pause,
        ..spec("guest")
    });
    world.bind("t", None, Some(&chain));
    let partition = world.partition("t", 0);
    let fetch = |from| {
        let mut cursor = Cursor::new(from, from);
        let more = world.block_on(partition.scan(&mut cursor, 3, 1 << 20, true));
        more.map(|_| cursor.records)
    };
    assert!(matches!(fetch(1), Err(ReadFailure::Chain(_))));
    // Paused is the binding, not the batch.
    assert!(matches!(fetch(2), Err(ReadFailure::Chain(_))));
    chain.bindings()[0].resume();
    partition.resume_chain();
    assert_eq!(fetch(2).expect("good records pass"), 1);
}

/// Rule 17: what plugins made larger than the fetch asks for is sent whole, one batch at a time.
#[test]
fn a_batch_that_grew_on_its_way_is_sent_whole() {
    let world = World::new(&[("t", 1, &[])], in_groups());
    let sent = batch(
        Producer::default(),
        Codec::None,
        &[b"x".to_vec(), b"y".to_vec()],
    );
    for _ in 0..2 {
        world.produce(&sent, Acks::All).expect("stored");
    }
    world.bind("t", None, Some(&growing()));
    let partition = world.partition("t", 0);
    let mut cursor = Cursor::new(0, 0);
    let more = world.block_on(partition.scan(&mut cursor, 4, 150, true));
    assert!(matches!(more, Ok(false)), "{more:?}");
    let batches = cursor.finish(GapMode::Marker).batches;
    assert_eq!(batches.len(), 1);
    assert!(batches[0].len() > 1000);
    assert_eq!(records(&batches[0]).len(), 2);
}

#[test]
fn a_second_consumer_of_a_chain_costs_no_call() {
    let world = World::new(&[("t", 1, &[])], in_groups());
    let values: Vec<_> = b"kded".iter().map(|kind| vec![*kind]).collect();
    world
        .produce(&batch(Producer::default(), Codec::Lz4, &values), Acks::All)
        .expect("stored");
    let chain = joined(&[filter(), transform()]);
    world.bind("t", None, Some(&chain));
    let partition = world.partition("t", 0);
    let read = || {
        let mut cursor = Cursor::new(0, 0);
        world
            .block_on(partition.scan(&mut cursor, 4, 1 << 20, true))
            .expect("reads");
        cursor.finish(GapMode::Marker).batches
    };
    let calls = || {
        chain
            .bindings()
            .iter()
            .map(|b| b.stats().calls)
            .sum::<u64>()
    };
    let first = read();
    let after_first = calls();
    assert_eq!(records(&first[0]).len(), 2);
    assert_eq!(read(), first);
    assert_eq!(calls(), after_first);
}
