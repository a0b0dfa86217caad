//! Key 5, what a member of a consumer group says of itself: group, member. Value: instance id, rack id, client id, host,
//! topic names, topic regex, rebalance timeout, assignor; tag 0, of members that speak the classic protocol: session
//! timeout, and protocols with a name and metadata each. Other members have the tag too, saying null: Kafka takes a tag
//! that is missing for a classic member without protocols.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::wire::{Reader, RecordError, Writer};

pub(super) const KEY: i16 = 5;
const VERSION: i16 = 0;
const CLASSIC: u32 = 0;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerMemberMetadata {
    pub instance_id: Option<String>,
    pub rack_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub subscribed_names: BTreeSet<String>,
    /// Empty as well as `None`: no regex.
    pub subscribed_regex: Option<String>,
    pub rebalance_timeout_ms: i32,
    pub server_assignor: Option<String>,
    /// Of a member that speaks the classic protocol.
    pub classic: Option<ClassicMetadata>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassicMetadata {
    pub session_timeout_ms: i32,
    /// In the member's order of preference.
    pub protocols: Vec<(String, Bytes)>,
}

pub fn consumer_member_key(group: &str, member: &str) -> Bytes {
    super::member_key(KEY, group, member)
}

impl ConsumerMemberMetadata {
    pub fn encode(&self) -> Bytes {
        let mut value = Writer::new(VERSION);
        value.compact_nullable_string(self.instance_id.as_deref());
        value.compact_nullable_string(self.rack_id.as_deref());
        value.compact_string(&self.client_id);
        value.compact_string(&self.client_host);
        value.compact_len(self.subscribed_names.len());
        for name in &self.subscribed_names {
            value.compact_string(name);
        }
        value.compact_nullable_string(self.subscribed_regex.as_deref());
        value.i32(self.rebalance_timeout_ms);
        value.compact_nullable_string(self.server_assignor.as_deref());
        value.one_tag(CLASSIC, |field| match &self.classic {
            Some(classic) => classic.write(field),
            None => field.varint(0),
        });
        value.finish()
    }

    /// `None`: a version not known here.
    pub(super) fn decode(value: &[u8]) -> Result<Option<ConsumerMemberMetadata>, RecordError> {
        let mut value = Reader::new(value);
        if value.i16()? != VERSION {
            return Ok(None);
        }
        let mut read = ConsumerMemberMetadata {
            instance_id: value.compact_nullable_string()?,
            rack_id: value.compact_nullable_string()?,
            client_id: value.compact_string()?,
            client_host: value.compact_string()?,
            ..ConsumerMemberMetadata::default()
        };
        for _ in 0..value.compact_count()? {
            read.subscribed_names.insert(value.compact_string()?);
        }
        read.subscribed_regex = value.compact_nullable_string()?;
        read.rebalance_timeout_ms = value.i32()?;
        read.server_assignor = value.compact_nullable_string()?;
        value.tags(|tag, field| {
            if tag == CLASSIC {
                read.classic = ClassicMetadata::read(field)?;
            }
            Ok(())
        })?;
        Ok(Some(read))
    }
}

impl ClassicMetadata {
    /// A struct that may be null begins with 1, or is 0 alone.
    fn write(&self, field: &mut Writer) {
        field.varint(1);
        field.i32(self.session_timeout_ms);
        field.compact_len(self.protocols.len());
        for (name, metadata) in &self.protocols {
            field.compact_string(name);
            field.compact_bytes(metadata);
            field.no_tags();
        }
        field.no_tags();
    }

    fn read(field: &mut Reader<'_>) -> Result<Option<ClassicMetadata>, RecordError> {
        if field.varint()? == 0 {
            return Ok(None);
        }
        let session_timeout_ms = field.i32()?;
        let mut protocols = Vec::new();
        for _ in 0..field.compact_count()? {
            protocols.push((field.compact_string()?, field.compact_bytes()?));
            field.skip_tags()?;
        }
        field.skip_tags()?;
        Ok(Some(ClassicMetadata {
            session_timeout_ms,
            protocols,
        }))
    }
}
