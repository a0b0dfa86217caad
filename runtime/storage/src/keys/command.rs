//! One metadata command.
//!
//! ```text
//! key    0  1  'c'
//!        1  8  index, u64 (from 1)
//! value     the command, opaque here
//! ```

use super::Fields;
use crate::StoreError;

const TAG: u8 = b'c';

pub(crate) fn encode_key(index: u64) -> [u8; 9] {
    let mut key = [TAG; 9];
    let (_, number) = key.split_at_mut(1);
    number.copy_from_slice(&index.to_be_bytes());
    key
}

/// The first key behind every command.
pub(crate) fn behind() -> [u8; 1] {
    [TAG + 1]
}

pub(crate) fn decode_key(bytes: &[u8]) -> Result<u64, StoreError> {
    let mut fields = Fields::new("command key", bytes);
    let [tag] = fields.take()?;
    let index = u64::from_be_bytes(fields.take()?);
    fields.end()?;
    if tag == TAG {
        Ok(index)
    } else {
        Err(StoreError::Corrupt(format!("command key: tag {tag}")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trips_in_order(a: u64, b: u64) {
            prop_assert_eq!(decode_key(&encode_key(a)).unwrap(), a);
            prop_assert_eq!(encode_key(a).cmp(&encode_key(b)), a.cmp(&b));
            prop_assert!(encode_key(a).as_slice() < behind().as_slice());
        }

        #[test]
        fn any_bytes_are_an_error_or_a_key(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            if let Ok(index) = decode_key(&bytes) {
                prop_assert_eq!(encode_key(index).to_vec(), bytes);
            }
        }
    }
}
