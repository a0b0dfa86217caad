//! Checking a store that nobody has open: every entry of every column family, and that rows and batches tell the same.
//!
//! Everything that a broker may read is read here, so that what it would refuse to serve is named: a producer snapshot that
//! cannot be read keeps a whole partition from opening. What cannot be read is stepped over: batches one by one, whatever has
//! no other list of its keys up to where the next table file begins.
//!
//! Reading a block checks RocksDB's own checksum of it, reading a batch the producer's CRC-32C. So what passes is what was
//! written, but for two things that only the broker's [floor](super::floor) tells: entries that were never written down,
//! and a write-ahead log that ends too early.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use bytes::Bytes;
use rocksdb::{DB, DBRawIteratorWithThreadMode, DEFAULT_COLUMN_FAMILY_NAME, ReadOptions};
use tidegate_record::{Batch, Offset, PartitionId};

use super::options::{ABORTED, BATCHES, NOTES, PARTITIONS, PRODUCERS, ROWS};
use super::{StoreReader, family, store_error};
use crate::keys::{aborted, batch, cleaned, format, index_row, note, partition, producers};
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
    /// Walks over everything and names what is wrong. `progress` hears of it every few batches.
    pub fn verify(
        &self,
        problem: &mut dyn FnMut(Problem),
        progress: &mut dyn FnMut(Verified),
    ) -> Verified {
        let mut walk = Walk {
            db: &self.db,
            starts: &starts(&self.db),
            problem,
            progress,
            done: Verified::default(),
        };
        if let Err(error) = self.check_floor() {
            walk.say(None, None, error.to_string());
        }
        let table = super::read_table(&self.db);
        match &table {
            Ok(table) => walk.all(table),
            Err(error) => walk.say(None, None, format!("the partition table: {error}")),
        }
        walk.others(table.ok().as_ref());
        walk.done
    }
}

struct Walk<'a> {
    db: &'a DB,
    starts: &'a Starts,
    problem: &'a mut dyn FnMut(Problem),
    progress: &'a mut dyn FnMut(Verified),
    done: Verified,
}

/// By column family, the first keys of its table files, ascending.
type Starts = HashMap<String, Vec<Vec<u8>>>;

impl<'a> Walk<'a> {
    fn all(&mut self, table: &BTreeMap<PartitionId, PartitionEntry>) {
        let mut behind = None;
        for entry in table.values() {
            self.strangers(behind, Some(entry.id));
            self.done.partitions += 1;
            if let Err(error) = self.partition(entry) {
                self.say(Some(entry.id), None, error.to_string());
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
        let mut rows = self.entries(ROWS, &from, Some(to.clone()))?;
        let mut batches = self.entries(BATCHES, &from, Some(to))?;
        // The first offset that nothing was seen of, the end of the last batch, and where there may be rows that were not seen.
        let (mut next, mut end) = (0, None);
        let mut blind: Vec<Range<Offset>> = Vec::new();
        loop {
            let row = match rows.batch() {
                Ok(row) => row,
                Err(error) => {
                    let until = rows.step_over(&batch::encode(id, next))?;
                    self.unreadable(id, "rows", next..until, &error);
                    blind.push(next..until);
                    continue;
                }
            };
            let row_at = row.as_ref().map(|row| row.0);
            let stored = match (batches.batch(), row_at) {
                (Ok(stored), _) => stored,
                (Err(error), None) => {
                    let until = batches.step_over(&batch::encode(id, next))?;
                    self.unreadable(id, "batches", next..until, &error);
                    next = until;
                    continue;
                }
                // Rows tell where the batches are, so that each is tried alone.
                (Err(error), Some(at)) => {
                    batches.seek(&batch::encode(id, at));
                    if batches.batch().is_ok() {
                        self.unreadable(id, "batches", next..at, &error);
                    } else {
                        let behind = at.saturating_add(1);
                        self.unreadable(id, "the batch", at..behind, &error);
                        batches.seek(&batch::encode(id, behind));
                        rows.next();
                        next = behind;
                    }
                    continue;
                }
            };
            let batch_at = stored.as_ref().map(|stored| stored.0);
            let Some(at) = row_at.into_iter().chain(batch_at).min() else {
                break;
            };
            next = at.saturating_add(1);
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
                (None, Some(stored)) if blind.iter().any(|range| range.contains(&at)) => {
                    self.count(stored.len());
                    if let Err(error) = Batch::check(stored) {
                        self.say(Some(id), Some(at), format!("the batch is damaged: {error}"));
                    }
                }
                (None, _) => self.say(Some(id), Some(at), "a batch without its row".into()),
            }
        }
        if let Some(end) = end.filter(|end| *end < entry.log_start && blind.is_empty()) {
            let what = format!(
                "the log ends at {end}, before its start {}",
                entry.log_start
            );
            self.say(Some(id), None, what);
        }
        Ok(())
    }

    fn unreadable(
        &mut self,
        id: PartitionId,
        what: &str,
        range: Range<Offset>,
        error: &StoreError,
    ) {
        let what = match range.end.saturating_sub(range.start) {
            1 => format!("{what} cannot be read: {error}"),
            _ if range.end == Offset::MAX => {
                format!("{what} cannot be read from here to the end: {error}")
            }
            _ => format!("{what} cannot be read up to {}: {error}", range.end),
        };
        self.say(Some(id), Some(range.start), what);
    }

    fn pair(
        &mut self,
        id: PartitionId,
        at: Offset,
        row: &[u8],
        stored: Bytes,
        end: &mut Option<Offset>,
    ) {
        let size = stored.len();
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
        self.count(size);
    }

    fn count(&mut self, size: usize) {
        self.done.batches += 1;
        self.done.bytes += size as u64;
        if self.done.batches.is_multiple_of(256) {
            (self.progress)(self.done);
        }
    }

    /// What is neither a row nor a batch.
    fn others(&mut self, table: Option<&BTreeMap<PartitionId, PartitionEntry>>) {
        for (name, check) in OTHERS {
            // A store of an earlier format lacks some.
            if family(self.db, name).is_err() {
                continue;
            }
            if let Err(error) = self.other(name, check, table) {
                self.say(None, None, format!("{name}: {error}"));
            }
        }
    }

    fn other(
        &mut self,
        name: &str,
        check: Check,
        table: Option<&BTreeMap<PartitionId, PartitionEntry>>,
    ) -> Result<(), StoreError> {
        let mut entries = self.entries(name, &[], None)?;
        let mut last = Vec::new();
        loop {
            let (key, value) = match entries.item() {
                Ok(Some(item)) => item,
                Ok(None) => return Ok(()),
                Err(error) => {
                    let what = match entries.step_over_any(&last) {
                        true => "nothing up to the next table file was read",
                        false => "nothing behind it was read",
                    };
                    self.say(None, None, format!("{name}: {error}; {what}"));
                    continue;
                }
            };
            match check(key, value) {
                Ok(Some((id, offset))) if table.is_some_and(|table| !table.contains_key(&id)) => {
                    let what = format!("{name} of a partition that the table does not have");
                    self.say(Some(id), offset, what);
                }
                Ok(_) => {}
                Err(error) => self.say(None, None, format!("{name}: {error}")),
            }
            last = key.to_vec();
            entries.next();
        }
    }

    fn entries(
        &self,
        name: &str,
        from: &[u8],
        to: Option<Vec<u8>>,
    ) -> Result<Entries<'a>, StoreError> {
        Ok(Entries {
            iterator: scan(self.db, name, from, to)?,
            starts: self.starts.get(name).map_or(&[], Vec::as_slice),
            ended: false,
        })
    }

    fn say(&mut self, partition: Option<PartitionId>, offset: Option<Offset>, what: String) {
        (self.problem)(Problem {
            partition,
            offset,
            what,
        });
    }
}

/// A key and its value.
type Pair<'a> = (&'a [u8], &'a [u8]);

/// The entries of one column family, of which some may be unreadable.
struct Entries<'a> {
    iterator: DBRawIteratorWithThreadMode<'a, DB>,
    starts: &'a [Vec<u8>],
    /// Nothing more that can be read.
    ended: bool,
}

impl Entries<'_> {
    fn item(&self) -> Result<Option<Pair<'_>>, StoreError> {
        if self.ended {
            return Ok(None);
        }
        let item = self.iterator.item();
        if item.is_none() {
            self.iterator.status().map_err(store_error)?;
        }
        Ok(item)
    }

    /// The item of a family whose keys are those of batches.
    fn batch(&self) -> Result<Option<(Offset, Bytes)>, StoreError> {
        let Some((key, value)) = self.item()? else {
            return Ok(None);
        };
        let (_, offset) = batch::decode(key)?;
        Ok(Some((offset, Bytes::copy_from_slice(value))))
    }

    fn next(&mut self) {
        self.iterator.next();
    }

    fn seek(&mut self, key: &[u8]) {
        self.iterator.seek(key);
    }

    /// From a place that cannot be read, before which everything below `from` was seen, to where the next table file begins
    /// that can be: its first offset, or the last of all.
    fn step_over(&mut self, from: &[u8]) -> Result<Offset, StoreError> {
        self.step_over_any(from);
        Ok(self.batch()?.map_or(Offset::MAX, |(offset, _)| offset))
    }

    /// False: there is no such place.
    fn step_over_any(&mut self, from: &[u8]) -> bool {
        for start in self.starts.iter().filter(|start| start.as_slice() > from) {
            self.iterator.seek(start);
            if self.iterator.status().is_ok() {
                return true;
            }
        }
        self.ended = true;
        false
    }
}

/// Checks one entry; whose it is, where it is a partition's.
type Check = fn(&[u8], &[u8]) -> Result<Option<(PartitionId, Option<Offset>)>, StoreError>;

const OTHERS: [(&str, Check); 5] = [
    (NOTES, |key, value| {
        let (id, offset) = batch::decode(key)?;
        note::decode(value).map(|_| Some((id, Some(offset))))
    }),
    (ABORTED, |key, value| {
        let (id, marker) = batch::decode(key)?;
        aborted::decode(marker, value).map(|_| Some((id, Some(marker))))
    }),
    (PRODUCERS, |key, value| {
        let id = producers::decode_key(key)?;
        producers::decode(value).map(|_| Some((id, None)))
    }),
    (PARTITIONS, |key, value| {
        partition::decode(key, value).map(|entry| Some((entry.id, None)))
    }),
    (DEFAULT_COLUMN_FAMILY_NAME, |key, value| {
        if key == format::KEY {
            return format::check(value).map(|()| None);
        }
        let id = cleaned::decode_key(key)?;
        cleaned::decode(value).map(|_| Some((id, None)))
    }),
];

fn starts(db: &DB) -> Starts {
    let mut starts = Starts::new();
    for file in db.live_files().unwrap_or_default() {
        let keys = starts.entry(file.column_family_name).or_default();
        keys.extend(file.start_key);
    }
    starts.values_mut().for_each(|keys| keys.sort());
    starts
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
