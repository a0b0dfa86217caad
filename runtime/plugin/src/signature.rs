//! Signatures of plugins: who vouches that these bytes are this version of this plugin.
//!
//! Ed25519 over the domain `tidegate-plugin-v1`, the name, the version and the sha256 of the component, each preceded
//! by its length (u32 BE). Name and version are in it, so that a signed file cannot be passed off as another plugin or
//! as a newer version of its own. Verification is strict: keys of small order and altered encodings are refused.
//!
//! Keys and signatures are written as Base64. Private keys are PKCS#8 in PEM, as OpenSSL writes them
//! (`openssl genpkey -algorithm ed25519`); public keys are their 32 bytes or the SubjectPublicKeyInfo around them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, VerifyingKey};

use crate::Digest;

const DOMAIN: &[u8] = b"tidegate-plugin-v1";
/// What stands before the 32 bytes of an Ed25519 key in PKCS#8 (RFC 8410, section 7) and in SubjectPublicKeyInfo.
const PKCS8: &[u8] = &[
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
const SPKI: &[u8] = &[
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// Why text is not a key or a signature; a sentence.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(String);

#[derive(Clone, Copy, Eq, PartialEq)]
pub struct PublicKey(VerifyingKey);

/// Bytes that may be a signature of something: only [`PublicKey::verifies`] says so.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Signature([u8; 64]);

/// Its memory is wiped when it is dropped.
pub struct PrivateKey(ed25519_dalek::SigningKey);

/// A signature with the key that it is said to be by: the content of a `.sig` file, one line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SignedBy {
    pub key: PublicKey,
    pub signature: Signature,
}

impl PublicKey {
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<PublicKey, KeyError> {
        let wrong = || KeyError("these 32 bytes are not an Ed25519 public key".to_owned());
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| wrong())?;
        match key.is_weak() {
            false => Ok(PublicKey(key)),
            true => Err(wrong()),
        }
    }

    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Whether the owner of this key has signed these bytes as this version of this plugin.
    pub fn verifies(
        &self,
        signature: &Signature,
        name: &str,
        version: &str,
        digest: Digest,
    ) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        self.0
            .verify_strict(&message(name, version, digest), &signature)
            .is_ok()
    }
}

impl PrivateKey {
    /// `seed` must come from the system's source of randomness.
    pub fn from_seed(seed: &[u8; 32]) -> PrivateKey {
        PrivateKey(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    pub fn sign(&self, name: &str, version: &str, digest: Digest) -> SignedBy {
        SignedBy {
            key: self.public(),
            signature: Signature(self.0.sign(&message(name, version, digest)).to_bytes()),
        }
    }

    pub fn to_pem(&self) -> String {
        let der = [PKCS8, self.0.as_bytes().as_slice()].concat();
        format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(der))
    }

    pub fn from_pem(text: &str) -> Result<PrivateKey, KeyError> {
        let wrong = || {
            KeyError(
                "this is not an Ed25519 private key in PEM; make one with `tidegate plugin keygen --out FILE`"
                    .to_owned(),
            )
        };
        let body = text
            .trim()
            .strip_prefix(BEGIN)
            .and_then(|rest| rest.strip_suffix(END))
            .ok_or_else(wrong)?;
        let der = decode(body).ok_or_else(wrong)?;
        let seed = der.strip_prefix(PKCS8).ok_or_else(wrong)?;
        let seed: [u8; 32] = seed.try_into().map_err(|_| wrong())?;
        Ok(PrivateKey::from_seed(&seed))
    }
}

impl Signature {
    pub fn from_bytes(bytes: [u8; 64]) -> Signature {
        Signature(bytes)
    }

    pub fn to_bytes(&self) -> [u8; 64] {
        self.0
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let wrong = || {
            KeyError(format!(
                "`{}` is not a public key: expected the Base64 that `tidegate plugin keygen` prints",
                text.chars().take(80).collect::<String>()
            ))
        };
        let bytes = decode(text).ok_or_else(wrong)?;
        let key = bytes.strip_prefix(SPKI).unwrap_or(&bytes);
        let key = key.try_into().map_err(|_| wrong())?;
        PublicKey::from_bytes(key)
    }
}

impl FromStr for Signature {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let wrong = || KeyError("a signature is 64 bytes in Base64".to_owned());
        let bytes = decode(text).ok_or_else(wrong)?;
        Ok(Signature(bytes.try_into().map_err(|_| wrong())?))
    }
}

impl FromStr for SignedBy {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        match fields.as_slice() {
            ["tidegate-plugin-v1", key, signature] => Ok(SignedBy {
                key: key.parse()?,
                signature: signature.parse()?,
            }),
            _ => Err(KeyError(
                "this is not a signature file; make one with `tidegate plugin sign`".to_owned(),
            )),
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.to_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Display for SignedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tidegate-plugin-v1 {} {}", self.key, self.signature)
    }
}

/// What is signed. Lengths come first, so that no two triples give the same bytes.
fn message(name: &str, version: &str, digest: Digest) -> Vec<u8> {
    let mut message = Vec::new();
    for field in [DOMAIN, name.as_bytes(), version.as_bytes(), &digest.0] {
        let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
        message.extend_from_slice(&length.to_be_bytes());
        message.extend_from_slice(field);
    }
    message
}

fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: Digest = Digest([9; 32]);

    fn key(number: u8) -> PrivateKey {
        PrivateKey::from_seed(&[number; 32])
    }

    #[test]
    fn a_signature_is_for_one_plugin_one_version_and_these_bytes() {
        let SignedBy { key, signature } = key(1).sign("match", "1.0.0", DIGEST);
        assert!(key.verifies(&signature, "match", "1.0.0", DIGEST));
        assert!(!key.verifies(&signature, "matc", "h1.0.0", DIGEST));
        assert!(!key.verifies(&signature, "other", "1.0.0", DIGEST));
        assert!(!key.verifies(&signature, "match", "1.0.1", DIGEST));
        assert!(!key.verifies(&signature, "match", "1.0.0", Digest([8; 32])));
        let stranger = super::tests::key(2).public();
        assert!(!stranger.verifies(&signature, "match", "1.0.0", DIGEST));
        for at in 0..64 {
            let mut altered = signature.to_bytes();
            altered[at] ^= 1;
            let altered = Signature::from_bytes(altered);
            assert!(
                !key.verifies(&altered, "match", "1.0.0", DIGEST),
                "byte {at}"
            );
        }
    }

    /// What is signed must never change: signatures outlive releases.
    #[test]
    fn the_message_is_as_documented() {
        let expected = [
            &[0, 0, 0, 18][..],
            b"tidegate-plugin-v1",
            &[0, 0, 0, 1],
            b"n",
            &[0, 0, 0, 2],
            b"v1",
            &[0, 0, 0, 32],
            &[9; 32],
        ]
        .concat();
        assert_eq!(message("n", "v1", DIGEST), expected);
    }

    #[test]
    fn text_forms_come_back() {
        let private = key(3);
        let again = PrivateKey::from_pem(&private.to_pem()).unwrap();
        assert_eq!(again.public(), private.public());
        assert_eq!(private.public().to_string().parse(), Ok(private.public()));
        let signed = private.sign("n", "1", DIGEST);
        assert_eq!(signed.to_string().parse(), Ok(signed));
    }

    /// RFC 8410, section 10.3, with the public key of section 10.1.
    #[test]
    fn openssl_keys_are_understood() {
        let pem = "-----BEGIN PRIVATE KEY-----\n\
                   MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                   -----END PRIVATE KEY-----\n";
        let public = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";
        let private = PrivateKey::from_pem(pem).unwrap();
        assert_eq!(private.public(), public.parse().unwrap());
    }

    #[test]
    fn what_is_no_key_is_told() {
        assert!("".parse::<PublicKey>().is_err());
        assert!("AAAA".parse::<PublicKey>().is_err());
        // The identity: every signature with it would be "valid" for somebody less strict.
        let mut weak = [0; 32];
        weak[0] = 1;
        assert!(PublicKey::from_bytes(&weak).is_err());
        assert!(PrivateKey::from_pem("hello").is_err());
        assert!("x".parse::<Signature>().is_err());
        assert!("tidegate-plugin-v2 a b".parse::<SignedBy>().is_err());
    }
}
