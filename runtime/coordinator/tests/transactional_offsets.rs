//! Offsets in transactions: by example, and at random against the order of the log.

mod support;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use proptest::prelude::*;
use support::{LogRecord, at, fetch_all};
use tidegate_coordinator::records::{Record, decode};
use tidegate_coordinator::{Coordinator, Effect, GroupError, GroupOptions, Reply, Request, Token};

/// Order and value of a producer's pending offsets, by partition.
type OfProducer = BTreeMap<(String, i32), (usize, i64)>;

#[derive(Clone, Debug)]
enum Logged {
    Plain(Vec<LogRecord>),
    Transactional(i64, Vec<LogRecord>),
    Marker(i64, bool),
}

/// A log, with everything on its way there in order.
struct World {
    coordinator: Coordinator,
    log: Vec<Logged>,
    in_flight: VecDeque<(Option<u64>, Logged)>,
    replies: BTreeMap<Token, Reply>,
    next_token: Token,
}

impl World {
    fn new() -> World {
        let mut coordinator = Coordinator::new(GroupOptions::default());
        coordinator.loaded(0);
        World {
            coordinator,
            log: vec![],
            in_flight: VecDeque::new(),
            replies: BTreeMap::new(),
            next_token: 1,
        }
    }

    fn send(&mut self, request: Request) -> Token {
        self.next_token += 1;
        let token = self.next_token;
        let effects = self.coordinator.handle(token, request, 0, "u");
        self.perform(effects);
        token
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Reply(token, reply) => {
                    assert!(self.replies.insert(token, reply).is_none());
                }
                Effect::Append { id, records } => {
                    self.in_flight.push_back((Some(id), Logged::Plain(records)));
                }
                Effect::AppendInTransaction {
                    id,
                    producer_id,
                    producer_epoch,
                    records,
                } => {
                    assert_eq!(producer_epoch, 3);
                    let logged = Logged::Transactional(producer_id, records);
                    self.in_flight.push_back((Some(id), logged));
                }
            }
        }
    }

    fn commit(&mut self, producer_id: Option<i64>, partition: i32, offset: i64) -> Token {
        let offsets = vec![("t".to_owned(), partition, at(offset))];
        let (group, member_id) = ("g".to_owned(), String::new());
        self.send(match producer_id {
            Some(producer_id) => Request::CommitInTransaction {
                group,
                producer_id,
                producer_epoch: 3,
                generation: -1,
                member_id,
                group_instance_id: None,
                offsets,
            },
            None => Request::CommitOffsets {
                group,
                knows_epochs: true,
                generation: -1,
                member_id,
                group_instance_id: None,
                offsets,
            },
        })
    }

    fn marker(&mut self, producer_id: i64, commit: bool) {
        let marker = Logged::Marker(producer_id, commit);
        self.in_flight.push_back((None, marker));
    }

    fn finish(&mut self, ok: bool) -> bool {
        let Some((id, logged)) = self.in_flight.pop_front() else {
            return false;
        };
        if ok {
            self.log.push(logged.clone());
        } else if matches!(logged, Logged::Plain(_)) {
            // What is behind it in its lane.
            self.in_flight
                .retain(|(_, behind)| !matches!(behind, Logged::Plain(_)));
        }
        match (id, logged) {
            (Some(id), _) => {
                let effects = self.coordinator.appended(id, ok, 0);
                self.perform(effects);
            }
            (None, Logged::Marker(producer_id, commit)) if ok => {
                self.coordinator.transaction_ended(producer_id, commit, 0);
            }
            _ => {}
        }
        true
    }

    fn settle(&mut self) {
        while self.finish(true) {}
    }

    fn reload(&self) -> Coordinator {
        let mut coordinator = Coordinator::new(GroupOptions::default());
        for logged in &self.log {
            match logged {
                Logged::Plain(records) => records
                    .iter()
                    .for_each(|(key, value)| coordinator.load(key, value.as_deref()).unwrap()),
                Logged::Transactional(producer_id, records) => {
                    for (key, value) in records {
                        let loaded =
                            coordinator.load_in_transaction(*producer_id, key, value.as_deref());
                        loaded.unwrap();
                    }
                }
                Logged::Marker(producer_id, commit) => {
                    coordinator.transaction_ended(*producer_id, *commit, 0);
                }
            }
        }
        coordinator.loaded(0);
        coordinator
    }

    fn stable(&mut self, partition: i32) -> Result<Option<i64>, GroupError> {
        let token = self.send(Request::FetchOffsets {
            group: "g".into(),
            member_id: None,
            member_epoch: -1,
            topics: Some(vec![("t".into(), vec![partition])]),
            require_stable: true,
        });
        let Some(Reply::FetchOffsets(Ok(topics))) = self.replies.remove(&token) else {
            panic!()
        };
        let found = topics[0].1[0].1.clone();
        found.map(|found| found.map(|found| found.offset))
    }

    fn committed(&mut self) -> BTreeMap<(String, i32), i64> {
        fetch_all(&mut self.coordinator, "g")
    }

    /// What the log means, by Kafka's rule: of the plain and the committed records of a key the last one counts, and a
    /// tombstone ends all before it.
    fn expected(&self) -> BTreeMap<(String, i32), i64> {
        let mut committed: BTreeMap<(String, i32), (usize, i64)> = BTreeMap::new();
        let mut pending: BTreeMap<i64, OfProducer> = BTreeMap::new();
        let offset = |key: &Bytes, value: &Option<Bytes>| match decode(key, value.as_deref()) {
            Ok(Record::Offset {
                topic,
                partition,
                value,
                ..
            }) => Some(((topic, partition), value.map(|value| value.offset))),
            _ => None,
        };
        for (at, logged) in self.log.iter().enumerate() {
            match logged {
                Logged::Plain(records) => {
                    for (key, value) in records {
                        match offset(key, value) {
                            Some((key, Some(offset))) => {
                                committed.insert(key, (at, offset));
                            }
                            Some((key, None)) => {
                                committed.remove(&key);
                                pending.values_mut().for_each(|pending| {
                                    pending.remove(&key);
                                });
                            }
                            None => {}
                        }
                    }
                }
                Logged::Transactional(producer_id, records) => {
                    for (key, value) in records {
                        let (key, offset) = offset(key, value).unwrap();
                        let pending = pending.entry(*producer_id).or_default();
                        pending.insert(key, (at, offset.unwrap()));
                    }
                }
                Logged::Marker(producer_id, commit) => {
                    let ended = pending.remove(producer_id).unwrap_or_default();
                    for (key, found) in ended.into_iter().filter(|_| *commit) {
                        if committed
                            .get(&key)
                            .is_none_or(|(before, _)| *before < found.0)
                        {
                            committed.insert(key, found);
                        }
                    }
                }
            }
        }
        committed
            .into_iter()
            .map(|(key, (_, o))| (key, o))
            .collect()
    }
}

fn result(reply: Option<Reply>) -> Result<(), GroupError> {
    match reply {
        Some(Reply::CommitOffsets(all)) => all[0].2,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_offset_is_seen_when_its_transaction_commits() {
    let mut world = World::new();
    world.commit(None, 0, 5);
    let token = world.commit(Some(9), 0, 8);
    assert!(
        !world.replies.contains_key(&token),
        "not before it is stored"
    );
    world.settle();
    assert_eq!(result(world.replies.remove(&token)), Ok(()));
    assert_eq!(world.committed()[&("t".into(), 0)], 5);
    assert_eq!(world.stable(0), Err(GroupError::UnstableOffsetCommit));
    assert_eq!(world.stable(1), Ok(None));
    world.marker(9, true);
    world.settle();
    assert_eq!(world.stable(0), Ok(Some(8)));
    world.commit(Some(9), 0, 11);
    world.marker(9, false);
    world.settle();
    assert_eq!(world.stable(0), Ok(Some(8)), "an abort leaves what was");
}

#[test]
fn a_commit_that_is_not_stored_is_refused_and_leaves_nothing() {
    let mut world = World::new();
    let token = world.commit(Some(9), 0, 8);
    world.finish(false);
    let unavailable = Err(GroupError::CoordinatorNotAvailable);
    assert_eq!(result(world.replies.remove(&token)), unavailable);
    world.marker(9, true);
    world.settle();
    assert_eq!(world.committed(), BTreeMap::new());
    assert_eq!(world.coordinator.group_count(), 0);
}

#[test]
fn a_group_with_pending_offsets_is_there_and_can_be_deleted() {
    let mut world = World::new();
    world.commit(Some(9), 0, 8);
    world.settle();
    assert_eq!(world.coordinator.group_count(), 1);
    let later = 8 * 24 * 3_600_000;
    assert!(world.coordinator.expire_offsets(later).is_empty());
    world.send(Request::DeleteGroups {
        groups: vec!["g".into()],
    });
    world.marker(9, true);
    world.settle();
    assert_eq!(world.committed(), BTreeMap::new());
    assert_eq!(fetch_all(&mut world.reload(), "g"), BTreeMap::new());
}

#[test]
fn members_are_checked_as_far_as_the_client_names_them() {
    let mut host = support::Host::new();
    let ids = host.stable("g", 1);
    let mut commit = |member: &str, generation: i32| {
        let effects = host.coordinator.handle(
            77,
            Request::CommitInTransaction {
                group: "g".into(),
                producer_id: 9,
                producer_epoch: 3,
                generation,
                member_id: member.into(),
                group_instance_id: None,
                offsets: vec![("t".into(), 0, at(1))],
            },
            0,
            "-",
        );
        match effects.into_iter().next() {
            Some(Effect::Reply(_, reply)) => result(Some(reply)).err(),
            Some(Effect::AppendInTransaction { .. }) => None,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(commit(&ids[0], 1), None);
    assert_eq!(commit(&ids[0], 2), Some(GroupError::IllegalGeneration));
    assert_eq!(commit("who", 1), Some(GroupError::UnknownMemberId));
    // Before KIP-447 clients did not say.
    assert_eq!(commit("", -1), None);
}

#[derive(Clone, Debug)]
enum Step {
    Commit {
        producer: Option<i64>,
        partition: i32,
    },
    Marker {
        producer: i64,
        commit: bool,
    },
    Forget {
        partition: i32,
    },
    Delete,
    Finish {
        ok: bool,
    },
    Crash,
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (prop::option::weighted(0.7, 0..3i64), 0..3i32)
            .prop_map(|(producer, partition)| Step::Commit { producer, partition }),
        4 => (0..3i64, any::<bool>())
            .prop_map(|(producer, commit)| Step::Marker { producer, commit }),
        1 => (0..3i32).prop_map(|partition| Step::Forget { partition }),
        1 => Just(Step::Delete),
        12 => prop::bool::weighted(0.9).prop_map(|ok| Step::Finish { ok }),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_committed_follows_the_log(steps in proptest::collection::vec(steps(), 1..120)) {
        let mut world = World::new();
        for (n, step) in steps.into_iter().enumerate() {
            match step {
                Step::Commit { producer, partition } => {
                    world.commit(producer, partition, n as i64);
                }
                Step::Marker { producer, commit } => world.marker(producer, commit),
                Step::Forget { partition } => {
                    let (group, partitions) = ("g".into(), vec![("t".into(), partition)]);
                    world.send(Request::DeleteOffsets { group, partitions });
                }
                Step::Delete => {
                    world.send(Request::DeleteGroups { groups: vec!["g".into()] });
                }
                Step::Finish { ok } => drop(world.finish(ok)),
                Step::Crash => {
                    world.in_flight.clear();
                    world.coordinator = world.reload();
                }
            }
            let expected = world.expected();
            prop_assert_eq!(world.committed(), expected.clone());
            prop_assert_eq!(fetch_all(&mut world.reload(), "g"), expected);
        }
    }
}
