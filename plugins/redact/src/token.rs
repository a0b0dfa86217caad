//! What stands for a hashed text: HMAC-SHA256 (RFC 2104), in hexadecimal.

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Below this a secret can be guessed together with what it hides.
const MIN_KEY_BYTES: usize = 16;

/// Makes tokens under one secret.
pub(crate) struct Tokens {
    /// With the secret taken in already; cloned for each text.
    keyed: Hmac<Sha256>,
}

impl Tokens {
    pub(crate) fn new(key: &[u8]) -> Result<Self, String> {
        if key.len() < MIN_KEY_BYTES {
            return Err(format!(
                "`hash.key` has {} bytes; a secret needs at least {MIN_KEY_BYTES}",
                key.len()
            ));
        }
        let keyed = Hmac::new_from_slice(key).map_err(|error| error.to_string())?;
        Ok(Self { keyed })
    }

    pub(crate) fn of(&self, text: &[u8]) -> String {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut mac = self.keyed.clone();
        mac.update(text);
        let bytes = mac.finalize().into_bytes();
        let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits
            .map(|digit| char::from(HEX[usize::from(digit)]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test case 6 of RFC 4231: a key longer than a block.
    #[test]
    fn is_hmac_sha256() {
        let tokens = Tokens::new(&[0xaa; 131]).unwrap();
        assert_eq!(
            tokens.of(b"Test Using Larger Than Block-Size Key - Hash Key First"),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }
}
