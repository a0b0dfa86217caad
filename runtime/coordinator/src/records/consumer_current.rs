//! Key 8, what a member of a consumer group holds: group, member. Value: member epoch, previous member epoch, state,
//! assigned partitions, partitions that it must give up.

use bytes::Bytes;

use super::consumer_target::{read_partitions, write_partitions};
use super::wire::{Reader, RecordError, Writer};
use crate::consumer::Partitions;

pub(super) const KEY: i16 = 8;
const VERSION: i16 = 0;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerCurrent {
    pub epoch: i32,
    pub previous_epoch: i32,
    /// 0 stable, 1 has partitions to give up, 2 waits for partitions that others still hold.
    pub state: i8,
    pub assigned: Partitions,
    pub revoking: Partitions,
}

pub fn consumer_current_key(group: &str, member: &str) -> Bytes {
    super::member_key(KEY, group, member)
}

impl ConsumerCurrent {
    pub fn encode(&self) -> Bytes {
        let mut value = Writer::new(VERSION);
        value.i32(self.epoch);
        value.i32(self.previous_epoch);
        value.i8(self.state);
        write_partitions(&mut value, &self.assigned);
        write_partitions(&mut value, &self.revoking);
        value.no_tags();
        value.finish()
    }

    /// `None`: a version not known here.
    pub(super) fn decode(value: &[u8]) -> Result<Option<ConsumerCurrent>, RecordError> {
        let mut value = Reader::new(value);
        if value.i16()? != VERSION {
            return Ok(None);
        }
        let read = ConsumerCurrent {
            epoch: value.i32()?,
            previous_epoch: value.i32()?,
            state: value.i8()?,
            assigned: read_partitions(&mut value)?,
            revoking: read_partitions(&mut value)?,
        };
        value.skip_tags()?;
        Ok(Some(read))
    }
}
