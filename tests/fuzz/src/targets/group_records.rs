//! Records of `__consumer_offsets`: a key and a value, each behind a byte with its length, and before the value a byte
//! that says whether there is one; then the next.
//!
//! Each is refused, unknown, or means something that is written as a record that means the same; a coordinator that
//! loads them all answers afterwards. Memory follows from the bytes, not from what they claim.

use tidegate_coordinator::records::{
    GroupMetadata, MemberRecord, Record, decode, group_key, offset_key, offset_value,
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
    match record {
        Record::Offset {
            group,
            topic,
            partition,
            value,
        } => {
            let bytes = value.as_ref().map(offset_value);
            let again = decode(&offset_key(group, topic, *partition), bytes.as_deref());
            // Only the oldest records say when they expire.
            let without = |value: &OffsetAndMetadata| OffsetAndMetadata {
                expire_timestamp: None,
                ..value.clone()
            };
            let expected = Record::Offset {
                group: group.clone(),
                topic: topic.clone(),
                partition: *partition,
                value: value.as_ref().map(without),
            };
            assert_eq!(again, Ok(expected));
        }
        Record::Group { group, value } => {
            let bytes = value.as_ref().map(GroupMetadata::encode);
            assert_eq!(
                decode(&group_key(group), bytes.as_deref()).as_ref(),
                Ok(record)
            );
        }
        Record::Unknown => {}
    }
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
    let (key, other) = (offset_key("g", "t", 3), group_key("g"));
    let committed = entry(&key, Some(&offset_value(&offset)));
    let formed = entry(&other, Some(&group.encode()));
    let gone = [entry(&key, None), entry(&other, None)].concat();
    vec![
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
