//! Borrowed views of a batch: by record for comfort, by column for speed.

use crate::bindings::types;

/// The key of a record; `None` if it is null.
pub type Key<'a> = Option<&'a [u8]>;

/// The value of a record; `None` is a tombstone.
pub type Value<'a> = Option<&'a [u8]>;

/// Milliseconds since the Unix epoch.
pub type Timestamp = i64;

/// Some records of one partition, in order. Holds only the columns that the plugin asked for.
pub struct Batch {
    raw: types::Batch,
}

impl Batch {
    pub(crate) fn new(raw: types::Batch) -> Self {
        Self { raw }
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.raw.count as usize
    }

    pub fn is_empty(&self) -> bool {
        self.raw.count == 0
    }

    pub fn records(&self) -> Records<'_> {
        Records {
            batch: self,
            next: 0,
        }
    }

    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn record(&self, index: usize) -> Record<'_> {
        assert!(
            index < self.len(),
            "record {index} of a batch of {}",
            self.len()
        );
        Record { batch: self, index }
    }

    /// The topic that the records were produced to, or are fetched from.
    pub fn topic(&self) -> &str {
        &self.raw.context.topic
    }

    pub fn partition(&self) -> u32 {
        self.raw.context.partition
    }

    /// The name that this plugin carries in the chain.
    pub fn alias(&self) -> &str {
        &self.raw.context.alias
    }

    /// When the broker took the batch, in milliseconds since the Unix epoch.
    pub fn append_time_ms(&self) -> i64 {
        self.raw.context.append_time
    }

    /// The offset of the record whose offset delta is 0, where it is known: when consuming.
    pub fn base_offset(&self) -> Option<i64> {
        self.raw.context.base_offset
    }

    /// The keys, if [`Columns::KEY`](crate::Columns::KEY) was asked for.
    pub fn keys(&self) -> Option<Column<'_>> {
        self.raw.keys.as_ref().map(Column::new)
    }

    /// The values, if [`Columns::VALUE`](crate::Columns::VALUE) was asked for.
    pub fn values(&self) -> Option<Column<'_>> {
        self.raw.values.as_ref().map(Column::new)
    }

    /// Milliseconds since the Unix epoch, one for each record, if
    /// [`Columns::TIMESTAMP`](crate::Columns::TIMESTAMP) was asked for; else empty.
    pub fn timestamps_ms(&self) -> &[i64] {
        &self.raw.timestamps
    }

    /// One for each record, strictly rising.
    pub fn offset_deltas(&self) -> &[u32] {
        &self.raw.offset_deltas
    }

    fn headers_of(&self, index: usize) -> Headers<'_> {
        match &self.raw.headers {
            Some(raw) => Headers {
                keys: Column::new(&raw.keys),
                values: Column::new(&raw.values),
                next: raw.offsets[index] as usize,
                end: raw.offsets[index + 1] as usize,
            },
            None => Headers {
                keys: Column::EMPTY,
                values: Column::EMPTY,
                next: 0,
                end: 0,
            },
        }
    }
}

/// Optional byte strings that lie one behind the other in a single buffer.
#[derive(Clone, Copy)]
pub struct Column<'a> {
    offsets: &'a [u32],
    data: &'a [u8],
    nulls: &'a [u8],
}

impl<'a> Column<'a> {
    const EMPTY: Column<'static> = Column {
        offsets: &[0],
        data: &[],
        nulls: &[],
    };

    pub(crate) fn new(raw: &'a types::BytesColumn) -> Self {
        Self {
            offsets: &raw.offsets,
            data: &raw.data,
            nulls: &raw.nulls,
        }
    }

    /// The bytes of record `index`; `None` if they are null, which is not the same as empty.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        if self.is_null(index) {
            return None;
        }
        Some(&self.data[self.offsets[index] as usize..self.offsets[index + 1] as usize])
    }

    #[inline]
    pub fn is_null(&self, index: usize) -> bool {
        self.nulls
            .get(index / 8)
            .is_some_and(|bits| bits & (1 << (index % 8)) != 0)
    }

    /// One more offset than there are records: record `i` is `data()[offsets()[i]..offsets()[i + 1]]`.
    pub fn offsets(&self) -> &'a [u32] {
        self.offsets
    }

    /// The bytes of all records: one search over them is faster than one for each.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }
}

/// One record. What the plugin's [`Columns`](crate::Columns) do not name reads as absent.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    batch: &'a Batch,
    index: usize,
}

impl<'a> Record<'a> {
    /// Its place in the batch at hand.
    pub fn index(&self) -> usize {
        self.index
    }

    pub fn batch(&self) -> &'a Batch {
        self.batch
    }

    #[inline]
    pub fn key(&self) -> Option<&'a [u8]> {
        self.batch.keys().and_then(|keys| keys.get(self.index))
    }

    /// `None` is a tombstone.
    #[inline]
    pub fn value(&self) -> Option<&'a [u8]> {
        self.batch
            .values()
            .and_then(|values| values.get(self.index))
    }

    /// In the order in which they were produced, with duplicates.
    pub fn headers(&self) -> Headers<'a> {
        self.batch.headers_of(self.index)
    }

    /// The last header of this name, as Kafka's `lastHeader` has it. `None` also if its value is
    /// null.
    pub fn header(&self, name: impl AsRef<[u8]>) -> Option<&'a [u8]> {
        self.headers().last_value(name)
    }

    /// Milliseconds since the Unix epoch.
    pub fn timestamp_ms(&self) -> Option<i64> {
        self.batch.raw.timestamps.get(self.index).copied()
    }

    /// Relative to the batch's base offset.
    pub fn offset_delta(&self) -> u32 {
        self.batch.raw.offset_deltas[self.index]
    }

    /// Where the record is stored, where that is known: when consuming.
    pub fn offset(&self) -> Option<i64> {
        self.batch
            .base_offset()
            .map(|base| base + i64::from(self.offset_delta()))
    }
}

/// The records of a batch, in order.
#[derive(Clone)]
pub struct Records<'a> {
    batch: &'a Batch,
    next: usize,
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        let index = self.next;
        if index >= self.batch.len() {
            return None;
        }
        self.next += 1;
        Some(Record {
            batch: self.batch,
            index,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.batch.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Records<'_> {}

/// The headers of one record. Names are bytes: Kafka does not promise UTF-8.
#[derive(Clone)]
pub struct Headers<'a> {
    keys: Column<'a>,
    values: Column<'a>,
    next: usize,
    end: usize,
}

impl<'a> Headers<'a> {
    /// The last header of this name, as [`Record::header`] gives it.
    pub fn last_value(&self, name: impl AsRef<[u8]>) -> Option<&'a [u8]> {
        let name = name.as_ref();
        let mut headers = self.clone().rev();
        headers.find(|(key, _)| *key == name)?.1
    }

    fn at(&self, index: usize) -> (&'a [u8], Option<&'a [u8]>) {
        (
            self.keys.get(index).unwrap_or_default(),
            self.values.get(index),
        )
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        self.next += 1;
        Some(self.at(self.next - 1))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end - self.next;
        (left, Some(left))
    }
}

impl DoubleEndedIterator for Headers<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        self.end -= 1;
        Some(self.at(self.end))
    }
}

impl ExactSizeIterator for Headers<'_> {}

#[cfg(test)]
mod tests {
    use crate::testing::{self, null, value};

    #[test]
    fn null_and_empty_differ() {
        let records: Vec<_> = (0..20)
            .map(|i| if i % 3 == 0 { null() } else { value("") })
            .collect();
        let batch = testing::batch(&records);
        for record in batch.records() {
            assert_eq!(record.value().is_none(), record.index() % 3 == 0);
        }
    }

    #[test]
    fn a_record_has_what_was_put_in() {
        let records = [
            value("v")
                .key("k")
                .timestamp_ms(7)
                .header("a", "1")
                .header("a", "2")
                .null_header("b"),
            null(),
        ];
        let batch = testing::batch(&records);
        let first = batch.record(0);
        assert_eq!(first.key(), Some(&b"k"[..]));
        assert_eq!(first.value(), Some(&b"v"[..]));
        assert_eq!(first.timestamp_ms(), Some(7));
        assert_eq!(first.header("a"), Some(&b"2"[..]));
        assert_eq!(first.header("b"), None);
        assert_eq!(first.headers().len(), 3);
        let second = batch.record(1);
        assert_eq!(
            (second.key(), second.value(), second.offset_delta()),
            (None, None, 1)
        );
        assert_eq!(second.headers().count(), 0);
    }
}
