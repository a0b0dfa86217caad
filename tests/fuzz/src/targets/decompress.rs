//! Compressed bytes: a byte for the codec, one for the limit, then what a client sent.
//!
//! What comes out is within the limit, and so is the memory for it, whatever the frames claim. The limit decides only
//! whether, never what: at exactly its size the same comes out, and one byte below that is an error.

use tidegate_record::{Codec, CompressionError, compress, decompress};

use crate::corpus::Seed;
use crate::memory::{SLACK, within};

pub(super) fn run(data: &[u8]) {
    let [codec, limit, packed @ ..] = data else {
        return;
    };
    let codec = Codec::ALL[usize::from(*codec) % Codec::ALL.len()];
    // Below 8 MiB, from where on zstd admits larger windows at higher limits.
    let limit = usize::from(*limit) << 8;
    let bound = memory_of(codec, packed.len(), limit) + SLACK;
    match within(bound, || decompress(codec, packed, limit)) {
        Ok(out) => agrees(codec, packed, &out, limit),
        Err(CompressionError::TooLarge { limit: said }) => assert_eq!(said, limit),
        Err(CompressionError::Corrupt { .. }) => {}
    }
}

fn agrees(codec: Codec, packed: &[u8], out: &[u8], limit: usize) {
    assert!(out.len() <= limit);
    assert_eq!(decompress(codec, packed, out.len()).as_deref(), Ok(out));
    if let Some(less) = out.len().checked_sub(1) {
        assert_eq!(
            decompress(codec, packed, less),
            Err(CompressionError::TooLarge { limit: less })
        );
    }
}

/// The most that decompressing `packed` bytes may have alive at once: the output, which is copied when it grows, and
/// what the codec's decoder keeps by its own documentation in `record/src/compression.rs`.
pub(super) fn memory_of(codec: Codec, packed: usize, limit: usize) -> usize {
    let output = 3 * (limit + 1) + packed;
    let decoder = match codec {
        Codec::None | Codec::Snappy => 0,
        Codec::Gzip => 128 << 10,
        Codec::Lz4 => (12 << 20) + (128 << 10),
        Codec::Zstd => 8 << 10,
    };
    output + decoder
}

pub(super) fn seeds() -> Vec<Seed> {
    let text = b"some data that repeats, some data that repeats ".repeat(4);
    let mut seeds = Vec::new();
    for (at, codec) in Codec::ALL.into_iter().enumerate() {
        let mut add = |kind: &str, packed: &[u8]| {
            let bytes = [&[at as u8, 255], packed].concat();
            seeds.push(Seed::made(format!("{}-{kind}", codec.name()), bytes));
        };
        let packed = compress(codec, &text).expect("it compresses");
        add("text", &packed);
        add("empty", &compress(codec, b"").expect("nothing compresses"));
        add("joined", &packed.repeat(2));
        let zeros = compress(
            codec,
            &vec![0; if codec == Codec::None { 10 } else { 20_000 }],
        );
        add("zeros", &zeros.expect("zeros compress"));
    }
    let raw = snap::raw::Encoder::new()
        .compress_vec(&text)
        .expect("it compresses");
    seeds.push(Seed::made("snappy-raw", [&[2, 255], &raw[..]].concat()));
    for (kind, packed) in super::codecs::lz4_frames(&text) {
        seeds.push(Seed::made(
            format!("lz4-{kind}"),
            [&[3, 255], &packed[..]].concat(),
        ));
    }
    seeds
}
