//! Key of a batch, and of its index row.
//!
//! ```text
//! 0   4  partition id, u32
//! 4   8  base offset, u64 (never negative)
//! ```
//!
//! The value in `batches` is the record batch exactly as the wire carries it, base offset and
//! leader epoch in place; its layout is Kafka's (KIP-98). The key of the row in `rows` is the same.

use tidegate_record::{Offset, PartitionId};

use super::Fields;
use crate::StoreError;

pub(crate) const LEN: usize = 12;

/// Offsets are never negative; one that is sorts first, as offset 0 does.
pub(crate) fn encode(id: PartitionId, base_offset: Offset) -> [u8; LEN] {
    let mut key = [0; LEN];
    let (partition, offset) = key.split_at_mut(4);
    partition.copy_from_slice(&id.0.to_be_bytes());
    offset.copy_from_slice(&base_offset.max(0).cast_unsigned().to_be_bytes());
    key
}

/// The first key behind every key of the partition.
pub(crate) fn behind(id: PartitionId) -> Vec<u8> {
    match id.0.checked_add(1) {
        Some(next) => next.to_be_bytes().to_vec(),
        None => [0xff; LEN + 1].to_vec(),
    }
}

pub(crate) fn decode(bytes: &[u8]) -> Result<(PartitionId, Offset), StoreError> {
    let mut fields = Fields::new("batch key", bytes);
    let id = PartitionId(u32::from_be_bytes(fields.take()?));
    let offset = u64::from_be_bytes(fields.take()?);
    fields.end()?;
    let offset = Offset::try_from(offset)
        .map_err(|_| StoreError::Corrupt(format!("batch key: offset {offset}")))?;
    Ok((id, offset))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trips(id: u32, offset in 0..=i64::MAX) {
            let key = encode(PartitionId(id), offset);
            prop_assert_eq!(decode(&key).unwrap(), (PartitionId(id), offset));
            prop_assert!(key.as_slice() < behind(PartitionId(id)).as_slice());
        }

        #[test]
        fn sorts_as_its_numbers(a: (u32, u32), b: (u32, u32)) {
            let key = |(id, offset)| encode(PartitionId(id), i64::from(offset));
            prop_assert_eq!(key(a).cmp(&key(b)), a.cmp(&b));
            if b.0 > a.0 {
                prop_assert!(behind(PartitionId(a.0)).as_slice() <= key(b).as_slice());
            }
        }

        #[test]
        fn any_bytes_are_an_error_or_a_key(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            if let Ok((id, offset)) = decode(&bytes) {
                prop_assert_eq!(encode(id, offset).to_vec(), bytes);
            }
        }
    }

    #[test]
    fn layout_is_fixed() {
        assert_eq!(
            encode(PartitionId(1), 258),
            [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2]
        );
    }
}
