//! Value of an index row; its key is the batch's ([`super::batch`]).
//!
//! ```text
//!  0  1  layout: 1, or 2 with the delete horizon
//!  1  4  last offset delta, i32 (>= 0)
//!  5  4  last surviving delta, i32 (-1 = no record survives)
//!  9  8  max timestamp, i64, ms
//! 17  8  max timestamp so far in the partition, i64, ms
//! 25  4  leader epoch, i32
//! 29  8  producer id, i64
//! 37  2  producer epoch, i16
//! 39  4  base sequence, i32
//! 43  4  size of the batch, u32, bytes
//! 47  2  attributes, i16
//! 49  8  append time, i64, ms
//! 57  8  position, u64, bytes of the partition before this batch
//! 65  8  delete horizon, i64, ms (> 0; layout 2 only, which compaction writes)
//! ```

use tidegate_record::Offset;

use super::Fields;
use crate::{IndexRow, StoreError};

pub(crate) const LEN: usize = 65;
const LAYOUT: u8 = 1;
const LAYOUT_WITH_HORIZON: u8 = 2;
const MAX_LEN: usize = LEN + 8;

/// The bytes of one row, on the stack: there is one for each batch that is appended.
pub(crate) struct Encoded {
    bytes: [u8; MAX_LEN],
    len: usize,
}

impl AsRef<[u8]> for Encoded {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// `row` keeps the relations of [`IndexRow::is_plausible`]; [`decode`] refuses what does not.
pub(crate) fn encode(row: &IndexRow) -> Encoded {
    let delta = i32::try_from(row.last_offset.wrapping_sub(row.base_offset)).unwrap_or(-1);
    let (layout, len) = match row.delete_horizon {
        0 => (LAYOUT, LEN),
        _ => (LAYOUT_WITH_HORIZON, MAX_LEN),
    };
    let mut out = [0; MAX_LEN];
    let mut rest = out.as_mut_slice();
    put(&mut rest, [layout]);
    put(&mut rest, delta.to_be_bytes());
    put(&mut rest, row.last_surviving_delta.to_be_bytes());
    put(&mut rest, row.max_timestamp.to_be_bytes());
    put(&mut rest, row.max_timestamp_so_far.to_be_bytes());
    put(&mut rest, row.leader_epoch.to_be_bytes());
    put(&mut rest, row.producer_id.to_be_bytes());
    put(&mut rest, row.producer_epoch.to_be_bytes());
    put(&mut rest, row.base_sequence.to_be_bytes());
    put(&mut rest, row.size.to_be_bytes());
    put(&mut rest, row.attributes.to_be_bytes());
    put(&mut rest, row.append_time.to_be_bytes());
    put(&mut rest, row.position.to_be_bytes());
    put(&mut rest, row.delete_horizon.to_be_bytes());
    Encoded { bytes: out, len }
}

pub(crate) fn decode(base_offset: Offset, bytes: &[u8]) -> Result<IndexRow, StoreError> {
    let mut fields = Fields::new("index row", bytes);
    let [layout] = fields.take()?;
    if layout != LAYOUT && layout != LAYOUT_WITH_HORIZON {
        return Err(StoreError::Corrupt(format!("index row: layout {layout}")));
    }
    let last_offset_delta = i32::from_be_bytes(fields.take()?);
    let row = IndexRow {
        base_offset,
        last_offset: base_offset.saturating_add(i64::from(last_offset_delta)),
        last_surviving_delta: i32::from_be_bytes(fields.take()?),
        max_timestamp: i64::from_be_bytes(fields.take()?),
        max_timestamp_so_far: i64::from_be_bytes(fields.take()?),
        leader_epoch: i32::from_be_bytes(fields.take()?),
        producer_id: i64::from_be_bytes(fields.take()?),
        producer_epoch: i16::from_be_bytes(fields.take()?),
        base_sequence: i32::from_be_bytes(fields.take()?),
        size: u32::from_be_bytes(fields.take()?),
        attributes: i16::from_be_bytes(fields.take()?),
        append_time: i64::from_be_bytes(fields.take()?),
        position: u64::from_be_bytes(fields.take()?),
        delete_horizon: match layout {
            LAYOUT_WITH_HORIZON => i64::from_be_bytes(fields.take()?),
            _ => 0,
        },
    };
    fields.end()?;
    let horizon_kept = row.delete_horizon > 0 || layout == LAYOUT;
    if !row.is_plausible() || !horizon_kept {
        return Err(StoreError::Corrupt(format!(
            "index row contradicts itself: {row:?}"
        )));
    }
    Ok(row)
}

fn put<const N: usize>(rest: &mut &mut [u8], field: [u8; N]) {
    // LEN is the sum of the fields (the round trip below proves it), so a field always fits.
    if let Some((slot, behind)) = std::mem::take(rest).split_first_chunk_mut::<N>() {
        *slot = field;
        *rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn any_row()(
            base_offset in 0..i64::MAX / 2,
            delta in 0..=i32::MAX,
            dropped in 0..=i32::MAX,
            times: (i64, i64, i64),
            leader_epoch: i32,
            producer: (i64, i16, i32),
            size in 61..=u32::MAX,
            attributes: i16,
            position: u64,
            delete_horizon in prop_oneof![Just(0), 1..i64::MAX],
        ) -> IndexRow {
            IndexRow {
                base_offset,
                last_offset: base_offset + i64::from(delta),
                last_surviving_delta: delta - dropped.min(delta.saturating_add(1)),
                max_timestamp: times.0,
                max_timestamp_so_far: times.1,
                leader_epoch,
                producer_id: producer.0,
                producer_epoch: producer.1,
                base_sequence: producer.2,
                size,
                attributes,
                append_time: times.2,
                position,
                delete_horizon,
            }
        }
    }

    proptest! {
        #[test]
        fn round_trips(row in any_row()) {
            prop_assert_eq!(decode(row.base_offset, encode(&row).as_ref()).unwrap(), row);
        }

        #[test]
        fn any_bytes_are_an_error_or_a_row(
            base in 0..=i64::MAX,
            layout in LAYOUT..=LAYOUT_WITH_HORIZON,
            bytes in proptest::collection::vec(any::<u8>(), LEN - 2..MAX_LEN + 2),
        ) {
            let mut bytes = bytes;
            bytes[0] = layout;
            if let Ok(row) = decode(base, &bytes) {
                let encoded = encode(&row);
                prop_assert_eq!(encoded.as_ref(), bytes);
            }
        }
    }

    #[test]
    fn a_row_that_contradicts_itself_is_corrupt() {
        let good = IndexRow {
            base_offset: 5,
            last_offset: 9,
            last_surviving_delta: 4,
            max_timestamp: 0,
            max_timestamp_so_far: 0,
            leader_epoch: 0,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            size: 61,
            attributes: 0,
            append_time: 0,
            position: 0,
            delete_horizon: 0,
        };
        assert!(decode(5, encode(&good).as_ref()).is_ok());
        for bad in [
            IndexRow {
                last_surviving_delta: 5,
                ..good
            },
            IndexRow {
                last_surviving_delta: -2,
                ..good
            },
            IndexRow {
                last_offset: 4,
                ..good
            },
            IndexRow { size: 60, ..good },
        ] {
            assert!(decode(5, encode(&bad).as_ref()).is_err(), "{bad:?}");
        }
        assert!(
            decode(i64::MAX - 2, encode(&good).as_ref()).is_err(),
            "the last offset overflows"
        );
    }
}
