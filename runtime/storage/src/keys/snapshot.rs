//! The newest image of the metadata.
//!
//! ```text
//! key    's'
//! value  0  8  index of the last command in the image, u64
//!        8     the image, opaque here
//! ```

use super::Fields;
use crate::StoreError;

pub(crate) const KEY: &[u8] = b"s";

pub(crate) fn encode(index: u64, image: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(image.len().saturating_add(8));
    value.extend_from_slice(&index.to_be_bytes());
    value.extend_from_slice(image);
    value
}

pub(crate) fn decode(value: &[u8]) -> Result<(u64, &[u8]), StoreError> {
    let mut fields = Fields::new("snapshot", value);
    let index = u64::from_be_bytes(fields.take()?);
    Ok((index, fields.rest()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trips(index: u64, image in proptest::collection::vec(any::<u8>(), 0..64)) {
            let stored = encode(index, &image);
            prop_assert_eq!(decode(&stored).unwrap(), (index, image.as_slice()));
        }

        #[test]
        fn short_bytes_are_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..8)) {
            prop_assert!(decode(&bytes).is_err());
        }
    }
}
