//! Records of `__consumer_offsets`: a key and a value, each behind a byte with its length, and before the value a byte
//! that says whether there is one; then the next.
//!
//! Each is refused, unknown, or means something that is written as a record that means the same; a coordinator that
//! loads them all answers afterwards. Memory follows from the bytes, not from what they claim.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidegate_coordinator::records::{
    ClassicMetadata, ConsumerCurrent, ConsumerEpoch, ConsumerMemberMetadata, GroupMetadata,
    MemberRecord, Record, ResolvedRegex, consumer_current_key, consumer_epoch_key,
    consumer_member_key, consumer_regex_key, consumer_target_epoch_key,
    consumer_target_epoch_value, consumer_target_key, consumer_target_value, decode, group_key,
    offset_key, offset_value,
};
use tidegate_coordinator::{Coordinator, GroupOptions, OffsetAndMetadata, Request};

use crate::corpus::Seed;
use crate::input::Input;
use crate::memory::{SLACK, within};

/// A member of some ten bytes takes a few hundred; a text of none an empty `String`.
const MOST_GROWTH: usize = 64;

pub(super) fn run(data: &[u8]) {
    let mut coordinator = Coordinator::new(GroupOptions::default());
    let mut input = Input::new(data);
    while !input.is_empty() {
        let key = input.bytes(255);
        let value = input.part();
        let bound = MOST_GROWTH * (key.len() + value.map_or(0, <[u8]>::len)) + SLACK;
        if let Ok(record) = within(bound, || decode(key, value)) {
            reads_back(&record);
        }
        let _ = coordinator.load(key, value);
    }
    coordinator.loaded(0);
    let list = Request::List {
        states_filter: Vec::new(),
        types_filter: Vec::new(),
    };
    assert!(
        !coordinator.handle(1, list, 1, "fresh").is_empty(),
        "it answers"
    );
    coordinator.tick(i64::MAX / 4);
    coordinator.expire_offsets(i64::MAX / 4);
}

fn reads_back(record: &Record) {
    if let Some((key, value)) = written(record) {
        assert_eq!(decode(&key, value.as_deref()), Ok(without_expiry(record)));
    }
}

/// Only the oldest records of offsets say when they expire.
fn without_expiry(record: &Record) -> Record {
    let mut record = record.clone();
    if let Record::Offset {
        value: Some(value), ..
    } = &mut record
    {
        value.expire_timestamp = None;
    }
    record
}

/// The record as it would be appended now; `None` for what is only ever read.
fn written(record: &Record) -> Option<(Bytes, Option<Bytes>)> {
    Some(match record {
        Record::Offset {
            group,
            topic,
            partition,
            value,
        } => (
            offset_key(group, topic, *partition),
            value.as_ref().map(offset_value),
        ),
        Record::Group { group, value } => {
            (group_key(group), value.as_ref().map(GroupMetadata::encode))
        }
        Record::ConsumerEpoch { group, value } => (
            consumer_epoch_key(group),
            value.as_ref().map(ConsumerEpoch::encode),
        ),
        Record::ConsumerMember {
            group,
            member,
            value,
        } => (
            consumer_member_key(group, member),
            value.as_ref().map(ConsumerMemberMetadata::encode),
        ),
        Record::ConsumerTargetEpoch { group, value } => (
            consumer_target_epoch_key(group),
            value.map(consumer_target_epoch_value),
        ),
        Record::ConsumerTarget {
            group,
            member,
            value,
        } => (
            consumer_target_key(group, member),
            value.as_ref().map(consumer_target_value),
        ),
        Record::ConsumerCurrent {
            group,
            member,
            value,
        } => (
            consumer_current_key(group, member),
            value.as_ref().map(ConsumerCurrent::encode),
        ),
        Record::ConsumerRegex {
            group,
            regex,
            value,
        } => (
            consumer_regex_key(group, regex),
            value.as_ref().map(ResolvedRegex::encode),
        ),
        Record::ConsumerTopics { .. } | Record::Unknown => return None,
    })
}

pub(super) fn seeds() -> Vec<Seed> {
    let offset = OffsetAndMetadata {
        offset: 7,
        leader_epoch: 2,
        metadata: "m".to_owned(),
        commit_timestamp: 5,
        expire_timestamp: None,
    };
    let member = MemberRecord {
        member_id: "m-1".to_owned(),
        group_instance_id: Some("i".to_owned()),
        client_id: "c".to_owned(),
        client_host: "/h".to_owned(),
        rebalance_timeout_ms: 2,
        session_timeout_ms: 1,
        subscription: b"\0\x01\0\0\0\x01\0\x01t\0\0\0\0"[..].into(),
        assignment: b"aa"[..].into(),
    };
    let group = GroupMetadata {
        protocol_type: "consumer".to_owned(),
        generation: 4,
        protocol: Some("range".to_owned()),
        leader: Some("m-1".to_owned()),
        state_timestamp: 9,
        members: vec![member],
    };
    let said = ConsumerMemberMetadata {
        client_id: "c".to_owned(),
        subscribed_names: BTreeSet::from(["t".to_owned()]),
        subscribed_regex: Some("t.*".to_owned()),
        classic: Some(ClassicMetadata {
            session_timeout_ms: 9,
            protocols: vec![("range".to_owned(), Bytes::from_static(b"s"))],
        }),
        ..ConsumerMemberMetadata::default()
    };
    let held = BTreeMap::from([([7; 16], BTreeSet::from([0, 1]))]);
    let current = ConsumerCurrent {
        epoch: 3,
        previous_epoch: 2,
        state: 1,
        revoking: BTreeMap::from([([8; 16], BTreeSet::from([2]))]),
        assigned: held.clone(),
    };
    let regex = ResolvedRegex {
        topics: BTreeSet::from(["t1".to_owned()]),
        version: 5,
        timestamp: 6,
    };
    let epoch = ConsumerEpoch {
        epoch: 3,
        metadata_hash: 77,
    };
    let consumer = [
        entry(&consumer_epoch_key("g"), Some(&epoch.encode())),
        entry(&consumer_member_key("g", "m"), Some(&said.encode())),
        entry(
            &consumer_target_epoch_key("g"),
            Some(&consumer_target_epoch_value(3)),
        ),
        entry(
            &consumer_target_key("g", "m"),
            Some(&consumer_target_value(&held)),
        ),
        entry(&consumer_current_key("g", "m"), Some(&current.encode())),
        entry(&consumer_regex_key("g", "t.*"), Some(&regex.encode())),
    ];
    let (key, other) = (offset_key("g", "t", 3), group_key("g"));
    let committed = entry(&key, Some(&offset_value(&offset)));
    let formed = entry(&other, Some(&group.encode()));
    let gone = [entry(&key, None), entry(&other, None)].concat();
    vec![
        Seed::made("consumer-group", consumer.concat()),
        Seed::made("offset", committed.clone()),
        Seed::made("group", formed.clone()),
        Seed::made("tombstones", gone.clone()),
        Seed::made("all", [committed, formed, gone].concat()),
        Seed::made(
            "offset-v0",
            entry(
                &key,
                Some(b"\0\0\0\0\0\0\0\0\0\x07\0\x01m\0\0\0\0\0\0\0\x05"),
            ),
        ),
        Seed::made(
            "group-v0",
            entry(&other, Some(b"\0\0\0\x01c\0\0\0\x04\0\x01r\0\x01m\0\0\0\0")),
        ),
    ]
}

fn entry(key: &[u8], value: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = vec![key.len() as u8];
    bytes.extend_from_slice(key);
    match value {
        Some(value) => bytes.extend([&[1, value.len() as u8], value].concat()),
        None => bytes.push(0),
    }
    bytes
}
