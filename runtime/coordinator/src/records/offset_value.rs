//! A committed offset: version, offset, leader epoch (3), metadata, commit time, expiry (1 only).

use bytes::Bytes;

use super::wire::{Reader, RecordError, Writer};
use crate::request::OffsetAndMetadata;

const VERSION: i16 = 3;

/// Value of a committed offset, version 3.
pub fn offset_value(offset: &OffsetAndMetadata) -> Bytes {
    let mut value = Writer::new(VERSION);
    value.i64(offset.offset);
    value.i32(offset.leader_epoch);
    value.string(&offset.metadata);
    value.i64(offset.commit_timestamp);
    value.finish()
}

/// `None`: a version not known here.
pub(super) fn decode(value: &[u8]) -> Result<Option<OffsetAndMetadata>, RecordError> {
    let mut value = Reader::new(value);
    let version = value.i16()?;
    if !(0..=VERSION).contains(&version) {
        return Ok(None);
    }
    let offset = value.i64()?;
    let leader_epoch = if version >= 3 { value.i32()? } else { -1 };
    let metadata = value.string()?;
    let commit_timestamp = value.i64()?;
    // Old brokers wrote -1 for "the default".
    let expires = if version == 1 {
        Some(value.i64()?).filter(|ms| *ms >= 0)
    } else {
        None
    };
    Ok(Some(OffsetAndMetadata {
        offset,
        leader_epoch,
        metadata,
        commit_timestamp,
        expire_timestamp: expires,
    }))
}
