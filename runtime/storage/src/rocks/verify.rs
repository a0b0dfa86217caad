//! Checking a store that nobody has open: every row, every batch, and that they tell the same.
//!
//! Reading a block checks RocksDB's own checksum of it, reading a batch the producer's CRC-32C. So what passes is what was
//! written, but for two things that only the broker's [floor](super::floor) tells: entries that were never written down,
//! and a write-ahead log that ends too early.

use std::collections::BTreeMap;

use bytes::Bytes;
use rocksdb::{DB, DBRawIteratorWithThreadMode, ReadOptions};
use tidegate_record::{Offset, PartitionId};

use super::options::{BATCHES, NOTES, ROWS};
use super::{StoreReader, family, store_error};
use crate::keys::{batch, index_row, note};
use crate::{PartitionEntry, StoreError, Stored};

/// Read ahead of the walk; it is one long scan.
const READAHEAD: usize = 2 << 20;

/// One thing that is not as it was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Where; `None` when it is not about one partition.
    pub partition: Option<PartitionId>,
    /// The batch's base offset, where it is about one batch.
    pub offset: Option<Offset>,
    /// A sentence.
    pub what: String,
}

/// What was looked at.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct Verified {
    /// Partitions of the table.
    pub partitions: u64,
    /// Batches whose CRC was computed.
    pub batches: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl StoreReader {
    /// Walks over everything and names what is wrong. `progress` hears of it every few batches. The problems of a
    /// partition end at the first block that cannot be read, since what lies behind it is out of reach.
    pub fn verify(
        &self,
        problem: &mut dyn FnMut(Problem),
        progress: &mut dyn FnMut(Verified),
    ) -> Verified {
        let mut walk = Walk {
            db: &self.db,
            problem,
            progress,
            done: Verified::default(),
        };
        if let Err(error) = self.check_floor() {
            walk.say(None, None, error.to_string());
        }
        match super::read_table(&self.db) {
            Ok(table) => walk.all(&table),
            Err(error) => walk.say(None, None, format!("the partition table: {error}")),
        }
        walk.done
    }
}

struct Walk<'a> {
    db: &'a DB,
    problem: &'a mut dyn FnMut(Problem),
    progress: &'a mut dyn FnMut(Verified),
    done: Verified,
}

impl Walk<'_> {
    fn all(&mut self, table: &BTreeMap<PartitionId, PartitionEntry>) {
        let mut behind = None;
        for entry in table.values() {
            self.strangers(behind, Some(entry.id));
            self.done.partitions += 1;
            if let Err(error) = self.partition(entry) {
                self.say(
                    Some(entry.id),
                    None,
                    format!("{error}; what lies behind it was not looked at"),
                );
            }
            (self.progress)(self.done);
            behind = Some(entry.id);
        }
        self.strangers(behind, None);
    }

    /// Rows and batches of ids that the table does not have.
    fn strangers(&mut self, behind: Option<PartitionId>, before: Option<PartitionId>) {
        let from = behind.map_or_else(Vec::new, batch::behind);
        let to = before.map(|id| batch::encode(id, 0).to_vec());
        for name in [ROWS, BATCHES] {
            let first = scan(self.db, name, &from, to.clone()).and_then(|iterator| {
                iterator.status().map_err(store_error)?;
                iterator.key().map(batch::decode).transpose()
            });
            match first {
                Ok(None) => {}
                Ok(Some((id, offset))) => self.say(
                    Some(id),
                    Some(offset),
                    format!("{name} of a partition that the table does not have"),
                ),
                Err(error) => self.say(None, None, format!("{name}: {error}")),
            }
        }
    }

    fn partition(&mut self, entry: &PartitionEntry) -> Result<(), StoreError> {
        let id = entry.id;
        let (from, to) = (batch::encode(id, 0), batch::behind(id));
        let mut rows = scan(self.db, ROWS, &from, Some(to.clone()))?;
        let mut batches = scan(self.db, BATCHES, &from, Some(to.clone()))?;
        let mut end = None;
        loop {
            let (row, stored) = (item(&rows)?, item(&batches)?);
            let (row_at, batch_at) = (row.as_ref().map(|r| r.0), stored.as_ref().map(|b| b.0));
            let Some(at) = row_at.into_iter().chain(batch_at).min() else {
                break;
            };
            let row = row.filter(|row| row.0 == at).map(|row| row.1);
            let stored = stored
                .filter(|stored| stored.0 == at)
                .map(|stored| stored.1);
            if row_at == Some(at) {
                rows.next();
            }
            if batch_at == Some(at) {
                batches.next();
            }
            match (row, stored) {
                (Some(row), Some(stored)) => self.pair(id, at, &row, stored, &mut end),
                (Some(_), None) => self.say(Some(id), Some(at), "a row without its batch".into()),
                (None, _) => self.say(Some(id), Some(at), "a batch without its row".into()),
            }
        }
        if let Some(end) = end.filter(|end| *end < entry.log_start) {
            let what = format!(
                "the log ends at {end}, before its start {}",
                entry.log_start
            );
            self.say(Some(id), None, what);
        }
        self.notes(id, &from, to)
    }

    fn pair(
        &mut self,
        id: PartitionId,
        at: Offset,
        row: &[u8],
        stored: Bytes,
        end: &mut Option<Offset>,
    ) {
        let size = stored.len() as u64;
        match index_row::decode(at, row) {
            Err(error) => self.say(Some(id), Some(at), error.to_string()),
            Ok(row) => {
                if end.is_some_and(|end| at < end) {
                    let what = "it begins before the batch in front of it ends";
                    self.say(Some(id), Some(at), what.into());
                }
                *end = Some(row.last_offset.saturating_add(1));
                let found = Stored { row, batch: stored };
                if let Err(what) = found.check() {
                    self.say(Some(id), Some(at), what);
                }
            }
        }
        self.done.batches += 1;
        self.done.bytes += size;
        if self.done.batches.is_multiple_of(256) {
            (self.progress)(self.done);
        }
    }

    fn notes(&mut self, id: PartitionId, from: &[u8], to: Vec<u8>) -> Result<(), StoreError> {
        if family(self.db, NOTES).is_err() {
            return Ok(());
        }
        let mut notes = scan(self.db, NOTES, from, Some(to))?;
        while let Some((at, value)) = item(&notes)? {
            if let Err(error) = note::decode(&value) {
                self.say(Some(id), Some(at), error.to_string());
            }
            notes.next();
        }
        Ok(())
    }

    fn say(&mut self, partition: Option<PartitionId>, offset: Option<Offset>, what: String) {
        (self.problem)(Problem {
            partition,
            offset,
            what,
        });
    }
}

fn scan<'a>(
    db: &'a DB,
    name: &str,
    from: &[u8],
    to: Option<Vec<u8>>,
) -> Result<DBRawIteratorWithThreadMode<'a, DB>, StoreError> {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_verify_checksums(true);
    options.set_readahead_size(READAHEAD);
    if let Some(to) = to {
        options.set_iterate_upper_bound(to);
    }
    let mut iterator = db.raw_iterator_cf_opt(family(db, name)?, options);
    iterator.seek(from);
    Ok(iterator)
}

/// Base offset and value at an iterator's place.
fn item(
    iterator: &DBRawIteratorWithThreadMode<'_, DB>,
) -> Result<Option<(Offset, Bytes)>, StoreError> {
    iterator.status().map_err(store_error)?;
    let Some((key, value)) = iterator.item() else {
        return Ok(None);
    };
    let (_, offset) = batch::decode(key)?;
    Ok(Some((offset, Bytes::copy_from_slice(value))))
}
