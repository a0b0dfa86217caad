//! Kafka's primitive types, as its non-flexible messages write them (big endian), and as flexible ones do (KIP-482:
//! lengths as varints, one more than they are, and a section of tagged fields after each struct).

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
    #[error("a length takes more bytes than a number has")]
    LongVarint,
    #[error("a field has a value that means nothing")]
    Meaningless,
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

    pub(super) fn i8(&mut self) -> Result<i8, RecordError> {
        self.array().map(i8::from_be_bytes)
    }

    pub(super) fn uuid(&mut self) -> Result<[u8; 16], RecordError> {
        self.array()
    }

    /// An unsigned number, seven bits a byte, lowest first.
    pub(super) fn varint(&mut self) -> Result<u32, RecordError> {
        let mut value = 0u32;
        for shift in (0..32).step_by(7) {
            let [byte] = self.array()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordError::LongVarint)
    }

    /// `None` is null.
    fn compact_len(&mut self) -> Result<Option<usize>, RecordError> {
        let len = self.varint()?.checked_sub(1);
        len.map(|len| usize::try_from(len).map_err(|_| RecordError::Short))
            .transpose()
    }

    pub(super) fn compact_string(&mut self) -> Result<String, RecordError> {
        self.compact_nullable_string()?.ok_or(RecordError::Null)
    }

    pub(super) fn compact_nullable_string(&mut self) -> Result<Option<String>, RecordError> {
        let Some(len) = self.compact_len()? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| RecordError::NotText)?;
        Ok(Some(text.to_owned()))
    }

    pub(super) fn compact_bytes(&mut self) -> Result<Bytes, RecordError> {
        let len = self.compact_len()?.ok_or(RecordError::Null)?;
        self.take(len).map(Bytes::copy_from_slice)
    }

    /// As [`Reader::count`].
    pub(super) fn compact_count(&mut self) -> Result<usize, RecordError> {
        let count = self.compact_len()?.ok_or(RecordError::Null)?;
        match count > self.rest.len() {
            true => Err(RecordError::Short),
            false => Ok(count),
        }
    }

    /// As [`Reader::compact_count`], where null is allowed.
    pub(super) fn compact_nullable_count(&mut self) -> Result<Option<usize>, RecordError> {
        match self.compact_len()? {
            Some(count) if count > self.rest.len() => Err(RecordError::Short),
            count => Ok(count),
        }
    }

    /// As [`Reader::count`], where null is allowed.
    pub(super) fn nullable_count(&mut self) -> Result<Option<usize>, RecordError> {
        let mut peek = Reader { rest: self.rest };
        match peek.i32()? {
            -1 => {
                *self = peek;
                Ok(None)
            }
            _ => self.count().map(Some),
        }
    }

    /// The tagged fields that end a struct: `known` is given the number and the bytes of each.
    pub(super) fn tags(
        &mut self,
        mut known: impl FnMut(u32, &mut Reader<'a>) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let len = usize::try_from(self.varint()?).map_err(|_| RecordError::Short)?;
            known(tag, &mut Reader::new(self.take(len)?))?;
        }
        Ok(())
    }

    pub(super) fn skip_tags(&mut self) -> Result<(), RecordError> {
        self.tags(|_, _| Ok(()))
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

    pub(super) fn i8(&mut self, value: i8) {
        self.bytes.put_i8(value);
    }

    pub(super) fn uuid(&mut self, id: &[u8; 16]) {
        self.bytes.put_slice(id);
    }

    pub(super) fn varint(&mut self, mut value: u32) {
        while let Some(low) = u8::try_from(value & 0x7f).ok().filter(|_| value >= 0x80) {
            self.bytes.put_u8(low | 0x80);
            value >>= 7;
        }
        self.bytes.put_u8(u8::try_from(value).unwrap_or(0));
    }

    /// A count of elements, or a length in bytes; no request frame reaches 2 GiB.
    pub(super) fn compact_len(&mut self, len: usize) {
        self.varint(u32::try_from(len).map_or(u32::MAX, |len| len.saturating_add(1)));
    }

    pub(super) fn compact_string(&mut self, text: &str) {
        self.compact_len(text.len());
        self.bytes.put_slice(text.as_bytes());
    }

    pub(super) fn compact_nullable_string(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.compact_string(text),
            None => self.varint(0),
        }
    }

    pub(super) fn compact_bytes(&mut self, bytes: &[u8]) {
        self.compact_len(bytes.len());
        self.bytes.put_slice(bytes);
    }

    /// Ends a struct without tagged fields.
    pub(super) fn no_tags(&mut self) {
        self.varint(0);
    }

    /// Ends a struct with one tagged field.
    pub(super) fn one_tag(&mut self, tag: u32, fill: impl FnOnce(&mut Writer)) {
        let mut field = Writer {
            bytes: BytesMut::new(),
        };
        fill(&mut field);
        self.varint(1);
        self.varint(tag);
        self.varint(u32::try_from(field.bytes.len()).unwrap_or(u32::MAX));
        self.bytes.put_slice(&field.bytes);
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.bytes.put_i16(value);
    }

    /// Ends a struct with tagged fields, which rise by tag.
    pub(super) fn many_tags(&mut self, fields: &[(u32, Bytes)]) {
        self.varint(u32::try_from(fields.len()).unwrap_or(u32::MAX));
        for (tag, value) in fields {
            self.varint(*tag);
            self.varint(u32::try_from(value.len()).unwrap_or(u32::MAX));
            self.bytes.put_slice(value);
        }
    }

    pub(super) fn finish(self) -> Bytes {
        self.bytes.freeze()
    }
}
