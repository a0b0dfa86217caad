//! The partition table.
//!
//! ```text
//! key    0   4  partition id, u32
//! value  0  16  topic id
//!       16   4  index within the topic, i32 (>= 0)
//!       20   8  log start offset, i64 (>= 0)
//! ```

use tidegate_record::PartitionId;

use super::Fields;
use crate::{PartitionEntry, StoreError};

const VALUE_LEN: usize = 28;

pub(crate) fn encode_key(id: PartitionId) -> [u8; 4] {
    id.0.to_be_bytes()
}

pub(crate) fn encode(entry: &PartitionEntry) -> Vec<u8> {
    let mut value = Vec::with_capacity(VALUE_LEN);
    value.extend_from_slice(&entry.topic_id);
    value.extend_from_slice(&entry.index.to_be_bytes());
    value.extend_from_slice(&entry.log_start.to_be_bytes());
    value
}

pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<PartitionEntry, StoreError> {
    let mut id = Fields::new("partition key", key);
    let mut fields = Fields::new("partition entry", value);
    let entry = PartitionEntry {
        id: PartitionId(u32::from_be_bytes(id.take()?)),
        topic_id: fields.take()?,
        index: i32::from_be_bytes(fields.take()?),
        log_start: i64::from_be_bytes(fields.take()?),
    };
    id.end()?;
    fields.end()?;
    if entry.index < 0 || entry.log_start < 0 {
        return Err(StoreError::Corrupt(format!("partition entry: {entry:?}")));
    }
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trips(id: u32, topic_id: [u8; 16], index in 0..=i32::MAX, log_start in 0..=i64::MAX) {
            let entry = PartitionEntry { id: PartitionId(id), topic_id, index, log_start };
            prop_assert_eq!(decode(&encode_key(entry.id), &encode(&entry)).unwrap(), entry);
        }

        #[test]
        fn any_bytes_are_an_error_or_an_entry(
            key in proptest::collection::vec(any::<u8>(), 3..6),
            value in proptest::collection::vec(any::<u8>(), VALUE_LEN - 1..VALUE_LEN + 2),
        ) {
            if let Ok(entry) = decode(&key, &value) {
                prop_assert_eq!(encode(&entry), value);
            }
        }
    }
}
