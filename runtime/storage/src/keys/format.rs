//! The version of everything a database holds: key `format` in the default column family.
//!
//! ```text
//! 0  4  format version, u32
//! ```
//!
//! Version 1 is the layouts in this directory. A store of a newer version is refused, not guessed.

use super::Fields;
use crate::StoreError;

pub(crate) const KEY: &[u8] = b"format";
pub(crate) const CURRENT: u32 = 1;

pub(crate) fn encode(version: u32) -> [u8; 4] {
    version.to_be_bytes()
}

/// Checks that this version can read what is stored.
pub(crate) fn check(value: &[u8]) -> Result<(), StoreError> {
    let mut fields = Fields::new("format version", value);
    let found = u32::from_be_bytes(fields.take()?);
    fields.end()?;
    if found == CURRENT {
        return Ok(());
    }
    Err(StoreError::UnsupportedFormat {
        found,
        supported: CURRENT,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn only_the_current_version_is_read(version: u32) {
            prop_assert_eq!(check(&encode(version)).is_ok(), version == CURRENT);
        }

        #[test]
        fn any_bytes_are_checked(bytes in proptest::collection::vec(any::<u8>(), 0..8)) {
            prop_assert_eq!(check(&bytes).is_ok(), bytes == encode(CURRENT));
        }
    }
}
