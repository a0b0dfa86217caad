//! The four codecs of Kafka, always with a bound on what comes out.
//!
//! A frame's claim about its own size is never believed: output grows as it is produced and stops
//! one byte past the limit. Beside the output, a decoder holds at most one block or window: 32 KiB
//! for gzip, 8 MiB (two blocks of 4 MiB and their history) for lz4, and for zstd a window of
//! 8 MiB or the limit rounded up to a power of two, whichever is more.

use std::io::{self, Read, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use thiserror::Error;

/// Compression of a batch's records, with Kafka's attribute codes 0 to 4.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// A codec with how hard it tries. A codec alone is one at its default level.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub struct Compression {
    pub codec: Codec,
    /// gzip: 1 to 9. zstd: up to 22, negative ones are fast. `None` is the codec's default, and the others have no levels.
    pub level: Option<i32>,
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Compression {
        Compression { codec, level: None }
    }
}

/// Why bytes do not compress or decompress.
#[derive(Clone, Eq, PartialEq, Debug, Error)]
pub enum CompressionError {
    #[error("more than {limit} bytes come out")]
    TooLarge { limit: usize },
    #[error("bad {codec} data: {reason}")]
    Corrupt { codec: &'static str, reason: String },
}

impl Codec {
    pub const ALL: [Codec; 5] = [
        Codec::None,
        Codec::Gzip,
        Codec::Snappy,
        Codec::Lz4,
        Codec::Zstd,
    ];

    /// The code in the attributes of a batch.
    pub fn code(self) -> i16 {
        match self {
            Codec::None => 0,
            Codec::Gzip => 1,
            Codec::Snappy => 2,
            Codec::Lz4 => 3,
            Codec::Zstd => 4,
        }
    }

    pub fn from_code(code: i16) -> Option<Codec> {
        Self::ALL.into_iter().find(|codec| codec.code() == code)
    }

    /// The name in configurations such as `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// Reads a configured name; `uncompressed` is how topics say `none`.
    pub fn from_name(name: &str) -> Option<Codec> {
        if name == "uncompressed" {
            return Some(Codec::None);
        }
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }
}

/// Compresses `data` as Kafka's clients do: snappy in the framing of snappy-java, lz4 in frames of
/// independent 64 KiB blocks, gzip and zstd at the given or their default levels.
pub fn compress(how: impl Into<Compression>, data: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let Compression { codec, level } = how.into();
    let compressed = match codec {
        Codec::None => Ok(data.to_vec()),
        Codec::Gzip => compress_gzip(data, level),
        Codec::Snappy => compress_snappy(data),
        Codec::Lz4 => compress_lz4(data),
        Codec::Zstd => zstd::bulk::compress(data, level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL)),
    };
    compressed.map_err(|error| corrupt(codec, error))
}

/// Decompresses `data`, giving up as soon as more than `limit` bytes have come out.
pub fn decompress(codec: Codec, data: &[u8], limit: usize) -> Result<Vec<u8>, CompressionError> {
    let mut out = Output::new(codec, data.len(), limit);
    match codec {
        Codec::None => out.extend(data)?,
        Codec::Gzip => out.read_from(flate2::bufread::MultiGzDecoder::new(data))?,
        Codec::Snappy => decompress_snappy(data, &mut out)?,
        Codec::Lz4 => decompress_lz4(data, &mut out)?,
        Codec::Zstd => out.read_from(zstd_reader(data, limit).map_err(|e| corrupt(codec, e))?)?,
    }
    Ok(out.bytes)
}

/// Decompressed bytes that never grow past the limit by more than one byte.
struct Output {
    codec: Codec,
    bytes: Vec<u8>,
    limit: usize,
}

impl Output {
    fn new(codec: Codec, input: usize, limit: usize) -> Self {
        // Four times the input is a guess that spares most batches a second growth; it is sized by
        // bytes that are really there.
        let guess = input.saturating_mul(4).min(limit.saturating_add(1));
        Output {
            codec,
            bytes: Vec::with_capacity(guess),
            limit,
        }
    }

    fn room(&self) -> usize {
        self.limit.saturating_sub(self.bytes.len())
    }

    fn too_large(&self) -> CompressionError {
        CompressionError::TooLarge { limit: self.limit }
    }

    fn extend(&mut self, data: &[u8]) -> Result<(), CompressionError> {
        if data.len() > self.room() {
            return Err(self.too_large());
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    /// Reads all of `reader`, one byte more than there is room for at most.
    fn read_from(&mut self, reader: impl Read) -> Result<(), CompressionError> {
        let most = (self.room() as u64).saturating_add(1);
        let read = reader.take(most).read_to_end(&mut self.bytes);
        if self.bytes.len() > self.limit {
            return Err(self.too_large());
        }
        read.map(drop).map_err(|error| corrupt(self.codec, error))
    }
}

fn compress_gzip(data: &[u8], level: Option<i32>) -> io::Result<Vec<u8>> {
    let out = Vec::with_capacity(data.len() / 2);
    // A level below 0 is Kafka's way to write the default.
    let level = level.and_then(|level| u32::try_from(level.min(9)).ok());
    let level = level.map_or_else(flate2::Compression::default, flate2::Compression::new);
    let mut encoder = flate2::write::GzEncoder::new(out, level);
    encoder.write_all(data)?;
    encoder.finish()
}

/// Clients send one frame. Each may cost a cleared buffer of 4 MiB, so a batch made of thousands of
/// empty ones would burn seconds.
const MOST_LZ4_FRAMES: usize = 16;

fn compress_lz4(data: &[u8]) -> io::Result<Vec<u8>> {
    // Java's reader knows independent blocks only.
    let info = FrameInfo::new()
        .block_size(BlockSize::Max64KB)
        .block_mode(BlockMode::Independent);
    let out = Vec::with_capacity(data.len() / 2);
    let mut encoder = FrameEncoder::with_frame_info(info, out);
    encoder.write_all(data)?;
    Ok(encoder.finish()?)
}

fn decompress_lz4(mut data: &[u8], out: &mut Output) -> Result<(), CompressionError> {
    // A decoder for each frame: the decoder's buffers fit the frame it began with.
    for _ in 0..MOST_LZ4_FRAMES {
        if data.is_empty() {
            return Ok(());
        }
        let mut decoder = FrameDecoder::new(data);
        out.read_from(&mut decoder)?;
        data = decoder.into_inner();
    }
    if data.is_empty() {
        Ok(())
    } else {
        Err(corrupt(Codec::Lz4, "too many frames"))
    }
}

fn zstd_reader(
    data: &[u8],
    limit: usize,
) -> io::Result<zstd::stream::read::Decoder<'static, &[u8]>> {
    // RFC 8878 asks every decoder for windows of 8 MiB; beyond that, a window larger than anything
    // we would accept is only there to make us allocate it.
    const LEAST_WINDOW_LOG: u32 = 23;
    const MOST_WINDOW_LOG: u32 = 27;
    let limit_log = usize::BITS - limit.leading_zeros();
    let mut decoder = zstd::stream::read::Decoder::with_buffer(data)?;
    decoder.window_log_max(limit_log.clamp(LEAST_WINDOW_LOG, MOST_WINDOW_LOG))?;
    Ok(decoder)
}

/// What snappy-java puts before its blocks: a magic, then its version and the oldest version that
/// can read the stream.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER: [u8; 16] = [
    0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1,
];
/// Snappy-java's default, so its readers' buffers fit.
const XERIAL_BLOCK: usize = 32 * 1024;
/// Snappy's densest element turns 3 bytes into 64.
const SNAPPY_MOST_EXPANSION: usize = 22;

fn compress_snappy(data: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(XERIAL_HEADER.len() + data.len() / 2);
    out.extend_from_slice(&XERIAL_HEADER);
    let mut encoder = snap::raw::Encoder::new();
    for block in data.chunks(XERIAL_BLOCK) {
        let packed = encoder.compress_vec(block)?;
        // A block of 32 KiB cannot come near 4 GiB.
        out.extend_from_slice(&(packed.len() as u32).to_be_bytes());
        out.extend_from_slice(&packed);
    }
    Ok(out)
}

fn decompress_snappy(data: &[u8], out: &mut Output) -> Result<(), CompressionError> {
    if !data.starts_with(&XERIAL_MAGIC) {
        return decompress_snappy_block(data, out);
    }
    let mut rest = data;
    while !rest.is_empty() {
        // Streams may be joined, so a header may stand before any block.
        if rest.starts_with(&XERIAL_MAGIC) {
            rest = rest.get(XERIAL_HEADER.len()..).ok_or_else(cut_snappy)?;
            continue;
        }
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(cut_snappy)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (block, after) = after.split_at_checked(length).ok_or_else(cut_snappy)?;
        decompress_snappy_block(block, out)?;
        rest = after;
    }
    Ok(())
}

fn decompress_snappy_block(block: &[u8], out: &mut Output) -> Result<(), CompressionError> {
    let claimed = snap::raw::decompress_len(block).map_err(|e| corrupt(Codec::Snappy, e))?;
    if claimed > out.room() {
        return Err(out.too_large());
    }
    if claimed > block.len().saturating_mul(SNAPPY_MOST_EXPANSION) {
        return Err(corrupt(
            Codec::Snappy,
            "claims more than its bytes can expand to",
        ));
    }
    let start = out.bytes.len();
    out.bytes.resize(start + claimed, 0);
    let target = out.bytes.get_mut(start..).unwrap_or_default();
    let written = snap::raw::Decoder::new()
        .decompress(block, target)
        .map_err(|error| corrupt(Codec::Snappy, error))?;
    out.bytes.truncate(start + written);
    Ok(())
}

fn cut_snappy() -> CompressionError {
    corrupt(Codec::Snappy, "cut off inside a block")
}

fn corrupt(codec: Codec, reason: impl ToString) -> CompressionError {
    CompressionError::Corrupt {
        codec: codec.name(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_change_the_size_and_not_what_comes_back() {
        let data: Vec<u8> = (0..200_000_u32)
            .flat_map(|n| {
                (n.wrapping_mul(2_654_435_761) >> 20)
                    .to_string()
                    .into_bytes()
            })
            .collect();
        for (codec, fast, small) in [(Codec::Gzip, 1, 9), (Codec::Zstd, -5, 19)] {
            let at = |level| compress(Compression { codec, level }, &data).unwrap();
            assert!(at(Some(small)).len() < at(Some(fast)).len(), "{codec:?}");
            assert_eq!(at(None), compress(codec, &data).unwrap());
            for level in [fast, small] {
                let packed = at(Some(level));
                assert_eq!(decompress(codec, &packed, data.len()).unwrap(), data);
            }
        }
        let gzip = |level| {
            let codec = Codec::Gzip;
            compress(Compression { codec, level }, &data).unwrap()
        };
        assert_eq!(gzip(Some(-1)), gzip(None));
    }
}
