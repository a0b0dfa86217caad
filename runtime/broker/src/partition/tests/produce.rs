//! Stream semantics, rules 1 to 11, on random histories of one partition.
//!
//! Time stands still while a round's batches are sent: the plugin pool is plugged and the store's writes are held, so
//! that everything is in flight together. Then both run, some writes fail, and what came of it is compared with a model
//! that goes through the round's batches one by one.

use proptest::prelude::*;
use tidegate_plugin::Chain;
use tidegate_protocol::error::ErrorCode;
use tidegate_record::{Batch, BatchBuilder, Codec, HEADER_LEN, Producer, RecordParts};
use tokio::sync::oneshot;

use super::model::{Sent, Sequences, Verdict, wrap};
use super::world::{self, World, batch, checked, filter, joined, records, transform};
use crate::partition::{Acks, ProduceOutcome};

/// Some producer ids of the broker, and none.
const PRODUCERS: std::ops::Range<i64> = -1..3;

#[derive(Debug, Clone)]
enum Choice {
    Next(Vec<u8>),
    /// The n-th last batch of the producer again, byte for byte.
    Again(usize),
    Off(i32, Vec<u8>),
    NewEpoch(i32, Vec<u8>),
    OldEpoch(Vec<u8>),
}

#[derive(Debug, Clone)]
enum Step {
    Send {
        producer: i64,
        choice: Choice,
        acks: Acks,
        codec: Codec,
    },
    /// Binds or unbinds a filter and a transform, between two batches.
    Bind(bool),
}

#[derive(Debug, Clone)]
struct Round {
    steps: Vec<Step>,
    /// Whether each of the store's next writes succeeds.
    writes: Vec<bool>,
    /// Which of the two gates opens first.
    store_first: bool,
    /// The broker starts again afterwards.
    restart: bool,
}

/// What the chain says of each record: `k`eep, `d`rop, `r`eject, `e`dit or set to `n`ull.
fn verdicts() -> impl Strategy<Value = Vec<u8>> {
    let mixed = prop_oneof![
        6 => Just(b'k'),
        4 => Just(b'd'),
        2 => Just(b'e'),
        1 => Just(b'n'),
    ];
    let mixed = prop::collection::vec(mixed, 1..6);
    let rejected = prop::collection::vec(prop_oneof![Just(b'k'), Just(b'd'), Just(b'r')], 1..5);
    let dropped = (1usize..4).prop_map(|count| vec![b'd'; count]);
    let kept = (1usize..4).prop_map(|count| vec![b'k'; count]);
    prop_oneof![5 => mixed, 2 => dropped, 3 => kept, 1 => rejected]
}

fn choice() -> impl Strategy<Value = Choice> {
    prop_oneof![
        10 => verdicts().prop_map(Choice::Next),
        4 => (0usize..7).prop_map(Choice::Again),
        1 => (prop_oneof![Just(-1), Just(1)], verdicts()).prop_map(|(by, v)| Choice::Off(by, v)),
        1 => (prop_oneof![3 => Just(0), 1 => Just(1)], verdicts())
            .prop_map(|(first, v)| Choice::NewEpoch(first, v)),
        1 => verdicts().prop_map(Choice::OldEpoch),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let acks = prop_oneof![Just(Acks::None), Just(Acks::Leader), Just(Acks::All)];
    let codec = prop_oneof![2 => Just(Codec::None), 1 => prop::sample::select(Codec::ALL.to_vec())];
    prop_oneof![
        8 => (PRODUCERS, choice(), acks, codec).prop_map(|(producer, choice, acks, codec)| {
            Step::Send { producer, choice, acks, codec }
        }),
        1 => any::<bool>().prop_map(Step::Bind),
    ]
}

fn round() -> impl Strategy<Value = Round> {
    let steps = prop::collection::vec(step(), 1..12);
    let writes = prop::collection::vec(prop::bool::weighted(0.9), 0..8);
    (steps, writes, any::<bool>(), prop::bool::weighted(0.3)).prop_map(
        |(steps, writes, store_first, restart)| Round {
            steps,
            writes,
            store_first,
            restart,
        },
    )
}

/// A batch in flight, as the model sees it.
struct Flight {
    id: u64,
    sent: Sent,
    batch: Batch,
    /// Whether the filter sees it; `None` until it is known.
    filtered: Option<bool>,
    fate: Option<Fate>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// At this base offset.
    Stored(i64),
    /// With one of these codes, and these record indices where they are known.
    Failed(Vec<ErrorCode>, Option<Vec<i32>>),
}

enum Waiting {
    For(u64),
    Now(Fate),
}

/// What the log must hold.
struct Expected {
    base: i64,
    epoch: i32,
    batch: Batch,
    filtered: bool,
}

struct Run {
    world: World,
    filter: Chain,
    bound: bool,
    model: Sequences,
    /// Every batch with a producer, for sending it again.
    history: Vec<(Sent, Batch)>,
    log: Vec<Expected>,
    start: i32,
    next_id: u64,
}

impl Run {
    fn new(start: i32) -> Run {
        Run {
            world: World::new(&[("t", 1, &[])], world::one_by_one()),
            filter: joined(&[filter(), transform()]),
            bound: false,
            model: Sequences::default(),
            history: Vec::new(),
            log: Vec::new(),
            start,
            next_id: 0,
        }
    }

    fn round(&mut self, round: &Round) -> Result<(), TestCaseError> {
        let partition = self.world.partition("t", 0);
        let plug = self.world.plug(&partition);
        self.world.store.hold();
        let mut flights: Vec<Flight> = Vec::new();
        let mut waiting = Vec::new();
        for step in &round.steps {
            match step {
                Step::Bind(bound) => self.bind(*bound),
                Step::Send {
                    producer,
                    choice,
                    acks,
                    codec,
                } => {
                    let Some((sent, batch)) = self.choose(*producer, choice, *codec) else {
                        continue;
                    };
                    let receiver = partition.produce(checked(&batch), *acks);
                    let expected = self.admit(sent, batch, &mut flights);
                    waiting.push((expected, *acks, receiver));
                }
            }
        }
        self.world.store.script(&round.writes);
        if round.store_first {
            self.world.store.release();
            self.world.log_barrier();
            drop(plug);
            self.world.chain_barrier(&partition);
        } else {
            drop(plug);
            self.world.chain_barrier(&partition);
            self.world.store.release();
        }
        self.settle(&mut flights, &round.writes);
        for (expected, acks, receiver) in waiting {
            self.check_outcome(expected, acks, receiver, &flights)?;
        }
        self.world.log_barrier();
        self.world.store.script(&[]);
        self.check_log()?;
        if round.restart {
            self.world.reopen();
            let bound = self.bound;
            self.bind(bound);
        }
        Ok(())
    }

    fn bind(&mut self, bound: bool) {
        self.bound = bound;
        self.world.bind("t", bound.then_some(&self.filter), None);
    }

    fn choose(&mut self, producer: i64, choice: &Choice, codec: Codec) -> Option<(Sent, Batch)> {
        let known = self.model.epoch(producer);
        let epoch = known.unwrap_or(2);
        let next = if known.is_some() {
            self.model.next(producer)
        } else {
            self.start
        };
        let (epoch, first, verdicts) = match choice {
            Choice::Again(n) => {
                let earlier = self
                    .history
                    .iter()
                    .rev()
                    .filter(|(s, _)| s.producer == producer);
                return earlier.clone().nth(*n).cloned();
            }
            Choice::Next(verdicts) => (epoch, next, verdicts),
            Choice::Off(by, verdicts) => (epoch, wrap(i64::from(next) + i64::from(*by)), verdicts),
            Choice::NewEpoch(first, verdicts) => (epoch + 1, *first, verdicts),
            Choice::OldEpoch(verdicts) => (epoch - 1, next, verdicts),
        };
        let (epoch, first) = if producer < 0 {
            (-1, -1)
        } else {
            (epoch, first)
        };
        let count = i32::try_from(verdicts.len()).expect("few");
        self.next_id += 1;
        // No two records are alike, or a lost one could hide behind its twin.
        let value = |(at, verdict): (usize, &u8)| {
            [
                &[*verdict, b'x'][..],
                format!("{}/{at}", self.next_id).as_bytes(),
            ]
            .concat()
        };
        let values: Vec<_> = verdicts.iter().enumerate().map(value).collect();
        let of = Producer {
            id: producer,
            epoch,
            base_sequence: first,
        };
        let batch = batch(of, codec, &values);
        let sent = Sent {
            producer,
            epoch,
            first,
            count,
        };
        self.history.push((sent, batch.clone()));
        Some((sent, batch))
    }

    fn admit(&mut self, sent: Sent, batch: Batch, flights: &mut Vec<Flight>) -> Waiting {
        self.next_id += 1;
        let id = self.next_id;
        let refused = |code| Waiting::Now(Fate::Failed(vec![code], Some(Vec::new())));
        match self.model.admit(id, sent) {
            Verdict::Duplicate(offset) => Waiting::Now(Fate::Stored(offset)),
            Verdict::Joins(other) => Waiting::For(other),
            Verdict::OutOfOrder => refused(ErrorCode::OutOfOrderSequenceNumber),
            Verdict::OldEpoch => refused(ErrorCode::InvalidProducerEpoch),
            Verdict::New => {
                // One stands in the chain from the first that was sent while the filter was bound; behind it all wait,
                // and meet the binding of the moment when it comes out.
                let behind = flights.iter().any(|flight| flight.filtered != Some(false));
                let filtered = if behind { None } else { Some(self.bound) };
                flights.push(Flight {
                    id,
                    sent,
                    batch,
                    filtered,
                    fate: None,
                });
                Waiting::For(id)
            }
        }
    }

    /// The round's batches one by one, in the order in which they were admitted.
    fn settle(&mut self, flights: &mut [Flight], writes: &[bool]) {
        let mut writes = writes.iter().copied().chain(std::iter::repeat(true));
        let mut doomed = Vec::new();
        for flight in flights {
            let filtered = *flight.filtered.get_or_insert(self.bound);
            let rejected = if filtered {
                rejected(&flight.batch)
            } else {
                Vec::new()
            };
            let fate = if doomed.contains(&flight.id) {
                let mut codes = vec![ErrorCode::OutOfOrderSequenceNumber];
                // The verdict may come before the news that an earlier write failed.
                codes.extend((!rejected.is_empty()).then_some(ErrorCode::InvalidRecord));
                Fate::Failed(codes, None)
            } else if !rejected.is_empty() {
                doomed.extend(self.model.failed(flight.id));
                Fate::Failed(vec![ErrorCode::InvalidRecord], Some(rejected))
            } else if writes.next() == Some(false) {
                doomed.extend(self.model.failed(flight.id));
                Fate::Failed(vec![ErrorCode::KafkaStorageError], Some(Vec::new()))
            } else {
                let base = self.log.last().map_or(0, Expected::end);
                let epoch = self.world.partition("t", 0).leader_epoch().0;
                self.log.push(Expected {
                    base,
                    epoch,
                    batch: flight.batch.clone(),
                    filtered,
                });
                self.model.stored(flight.id, base);
                Fate::Stored(base)
            };
            assert!(flight.sent.producer >= 0 || !doomed.contains(&flight.id));
            flight.fate = Some(fate);
        }
    }

    fn check_outcome(
        &self,
        expected: Waiting,
        acks: Acks,
        receiver: oneshot::Receiver<ProduceOutcome>,
        flights: &[Flight],
    ) -> Result<(), TestCaseError> {
        let fate = match expected {
            Waiting::Now(fate) => fate,
            Waiting::For(id) => {
                let flight = flights.iter().find(|flight| flight.id == id);
                flight
                    .and_then(|flight| flight.fate.clone())
                    .expect("settled")
            }
        };
        match (self.world.outcome(receiver), fate) {
            (Ok(stored), Fate::Stored(base)) => {
                prop_assert_eq!(stored.base_offset, base);
                prop_assert_eq!(stored.append_timestamp, -1);
                let written = self.log.iter().find(|written| written.base == base);
                let end = written.expect("the model stored it").end();
                let high_watermark = self.world.partition("t", 0).high_watermark();
                prop_assert!(
                    acks != Acks::All || high_watermark >= end,
                    "answered too early"
                );
            }
            (Err(failure), Fate::Failed(codes, records)) => {
                prop_assert!(
                    codes.contains(&failure.code),
                    "{failure:?}, expected {codes:?}"
                );
                let indices: Vec<i32> = failure.records.iter().map(|record| record.index).collect();
                prop_assert_eq!(&indices, records.as_ref().unwrap_or(&indices));
            }
            (outcome, fate) => prop_assert!(false, "{outcome:?}, expected {fate:?}"),
        }
        Ok(())
    }

    fn check_log(&self) -> Result<(), TestCaseError> {
        let stored = self.world.stored("t", 0);
        prop_assert_eq!(stored.len(), self.log.len());
        for (stored, expected) in stored.iter().zip(&self.log) {
            expected.check(&stored.batch)?;
            prop_assert_eq!(stored.row.last_surviving_delta, expected.last_survivor());
            prop_assert_eq!(stored.row.last_offset + 1, expected.end());
        }
        Ok(())
    }
}

impl Expected {
    fn end(&self) -> i64 {
        self.base + i64::from(self.batch.header().last_offset_delta) + 1
    }

    /// What a client computes as `base + i` stays true for every record that is left.
    fn survivors(&self) -> Vec<(i64, Vec<u8>)> {
        let base = self.base - self.batch.base_offset();
        let placed = records(self.batch.bytes())
            .into_iter()
            .map(|(at, value)| (base + at, value));
        placed
            .filter_map(|(at, value)| match (self.filtered, value[0]) {
                (true, b'd') => None,
                (true, b'e') => Some((at, b"E".to_vec())),
                (true, b'n') => Some((at, Vec::new())),
                _ => Some((at, value)),
            })
            .collect()
    }

    fn last_survivor(&self) -> i32 {
        let last = self
            .survivors()
            .last()
            .map(|(offset, _)| offset - self.base);
        last.map_or(-1, |delta| i32::try_from(delta).expect("few"))
    }

    fn check(&self, bytes: &bytes::Bytes) -> Result<(), TestCaseError> {
        let survivors = self.survivors();
        prop_assert_eq!(records(bytes), survivors.clone());
        let (header, original) = (
            *Batch::check(bytes.clone()).expect("good").header(),
            self.batch.header(),
        );
        prop_assert_eq!(header.base_offset, self.base);
        prop_assert_eq!(header.leader_epoch, self.epoch);
        prop_assert_eq!(header.last_offset_delta, original.last_offset_delta);
        prop_assert_eq!(header.producer_id, original.producer_id);
        prop_assert_eq!(header.producer_epoch, original.producer_epoch);
        prop_assert_eq!(header.base_sequence, original.base_sequence);
        if survivors.len() == records(self.batch.bytes()).len()
            && survivors.iter().all(|(_, value)| value.len() > 1)
        {
            // Base offset and leader epoch are the broker's; between and behind them nothing was touched.
            let same =
                |range: std::ops::Range<usize>| bytes[range.clone()] == self.batch.bytes()[range];
            prop_assert!(
                same(8..12) && same(16..bytes.len()),
                "unchanged batches keep their bytes"
            );
        }
        if !survivors.is_empty() {
            prop_assert_eq!(header.attributes, original.attributes);
        }
        Ok(())
    }
}

fn rejected(batch: &Batch) -> Vec<i32> {
    let values = records(batch.bytes());
    let rejected = values
        .iter()
        .enumerate()
        .filter(|(_, (_, value))| value[0] == b'r');
    rejected
        .map(|(at, _)| i32::try_from(at).expect("few"))
        .collect()
}

proptest! {
    #![proptest_config(super::cases(1000))]

    #[test]
    fn produces_follow_the_model(
        start in prop_oneof![Just(0), Just(7), Just(i32::MAX - 4)],
        rounds in prop::collection::vec(round(), 1..8),
    ) {
        let mut run = Run::new(start);
        for round in &rounds {
            run.round(round)?;
        }
    }
}

/// Snappy as no encoder of ours writes it: without compression and without the framing of the Java client. Whatever
/// takes such a batch apart and puts it together again makes other bytes of it.
fn foreign() -> Batch {
    let plain = batch(
        Producer::default(),
        Codec::None,
        &[b"kone".to_vec(), b"ktwo".to_vec()],
    );
    let records = plain.record_bytes();
    let length = u8::try_from(records.len()).expect("few bytes");
    assert!(length <= 60, "a literal of one length byte");
    let body = [&[length, (length - 1) << 2][..], &records].concat();
    let mut header = *plain.header();
    header.attributes = header.attributes.with_codec(Codec::Snappy);
    header.batch_length = i32::try_from(HEADER_LEN + body.len() - 12).expect("short");
    let mut bytes = [&header.encode()[..], &body].concat();
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Batch::check(bytes.into()).expect("a good batch")
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}

#[test]
fn what_the_filter_keeps_whole_is_not_written_anew() {
    let world = World::new(&[("t", 1, &[])], world::one_by_one());
    world.bind("t", Some(&filter()), None);
    let sent = foreign();
    assert_eq!(
        world.produce(&sent, Acks::All).expect("stored").base_offset,
        0
    );
    assert_eq!(world.stored("t", 0)[0].batch[16..], sent.bytes()[16..]);
}

#[test]
fn what_inflates_too_far_is_too_large_and_not_stored() {
    let world = World::new(&[("t", 1, &[])], world::one_by_one());
    world.bind("t", Some(&filter()), None);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let zeros = vec![0; 2 << 20];
        let mut builder = BatchBuilder::new(codec);
        let record = RecordParts {
            value: Some(&zeros),
            ..RecordParts::default()
        };
        builder.push(record).unwrap();
        let batch = builder.build().unwrap();
        let failure = world.produce(&batch, Acks::All).unwrap_err();
        assert_eq!(failure.code, ErrorCode::MessageTooLarge, "{codec:?}");
        let told = failure.message.contains("the 1048576 bytes");
        assert!(told, "{}", failure.message);
    }
    assert!(world.stored("t", 0).is_empty());
}
