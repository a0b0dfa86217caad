//! Keys 6 and 7, what a consumer group is to come to. Key 6: group; value: the epoch that the target assignment was made
//! for. Key 7: group, member; value: the member's topics, each with an id and partitions.

use bytes::Bytes;

use super::wire::{Reader, RecordError, Writer};
use crate::consumer::Partitions;

pub(super) const EPOCH_KEY: i16 = 6;
pub(super) const MEMBER_KEY: i16 = 7;
const VERSION: i16 = 0;

pub fn consumer_target_epoch_key(group: &str) -> Bytes {
    let mut key = Writer::new(EPOCH_KEY);
    key.string(group);
    key.finish()
}

pub fn consumer_target_epoch_value(epoch: i32) -> Bytes {
    let mut value = Writer::new(VERSION);
    value.i32(epoch);
    value.no_tags();
    value.finish()
}

pub fn consumer_target_key(group: &str, member: &str) -> Bytes {
    super::member_key(MEMBER_KEY, group, member)
}

pub fn consumer_target_value(partitions: &Partitions) -> Bytes {
    let mut value = Writer::new(VERSION);
    write_partitions(&mut value, partitions);
    value.no_tags();
    value.finish()
}

/// `None`: a version not known here.
pub(super) fn decode_epoch(value: &[u8]) -> Result<Option<i32>, RecordError> {
    let mut value = Reader::new(value);
    if value.i16()? != VERSION {
        return Ok(None);
    }
    let epoch = value.i32()?;
    value.skip_tags()?;
    Ok(Some(epoch))
}

/// As [`decode_epoch`].
pub(super) fn decode_member(value: &[u8]) -> Result<Option<Partitions>, RecordError> {
    let mut value = Reader::new(value);
    if value.i16()? != VERSION {
        return Ok(None);
    }
    let partitions = read_partitions(&mut value)?;
    value.skip_tags()?;
    Ok(Some(partitions))
}

pub(super) fn write_partitions(value: &mut Writer, partitions: &Partitions) {
    value.compact_len(partitions.len());
    for (topic, indexes) in partitions {
        value.uuid(topic);
        value.compact_len(indexes.len());
        for index in indexes {
            value.i32(*index);
        }
        value.no_tags();
    }
}

pub(super) fn read_partitions(value: &mut Reader<'_>) -> Result<Partitions, RecordError> {
    let mut partitions = Partitions::new();
    for _ in 0..value.compact_count()? {
        let indexes = partitions.entry(value.uuid()?).or_default();
        for _ in 0..value.compact_count()? {
            indexes.insert(value.i32()?);
        }
        value.skip_tags()?;
    }
    partitions.retain(|_, indexes| !indexes.is_empty());
    Ok(partitions)
}
