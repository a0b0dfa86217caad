//! Batches with holes, as Kafka's log cleaner leaves them.
//!
//! Whatever is dropped, a batch keeps its base offset, the survivors' offset deltas, its last
//! offset delta, producer id, epoch and base sequence: a client computes its next sequence from
//! the last offset delta, not from the count.

use crate::{
    Batch, BatchError, Codec, Compression, Records,
    compression::compress,
    header::{BatchHeader, HEADER_LEN},
};

/// The batch with only the records whose index `keep` accepts, in the same codec.
///
/// All kept gives the same bytes; none kept gives a batch without records that still owns its
/// offset range. `records` must be the decoded records of `batch`.
pub fn retain(
    batch: &Batch,
    records: &Records,
    keep: impl Fn(usize) -> bool,
) -> Result<Batch, BatchError> {
    check_pair(batch, records)?;
    let kept = Kept::select(records, keep);
    if kept.count == records.len() {
        return Ok(batch.clone());
    }
    reassemble(batch, records, &kept, batch.codec()?.into())
}

/// The same records in another codec.
pub fn recode(
    batch: &Batch,
    records: &Records,
    how: impl Into<Compression>,
) -> Result<Batch, BatchError> {
    let how = how.into();
    check_pair(batch, records)?;
    if batch.codec()? == how.codec {
        return Ok(batch.clone());
    }
    reassemble(batch, records, &Kept::select(records, |_| true), how)
}

/// Ends the offset range at the last record that is still there, for sending: clients take the
/// end of a batch for their next position, and some never pass a hole at its end. The given batch
/// is not touched. The delta must lie between 0 and the batch's own; else nothing is cut.
pub fn cut(batch: &Batch, last_surviving_delta: i32) -> Batch {
    let range = 0..batch.header().last_offset_delta;
    if !range.contains(&last_surviving_delta) {
        return batch.clone();
    }
    batch
        .clone()
        .patch(|header| header.last_offset_delta = last_surviving_delta)
}

/// Offset delta of the last record that `keep` accepts, -1 when there is none.
pub fn last_kept_delta(records: &Records, keep: impl Fn(usize) -> bool) -> i32 {
    let last = (0..records.len()).rev().find(|index| keep(*index));
    last.and_then(|index| records.get(index))
        .map_or(-1, |record| record.offset_delta)
}

/// Survivors as runs of neighbours, so that each run is one copy.
struct Kept {
    runs: Vec<(usize, usize)>,
    count: usize,
    bytes: usize,
    max_timestamp: i64,
}

impl Kept {
    fn select(records: &Records, keep: impl Fn(usize) -> bool) -> Kept {
        let mut kept = Kept {
            runs: Vec::new(),
            count: 0,
            bytes: 0,
            max_timestamp: i64::MIN,
        };
        let mut from = None;
        for (index, timestamp) in records.timestamps().enumerate() {
            if keep(index) {
                kept.max_timestamp = kept.max_timestamp.max(timestamp);
                kept.count += 1;
                from.get_or_insert(index);
            } else if let Some(from) = from.take() {
                kept.push(records, from, index);
            }
        }
        if let Some(from) = from {
            kept.push(records, from, records.len());
        }
        kept
    }

    fn push(&mut self, records: &Records, from: usize, to: usize) {
        self.runs.push((from, to));
        self.bytes += records.raw_run(from, to).len();
    }
}

fn reassemble(
    batch: &Batch,
    records: &Records,
    kept: &Kept,
    how: Compression,
) -> Result<Batch, BatchError> {
    let old = *batch.header();
    if kept.count == 0 {
        return emptied(old);
    }
    let mut bytes = Vec::with_capacity(HEADER_LEN + kept.bytes);
    bytes.resize(HEADER_LEN, 0);
    if how.codec == Codec::None {
        copy_runs(records, kept, |run| bytes.extend_from_slice(run));
    } else {
        let mut survivors = Vec::with_capacity(kept.bytes);
        copy_runs(records, kept, |run| survivors.extend_from_slice(run));
        bytes.extend_from_slice(&compress(how, &survivors)?);
    }
    let max_timestamp = if old.attributes.is_log_append_time() {
        old.max_timestamp
    } else {
        kept.max_timestamp
    };
    let header = BatchHeader {
        attributes: old.attributes.with_codec(how.codec),
        max_timestamp,
        record_count: i32::try_from(kept.count).map_err(|_| BatchError::TooLarge)?,
        ..old
    };
    Batch::seal(header, bytes)
}

/// A batch without records that still owns its offset range.
pub(crate) fn emptied(old: BatchHeader) -> Result<Batch, BatchError> {
    // Nothing is left to compress; Kafka's cleaner clears the codec too.
    let header = BatchHeader {
        attributes: old.attributes.with_codec(Codec::None),
        record_count: 0,
        ..old
    };
    Batch::seal(header, vec![0; HEADER_LEN])
}

fn copy_runs<'a>(records: &'a Records, kept: &Kept, mut copy: impl FnMut(&'a [u8])) {
    for &(from, to) in &kept.runs {
        copy(records.raw_run(from, to));
    }
}

pub(crate) fn check_pair(batch: &Batch, records: &Records) -> Result<(), BatchError> {
    let (claimed, found) = (batch.record_count(), records.len());
    if claimed != found {
        return Err(BatchError::RecordCount { claimed, found });
    }
    Ok(())
}
