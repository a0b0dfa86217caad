//! What transforms replaced, layer by layer.
//!
//! Edits stay the columns that the guests gave: nothing is copied or allocated for a record. A layer is what one transform
//! made of one batch, a chunk of it what one call gave, in the call's own indices.

mod check;

use std::ops::Range;

pub(crate) use check::check_edits;

use crate::Columns;
use crate::columns::{BytesColumn, HeadersColumn};
use crate::verdict::KEEP;

/// The edits of one batch, in the client's indices: one layer for each transform that edited something, in the order of
/// the chain.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edits {
    layers: Vec<Layer>,
}

/// What a record has instead of what it came with; `None` = what it came with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordEdit<'a> {
    pub key: Option<Option<&'a [u8]>>,
    pub value: Option<Option<&'a [u8]>>,
    /// All the headers that the record then has.
    pub headers: Option<Vec<Header<'a>>>,
    /// Milliseconds since the Unix epoch; -1 = none.
    pub timestamp: Option<i64>,
}

/// A header's key and value; the value may be null.
pub type Header<'a> = (&'a [u8], Option<&'a [u8]>);

impl Edits {
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Layers so far.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// What the first `layers` layers made of a record; `None` = they left it alone.
    pub fn of(&self, record: usize, layers: usize) -> Option<RecordEdit<'_>> {
        let mut edit = None;
        for layer in self.layers.iter().take(layers) {
            layer.apply(record, &mut edit);
        }
        edit
    }

    /// The transform that made a layer, as its place in the chain.
    pub fn binding(&self, layer: usize) -> Option<usize> {
        self.layers.get(layer).map(|layer| layer.binding)
    }

    /// Whether a layer replaced anything of a record.
    pub fn touches(&self, layer: usize, record: usize) -> bool {
        let found = self.layers.get(layer).and_then(|layer| layer.find(record));
        found.is_some_and(|(columns, at)| columns.touch(at))
    }

    /// Memory that the edits hold.
    pub fn bytes(&self) -> usize {
        self.layers.iter().map(Layer::bytes).sum()
    }

    pub(crate) fn push(&mut self, layer: Layer) {
        self.layers.push(layer);
    }

    /// The layer that the binding at this place of the chain made.
    pub(crate) fn last_of(&self, binding: usize) -> Option<&Layer> {
        self.layers.last().filter(|layer| layer.binding == binding)
    }
}

/// What one transform replaced.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Layer {
    /// Its place in the chain.
    binding: usize,
    /// Their records rise from chunk to chunk.
    chunks: Vec<Chunk>,
}

/// What one call replaced.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chunk {
    pub(crate) records: Selection,
    /// As the guest gave them; an edit of a record that is not kept does not count.
    pub(crate) codes: Vec<u8>,
    pub(crate) columns: EditColumns,
}

/// The client's indices of the records of a call, ascending.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Selection {
    Range(Range<u32>),
    Rows(Vec<u32>),
}

/// Replaced columns, in the indices of the call. What replaces nothing is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct EditColumns {
    keys: Option<Edit<BytesColumn>>,
    values: Option<Edit<BytesColumn>>,
    headers: Option<Edit<HeadersColumn>>,
    timestamps: Option<Edit<Vec<i64>>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Edit<C> {
    /// Strictly rising; empty = one entry for each record of the call.
    rows: Vec<u32>,
    column: C,
}

impl Layer {
    pub(crate) fn new(binding: usize) -> Layer {
        Layer {
            binding,
            chunks: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Chunks come in the order of their records.
    pub(crate) fn push(&mut self, chunk: Chunk) {
        self.chunks.push(chunk);
    }

    pub(crate) fn bytes(&self) -> usize {
        let bytes = self.chunks.iter().map(|chunk| {
            chunk.columns.bytes() + chunk.codes.len() + size_of_val(chunk.records.rows())
        });
        bytes.sum()
    }

    /// The columns in which it replaces anything.
    pub(crate) fn columns(&self) -> Columns {
        let columns = self.chunks.iter().map(|chunk| chunk.columns.columns());
        columns.fold(Columns::default(), Columns::union)
    }

    pub(crate) fn key(&self, record: usize) -> Option<Option<&[u8]>> {
        let (columns, at) = self.find(record)?;
        columns.keys.as_ref()?.entry(at)
    }

    pub(crate) fn value(&self, record: usize) -> Option<Option<&[u8]>> {
        let (columns, at) = self.find(record)?;
        columns.values.as_ref()?.entry(at)
    }

    /// The column that has this record's headers, and the row of it.
    pub(crate) fn headers(&self, record: usize) -> Option<(&HeadersColumn, usize)> {
        let (columns, at) = self.find(record)?;
        let edit = columns.headers.as_ref()?;
        Some((&edit.column, edit.place(at)?))
    }

    pub(crate) fn timestamp(&self, record: usize) -> Option<i64> {
        let (columns, at) = self.find(record)?;
        let edit = columns.timestamps.as_ref()?;
        edit.column.get(edit.place(at)?).copied()
    }

    /// The values of every record of a batch, where one call replaced and kept all of them.
    pub(crate) fn all_values(&self, records: usize) -> Option<&BytesColumn> {
        let [chunk] = self.chunks.as_slice() else {
            return None;
        };
        let whole = Selection::Range(0..u32::try_from(records).ok()?);
        let edit = chunk.columns.values.as_ref()?;
        (chunk.records == whole && chunk.codes.is_empty() && edit.rows.is_empty())
            .then_some(&edit.column)
    }

    fn find(&self, record: usize) -> Option<(&EditColumns, usize)> {
        let record = u32::try_from(record).ok()?;
        let before = |chunk: &Chunk| chunk.records.last().is_some_and(|last| last < record);
        let chunk = self.chunks.get(self.chunks.partition_point(before))?;
        let at = chunk.records.place(record)?;
        let kept = chunk.codes.get(at).is_none_or(|code| *code == KEEP);
        kept.then_some((&chunk.columns, at))
    }

    fn apply<'a>(&'a self, record: usize, edit: &mut Option<RecordEdit<'a>>) {
        let Some((columns, at)) = self.find(record) else {
            return;
        };
        if let Some(key) = columns.keys.as_ref().and_then(|keys| keys.entry(at)) {
            edit.get_or_insert_default().key = Some(key);
        }
        if let Some(value) = columns.values.as_ref().and_then(|values| values.entry(at)) {
            edit.get_or_insert_default().value = Some(value);
        }
        if let Some((column, row)) = self.headers(record) {
            edit.get_or_insert_default().headers = Some(column.entries(row).collect());
        }
        if let Some(timestamp) = self.timestamp(record) {
            edit.get_or_insert_default().timestamp = Some(timestamp);
        }
    }
}

impl Selection {
    fn last(&self) -> Option<u32> {
        match self {
            Selection::Range(range) => range.end.checked_sub(1),
            Selection::Rows(rows) => rows.last().copied(),
        }
    }

    fn place(&self, record: u32) -> Option<usize> {
        match self {
            Selection::Range(range) => range
                .contains(&record)
                .then(|| (record - range.start) as usize),
            Selection::Rows(rows) => rows.binary_search(&record).ok(),
        }
    }

    fn rows(&self) -> &[u32] {
        match self {
            Selection::Range(_) => &[],
            Selection::Rows(rows) => rows,
        }
    }
}

impl EditColumns {
    pub(crate) fn is_empty(&self) -> bool {
        self.columns().is_empty()
    }

    pub(crate) fn columns(&self) -> Columns {
        Columns {
            key: self.keys.is_some(),
            value: self.values.is_some(),
            headers: self.headers.is_some(),
            timestamp: self.timestamps.is_some(),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let rows = self.rows().map(size_of_val).sum::<usize>();
        let bytes = |edit: &Option<Edit<BytesColumn>>| {
            edit.as_ref().map_or(0, |edit| edit.column.memory_bytes())
        };
        let headers = self.headers.as_ref();
        let timestamps = self.timestamps.as_ref();
        rows + bytes(&self.keys)
            + bytes(&self.values)
            + headers.map_or(0, |edit| edit.column.memory_bytes())
            + timestamps.map_or(0, |edit| size_of_val(edit.column.as_slice()))
    }

    /// Records of a call that are kept with something replaced.
    pub(crate) fn edited(&self, codes: &[u8], count: usize) -> usize {
        let dense = self.rows().any(<[u32]>::is_empty);
        if dense && codes.is_empty() {
            return count;
        }
        let mut edited = vec![dense; count];
        for row in self.rows().flatten() {
            if let Some(edited) = edited.get_mut(*row as usize) {
                *edited = true;
            }
        }
        let kept = |at: usize| codes.get(at).is_none_or(|code| *code == KEEP);
        edited
            .iter()
            .enumerate()
            .filter(|(at, edited)| **edited && kept(*at))
            .count()
    }

    /// Whether anything of the call's record is replaced.
    fn touch(&self, at: usize) -> bool {
        fn replaces<C>(edit: &Option<Edit<C>>, at: usize) -> bool {
            edit.as_ref().is_some_and(|edit| edit.place(at).is_some())
        }
        replaces(&self.keys, at)
            || replaces(&self.values, at)
            || replaces(&self.headers, at)
            || replaces(&self.timestamps, at)
    }

    /// The rows of each column that replaces something.
    fn rows(&self) -> impl Iterator<Item = &[u32]> {
        let keys = self.keys.as_ref().map(|edit| edit.rows.as_slice());
        let values = self.values.as_ref().map(|edit| edit.rows.as_slice());
        let headers = self.headers.as_ref().map(|edit| edit.rows.as_slice());
        let timestamps = self.timestamps.as_ref().map(|edit| edit.rows.as_slice());
        [keys, values, headers, timestamps].into_iter().flatten()
    }
}

impl<C> Edit<C> {
    /// The entry that replaces the call's record.
    fn place(&self, at: usize) -> Option<usize> {
        if self.rows.is_empty() {
            return Some(at);
        }
        self.rows.binary_search(&u32::try_from(at).ok()?).ok()
    }
}

impl Edit<BytesColumn> {
    fn entry(&self, at: usize) -> Option<Option<&[u8]>> {
        self.place(at).map(|entry| self.column.get(entry))
    }
}

#[cfg(test)]
mod tests;
