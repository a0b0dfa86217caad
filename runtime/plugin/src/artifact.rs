//! Compiled code as bytes, and the one place where bytes become code again.
//!
//! `Component::deserialize` believes what it is given, so it is unsafe. An [`Artifact`] is made in two ways only: from
//! what this program's own compiler just gave, or from a file of the cache whose header names the component and whose
//! sha256 is right. The cache's directory is the broker's own (mode 0700): the sum finds damage, not malice, and
//! whoever can write there could as well replace the broker. Nothing that a client sends ever becomes an artifact.
//!
//! A file is, in this order: magic `tgcwasm\0` (8 bytes), version (u16 BE), sha256 of the component (32), sha256 of the
//! code (32), length of the code (u64 BE), the code.

#![allow(
    unsafe_code,
    reason = "wasmtime offers no safe way to load code that was compiled earlier"
)]

use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;

use crate::Digest;

/// The most that one component may compile to. JavaScript and Python engines come to 35 MiB.
pub(crate) const MAX_CODE_BYTES: usize = 128 << 20;
pub(crate) const HEADER_BYTES: usize = 82;

const MAGIC: [u8; 8] = *b"tgcwasm\0";
const VERSION: u16 = 1;

/// Code that the compiler of this version made of the component with this digest.
pub(crate) struct Artifact {
    digest: Digest,
    bytes: Vec<u8>,
    /// Where in `bytes` the code starts: code is too large to be copied for a header's sake.
    start: usize,
}

impl Artifact {
    /// `code` is what `Engine::precompile_component` gave for the component with this digest.
    pub(crate) fn compiled(digest: Digest, code: Vec<u8>) -> Artifact {
        Artifact {
            digest,
            bytes: code,
            start: 0,
        }
    }

    /// A file of the cache. The error says what is wrong with it.
    pub(crate) fn decode(digest: Digest, file: Vec<u8>) -> Result<Artifact, &'static str> {
        let cut = "it is cut short";
        let (magic, rest) = file.split_first_chunk().ok_or(cut)?;
        let (version, rest) = rest.split_first_chunk().ok_or(cut)?;
        let (of, rest) = rest.split_first_chunk().ok_or(cut)?;
        let (sum, rest) = rest.split_first_chunk::<32>().ok_or(cut)?;
        let (length, code) = rest.split_first_chunk().ok_or(cut)?;
        if *magic != MAGIC {
            return Err("it is no artifact");
        }
        if u16::from_be_bytes(*version) != VERSION {
            return Err("it is of another version");
        }
        if *of != digest.0 {
            return Err("it belongs to another plugin");
        }
        if u64::from_be_bytes(*length) != code.len() as u64 {
            return Err(cut);
        }
        if Sha256::digest(code).as_slice() != sum {
            return Err("its checksum is wrong");
        }
        Ok(Artifact {
            digest,
            bytes: file,
            start: HEADER_BYTES,
        })
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) fn code(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// What goes to disk before the code.
    pub(crate) fn header(&self) -> Vec<u8> {
        let code = self.code();
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&VERSION.to_be_bytes());
        header.extend_from_slice(&self.digest.0);
        header.extend_from_slice(&Sha256::digest(code));
        header.extend_from_slice(&(code.len() as u64).to_be_bytes());
        header
    }

    /// The code, mapped for one engine. An error is the engine's: the code is of another version or for another
    /// machine, or the component needs more than that engine may give.
    pub(crate) fn component(&self, engine: &wasmtime::Engine) -> wasmtime::Result<Component> {
        // SAFETY: the bytes are what `precompile_component` gave and nobody changed since (see the head of this
        // file); `deserialize` itself refuses other versions, targets and settings.
        unsafe { Component::deserialize(engine, self.code()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: Digest = Digest([7; 32]);

    fn file(artifact: &Artifact) -> Vec<u8> {
        [&artifact.header(), artifact.code()].concat()
    }

    #[test]
    fn a_file_comes_back() {
        let made = Artifact::compiled(DIGEST, b"code".to_vec());
        assert_eq!(made.header().len(), HEADER_BYTES);
        let read = Artifact::decode(DIGEST, file(&made)).unwrap();
        assert_eq!((read.code(), read.digest()), (&b"code"[..], DIGEST));
        assert_eq!(file(&read), file(&made));
    }

    #[test]
    fn every_damage_is_seen() {
        let file = file(&Artifact::compiled(DIGEST, b"some code".to_vec()));
        for at in 0..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 0x10;
            assert!(Artifact::decode(DIGEST, bad).is_err(), "byte {at}");
            assert!(
                Artifact::decode(DIGEST, file[..at].to_vec()).is_err(),
                "cut at {at}"
            );
        }
        let mut longer = file.clone();
        longer.push(0);
        assert!(Artifact::decode(DIGEST, longer).is_err());
        let of_another = Artifact::decode(Digest([8; 32]), file).err();
        assert_eq!(of_another, Some("it belongs to another plugin"));
    }
}
