//! Walking the rows of one partition, and the batches beside them.

use bytes::Bytes;
use rocksdb::{DB, DBRawIteratorWithThreadMode, ReadOptions, Snapshot};
use tidegate_record::{Offset, PartitionId};

use super::options::{BATCHES, NOTES, ROWS};
use super::{family, store_error};
use crate::keys::{batch, index_row, note};
use crate::{IndexRow, StoreError, Stored};

/// The rows of a partition at one point in time.
pub(super) struct Cursor<'a> {
    db: &'a DB,
    id: PartitionId,
    // Rows and batches are read through one snapshot: a batch is there exactly if its row is.
    snapshot: Snapshot<'a>,
    rows: DBRawIteratorWithThreadMode<'a, DB>,
}

/// The batches of a partition, at the same point in time.
pub(super) struct Batches<'a> {
    id: PartitionId,
    iterator: DBRawIteratorWithThreadMode<'a, DB>,
    started: bool,
}

impl<'a> Cursor<'a> {
    pub(super) fn open(db: &'a DB, id: PartitionId) -> Result<Cursor<'a>, StoreError> {
        let snapshot = db.snapshot();
        let options = bounded(&snapshot, id);
        let rows = db.raw_iterator_cf_opt(family(db, ROWS)?, options);
        Ok(Cursor {
            db,
            id,
            snapshot,
            rows,
        })
    }

    /// The row containing `from`, or the next one.
    pub(super) fn seek(&mut self, from: Offset) -> Result<Option<IndexRow>, StoreError> {
        self.rows.seek_for_prev(batch::encode(self.id, from));
        match self.row()? {
            Some(row) if row.last_offset >= from => Ok(Some(row)),
            Some(_) => self.next(),
            None => {
                self.rows.seek(batch::encode(self.id, from));
                self.row()
            }
        }
    }

    /// The row after the present one. Only with a present one.
    pub(super) fn next(&mut self) -> Result<Option<IndexRow>, StoreError> {
        self.rows.next();
        self.row()
    }

    pub(super) fn last(&mut self) -> Result<Option<IndexRow>, StoreError> {
        self.rows.seek_to_last();
        self.row()
    }

    /// Batches from the row `next` on, which the cursor stands at: one at least if there is any, then as many as fit.
    pub(super) fn collect(
        &mut self,
        mut next: Option<IndexRow>,
        to: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        let mut batches = self.batches()?;
        let mut bytes = 0usize;
        let mut found = Vec::new();
        while let Some(row) = next.filter(|row| row.base_offset < to) {
            bytes = bytes.saturating_add(row.size as usize);
            if !found.is_empty() && bytes > max_bytes {
                break;
            }
            let batch = Bytes::copy_from_slice(batches.at(&row)?);
            found.push(Stored { row, batch });
            next = self.next()?;
        }
        Ok(found)
    }

    pub(super) fn batches(&self) -> Result<Batches<'a>, StoreError> {
        let options = bounded(&self.snapshot, self.id);
        let iterator = self
            .db
            .raw_iterator_cf_opt(family(self.db, BATCHES)?, options);
        Ok(Batches {
            id: self.id,
            iterator,
            started: false,
        })
    }

    /// The note of the batch whose row is `row`.
    pub(super) fn note(&self, row: &IndexRow) -> Result<Option<Bytes>, StoreError> {
        let key = batch::encode(self.id, row.base_offset);
        let found = self
            .snapshot
            .get_pinned_cf(family(self.db, NOTES)?, key)
            .map_err(store_error)?;
        found.map(|value| note::decode(&value)).transpose()
    }

    fn row(&self) -> Result<Option<IndexRow>, StoreError> {
        let Some((key, value)) = self.rows.item() else {
            self.rows.status().map_err(store_error)?;
            return Ok(None);
        };
        let (_, base_offset) = batch::decode(key)?;
        index_row::decode(base_offset, value).map(Some)
    }
}

impl Batches<'_> {
    /// The bytes of the batch whose row is `row`. Rows are asked for in ascending order.
    pub(super) fn at(&mut self, row: &IndexRow) -> Result<&[u8], StoreError> {
        let key = batch::encode(self.id, row.base_offset);
        if self.started {
            self.iterator.next();
        } else {
            self.iterator.seek(key);
            self.started = true;
        }
        self.iterator.status().map_err(store_error)?;
        match self.iterator.item() {
            Some((found, value)) if found == key && value.len() == row.size as usize => Ok(value),
            Some((found, _)) if found == key => Err(self.corrupt(row, "has another size")),
            _ => Err(self.corrupt(row, "is missing")),
        }
    }

    fn corrupt(&self, row: &IndexRow, what: &str) -> StoreError {
        StoreError::Corrupt(format!("batch {} of {:?} {what}", row.base_offset, self.id))
    }
}

fn bounded(snapshot: &Snapshot<'_>, id: PartitionId) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_snapshot(snapshot);
    options.set_iterate_lower_bound(batch::encode(id, 0));
    options.set_iterate_upper_bound(batch::behind(id));
    options
}
