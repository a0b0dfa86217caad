//! Sparse batches whose records were edited in place.
//!
//! What [`retain`](crate::retain) keeps stays here too: base offset, offset deltas, last offset delta, producer id, epoch
//! and base sequence. The base timestamp is kept as well: it is only what the records' timestamps count from, and with it
//! neighbours that nobody edited are one copy.

use crate::{
    Batch, BatchError, Compression, Header, RecordView, Records,
    encode::{Encoded, Tail, packed},
    header::{BatchHeader, HEADER_LEN},
    sparse::{check_pair, emptied},
};

/// What a record has instead of what it came with; `None` = what it came with.
#[derive(Clone, Default, Debug, PartialEq)]
pub struct RecordEditParts<'a> {
    pub key: Option<Option<&'a [u8]>>,
    pub value: Option<Option<&'a [u8]>>,
    /// All the headers that the record then has.
    pub headers: Option<Vec<Header<'a>>>,
    /// Milliseconds since the Unix epoch. Of no effect in a LogAppendTime batch: its one stamp is every record's.
    pub timestamp: Option<i64>,
}

impl RecordEditParts<'_> {
    pub fn is_empty(&self) -> bool {
        *self == RecordEditParts::default()
    }

    pub(crate) fn tail<'a>(&'a self, record: &RecordView<'a>) -> Tail<'a> {
        match &self.headers {
            Some(headers) => Tail {
                more: headers,
                ..Tail::default()
            },
            None => Tail {
                raw: record.raw_headers(),
                raw_count: record.header_count(),
                more: &[],
            },
        }
    }
}

/// The batch with only the records whose index `keep` accepts, each with what `edit` replaces, compressed as `how` says.
///
/// `records` must be the decoded records of `batch`; `edit` is asked once for each kept record. All kept, nothing edited and
/// the same codec give the same bytes; none kept gives a batch without records that still owns its offset range. The
/// records may take `max_bytes` before compression, else [`BatchError::TooLarge`].
pub fn rewrite<'e>(
    batch: &Batch,
    records: &Records,
    keep: impl Fn(usize) -> bool,
    edit: impl Fn(usize) -> Option<RecordEditParts<'e>>,
    how: impl Into<Compression>,
    max_bytes: usize,
) -> Result<Batch, BatchError> {
    let how = how.into();
    check_pair(batch, records)?;
    let old = *batch.header();
    let append_time = old.attributes.is_log_append_time();
    let mut out = Output::new(records, max_bytes);
    let mut max_timestamp = i64::MIN;
    let mut edited = false;
    for (index, record) in records.iter().enumerate() {
        if !keep(index) {
            out.end_run(index)?;
            continue;
        }
        out.count += 1;
        let parts = edit(index).filter(|parts| !parts.is_empty());
        let timestamp = parts.as_ref().and_then(|parts| parts.timestamp);
        let timestamp = timestamp.filter(|_| !append_time);
        max_timestamp = max_timestamp.max(timestamp.unwrap_or(record.timestamp));
        let Some(parts) = parts else {
            out.extend_run(index);
            continue;
        };
        edited = true;
        out.end_run(index)?;
        // What is stored of an append-time record's own timestamp means nothing, and is kept.
        let timestamp_delta = match timestamp {
            Some(timestamp) => timestamp.wrapping_sub(old.base_timestamp),
            None => records.timestamp_delta(index),
        };
        out.push(&Encoded {
            timestamp_delta,
            offset_delta: record.offset_delta,
            key: parts.key.unwrap_or(record.key),
            value: parts.value.unwrap_or(record.value),
            tail: parts.tail(&record),
        })?;
    }
    out.end_run(records.len())?;
    if out.count == records.len() && !edited && batch.codec()? == how.codec {
        return Ok(batch.clone());
    }
    if out.count == 0 {
        return emptied(old);
    }
    let header = BatchHeader {
        attributes: old.attributes.with_codec(how.codec),
        max_timestamp: if append_time {
            old.max_timestamp
        } else {
            max_timestamp
        },
        record_count: i32::try_from(out.count).map_err(|_| BatchError::TooLarge)?,
        ..old
    };
    Batch::seal(header, packed(how, out.bytes)?)
}

/// A header's worth of zeros, then encoded records: runs of neighbours that stay as they are, edited ones between them.
struct Output<'a> {
    records: &'a Records,
    bytes: Vec<u8>,
    max_len: usize,
    run: Option<usize>,
    count: usize,
}

impl<'a> Output<'a> {
    fn new(records: &'a Records, max_bytes: usize) -> Output<'a> {
        // An edit seldom makes records larger; where it does, the vector grows up to the bound.
        let mut bytes =
            Vec::with_capacity(HEADER_LEN.saturating_add(records.decoded_bytes().min(max_bytes)));
        bytes.resize(HEADER_LEN, 0);
        Output {
            records,
            bytes,
            max_len: HEADER_LEN.saturating_add(max_bytes),
            run: None,
            count: 0,
        }
    }

    fn extend_run(&mut self, index: usize) {
        self.run.get_or_insert(index);
    }

    fn end_run(&mut self, end: usize) -> Result<(), BatchError> {
        let Some(from) = self.run.take() else {
            return Ok(());
        };
        let run = self.records.raw_run(from, end);
        self.check_room(run.len())?;
        self.bytes.extend_from_slice(run);
        Ok(())
    }

    fn push(&mut self, record: &Encoded<'_>) -> Result<(), BatchError> {
        let length = record.length().map_err(|_| BatchError::TooLarge)?;
        // The length itself takes up to five bytes; nobody's bound is that exact.
        self.check_room((length as usize).saturating_add(5))?;
        record
            .put(length, &mut self.bytes)
            .map_err(|_| BatchError::TooLarge)
    }

    fn check_room(&self, more: usize) -> Result<(), BatchError> {
        match self.bytes.len().saturating_add(more) > self.max_len {
            true => Err(BatchError::TooLarge),
            false => Ok(()),
        }
    }
}
