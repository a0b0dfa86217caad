//! Groups whose coordinator assigns (KIP-848), by example.

mod support;

use support::*;
use tidegate_coordinator::{
    Beaten, ConsumerHeartbeat, GroupError, GroupOptions, GroupState, JoinRequest, LeavingMember,
    MigrationPolicy, Partitions, Reply, Request,
};

fn code(result: Result<Beaten, tidegate_coordinator::BeatRefusal>) -> i16 {
    result.map_or_else(|refusal| refusal.error.code(), |_| 0)
}

fn none() -> Partitions {
    Partitions::new()
}

fn state(host: &mut Host, group: &str) -> GroupState {
    host.describe_consumer(group).unwrap().state
}

fn list(host: &mut Host, types: &[&str]) -> Vec<(String, GroupState, &'static str)> {
    let request = Request::List {
        states_filter: vec![],
        types_filter: types.iter().map(|t| t.to_string()).collect(),
    };
    let Reply::List(Ok(listed)) = host.ask(request) else {
        panic!()
    };
    listed
        .into_iter()
        .map(|group| (group.group, group.state, group.group_type))
        .collect()
}

/// A group of two members that share four partitions; gives their epochs.
fn two_members(host: &mut Host) -> (i32, i32) {
    host.set_topics(&[("t", 4)]);
    let first = host.beat(joining("g", "a", &["t"])).unwrap();
    assert_eq!(first.assignment, Some(partitions("t", 0..4)));
    let second = host.beat(joining("g", "b", &["t"])).unwrap();
    assert_eq!(second.assignment, Some(none()));
    let told = host
        .beat(beating("g", "a", first.epoch, Some(partitions("t", 0..4))))
        .unwrap();
    let kept = told.assignment.clone().unwrap();
    assert_eq!(kept.values().map(|p| p.len()).sum::<usize>(), 2);
    let a = host
        .beat(beating("g", "a", told.epoch, Some(kept)))
        .unwrap();
    let b = host
        .beat(beating("g", "b", second.epoch, Some(none())))
        .unwrap();
    assert_eq!(state(host, "g"), GroupState::Stable);
    (a.epoch, b.epoch)
}

#[test]
fn a_first_member_gets_everything_at_once() {
    let mut host = Host::new();
    host.set_topics(&[("t", 3), ("u", 1)]);
    let beaten = host.beat(joining("g", "a", &["t", "u", "absent"])).unwrap();
    assert_eq!((beaten.epoch, beaten.heartbeat_interval_ms), (1, 5_000));
    assert_eq!(beaten.member_id, "a");
    let mut all = partitions("t", 0..3);
    all.extend(partitions("u", 0..1));
    assert_eq!(beaten.assignment, Some(all));
    let again = host.beat(beating("g", "a", 1, None)).unwrap();
    assert_eq!(again.assignment, None, "as before");
    let group = host.describe_consumer("g").unwrap();
    assert_eq!(group.state, GroupState::Stable);
    assert_eq!((group.epoch, group.assignment_epoch), (1, 1));
    assert_eq!(group.assignor, "uniform");
    assert_eq!(group.members[0].assignment, group.members[0].target);
    assert_eq!(
        list(&mut host, &[]),
        [("g".to_owned(), GroupState::Stable, "consumer")]
    );
    assert!(list(&mut host, &["classic"]).is_empty());
}

#[test]
fn a_partition_moves_only_after_its_holder_let_go() {
    let mut host = Host::new();
    host.set_topics(&[("t", 2)]);
    let a = host.beat(joining("g", "a", &["t"])).unwrap();
    let b = host.beat(joining("g", "b", &["t"])).unwrap();
    assert_eq!(b.assignment, Some(none()), "a holds both");
    assert_eq!(b.epoch, 2);
    assert_eq!(state(&mut host, "g"), GroupState::Reconciling);
    // A heartbeat that does not say what it holds confirms nothing, however often it comes.
    let told = host.beat(beating("g", "a", a.epoch, None)).unwrap();
    assert_eq!(told.epoch, a.epoch, "it stays in its epoch until then");
    let kept = told.assignment.unwrap();
    assert_eq!(kept, partitions("t", [0]));
    let still = host
        .beat(beating("g", "a", a.epoch, Some(partitions("t", 0..2))))
        .unwrap();
    assert_eq!(still.epoch, a.epoch);
    let waiting = host.beat(beating("g", "b", 2, Some(none()))).unwrap();
    assert_eq!(waiting.assignment, None);
    let freed = host.beat(beating("g", "a", a.epoch, Some(kept))).unwrap();
    assert_eq!(freed.epoch, 2);
    let got = host.beat(beating("g", "b", 2, Some(none()))).unwrap();
    assert_eq!(got.assignment, Some(partitions("t", [1])));
    assert_eq!(state(&mut host, "g"), GroupState::Stable);
}

#[test]
fn who_leaves_gives_its_partitions_to_the_others() {
    let mut host = Host::new();
    let (a, _) = two_members(&mut host);
    let left = host
        .beat(ConsumerHeartbeat {
            epoch: -1,
            ..beating("g", "b", -1, None)
        })
        .unwrap();
    assert_eq!((left.epoch, left.assignment), (-1, None));
    assert_eq!(
        state(&mut host, "g"),
        GroupState::Assigning,
        "a has not been heard of yet"
    );
    let told = host.beat(beating("g", "a", a, None)).unwrap();
    assert_eq!(told.assignment, Some(partitions("t", 0..4)));
    assert_eq!(code(host.beat(beating("g", "b", 2, None))), 25);
    host.beat(ConsumerHeartbeat {
        epoch: -1,
        ..beating("g", "a", -1, None)
    })
    .unwrap();
    assert_eq!(state(&mut host, "g"), GroupState::Empty);
    assert_eq!(host.coordinator.next_deadline(), None);
}

#[test]
fn silence_ends_a_session_and_slow_revocation_a_membership() {
    let mut host = Host::new();
    let (a, b) = two_members(&mut host);
    host.advance(44_000);
    host.beat(beating("g", "a", a, None)).unwrap();
    host.advance(1_000);
    assert_eq!(
        code(host.beat(beating("g", "b", b, None))),
        25,
        "45 seconds of silence"
    );
    host.beat(beating("g", "a", a, None)).unwrap();

    // c joins; a never gives up what it should and is put out after its rebalance timeout.
    let c = host.beat(joining("g", "c", &["t"])).unwrap();
    let current = host.describe_consumer("g").unwrap().members[0].epoch;
    for _ in 0..59 {
        host.advance(1_000);
        host.beat(beating("g", "a", current, Some(partitions("t", 0..4))))
            .unwrap();
        host.beat(beating("g", "c", c.epoch, None)).unwrap();
    }
    // It was told a second after c had joined.
    host.advance(2_000);
    let late = host.beat(beating("g", "a", current, Some(partitions("t", 0..4))));
    assert_eq!(code(late), 25);
    let got = host.beat(beating("g", "c", c.epoch, None)).unwrap();
    assert_eq!(got.assignment, Some(partitions("t", 0..4)));
}

#[test]
fn epochs_fence() {
    let mut host = Host::new();
    let (a, b) = two_members(&mut host);
    assert_eq!(code(host.beat(beating("g", "a", a + 1, None))), 110);
    assert_eq!(
        code(host.beat(beating("g", "b", b - 1, None))),
        110,
        "says not what it holds"
    );
    // Its last answer was lost, so it comes with the epoch before and a part of what it has.
    let previous = host.beat(beating("g", "a", a - 1, Some(none())));
    assert_eq!(code(previous), 0);
    let more = host.beat(beating("g", "a", a - 1, Some(partitions("t", 0..4))));
    assert_eq!(code(more), 110);
    // A fenced member gives everything up and starts over.
    let again = host.beat(joining("g", "a", &["t"])).unwrap();
    assert_eq!(again.epoch, a);
    assert_eq!(
        again
            .assignment
            .unwrap()
            .values()
            .map(|p| p.len())
            .sum::<usize>(),
        2
    );
    assert_eq!(code(host.beat(beating("nobody", "a", 1, None))), 69);
    assert_eq!(code(host.beat(beating("g", "stranger", 1, None))), 25);
}

#[test]
fn new_partitions_and_topics_lead_to_a_new_target() {
    let mut host = Host::new();
    host.set_topics(&[("t", 1)]);
    let beaten = host.beat(joining("g", "a", &["t", "later"])).unwrap();
    assert_eq!(beaten.assignment, Some(partitions("t", 0..1)));
    host.set_topics(&[("t", 2), ("elsewhere", 5)]);
    let more = host.beat(beating("g", "a", beaten.epoch, None)).unwrap();
    assert_eq!(more.assignment, Some(partitions("t", 0..2)));
    assert_eq!(more.epoch, 2);
    host.set_topics(&[("t", 2), ("elsewhere", 6)]);
    let same = host.beat(beating("g", "a", 2, None)).unwrap();
    assert_eq!(
        (same.epoch, same.assignment),
        (2, None),
        "none of its topics changed"
    );
    host.set_topics(&[("t", 2), ("later", 1)]);
    let created = host.beat(beating("g", "a", 2, None)).unwrap();
    let mut both = partitions("t", 0..2);
    both.extend(partitions("later", 0..1));
    assert_eq!(created.assignment, Some(both));
    host.set_topics(&[("later", 1)]);
    let deleted = host
        .beat(beating("g", "a", 3, Some(partitions("t", 0..2))))
        .unwrap();
    assert_eq!(deleted.assignment, Some(partitions("later", 0..1)));
}

#[test]
fn a_regex_follows_the_topics() {
    let mut host = Host::new();
    host.set_topics(&[("app-1", 1), ("other", 1)]);
    let with = |regex: &str| ConsumerHeartbeat {
        subscribed_names: None,
        subscribed_regex: Some(regex.into()),
        ..joining("g", "a", &[])
    };
    let refusal = host.beat(with("app-(")).unwrap_err();
    assert_eq!(refusal.error.code(), 128);
    assert!(
        refusal.message.contains("SubscribedTopicRegex"),
        "{}",
        refusal.message
    );
    assert_eq!(
        host.coordinator.group_count(),
        0,
        "a refused member makes no group"
    );
    let beaten = host.beat(with("app-.")).unwrap();
    assert_eq!(beaten.assignment, Some(partitions("app-1", 0..1)));
    host.set_topics(&[("app-1", 1), ("app-2", 1), ("app-22", 1)]);
    let more = host.beat(beating("g", "a", beaten.epoch, None)).unwrap();
    let mut both = partitions("app-1", 0..1);
    both.extend(partitions("app-2", 0..1));
    assert_eq!(more.assignment, Some(both));
    let member = &host.describe_consumer("g").unwrap().members[0];
    assert_eq!(member.subscribed_regex.as_deref(), Some("app-."));
    // Another regex takes the place of the first.
    let held = more.assignment;
    let changed = ConsumerHeartbeat {
        subscribed_regex: Some("app-22|none".into()),
        ..beating("g", "a", more.epoch, held)
    };
    let told = host.beat(changed).unwrap();
    assert_eq!(told.assignment, Some(none()));
    let got = host
        .beat(beating("g", "a", told.epoch, Some(none())))
        .unwrap();
    assert_eq!(got.assignment, Some(partitions("app-22", 0..1)));
    let reloaded = {
        host.coordinator = host.reload();
        host.describe_consumer("g").unwrap()
    };
    assert_eq!(reloaded.state, GroupState::Stable);
    assert_eq!(code(host.beat(beating("g", "a", got.epoch, None))), 0);
}

#[test]
fn requests_are_checked_before_anything_happens() {
    let mut host = Host::with(GroupOptions {
        consumer: tidegate_coordinator::ConsumerOptions {
            max_size: 1,
            ..Default::default()
        },
        ..GroupOptions::default()
    });
    let good = joining("g", "a", &["t"]);
    let mut refused = |beat: ConsumerHeartbeat| code(host.beat(beat));
    assert_eq!(
        refused(ConsumerHeartbeat {
            member_id: " ".into(),
            ..good.clone()
        }),
        42
    );
    assert_eq!(
        refused(ConsumerHeartbeat {
            group: String::new(),
            ..good.clone()
        }),
        42
    );
    assert_eq!(
        refused(ConsumerHeartbeat {
            instance_id: Some("".into()),
            ..good.clone()
        }),
        42
    );
    assert_eq!(
        refused(ConsumerHeartbeat {
            rack_id: Some("".into()),
            ..good.clone()
        }),
        42
    );
    assert_eq!(
        refused(ConsumerHeartbeat {
            owned: Some(partitions("t", 0..1)),
            ..good.clone()
        }),
        42
    );
    assert_eq!(
        refused(ConsumerHeartbeat {
            subscribed_names: None,
            ..good.clone()
        }),
        42
    );
    assert_eq!(
        refused(ConsumerHeartbeat {
            epoch: -2,
            ..good.clone()
        }),
        42
    );
    assert_eq!(
        refused(ConsumerHeartbeat {
            epoch: -3,
            ..good.clone()
        }),
        42
    );
    assert_eq!(
        refused(ConsumerHeartbeat {
            group: "g".repeat(40_000),
            ..good.clone()
        }),
        42
    );
    let unknown = ConsumerHeartbeat {
        server_assignor: Some("mine".into()),
        ..good.clone()
    };
    let refusal = host.beat(unknown).unwrap_err();
    assert_eq!(refusal.error, GroupError::UnsupportedAssignor);
    assert!(
        refusal.message.contains("uniform, range"),
        "{}",
        refusal.message
    );
    // Version 0: the coordinator makes the id.
    let old = ConsumerHeartbeat {
        member_id: "".into(),
        makes_own_id: false,
        ..good.clone()
    };
    let beaten = host.beat(old).unwrap();
    assert!(!beaten.member_id.is_empty());
    assert_eq!(code(host.beat(good)), 81, "the group is full");
    assert_eq!(
        code(host.beat(beating("g", &beaten.member_id, beaten.epoch, None))),
        0
    );
}

#[test]
fn a_member_that_does_not_say_what_it_owns_joins_with_nothing() {
    let mut host = Host::new();
    host.set_topics(&[("t", 2)]);
    let silent = ConsumerHeartbeat {
        owned: None,
        rebalance_timeout_ms: -1,
        ..joining("g", "a", &["t"])
    };
    let joined = host.beat(silent).unwrap();
    assert_eq!(joined.assignment, Some(partitions("t", 0..2)));
    // It has the time that clients give themselves to let go of something.
    host.beat(joining("g", "b", &["t"])).unwrap();
    let all = Some(partitions("t", 0..2));
    for _ in 0..28 {
        host.advance(10_000);
        assert!(host.beat(beating("g", "a", 1, all.clone())).is_ok());
    }
    host.advance(30_000);
    assert!(host.beat(beating("g", "a", 1, all)).is_err());
}

#[test]
fn most_members_choose_the_assignor() {
    let mut host = Host::new();
    host.set_topics(&[("t", 2)]);
    let wanting = |member: &str, assignor: &str| ConsumerHeartbeat {
        server_assignor: Some(assignor.into()),
        ..joining("g", member, &["t"])
    };
    host.beat(wanting("a", "range")).unwrap();
    assert_eq!(host.describe_consumer("g").unwrap().assignor, "range");
    host.beat(wanting("b", "uniform")).unwrap();
    host.beat(wanting("c", "uniform")).unwrap();
    assert_eq!(host.describe_consumer("g").unwrap().assignor, "uniform");
}

#[test]
fn a_static_member_keeps_its_partitions_over_a_restart() {
    let mut host = Host::new();
    host.set_topics(&[("t", 2)]);
    let fixed = |member: &str, instance: &str| ConsumerHeartbeat {
        instance_id: Some(instance.into()),
        ..joining("g", member, &["t"])
    };
    let a = host.beat(fixed("a", "i1")).unwrap();
    let twin = host.beat(fixed("a2", "i1"));
    assert_eq!(code(twin), 111, "the first has not left");
    let leaving = ConsumerHeartbeat {
        instance_id: Some("i1".into()),
        ..beating("g", "a", -2, None)
    };
    let left = host.beat(leaving).unwrap();
    assert_eq!(left.epoch, -2);
    let b = host.beat(fixed("b", "i2")).unwrap();
    assert_eq!(b.assignment, Some(none()), "a's partitions wait for it");
    let back = host.beat(fixed("a3", "i1")).unwrap();
    assert_eq!(back.assignment, Some(partitions("t", [0])));
    assert_eq!(back.epoch, b.epoch);
    let old = ConsumerHeartbeat {
        instance_id: Some("i1".into()),
        ..beating("g", "a", a.epoch, None)
    };
    assert_eq!(code(host.beat(old)), 82);
    let got = host.beat(beating("g", "b", b.epoch, Some(none()))).unwrap();
    assert_eq!(got.assignment, Some(partitions("t", [1])));
    let strange = ConsumerHeartbeat {
        instance_id: Some("i9".into()),
        ..beating("g", "b", b.epoch, None)
    };
    assert_eq!(code(host.beat(strange)), 25);
    // One that stays away loses them when its session ends.
    let leaving = ConsumerHeartbeat {
        instance_id: Some("i1".into()),
        ..beating("g", "a3", -2, None)
    };
    host.beat(leaving).unwrap();
    for _ in 0..3 {
        host.advance(15_000);
        let epoch = host_epoch(&mut host, "b");
        host.beat(beating("g", "b", epoch, None)).unwrap();
    }
    assert_eq!(host.describe_consumer("g").unwrap().members.len(), 1);
}

fn host_epoch(host: &mut Host, member: &str) -> i32 {
    let group = host.describe_consumer("g").unwrap();
    group
        .members
        .iter()
        .find(|m| m.member_id == member)
        .unwrap()
        .epoch
}

#[test]
fn commits_and_fetches_need_the_current_epoch() {
    let mut host = Host::new();
    let (a, _) = two_members(&mut host);
    let mut result = |request: Request| match host.ask(request) {
        Reply::CommitOffsets(all) => all[0].2.err().map_or(0, GroupError::code),
        Reply::FetchOffsets(found) => found.err().map_or(0, GroupError::code),
        other => panic!("{other:?}"),
    };
    assert_eq!(result(commit("g", "a", a, 5)), 0);
    assert_eq!(result(commit("g", "a", a - 1, 5)), 113);
    assert_eq!(result(commit("g", "who", a, 5)), 25);
    assert_eq!(result(commit("g", "", -1, 5)), 25, "the group is in use");
    let mut old = commit("g", "a", a, 5);
    if let Request::CommitOffsets { knows_epochs, .. } = &mut old {
        *knows_epochs = false;
    }
    assert_eq!(result(old), 35);
    let fetch = |member: Option<&str>, epoch: i32| Request::FetchOffsets {
        group: "g".into(),
        member_id: member.map(str::to_owned),
        member_epoch: epoch,
        topics: None,
        require_stable: false,
    };
    assert_eq!(result(fetch(None, -1)), 0);
    assert_eq!(result(fetch(Some("a"), a)), 0);
    assert_eq!(result(fetch(Some("a"), a + 1)), 113);
    assert_eq!(result(fetch(Some("who"), a)), 25);
    assert_eq!(fetch_all(&mut host.coordinator, "g")[&("t".into(), 0)], 5);
}

#[test]
fn deletion_and_expiry_leave_nothing() {
    let mut host = Host::new();
    two_members(&mut host);
    let delete = |host: &mut Host| match host.ask(Request::DeleteGroups {
        groups: vec!["g".into()],
    }) {
        Reply::DeleteGroups(all) => all[0].1.err().map_or(0, GroupError::code),
        other => panic!("{other:?}"),
    };
    assert_eq!(delete(&mut host), 68);
    let request = Request::DeleteOffsets {
        group: "g".into(),
        partitions: vec![("t".into(), 0), ("u".into(), 0)],
    };
    let Reply::DeleteOffsets(Ok(deleted)) = host.ask(request) else {
        panic!()
    };
    let codes: Vec<_> = deleted
        .iter()
        .map(|d| d.2.err().map_or(0, GroupError::code))
        .collect();
    assert_eq!(codes, [86, 0], "subscribed to, and not");
    host.advance(45_000);
    assert_eq!(state(&mut host, "g"), GroupState::Empty);
    assert_eq!(delete(&mut host), 0);
    assert_eq!(host.reload().group_count(), 0);

    two_members(&mut host);
    host.advance(45_000);
    let effects = host.coordinator.expire_offsets(host.now);
    host.perform(effects);
    assert_eq!(
        host.coordinator.group_count(),
        0,
        "without offsets nothing is worth keeping"
    );
    assert_eq!(host.reload().group_count(), 0);
}

#[test]
fn a_group_has_its_own_timeouts() {
    let mut host = Host::new();
    let timeouts = tidegate_coordinator::ConsumerTimeouts {
        session_timeout_ms: 50_000,
        heartbeat_interval_ms: 6_000,
    };
    host.coordinator
        .set_timeouts([("g".to_owned(), timeouts)].into());
    assert_eq!(
        host.beat(joining("g", "a", &[]))
            .unwrap()
            .heartbeat_interval_ms,
        6_000
    );
    assert_eq!(host.coordinator.next_deadline(), Some(50_000));
    assert_eq!(
        host.beat(joining("h", "a", &[]))
            .unwrap()
            .heartbeat_interval_ms,
        5_000
    );
    assert_eq!(host.coordinator.next_deadline(), Some(45_000));
}

#[test]
fn nothing_is_told_before_it_is_stored() {
    let mut host = Host::new();
    host.set_topics(&[("t", 2)]);
    host.prompt = false;
    let first = host.send(Request::ConsumerHeartbeat(joining("g", "a", &["t"])));
    let quiet = host.send(Request::ConsumerHeartbeat(beating("g", "a", 1, None)));
    assert!(host.take(first).is_none() && host.take(quiet).is_none());
    host.finish_append(true);
    assert!(host.take(first).is_some());
    assert!(
        host.take(quiet).is_some(),
        "it waited for the records before it"
    );

    // A lost append: whoever waits is refused, and the next one carries everything.
    let b = host.send(Request::ConsumerHeartbeat(joining("g", "b", &["t"])));
    let behind = host.send(Request::ConsumerHeartbeat(joining("g", "c", &["t"])));
    host.finish_append(false);
    for token in [b, behind] {
        let Some(Reply::ConsumerHeartbeat(Err(refusal))) = host.take(token) else {
            panic!()
        };
        assert_eq!(refusal.error.code(), 15);
    }
    let again = host.send(Request::ConsumerHeartbeat(joining("g", "b", &["t"])));
    assert!(
        host.take(again).is_none(),
        "memory alone is not worth an answer"
    );
    host.finish_append(true);
    let Some(Reply::ConsumerHeartbeat(Ok(_))) = host.take(again) else {
        panic!()
    };
    let live = host.describe_consumer("g");
    assert_eq!(live.as_ref().unwrap().members.len(), 3);
    host.coordinator = host.reload();
    assert_eq!(host.describe_consumer("g"), live);
}

#[test]
fn a_loss_is_made_good_although_nobody_asks_for_anything() {
    let mut host = Host::new();
    host.set_topics(&[("t", 2)]);
    host.beat(joining("g", "a", &["t"])).unwrap();
    host.prompt = false;
    let leaves = host.send(Request::ConsumerHeartbeat(beating("g", "a", -1, None)));
    host.finish_append(false);
    assert!(host.take(leaves).is_some());
    // The log still has the member, of which nobody knows any more but for what was to be taken out.
    host.prompt = true;
    host.advance(2_000);
    host.coordinator = host.reload();
    let group = host.describe_consumer("g").unwrap();
    assert_eq!(group.members.len(), 0);
}

/// A stable classic group of two consumers that share "t"; their ids, leader first.
fn classic_pair(host: &mut Host) -> Vec<String> {
    let request = || JoinRequest {
        protocols: vec![("range".into(), subscription(&["t"], &[]))],
        ..join("g", "")
    };
    let tokens = [(); 2].map(|()| host.send(Request::Join(request())));
    host.wait_for(tokens[0]);
    let joined = tokens.map(|token| host.joined(token));
    let leader = joined[0].leader.clone();
    let mut ids = joined.map(|j| j.member_id).to_vec();
    ids.sort_by_key(|id| *id != leader);
    let follower = host.send(sync("g", &ids[1], 1, &[]));
    let mut led = sync("g", &ids[0], 1, &[]);
    if let Request::Sync(sync) = &mut led {
        sync.assignments = vec![
            (ids[0].clone(), assigned(&[("t", &[0, 1])])),
            (ids[1].clone(), assigned(&[("t", &[2, 3])])),
        ];
    }
    let led = host.send(led);
    assert_eq!(host.assignment(led), assigned(&[("t", &[0, 1])]));
    assert_eq!(host.assignment(follower), assigned(&[("t", &[2, 3])]));
    ids
}

fn rejoin(host: &mut Host, id: &str, owned: &[(&str, &[i32])]) -> i32 {
    let token = host.send(Request::Join(JoinRequest {
        protocols: vec![("range".into(), subscription(&["t"], owned))],
        ..join("g", id)
    }));
    let joined = host.joined(token);
    assert_eq!(
        (joined.member_id.as_str(), joined.leader.as_str()),
        (id, "")
    );
    assert!(joined.members.is_empty(), "nobody leads");
    joined.generation
}

#[test]
fn what_a_broken_off_rebalance_left_in_use_is_not_free() {
    let mut host = Host::new();
    host.set_topics(&[("t", 4)]);
    let ids = classic_pair(&mut host);
    // Both go into the next generation with what they use, and a third one breaks that off.
    let shares: [&[(&str, &[i32])]; 2] = [&[("t", &[0, 1])], &[("t", &[2, 3])]];
    for (id, owned) in ids.iter().zip(shares) {
        host.send(Request::Join(JoinRequest {
            protocols: vec![("range".into(), subscription(&["t"], owned))],
            ..join("g", id)
        }));
    }
    host.send(Request::Join(JoinRequest {
        protocols: vec![("range".into(), subscription(&["t"], &[]))],
        ..join("g", "")
    }));
    let a = host.beat(joining("g", "a", &["t"])).unwrap();
    assert_eq!(a.assignment, Some(none()), "everything is still in use");
}

#[test]
fn a_classic_group_becomes_a_consumer_group_and_back() {
    let mut host = Host::new();
    host.set_topics(&[("t", 4)]);
    let ids = classic_pair(&mut host);
    let (x, y) = (ids[0].clone(), ids[1].clone());
    let a = host.beat(joining("g", "a", &["t"])).unwrap();
    assert_eq!(
        a.assignment,
        Some(none()),
        "the classic members hold everything"
    );
    let group = host.describe_consumer("g").unwrap();
    assert_eq!(group.members.iter().filter(|m| m.is_classic).count(), 2);
    assert_eq!(host.heartbeat("g", &x, 1), Some(27), "it must rejoin");
    let generation = rejoin(&mut host, &x, &[("t", &[0, 1])]);
    let kept = host.send(sync("g", &x, generation, &[]));
    let kept = host.assignment(kept);
    // One of the two classic members has to give up one partition.
    let other = rejoin(&mut host, &y, &[("t", &[2, 3])]);
    let other_kept = host.send(sync("g", &y, other, &[]));
    let other_kept = host.assignment(other_kept);
    let loser = if kept == assigned(&[("t", &[0, 1])]) {
        &y
    } else {
        &x
    };
    let (left, generation) = match *loser == x {
        true => (kept, generation),
        false => (other_kept, other),
    };
    assert_eq!(
        left.len(),
        assigned(&[("t", &[9])]).len(),
        "one partition is left"
    );
    assert_eq!(
        host.heartbeat("g", loser, generation),
        Some(27),
        "to confirm that it let go"
    );
    let index = i32::from_be_bytes(left[left.len() - 8..left.len() - 4].try_into().unwrap());
    let generation = rejoin(&mut host, loser, &[("t", &[index])]);
    assert_eq!(generation, a.epoch);
    let got = host.beat(beating("g", "a", a.epoch, Some(none()))).unwrap();
    assert_eq!(
        got.assignment
            .unwrap()
            .values()
            .map(|p| p.len())
            .sum::<usize>(),
        1
    );
    assert_eq!(state(&mut host, "g"), GroupState::Stable);
    let reloaded = host.reload();
    assert_eq!(reloaded.group_count(), 1);
    host.coordinator = reloaded;
    assert_eq!(state(&mut host, "g"), GroupState::Stable);

    // The last member that speaks KIP-848 leaves: the classic ones go on by themselves.
    host.beat(beating("g", "a", -1, None)).unwrap();
    assert!(host.describe_consumer("g").is_none());
    assert_eq!(list(&mut host, &["classic"]).len(), 1);
    assert_eq!(host.heartbeat("g", loser, a.epoch + 1), Some(22));
    assert_eq!(
        host.heartbeat("g", loser, a.epoch),
        Some(27),
        "a rebalance of the classic kind"
    );
    host.coordinator = host.reload();
    assert!(host.describe_consumer("g").is_none());
    assert_eq!(
        host.heartbeat("g", loser, a.epoch),
        None,
        "as it was stored"
    );
}

#[test]
fn policies_hold_groups_back() {
    for (policy, upgrades, downgrades) in [
        (MigrationPolicy::Bidirectional, true, true),
        (MigrationPolicy::Upgrade, true, false),
        (MigrationPolicy::Downgrade, false, true),
        (MigrationPolicy::Disabled, false, false),
    ] {
        let mut options = GroupOptions::default();
        options.consumer.migration = policy;
        let mut host = Host::with(options);
        host.set_topics(&[("t", 4)]);
        classic_pair(&mut host);
        let joined = host.beat(joining("g", "a", &["t"]));
        assert_eq!(code(joined), if upgrades { 0 } else { 69 }, "{policy:?}");
        // A classic member in a consumer group, and then the other one leaves.
        host.beat(joining("h", "a", &["t"])).unwrap();
        let token = host.send(Request::Join(JoinRequest {
            protocols: vec![("range".into(), subscription(&["t"], &[]))],
            ..join("h", "")
        }));
        host.joined(token);
        host.beat(beating("h", "a", -1, None)).unwrap();
        assert_eq!(
            host.describe_consumer("h").is_none(),
            downgrades,
            "{policy:?}"
        );
    }
}

#[test]
fn a_group_that_consumers_do_not_lead_stays_classic() {
    let mut host = Host::new();
    host.set_topics(&[("t", 4)]);
    let connect = host.send(Request::Join(JoinRequest {
        protocol_type: "connect".into(),
        ..join("g", "")
    }));
    host.wait_for(connect);
    assert_eq!(code(host.beat(joining("g", "a", &["t"]))), 69);
    let garbage = host.send(Request::Join(join("h", "")));
    host.wait_for(garbage);
    let refusal = host.beat(joining("h", "a", &["t"])).unwrap_err();
    assert!(refusal.message.contains("malformed"), "{}", refusal.message);
}

#[test]
fn an_empty_group_takes_the_kind_of_who_comes() {
    let mut host = Host::new();
    host.set_topics(&[("t", 1)]);
    host.ask(commit("g", "", -1, 7));
    host.beat(joining("g", "a", &["t"])).unwrap();
    host.beat(beating("g", "a", -1, None)).unwrap();
    assert_eq!(
        fetch_all(&mut host.coordinator, "g").len(),
        1,
        "offsets outlive the kind"
    );
    let ids = host.stable("g", 1);
    assert_eq!(host.heartbeat("g", &ids[0], 1), None);
    assert!(host.describe_consumer("g").is_none());
    host.ask(leave("g", &ids[0]));
    host.beat(joining("g", "a", &["t"])).unwrap();
    host.coordinator = host.reload();
    assert_eq!(host.describe_consumer("g").unwrap().members.len(), 1);
    assert_eq!(fetch_all(&mut host.coordinator, "g").len(), 1);
}

#[test]
fn a_classic_member_lives_in_a_consumer_group() {
    let mut host = Host::new();
    host.set_topics(&[("t", 2)]);
    let a = host.beat(joining("g", "a", &["t"])).unwrap();
    let known = |member: &str| JoinRequest {
        require_known_member: true,
        protocols: vec![("range".into(), subscription(&["t"], &[]))],
        ..join("g", member)
    };
    let token = host.send(Request::Join(known("")));
    let (required, id) = host.join_error(token);
    assert_eq!(required, 79);
    let token = host.send(Request::Join(known(&id)));
    let joined = host.joined(token);
    assert_eq!(
        (joined.protocol_name.as_str(), joined.generation),
        ("range", 2)
    );
    let token = host.send(sync("g", &id, 2, &[]));
    assert_eq!(
        host.assignment(token),
        assigned(&[]),
        "a has not let go yet"
    );
    assert_eq!(
        host.heartbeat("g", &id, 2),
        None,
        "waiting is not a reason to rejoin"
    );
    let told = host.beat(beating("g", "a", a.epoch, None)).unwrap();
    host.beat(beating("g", "a", told.epoch, told.assignment))
        .unwrap();
    assert_eq!(
        host.heartbeat("g", &id, 2),
        Some(27),
        "now there is something to get"
    );
    let token = host.send(Request::Join(known(&id)));
    assert_eq!(host.joined(token).generation, 2);
    let token = host.send(sync("g", &id, 2, &[]));
    assert_eq!(host.assignment(token), assigned(&[("t", &[1])]));
    assert_eq!(host.heartbeat("g", &id, 1), Some(22));
    assert_eq!(
        host.heartbeat("g", "a", 2),
        Some(25),
        "a does not speak the classic protocol"
    );
    let token = host.send(sync("g", &id, 1, &[]));
    assert_eq!(host.sync_error(token), 22);
    let other = host.send(Request::Join(JoinRequest {
        protocols: vec![("other".into(), subscription(&["t"], &[]))],
        ..join("g", "")
    }));
    assert_eq!(host.join_error(other).0, 23);
    // It must rejoin in time, or it is put out.
    host.beat(joining("g", "b", &["t"])).unwrap();
    assert_eq!(host.heartbeat("g", &id, 2), Some(27));
    for _ in 0..60 {
        host.advance(1_000);
        host.heartbeat("g", &id, 2);
        let epoch = host_epoch(&mut host, "a");
        host.beat(beating("g", "a", epoch, None)).unwrap();
    }
    assert_eq!(host.heartbeat("g", &id, 2), Some(25));
}

#[test]
fn members_are_removed_through_leave_group() {
    let mut host = Host::new();
    two_members(&mut host);
    let fixed = ConsumerHeartbeat {
        instance_id: Some("i1".into()),
        ..joining("g", "c", &["t"])
    };
    host.beat(fixed).unwrap();
    let leaving = |member: &str, instance: Option<&str>| LeavingMember {
        member_id: member.into(),
        group_instance_id: instance.map(str::to_owned),
    };
    let members = vec![
        leaving("", Some("i1")),
        leaving("b", None),
        leaving("who", None),
        leaving("a", Some("i9")),
    ];
    let Reply::Leave(Ok(left)) = host.ask(Request::Leave {
        group: "g".into(),
        members,
    }) else {
        panic!()
    };
    let codes: Vec<_> = left
        .iter()
        .map(|m| m.result.err().map_or(0, GroupError::code))
        .collect();
    assert_eq!(codes, [0, 0, 25, 25]);
    let rest = host.describe_consumer("g").unwrap();
    assert_eq!(rest.members.len(), 1);
    assert_eq!(rest.members[0].member_id, "a");
}
