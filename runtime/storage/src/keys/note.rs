//! Value of a note; its key is the batch's ([`super::batch`]).
//!
//! ```text
//! 0  1  layout, 1
//! 1  -  the note, at most [`MAX_LEN`] bytes; what they mean is the writer's affair
//! ```

use bytes::Bytes;

use super::Fields;
use crate::StoreError;

/// Longest note, in bytes. It is read whole, and beside every batch that has one.
pub(crate) const MAX_LEN: usize = 16 << 10;
const LAYOUT: u8 = 1;

/// The note was checked against [`MAX_LEN`] when it was taken.
pub(crate) fn encode(note: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(1 + note.len());
    value.push(LAYOUT);
    value.extend_from_slice(note);
    value
}

pub(crate) fn decode(value: &[u8]) -> Result<Bytes, StoreError> {
    let mut fields = Fields::new("note", value);
    let [layout] = fields.take()?;
    let note = fields.rest();
    if layout != LAYOUT || note.len() > MAX_LEN {
        return Err(StoreError::Corrupt(format!(
            "note: layout {layout}, {} bytes",
            note.len()
        )));
    }
    Ok(Bytes::copy_from_slice(note))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trips(note in proptest::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert_eq!(&decode(&encode(&note)).unwrap()[..], &note[..]);
        }

        #[test]
        fn any_bytes_are_an_error_or_a_note(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            match decode(&bytes) {
                Ok(note) => prop_assert_eq!(encode(&note), bytes),
                Err(_) => prop_assert_ne!(bytes.first(), Some(&LAYOUT)),
            }
        }
    }

    #[test]
    fn a_note_beyond_the_bound_is_corrupt() {
        assert!(decode(&encode(&[0; MAX_LEN])).is_ok());
        assert!(decode(&encode(&[0; MAX_LEN + 1])).is_err());
    }
}
