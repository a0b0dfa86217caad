//! Records to run a plugin on.

use tidegate_record::{BatchBuilder, BuildError, Codec, DecodeLimits, RecordParts, Records};

/// The timestamp of a batch's first record where none is given, in milliseconds since the Unix epoch: 2023-11-14. Those after
/// it are a millisecond apart, so that a run can be repeated to the letter.
pub const FIRST_TIMESTAMP_MS: i64 = 1_700_000_000_000;

/// One record. Made with [`value`] or [`null`]; what is not said is null.
///
/// ```
/// let record = tidegate_test::value(r#"{"user": 7}"#).key("7").header("trace", "abc");
/// assert_eq!(record.headers.len(), 1);
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Record {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Headers,
    /// Milliseconds since the Unix epoch; `None` = [`FIRST_TIMESTAMP_MS`] and its index.
    pub timestamp: Option<i64>,
}

/// Names and values, in order; a name may come twice, and a value may be null.
pub type Headers = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// A record with this value and no key.
pub fn value(value: impl AsRef<[u8]>) -> Record {
    Record {
        value: Some(value.as_ref().to_vec()),
        ..Record::default()
    }
}

/// A record with neither key nor value.
pub fn null() -> Record {
    Record::default()
}

impl Record {
    pub fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.key = Some(key.as_ref().to_vec());
        self
    }

    /// One more header, after those it has.
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref().to_vec();
        self.headers.push((name.as_ref().to_vec(), Some(value)));
        self
    }

    /// One more header, with a null value.
    pub fn null_header(mut self, name: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.as_ref().to_vec(), None));
        self
    }

    /// Milliseconds since the Unix epoch.
    pub fn timestamp(mut self, unix_ms: i64) -> Self {
        self.timestamp = Some(unix_ms);
        self
    }

    /// Bytes of key, value and headers together.
    pub fn bytes_len(&self) -> usize {
        let len = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + len(value));
        len(&self.key) + len(&self.value) + headers.sum::<usize>()
    }
}

/// The records as one batch that a client might have sent; `first` is the index of the first of them in the client's batch.
pub(crate) fn encode(records: &[Record], first: usize) -> Result<Records, BuildError> {
    let mut builder = BatchBuilder::new(Codec::None);
    for (index, record) in (first..).zip(records) {
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_deref()))
            .collect();
        let later = i64::try_from(index).unwrap_or(0);
        builder.push(RecordParts {
            offset_delta: Some(i32::try_from(index).map_err(|_| BuildError::TooLarge)?),
            timestamp: record.timestamp.unwrap_or(FIRST_TIMESTAMP_MS + later),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        })?;
    }
    // The records are the caller's own: what was encoded may be decoded.
    let limits = DecodeLimits {
        max_bytes: usize::MAX,
        max_records: usize::MAX,
    };
    Ok(builder.build()?.records(limits)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_stay_different() {
        let records = encode(&[null(), value("").key("")], 0).unwrap();
        let first = records.get(0).unwrap();
        assert_eq!((first.key, first.value), (None, None));
        let second = records.get(1).unwrap();
        assert_eq!((second.key, second.value), (Some(&b""[..]), Some(&b""[..])));
    }

    #[test]
    fn a_record_alone_keeps_its_place() {
        let records = encode(&[value("c")], 2).unwrap();
        let record = records.get(0).unwrap();
        assert_eq!(record.offset_delta, 2);
        assert_eq!(record.timestamp, FIRST_TIMESTAMP_MS + 2);
    }
}
