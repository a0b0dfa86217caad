//! The version of everything a database holds: key `format` in the default column family.
//!
//! ```text
//! 0  4  format version, u32
//! ```
//!
//! Version 2 is the layouts in this directory; version 1 had no producer snapshots and no floor beside the database,
//! and is taken over when it is opened. A store of a newer version is refused, not guessed.

use super::Fields;
use crate::StoreError;

pub(crate) const KEY: &[u8] = b"format";
pub(crate) const CURRENT: u32 = 2;
const OLDEST: u32 = 1;

pub(crate) fn encode(version: u32) -> [u8; 4] {
    version.to_be_bytes()
}

/// Checks that this version can read what is stored.
pub(crate) fn check(value: &[u8]) -> Result<(), StoreError> {
    let mut fields = Fields::new("format version", value);
    let found = u32::from_be_bytes(fields.take()?);
    fields.end()?;
    if (OLDEST..=CURRENT).contains(&found) {
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
        fn later_versions_are_refused(version: u32) {
            let known = (OLDEST..=CURRENT).contains(&version);
            prop_assert_eq!(check(&encode(version)).is_ok(), known);
        }

        #[test]
        fn any_bytes_are_checked(bytes in proptest::collection::vec(any::<u8>(), 0..8)) {
            let known = bytes == encode(OLDEST) || bytes == encode(CURRENT);
            prop_assert_eq!(check(&bytes).is_ok(), known);
        }
    }
}
