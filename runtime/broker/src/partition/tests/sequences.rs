//! The admission state by itself against the history of everything that was admitted.

use proptest::prelude::*;
use tidegate_record::{Attributes, BatchHeader};

use super::model::{Sent, Sequences, Verdict, wrap};
use crate::partition::open_transactions::OpenTransactions;
use crate::partition::producers::{Admit, Producers, SequenceError, StoredBatch};

/// What a client does, as seen from the sequence it should send.
#[derive(Debug, Clone, Copy)]
enum Choice {
    Next,
    /// The n-th last batch again.
    Again(usize),
    /// So far from the expected sequence.
    Off(i32),
    /// The n-th last batch with another number of records.
    Torn(usize),
    NewEpoch {
        first: i32,
    },
    OldEpoch,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Send {
        producer: i64,
        choice: Choice,
        count: i32,
    },
    /// The oldest batch in flight reaches the log.
    Land,
    /// The n-th batch in flight fails.
    Fail(usize),
    /// What is in the log by now is saved.
    Save,
    /// The broker starts again: what was in flight is lost, the rest comes from what was saved and the log behind it.
    Restart,
}

fn choice() -> impl Strategy<Value = Choice> {
    prop_oneof![
        8 => Just(Choice::Next),
        5 => (0usize..10).prop_map(Choice::Again),
        1 => prop_oneof![Just(-1), Just(1), Just(i32::MAX)].prop_map(Choice::Off),
        1 => (0usize..3).prop_map(Choice::Torn),
        1 => prop_oneof![3 => Just(0), 1 => Just(7)].prop_map(|first| Choice::NewEpoch { first }),
        1 => Just(Choice::OldEpoch),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (-1i64..3, choice(), prop_oneof![1..4i32, Just(1000)])
            .prop_map(|(producer, choice, count)| Step::Send { producer, choice, count }),
        5 => Just(Step::Land),
        1 => (0usize..4).prop_map(Step::Fail),
        1 => Just(Step::Save),
        1 => Just(Step::Restart),
    ]
}

/// The system and its model side by side.
#[derive(Default)]
struct Pair {
    producers: Producers,
    model: Sequences,
    /// Everything ever sent, for sending it again.
    sent: Vec<Sent>,
    /// First sequence of each producer that is not known yet.
    start: i32,
    ticket: u64,
    end: i64,
    /// The last snapshot, and the end of the log when it was made.
    saved: Option<(i64, Vec<u8>)>,
}

impl Pair {
    fn send(&mut self, sent: Sent) -> Result<(), TestCaseError> {
        self.ticket += 1;
        self.sent.push(sent);
        let expected = self.model.admit(self.ticket, sent);
        let got = self.producers.admit(&header(&sent), self.ticket, 0);
        match (&expected, &got) {
            (Verdict::New, Admit::New) => {}
            (Verdict::Joins(id), Admit::Joined(ticket)) => prop_assert_eq!(id, ticket),
            (Verdict::Duplicate(offset), Admit::Stored(stored)) => {
                prop_assert_eq!(*offset, stored.base_offset);
                prop_assert_eq!(stored.last_offset, offset + i64::from(sent.count) - 1);
            }
            (Verdict::OutOfOrder, Admit::Refused(SequenceError::OutOfOrder { .. })) => {}
            (Verdict::OldEpoch, Admit::Refused(SequenceError::StaleEpoch { .. })) => {}
            _ => prop_assert!(false, "{sent:?}: expected {expected:?}, got {got:?}"),
        }
        Ok(())
    }

    fn choose(&self, producer: i64, choice: Choice, count: i32) -> Option<Sent> {
        let known = self.model.epoch(producer);
        let epoch = known.unwrap_or(3);
        let next = if known.is_some() {
            self.model.next(producer)
        } else {
            self.start
        };
        let earlier = |n| {
            self.sent
                .iter()
                .rev()
                .filter(|s| s.producer == producer)
                .nth(n)
                .copied()
        };
        let plain = Sent {
            producer,
            epoch,
            first: next,
            count,
        };
        Some(match choice {
            _ if producer < 0 => Sent {
                producer,
                epoch: -1,
                first: -1,
                count,
            },
            Choice::Next => plain,
            Choice::Again(n) => earlier(n)?,
            Choice::Off(by) => Sent {
                first: wrap(i64::from(next) + i64::from(by)),
                ..plain
            },
            Choice::Torn(n) => earlier(n).map(|s| Sent {
                count: s.count + 1,
                ..s
            })?,
            Choice::NewEpoch { first } => Sent {
                epoch: epoch + 1,
                first,
                ..plain
            },
            Choice::OldEpoch => Sent {
                epoch: epoch - 1,
                ..plain
            },
        })
    }

    fn land(&mut self) {
        let Some(&(ticket, sent)) = self.model.in_flight().first() else {
            return;
        };
        let stored = stored(&sent, self.end);
        self.end = stored.last_offset + 1;
        self.model.stored(ticket, stored.base_offset);
        self.producers.stored(sent.producer, ticket, stored);
    }

    fn fail(&mut self, nth: usize) -> Result<(), TestCaseError> {
        let Some(&(ticket, sent)) = self.model.in_flight().get(nth) else {
            return Ok(());
        };
        let mut doomed = self.producers.failed(sent.producer, ticket);
        doomed.sort_unstable();
        prop_assert_eq!(doomed, self.model.failed(ticket));
        prop_assert!(
            self.producers.failed(sent.producer, ticket).is_empty(),
            "once is enough"
        );
        Ok(())
    }

    fn restart(&mut self) {
        while let Some((oldest, _)) = self.model.in_flight().first() {
            self.model.failed(*oldest);
        }
        let (below, bytes) = self.saved.clone().unwrap_or((
            0,
            Producers::default().snapshot(&OpenTransactions::default()),
        ));
        self.producers = Producers::restore(&bytes).expect("it was saved").0;
        for (sent, offset) in self.model.log().into_iter().filter(|(_, at)| *at >= below) {
            self.producers
                .replay(sent.producer, sent.epoch, stored(&sent, offset), 0);
        }
    }
}

fn header(sent: &Sent) -> BatchHeader {
    BatchHeader {
        base_offset: 0,
        batch_length: 100,
        leader_epoch: -1,
        magic: 2,
        crc: 0,
        attributes: Attributes::default(),
        last_offset_delta: sent.count - 1,
        base_timestamp: 0,
        max_timestamp: 0,
        producer_id: sent.producer,
        producer_epoch: sent.epoch,
        base_sequence: sent.first,
        record_count: sent.count,
    }
}

fn stored(sent: &Sent, base_offset: i64) -> StoredBatch {
    StoredBatch {
        first_sequence: sent.first,
        last_sequence: header(sent).last_sequence(),
        base_offset,
        last_offset: base_offset + i64::from(sent.count) - 1,
        append_timestamp: -1,
    }
}

proptest! {
    #![proptest_config(super::cases(2000))]

    #[test]
    fn admission_follows_kafkas_sequence_checks(
        start in prop_oneof![Just(0), Just(5), Just(i32::MAX - 3), Just(i32::MAX)],
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut pair = Pair { start, ..Pair::default() };
        for step in steps {
            match step {
                Step::Send { producer, choice, count } => {
                    if let Some(sent) = pair.choose(producer, choice, count) {
                        pair.send(sent)?;
                    }
                }
                Step::Land => pair.land(),
                Step::Fail(nth) => pair.fail(nth)?,
                Step::Save => pair.saved = Some((pair.end, pair.producers.snapshot(&OpenTransactions::default()))),
                Step::Restart => pair.restart(),
            }
        }
    }
}

#[test]
fn sequences_wrap_to_zero() {
    let mut pair = Pair {
        start: i32::MAX - 1,
        ..Pair::default()
    };
    let sent = |first, count| Sent {
        producer: 1,
        epoch: 0,
        first,
        count,
    };
    pair.send(sent(i32::MAX - 1, 2))
        .expect("ends at the last sequence");
    pair.send(sent(0, 1)).expect("0 comes next");
    assert_eq!(pair.model.next(1), 1);
    pair.send(sent(1, 1)).expect("and then 1");
    assert_eq!(pair.model.in_flight().len(), 3);
}

#[test]
fn the_five_newest_batches_are_remembered() {
    let mut pair = Pair::default();
    let sent = |first| Sent {
        producer: 1,
        epoch: 0,
        first,
        count: 1,
    };
    for first in 0..7 {
        pair.send(sent(first)).expect("new");
        pair.land();
    }
    let mut again = |first| pair.producers.admit(&header(&sent(first)), 99, 0);
    for first in 2..7 {
        let twin = stored(&sent(first), i64::from(first));
        assert_eq!(again(first), Admit::Stored(twin), "sequence {first}");
    }
    let forgotten = SequenceError::OutOfOrder {
        expected: 7,
        got: 1,
    };
    assert_eq!(again(1), Admit::Refused(forgotten));
}

#[test]
fn producers_in_flight_do_not_expire() {
    let mut producers = Producers::default();
    let sent = |producer, first| Sent {
        producer,
        epoch: 0,
        first,
        count: 1,
    };
    assert_eq!(producers.admit(&header(&sent(1, 0)), 1, 100), Admit::New);
    assert_eq!(producers.admit(&header(&sent(2, 0)), 2, 100), Admit::New);
    producers.stored(2, 2, stored(&sent(2, 0), 0));
    producers.expire(101);
    assert_eq!(
        producers.admit(&header(&sent(1, 0)), 3, 200),
        Admit::Joined(1)
    );
    // Nothing is known of it any more, so any sequence may start it.
    assert_eq!(producers.admit(&header(&sent(2, 77)), 4, 200), Admit::New);
}
