//! The header of a version 2 record batch (KIP-98), big endian:
//!
//! ```text
//!  0 base offset i64       8 batch length i32 (bytes after it)    12 leader epoch i32
//! 16 magic i8 = 2         17 CRC32C u32 (of everything after it)  21 attributes i16
//! 23 last offset delta i32  27 base timestamp i64                 35 max timestamp i64
//! 43 producer id i64      51 producer epoch i16                   53 base sequence i32
//! 57 record count i32     61 records
//! ```
//!
//! The CRC starts at the attributes, so base offset and leader epoch can be patched freely.

use bytes::{Buf, BufMut};

use crate::{Codec, Offset, batch::BatchError};

/// Bytes of a batch before its first record.
pub const HEADER_LEN: usize = 61;
/// Bytes that the batch length does not count: base offset and the length itself.
pub(crate) const LENGTH_OVERHEAD: usize = 12;
/// Where the bytes covered by the CRC begin.
pub(crate) const CRC_START: usize = 21;
const MAGIC_AT: usize = 16;

/// Producer id of a batch without idempotence.
pub const NO_PRODUCER_ID: i64 = -1;
/// Base sequence of a batch without idempotence.
pub const NO_SEQUENCE: i32 = -1;
/// Timestamp of a record whose producer gave none.
pub const NO_TIMESTAMP: i64 = -1;

/// Attribute bits of a batch.
#[derive(Copy, Clone, Eq, PartialEq, Default, Debug)]
pub struct Attributes(pub i16);

impl Attributes {
    const CODEC_MASK: i16 = 0x07;
    const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    /// The codec of the records, or an error for a code nobody has assigned.
    pub fn codec(self) -> Result<Codec, BatchError> {
        let code = self.0 & Self::CODEC_MASK;
        Codec::from_code(code).ok_or(BatchError::UnknownCodec(code))
    }

    pub fn is_log_append_time(self) -> bool {
        self.0 & Self::LOG_APPEND_TIME != 0
    }

    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp holds the time after which tombstones may go (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    pub fn with_codec(self, codec: Codec) -> Self {
        Attributes((self.0 & !Self::CODEC_MASK) | codec.code())
    }

    pub fn with_log_append_time(self, on: bool) -> Self {
        self.with(Self::LOG_APPEND_TIME, on)
    }

    pub fn with_transactional(self, on: bool) -> Self {
        self.with(Self::TRANSACTIONAL, on)
    }

    pub fn with_control(self, on: bool) -> Self {
        self.with(Self::CONTROL, on)
    }

    fn with(self, bit: i16, on: bool) -> Self {
        Attributes(if on { self.0 | bit } else { self.0 & !bit })
    }
}

/// A parsed batch header. Field names and meanings are Kafka's.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct BatchHeader {
    pub base_offset: Offset,
    /// Bytes after this field, so the batch has 12 more.
    pub batch_length: i32,
    pub leader_epoch: i32,
    pub magic: i8,
    pub crc: u32,
    pub attributes: Attributes,
    /// Survives the loss of the last record: the batch still owns its whole offset range.
    pub last_offset_delta: i32,
    /// Milliseconds since the Unix epoch; record timestamps are relative to it.
    pub base_timestamp: i64,
    /// Milliseconds since the Unix epoch; every record's timestamp under LogAppendTime.
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

impl BatchHeader {
    /// Parses the header at the start of `bytes`; what follows the header is not looked at.
    ///
    /// Refuses other magics, lengths shorter than a header, and negative deltas or counts.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        // Before the length: a short message of an old format should be called that.
        if let Some(&magic) = bytes.get(MAGIC_AT)
            && magic != 2
        {
            return Err(BatchError::UnsupportedMagic(magic as i8));
        }
        let head = bytes
            .first_chunk::<HEADER_LEN>()
            .ok_or(BatchError::Truncated {
                have: bytes.len(),
                need: HEADER_LEN,
            })?;
        let header = Self::read(head);
        let least = (HEADER_LEN - LENGTH_OVERHEAD) as i32;
        if header.batch_length < least {
            return Err(BatchError::BadHeader("batch length shorter than a header"));
        }
        if header.last_offset_delta < 0 {
            return Err(BatchError::BadHeader("negative last offset delta"));
        }
        if header.record_count < 0 {
            return Err(BatchError::BadHeader("negative record count"));
        }
        Ok(header)
    }

    /// Offset of the last position the batch owns, whether or not a record is still there.
    pub fn last_offset(&self) -> Offset {
        self.base_offset
            .wrapping_add(i64::from(self.last_offset_delta))
    }

    /// Sequence of the last position; wraps from `i32::MAX` to 0 (KIP-98). -1 without a producer.
    pub fn last_sequence(&self) -> i32 {
        last_sequence(self.base_sequence, self.last_offset_delta)
    }

    /// Bytes of the whole batch.
    pub fn size(&self) -> usize {
        usize::try_from(self.batch_length)
            .unwrap_or(0)
            .saturating_add(LENGTH_OVERHEAD)
    }

    pub fn has_producer(&self) -> bool {
        self.producer_id >= 0
    }

    /// Whether every position of the range still has its record.
    pub fn is_dense(&self) -> bool {
        i64::from(self.last_offset_delta) + 1 == i64::from(self.record_count)
    }

    fn read(head: &[u8; HEADER_LEN]) -> Self {
        let mut buf = &head[..];
        BatchHeader {
            base_offset: buf.get_i64(),
            batch_length: buf.get_i32(),
            leader_epoch: buf.get_i32(),
            magic: buf.get_i8(),
            crc: buf.get_u32(),
            attributes: Attributes(buf.get_i16()),
            last_offset_delta: buf.get_i32(),
            base_timestamp: buf.get_i64(),
            max_timestamp: buf.get_i64(),
            producer_id: buf.get_i64(),
            producer_epoch: buf.get_i16(),
            base_sequence: buf.get_i32(),
            record_count: buf.get_i32(),
        }
    }

    /// The header as it stands in the log.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut head = [0; HEADER_LEN];
        let mut buf = &mut head[..];
        buf.put_i64(self.base_offset);
        buf.put_i32(self.batch_length);
        buf.put_i32(self.leader_epoch);
        buf.put_i8(self.magic);
        buf.put_u32(self.crc);
        buf.put_i16(self.attributes.0);
        buf.put_i32(self.last_offset_delta);
        buf.put_i64(self.base_timestamp);
        buf.put_i64(self.max_timestamp);
        buf.put_i64(self.producer_id);
        buf.put_i16(self.producer_epoch);
        buf.put_i32(self.base_sequence);
        buf.put_i32(self.record_count);
        head
    }
}

/// Sequence of the last position of a batch; wraps from `i32::MAX` to 0 (KIP-98). -1 without a producer.
pub fn last_sequence(base_sequence: i32, last_offset_delta: i32) -> i32 {
    if base_sequence < 0 {
        return NO_SEQUENCE;
    }
    let last = i64::from(base_sequence) + i64::from(last_offset_delta);
    (last % (i64::from(i32::MAX) + 1)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> BatchHeader {
        BatchHeader {
            base_offset: 1,
            batch_length: 49,
            leader_epoch: 2,
            magic: 2,
            crc: 0xdead_beef,
            attributes: Attributes(0x35),
            last_offset_delta: 3,
            base_timestamp: 4,
            max_timestamp: 5,
            producer_id: 6,
            producer_epoch: 7,
            base_sequence: 8,
            record_count: 9,
        }
    }

    #[test]
    fn parses_what_it_encodes() {
        assert_eq!(BatchHeader::parse(&header().encode()), Ok(header()));
        assert_eq!(header().size(), HEADER_LEN);
        assert_eq!(header().last_offset(), 4);
    }

    #[test]
    fn refuses_other_magics_even_when_short() {
        let mut bytes = header().encode();
        for magic in [0, 1, 3, -1i8] {
            bytes[16] = magic as u8;
            assert_eq!(
                BatchHeader::parse(&bytes),
                Err(BatchError::UnsupportedMagic(magic))
            );
            assert_eq!(
                BatchHeader::parse(&bytes[..20]),
                Err(BatchError::UnsupportedMagic(magic))
            );
        }
        let short = &header().encode()[..60];
        assert_eq!(
            BatchHeader::parse(short),
            Err(BatchError::Truncated { have: 60, need: 61 })
        );
    }

    #[test]
    fn refuses_lengths_deltas_and_counts_out_of_range() {
        let refused = [
            BatchHeader {
                batch_length: 48,
                ..header()
            },
            BatchHeader {
                batch_length: -1,
                ..header()
            },
            BatchHeader {
                last_offset_delta: -1,
                ..header()
            },
            BatchHeader {
                record_count: -1,
                ..header()
            },
        ];
        for header in refused {
            let error = BatchHeader::parse(&header.encode());
            assert!(matches!(error, Err(BatchError::BadHeader(_))), "{header:?}");
        }
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let last = |base_sequence, last_offset_delta| {
            BatchHeader {
                base_sequence,
                last_offset_delta,
                ..header()
            }
            .last_sequence()
        };
        assert_eq!(last(8, 3), 11);
        assert_eq!(last(i32::MAX, 0), i32::MAX);
        assert_eq!(last(i32::MAX, 1), 0);
        assert_eq!(last(i32::MAX - 1, 4), 2);
        assert_eq!(last(NO_SEQUENCE, 4), NO_SEQUENCE);
    }

    #[test]
    fn attribute_bits_are_kafkas() {
        let attributes = Attributes(0x35);
        assert!(attributes.is_transactional() && attributes.is_control());
        assert!(!attributes.is_log_append_time() && !attributes.has_delete_horizon());
        assert_eq!(attributes.codec(), Err(BatchError::UnknownCodec(5)));
        assert_eq!(attributes.with_codec(Codec::Lz4), Attributes(0x33));
        assert_eq!(
            attributes.with_control(false).with_log_append_time(true),
            Attributes(0x1d)
        );
        assert_eq!(Attributes(0).with_transactional(true), Attributes(0x10));
    }
}
