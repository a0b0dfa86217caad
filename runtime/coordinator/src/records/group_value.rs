//! A group's metadata: version, protocol type, generation, protocol, leader, time of the state (2),
//! and members: id, instance id (3), client id, host, rebalance timeout (1), session timeout,
//! subscription, assignment.

use bytes::Bytes;

use super::wire::{Reader, RecordError, Writer};
use crate::members::Member;

const VERSION: i16 = 3;

/// A generation of a group, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadata {
    pub protocol_type: String,
    pub generation: i32,
    pub protocol: Option<String>,
    pub leader: Option<String>,
    /// -1 in records of old brokers.
    pub state_timestamp: i64,
    pub members: Vec<MemberRecord>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRecord {
    pub member_id: String,
    pub group_instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub subscription: Bytes,
    pub assignment: Bytes,
}

impl GroupMetadata {
    /// As version 3.
    pub fn encode(&self) -> Bytes {
        let mut value = Writer::new(VERSION);
        value.string(&self.protocol_type);
        value.i32(self.generation);
        value.nullable_string(self.protocol.as_deref());
        value.nullable_string(self.leader.as_deref());
        value.i64(self.state_timestamp);
        value.i32(i32::try_from(self.members.len()).unwrap_or(i32::MAX));
        for member in &self.members {
            value.string(&member.member_id);
            value.nullable_string(member.group_instance_id.as_deref());
            value.string(&member.client_id);
            value.string(&member.client_host);
            value.i32(member.rebalance_timeout_ms);
            value.i32(member.session_timeout_ms);
            value.bytes(&member.subscription);
            value.bytes(&member.assignment);
        }
        value.finish()
    }

    /// `None`: a version not known here.
    pub(super) fn decode(value: &[u8]) -> Result<Option<GroupMetadata>, RecordError> {
        let mut value = Reader::new(value);
        let version = value.i16()?;
        if !(0..=VERSION).contains(&version) {
            return Ok(None);
        }
        let protocol_type = value.string()?;
        let generation = value.i32()?;
        let protocol = value.nullable_string()?;
        let leader = value.nullable_string()?;
        let state_timestamp = if version >= 2 { value.i64()? } else { -1 };
        let count = value.count()?;
        // Grows as members are read: the count was claimed, not shown.
        let mut members = Vec::new();
        for _ in 0..count {
            members.push(MemberRecord::read(version, &mut value)?);
        }
        Ok(Some(GroupMetadata {
            protocol_type,
            generation,
            protocol,
            leader,
            state_timestamp,
            members,
        }))
    }
}

impl MemberRecord {
    fn read(version: i16, value: &mut Reader<'_>) -> Result<MemberRecord, RecordError> {
        let member_id = value.string()?;
        let group_instance_id = if version >= 3 {
            value.nullable_string()?
        } else {
            None
        };
        let client_id = value.string()?;
        let client_host = value.string()?;
        let rebalance = if version >= 1 {
            Some(value.i32()?)
        } else {
            None
        };
        let session_timeout_ms = value.i32()?;
        Ok(MemberRecord {
            member_id,
            group_instance_id,
            client_id,
            client_host,
            rebalance_timeout_ms: rebalance.unwrap_or(session_timeout_ms),
            session_timeout_ms,
            subscription: value.bytes()?,
            assignment: value.bytes()?,
        })
    }

    /// The member of a stable generation; its session starts when loading ends.
    pub(crate) fn into_member(self, protocol: &str) -> Member {
        Member {
            id: self.member_id,
            instance: self.group_instance_id,
            client_id: self.client_id,
            client_host: self.client_host,
            session_timeout_ms: self.session_timeout_ms,
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            protocols: vec![(protocol.to_owned(), self.subscription)],
            assignment: self.assignment,
            join: None,
            sync: None,
            is_new: false,
            deadline_ms: 0,
        }
    }
}
