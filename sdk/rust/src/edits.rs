//! What a transform replaces, gathered by column as the broker takes it.

use crate::{Record, Verdicts, bindings::types};

/// The verdicts and replacements of one batch. To begin with every record is kept as it is.
///
/// What is written goes straight into the columns that the broker reads, so that an edit allocates
/// nothing of its own. Each column is edited in the order of the records; a record that is edited
/// twice has the later edit.
///
/// # Panics
/// The methods that take an `index` do, if a later record's same column was edited before.
pub struct Edits {
    verdicts: Verdicts,
    count: usize,
    keys: BytesEdits,
    values: BytesEdits,
    headers: HeadersEdits,
    timestamps: (Vec<u32>, Vec<i64>),
}

impl Edits {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            verdicts: Verdicts::new(count),
            count,
            keys: BytesEdits::default(),
            values: BytesEdits::default(),
            headers: HeadersEdits::default(),
            timestamps: (Vec::new(), Vec::new()),
        }
    }

    /// The edit of one record of this batch.
    pub fn record<'a>(&'a mut self, record: &Record<'a>) -> Edit<'a> {
        Edit {
            record: *record,
            edits: self,
        }
    }

    /// What becomes of the records. An edit of one that is not kept is ignored.
    pub fn verdicts(&mut self) -> &mut Verdicts {
        &mut self.verdicts
    }

    pub fn set_key(&mut self, index: usize, key: Option<&[u8]>) {
        self.keys.set(index, key);
    }

    /// `None` makes it a tombstone.
    pub fn set_value(&mut self, index: usize, value: Option<&[u8]>) {
        self.values.set(index, value);
    }

    /// As [`write_value`](Self::write_value).
    pub fn write_key(&mut self, index: usize, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        self.keys.write(index, write);
    }

    /// Sets the value to what `write` appends to the buffer, which holds the values before it. If
    /// `write` gives false the record's value stays as it was.
    pub fn write_value(&mut self, index: usize, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        self.values.write(index, write);
    }

    /// Milliseconds since the Unix epoch. Records whose timestamp is not set keep theirs.
    pub fn set_timestamp_ms(&mut self, index: usize, timestamp_ms: i64) {
        let (rows, values) = &mut self.timestamps;
        if rows.last() == Some(&(index as u32)) {
            values.pop();
        } else {
            push_row(rows, index);
        }
        values.push(timestamp_ms);
    }

    pub(crate) fn into_raw(self) -> types::Edits {
        let Self {
            verdicts,
            count,
            keys,
            values,
            headers,
            timestamps: (rows, times),
        } = self;
        let (codes, reasons) = verdicts.into_parts();
        types::Edits {
            codes,
            reasons,
            keys: keys.into_raw(count),
            values: values.into_raw(count),
            headers: headers.into_raw(count),
            timestamps: (!rows.is_empty()).then(|| types::TimestampsEdit {
                rows: all_or(rows, count),
                values: times,
            }),
        }
    }
}

/// What is replaced in one record; what is not mentioned stays.
pub struct Edit<'a> {
    record: Record<'a>,
    edits: &'a mut Edits,
}

impl Edit<'_> {
    /// On a compacted topic this needs `tidegate.compaction.rewrite.keys`.
    pub fn set_key(&mut self, key: impl AsRef<[u8]>) -> &mut Self {
        self.edits.set_key(self.record.index(), Some(key.as_ref()));
        self
    }

    pub fn set_null_key(&mut self) -> &mut Self {
        self.edits.set_key(self.record.index(), None);
        self
    }

    pub fn set_value(&mut self, value: impl AsRef<[u8]>) -> &mut Self {
        self.edits
            .set_value(self.record.index(), Some(value.as_ref()));
        self
    }

    /// Makes the record a tombstone.
    pub fn set_null_value(&mut self) -> &mut Self {
        self.edits.set_value(self.record.index(), None);
        self
    }

    /// See [`Edits::write_value`].
    pub fn write_value(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) -> &mut Self {
        self.edits.write_value(self.record.index(), write);
        self
    }

    /// Milliseconds since the Unix epoch.
    pub fn set_timestamp_ms(&mut self, timestamp_ms: i64) -> &mut Self {
        self.edits
            .set_timestamp_ms(self.record.index(), timestamp_ms);
        self
    }

    /// Adds a header behind those that are there, whatever their names.
    ///
    /// Editing headers needs [`Columns::HEADERS`](crate::Columns::HEADERS) among the columns that
    /// are read, or those that the record has are lost: an edit is all the headers it then has.
    pub fn add_header(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut Self {
        self.push_header(name.as_ref(), Some(value.as_ref()));
        self
    }

    pub fn add_null_header(&mut self, name: impl AsRef<[u8]>) -> &mut Self {
        self.push_header(name.as_ref(), None);
        self
    }

    /// Leaves one header of this name, the last.
    pub fn set_header(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut Self {
        let name = name.as_ref();
        self.remove_header(name).add_header(name, value)
    }

    /// Removes every header of this name.
    pub fn remove_header(&mut self, name: impl AsRef<[u8]>) -> &mut Self {
        let name = name.as_ref();
        let index = self.record.index();
        let headers = &mut self.edits.headers;
        if headers.edits(index) {
            headers.remove(name);
        } else if self.record.headers().any(|(known, _)| known == name) {
            headers.begin(index);
            for (known, value) in self.record.headers().filter(|(known, _)| *known != name) {
                headers.push(known, value);
            }
        }
        self
    }

    /// Removes all headers.
    pub fn clear_headers(&mut self) -> &mut Self {
        self.edits.headers.begin(self.record.index());
        self
    }

    fn push_header(&mut self, name: &[u8], value: Option<&[u8]>) {
        let index = self.record.index();
        let headers = &mut self.edits.headers;
        if !headers.edits(index) {
            headers.begin(index);
            for (known, value) in self.record.headers() {
                headers.push(known, value);
            }
        }
        headers.push(name, value);
    }
}

/// Edits of keys or of values.
#[derive(Default)]
struct BytesEdits {
    rows: Vec<u32>,
    column: ColumnBuilder,
}

impl BytesEdits {
    fn set(&mut self, index: usize, bytes: Option<&[u8]>) {
        self.begin(index);
        self.column.push(bytes);
    }

    fn write(&mut self, index: usize, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        let data = &mut self.column.data;
        let start = data.len();
        let changed = write(data);
        assert!(data.len() >= start, "an edit may only append");
        if !changed {
            data.truncate(start);
        } else if self.rows.last() == Some(&(index as u32)) {
            let bytes = data.split_off(start);
            self.set(index, Some(&bytes));
        } else {
            push_row(&mut self.rows, index);
            self.column.end();
        }
    }

    /// Makes room for an entry of this record, and takes back what was said of it before.
    fn begin(&mut self, index: usize) {
        if self.rows.last() == Some(&(index as u32)) {
            self.column.pop();
        } else {
            push_row(&mut self.rows, index);
        }
    }

    fn into_raw(self, count: usize) -> Option<types::BytesEdit> {
        (!self.rows.is_empty()).then(|| types::BytesEdit {
            rows: all_or(self.rows, count),
            column: self.column.into_raw(),
        })
    }
}

#[derive(Default)]
struct HeadersEdits {
    rows: Vec<u32>,
    /// Where the headers of each row begin.
    starts: Vec<u32>,
    names: ColumnBuilder,
    values: ColumnBuilder,
}

impl HeadersEdits {
    fn edits(&self, index: usize) -> bool {
        self.rows.last() == Some(&(index as u32))
    }

    /// The record has no headers from here on, until some are pushed.
    fn begin(&mut self, index: usize) {
        if self.edits(index) {
            while self.names.len() > self.start() {
                self.names.pop();
                self.values.pop();
            }
        } else {
            push_row(&mut self.rows, index);
            self.starts.push(self.names.len() as u32);
        }
    }

    fn push(&mut self, name: &[u8], value: Option<&[u8]>) {
        self.names.push(Some(name));
        self.values.push(value);
    }

    /// Takes this name out of the headers of the last row.
    fn remove(&mut self, name: &[u8]) {
        let mut behind = Vec::new();
        while self.names.len() > self.start() {
            let header = (self.names.pop().unwrap_or_default(), self.values.pop());
            behind.push(header);
        }
        for (known, value) in behind.into_iter().rev() {
            if known != name {
                self.push(&known, value.as_deref());
            }
        }
    }

    /// Where the headers of the last row begin.
    fn start(&self) -> usize {
        self.starts.last().copied().unwrap_or_default() as usize
    }

    fn into_raw(self, count: usize) -> Option<types::HeadersEdit> {
        let mut offsets = self.starts;
        offsets.push(self.names.len() as u32);
        (!self.rows.is_empty()).then(|| types::HeadersEdit {
            rows: all_or(self.rows, count),
            column: types::HeadersColumn {
                offsets,
                keys: self.names.into_raw(),
                values: self.values.into_raw(),
            },
        })
    }
}

/// Optional byte strings, one behind the other.
#[derive(Default)]
pub(crate) struct ColumnBuilder {
    /// Where each ends.
    ends: Vec<u32>,
    data: Vec<u8>,
    nulls: Vec<u8>,
}

impl ColumnBuilder {
    fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn push(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.data.extend_from_slice(bytes),
            None => {
                let at = self.ends.len();
                self.nulls.resize(at / 8 + 1, 0);
                self.nulls[at / 8] |= 1 << (at % 8);
            }
        }
        self.end();
    }

    /// Ends an entry whose bytes are in `data` already.
    fn end(&mut self) {
        self.ends.push(self.data.len() as u32);
    }

    /// Takes the last entry back; `None` if it was null.
    fn pop(&mut self) -> Option<Vec<u8>> {
        self.ends.pop()?;
        let at = self.ends.len();
        let start = self.ends.last().copied().unwrap_or_default();
        let bytes = self.data.split_off(start as usize);
        let null = self
            .nulls
            .get_mut(at / 8)
            .is_some_and(|bits| std::mem::replace(bits, *bits & !(1 << (at % 8))) != *bits);
        (!null).then_some(bytes)
    }

    pub(crate) fn into_raw(self) -> types::BytesColumn {
        let mut offsets = Vec::with_capacity(self.ends.len() + 1);
        offsets.push(0);
        offsets.extend(self.ends);
        types::BytesColumn {
            offsets,
            data: self.data,
            nulls: self.nulls,
        }
    }
}

#[inline]
fn push_row(rows: &mut Vec<u32>, index: usize) {
    let index = index as u32;
    assert!(
        rows.last().is_none_or(|last| *last < index),
        "edits out of order"
    );
    rows.push(index);
}

/// Rows that are all there are need not be named.
fn all_or(rows: Vec<u32>, count: usize) -> Vec<u32> {
    if rows.len() == count {
        Vec::new()
    } else {
        rows
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;
    use crate::testing::{self, value};

    fn bytes(text: &Option<String>) -> Option<&[u8]> {
        text.as_ref().map(String::as_bytes)
    }

    #[test]
    fn nothing_edited_is_nothing_said() {
        let raw = Edits::new(3).into_raw();
        assert!(raw.keys.is_none() && raw.values.is_none());
        assert!(raw.headers.is_none() && raw.timestamps.is_none() && raw.codes.is_empty());
    }

    #[test]
    fn every_record_edited_needs_no_rows() {
        let mut edits = Edits::new(2);
        edits.set_value(0, Some(b"a"));
        edits.set_value(1, None);
        let raw = edits.into_raw().values.unwrap();
        assert!(raw.rows.is_empty());
        assert_eq!(
            (raw.column.offsets, raw.column.nulls),
            (vec![0, 1, 1], vec![2])
        );
    }

    #[test]
    fn the_last_edit_of_a_record_counts() {
        let mut edits = Edits::new(4);
        edits.set_value(1, None);
        edits.set_value(1, Some(b"first"));
        edits.write_value(1, |out| {
            out.extend(b"second");
            true
        });
        edits.write_value(1, |out| {
            out.extend(b"taken back");
            false
        });
        edits.set_timestamp_ms(2, 5);
        edits.set_timestamp_ms(2, 6);
        let raw = edits.into_raw();
        let values = raw.values.unwrap();
        assert_eq!((values.rows, values.column.offsets), (vec![1], vec![0, 6]));
        assert_eq!(values.column.data, b"second");
        assert!(values.column.nulls.iter().all(|bits| *bits == 0));
        assert_eq!(raw.timestamps.unwrap().values, [6]);
    }

    #[test]
    #[should_panic(expected = "edits out of order")]
    fn records_are_edited_in_order() {
        let mut edits = Edits::new(3);
        edits.set_key(2, None);
        edits.set_key(1, None);
    }

    #[test]
    fn headers_are_edited_one_by_one() {
        let records = [
            value("").header("a", "1").null_header("b").header("a", "2"),
            value("").header("a", "3"),
        ];
        let batch = testing::batch(&records);
        let mut edits = Edits::new(2);
        edits.record(&batch.record(0)).remove_header("none");
        assert!(edits.headers.rows.is_empty());
        edits
            .record(&batch.record(0))
            .set_header("a", "9")
            .add_header("c", "")
            .add_null_header("d")
            .remove_header("c");
        edits
            .record(&batch.record(1))
            .add_header("x", "y")
            .clear_headers();
        let raw = edits.into_raw().headers.unwrap().column;
        assert_eq!(raw.offsets, [0, 3, 3]);
        assert_eq!(
            (raw.keys.data, raw.values.data),
            (b"bad".into(), b"9".into())
        );
        assert_eq!(raw.values.nulls, [0b101]);
    }

    proptest! {
        #[test]
        fn a_column_holds_what_was_pushed(items in vec(option::of(".{0,4}"), 0..40), popped in 0usize..40) {
            let mut column = ColumnBuilder::default();
            for item in &items {
                column.push(bytes(item));
            }
            for item in items.iter().rev().take(popped) {
                let bytes = item.as_ref().map(|text| text.clone().into_bytes());
                prop_assert_eq!(column.pop(), bytes);
            }
            let left = items.len().saturating_sub(popped);
            for item in &items[left..] {
                column.push(bytes(item));
            }
            let raw = column.into_raw();
            let read = crate::Column::new(&raw);
            for (index, item) in items.iter().enumerate() {
                prop_assert_eq!(read.get(index), bytes(item));
            }
        }
    }
}
