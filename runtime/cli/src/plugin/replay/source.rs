//! Stored records of one partition, past a consume chain, over the admin port.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tidegate_test::Record;

use super::ReplayArgs;
use crate::admin::Admin;
use crate::args::Global;
use crate::client::Client;
use crate::offsets::{self, EARLIEST, LATEST};
use crate::output::items;

const PAGE_BYTES: usize = 4 << 20;

/// A record and where it stands.
pub(super) struct Stored {
    pub(super) offset: i64,
    pub(super) record: Record,
}

pub(super) struct Source {
    admin: Admin,
    topic: String,
    partition: i32,
    from: i64,
    to: i64,
    next: i64,
}

impl Source {
    /// Resolves what the offsets leave open; a range beyond what is there is cut to it.
    pub(super) fn open(args: &ReplayArgs, admin: Admin, global: &Global) -> Result<Source> {
        let mut client = Client::connect(&global.bootstrap)?;
        let partitions = client.partitions(&args.topic)?;
        let found = partitions.iter().find(|p| p.index == args.partition);
        let leader = found.with_context(|| {
            format!(
                "topic {} has partitions 0 to {}",
                args.topic,
                partitions.len().saturating_sub(1)
            )
        })?;
        let leaders = BTreeMap::from([(args.partition, leader.leader)]);
        let mut place = |timestamp| -> Result<i64> {
            let found = offsets::list(&mut client, &args.topic, &leaders, timestamp)?;
            Ok(found.get(&args.partition).copied().unwrap_or(0))
        };
        let (first, end) = (place(EARLIEST)?, place(LATEST)?);
        let from = args.offsets.from.unwrap_or(first).max(first);
        let to = args.offsets.to.unwrap_or(end).min(end);
        if from >= to {
            bail!(
                "{} partition {} has no records there; it has offsets {first} to {end}",
                args.topic,
                args.partition
            );
        }
        Ok(Source {
            admin,
            topic: args.topic.clone(),
            partition: args.partition,
            from,
            to,
            next: from,
        })
    }

    pub(super) fn range(&self) -> (i64, i64) {
        (self.from, self.to)
    }

    pub(super) fn left(&self) -> u64 {
        u64::try_from(self.to - self.next).unwrap_or(0)
    }

    pub(super) fn passed(&self) -> u64 {
        u64::try_from(self.next - self.from).unwrap_or(0)
    }

    /// The next records, perhaps none of a page of holes; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Vec<Stored>>> {
        if self.next >= self.to {
            return Ok(None);
        }
        let query = [
            ("partition", self.partition.to_string()),
            ("from", self.next.to_string()),
            ("to", self.to.to_string()),
            ("max_bytes", PAGE_BYTES.to_string()),
        ];
        let answer = self
            .admin
            .query(&["v1", "topics", &self.topic, "records"], &query)?;
        let next = answer["next"]
            .as_i64()
            .context("the broker names no next offset")?;
        let records = items(&answer["records"]).iter().map(stored);
        let records = records
            .collect::<Option<Vec<Stored>>>()
            .ok_or_else(|| anyhow!("the broker's records are not as this program knows them"))?;
        if next <= self.next {
            return Ok(None);
        }
        self.next = next;
        Ok(Some(records))
    }
}

fn stored(row: &Value) -> Option<Stored> {
    let bytes = |value: &Value| match value {
        Value::Null => Some(None),
        Value::String(text) => STANDARD.decode(text).ok().map(Some),
        _ => None,
    };
    let header = |pair: &Value| Some((bytes(&pair[0])??, bytes(&pair[1])?));
    Some(Stored {
        offset: row["offset"].as_i64()?,
        record: Record {
            key: bytes(&row["key"])?,
            value: bytes(&row["value"])?,
            headers: items(&row["headers"])
                .iter()
                .map(header)
                .collect::<Option<_>>()?,
            timestamp: row["timestamp"].as_i64(),
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_come_as_base64_and_null_stays_null() {
        let row = json!({"offset": 4, "timestamp": 9, "key": null, "value": "/w==", "headers": [["aA==", null]]});
        let found = stored(&row).unwrap();
        assert_eq!(found.offset, 4);
        let expected = tidegate_test::value([0xff]).null_header("h").timestamp(9);
        assert_eq!(found.record, expected);
        assert!(stored(&json!({"offset": 1, "value": "?"})).is_none());
        assert!(stored(&json!({"value": null})).is_none());
    }
}
