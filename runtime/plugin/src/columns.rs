//! Records as columns: what a plugin reads, filled once for all plugins of a chain.

use tidegate_record::{RecordView, Records};

use crate::Columns;
use crate::contract::wire;
use crate::edits::Layer;

/// What a record costs a guest beside its bytes: offsets, delta, timestamp, null bits.
const ROW_OVERHEAD: usize = 32;

/// Some records of one batch, the wanted columns of each.
#[derive(Default)]
pub(crate) struct Table {
    wanted: Columns,
    deltas: Vec<u32>,
    timestamps: Vec<i64>,
    keys: BytesColumn,
    values: BytesColumn,
    headers: HeadersColumn,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BytesColumn {
    /// One more than there are values, once the column is started.
    offsets: Vec<u32>,
    data: Vec<u8>,
    /// Empty until the first null.
    nulls: Vec<u8>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct HeadersColumn {
    offsets: Vec<u32>,
    keys: BytesColumn,
    values: BytesColumn,
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.deltas.len()
    }

    /// A record's offset delta.
    pub(crate) fn delta(&self, row: usize) -> Option<i64> {
        self.deltas.get(row).copied().map(i64::from)
    }

    /// Takes every record. `None` when the batch is too large for 32-bit offsets.
    ///
    /// One pass for each column: a loop that fills them all together branches on each record, which
    /// costs more than the copying.
    pub(crate) fn fill(&mut self, records: &Records, wanted: Columns) -> Option<()> {
        u32::try_from(records.decoded_bytes()).ok()?;
        self.start(wanted);
        let deltas = records
            .iter()
            .map(|record| record.offset_delta.cast_unsigned());
        self.deltas.extend(deltas);
        if wanted.timestamp {
            self.timestamps
                .extend(records.iter().map(|record| record.timestamp));
        }
        if wanted.key {
            self.keys.extend(records, |record| record.key);
        }
        if wanted.value {
            self.values.reserve(records.decoded_bytes());
            self.values.extend(records, |record| record.value);
        }
        if wanted.headers {
            self.headers.extend(records);
        }
        self.finish();
        Some(())
    }

    /// Takes the given rows of another table, ascending, in the columns wanted.
    pub(crate) fn gather(&mut self, from: &Table, rows: &[u32], wanted: Columns) {
        self.start(wanted);
        let rows = || rows.iter().map(|&row| row as usize);
        self.deltas
            .extend(rows().filter_map(|row| from.deltas.get(row)));
        if wanted.timestamp {
            self.timestamps
                .extend(rows().filter_map(|row| from.timestamps.get(row)));
        }
        if wanted.key {
            rows().for_each(|row| self.keys.push(from.keys.get(row)));
        }
        if wanted.value {
            rows().for_each(|row| self.values.push(from.values.get(row)));
        }
        if wanted.headers {
            for row in rows() {
                self.headers.push_row(&from.headers, row);
            }
        }
        self.finish();
    }

    /// Writes what a transform replaced into the columns wanted by whoever comes next, so that nothing is decoded
    /// again. `None` when the batch becomes too large for 32-bit offsets.
    pub(crate) fn patch(
        &mut self,
        layer: &Layer,
        wanted: Columns,
        scratch: &mut Table,
    ) -> Option<()> {
        u32::try_from(self.data_bytes().saturating_add(layer.bytes())).ok()?;
        let stale = layer.columns().intersection(wanted);
        let rows = self.len();
        if stale.key {
            let old = &self.keys;
            scratch
                .keys
                .refill(rows, |row| layer.key(row).unwrap_or_else(|| old.get(row)));
            std::mem::swap(&mut self.keys, &mut scratch.keys);
        }
        if stale.value {
            let old = &self.values;
            match layer.all_values(rows) {
                Some(column) => scratch.values.clone_from(column),
                None => scratch
                    .values
                    .refill(rows, |row| layer.value(row).unwrap_or_else(|| old.get(row))),
            }
            std::mem::swap(&mut self.values, &mut scratch.values);
        }
        if stale.headers {
            scratch.headers.start();
            for row in 0..rows {
                let (from, row) = layer.headers(row).unwrap_or((&self.headers, row));
                scratch.headers.push_row(from, row);
            }
            scratch.headers.finish();
            std::mem::swap(&mut self.headers, &mut scratch.headers);
        }
        if stale.timestamp {
            for (row, timestamp) in self.timestamps.iter_mut().enumerate() {
                *timestamp = layer.timestamp(row).unwrap_or(*timestamp);
            }
        }
        Some(())
    }

    /// Everything, as one call lowers it.
    pub(crate) fn lower<'a>(
        &'a self,
        wanted: Columns,
        context: wire::Context<'a>,
    ) -> wire::Batch<'a> {
        wire::Batch {
            context,
            count: self.deltas.len() as u32,
            offset_deltas: &self.deltas,
            timestamps: if wanted.timestamp {
                &self.timestamps
            } else {
                &[]
            },
            keys: wanted.key.then(|| self.keys.lower()),
            values: wanted.value.then(|| self.values.lower()),
            headers: wanted.headers.then(|| wire::HeadersColumn {
                offsets: &self.headers.offsets,
                keys: self.headers.keys.lower(),
                values: self.headers.values.lower(),
            }),
        }
    }

    /// Bytes that lowering all rows puts into the guest.
    pub(crate) fn bytes(&self, wanted: Columns) -> usize {
        let mut bytes = self.len() * ROW_OVERHEAD;
        if wanted.key {
            bytes += self.keys.data.len();
        }
        if wanted.value {
            bytes += self.values.data.len();
        }
        if wanted.headers {
            bytes += self.headers.keys.data.len()
                + self.headers.values.data.len()
                + self.headers.keys.len() * ROW_OVERHEAD;
        }
        bytes
    }

    /// Bytes that lowering one row puts into the guest.
    pub(crate) fn row_bytes(&self, row: usize, wanted: Columns) -> usize {
        let mut bytes = ROW_OVERHEAD;
        if wanted.key {
            bytes += self.keys.get(row).map_or(0, <[u8]>::len);
        }
        if wanted.value {
            bytes += self.values.get(row).map_or(0, <[u8]>::len);
        }
        if wanted.headers {
            let length = |entry: Option<&[u8]>| entry.map_or(0, <[u8]>::len);
            bytes += self
                .headers
                .row(row)
                .map(|entry| {
                    length(self.headers.keys.get(entry))
                        + length(self.headers.values.get(entry))
                        + ROW_OVERHEAD
                })
                .sum::<usize>();
        }
        bytes
    }

    /// Gives large buffers back, so that one huge batch does not stay with its thread.
    pub(crate) fn shrink(&mut self, max_bytes: usize) {
        let held = self.keys.data.capacity()
            + self.values.data.capacity()
            + self.headers.keys.data.capacity()
            + self.headers.values.data.capacity()
            + self.deltas.capacity() * ROW_OVERHEAD;
        if held > max_bytes {
            *self = Table::default();
        }
    }

    fn start(&mut self, wanted: Columns) {
        self.wanted = wanted;
        self.deltas.clear();
        self.timestamps.clear();
        self.keys.start();
        self.values.start();
        self.headers.start();
    }

    fn finish(&mut self) {
        self.keys.finish();
        self.values.finish();
        self.headers.finish();
    }

    /// Bytes of keys, values and headers.
    pub(crate) fn data_bytes(&self) -> usize {
        self.keys.data.len()
            + self.values.data.len()
            + self.headers.keys.data.len()
            + self.headers.values.data.len()
    }
}

impl BytesColumn {
    /// Of parts that were checked: one more offset than values, from 0 to the end of the data, never falling.
    pub(crate) fn from_parts(offsets: Vec<u32>, data: Vec<u8>, nulls: Vec<u8>) -> BytesColumn {
        let mut column = BytesColumn {
            offsets,
            data,
            nulls,
        };
        column.clear_bits_after(column.len());
        column
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(self.offsets.as_slice()) + self.data.len() + self.nulls.len()
    }

    pub(crate) fn has_null(&self) -> bool {
        (0..self.len()).any(|row| self.is_null(row))
    }

    fn refill<'a>(&mut self, rows: usize, value: impl Fn(usize) -> Option<&'a [u8]>) {
        self.start();
        for row in 0..rows {
            self.push(value(row));
        }
        self.finish();
    }

    fn start(&mut self) {
        self.offsets.clear();
        self.offsets.push(0);
        self.data.clear();
        self.nulls.clear();
    }

    fn reserve(&mut self, bytes: usize) {
        self.data.reserve(bytes);
    }

    fn extend<'a>(
        &mut self,
        records: &'a Records,
        part: impl Fn(RecordView<'a>) -> Option<&'a [u8]>,
    ) {
        let count = records.len();
        if records.iter().all(|record| part(record).is_none()) {
            // Topics without keys are common, and this is all there is to say of them.
            self.nulls.resize(count.div_ceil(8), 0xff);
            self.clear_bits_after(count);
            self.offsets.resize(count + 1, 0);
            return;
        }
        self.offsets.reserve(count);
        for record in records.iter() {
            self.push(part(record));
        }
    }

    /// Bits past the last value are zero.
    fn clear_bits_after(&mut self, len: usize) {
        if let Some(last) = self.nulls.last_mut().filter(|_| !len.is_multiple_of(8)) {
            *last &= (1 << (len % 8)) - 1;
        }
    }

    #[inline]
    fn push(&mut self, value: Option<&[u8]>) {
        match value {
            Some(bytes) => self.data.extend_from_slice(bytes),
            None => self.mark_null(),
        }
        self.offsets.push(self.data.len() as u32);
    }

    #[cold]
    fn mark_null(&mut self) {
        let row = self.len();
        self.nulls.resize(row / 8 + 1, 0);
        if let Some(byte) = self.nulls.last_mut() {
            *byte |= 1 << (row % 8);
        }
    }

    /// A column with a null has a bit for every value.
    fn finish(&mut self) {
        if !self.nulls.is_empty() {
            self.nulls.resize(self.len().div_ceil(8), 0);
        }
    }

    fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls
            .get(row / 8)
            .is_some_and(|byte| byte >> (row % 8) & 1 == 1)
    }

    pub(crate) fn get(&self, row: usize) -> Option<&[u8]> {
        let null = self.is_null(row);
        let start = *self.offsets.get(row)? as usize;
        let end = *self.offsets.get(row + 1)? as usize;
        if null {
            None
        } else {
            self.data.get(start..end)
        }
    }

    fn lower(&self) -> wire::BytesColumn<'_> {
        wire::BytesColumn {
            offsets: &self.offsets,
            data: &self.data,
            nulls: &self.nulls,
        }
    }
}

impl HeadersColumn {
    /// Of parts that were checked: as `BytesColumn::from_parts`, keys and values of the same number, no key null.
    pub(crate) fn from_parts(
        offsets: Vec<u32>,
        keys: BytesColumn,
        values: BytesColumn,
    ) -> HeadersColumn {
        HeadersColumn {
            offsets,
            keys,
            values,
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(self.offsets.as_slice()) + self.keys.memory_bytes() + self.values.memory_bytes()
    }

    /// The headers of one row.
    pub(crate) fn entries(&self, row: usize) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.row(row).map(|entry| {
            let key = self.keys.get(entry).unwrap_or_default();
            (key, self.values.get(entry))
        })
    }

    fn push_row(&mut self, from: &HeadersColumn, row: usize) {
        for (key, value) in from.entries(row) {
            self.push(key, value);
        }
        self.end_row();
    }

    fn finish(&mut self) {
        self.keys.finish();
        self.values.finish();
    }

    fn start(&mut self) {
        self.offsets.clear();
        self.offsets.push(0);
        self.keys.start();
        self.values.start();
    }

    fn extend(&mut self, records: &Records) {
        if records.iter().all(|record| record.header_count() == 0) {
            self.offsets.resize(records.len() + 1, 0);
            return;
        }
        self.offsets.reserve(records.len());
        for record in records.iter() {
            for (key, value) in record.headers() {
                self.push(key, value);
            }
            self.end_row();
        }
    }

    fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.keys.push(Some(key));
        self.values.push(value);
    }

    fn end_row(&mut self) {
        self.offsets.push(self.keys.len() as u32);
    }

    /// The entries of one row.
    fn row(&self, row: usize) -> std::ops::Range<usize> {
        match (self.offsets.get(row), self.offsets.get(row + 1)) {
            (Some(&start), Some(&end)) => start as usize..end as usize,
            _ => 0..0,
        }
    }
}
