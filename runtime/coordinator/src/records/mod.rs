//! Records of `__consumer_offsets`, in Kafka's own formats.
//!
//! A key is a 16-bit version and fields: 0 and 1 are offsets (group, topic, partition), 2 is a
//! group's metadata (group). Other versions belong to features this coordinator does not have and
//! are skipped. Values carry their own version; the newest non-flexible ones are written (offset 3,
//! group 3), all older ones are read.
//!
//! `__transaction_state` has keys and values of its own, in [`transaction_log`].

mod group_value;
mod offset_value;
pub mod transaction_log;
mod wire;

use bytes::Bytes;

pub use group_value::{GroupMetadata, MemberRecord};
pub use offset_value::offset_value;
pub use wire::RecordError;

use crate::request::OffsetAndMetadata;
use wire::{Reader, Writer};

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;

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
    /// Of a kind or version not known here.
    Unknown,
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
        _ => Ok(Record::Unknown),
    }
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

    proptest! {
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
