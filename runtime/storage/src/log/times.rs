//! Time lookup: rows narrow it to one batch, and only that batch is opened.

use std::ops::Range;

use tidegate_record::{Batch, DecodeLimits, Offset, PartitionId};

use super::Log;
use crate::{IndexRow, ReadError};

/// Rows fetched at a time while scanning.
const PAGE: usize = 512;

/// A batch opened for a lookup was bounded when it was produced; this bounds what a damaged one
/// may claim.
pub(super) const LIMITS: DecodeLimits = DecodeLimits {
    max_bytes: 256 << 20,
    max_records: 8 << 20,
};

impl Log {
    /// First surviving record below `to` whose timestamp is at least `target_ts`: its offset,
    /// timestamp and leader epoch. Blocks on the disk.
    pub fn lookup_timestamp(
        &self,
        id: PartitionId,
        target_ts: i64,
        to: Offset,
    ) -> Result<Option<(Offset, i64, i32)>, ReadError> {
        let mut from = self.first_reaching(id, target_ts, to)?;
        while let Some(row) = self.find_row(id, from, to, |row| {
            !row.is_empty() && row.max_timestamp >= target_ts
        })? {
            let range = self.start(id)?..to;
            let records = self.records_of(id, &row, range)?;
            if let Some((offset, timestamp)) = records.into_iter().find(|r| r.1 >= target_ts) {
                return Ok(Some((offset, timestamp, row.leader_epoch)));
            }
            from = row.last_offset.saturating_add(1);
        }
        Ok(None)
    }

    /// The surviving record below `to` with the largest timestamp, the first of them if several:
    /// its offset and timestamp. Blocks on the disk.
    pub fn max_timestamp(
        &self,
        id: PartitionId,
        to: Offset,
    ) -> Result<Option<(Offset, i64)>, ReadError> {
        let start = self.start(id)?;
        let last = self.known(id)?.bounds().end.min(to).saturating_sub(1);
        if last < start {
            return Ok(None);
        }
        let Some(last) = self.rows(id, last, 1)?.into_iter().next() else {
            return Ok(None);
        };
        // A first batch that begins before the log start may have its newest record there.
        let mut from = start;
        let mut newest = None;
        if let Some(row) = self
            .rows(id, start, 1)?
            .first()
            .filter(|row| row.base_offset < start)
        {
            newest = first_newest(self.records_of(id, row, start..to)?);
            from = row.last_offset.saturating_add(1);
        }
        let Some(best) = self.newest_row(id, from, to, last.max_timestamp_so_far)? else {
            return Ok(newest);
        };
        let candidate = first_newest(self.records_of(id, &best, start..to)?);
        Ok(first_newest(newest.into_iter().chain(candidate)))
    }

    /// First row from `from` on with the largest timestamp. `goal` bounds it, and is reached
    /// unless retention deleted the record that set it: then every row has to be looked at.
    fn newest_row(
        &self,
        id: PartitionId,
        from: Offset,
        to: Offset,
        goal: i64,
    ) -> Result<Option<IndexRow>, ReadError> {
        let mut best: Option<IndexRow> = None;
        let from = self.first_reaching(id, goal, to)?.max(from);
        self.find_row(id, from, to, |row| {
            if !row.is_empty() && best.is_none_or(|best| row.max_timestamp > best.max_timestamp) {
                best = Some(*row);
            }
            best.is_some_and(|best| best.max_timestamp >= goal)
        })?;
        Ok(best)
    }

    /// Halves the log down to the first offset whose row's running maximum reaches `target_ts`.
    /// No row before it can hold such a timestamp; if the record that reached it was deleted
    /// since, the first one that does may lie further on.
    fn first_reaching(
        &self,
        id: PartitionId,
        target_ts: i64,
        to: Offset,
    ) -> Result<Offset, ReadError> {
        self.halve(id, to, |row| row.max_timestamp_so_far < target_ts)
    }

    /// First offset, from the log start up to `to`, whose row is not `before`; `to` (or the log end) when all are.
    /// `before` holds for a first part of the rows and for none behind it.
    pub(super) fn halve(
        &self,
        id: PartitionId,
        to: Offset,
        before: impl Fn(&IndexRow) -> bool,
    ) -> Result<Offset, ReadError> {
        let bounds = self.known(id)?.bounds();
        let (mut low, mut high) = (bounds.start, bounds.end.min(to));
        while low < high {
            let middle = low + (high - low) / 2;
            match self.rows(id, middle, 1)?.first() {
                Some(row) if row.base_offset < high && before(row) => {
                    low = row.last_offset.saturating_add(1);
                }
                Some(row) => high = middle.min(row.base_offset.max(low)),
                None => high = middle,
            }
        }
        Ok(low)
    }

    /// First row from `from` on with `base_offset < to` that `accept` takes.
    fn find_row(
        &self,
        id: PartitionId,
        mut from: Offset,
        to: Offset,
        mut accept: impl FnMut(&IndexRow) -> bool,
    ) -> Result<Option<IndexRow>, ReadError> {
        let to = to.min(self.known(id)?.bounds().end);
        while from < to {
            let page = self.rows(id, from, PAGE)?;
            let Some(last) = page.last() else { break };
            from = last.last_offset.saturating_add(1);
            let found = page
                .into_iter()
                .take_while(|row| row.base_offset < to)
                .find(&mut accept);
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Offset and timestamp of the records of the row's batch within `range`.
    fn records_of(
        &self,
        id: PartitionId,
        row: &IndexRow,
        range: Range<Offset>,
    ) -> Result<Vec<(Offset, i64)>, ReadError> {
        let from = row.base_offset.max(range.start);
        let stored = self.read(id, from, from.saturating_add(1), 1)?;
        let Some(stored) = stored.into_iter().next() else {
            return Ok(Vec::new());
        };
        let opened = Batch::stored(stored.batch)
            .and_then(|batch| Ok((batch.header().attributes, batch.records(LIMITS)?)));
        let (attributes, records) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                // The row is whole, so the answer is at most a batch early, which a consumer that
                // seeks by time skips over. An error would stop it for good.
                tracing::warn!(?id, offset = row.base_offset, %error, "lookup in a bad batch");
                return Ok(vec![(from, row.max_timestamp)]);
            }
        };
        let stamped = attributes.is_log_append_time().then_some(row.max_timestamp);
        Ok(records
            .iter()
            .map(|record| {
                let offset = row
                    .base_offset
                    .saturating_add(i64::from(record.offset_delta));
                (offset, stamped.unwrap_or(record.timestamp))
            })
            .filter(|(offset, _)| range.contains(offset))
            .collect())
    }

    fn start(&self, id: PartitionId) -> Result<Offset, ReadError> {
        Ok(self.known(id)?.start())
    }
}

/// The first of the records with the largest timestamp.
fn first_newest(records: impl IntoIterator<Item = (Offset, i64)>) -> Option<(Offset, i64)> {
    records
        .into_iter()
        .reduce(|best, record| if record.1 > best.1 { record } else { best })
}
