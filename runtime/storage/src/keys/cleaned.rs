//! How far a partition is compacted: key `cleaned` and the partition, in the default column family.
//!
//! ```text
//! key    0  7  `cleaned`
//!        7  4  partition, u32
//! value  0  1  layout, 1
//!        1  8  offset, i64 (>= 0)
//! ```

use tidegate_record::{Offset, PartitionId};

use super::Fields;
use crate::StoreError;

const PREFIX: &[u8; 7] = b"cleaned";
const LAYOUT: u8 = 1;

pub(crate) fn key(id: PartitionId) -> Vec<u8> {
    [PREFIX.as_slice(), &id.0.to_be_bytes()].concat()
}

pub(crate) fn decode_key(found: &[u8]) -> Result<PartitionId, StoreError> {
    let mut fields = Fields::new("key of a compacted offset", found);
    let prefix: [u8; PREFIX.len()] = fields.take()?;
    let id = u32::from_be_bytes(fields.take()?);
    fields.end()?;
    match prefix == *PREFIX {
        true => Ok(PartitionId(id)),
        false => Err(StoreError::Corrupt(format!(
            "no key of ours: {}",
            found.escape_ascii()
        ))),
    }
}

pub(crate) fn encode(offset: Offset) -> Vec<u8> {
    [[LAYOUT].as_slice(), &offset.to_be_bytes()].concat()
}

pub(crate) fn decode(value: &[u8]) -> Result<Offset, StoreError> {
    let mut fields = Fields::new("compacted offset", value);
    let [layout] = fields.take()?;
    let offset = i64::from_be_bytes(fields.take()?);
    fields.end()?;
    match layout == LAYOUT && offset >= 0 {
        true => Ok(offset),
        false => Err(StoreError::Corrupt(format!(
            "compacted offset: layout {layout}, offset {offset}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_round_trip(id: u32) {
            prop_assert_eq!(decode_key(&key(PartitionId(id))).unwrap(), PartitionId(id));
        }

        #[test]
        fn any_bytes_are_an_error_or_a_key(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            if let Ok(id) = decode_key(&bytes) {
                prop_assert_eq!(key(id), bytes);
            }
        }

        #[test]
        fn round_trips(offset in 0..=i64::MAX) {
            prop_assert_eq!(decode(&encode(offset)).unwrap(), offset);
        }

        #[test]
        fn any_bytes_are_an_error_or_an_offset(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            if let Ok(offset) = decode(&bytes) {
                prop_assert_eq!(encode(offset), bytes);
            }
        }
    }
}
