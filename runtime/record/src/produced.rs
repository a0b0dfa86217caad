//! What a client may produce.

use bytes::Bytes;
use thiserror::Error;

use crate::{Batch, BatchError, BatchHeader, CompressionError, DecodeLimits, HEADER_LEN, Records};

/// Why a client's batch is refused. The broker's edge gives each its Kafka error code.
#[derive(Clone, Eq, PartialEq, Debug, Error)]
pub enum ProduceError {
    /// MESSAGE_TOO_LARGE: Java producers split the batch and try again.
    #[error("batch of {size} bytes, at most {max} are accepted")]
    TooLarge { size: usize, max: usize },
    /// MESSAGE_TOO_LARGE too: the records of half a batch may fit.
    #[error("the records take more than the {max} bytes that a batch may decompress to")]
    Inflated { max: usize },
    /// CORRUPT_MESSAGE.
    #[error("corrupt batch: {0}")]
    Corrupt(String),
    /// INVALID_RECORD.
    #[error("invalid record: {0}")]
    InvalidRecord(String),
    /// INVALID_TIMESTAMP.
    #[error("only the broker may mark a batch LogAppendTime")]
    InvalidTimestamp,
    /// INVALID_RECORD.
    #[error("magic {0} where a version 2 batch is required")]
    UnsupportedMagic(i8),
    /// UNSUPPORTED_COMPRESSION_TYPE.
    #[error("unsupported compression codec")]
    UnsupportedCodec,
}

/// A batch as a client must send it. The base offset it carries is ignored.
#[derive(Clone, Debug)]
pub struct CheckedBatch(Batch);

impl CheckedBatch {
    /// Checks that `bytes` is exactly one version 2 batch of at most `max_message_bytes`, with a
    /// good CRC and a header that promises one record for each offset. Never decompresses.
    pub fn check(bytes: Bytes, max_message_bytes: usize) -> Result<CheckedBatch, ProduceError> {
        if bytes.is_empty() {
            return Err(invalid("a produce needs exactly one batch, none was sent"));
        }
        let header = BatchHeader::parse(&bytes)?;
        // The claimed size decides, so that a batch that is too large is told so and can be split.
        if header.size() > max_message_bytes {
            return Err(ProduceError::TooLarge {
                size: header.size(),
                max: max_message_bytes,
            });
        }
        if bytes.len() >= header.size().saturating_add(HEADER_LEN) {
            return Err(invalid(
                "a produce needs exactly one batch, several were sent",
            ));
        }
        let batch = Batch::check(bytes)?;
        check_header(batch.header())?;
        Ok(CheckedBatch(batch))
    }

    pub fn batch(&self) -> &Batch {
        &self.0
    }

    pub fn into_batch(self) -> Batch {
        self.0
    }

    /// Marks the batch LogAppendTime; what was checked stays true.
    pub fn stamp_append_time(self, now_ms: i64) -> CheckedBatch {
        CheckedBatch(self.0.stamp_append_time(now_ms))
    }

    /// Decodes the records; their offset deltas are then 0, 1, 2 and so on.
    pub fn decode(&self, limits: DecodeLimits) -> Result<Records, ProduceError> {
        // Decoding found as many deltas as the header counts, rising from 0 or more up to at most
        // the last one. The header is dense, so no delta can be missing.
        Ok(self.0.records(limits)?)
    }
}

impl From<BatchError> for ProduceError {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::UnsupportedMagic(magic) => ProduceError::UnsupportedMagic(magic),
            BatchError::UnknownCodec(_) => ProduceError::UnsupportedCodec,
            BatchError::Compression(CompressionError::TooLarge { limit: max }) => {
                ProduceError::Inflated { max }
            }
            BatchError::Record { .. }
            | BatchError::RecordCount { .. }
            | BatchError::TooManyRecords { .. } => ProduceError::InvalidRecord(error.to_string()),
            _ => ProduceError::Corrupt(error.to_string()),
        }
    }
}

fn check_header(header: &BatchHeader) -> Result<(), ProduceError> {
    let attributes = header.attributes;
    attributes.codec()?;
    if attributes.is_control() {
        return Err(invalid("clients may not write control records"));
    }
    if attributes.is_log_append_time() {
        return Err(ProduceError::InvalidTimestamp);
    }
    if header.record_count == 0 {
        return Err(invalid("batch without records"));
    }
    if !header.is_dense() {
        return Err(invalid("record count does not match the last offset delta"));
    }
    if header.has_producer() && header.base_sequence < 0 {
        return Err(invalid("producer id without a sequence"));
    }
    if attributes.is_transactional() && !header.has_producer() {
        return Err(invalid("transactional batch without a producer id"));
    }
    Ok(())
}

fn invalid(reason: &str) -> ProduceError {
    ProduceError::InvalidRecord(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attributes, BatchBuilder, Codec, Producer, RecordParts};

    fn batch(count: usize) -> Batch {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.producer = Producer {
            id: 4,
            epoch: 0,
            base_sequence: 0,
        };
        for _ in 0..count {
            builder
                .push(RecordParts {
                    value: Some(b"value"),
                    ..Default::default()
                })
                .unwrap();
        }
        builder.build().unwrap()
    }

    fn check(change: impl FnOnce(&mut BatchHeader)) -> Result<CheckedBatch, ProduceError> {
        CheckedBatch::check(batch(3).patch(change).into_bytes(), 1000)
    }

    fn is_invalid(result: Result<CheckedBatch, ProduceError>) -> bool {
        matches!(result, Err(ProduceError::InvalidRecord(_)))
    }

    #[test]
    fn accepts_any_base_offset() {
        check(|_| ()).unwrap();
        check(|header| header.base_offset = 77).unwrap();
    }

    #[test]
    fn refuses_what_a_client_may_not_say() {
        let control = |a: Attributes| a.with_control(true);
        assert!(is_invalid(check(|h| h.attributes = control(h.attributes))));
        assert!(is_invalid(check(|h| h.base_sequence = -1)));
        assert!(is_invalid(check(|h| h.last_offset_delta = 3)));
        assert!(is_invalid(check(|h| h.record_count = 2)));
        assert!(is_invalid(check(|h| (
            h.record_count,
            h.last_offset_delta
        ) = (0, 0))));
        assert!(is_invalid(check(|h| {
            h.attributes = h.attributes.with_transactional(true);
            h.producer_id = -1;
        })));
        let stamped = check(|h| h.attributes = h.attributes.with_log_append_time(true));
        assert_eq!(stamped.unwrap_err(), ProduceError::InvalidTimestamp);
        let unknown = check(|h| h.attributes = Attributes(5));
        assert_eq!(unknown.unwrap_err(), ProduceError::UnsupportedCodec);
    }

    #[test]
    fn refuses_none_several_and_half_batches() {
        let bytes = batch(3).into_bytes();
        assert!(is_invalid(CheckedBatch::check(Bytes::new(), 1000)));
        assert!(is_invalid(CheckedBatch::check(
            [&bytes[..], &bytes[..]].concat().into(),
            1000
        )));
        let half = CheckedBatch::check(bytes.slice(..bytes.len() - 1), 1000);
        assert!(matches!(half, Err(ProduceError::Corrupt(_))));
        let more = CheckedBatch::check([&bytes[..], b"x"].concat().into(), 1000);
        assert!(matches!(more, Err(ProduceError::Corrupt(_))));
    }

    #[test]
    fn tells_sizes_magics_and_bad_crcs_apart() {
        let bytes = batch(3).into_bytes();
        let (size, max) = (bytes.len(), bytes.len() - 1);
        let large = CheckedBatch::check(bytes.clone(), max).unwrap_err();
        assert_eq!(large, ProduceError::TooLarge { size, max });
        let mut old = bytes.to_vec();
        old[16] = 1;
        let old = CheckedBatch::check(old.into(), 1000).unwrap_err();
        assert_eq!(old, ProduceError::UnsupportedMagic(1));
        let mut flipped = bytes.to_vec();
        flipped[65] ^= 1;
        let flipped = CheckedBatch::check(flipped.into(), 1000);
        assert!(matches!(flipped, Err(ProduceError::Corrupt(_))));
    }
}
