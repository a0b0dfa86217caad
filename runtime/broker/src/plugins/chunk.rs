//! One chunk of a plugin's bytes, as a record of `__tidegate_plugins`.
//!
//! Key, 41 bytes: version 0 (u8), sha256 of the whole file (32), chunk index (u32 BE), chunk count (u32 BE).
//! Value: version 0 (u8), then the chunk's bytes, at most [`CHUNK_BYTES`]. A null value removes the chunk.
//!
//! The key holds the count, so that a reader knows when it has all of them; the topic is compacted, and chunks of
//! bytes that were uploaded twice fall together.

/// Bytes of a file in one record: far below every limit that a batch has on its way.
pub(super) const CHUNK_BYTES: usize = 512 << 10;
const VERSION: u8 = 0;
const KEY_LEN: usize = 41;

/// Which chunk of which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkKey {
    pub(super) digest: [u8; 32],
    pub(super) index: u32,
    pub(super) count: u32,
}

impl ChunkKey {
    pub(super) fn encode(&self) -> [u8; KEY_LEN] {
        let mut key = [VERSION; KEY_LEN];
        key[1..33].copy_from_slice(&self.digest);
        key[33..37].copy_from_slice(&self.index.to_be_bytes());
        key[37..].copy_from_slice(&self.count.to_be_bytes());
        key
    }

    /// `None` for a record that is not of this version's form: a later broker's, which this one leaves alone.
    pub(super) fn decode(key: &[u8]) -> Option<ChunkKey> {
        let (version, rest) = key.split_first()?;
        let (digest, rest) = rest.split_first_chunk::<32>()?;
        let (index, rest) = rest.split_first_chunk::<4>()?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let (index, count) = (u32::from_be_bytes(*index), u32::from_be_bytes(*count));
        (*version == VERSION && rest.is_empty() && index < count).then_some(ChunkKey {
            digest: *digest,
            index,
            count,
        })
    }
}

pub(super) fn encode_value(chunk: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(1 + chunk.len());
    value.push(VERSION);
    value.extend_from_slice(chunk);
    value
}

pub(super) fn decode_value(value: &[u8]) -> Option<&[u8]> {
    let (version, chunk) = value.split_first()?;
    (*version == VERSION && chunk.len() <= CHUNK_BYTES).then_some(chunk)
}

/// How many chunks a file of this size makes.
pub(super) fn count_of(size: usize) -> u32 {
    u32::try_from(size.div_ceil(CHUNK_BYTES).max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_and_others_are_left_alone() {
        let key = ChunkKey {
            digest: [7; 32],
            index: 2,
            count: 3,
        };
        let bytes = key.encode();
        assert_eq!(ChunkKey::decode(&bytes), Some(key));
        for len in 0..bytes.len() {
            assert_eq!(ChunkKey::decode(&bytes[..len]), None);
        }
        let mut later = bytes;
        later[0] = 1;
        assert_eq!(ChunkKey::decode(&later), None);
        let beyond = ChunkKey { index: 3, ..key }.encode();
        assert_eq!(ChunkKey::decode(&beyond), None);
        let mut long = bytes.to_vec();
        long.push(0);
        assert_eq!(ChunkKey::decode(&long), None);
    }

    #[test]
    fn values_come_back() {
        assert_eq!(decode_value(&encode_value(b"wasm")), Some(&b"wasm"[..]));
        assert_eq!(decode_value(&encode_value(b"")), Some(&b""[..]));
        assert_eq!(decode_value(b""), None);
        assert_eq!(decode_value(&[1, 2, 3]), None);
        assert_eq!(decode_value(&vec![0; CHUNK_BYTES + 2]), None);
    }

    #[test]
    fn every_byte_has_a_chunk() {
        assert_eq!(count_of(0), 1);
        assert_eq!(count_of(CHUNK_BYTES), 1);
        assert_eq!(count_of(CHUNK_BYTES + 1), 2);
    }
}
