//! Builds a batch record by record.

use thiserror::Error;

use crate::{
    Attributes, Batch, BatchError, BatchHeader, Codec, Compression, HEADER_LEN, NO_PRODUCER_ID,
    NO_SEQUENCE, NO_TIMESTAMP, Offset, RecordEditParts, RecordView,
    encode::{Encoded, Tail, TooLong, packed},
};

/// Why a record or batch cannot be built.
#[derive(Clone, Eq, PartialEq, Debug, Error)]
pub enum BuildError {
    #[error("offset delta {delta} does not come after {previous}")]
    OffsetDelta { delta: i32, previous: i32 },
    #[error("record or batch is larger than its length can say")]
    TooLarge,
    #[error(transparent)]
    Batch(#[from] BatchError),
}

/// A header of a record: key and value.
pub type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// The producer fields of a batch; the default is a batch without idempotence.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Producer {
    pub id: i64,
    pub epoch: i16,
    pub base_sequence: i32,
}

impl Default for Producer {
    fn default() -> Self {
        Producer {
            id: NO_PRODUCER_ID,
            epoch: -1,
            base_sequence: NO_SEQUENCE,
        }
    }
}

/// A record to be encoded.
#[derive(Copy, Clone, Default, Debug)]
pub struct RecordParts<'a> {
    /// `None` is the delta after the last one, 0 for the first record.
    pub offset_delta: Option<i32>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [Header<'a>],
}

/// Collects records and makes a batch of them. Set the public fields any time before `build`.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    pub base_offset: Offset,
    pub leader_epoch: i32,
    pub producer: Producer,
    pub transactional: bool,
    pub control: bool,
    /// Makes the batch LogAppendTime with this time for all records, in milliseconds.
    pub append_time_ms: Option<i64>,
    /// Ends the offset range after the last record, for a batch with a hole at its end.
    pub last_offset_delta: Option<i32>,
    compression: Compression,
    /// A header's worth of zeros, then the encoded records.
    bytes: Vec<u8>,
    count: i32,
    last_delta: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    pub fn new(compression: impl Into<Compression>) -> Self {
        BatchBuilder {
            base_offset: 0,
            leader_epoch: -1,
            producer: Producer::default(),
            transactional: false,
            control: false,
            append_time_ms: None,
            last_offset_delta: None,
            compression: compression.into(),
            bytes: vec![0; HEADER_LEN],
            count: 0,
            last_delta: -1,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
        }
    }

    /// Adds a record and gives its offset delta, which must be greater than the one before.
    pub fn push(&mut self, record: RecordParts<'_>) -> Result<i32, BuildError> {
        let parts = Parts {
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            tail: Tail {
                more: record.headers,
                ..Tail::default()
            },
        };
        self.push_encoded(record.offset_delta, parts)
    }

    /// Adds a copy of a record of another batch; its headers are copied as they are encoded. With
    /// no `offset_delta` it gets the one after the last.
    pub fn push_raw_from(
        &mut self,
        record: &RecordView<'_>,
        offset_delta: Option<i32>,
    ) -> Result<i32, BuildError> {
        self.push_raw_with_headers(record, offset_delta, &[])
    }

    /// As `push_raw_from`, with more headers after the record's own.
    pub fn push_raw_with_headers(
        &mut self,
        record: &RecordView<'_>,
        offset_delta: Option<i32>,
        more: &[Header<'_>],
    ) -> Result<i32, BuildError> {
        let parts = Parts {
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            tail: Tail {
                raw: record.raw_headers(),
                raw_count: record.header_count(),
                more,
            },
        };
        self.push_encoded(offset_delta, parts)
    }

    /// As `push_raw_from`, with what `edit` replaces.
    pub fn push_edited(
        &mut self,
        record: &RecordView<'_>,
        edit: &RecordEditParts<'_>,
        offset_delta: Option<i32>,
    ) -> Result<i32, BuildError> {
        let parts = Parts {
            timestamp: edit.timestamp.unwrap_or(record.timestamp),
            key: edit.key.unwrap_or(record.key),
            value: edit.value.unwrap_or(record.value),
            tail: edit.tail(record),
        };
        self.push_encoded(offset_delta, parts)
    }

    /// Records so far.
    pub fn len(&self) -> usize {
        usize::try_from(self.count).unwrap_or(0)
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch so far, before compression.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// Makes the batch. Without a record it is one that only owns its offset range.
    pub fn build(self) -> Result<Batch, BuildError> {
        let last_offset_delta = self.last_offset_delta.unwrap_or(self.last_delta.max(0));
        if last_offset_delta < self.last_delta {
            let (delta, previous) = (last_offset_delta, self.last_delta);
            return Err(BuildError::OffsetDelta { delta, previous });
        }
        let compression = if self.count == 0 {
            Codec::None.into()
        } else {
            self.compression
        };
        let attributes = Attributes::default()
            .with_codec(compression.codec)
            .with_log_append_time(self.append_time_ms.is_some())
            .with_transactional(self.transactional)
            .with_control(self.control);
        let header = BatchHeader {
            base_offset: self.base_offset,
            batch_length: 0,
            leader_epoch: self.leader_epoch,
            magic: 2,
            crc: 0,
            attributes,
            last_offset_delta,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.append_time_ms.unwrap_or(self.max_timestamp),
            producer_id: self.producer.id,
            producer_epoch: self.producer.epoch,
            base_sequence: self.producer.base_sequence,
            record_count: self.count,
        };
        Ok(Batch::seal(header, packed(compression, self.bytes)?)?)
    }

    fn push_encoded(
        &mut self,
        offset_delta: Option<i32>,
        parts: Parts<'_>,
    ) -> Result<i32, BuildError> {
        let previous = self.last_delta;
        let next = previous.checked_add(1).ok_or(BuildError::TooLarge)?;
        let delta = offset_delta.unwrap_or(next);
        if delta < next {
            return Err(BuildError::OffsetDelta { delta, previous });
        }
        let timestamp = parts.timestamp;
        let base_timestamp = if self.count == 0 {
            timestamp
        } else {
            self.base_timestamp
        };
        let record = Encoded {
            timestamp_delta: timestamp.wrapping_sub(base_timestamp),
            offset_delta: delta,
            key: parts.key,
            value: parts.value,
            tail: parts.tail,
        };
        let length = record.length()?;
        i32::try_from(self.bytes.len() + length as usize + 10).map_err(|_| BuildError::TooLarge)?;
        record.put(length, &mut self.bytes)?;

        self.max_timestamp = if self.count == 0 {
            timestamp
        } else {
            self.max_timestamp.max(timestamp)
        };
        self.base_timestamp = base_timestamp;
        self.last_delta = delta;
        self.count += 1;
        Ok(delta)
    }
}

/// A record to be encoded, wherever its parts came from.
struct Parts<'a> {
    timestamp: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    tail: Tail<'a>,
}

impl From<TooLong> for BuildError {
    fn from(_: TooLong) -> BuildError {
        BuildError::TooLarge
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DecodeLimits;

    const LIMITS: DecodeLimits = DecodeLimits {
        max_bytes: 1000,
        max_records: 10,
    };

    #[test]
    fn fields_reach_the_header() {
        let mut builder = BatchBuilder::new(Codec::Zstd);
        builder.base_offset = 10;
        builder.leader_epoch = 3;
        builder.producer = Producer {
            id: 1,
            epoch: 2,
            base_sequence: 3,
        };
        builder.transactional = true;
        builder.control = true;
        builder.last_offset_delta = Some(8);
        builder
            .push(RecordParts {
                timestamp: 7,
                ..Default::default()
            })
            .unwrap();
        let batch = Batch::check(builder.build().unwrap().into_bytes()).unwrap();
        let header = batch.header();
        assert_eq!(
            (
                header.base_offset,
                header.last_offset(),
                header.leader_epoch
            ),
            (10, 18, 3)
        );
        assert_eq!(
            (
                header.producer_id,
                header.producer_epoch,
                header.base_sequence
            ),
            (1, 2, 3)
        );
        assert_eq!(header.attributes, Attributes(0x34));
        assert_eq!((header.base_timestamp, header.max_timestamp), (7, 7));
    }

    #[test]
    fn deltas_must_rise_and_fit() {
        let at = |offset_delta| RecordParts {
            offset_delta,
            ..Default::default()
        };
        let mut builder = BatchBuilder::new(Codec::None);
        assert_eq!(builder.push(at(None)), Ok(0));
        assert_eq!(builder.push(at(Some(5))), Ok(5));
        assert_eq!(builder.push(at(None)), Ok(6));
        let refused = BuildError::OffsetDelta {
            delta: 6,
            previous: 6,
        };
        assert_eq!(builder.push(at(Some(6))), Err(refused));
        assert_eq!(builder.push(at(Some(i32::MAX))), Ok(i32::MAX));
        assert_eq!(builder.push(at(None)), Err(BuildError::TooLarge));
        assert_eq!(builder.len(), 4);
        builder.last_offset_delta = Some(6);
        assert!(builder.build().is_err());
    }

    #[test]
    fn without_records_it_owns_its_range_only() {
        let mut builder = BatchBuilder::new(Codec::Gzip);
        builder.last_offset_delta = Some(4);
        let batch = Batch::check(builder.build().unwrap().into_bytes()).unwrap();
        assert_eq!(
            (batch.size(), batch.last_offset(), batch.record_count()),
            (HEADER_LEN, 4, 0)
        );
        assert!(batch.records(LIMITS).unwrap().is_empty());
    }

    #[test]
    fn more_headers_come_after_the_records_own() {
        let own: [Header<'_>; 2] = [(b"a", Some(b"1")), (b"b", None)];
        let mut builder = BatchBuilder::new(Codec::None);
        builder
            .push(RecordParts {
                headers: &own,
                ..Default::default()
            })
            .unwrap();
        let records = builder.build().unwrap().records(LIMITS).unwrap();
        let mut copy = BatchBuilder::new(Codec::None);
        let record = records.get(0).unwrap();
        copy.push_raw_with_headers(&record, None, &[(b"c", Some(b"3"))])
            .unwrap();
        let records = copy.build().unwrap().records(LIMITS).unwrap();
        let headers: Vec<_> = records.get(0).unwrap().headers().collect();
        assert_eq!(
            headers,
            [own[0], own[1], (b"c".as_slice(), Some(b"3".as_slice()))]
        );
    }
}
