//! The group protocol by example.

mod support;

use bytes::Bytes;
use support::*;
use tidegate_coordinator::{
    GroupError, GroupOptions, GroupState, JoinRequest, LeavingMember, Reply, Request, SyncRequest,
};

const REBALANCE: Option<i16> = Some(27);
const UNKNOWN_MEMBER: Option<i16> = Some(25);

fn describe(host: &mut Host, group: &str) -> tidegate_coordinator::DescribedGroup {
    match host.ask(Request::Describe {
        group: group.into(),
    }) {
        Reply::Describe(Ok(described)) => described,
        other => panic!("{other:?}"),
    }
}

fn commit_result(reply: Reply) -> Vec<Option<i16>> {
    match reply {
        Reply::CommitOffsets(all) => all
            .into_iter()
            .map(|(_, _, result)| result.err().map(GroupError::code))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_generation_waits_for_the_initial_delay() {
    let mut host = Host::new();
    let first = host.send(Request::Join(join("g", "")));
    host.advance(2_999);
    assert!(host.take(first).is_none());
    // A second member makes the wait another three seconds long.
    let second = host.send(Request::Join(join("g", "")));
    host.advance(1);
    assert!(host.take(first).is_none());
    host.advance(2_999);
    assert!(host.take(first).is_none());
    host.advance(1);
    let (first, second) = (host.joined(first), host.joined(second));
    assert_eq!((first.generation, second.generation), (1, 1));
    assert_eq!(first.leader, first.member_id);
    assert_eq!(first.members.len(), 2);
    assert!(second.members.is_empty() && second.leader == first.member_id);
    assert_eq!(
        (first.protocol_name.as_str(), first.protocol_type.as_str()),
        ("range", "consumer")
    );
    assert!(first.member_id.starts_with("app-"), "{}", first.member_id);
}

#[test]
fn the_initial_wait_ends_with_the_rebalance_timeout() {
    let mut host = Host::new();
    let short = |g: &str| JoinRequest {
        rebalance_timeout_ms: 7_000,
        ..join(g, "")
    };
    let tokens: Vec<_> = (0..9)
        .map(|_| {
            let token = host.send(Request::Join(short("g")));
            host.advance(1_000);
            token
        })
        .collect();
    assert!(
        matches!(host.take(tokens[0]), Some(Reply::Join(Ok(_)))),
        "7 s are over"
    );
}

#[test]
fn a_delay_of_zero_answers_at_once() {
    let mut host = Host::with(GroupOptions {
        initial_rebalance_delay_ms: 0,
        ..GroupOptions::default()
    });
    let token = host.send(Request::Join(join("g", "")));
    assert_eq!(host.joined(token).generation, 1);
}

#[test]
fn new_members_are_told_their_id_first() {
    let mut host = Host::new();
    let known = |member: &str| JoinRequest {
        require_known_member: true,
        ..join("g", member)
    };
    let token = host.send(Request::Join(known("")));
    let (code, id) = host.join_error(token);
    assert_eq!(code, 79);
    assert!(id.starts_with("app-"));
    let token = host.send(Request::Join(known(&id)));
    host.advance(3_000);
    assert_eq!(host.joined(token).member_id, id);
    let stranger = host.send(Request::Join(known("who")));
    assert_eq!(host.join_error(stranger).0, 25);
}

#[test]
fn an_invitation_lapses_and_leaves_nothing() {
    let mut host = Host::new();
    let token = host.send(Request::Join(JoinRequest {
        require_known_member: true,
        ..join("g", "")
    }));
    let (_, id) = host.join_error(token);
    assert_eq!(host.coordinator.group_count(), 1);
    host.advance(10_000);
    assert_eq!(host.coordinator.group_count(), 0);
    let late = host.send(Request::Join(join("g", &id)));
    assert_eq!(host.join_error(late).0, 25);
}

#[test]
fn requests_are_checked_before_anything_happens() {
    let mut host = Host::new();
    let mut refused = |request: JoinRequest| {
        let token = host.send(Request::Join(request));
        host.join_error(token).0
    };
    assert_eq!(refused(join("", "")), 24);
    assert_eq!(
        refused(JoinRequest {
            session_timeout_ms: 5_999,
            ..join("g", "")
        }),
        26
    );
    assert_eq!(
        refused(JoinRequest {
            session_timeout_ms: 1_800_001,
            ..join("g", "")
        }),
        26
    );
    assert_eq!(
        refused(JoinRequest {
            protocols: vec![],
            ..join("g", "")
        }),
        23
    );
    assert_eq!(
        refused(JoinRequest {
            protocol_type: String::new(),
            ..join("g", "")
        }),
        23
    );
    assert_eq!(refused(join("g", "unknown")), 25);
    assert_eq!(host.coordinator.group_count(), 0);
}

#[test]
fn a_full_group_takes_nobody_else() {
    let mut host = Host::with(GroupOptions {
        max_group_size: 2,
        ..GroupOptions::default()
    });
    host.stable("g", 2);
    let token = host.send(Request::Join(join("g", "")));
    assert_eq!(host.join_error(token).0, 81);
}

#[test]
fn a_generation_is_stored_before_anyone_is_assigned() {
    let mut host = Host::new();
    let token = host.send(Request::Join(join("g", "")));
    host.advance(3_000);
    let id = host.joined(token).member_id;
    host.prompt = false;
    let synced = host.send(sync("g", &id, 1, &[&id]));
    assert!(host.take(synced).is_none());
    let again = host.send(sync("g", &id, 1, &[&id]));
    assert_eq!(
        host.sync_error(synced),
        27,
        "the earlier of two waiting SyncGroups"
    );
    assert_eq!(host.in_flight.len(), 1, "stored once");
    host.finish_append(true);
    assert_eq!(host.assignment(again), format!("for {id}"));
    assert_eq!(describe(&mut host, "g").state, GroupState::Stable);
}

#[test]
fn a_failed_store_makes_the_group_rebalance() {
    let mut host = Host::new();
    let token = host.send(Request::Join(join("g", "")));
    host.advance(3_000);
    let id = host.joined(token).member_id;
    host.prompt = false;
    let synced = host.send(sync("g", &id, 1, &[&id]));
    host.finish_append(false);
    assert_eq!(host.sync_error(synced), 15);
    assert_eq!(host.heartbeat("g", &id, 1), REBALANCE);
    let token = host.send(Request::Join(join("g", &id)));
    assert_eq!(host.joined(token).generation, 2);
}

#[test]
fn a_joining_member_rebalances_the_group() {
    let mut host = Host::new();
    let ids = host.stable("g", 2);
    assert_eq!(host.heartbeat("g", &ids[0], 1), None);
    let new = host.send(Request::Join(join("g", "")));
    assert_eq!(host.heartbeat("g", &ids[0], 1), REBALANCE);
    assert_eq!(
        host.heartbeat("g", &ids[1], 9),
        Some(22),
        "another generation"
    );
    assert_eq!(host.heartbeat("g", "nobody", 1), UNKNOWN_MEMBER);
    let token = host.send(sync("g", &ids[0], 1, &[]));
    assert_eq!(host.sync_error(token), 27);
    let first = host.send(Request::Join(join("g", &ids[0])));
    assert!(host.take(first).is_none());
    let second = host.send(Request::Join(join("g", &ids[1])));
    let joined = [first, second, new].map(|token| host.joined(token));
    assert!(
        joined
            .iter()
            .all(|j| j.generation == 2 && j.leader == ids[0])
    );
    assert_eq!(joined[0].members.len(), 3);
}

#[test]
fn who_does_not_rejoin_in_time_is_out() {
    let mut host = Host::new();
    let ids = host.stable("g", 2);
    let back = host.send(Request::Join(join("g", &ids[0])));
    for _ in 0..12 {
        // The other one heartbeats, but never comes back.
        host.advance(5_000);
        host.send(Request::Heartbeat {
            group: "g".into(),
            generation: 1,
            member_id: ids[1].clone(),
            group_instance_id: None,
        });
    }
    let joined = host.joined(back);
    assert_eq!((joined.generation, joined.members.len()), (2, 1));
    assert_eq!(host.heartbeat("g", &ids[1], 2), UNKNOWN_MEMBER);
}

#[test]
fn silent_members_expire_and_the_last_one_leaves_an_empty_generation() {
    let mut host = Host::new();
    let ids = host.stable("g", 1);
    host.advance(9_999);
    assert_eq!(host.heartbeat("g", &ids[0], 1), None);
    host.advance(10_000);
    assert_eq!(host.heartbeat("g", &ids[0], 1), UNKNOWN_MEMBER);
    let described = describe(&mut host, "g");
    assert_eq!(
        (described.state, described.generation),
        (GroupState::Empty, 2)
    );
    let mut reloaded = host.reload();
    let effects = reloaded.handle(1, Request::Describe { group: "g".into() }, 0, "");
    let text = format!("{effects:?}");
    assert!(
        text.contains("Empty") && text.contains("generation: 2"),
        "{text}"
    );
}

#[test]
fn who_never_syncs_holds_nobody_up_for_ever() {
    let mut host = Host::new();
    let a = host.send(Request::Join(join("g", "")));
    let b = host.send(Request::Join(join("g", "")));
    host.advance(6_000);
    let (a, b) = (host.joined(a), host.joined(b));
    let (leader, other) = if a.leader == a.member_id {
        (a, b)
    } else {
        (b, a)
    };
    let waiting = host.send(sync("g", &other.member_id, 1, &[]));
    for _ in 0..12 {
        host.advance(5_000);
        host.heartbeat("g", &leader.member_id, 1);
    }
    assert_eq!(host.sync_error(waiting), 27);
    assert_eq!(host.heartbeat("g", &leader.member_id, 1), UNKNOWN_MEMBER);
}

#[test]
fn protocols_are_voted_for() {
    let mut host = Host::new();
    let with = |names: &[&str]| JoinRequest {
        protocols: names
            .iter()
            .map(|n| (n.to_string(), Bytes::from(format!("{n}!"))))
            .collect(),
        ..join("g", "")
    };
    let tokens = [with(&["a", "b"]), with(&["b", "a"]), with(&["c", "b", "a"])]
        .map(|request| host.send(Request::Join(request)));
    let odd = host.send(Request::Join(with(&["c"])));
    assert_eq!(host.join_error(odd).0, 23, "nothing that all have");
    let wrong = host.send(Request::Join(JoinRequest {
        protocol_type: "connect".into(),
        ..with(&["a"])
    }));
    assert_eq!(host.join_error(wrong).0, 23);
    host.wait_for(tokens[0]);
    let joined = tokens.map(|token| host.joined(token));
    assert!(joined.iter().all(|j| j.protocol_name == "b"), "{joined:?}");
    let leader = joined.iter().find(|j| !j.members.is_empty()).unwrap();
    assert!(leader.members.iter().all(|m| m.metadata == "b!"));
}

#[test]
fn sync_checks_what_the_member_believes() {
    let mut host = Host::new();
    let ids = host.stable("g", 1);
    let request = |kind: Option<&str>, name: Option<&str>| {
        Request::Sync(SyncRequest {
            group: "g".into(),
            generation: 1,
            member_id: ids[0].clone(),
            protocol_type: kind.map(str::to_owned),
            protocol_name: name.map(str::to_owned),
            ..SyncRequest::default()
        })
    };
    let token = host.send(request(Some("consumer"), Some("range")));
    assert_eq!(host.assignment(token), format!("for {}", ids[0]));
    let token = host.send(request(Some("connect"), None));
    assert_eq!(host.sync_error(token), 23);
    let token = host.send(request(None, Some("sticky")));
    assert_eq!(host.sync_error(token), 23);
    let token = host.send(sync("none", "x", 1, &[]));
    assert_eq!(host.sync_error(token), 25);
}

#[test]
fn a_repeated_join_is_answered_without_a_rebalance() {
    let mut host = Host::new();
    let ids = host.stable("g", 2);
    let again = host.send(Request::Join(join("g", &ids[1])));
    assert_eq!(host.joined(again).generation, 1);
    let changed = JoinRequest {
        protocols: vec![("range".into(), Bytes::from_static(b"other topics"))],
        ..join("g", &ids[1])
    };
    let changed = host.send(Request::Join(changed));
    assert!(host.take(changed).is_none());
    let leader = host.send(Request::Join(join("g", &ids[0])));
    assert_eq!(host.joined(changed).generation, 2);
    assert_eq!(host.joined(leader).members[1].metadata, "other topics");
}

#[test]
fn leaving_many_at_once() {
    let mut host = Host::new();
    let ids = host.stable("g", 3);
    let leaving = |id: &str| LeavingMember {
        member_id: id.into(),
        group_instance_id: None,
    };
    let members = vec![leaving(&ids[1]), leaving("nobody"), leaving(&ids[2])];
    let Reply::Leave(Ok(left)) = host.ask(Request::Leave {
        group: "g".into(),
        members,
    }) else {
        panic!()
    };
    let results: Vec<_> = left.iter().map(|l| l.result).collect();
    assert_eq!(results, [Ok(()), Err(GroupError::UnknownMemberId), Ok(())]);
    assert_eq!(host.heartbeat("g", &ids[0], 1), REBALANCE);
    let token = host.send(Request::Join(join("g", &ids[0])));
    assert_eq!(host.joined(token).members.len(), 1);
    let Reply::Leave(Err(error)) = host.ask(leave("other", "x")) else {
        panic!()
    };
    assert_eq!(error, GroupError::UnknownMemberId);
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    let mut host = Host::new();
    let token = host.send(Request::Join(static_join("g", "", "one")));
    let other = host.send(Request::Join(static_join("g", "", "two")));
    host.wait_for(token);
    let (leader, other) = (host.joined(token), host.joined(other));
    let (leader, follower) = if leader.members.is_empty() {
        (other, leader)
    } else {
        (leader, other)
    };
    assert!(leader.member_id.starts_with("one-") || leader.member_id.starts_with("two-"));
    let led = host.send(sync(
        "g",
        &leader.member_id,
        1,
        &[&leader.member_id, &follower.member_id],
    ));
    host.assignment(led);

    let instance = |id: &str| id.split('-').next().unwrap().to_owned();
    let back = static_join("g", "", &instance(&follower.member_id));
    host.prompt = false;
    let token = host.send(Request::Join(back));
    assert!(host.take(token).is_none(), "answered once it is stored");
    host.finish_append(true);
    host.prompt = true;
    let joined = host.joined(token);
    assert_eq!((joined.generation, &joined.leader), (1, &leader.member_id));
    assert_ne!(joined.member_id, follower.member_id);
    let token = host.send(sync("g", &joined.member_id, 1, &[]));
    assert_eq!(
        host.assignment(token),
        format!("for {}", follower.member_id),
        "it keeps its own"
    );

    let fenced = host.ask(Request::Heartbeat {
        group: "g".into(),
        generation: 1,
        member_id: follower.member_id.clone(),
        group_instance_id: Some(instance(&follower.member_id)),
    });
    assert_eq!(fenced, Reply::Heartbeat(Err(GroupError::FencedInstanceId)));

    // The leader comes back, too: with skip_assignment where the client knows it.
    let led = static_join("g", "", &instance(&leader.member_id));
    let token = host.send(Request::Join(JoinRequest {
        supports_skip_assignment: true,
        ..led.clone()
    }));
    let skipping = host.joined(token);
    assert!(skipping.skip_assignment && skipping.leader == skipping.member_id);
    assert_eq!((skipping.generation, skipping.members.len()), (1, 2));
    let token = host.send(Request::Join(led));
    let older = host.joined(token);
    assert!(!older.skip_assignment && older.leader == skipping.member_id);
    assert!(older.members.is_empty());
}

#[test]
fn a_waiting_static_member_is_fenced_by_its_successor() {
    let mut host = Host::new();
    let old = host.send(Request::Join(static_join("g", "", "one")));
    let new = host.send(Request::Join(static_join("g", "", "one")));
    assert_eq!(host.join_error(old).0, 82);
    host.advance(3_000);
    assert_eq!(host.joined(new).members.len(), 1);
}

#[test]
fn static_members_keep_their_place_until_their_session_ends() {
    let mut host = Host::new();
    let a = host.send(Request::Join(static_join("g", "", "one")));
    let b = host.send(Request::Join(JoinRequest {
        session_timeout_ms: 1_800_000,
        ..static_join("g", "", "two")
    }));
    host.wait_for(a);
    let (a, b) = (host.joined(a), host.joined(b));
    // Both have synced; then `one` rejoins with other topics and `two` is away.
    for (member, all) in [(&a, true), (&b, true)] {
        let ids: Vec<&str> = if all {
            vec![&a.member_id, &b.member_id]
        } else {
            vec![]
        };
        host.send(sync("g", &member.member_id, 1, &ids));
    }
    let changed = JoinRequest {
        protocols: vec![("range".into(), Bytes::from_static(b"more"))],
        ..static_join("g", &a.member_id, "one")
    };
    let again = host.send(Request::Join(changed));
    host.advance(60_000);
    let joined = host.joined(again);
    assert_eq!(
        (joined.generation, joined.members.len()),
        (2, 2),
        "the absent one still counts"
    );
    // An administrator removes it by its instance.
    let leaving = LeavingMember {
        member_id: String::new(),
        group_instance_id: Some("two".into()),
    };
    let Reply::Leave(Ok(left)) = host.ask(Request::Leave {
        group: "g".into(),
        members: vec![leaving],
    }) else {
        panic!()
    };
    assert_eq!(left[0].result, Ok(()));
}

#[test]
fn offsets_are_seen_only_when_stored() {
    let mut host = Host::new();
    let ids = host.stable("g", 1);
    host.prompt = false;
    let token = host.send(commit("g", &ids[0], 1, 5));
    assert!(host.take(token).is_none());
    assert!(fetch_all(&mut host.coordinator, "g").is_empty());
    host.finish_append(true);
    assert_eq!(commit_result(host.take(token).unwrap()), [None]);
    assert_eq!(fetch_all(&mut host.coordinator, "g")[&("t".into(), 0)], 5);
    let token = host.send(commit("g", &ids[0], 1, 9));
    host.finish_append(false);
    assert_eq!(commit_result(host.take(token).unwrap()), [Some(15)]);
    assert_eq!(fetch_all(&mut host.coordinator, "g")[&("t".into(), 0)], 5);
}

#[test]
fn commits_are_checked_by_who_makes_them() {
    let mut host = Host::new();
    let result = |host: &mut Host, request| commit_result(host.ask(request))[0];
    assert_eq!(
        result(&mut host, commit("g", "", -1, 1)),
        None,
        "only stores offsets"
    );
    assert_eq!(result(&mut host, commit("g", "m", 1, 1)), UNKNOWN_MEMBER);
    assert_eq!(result(&mut host, commit("new", "m", 1, 1)), Some(22));
    let ids = host.stable("g", 1);
    assert_eq!(
        result(&mut host, commit("g", "", -1, 2)),
        UNKNOWN_MEMBER,
        "the group is in use"
    );
    assert_eq!(result(&mut host, commit("g", &ids[0], 9, 2)), Some(22));
    let long = tidegate_coordinator::OffsetAndMetadata {
        metadata: "x".repeat(4097),
        ..at(3)
    };
    let both = Request::CommitOffsets {
        group: "g".into(),
        generation: 1,
        member_id: ids[0].clone(),
        group_instance_id: None,
        knows_epochs: true,
        offsets: vec![("t".into(), 0, long), ("t".into(), 1, at(4))],
    };
    assert_eq!(commit_result(host.ask(both)), [Some(12), None]);
    // A new member in the middle: committing is still possible until the next generation begins.
    let new = host.send(Request::Join(join("g", "")));
    assert_eq!(result(&mut host, commit("g", &ids[0], 1, 7)), None);
    host.send(Request::Join(join("g", &ids[0])));
    host.joined(new);
    assert_eq!(result(&mut host, commit("g", &ids[0], 2, 8)), REBALANCE);
    assert_eq!(fetch_all(&mut host.coordinator, "g")[&("t".into(), 0)], 7);
}

#[test]
fn asked_offsets_come_in_the_order_asked() {
    let mut host = Host::new();
    host.ask(commit("g", "", -1, 5));
    let topics = Some(vec![
        ("u".to_owned(), vec![1]),
        ("t".to_owned(), vec![3, 0]),
    ]);
    let Reply::FetchOffsets(Ok(found)) = host.ask(Request::FetchOffsets {
        group: "g".into(),
        member_id: None,
        member_epoch: -1,
        topics,
        require_stable: true,
    }) else {
        panic!()
    };
    assert_eq!(
        found,
        [
            ("u".to_owned(), vec![(1, Ok(None))]),
            ("t".to_owned(), vec![(3, Ok(None)), (0, Ok(Some(at(5))))])
        ]
    );
}

#[test]
fn only_empty_groups_are_deleted() {
    let mut host = Host::new();
    let ids = host.stable("busy", 1);
    host.ask(commit("idle", "", -1, 5));
    let groups = vec![
        "busy".to_owned(),
        "idle".into(),
        "none".into(),
        "idle".into(),
    ];
    let Reply::DeleteGroups(results) = host.ask(Request::DeleteGroups { groups }) else {
        panic!()
    };
    let codes: Vec<_> = results
        .into_iter()
        .map(|(_, r)| r.err().map(GroupError::code))
        .collect();
    assert_eq!(codes, [Some(68), None, Some(69), Some(69)]);
    assert!(fetch_all(&mut host.coordinator, "idle").is_empty());
    let mut reloaded = host.reload();
    assert_eq!(reloaded.group_count(), 1);
    assert!(fetch_all(&mut reloaded, "idle").is_empty());

    // While the tombstones are on their way nobody gets in; if they fail, all is as before.
    host.ask(commit("idle", "", -1, 6));
    host.prompt = false;
    let token = host.send(Request::DeleteGroups {
        groups: vec!["idle".into()],
    });
    let join_token = host.send(Request::Join(join("idle", "")));
    assert_eq!(host.join_error(join_token).0, 15);
    host.finish_append(false);
    let Some(Reply::DeleteGroups(results)) = host.take(token) else {
        panic!()
    };
    assert_eq!(results[0].1, Err(GroupError::CoordinatorNotAvailable));
    assert_eq!(fetch_all(&mut host.coordinator, "idle").len(), 1);
    host.prompt = true;
    assert_eq!(host.heartbeat("busy", &ids[0], 1), None);
}

/// What a consumer joins with: version 1, then the topics it wants.
fn subscription(topics: &[&str]) -> bytes::Bytes {
    let mut bytes = vec![0, 1];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend([0, 0, 0, 0]);
    bytes.into()
}

fn delete_offsets(host: &mut Host, group: &str, topics: &[&str]) -> Result<Vec<i16>, i16> {
    let request = Request::DeleteOffsets {
        group: group.into(),
        partitions: topics.iter().map(|topic| (topic.to_string(), 0)).collect(),
    };
    let Reply::DeleteOffsets(deleted) = host.ask(request) else {
        panic!()
    };
    let code = |result: Result<(), GroupError>| result.err().map_or(0, GroupError::code);
    match deleted {
        Ok(deleted) => Ok(deleted
            .into_iter()
            .map(|(_, _, result)| code(result))
            .collect()),
        Err(error) => Err(error.code()),
    }
}

#[test]
fn offsets_are_deleted_where_nobody_consumes() {
    let mut host = Host::new();
    assert_eq!(delete_offsets(&mut host, "none", &["t"]), Err(69));
    host.ask(commit("idle", "", -1, 5));
    assert_eq!(
        delete_offsets(&mut host, "idle", &["t", "other"]),
        Ok(vec![0, 0])
    );
    assert!(fetch_all(&mut host.coordinator, "idle").is_empty());
    assert!(fetch_all(&mut host.reload(), "idle").is_empty());

    host.ask(commit("busy", "", -1, 5));
    let mut request = join("busy", "");
    request.protocols = vec![("range".to_owned(), subscription(&["t", "u"]))];
    let token = host.send(Request::Join(request));
    host.wait_for(token);
    assert_eq!(
        delete_offsets(&mut host, "busy", &["t", "gone"]),
        Ok(vec![86, 0])
    );
    assert_eq!(fetch_all(&mut host.coordinator, "busy").len(), 1);

    // Members that are no consumers: nobody knows what they need.
    host.ask(commit("connect", "", -1, 5));
    let mut request = join("connect", "");
    request.protocol_type = "connect".into();
    let token = host.send(Request::Join(request));
    host.wait_for(token);
    assert_eq!(delete_offsets(&mut host, "connect", &["t"]), Err(68));
}

#[test]
fn offsets_stay_when_their_deletion_is_not_stored() {
    let mut host = Host::new();
    host.ask(commit("idle", "", -1, 5));
    host.prompt = false;
    let token = host.send(Request::DeleteOffsets {
        group: "idle".into(),
        partitions: vec![("t".to_owned(), 0)],
    });
    host.finish_append(false);
    let reply = host.take(token);
    let refused = Reply::DeleteOffsets(Err(GroupError::CoordinatorNotAvailable));
    assert_eq!(reply, Some(refused));
    assert_eq!(fetch_all(&mut host.coordinator, "idle").len(), 1);
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let mut host = Host::new();
    host.stable("busy", 1);
    host.ask(commit("idle", "", -1, 5));
    let mut list = |states: &[&str], types: &[&str]| -> Vec<String> {
        let own = |names: &[&str]| names.iter().map(|n| n.to_string()).collect();
        let request = Request::List {
            states_filter: own(states),
            types_filter: own(types),
        };
        let Reply::List(Ok(groups)) = host.ask(request) else {
            panic!()
        };
        groups
            .into_iter()
            .map(|g| format!("{} {}", g.group, g.state.as_str()))
            .collect()
    };
    assert_eq!(list(&[], &[]), ["busy Stable", "idle Empty"]);
    assert_eq!(list(&["stable"], &["Classic"]), ["busy Stable"]);
    assert!(list(&[], &["consumer"]).is_empty());
    let described = describe(&mut host, "busy");
    assert_eq!(
        (described.protocol.as_str(), described.members.len()),
        ("range", 1)
    );
    assert_eq!(described.members[0].metadata, "topics");
    let none = host.ask(Request::Describe {
        group: "none".into(),
    });
    assert_eq!(none, Reply::Describe(Err(GroupError::GroupIdNotFound)));
}

#[test]
fn a_loaded_group_goes_on_where_it_was() {
    let mut host = Host::new();
    let ids = host.stable("g", 2);
    host.ask(commit("g", &ids[0], 1, 42));
    host.coordinator = host.reload();
    assert_eq!(host.heartbeat("g", &ids[0], 1), None);
    assert_eq!(fetch_all(&mut host.coordinator, "g")[&("t".into(), 0)], 42);
    let token = host.send(sync("g", &ids[1], 1, &[]));
    assert_eq!(host.assignment(token), format!("for {}", ids[1]));
    host.advance(10_000);
    assert_eq!(
        describe(&mut host, "g").state,
        GroupState::Empty,
        "sessions began anew and ended"
    );
}

#[test]
fn nothing_is_answered_before_loading_ends() {
    let mut coordinator = tidegate_coordinator::Coordinator::new(GroupOptions::default());
    let effects = coordinator.handle(1, Request::Join(join("g", "")), 0, "u");
    assert!(format!("{effects:?}").contains("CoordinatorLoadInProgress"));
    assert!(coordinator.load(&[0, 1, 9], None).is_err());
    assert!(
        coordinator.load(&[0, 77], Some(&[1])).is_ok(),
        "unknown kinds are skipped"
    );
}

#[test]
fn a_disconnected_client_is_not_answered() {
    let mut host = Host::new();
    let token = host.send(Request::Join(join("g", "")));
    host.coordinator.disconnect(token);
    host.advance(3_000);
    assert!(host.take(token).is_none());
    assert_eq!(
        describe(&mut host, "g").members.len(),
        1,
        "it stays until its session ends"
    );
    host.advance(10_000);
    assert!(describe(&mut host, "g").members.is_empty());
}

#[test]
fn old_offsets_and_those_of_deleted_topics_go() {
    let mut host = Host::new();
    let ids = host.stable("used", 1);
    host.ask(commit("used", &ids[0], 1, 1));
    host.ask(commit("simple", "", -1, 5));
    let week = GroupOptions::default().offsets_retention_ms;
    let effects = host.coordinator.expire_offsets(week);
    host.perform(effects);
    assert!(fetch_all(&mut host.coordinator, "simple").is_empty());
    assert_eq!(
        fetch_all(&mut host.coordinator, "used").len(),
        1,
        "a group with members keeps all"
    );
    let effects = host.coordinator.topic_deleted("t", week);
    host.perform(effects);
    assert!(fetch_all(&mut host.coordinator, "used").is_empty());
    assert!(fetch_all(&mut host.reload(), "used").is_empty());
}
