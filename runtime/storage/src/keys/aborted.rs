//! Value of an aborted transaction; its key is that of its marker ([`super::batch`]).
//!
//! ```text
//!  0  1  layout, 1
//!  1  8  producer id, i64 (>= 0)
//!  9  8  first offset of the transaction, i64 (0 to the marker's)
//! 17  8  last stable offset when the marker was written, i64 (0 to the marker's)
//! ```

use tidegate_record::Offset;

use super::Fields;
use crate::{AbortedTransaction, StoreError};

pub(crate) const LEN: usize = 25;
const LAYOUT: u8 = 1;

pub(crate) fn encode(aborted: &AbortedTransaction) -> [u8; LEN] {
    let mut value = [LAYOUT; LEN];
    let fields = [
        aborted.producer_id,
        aborted.first_offset,
        aborted.stable_offset,
    ];
    for (slot, field) in value
        .iter_mut()
        .skip(1)
        .zip(fields.iter().flat_map(|f| f.to_be_bytes()))
    {
        *slot = field;
    }
    value
}

/// `last_offset` is the marker's, which the key says.
pub(crate) fn decode(last_offset: Offset, value: &[u8]) -> Result<AbortedTransaction, StoreError> {
    let mut fields = Fields::new("aborted transaction", value);
    let [layout] = fields.take()?;
    let aborted = AbortedTransaction {
        producer_id: i64::from_be_bytes(fields.take()?),
        first_offset: i64::from_be_bytes(fields.take()?),
        last_offset,
        stable_offset: i64::from_be_bytes(fields.take()?),
    };
    fields.end()?;
    match layout == LAYOUT && aborted.is_plausible() {
        true => Ok(aborted),
        false => Err(StoreError::Corrupt(format!(
            "aborted transaction: layout {layout}, {aborted:?}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trips(producer_id in 0..i64::MAX, last in 0..i64::MAX, first in 0..i64::MAX,
            stable in 0..i64::MAX) {
            let aborted = AbortedTransaction {
                producer_id,
                first_offset: first.min(last),
                last_offset: last,
                stable_offset: stable.min(last),
            };
            prop_assert_eq!(decode(last, &encode(&aborted)).unwrap(), aborted);
        }

        #[test]
        fn any_bytes_are_an_error_or_a_transaction(
            bytes in proptest::collection::vec(any::<u8>(), 0..40), last: i64) {
            if let Ok(aborted) = decode(last, &bytes) {
                prop_assert_eq!(encode(&aborted).to_vec(), bytes);
                prop_assert!(aborted.first_offset <= last);
            }
        }
    }
}
