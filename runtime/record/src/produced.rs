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
            BatchError::Compression(CompressionError::TooLarge { limit }) => {
                ProduceError::TooLarge {
                    size: limit.saturating_add(1),
                    max: limit,
                }
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
