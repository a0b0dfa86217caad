//! Records of `__consumer_offsets`, in Kafka's own formats.
//!
//! A key is a 16-bit version and fields: 0 and 1 are offsets (group, topic, partition), 2 is a
//! classic group's metadata (group), 3 to 8 and 16 are consumer groups (KIP-848). Other versions
//! belong to features this coordinator does not have and are skipped. Values carry their own
//! version; the newest non-flexible ones are written (offset 3, group 3; those of consumer groups
//! are flexible from the beginning), all older ones are read.
//!
//! `__transaction_state` has keys and values of its own, in [`transaction_log`].

mod consumer_current;
mod consumer_epoch;
mod consumer_member;
mod consumer_regex;
mod consumer_target;
mod group_value;
mod offset_value;
pub mod transaction_log;
mod wire;

use bytes::Bytes;

pub use consumer_current::{ConsumerCurrent, consumer_current_key};
pub use consumer_epoch::{ConsumerEpoch, consumer_epoch_key};
pub use consumer_member::{ClassicMetadata, ConsumerMemberMetadata, consumer_member_key};
pub use consumer_regex::{ResolvedRegex, consumer_regex_key};
pub use consumer_target::{
    consumer_target_epoch_key, consumer_target_epoch_value, consumer_target_key,
    consumer_target_value,
};
pub use group_value::{GroupMetadata, MemberRecord};
pub use offset_value::offset_value;
pub use wire::RecordError;

use crate::consumer::Partitions;
use crate::request::OffsetAndMetadata;
use wire::{Reader, Writer};

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
/// What Kafka kept of a consumer group's topics before 4.1; only ever deleted here.
const CONSUMER_TOPICS_KEY: i16 = 4;

/// One record, read. A value of `None` is a tombstone.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    Offset {
        group: String,
        topic: String,
        partition: i32,
        value: Option<OffsetAndMetadata>,
    },
    Group {
        group: String,
        value: Option<GroupMetadata>,
    },
    /// The epoch of a consumer group; its tombstone ends the group.
    ConsumerEpoch {
        group: String,
        value: Option<ConsumerEpoch>,
    },
    /// Metadata of topics, as brokers before 4.1 kept it.
    ConsumerTopics {
        group: String,
        deleted: bool,
    },
    ConsumerMember {
        group: String,
        member: String,
        value: Option<ConsumerMemberMetadata>,
    },
    ConsumerTargetEpoch {
        group: String,
        value: Option<i32>,
    },
    ConsumerTarget {
        group: String,
        member: String,
        value: Option<Partitions>,
    },
    ConsumerCurrent {
        group: String,
        member: String,
        value: Option<ConsumerCurrent>,
    },
    ConsumerRegex {
        group: String,
        regex: String,
        value: Option<ResolvedRegex>,
    },
    /// Of a kind or version not known here.
    Unknown,
}

impl Record {
    /// Whose record it is.
    pub fn group(&self) -> Option<&str> {
        match self {
            Record::Offset { group, .. }
            | Record::Group { group, .. }
            | Record::ConsumerEpoch { group, .. }
            | Record::ConsumerTopics { group, .. }
            | Record::ConsumerMember { group, .. }
            | Record::ConsumerTargetEpoch { group, .. }
            | Record::ConsumerTarget { group, .. }
            | Record::ConsumerCurrent { group, .. }
            | Record::ConsumerRegex { group, .. } => Some(group),
            Record::Unknown => None,
        }
    }
}

/// Reads a record; never panics, and allocates no more than the record is long.
pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Record, RecordError> {
    let mut key = Reader::new(key);
    let version = key.i16()?;
    match version {
        0 | OFFSET_KEY => {
            let (group, topic, partition) = (key.string()?, key.string()?, key.i32()?);
            let value = match value.map(offset_value::decode).transpose()? {
                Some(None) => return Ok(Record::Unknown),
                Some(known) => known,
                None => None,
            };
            Ok(Record::Offset {
                group,
                topic,
                partition,
                value,
            })
        }
        GROUP_KEY => {
            let group = key.string()?;
            let value = match value.map(GroupMetadata::decode).transpose()? {
                Some(None) => return Ok(Record::Unknown),
                Some(known) => known,
                None => None,
            };
            Ok(Record::Group { group, value })
        }
        _ => decode_consumer(version, key, value),
    }
}

/// Records of consumer groups.
fn decode_consumer(
    version: i16,
    mut key: Reader<'_>,
    value: Option<&[u8]>,
) -> Result<Record, RecordError> {
    match version {
        consumer_epoch::KEY => {
            let group = key.string()?;
            read(value, consumer_epoch::ConsumerEpoch::decode, |value| {
                Record::ConsumerEpoch { group, value }
            })
        }
        CONSUMER_TOPICS_KEY => Ok(Record::ConsumerTopics {
            group: key.string()?,
            deleted: value.is_none(),
        }),
        consumer_member::KEY => {
            let (group, member) = (key.string()?, key.string()?);
            read(value, ConsumerMemberMetadata::decode, |value| {
                Record::ConsumerMember {
                    group,
                    member,
                    value,
                }
            })
        }
        consumer_target::EPOCH_KEY => {
            let group = key.string()?;
            read(value, consumer_target::decode_epoch, |value| {
                Record::ConsumerTargetEpoch { group, value }
            })
        }
        consumer_target::MEMBER_KEY => {
            let (group, member) = (key.string()?, key.string()?);
            read(value, consumer_target::decode_member, |value| {
                Record::ConsumerTarget {
                    group,
                    member,
                    value,
                }
            })
        }
        consumer_current::KEY => {
            let (group, member) = (key.string()?, key.string()?);
            read(value, ConsumerCurrent::decode, |value| {
                Record::ConsumerCurrent {
                    group,
                    member,
                    value,
                }
            })
        }
        consumer_regex::KEY => {
            let (group, regex) = (key.string()?, key.string()?);
            read(value, ResolvedRegex::decode, |value| {
                Record::ConsumerRegex {
                    group,
                    regex,
                    value,
                }
            })
        }
        _ => Ok(Record::Unknown),
    }
}

/// A tombstone, a value of a known version, or neither.
fn read<T>(
    value: Option<&[u8]>,
    decode: impl FnOnce(&[u8]) -> Result<Option<T>, RecordError>,
    record: impl FnOnce(Option<T>) -> Record,
) -> Result<Record, RecordError> {
    match value.map(decode).transpose()? {
        Some(None) => Ok(Record::Unknown),
        Some(known) => Ok(record(known)),
        None => Ok(record(None)),
    }
}

/// Key of the metadata that brokers before 4.1 kept, to delete it.
pub fn consumer_topics_key(group: &str) -> Bytes {
    let mut key = Writer::new(CONSUMER_TOPICS_KEY);
    key.string(group);
    key.finish()
}

fn member_key(version: i16, group: &str, member: &str) -> Bytes {
    let mut key = Writer::new(version);
    key.string(group);
    key.string(member);
    key.finish()
}

/// Key of a committed offset, version 1.
pub fn offset_key(group: &str, topic: &str, partition: i32) -> Bytes {
    let mut key = Writer::new(OFFSET_KEY);
    key.string(group);
    key.string(topic);
    key.i32(partition);
    key.finish()
}

/// Key of a group's metadata, version 2.
pub fn group_key(group: &str) -> Bytes {
    let mut key = Writer::new(GROUP_KEY);
    key.string(group);
    key.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn offset(offset: i64, epoch: i32, metadata: &str) -> OffsetAndMetadata {
        OffsetAndMetadata {
            offset,
            leader_epoch: epoch,
            metadata: metadata.to_owned(),
            commit_timestamp: 5,
            expire_timestamp: None,
        }
    }

    #[test]
    fn the_bytes_are_kafkas() {
        assert_eq!(
            hex(&offset_key("g", "t", 3)),
            "00010001670001740000 0003".replace(' ', "")
        );
        assert_eq!(hex(&group_key("g")), "0002000167");
        assert_eq!(
            hex(&offset_value(&offset(7, 2, "m"))),
            "0003 0000000000000007 00000002 0001 6d 0000000000000005".replace(' ', "")
        );
        let group = GroupMetadata {
            protocol_type: "c".into(),
            generation: 4,
            protocol: Some("r".into()),
            leader: None,
            state_timestamp: 9,
            members: vec![MemberRecord {
                member_id: "m".into(),
                group_instance_id: None,
                client_id: "i".into(),
                client_host: "/h".into(),
                rebalance_timeout_ms: 2,
                session_timeout_ms: 1,
                subscription: Bytes::from_static(b"s"),
                assignment: Bytes::from_static(b"aa"),
            }],
        };
        assert_eq!(
            hex(&group.encode()),
            "0003 000163 00000004 000172 ffff 0000000000000009 00000001 00016d ffff 000169 00022f68 \
             00000002 00000001 00000001 73 00000002 6161"
                .replace(' ', "")
        );
    }

    fn unhex(text: &str) -> Vec<u8> {
        let text = text.replace(' ', "");
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn records_of_consumer_groups_are_kafkas() {
        let topic = [7; 16];
        let partitions = Partitions::from([(topic, [1, 2].into())]);
        assert_eq!(hex(&consumer_epoch_key("g")), "0003000167");
        assert_eq!(hex(&consumer_member_key("g", "m")), "000500016700016d");
        assert_eq!(hex(&consumer_target_epoch_key("g")), "0006000167");
        assert_eq!(hex(&consumer_target_key("g", "m")), "000700016700016d");
        assert_eq!(hex(&consumer_current_key("g", "m")), "000800016700016d");
        assert_eq!(hex(&consumer_regex_key("g", "a.*")), "00100001670003612e2a");
        let epoch = |metadata_hash| ConsumerEpoch {
            epoch: 4,
            metadata_hash,
        };
        assert_eq!(hex(&epoch(0).encode()), "00000000000400");
        assert_eq!(
            hex(&epoch(9).encode()),
            "0000 00000004 01 00 08 0000000000000009".replace(' ', "")
        );
        let modern = ConsumerMemberMetadata {
            client_id: "c".into(),
            client_host: "/h".into(),
            subscribed_names: ["t".to_owned()].into(),
            rebalance_timeout_ms: 5,
            ..ConsumerMemberMetadata::default()
        };
        assert_eq!(
            hex(&modern.encode()),
            "0000 00 00 0263 032f68 02 0274 00 00000005 00 01 00 01 00".replace(' ', "")
        );
        let classic = ConsumerMemberMetadata {
            classic: Some(ClassicMetadata {
                session_timeout_ms: 6,
                protocols: vec![("r".into(), Bytes::from_static(b"xy"))],
            }),
            ..modern
        };
        assert_eq!(
            hex(&classic.encode()),
            "0000 00 00 0263 032f68 02 0274 00 00000005 00 01 00 0d 01 00000006 02 0272 03 7879 00 00"
                .replace(' ', "")
        );
        assert_eq!(hex(&consumer_target_epoch_value(4)), "00000000000400");
        let bytes = "02 07070707070707070707070707070707 03 00000001 00000002 00";
        assert_eq!(
            hex(&consumer_target_value(&partitions)),
            format!("0000 {bytes} 00").replace(' ', "")
        );
        let current = ConsumerCurrent {
            epoch: 4,
            previous_epoch: 3,
            state: 1,
            assigned: partitions,
            revoking: Partitions::new(),
        };
        assert_eq!(
            hex(&current.encode()),
            format!("0000 00000004 00000003 01 {bytes} 01 00").replace(' ', "")
        );
        let resolved = ResolvedRegex {
            topics: ["ab".to_owned()].into(),
            version: 2,
            timestamp: 3,
        };
        assert_eq!(
            hex(&resolved.encode()),
            "0000 02 036162 0000000000000002 0000000000000003 00".replace(' ', "")
        );
    }

    #[test]
    fn older_versions_are_read() {
        let key = offset_key("g", "t", 0);
        let read = |value: &str| match decode(&key, Some(&unhex(value))).unwrap() {
            Record::Offset { value, .. } => value.unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            read("0000 0000000000000007 00016d 0000000000000005"),
            offset(7, -1, "m")
        );
        let expiring = OffsetAndMetadata {
            expire_timestamp: Some(6),
            ..offset(7, -1, "m")
        };
        assert_eq!(
            read("0001 0000000000000007 00016d 0000000000000005 0000000000000006"),
            expiring
        );
        assert_eq!(
            read("0002 0000000000000007 00016d 0000000000000005"),
            offset(7, -1, "m")
        );

        let key = group_key("g");
        let read = |value: &str| match decode(&key, Some(&unhex(value))).unwrap() {
            Record::Group { value, .. } => value.unwrap(),
            other => panic!("{other:?}"),
        };
        let v0 = read(
            "0000 000163 00000004 000172 00016d 00000001 00016d 000169 00022f68 00000001 00000000 \
             00000001 61",
        );
        assert_eq!(
            (v0.generation, v0.leader.as_deref(), v0.members.len()),
            (4, Some("m"), 1)
        );
        assert_eq!(
            v0.members[0].rebalance_timeout_ms, 1,
            "the session timeout stands in"
        );
        let v2 = read("0002 000163 00000004 ffff ffff 0000000000000009 00000000");
        assert_eq!((v2.protocol, v2.state_timestamp), (None, 9));
    }

    #[test]
    fn unknown_kinds_are_skipped_and_broken_ones_are_errors() {
        assert_eq!(decode(&[0, 9, 1, 2], Some(&[1])), Ok(Record::Unknown));
        assert_eq!(decode(&group_key("g"), Some(&[0, 9])), Ok(Record::Unknown));
        assert_eq!(
            decode(&offset_key("g", "t", 0), Some(&[0, 4, 1])),
            Ok(Record::Unknown)
        );
        assert!(decode(&[], None).is_err());
        assert!(decode(&[0, 1, 0x7f], None).is_err());
        assert!(decode(&group_key("g"), Some(&[0, 3, 0, 1])).is_err());
        let billions = unhex("0003 000163 00000004 ffff ffff 0000000000000009 7fffffff");
        assert!(decode(&group_key("g"), Some(&billions)).is_err());
        let negative = unhex("0003 000163 00000004 ffff ffff 0000000000000009 ffffffff");
        assert!(decode(&group_key("g"), Some(&negative)).is_err());
    }

    fn bytes() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
    }

    prop_compose! {
        fn member()(member_id in ".{0,20}", group_instance_id in proptest::option::of(".{0,9}"),
            client_id in ".{0,9}", client_host in ".{0,9}", rebalance_timeout_ms in any::<i32>(),
            session_timeout_ms in any::<i32>(), subscription in bytes(), assignment in bytes())
            -> MemberRecord {
            MemberRecord { member_id, group_instance_id, client_id, client_host,
                rebalance_timeout_ms, session_timeout_ms, subscription, assignment }
        }
    }

    fn partitions() -> impl Strategy<Value = Partitions> {
        let indexes = proptest::collection::btree_set(any::<i32>(), 1..5);
        proptest::collection::btree_map(any::<[u8; 16]>(), indexes, 0..4)
    }

    prop_compose! {
        fn consumer_member()(instance_id in proptest::option::of(".{0,9}"),
            rack_id in proptest::option::of(".{0,9}"), client_id in ".{0,200}", client_host in ".{0,9}",
            subscribed_names in proptest::collection::btree_set(".{0,9}", 0..4),
            subscribed_regex in proptest::option::of(".{0,9}"), rebalance_timeout_ms in any::<i32>(),
            server_assignor in proptest::option::of(".{0,9}"),
            classic in proptest::option::of((any::<i32>(),
                proptest::collection::vec((".{0,9}", bytes()), 0..4))))
            -> ConsumerMemberMetadata {
            let classic = classic.map(|(session_timeout_ms, protocols)| {
                ClassicMetadata { session_timeout_ms, protocols }
            });
            ConsumerMemberMetadata { instance_id, rack_id, client_id, client_host, subscribed_names,
                subscribed_regex, rebalance_timeout_ms, server_assignor, classic }
        }
    }

    proptest! {
        #[test]
        fn consumer_groups_read_back(group in ".{0,20}", member in ".{0,20}", epoch in any::<i32>(),
            metadata_hash in any::<i64>(), metadata in consumer_member(), previous_epoch in any::<i32>(),
            state in any::<i8>(), assigned in partitions(), revoking in partitions(),
            topics in proptest::collection::btree_set(".{0,9}", 0..4)) {
            let epoch_value = ConsumerEpoch { epoch, metadata_hash };
            let current = ConsumerCurrent { epoch, previous_epoch, state, assigned: assigned.clone(), revoking };
            let resolved = ResolvedRegex { topics, version: metadata_hash, timestamp: 3 };
            let (g, m) = (&group, &member);
            let all = [
                (consumer_epoch_key(g), epoch_value.encode(),
                    Record::ConsumerEpoch { group: group.clone(), value: Some(epoch_value) }),
                (consumer_member_key(g, m), metadata.encode(),
                    Record::ConsumerMember { group: group.clone(), member: member.clone(), value: Some(metadata) }),
                (consumer_target_epoch_key(g), consumer_target_epoch_value(epoch),
                    Record::ConsumerTargetEpoch { group: group.clone(), value: Some(epoch) }),
                (consumer_target_key(g, m), consumer_target_value(&assigned),
                    Record::ConsumerTarget { group: group.clone(), member: member.clone(), value: Some(assigned) }),
                (consumer_current_key(g, m), current.encode(),
                    Record::ConsumerCurrent { group: group.clone(), member: member.clone(), value: Some(current) }),
                (consumer_regex_key(g, m), resolved.encode(),
                    Record::ConsumerRegex { group: group.clone(), regex: member.clone(), value: Some(resolved) }),
            ];
            for (key, value, record) in all {
                prop_assert_eq!(decode(&key, Some(&value)), Ok(record));
                prop_assert!(!matches!(decode(&key, None), Ok(Record::Unknown) | Err(_)));
                for cut in 2..value.len() {
                    prop_assert!(decode(&key, Some(&value[..cut])).is_err());
                }
            }
        }

        #[test]
        fn any_consumer_bytes_are_read_or_refused(kind in 3..17u8,
            value in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut value = value;
            if value.len() > 1 { value[0] = 0; value[1] = 0; }
            let key = member_key(i16::from(kind), "g", "m");
            let _ = decode(&key, Some(&value));
        }

        #[test]
        fn offsets_read_back(group in ".{0,20}", topic in ".{0,20}", partition in any::<i32>(),
            at in any::<i64>(), leader_epoch in any::<i32>(), metadata in ".{0,60}",
            commit_timestamp in any::<i64>()) {
            let value = OffsetAndMetadata { offset: at, leader_epoch, metadata, commit_timestamp,
                expire_timestamp: None };
            let read = decode(&offset_key(&group, &topic, partition), Some(&offset_value(&value)));
            prop_assert_eq!(read, Ok(Record::Offset { group, topic, partition, value: Some(value) }));
        }

        #[test]
        fn groups_read_back(group in ".{0,20}", protocol_type in ".{0,9}", generation in any::<i32>(),
            protocol in proptest::option::of(".{0,9}"), leader in proptest::option::of(".{0,9}"),
            state_timestamp in any::<i64>(), members in proptest::collection::vec(member(), 0..5)) {
            let value = GroupMetadata { protocol_type, generation, protocol, leader,
                state_timestamp, members };
            let bytes = value.encode();
            let read = decode(&group_key(&group), Some(&bytes));
            prop_assert_eq!(read, Ok(Record::Group { group: group.clone(), value: Some(value) }));
            for cut in 2..bytes.len() {
                prop_assert!(decode(&group_key(&group), Some(&bytes[..cut])).is_err());
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(key in proptest::collection::vec(any::<u8>(), 0..60),
            value in proptest::collection::vec(any::<u8>(), 0..200), version in 0..4u8) {
            let _ = decode(&key, Some(&value));
            let mut value = value;
            if value.len() > 1 { value[0] = 0; value[1] = version; }
            let _ = decode(&offset_key("g", "t", 0), Some(&value));
            let _ = decode(&group_key("g"), Some(&value));
        }
    }
}
