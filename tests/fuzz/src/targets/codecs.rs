//! Bytes to compress.
//!
//! With every codec, and in every framing that clients of Kafka use, they come back as they were: whole, and joined out
//! of two parts. One byte less than they need is refused.

use std::io::Write;

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use tidegate_record::{Codec, CompressionError, compress, decompress};

use crate::corpus::Seed;

pub(super) fn run(data: &[u8]) {
    let (one, other) = data.split_at(data.len() / 3);
    for codec in Codec::ALL {
        let pack = |data| compress(codec, data).expect("it compresses");
        comes_back(codec, &pack(data), data);
        comes_back(codec, &[pack(one), pack(other)].concat(), data);
    }
    let raw = snap::raw::Encoder::new().compress_vec(data);
    comes_back(Codec::Snappy, &raw.expect("it compresses"), data);
    for (_, packed) in lz4_frames(data) {
        comes_back(Codec::Lz4, &packed, data);
    }
}

fn comes_back(codec: Codec, packed: &[u8], data: &[u8]) {
    assert_eq!(
        decompress(codec, packed, data.len()).as_deref(),
        Ok(data),
        "{codec:?}"
    );
    if let Some(limit) = data.len().checked_sub(1) {
        let refused = decompress(codec, packed, limit);
        assert_eq!(
            refused,
            Err(CompressionError::TooLarge { limit }),
            "{codec:?}"
        );
    }
}

/// Frames with linked blocks, checksums and sizes, as other encoders than ours write them.
pub(super) fn lz4_frames(data: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let linked = FrameInfo::new().block_mode(BlockMode::Linked);
    let forms = [
        ("linked", linked.block_size(BlockSize::Max64KB)),
        (
            "checksums",
            FrameInfo::new()
                .block_checksums(true)
                .content_checksum(true),
        ),
        (
            "sized",
            FrameInfo::new().content_size(Some(data.len() as u64)),
        ),
        (
            "large-blocks",
            FrameInfo::new().block_size(BlockSize::Max256KB),
        ),
    ];
    let pack = |(name, info): (&'static str, FrameInfo)| {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(data).expect("a vector takes it");
        (name, encoder.finish().expect("it compresses"))
    };
    forms.into_iter().map(pack).collect()
}

pub(super) fn seeds() -> Vec<Seed> {
    vec![
        Seed::made("empty", b""),
        Seed::made("text", b"some data that repeats, some data that repeats"),
        Seed::made("zeros", vec![0; 400]),
    ]
}
