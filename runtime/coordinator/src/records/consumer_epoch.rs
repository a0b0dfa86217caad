//! Key 3, a consumer group's epoch: group. Value: epoch; tag 0: hash of the metadata of the topics that the group
//! subscribes to (KIP-1101). A tombstone is the end of the group.

use bytes::Bytes;

use super::wire::{Reader, RecordError, Writer};

pub(super) const KEY: i16 = 3;
const VERSION: i16 = 0;
const METADATA_HASH: u32 = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerEpoch {
    pub epoch: i32,
    /// 0 for a group whose topics do not exist, and in records of brokers before 4.1.
    pub metadata_hash: i64,
}

pub fn consumer_epoch_key(group: &str) -> Bytes {
    let mut key = Writer::new(KEY);
    key.string(group);
    key.finish()
}

impl ConsumerEpoch {
    pub fn encode(&self) -> Bytes {
        let mut value = Writer::new(VERSION);
        value.i32(self.epoch);
        match self.metadata_hash {
            0 => value.no_tags(),
            hash => value.one_tag(METADATA_HASH, |field| field.i64(hash)),
        }
        value.finish()
    }

    /// `None`: a version not known here.
    pub(super) fn decode(value: &[u8]) -> Result<Option<ConsumerEpoch>, RecordError> {
        let mut value = Reader::new(value);
        if value.i16()? != VERSION {
            return Ok(None);
        }
        let epoch = value.i32()?;
        let mut metadata_hash = 0;
        value.tags(|tag, field| {
            if tag == METADATA_HASH {
                metadata_hash = field.i64()?;
            }
            Ok(())
        })?;
        Ok(Some(ConsumerEpoch {
            epoch,
            metadata_hash,
        }))
    }
}
