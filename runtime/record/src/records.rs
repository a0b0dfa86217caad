//! The records of one batch: decompressed, validated, one compact row for each.
//!
//! ```text
//! length varint | attributes i8 | timestamp delta varlong | offset delta varint
//! key length varint (-1 null) | key | value length varint (-1 null) | value
//! header count varint | (key length varint | key | value length varint (-1 null) | value)*
//! ```

use bytes::Bytes;

use crate::{
    Batch, BatchError, Codec,
    compression::decompress,
    varint::{take_i32, take_i64},
};

/// Bytes of the smallest record: its length, and six fields of one byte.
const LEAST_RECORD: usize = 7;
/// A header's key length and value length.
const LEAST_HEADER: usize = 2;
/// Length of a null key or value.
const NULL: u32 = u32::MAX;

/// How much of a batch's records may be decoded.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct DecodeLimits {
    /// Decompressed bytes. Positions are 32 bits wide, so 4 GiB is the most whatever is said here.
    pub max_bytes: usize,
    /// Each record costs a row of 40 bytes beside its own, and can itself be as small as 7.
    pub max_records: usize,
}

/// Decompressed, validated records of one batch. Shares the batch's bytes when they are not
/// compressed.
#[derive(Clone, Debug)]
pub struct Records {
    data: Bytes,
    rows: Vec<Row>,
    base_timestamp: i64,
    /// LogAppendTime gives every record of the batch this timestamp.
    append_time: Option<i64>,
}

/// Where one record's parts lie in the data. A record ends where the next one starts.
#[derive(Copy, Clone, Debug)]
struct Row {
    timestamp_delta: i64,
    offset_delta: i32,
    start: u32,
    key: u32,
    key_len: u32,
    value: u32,
    value_len: u32,
    headers: u32,
    header_count: u32,
}

impl Records {
    pub(crate) fn decode(batch: &Batch, limits: DecodeLimits) -> Result<Records, BatchError> {
        let header = batch.header();
        let count = batch.record_count();
        if count > limits.max_records {
            return Err(BatchError::TooManyRecords {
                count,
                max: limits.max_records,
            });
        }
        let limit = limits.max_bytes.min(NULL as usize - 1);
        let data = match batch.codec()? {
            _ if count == 0 && batch.record_bytes().is_empty() => Bytes::new(),
            Codec::None if batch.record_bytes().len() > limit => return Err(BatchError::TooLarge),
            Codec::None => batch.record_bytes(),
            codec => decompress(codec, &batch.record_bytes(), limit)?.into(),
        };
        let rows = decode_rows(&data, count, header.last_offset_delta)?;
        let append_time = header
            .attributes
            .is_log_append_time()
            .then_some(header.max_timestamp);
        Ok(Records {
            data,
            rows,
            base_timestamp: header.base_timestamp,
            append_time,
        })
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    #[inline]
    pub fn get(&self, index: usize) -> Option<RecordView<'_>> {
        self.rows.get(index).map(|row| self.view(row))
    }

    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RecordView<'_>> + DoubleEndedIterator {
        self.rows.iter().map(|row| self.view(row))
    }

    /// The encoded record with its length; empty when there is no such record.
    pub fn raw(&self, index: usize) -> &[u8] {
        self.raw_run(index, index.saturating_add(1))
    }

    /// The encoded records from `from` up to `to`, exclusive; empty when there are none.
    pub(crate) fn raw_run(&self, from: usize, to: usize) -> &[u8] {
        let Some(first) = self.rows.get(from) else {
            return &[];
        };
        let end = self
            .rows
            .get(to)
            .map_or(self.data.len(), |row| row.start as usize);
        self.data.get(first.start as usize..end).unwrap_or_default()
    }

    /// Absolute timestamps in record order, in milliseconds since the Unix epoch.
    pub fn timestamps(&self) -> impl Iterator<Item = i64> {
        self.rows.iter().map(|row| self.timestamp(row))
    }

    /// A record's timestamp as it is encoded, whatever the batch says of append time.
    pub(crate) fn timestamp_delta(&self, index: usize) -> i64 {
        self.rows.get(index).map_or(0, |row| row.timestamp_delta)
    }

    /// All encoded records, decompressed.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// Decompressed size of the records.
    #[inline]
    pub fn decoded_bytes(&self) -> usize {
        self.data.len()
    }

    #[inline]
    fn view(&self, row: &Row) -> RecordView<'_> {
        RecordView {
            offset_delta: row.offset_delta,
            timestamp: self.timestamp(row),
            key: self.part(row.key, row.key_len),
            value: self.part(row.value, row.value_len),
            headers: HeaderIter {
                rest: self.data.get(row.headers as usize..).unwrap_or_default(),
                left: row.header_count,
            },
        }
    }

    #[inline]
    fn timestamp(&self, row: &Row) -> i64 {
        let timestamp = self.base_timestamp.wrapping_add(row.timestamp_delta);
        self.append_time.unwrap_or(timestamp)
    }

    #[inline]
    fn part(&self, start: u32, len: u32) -> Option<&[u8]> {
        if len == NULL {
            return None;
        }
        self.data.get(start as usize..)?.get(..len as usize)
    }
}

/// Offset delta of the last record, -1 when there is none.
pub fn last_surviving_delta(records: &Records) -> i32 {
    records.rows.last().map_or(-1, |row| row.offset_delta)
}

/// One record, borrowed from its batch.
#[derive(Copy, Clone, Debug)]
pub struct RecordView<'a> {
    /// The record's offset is the batch's base offset and this.
    pub offset_delta: i32,
    /// Milliseconds since the Unix epoch, already absolute; -1 when the producer gave none.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    headers: HeaderIter<'a>,
}

impl<'a> RecordView<'a> {
    /// Keys and values of the headers, in order; keys may repeat and may be no UTF-8.
    #[inline]
    pub fn headers(&self) -> HeaderIter<'a> {
        self.headers
    }

    #[inline]
    pub fn header_count(&self) -> usize {
        self.headers.left as usize
    }

    /// The headers as they are encoded, without their count.
    pub(crate) fn raw_headers(&self) -> &'a [u8] {
        let mut rest = self.headers;
        while rest.next().is_some() {}
        let len = self.headers.rest.len() - rest.rest.len();
        self.headers.rest.get(..len).unwrap_or_default()
    }
}

/// Iterates the headers of one record.
#[derive(Copy, Clone, Debug)]
pub struct HeaderIter<'a> {
    rest: &'a [u8],
    left: u32,
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        take_header(&mut self.rest)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for HeaderIter<'_> {}

// The limits' documentation counts on it, and so does the speed of decoding.
const _: () = assert!(size_of::<Row>() == 40);

fn decode_rows(data: &[u8], count: usize, last_delta: i32) -> Result<Vec<Row>, BatchError> {
    let fits = data.len() / LEAST_RECORD;
    if count > fits {
        return Err(BatchError::RecordCount {
            claimed: count,
            found: fits,
        });
    }
    let mut rows = Vec::with_capacity(count);
    let mut rest = data;
    let mut previous = -1;
    for index in 0..count {
        let row = take_record(&mut rest, data.len())
            .map_err(|reason| BatchError::Record { index, reason })?;
        if row.offset_delta <= previous {
            return Err(BatchError::Record {
                index,
                reason: "offset delta does not rise",
            });
        }
        previous = row.offset_delta;
        rows.push(row);
    }
    if !rest.is_empty() {
        return Err(BatchError::RecordCount {
            claimed: count,
            found: count + 1,
        });
    }
    if previous > last_delta {
        let index = count.saturating_sub(1);
        return Err(BatchError::Record {
            index,
            reason: "offset delta beyond the batch's last",
        });
    }
    Ok(rows)
}

/// Takes one record off the front of `rest`, the tail of `total` bytes of data.
#[inline]
fn take_record(rest: &mut &[u8], total: usize) -> Result<Row, &'static str> {
    let start = (total - rest.len()) as u32;
    let length = take_i32(rest).ok_or("bad length")?;
    let (mut body, after) = usize::try_from(length)
        .ok()
        .and_then(|length| rest.split_at_checked(length))
        .ok_or("longer than the batch")?;
    // Positions count from the start of the data; the body's end is the one fixed point.
    let end = total - after.len();
    // The attributes of a record have no meaning yet.
    body = body.get(1..).ok_or("no attributes")?;
    let timestamp_delta = take_i64(&mut body).ok_or("bad timestamp delta")?;
    let offset_delta = take_i32(&mut body).ok_or("bad offset delta")?;
    let (key, key_len) = take_part(&mut body, end).ok_or("bad key length")?;
    let (value, value_len) = take_part(&mut body, end).ok_or("bad value length")?;
    let header_count = take_i32(&mut body).ok_or("bad header count")?;
    let headers = (end - body.len()) as u32;
    let header_count = skip_headers(&mut body, header_count)?;
    if !body.is_empty() {
        return Err("bytes left over");
    }
    *rest = after;
    Ok(Row {
        timestamp_delta,
        offset_delta,
        start,
        key,
        key_len,
        value,
        value_len,
        headers,
        header_count,
    })
}

/// Takes a key or value; gives its position and length.
#[inline]
fn take_part(body: &mut &[u8], end: usize) -> Option<(u32, u32)> {
    let len = take_i32(body)?;
    let at = (end - body.len()) as u32;
    if len < 0 {
        return Some((at, NULL));
    }
    *body = body.get(len as usize..)?;
    Some((at, len as u32))
}

#[inline]
fn skip_headers(body: &mut &[u8], count: i32) -> Result<u32, &'static str> {
    let count = u32::try_from(count).map_err(|_| "negative header count")?;
    if count as usize > body.len() / LEAST_HEADER {
        return Err("more headers than bytes");
    }
    for _ in 0..count {
        take_header(body).ok_or("bad header")?;
    }
    Ok(count)
}

fn take_header<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let key_len = usize::try_from(take_i32(rest)?).ok()?;
    let (key, after) = rest.split_at_checked(key_len)?;
    *rest = after;
    let Ok(value_len) = usize::try_from(take_i32(rest)?) else {
        return Some((key, None));
    };
    let (value, after) = rest.split_at_checked(value_len)?;
    *rest = after;
    Some((key, Some(value)))
}
