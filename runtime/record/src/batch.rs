//! A whole batch: refcounted bytes whose header was parsed and whose length matches it.

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use crate::{
    Codec, CompressionError, DecodeLimits, LeaderEpoch, Offset, Records,
    header::{BatchHeader, CRC_START, HEADER_LEN, LENGTH_OVERHEAD},
};

/// Why bytes are not a batch, or a batch's records cannot be read.
#[derive(Clone, Eq, PartialEq, Debug, Error)]
pub enum BatchError {
    #[error("batch needs {need} bytes, {have} are there")]
    Truncated { have: usize, need: usize },
    #[error("{0} bytes follow the batch")]
    TrailingBytes(usize),
    #[error("unsupported magic {0}")]
    UnsupportedMagic(i8),
    #[error("bad batch header: {0}")]
    BadHeader(&'static str),
    #[error("CRC32C is {computed:08x}, the header says {stored:08x}")]
    Crc { stored: u32, computed: u32 },
    #[error("unknown compression codec {0}")]
    UnknownCodec(i16),
    #[error("records do not decompress: {0}")]
    Compression(#[from] CompressionError),
    #[error("{count} records, at most {max} are read")]
    TooManyRecords { count: usize, max: usize },
    #[error("record {index}: {reason}")]
    Record { index: usize, reason: &'static str },
    #[error("header claims {claimed} records, {found} are there")]
    RecordCount { claimed: usize, found: usize },
    #[error("batch would be larger than a batch length can say")]
    TooLarge,
}

/// One batch of the log. Clone is cheap: the bytes are shared.
#[derive(Clone, Debug)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

impl Batch {
    /// Checks structure, magic, exact length and CRC32C. Records are not looked at.
    pub fn check(bytes: Bytes) -> Result<Batch, BatchError> {
        let batch = Self::stored(bytes)?;
        let computed = crc_of(&batch.bytes);
        let stored = batch.header.crc;
        if computed != stored {
            return Err(BatchError::Crc { stored, computed });
        }
        Ok(batch)
    }

    /// Checks structure, magic and exact length, for bytes whose CRC was checked when stored.
    pub fn stored(bytes: Bytes) -> Result<Batch, BatchError> {
        let header = BatchHeader::parse(&bytes)?;
        let (have, need) = (bytes.len(), header.size());
        if have < need {
            return Err(BatchError::Truncated { have, need });
        }
        if have > need {
            return Err(BatchError::TrailingBytes(have - need));
        }
        Ok(Batch { header, bytes })
    }

    /// Takes the first batch off a run of batches, as in a fetch response. `None` when less than a
    /// whole batch is left, which Kafka allows at the end. Structure only, as [`Batch::stored`].
    pub fn take(bytes: &mut Bytes) -> Result<Option<Batch>, BatchError> {
        if bytes.len() < HEADER_LEN {
            return Ok(None);
        }
        let header = BatchHeader::parse(bytes)?;
        if bytes.len() < header.size() {
            return Ok(None);
        }
        let bytes = bytes.split_to(header.size());
        Ok(Some(Batch { header, bytes }))
    }

    /// Writes header and CRC over the first 61 bytes of `bytes`; `bytes` must hold the records
    /// behind them. Length and CRC of `header` are filled in here.
    pub(crate) fn seal(mut header: BatchHeader, bytes: Vec<u8>) -> Result<Batch, BatchError> {
        let length = bytes.len().saturating_sub(LENGTH_OVERHEAD);
        header.batch_length = i32::try_from(length).map_err(|_| BatchError::TooLarge)?;
        Ok(Self::seal_sized(header, bytes))
    }

    /// As `seal`, for a header that already has its length.
    pub(crate) fn seal_sized(mut header: BatchHeader, mut bytes: Vec<u8>) -> Batch {
        write_header(&mut bytes, &header);
        header.crc = crc_of(&bytes);
        write_header(&mut bytes, &header);
        Batch {
            header,
            bytes: bytes.into(),
        }
    }

    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Bytes of the whole batch.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    pub fn base_offset(&self) -> Offset {
        self.header.base_offset
    }

    pub fn last_offset(&self) -> Offset {
        self.header.last_offset()
    }

    pub fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.header.leader_epoch)
    }

    pub fn record_count(&self) -> usize {
        usize::try_from(self.header.record_count).unwrap_or(0)
    }

    pub fn codec(&self) -> Result<Codec, BatchError> {
        self.header.attributes.codec()
    }

    /// The records as they stand in the batch, compressed or not.
    pub fn record_bytes(&self) -> Bytes {
        self.bytes.slice(HEADER_LEN.min(self.bytes.len())..)
    }

    /// Gives the batch its place in the log. Both fields lie outside the CRC. In place when nobody
    /// else holds the bytes, else one copy.
    pub fn place(self, base_offset: Offset, epoch: LeaderEpoch) -> Batch {
        let header = BatchHeader {
            base_offset,
            leader_epoch: epoch.0,
            ..self.header
        };
        let mut bytes = owned(self.bytes);
        write_header(&mut bytes, &header);
        Batch {
            header,
            bytes: bytes.freeze(),
        }
    }

    /// Marks the batch LogAppendTime: every record's timestamp becomes `now_ms`. Rewrites the CRC.
    pub fn stamp_append_time(self, now_ms: i64) -> Batch {
        let attributes = self.header.attributes.with_log_append_time(true);
        self.patch(|header| {
            header.attributes = attributes;
            header.max_timestamp = now_ms;
        })
    }

    /// Decompresses within `limits` and validates every record.
    pub fn records(&self, limits: DecodeLimits) -> Result<Records, BatchError> {
        Records::decode(self, limits)
    }

    /// Changes header fields, never the length, and writes a new CRC.
    pub(crate) fn patch(self, change: impl FnOnce(&mut BatchHeader)) -> Batch {
        let mut header = self.header;
        change(&mut header);
        let mut bytes = owned(self.bytes);
        write_header(&mut bytes, &header);
        header.crc = crc_of(&bytes);
        write_header(&mut bytes, &header);
        Batch {
            header,
            bytes: bytes.freeze(),
        }
    }
}

/// CRC32C of what a batch's CRC covers: everything from the attributes on.
fn crc_of(batch: &[u8]) -> u32 {
    crc32c::crc32c(batch.get(CRC_START..).unwrap_or_default())
}

fn write_header(batch: &mut [u8], header: &BatchHeader) {
    if let Some(head) = batch.first_chunk_mut::<HEADER_LEN>() {
        *head = header.encode();
    }
}

fn owned(bytes: Bytes) -> BytesMut {
    bytes
        .try_into_mut()
        .unwrap_or_else(|shared| BytesMut::from(&shared[..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchBuilder, RecordParts};

    fn batch() -> Batch {
        let mut builder = BatchBuilder::new(Codec::None);
        let record = RecordParts {
            timestamp: 50,
            value: Some(b"value"),
            ..Default::default()
        };
        builder.push(record).unwrap();
        builder.build().unwrap()
    }

    const LIMITS: DecodeLimits = DecodeLimits {
        max_bytes: 1000,
        max_records: 10,
    };

    #[test]
    fn every_byte_under_the_crc_is_checked() {
        let bytes = batch().into_bytes();
        for at in CRC_START..bytes.len() {
            let mut broken = bytes.to_vec();
            broken[at] ^= 1;
            assert!(Batch::check(broken.into()).is_err(), "byte {at}");
        }
    }

    #[test]
    fn the_length_must_be_exact() {
        let bytes = batch().into_bytes();
        let (have, need) = (bytes.len() - 1, bytes.len());
        let short = Batch::stored(bytes.slice(..have)).unwrap_err();
        assert_eq!(short, BatchError::Truncated { have, need });
        let long = [&bytes[..], b"x"].concat();
        assert_eq!(
            Batch::stored(long.into()).unwrap_err(),
            BatchError::TrailingBytes(1)
        );
    }

    #[test]
    fn placing_leaves_the_crc_alone() {
        let placed = batch().place(1234, LeaderEpoch(9));
        assert_eq!(placed.header().crc, batch().header().crc);
        let read = Batch::check(placed.clone().into_bytes()).unwrap();
        assert_eq!(read.header(), placed.header());
        assert_eq!(
            (read.base_offset(), read.leader_epoch()),
            (1234, LeaderEpoch(9))
        );
    }

    #[test]
    fn placing_copies_only_shared_bytes() {
        let alone = batch();
        let at = alone.bytes().as_ptr();
        let placed = alone.place(1, LeaderEpoch(1));
        assert_eq!(placed.bytes().as_ptr(), at);
        let shared = placed.clone().place(2, LeaderEpoch(1));
        assert_ne!(shared.bytes().as_ptr(), at);
        assert_eq!((placed.base_offset(), shared.base_offset()), (1, 2));
    }

    #[test]
    fn append_time_is_every_records_timestamp() {
        let stamped = Batch::check(batch().stamp_append_time(99).into_bytes()).unwrap();
        assert!(stamped.header().attributes.is_log_append_time());
        assert_eq!(stamped.header().base_timestamp, 50);
        let records = stamped.records(LIMITS).unwrap();
        assert_eq!(records.get(0).unwrap().timestamp, 99);
    }

    #[test]
    fn takes_batches_off_a_run_and_leaves_a_part() {
        let bytes = batch().into_bytes();
        let mut run = Bytes::from([&bytes[..], &bytes[..], &bytes[..70]].concat());
        let mut taken = 0;
        while let Some(batch) = Batch::take(&mut run).unwrap() {
            assert_eq!(batch.bytes(), &bytes);
            taken += 1;
        }
        assert_eq!((taken, run.len()), (2, bytes.len().min(70)));
    }
}
