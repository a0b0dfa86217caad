//! Kafka's primitive types, as its non-flexible messages write them (big endian).

use bytes::{BufMut, Bytes, BytesMut};

/// Why a record could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("the record ends before its fields do")]
    Short,
    #[error("a field claims a negative length")]
    NegativeLength,
    #[error("a field that must be text is not UTF-8")]
    NotText,
    #[error("a field that must be there is null")]
    Null,
}

pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub(super) fn i16(&mut self) -> Result<i16, RecordError> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, RecordError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, RecordError> {
        self.array().map(i64::from_be_bytes)
    }

    pub(super) fn string(&mut self) -> Result<String, RecordError> {
        self.nullable_string()?.ok_or(RecordError::Null)
    }

    pub(super) fn nullable_string(&mut self) -> Result<Option<String>, RecordError> {
        let len = self.i16()?;
        if len == -1 {
            return Ok(None);
        }
        let bytes = self.take(usize::try_from(len).map_err(|_| RecordError::NegativeLength)?)?;
        let text = std::str::from_utf8(bytes).map_err(|_| RecordError::NotText)?;
        Ok(Some(text.to_owned()))
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes, RecordError> {
        let len = usize::try_from(self.i32()?).map_err(|_| RecordError::NegativeLength)?;
        self.take(len).map(Bytes::copy_from_slice)
    }

    /// A count of elements, each of which takes at least one byte.
    pub(super) fn count(&mut self) -> Result<usize, RecordError> {
        let count = usize::try_from(self.i32()?).map_err(|_| RecordError::NegativeLength)?;
        if count > self.rest.len() {
            Err(RecordError::Short)
        } else {
            Ok(count)
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(RecordError::Short)?;
        self.rest = rest;
        Ok(*head)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(RecordError::Short)?;
        self.rest = rest;
        Ok(head)
    }
}

pub(super) struct Writer {
    bytes: BytesMut,
}

impl Writer {
    pub(super) fn new(version: i16) -> Writer {
        let mut bytes = BytesMut::with_capacity(64);
        bytes.put_i16(version);
        Writer { bytes }
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.bytes.put_i32(value);
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.bytes.put_i64(value);
    }

    /// Callers have bounded the text to what a Kafka string holds; a longer one would lose its end
    /// rather than break the record.
    pub(super) fn string(&mut self, text: &str) {
        let fits = (0..=text.len().min(i16::MAX as usize))
            .rev()
            .find_map(|end| text.get(..end));
        let text = fits.unwrap_or_default();
        self.bytes.put_i16(i16::try_from(text.len()).unwrap_or(0));
        self.bytes.put_slice(text.as_bytes());
    }

    pub(super) fn nullable_string(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.string(text),
            None => self.bytes.put_i16(-1),
        }
    }

    pub(super) fn bytes(&mut self, bytes: &Bytes) {
        // No request frame reaches 2 GiB.
        self.bytes.put_i32(i32::try_from(bytes.len()).unwrap_or(0));
        self.bytes.put_slice(bytes);
    }

    pub(super) fn finish(self) -> Bytes {
        self.bytes.freeze()
    }
}
