//! Value of an index row; its key is the batch's ([`super::batch`]).
//!
//! ```text
//!  0  1  layout, 1
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
//! ```

use tidegate_record::Offset;

use super::Fields;
use crate::{IndexRow, StoreError};

pub(crate) const LEN: usize = 65;
const LAYOUT: u8 = 1;

/// `row` keeps the relations of [`IndexRow::is_plausible`]; [`decode`] refuses what does not.
pub(crate) fn encode(row: &IndexRow) -> [u8; LEN] {
    let delta = i32::try_from(row.last_offset.wrapping_sub(row.base_offset)).unwrap_or(-1);
    let mut out = [0; LEN];
    let mut rest = out.as_mut_slice();
    put(&mut rest, [LAYOUT]);
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
    out
}

pub(crate) fn decode(base_offset: Offset, bytes: &[u8]) -> Result<IndexRow, StoreError> {
    let mut fields = Fields::new("index row", bytes);
    let [layout] = fields.take()?;
    if layout != LAYOUT {
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
    };
    fields.end()?;
    if !row.is_plausible() {
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
            }
        }
    }

    proptest! {
        #[test]
        fn round_trips(row in any_row()) {
            prop_assert_eq!(decode(row.base_offset, &encode(&row)).unwrap(), row);
        }

        #[test]
        fn any_bytes_are_an_error_or_a_row(
            base in 0..=i64::MAX,
            bytes in proptest::collection::vec(any::<u8>(), LEN - 2..LEN + 2),
        ) {
            let mut bytes = bytes;
            bytes[0] = LAYOUT;
            if let Ok(row) = decode(base, &bytes) {
                prop_assert_eq!(encode(&row).to_vec(), bytes);
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
        };
        assert!(decode(5, &encode(&good)).is_ok());
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
            assert!(decode(5, &encode(&bad)).is_err(), "{bad:?}");
        }
        assert!(
            decode(i64::MAX - 2, &encode(&good)).is_err(),
            "the last offset overflows"
        );
    }
}
