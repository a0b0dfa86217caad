//! Records as bytes; the layout of one is in `records`.

use crate::{
    BatchError, Codec, Compression, HEADER_LEN, Header,
    compression::compress,
    varint::{len_i32, len_i64, put_i32, put_i64},
};

/// A record or one of its parts is longer than its length can say.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct TooLong;

/// A record about to be encoded.
#[derive(Copy, Clone)]
pub(crate) struct Encoded<'a> {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) tail: Tail<'a>,
}

/// The headers of a record: some already encoded, then some more.
#[derive(Copy, Clone, Default)]
pub(crate) struct Tail<'a> {
    pub(crate) raw: &'a [u8],
    pub(crate) raw_count: usize,
    pub(crate) more: &'a [Header<'a>],
}

impl Encoded<'_> {
    /// What the record's length says: its bytes without that length.
    pub(crate) fn length(&self) -> Result<i32, TooLong> {
        let size = 1 // attributes
            + len_i64(self.timestamp_delta)
            + len_i32(self.offset_delta)
            + len_part(self.key)?
            + len_part(self.value)?
            + len_i32(self.tail.count()?)
            + self.tail.len()?;
        i32::try_from(size).map_err(|_| TooLong)
    }

    /// Appends the record; `length` is what [`length`](Self::length) gave.
    pub(crate) fn put(&self, length: i32, out: &mut Vec<u8>) -> Result<(), TooLong> {
        put_i32(out, length);
        out.push(0);
        put_i64(out, self.timestamp_delta);
        put_i32(out, self.offset_delta);
        put_part(out, self.key);
        put_part(out, self.value);
        put_i32(out, self.tail.count()?);
        self.tail.put(out);
        Ok(())
    }
}

impl Tail<'_> {
    fn count(&self) -> Result<i32, TooLong> {
        i32::try_from(self.raw_count + self.more.len()).map_err(|_| TooLong)
    }

    fn len(&self) -> Result<usize, TooLong> {
        let mut len = self.raw.len();
        for (key, value) in self.more {
            len += len_part(Some(key))? + len_part(*value)?;
        }
        Ok(len)
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.raw);
        for (key, value) in self.more {
            put_part(out, Some(key));
            put_part(out, *value);
        }
    }
}

/// A batch's bytes with its records compressed; the header is still zeros.
pub(crate) fn packed(how: Compression, bytes: Vec<u8>) -> Result<Vec<u8>, BatchError> {
    if how.codec == Codec::None {
        return Ok(bytes);
    }
    let packed = compress(how, bytes.get(HEADER_LEN..).unwrap_or_default())?;
    let mut out = vec![0; HEADER_LEN];
    out.extend_from_slice(&packed);
    Ok(out)
}

fn len_part(part: Option<&[u8]>) -> Result<usize, TooLong> {
    let Some(part) = part else {
        return Ok(len_i32(-1));
    };
    let len = i32::try_from(part.len()).map_err(|_| TooLong)?;
    Ok(len_i32(len) + part.len())
}

/// Writes a key or value whose length `len_part` accepted.
fn put_part(out: &mut Vec<u8>, part: Option<&[u8]>) {
    match part {
        None => put_i32(out, -1),
        Some(part) => {
            put_i32(out, part.len() as i32);
            out.extend_from_slice(part);
        }
    }
}
