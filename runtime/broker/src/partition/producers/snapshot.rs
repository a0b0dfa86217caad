//! What a partition remembers of its producers, as bytes, so that a start reads only the rows behind them.
//!
//! ```text
//! 0  1  layout, 1
//! 1  4  number of producers, u32
//! then for each, by ascending id:
//!  0  4  bytes of this entry behind this field, u32
//!  4  8  producer id, i64 (>= 0)
//! 12  2  epoch, i16
//! 14  8  last used, i64, ms
//! 22  1  number of batches, u8 (0 to 5)
//! 23     of each, oldest first: first sequence i32, last sequence i32, base offset i64, last offset i64,
//!        append timestamp i64 (-1 = the topic keeps create time)
//!  -     tagged fields up to the end of the entry: tag u8, length u16, bytes
//! ```
//!
//! | tag | what only some producers have | fields |
//! | --- | --- | --- |
//! | 1 | the newest marker | its epoch i16, the sequence that the next one follows i32 |
//! | 2 | an open transaction | epoch i16, first offset i64 |
//!
//! A tag that is not known may mean anything, so the snapshot is then not used at all and the rows are read, as are those
//! of a snapshot that is damaged.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut};
use tidegate_record::Offset;

use super::{CACHED_BATCHES, Producer, Producers, StoredBatch};
use crate::partition::open_transactions::OpenTransactions;

const LAYOUT: u8 = 1;
const FENCE: u8 = 1;
const OPEN: u8 = 2;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("layout {0} is not known")]
    Layout(u8),
    #[error("tag {0} is not known")]
    Tag(u8),
    #[error("it is cut short")]
    Short(#[from] bytes::TryGetError),
    #[error("it contradicts itself: {0}")]
    Contradiction(&'static str),
}

impl Producers {
    /// The stored side: what is in flight is not in the log.
    pub(crate) fn snapshot(&self, transactions: &OpenTransactions) -> Vec<u8> {
        let nothing = Producer::default();
        let mut known: BTreeMap<_, _> = self
            .by_id
            .iter()
            .filter(|(_, producer)| producer.logged().is_some())
            .map(|(id, producer)| (*id, producer))
            .collect();
        // Of one whose batches have no sequences, a start knows the transaction alone.
        for id in transactions.producers() {
            known.entry(id).or_insert(&nothing);
        }
        let mut out = Vec::with_capacity(5 + known.len() * 64);
        out.put_u8(LAYOUT);
        out.put_u32(u32::try_from(known.len()).unwrap_or(u32::MAX));
        for (id, producer) in known {
            let entry = encode(id, producer, transactions.begun(id));
            out.put_u32(u32::try_from(entry.len()).unwrap_or(u32::MAX));
            out.extend_from_slice(&entry);
        }
        out
    }

    /// What [`snapshot`](Producers::snapshot) wrote.
    pub(crate) fn restore(
        mut bytes: &[u8],
    ) -> Result<(Producers, OpenTransactions), SnapshotError> {
        let layout = bytes.try_get_u8()?;
        if layout != LAYOUT {
            return Err(SnapshotError::Layout(layout));
        }
        let count = bytes.try_get_u32()?;
        let mut producers = Producers::default();
        let mut transactions = OpenTransactions::default();
        let mut newest = -1;
        for _ in 0..count {
            let len = usize::try_from(bytes.try_get_u32()?).unwrap_or(usize::MAX);
            let entry = bytes
                .split_off(..len)
                .ok_or(SnapshotError::Contradiction("an entry ends behind the end"))?;
            let (id, producer, open) = decode(entry)?;
            if id <= newest {
                return Err(SnapshotError::Contradiction("producers are not in order"));
            }
            newest = id;
            if producer.logged().is_some() {
                producers.by_id.insert(id, producer);
            }
            if let Some((epoch, first_offset)) = open {
                transactions.replay(id, epoch, first_offset);
            }
        }
        match bytes.is_empty() {
            true => Ok((producers, transactions)),
            false => Err(SnapshotError::Contradiction("something follows")),
        }
    }
}

fn encode(id: i64, producer: &Producer, open: Option<(i16, Offset)>) -> Vec<u8> {
    let mut entry = Vec::with_capacity(41 + producer.stored.len() * 32);
    entry.put_i64(id);
    entry.put_i16(producer.epoch);
    entry.put_i64(producer.last_used_ms);
    entry.put_u8(u8::try_from(producer.stored.len()).unwrap_or(u8::MAX));
    for batch in &producer.stored {
        entry.put_i32(batch.first_sequence);
        entry.put_i32(batch.last_sequence);
        entry.put_i64(batch.base_offset);
        entry.put_i64(batch.last_offset);
        entry.put_i64(batch.append_timestamp);
    }
    if producer.fenced >= 0 {
        entry.put_u8(FENCE);
        entry.put_u16(6);
        entry.put_i16(producer.fenced);
        entry.put_i32(producer.fenced_sequence);
    }
    if let Some((epoch, first_offset)) = open {
        entry.put_u8(OPEN);
        entry.put_u16(10);
        entry.put_i16(epoch);
        entry.put_i64(first_offset);
    }
    entry
}

type Entry = (i64, Producer, Option<(i16, Offset)>);

fn decode(mut entry: &[u8]) -> Result<Entry, SnapshotError> {
    let id = entry.try_get_i64()?;
    let mut producer = Producer {
        epoch: entry.try_get_i16()?,
        last_used_ms: entry.try_get_i64()?,
        ..Producer::default()
    };
    let count = usize::from(entry.try_get_u8()?);
    if id < 0 || count > CACHED_BATCHES {
        return Err(SnapshotError::Contradiction("an id or a number of batches"));
    }
    for _ in 0..count {
        let batch = StoredBatch {
            first_sequence: entry.try_get_i32()?,
            last_sequence: entry.try_get_i32()?,
            base_offset: entry.try_get_i64()?,
            last_offset: entry.try_get_i64()?,
            append_timestamp: entry.try_get_i64()?,
        };
        if batch.base_offset < 0 || batch.last_offset < batch.base_offset {
            return Err(SnapshotError::Contradiction("offsets of a batch"));
        }
        producer.stored.push_back(batch);
    }
    let mut open = None;
    while !entry.is_empty() {
        let tag = entry.try_get_u8()?;
        let len = usize::from(entry.try_get_u16()?);
        let mut field = entry
            .split_off(..len)
            .ok_or(SnapshotError::Contradiction("a field ends behind the end"))?;
        match tag {
            FENCE => {
                producer.fenced = field.try_get_i16()?;
                producer.fenced_sequence = field.try_get_i32()?;
            }
            OPEN => open = Some((field.try_get_i16()?, field.try_get_i64()?)),
            unknown => return Err(SnapshotError::Tag(unknown)),
        }
        if !field.is_empty() || open.is_some_and(|(_, first)| first < 0) {
            return Err(SnapshotError::Contradiction("a field"));
        }
    }
    match producer.logged().is_some() || open.is_some() {
        true => Ok((id, producer, open)),
        false => Err(SnapshotError::Contradiction(
            "nothing is known of a producer",
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batch() -> impl Strategy<Value = StoredBatch> {
        (0i64..1 << 40, 0i64..1000, any::<i32>(), -1i64..1 << 40).prop_map(
            |(base_offset, span, first_sequence, append_timestamp)| StoredBatch {
                first_sequence,
                last_sequence: first_sequence,
                base_offset,
                last_offset: base_offset + span,
                append_timestamp,
            },
        )
    }

    prop_compose! {
        fn producers()(
            all in proptest::collection::btree_map(
                0i64..,
                (any::<i16>(), any::<i64>(), proptest::collection::vec(batch(), 1..=CACHED_BATCHES),
                    -1..9i16, proptest::option::of(0..1000i64)),
                0..8,
            ),
        ) -> (Producers, OpenTransactions) {
            let mut producers = Producers::default();
            let mut transactions = OpenTransactions::default();
            for (at, (id, (epoch, last_used_ms, stored, fenced, open))) in all.into_iter().enumerate() {
                let producer = Producer {
                    epoch, last_used_ms, stored: stored.into(), fenced, ..Producer::default()
                };
                producers.by_id.insert(id, producer);
                if let Some(first) = open {
                    // No two transactions begin at one offset.
                    transactions.replay(id, epoch, first * 10 + at as i64);
                }
            }
            (producers, transactions)
        }
    }

    proptest! {
        #[test]
        fn round_trips((producers, open) in producers()) {
            let bytes = producers.snapshot(&open);
            let (restored, still_open) = Producers::restore(&bytes).unwrap();
            prop_assert_eq!(restored.snapshot(&still_open), bytes);
            prop_assert_eq!(format!("{:?}", sorted(&restored)), format!("{:?}", sorted(&producers)));
            prop_assert_eq!(open.first_unstable(), still_open.first_unstable());
        }

        #[test]
        fn what_is_cut_or_longer_is_an_error((producers, open) in producers(), cut in 0usize..400) {
            let bytes = producers.snapshot(&open);
            if cut < bytes.len() {
                prop_assert!(Producers::restore(&bytes[..cut]).is_err());
            }
            prop_assert!(Producers::restore(&[&bytes[..], &[0]].concat()).is_err());
        }

        #[test]
        fn any_bytes_are_an_error_or_producers(
            bytes in proptest::collection::vec(any::<u8>(), 0..80), count in 0u8..3,
        ) {
            let bytes = [&[LAYOUT, 0, 0, 0, count][..], &bytes].concat();
            if let Ok((producers, _)) = Producers::restore(&bytes) {
                prop_assert!(producers.by_id.len() <= usize::from(count));
            }
        }
    }

    #[test]
    fn a_tag_of_a_later_version_is_not_read_over() {
        let mut producers = Producers::default();
        let batch = StoredBatch {
            first_sequence: 0,
            last_sequence: 1,
            base_offset: 7,
            last_offset: 8,
            append_timestamp: -1,
        };
        producers.replay(5, 0, batch, 1);
        let mut bytes = producers.snapshot(&OpenTransactions::default());
        bytes.extend_from_slice(&[9, 0, 0]);
        let len = bytes.len() - 9;
        bytes[5..9].copy_from_slice(&u32::try_from(len).unwrap().to_be_bytes());
        assert_eq!(
            Producers::restore(&bytes).unwrap_err(),
            SnapshotError::Tag(9)
        );
    }

    fn sorted(producers: &Producers) -> Vec<(i64, i16, i64, Vec<StoredBatch>)> {
        let mut all: Vec<_> = producers
            .by_id
            .iter()
            .map(|(id, p)| {
                (
                    *id,
                    p.epoch,
                    p.last_used_ms,
                    p.stored.iter().copied().collect(),
                )
            })
            .collect();
        all.sort_by_key(|(id, ..)| *id);
        all
    }
}
