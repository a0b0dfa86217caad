//! A snapshot of a partition's producers; what is in it is its writer's affair.
//!
//! ```text
//! key    0  4  partition id, u32
//! value  0  1  layout, 1
//!        1  8  below, i64 (>= 0): every batch below this offset is reflected
//!        9  -  the state, versioned by whoever wrote it
//! ```

use bytes::Bytes;
use tidegate_record::PartitionId;

use super::Fields;
use crate::{ProducerSnapshot, StoreError};

const LAYOUT: u8 = 1;

pub(crate) fn encode_key(id: PartitionId) -> [u8; 4] {
    id.0.to_be_bytes()
}

pub(crate) fn decode_key(key: &[u8]) -> Result<PartitionId, StoreError> {
    let mut fields = Fields::new("key of a producer snapshot", key);
    let id = u32::from_be_bytes(fields.take()?);
    fields.end()?;
    Ok(PartitionId(id))
}

pub(crate) fn encode(snapshot: &ProducerSnapshot) -> Vec<u8> {
    let mut value = Vec::with_capacity(snapshot.state.len().saturating_add(9));
    value.push(LAYOUT);
    value.extend_from_slice(&snapshot.below.to_be_bytes());
    value.extend_from_slice(&snapshot.state);
    value
}

pub(crate) fn decode(value: &[u8]) -> Result<ProducerSnapshot, StoreError> {
    let mut fields = Fields::new("producer snapshot", value);
    let [layout] = fields.take()?;
    let below = i64::from_be_bytes(fields.take()?);
    match layout == LAYOUT && below >= 0 {
        true => Ok(ProducerSnapshot {
            below,
            state: Bytes::copy_from_slice(fields.rest()),
        }),
        false => Err(StoreError::Corrupt(format!(
            "producer snapshot: layout {layout}, below {below}"
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
            prop_assert_eq!(decode_key(&encode_key(PartitionId(id))).unwrap(), PartitionId(id));
        }

        #[test]
        fn any_bytes_are_an_error_or_a_key(bytes in proptest::collection::vec(any::<u8>(), 0..9)) {
            if let Ok(id) = decode_key(&bytes) {
                prop_assert_eq!(encode_key(id).to_vec(), bytes);
            }
        }

        #[test]
        fn round_trips(below in 0..=i64::MAX, state in proptest::collection::vec(any::<u8>(), 0..200)) {
            let snapshot = ProducerSnapshot { below, state: state.into() };
            prop_assert_eq!(decode(&encode(&snapshot)).unwrap(), snapshot);
        }

        #[test]
        fn any_bytes_are_an_error_or_a_snapshot(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(snapshot) = decode(&bytes) {
                prop_assert_eq!(encode(&snapshot), bytes);
            }
        }
    }
}
