//! The engine by example, and its safety under random schedules.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidegate_record::LeaderEpoch;
use tidegate_replication::{Effect, Event, Replica};

fn elected(epoch: i32, replicas: &[i32], isr: &[i32], min_isr: usize, end: i64) -> Event {
    Event::Elected {
        epoch: LeaderEpoch(epoch),
        replicas: replicas.to_vec(),
        isr: isr.to_vec(),
        min_isr,
        log_end: end,
        synced_end: end,
        high_watermark: 0,
    }
}

fn fetched(replica: i32, epoch: i32, offset: i64) -> Event {
    Event::Fetched {
        replica,
        epoch: LeaderEpoch(epoch),
        offset,
    }
}

#[test]
fn one_replica_commits_what_it_has_synced() {
    let mut replica = Replica::new(1);
    assert!(!replica.can_accept_all());
    let effects = replica.step(elected(0, &[1], &[1], 1, 5), 0);
    assert_eq!(effects, [Effect::AdvanceHighWatermark(5)]);
    assert_eq!(replica.step(Event::Appended { end: 9 }, 1), []);
    assert_eq!(
        replica.step(Event::Synced { end: 9 }, 2),
        [Effect::AdvanceHighWatermark(9)]
    );
    assert_eq!(
        replica.step(Event::Synced { end: 7 }, 3),
        [],
        "late news moves nothing back"
    );
    assert_eq!(replica.high_watermark(), 9);
    assert_eq!(replica.next_deadline(), None);
    assert!(replica.can_accept_all());
}

#[test]
fn one_replica_is_enough_whatever_min_insync_replicas_says() {
    let mut replica = Replica::new(1);
    replica.step(elected(0, &[1], &[1], 2, 5), 0);
    assert!(
        replica.can_accept_all(),
        "a topic cannot ask for more replicas than it has"
    );
    assert_eq!(replica.high_watermark(), 5);
}

#[test]
fn the_slowest_member_holds_the_watermark() {
    let mut replica = Replica::new(1);
    replica.step(elected(3, &[1, 2, 3], &[1, 2, 3], 2, 10), 0);
    assert_eq!(replica.high_watermark(), 0, "nobody has shown up yet");
    assert_eq!(replica.step(fetched(2, 3, 10), 1), []);
    assert_eq!(
        replica.step(fetched(3, 3, 4), 1),
        [Effect::AdvanceHighWatermark(4)]
    );
    assert_eq!(
        replica.step(fetched(3, 2, 9), 1),
        [],
        "another epoch's fetch says nothing"
    );
    assert_eq!(
        replica.step(fetched(3, 3, 10), 2),
        [Effect::AdvanceHighWatermark(10)]
    );
}

#[test]
fn a_lagging_follower_leaves_and_comes_back() {
    let mut replica = Replica::with_lag(1, 100);
    replica.step(elected(0, &[1, 2], &[1, 2], 1, 10), 0);
    replica.step(fetched(2, 0, 10), 0);
    replica.step(Event::Appended { end: 20 }, 10);
    replica.step(Event::Synced { end: 20 }, 10);
    assert_eq!(replica.next_deadline(), Some(101));
    assert_eq!(replica.step(Event::Tick, 100), []);
    assert_eq!(
        replica.step(Event::Tick, 101),
        [Effect::ProposeIsr(vec![1])]
    );
    assert_eq!(
        replica.high_watermark(),
        10,
        "until the metadata agrees the member counts"
    );
    assert_eq!(replica.step(Event::Tick, 500), [], "one proposal at a time");
    let effects = replica.step(Event::IsrCommitted { isr: vec![1] }, 500);
    assert_eq!(effects, [Effect::AdvanceHighWatermark(20)]);

    assert_eq!(replica.step(fetched(2, 0, 15), 501), []);
    assert_eq!(
        replica.step(fetched(2, 0, 20), 502),
        [Effect::ProposeIsr(vec![1, 2])]
    );
    replica.step(Event::Appended { end: 30 }, 503);
    assert_eq!(
        replica.step(Event::Synced { end: 30 }, 503),
        [],
        "it counts from the proposal on"
    );
    replica.step(Event::IsrCommitted { isr: vec![1, 2] }, 504);
    assert_eq!(
        replica.step(fetched(2, 0, 30), 505),
        [Effect::AdvanceHighWatermark(30)]
    );
}

#[test]
fn a_follower_that_keeps_up_with_a_busy_leader_stays() {
    let mut replica = Replica::with_lag(1, 100);
    replica.step(elected(0, &[1, 2], &[1, 2], 1, 0), 0);
    // It never has all there is, but each fetch reaches what there was at the one before.
    for round in 1..20 {
        replica.step(Event::Appended { end: round * 10 }, round * 50);
        assert_eq!(
            replica.step(fetched(2, 0, (round - 1) * 10), round * 50),
            [],
            "round {round}"
        );
    }
    assert_eq!(replica.isr(), [1, 2]);
}

#[test]
fn the_watermark_freezes_under_min_insync_replicas() {
    let mut replica = Replica::with_lag(1, 100);
    replica.step(elected(0, &[1, 2], &[1], 2, 10), 0);
    assert!(!replica.can_accept_all());
    replica.step(Event::Synced { end: 20 }, 1);
    assert_eq!(replica.high_watermark(), 0);
    replica.step(fetched(2, 0, 20), 2);
    let effects = replica.step(Event::IsrCommitted { isr: vec![1, 2] }, 3);
    assert_eq!(effects, [Effect::AdvanceHighWatermark(20)]);
    replica.step(
        Event::Reconfigured {
            replicas: vec![1, 2],
            min_isr: 1,
        },
        4,
    );
    assert!(replica.can_accept_all());
}

#[test]
fn a_follower_joins_only_after_it_has_this_leaders_log() {
    let mut replica = Replica::with_lag(1, 100);
    // The leader starts at 10, of which only 4 are known to be committed.
    let start = Event::Elected {
        epoch: LeaderEpoch(7),
        replicas: vec![1, 2, 3],
        isr: vec![1, 3],
        min_isr: 1,
        log_end: 10,
        synced_end: 10,
        high_watermark: 4,
    };
    replica.step(start, 0);
    // Up to 10, what the follower holds may be another leader's.
    assert_eq!(replica.step(fetched(2, 7, 9), 1), []);
    assert_eq!(
        replica.step(fetched(2, 7, 10), 2),
        [Effect::ProposeIsr(vec![1, 2, 3])]
    );
}

#[test]
fn an_old_election_and_a_resigned_leader_do_nothing() {
    let mut replica = Replica::new(1);
    replica.step(elected(5, &[1], &[1], 1, 10), 0);
    assert_eq!(replica.step(elected(5, &[1], &[1], 1, 99), 1), []);
    assert_eq!(replica.step(elected(4, &[1], &[1], 1, 99), 1), []);
    replica.step(Event::Resigned, 2);
    assert_eq!(replica.step(Event::Synced { end: 50 }, 3), []);
    assert!(!replica.can_accept_all() && !replica.is_leader());
    assert_eq!(
        (replica.high_watermark(), replica.epoch()),
        (10, LeaderEpoch(5))
    );
}

#[derive(Clone, Debug)]
enum Move {
    Append(i64),
    Sync,
    Fetch(i32, i64),
    Forged(i32, i64),
    Answer(bool),
    Elect(Vec<bool>),
    MinIsr(usize),
    Wait(i64),
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        (1..5i64).prop_map(Move::Append),
        Just(Move::Sync),
        (2..5i32, 0..6i64).prop_map(|(id, step)| Move::Fetch(id, step)),
        (0..6i32, -5..200i64).prop_map(|(id, offset)| Move::Forged(id, offset)),
        any::<bool>().prop_map(Move::Answer),
        proptest::collection::vec(any::<bool>(), 3).prop_map(Move::Elect),
        (1..5usize).prop_map(Move::MinIsr),
        (1..150i64).prop_map(Move::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Followers 2, 3, 4 replicate from leader 1; each only ever claims what it holds.
    #[test]
    fn watermark_is_safe(moves in proptest::collection::vec(moves(), 1..120)) {
        let replicas = [1, 2, 3, 4];
        let mut replica = Replica::with_lag(1, 100);
        let (mut epoch, mut now, mut end, mut synced, mut min_isr) = (0, 0i64, 0i64, 0i64, 1);
        let mut held: BTreeMap<i32, i64> = [(2, 0), (3, 0), (4, 0)].into();
        let mut isr = vec![1, 2, 3, 4];
        let mut proposed: Option<Vec<i32>> = None;
        replica.step(elected(epoch, &replicas, &isr, min_isr, 0), now);
        for step in moves {
            let before = replica.high_watermark();
            let effects = match step {
                Move::Append(n) => {
                    end += n;
                    replica.step(Event::Appended { end }, now)
                }
                Move::Sync => {
                    synced = end;
                    replica.step(Event::Synced { end: synced }, now)
                }
                Move::Fetch(id, step) => {
                    let position = (held[&id] + step).min(end);
                    held.insert(id, position);
                    replica.step(fetched(id, epoch, position), now)
                }
                Move::Forged(id, offset) => replica.step(fetched(id, epoch - 1, offset), now),
                Move::Answer(yes) => match proposed.take() {
                    Some(set) if yes => {
                        isr = set.clone();
                        replica.step(Event::IsrCommitted { isr: set }, now)
                    }
                    Some(_) => replica.step(Event::IsrRefused, now),
                    None => vec![],
                },
                Move::Elect(keep) => {
                    epoch += 1;
                    proposed = None;
                    // The metadata only ever shrinks to members when it elects.
                    let pick = |id: &i32| *id == 1 || keep[(*id - 2) as usize];
                    let next: Vec<i32> = isr.iter().copied().filter(pick).collect();
                    isr = next.clone();
                    let known = replica.high_watermark();
                    replica.step(Event::Elected {
                        epoch: LeaderEpoch(epoch), replicas: replicas.to_vec(), isr: next, min_isr,
                        log_end: end, synced_end: synced, high_watermark: known,
                    }, now)
                }
                Move::MinIsr(n) => {
                    min_isr = n;
                    replica.step(Event::Reconfigured { replicas: replicas.to_vec(), min_isr }, now)
                }
                Move::Wait(ms) => {
                    now += ms;
                    replica.step(Event::Tick, now)
                }
            };
            for effect in &effects {
                if let Effect::ProposeIsr(set) = effect {
                    prop_assert!(proposed.is_none(), "two proposals at once");
                    prop_assert!(set.contains(&1));
                    proposed = Some(set.clone());
                }
            }
            let hw = replica.high_watermark();
            prop_assert!(hw >= before, "{hw} after {before}");
            prop_assert!(hw <= synced && synced <= end);
            if hw > before {
                prop_assert!(effects.contains(&Effect::AdvanceHighWatermark(hw)));
                prop_assert!(isr.len() >= min_isr.min(4), "advanced under min.insync.replicas");
            }
            for id in isr.iter().chain(proposed.iter().flatten()).filter(|id| **id != 1) {
                prop_assert!(held[id] >= hw, "member {id} holds {} below {hw}", held[id]);
            }
            prop_assert_eq!(replica.can_accept_all(), isr.len() >= min_isr.min(4));
        }
    }
}
