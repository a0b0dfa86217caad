//! Key 16, the topics that a regex of a consumer group matches: group, regex. Value: topic names, version of the
//! metadata that was looked at, time of the look.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::wire::{Reader, RecordError, Writer};

pub(super) const KEY: i16 = 16;
const VERSION: i16 = 0;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedRegex {
    pub topics: BTreeSet<String>,
    pub version: i64,
    /// Milliseconds.
    pub timestamp: i64,
}

pub fn consumer_regex_key(group: &str, regex: &str) -> Bytes {
    super::member_key(KEY, group, regex)
}

impl ResolvedRegex {
    pub fn encode(&self) -> Bytes {
        let mut value = Writer::new(VERSION);
        value.compact_len(self.topics.len());
        for topic in &self.topics {
            value.compact_string(topic);
        }
        value.i64(self.version);
        value.i64(self.timestamp);
        value.no_tags();
        value.finish()
    }

    /// `None`: a version not known here.
    pub(super) fn decode(value: &[u8]) -> Result<Option<ResolvedRegex>, RecordError> {
        let mut value = Reader::new(value);
        if value.i16()? != VERSION {
            return Ok(None);
        }
        let mut read = ResolvedRegex::default();
        for _ in 0..value.compact_count()? {
            read.topics.insert(value.compact_string()?);
        }
        read.version = value.i64()?;
        read.timestamp = value.i64()?;
        value.skip_tags()?;
        Ok(Some(read))
    }
}
