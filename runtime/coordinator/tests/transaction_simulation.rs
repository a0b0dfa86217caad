//! Random producers against a transaction coordinator, with a log and partitions that may refuse, and crashes anywhere.
//!
//! The log is the judge. Whenever a record or a marker lands: a transaction is decided only when the one before has all its
//! markers; a marker has the producer and the outcome that the log holds for its partition; Complete comes after the last
//! marker. Each answer says what the log says at that time, and every token is answered once. At the end every
//! transaction has ended, and a load of the log gives the same states.

mod transaction_support;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tidegate_coordinator::Token;
use tidegate_coordinator::records::transaction_log::{TransactionRecord, decode};
use tidegate_coordinator::transaction::*;
use transaction_support::*;

#[derive(Clone, Debug)]
enum Step {
    Init { client: usize, continues: bool },
    Add { client: usize, partition: i32 },
    End { client: usize, commit: bool },
    Append { ok: bool },
    Marker { outcome: MarkerOutcome },
    Wait { ms: i64 },
    AbortTimedOut,
    Expire,
    Crash { appended: usize, marked: usize },
}

fn steps() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    let outcome = prop_oneof![
        8 => Just(MarkerOutcome::Written),
        2 => Just(MarkerOutcome::Failed),
        1 => Just(MarkerOutcome::NoPartition),
    ];
    prop_oneof![
        6 => (client.clone(), any::<bool>())
            .prop_map(|(client, continues)| Step::Init { client, continues }),
        8 => (client.clone(), 0..3i32).prop_map(|(client, partition)| Step::Add { client, partition }),
        6 => (client, any::<bool>()).prop_map(|(client, commit)| Step::End { client, commit }),
        16 => prop::bool::weighted(0.9).prop_map(|ok| Step::Append { ok }),
        12 => outcome.prop_map(|outcome| Step::Marker { outcome }),
        3 => (0..40_000i64).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::AbortTimedOut),
        1 => Just(Step::Expire),
        1 => (0..3usize, 0..3usize).prop_map(|(appended, marked)| Step::Crash { appended, marked }),
    ]
}

const CLIENTS: usize = 5;

/// Two producers of `y`, and three of `x`, one of which knows transaction.version 2. So zombies abound.
fn id_of(client: usize) -> &'static str {
    if client < 3 { "x" } else { "y" }
}

fn version_of(client: usize) -> i16 {
    if client % 2 == 0 { 0 } else { 2 }
}

enum Asked {
    Init {
        client: usize,
        continues: bool,
    },
    Add {
        client: usize,
        producer: Producer,
        partition: i32,
    },
    End {
        client: usize,
        commit: bool,
    },
}

/// A decided transaction, and the partitions that do not know it yet.
struct Decided {
    producer: Producer,
    commit: bool,
    unmarked: BTreeSet<(String, i32)>,
}

struct World {
    host: Host,
    clients: [Option<Producer>; CLIENTS],
    outstanding: BTreeMap<Token, Asked>,
    /// What the log holds of each id, and how much of it was looked at.
    stored: BTreeMap<String, Transaction>,
    seen: usize,
    decided: BTreeMap<String, Decided>,
    marked: usize,
    /// Producers given to somebody who started anew.
    given: BTreeSet<Producer>,
}

impl World {
    fn new() -> World {
        let mut host = Host::new();
        (host.prompt, host.hold_markers) = (false, true);
        World {
            host,
            clients: [None; CLIENTS],
            outstanding: BTreeMap::new(),
            stored: BTreeMap::new(),
            seen: 0,
            decided: BTreeMap::new(),
            marked: 0,
            given: BTreeSet::new(),
        }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Init { client, continues } => {
                let expected = self.clients[client].filter(|_| continues);
                let token = self.host.send_init(id_of(client), 20_000, expected);
                let continues = expected.is_some();
                self.asked(token, Asked::Init { client, continues });
            }
            Step::Add { client, partition } => {
                let Some(producer) = self.clients[client] else {
                    return;
                };
                let (id, version) = (id_of(client), version_of(client));
                let token = self
                    .host
                    .send_add(id, producer, &[("t", partition)], version);
                let asked = Asked::Add {
                    client,
                    producer,
                    partition,
                };
                self.asked(token, asked);
            }
            Step::End { client, commit } => {
                let Some(producer) = self.clients[client] else {
                    return;
                };
                let token = self.host.send(TransactionRequest::End(EndRequest {
                    transactional_id: id_of(client).into(),
                    producer,
                    commit,
                    client_version: version_of(client),
                }));
                self.asked(token, Asked::End { client, commit });
            }
            Step::Append { ok } => {
                // The record lands before anybody is told.
                if let Some((_, record)) = self.host.in_flight.front().cloned().filter(|_| ok) {
                    self.landed(&record);
                    self.seen += 1;
                }
                self.host.finish_append(ok);
            }
            Step::Marker { outcome } => self.marker(outcome),
            Step::Wait { ms } => self.host.advance(ms),
            Step::AbortTimedOut => self.host.abort_timed_out(),
            Step::Expire => self.host.expire_ids(),
            Step::Crash { appended, marked } => {
                // What was on its way may have arrived, in order; nobody hears of it.
                for _ in 0..appended {
                    let Some((_, record)) = self.host.in_flight.pop_front() else {
                        break;
                    };
                    self.landed(&record);
                    self.seen += 1;
                    self.host.log.push(record);
                }
                for _ in 0..marked {
                    if let Some((_, marked)) = self.host.unmarked.pop_front() {
                        self.host.markers.push(marked);
                        self.judge_markers();
                    }
                }
                self.outstanding.clear();
                self.host.replies.clear();
                self.host.crash();
                self.host.load();
            }
        }
        self.judge_markers();
        assert_eq!(self.seen, self.host.log.len());
        self.answers();
    }

    fn marker(&mut self, outcome: MarkerOutcome) {
        if outcome == MarkerOutcome::NoPartition
            && let Some((_, (topic, partition, producer, _))) = self.host.unmarked.front()
        {
            let of = self.decided.values_mut().find(|d| d.producer == *producer);
            of.unwrap().unmarked.remove(&(topic.clone(), *partition));
        }
        self.host.finish_marker(outcome);
    }

    fn asked(&mut self, token: Token, asked: Asked) {
        self.outstanding.insert(token, asked);
    }

    /// A record is in the log: what it decides must be right.
    fn landed(&mut self, (key, value): &(bytes::Bytes, Option<bytes::Bytes>)) {
        let Ok(TransactionRecord::Transaction {
            transactional_id: id,
            value,
        }) = decode(key, value.as_deref())
        else {
            panic!("a record that is none of ours")
        };
        let before = self.stored.get(&id).map(|t| t.state);
        let Some(next) = value else {
            assert!(
                !matches!(before, Some(s) if open(s)),
                "{id} was forgotten while open"
            );
            self.stored.remove(&id);
            return;
        };
        match next.state {
            TransactionState::PrepareCommit | TransactionState::PrepareAbort => {
                let partitions = next.partitions.iter();
                let unmarked = partitions
                    .flat_map(|(topic, indexes)| indexes.iter().map(|i| (topic.clone(), *i)))
                    .collect();
                let decided = Decided {
                    producer: Producer {
                        id: next.producer_id,
                        epoch: next.producer_epoch,
                    },
                    commit: next.state == TransactionState::PrepareCommit,
                    unmarked,
                };
                let twice = self.decided.insert(id.clone(), decided);
                assert!(
                    twice.is_none(),
                    "{id} was decided before its last one was complete"
                );
            }
            TransactionState::CompleteCommit | TransactionState::CompleteAbort => {
                let decided = self
                    .decided
                    .remove(&id)
                    .expect("complete, and never decided");
                assert!(
                    decided.unmarked.is_empty(),
                    "{id} is complete without {:?}",
                    decided.unmarked
                );
                assert_eq!(
                    decided.commit,
                    next.state == TransactionState::CompleteCommit
                );
            }
            _ => assert!(
                !self.decided.contains_key(&id),
                "{id} goes on before it is complete"
            ),
        }
        self.stored.insert(id, next);
    }

    fn judge_markers(&mut self) {
        while let Some((topic, partition, producer, commit)) = self.host.markers.get(self.marked) {
            self.marked += 1;
            let decided = self.decided.values_mut().find(|d| d.producer == *producer);
            let decided =
                decided.expect("a marker of a transaction that is not decided, or long complete");
            assert_eq!(decided.commit, *commit);
            decided.unmarked.remove(&(topic.clone(), *partition));
        }
    }

    fn answers(&mut self) {
        for (token, reply) in std::mem::take(&mut self.host.replies) {
            let asked = self.outstanding.remove(&token);
            match (asked.expect("nobody asked"), reply) {
                (Asked::Init { client, continues }, TransactionReply::Init(Ok(producer))) => {
                    let stored = &self.stored[id_of(client)];
                    assert_eq!(
                        (stored.producer_id, stored.producer_epoch),
                        (producer.id, producer.epoch)
                    );
                    if !continues {
                        assert!(self.given.insert(producer), "{producer:?} is given twice");
                    }
                    self.clients[client] = Some(producer);
                }
                (
                    Asked::Add {
                        client,
                        producer,
                        partition,
                    },
                    TransactionReply::Add(Ok(())),
                ) => {
                    let stored = &self.stored[id_of(client)];
                    assert_eq!(stored.state, TransactionState::Ongoing);
                    assert_eq!(
                        (stored.producer_id, stored.producer_epoch),
                        (producer.id, producer.epoch)
                    );
                    assert!(stored.partitions["t"].contains(&partition));
                }
                (Asked::End { client, commit }, TransactionReply::End(Ok(producer))) => {
                    let committed = matches!(
                        self.stored[id_of(client)].state,
                        TransactionState::PrepareCommit | TransactionState::CompleteCommit
                    );
                    assert_eq!(committed, commit);
                    self.clients[client] = Some(producer);
                }
                (
                    _,
                    TransactionReply::Init(Err(_))
                    | TransactionReply::Add(Err(_))
                    | TransactionReply::End(Err(_)),
                ) => {}
                (_, reply) => panic!("{reply:?} answers something else"),
            }
        }
    }

    fn calm_down(&mut self) {
        for _ in 0..3 {
            self.run(&Step::Wait { ms: 100_000 });
            self.run(&Step::AbortTimedOut);
            while !self.host.in_flight.is_empty() || !self.host.unmarked.is_empty() {
                self.run(&Step::Append { ok: true });
                self.run(&Step::Marker {
                    outcome: MarkerOutcome::Written,
                });
            }
        }
        assert!(
            self.outstanding.is_empty(),
            "{} were never answered",
            self.outstanding.len()
        );
        assert!(self.decided.is_empty());
        assert!(self.stored.values().all(|t| !open(t.state)));
        assert_eq!(self.host.coordinator.next_deadline(), None);
        let live = self.list();
        self.host.crash();
        self.host.load();
        assert_eq!(self.list(), live, "the log gives the same transactions");
    }

    fn list(&mut self) -> Vec<ListedTransaction> {
        let token = self.host.send(TransactionRequest::List);
        match self.host.take(token) {
            Some(TransactionReply::List(Ok(listed))) => listed,
            other => panic!("{other:?}"),
        }
    }
}

fn open(state: TransactionState) -> bool {
    use TransactionState::{Ongoing, PrepareAbort, PrepareCommit};
    matches!(state, Ongoing | PrepareCommit | PrepareAbort)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn random_transactions_end_everywhere_the_same(steps in proptest::collection::vec(steps(), 1..200)) {
        let mut world = World::new();
        for step in &steps {
            world.run(step);
        }
        world.calm_down();
    }
}
