//! Giving deleted space back, on a thread of its own.
//!
//! A range deletion is one small entry: the keys it covers go when a compaction meets them, and
//! nothing makes one run. The janitor compacts the key range of every partition that lost records.
//! Keys are small, so that is cheap, and it is exact: RocksDB learns which blobs are garbage, and
//! drops blob files that hold nothing else. Where old and live batches share files, it collects:
//! once more than a third of all blob bytes is garbage, the live rest of the oldest files is
//! rewritten, a quarter of all files at a time, until less than a third is. So a byte that is given
//! back costs at most two that are written, and a store holds at most half as much garbage as
//! records.
//!
//! What is deleted by rows that a crash, a stop or a running read kept from being compacted is
//! found again by the deletions that table files still hold.
//!
//! `DeleteFilesInRange` is not used. It drops table files without counting the blobs they pointed
//! to as garbage, and it ignores snapshots, so a running read would find rows without batches.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rocksdb::{BottommostLevelCompaction, CompactOptions, DB, FlushOptions};
use tidegate_record::PartitionId;

use super::options::{ABORTED, BATCHES, FAMILIES, NOTES, ROWS};
use super::{family, store_error};
use crate::StoreError;
use crate::keys::batch;

/// Deletions that come together are reclaimed together.
const GATHER: Duration = Duration::from_millis(200);

/// Gathering ends after so long, however many more come; after a reclaim that took longer it may
/// take as long as that, so that a log that is being compacted is not reclaimed after each step.
const MAX_GATHER: Duration = Duration::from_secs(1);

/// When deletions are looked for that a reclaim had to leave, for the first time and at most.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LAST_RETRY: Duration = Duration::from_secs(300);

/// A start reads much, and what was not given back so far can wait for it.
const AFTER_OPENING: Duration = Duration::from_secs(1);

/// The families in which ranges of keys are deleted.
const DELETED_BY_RANGE: [&str; 4] = [BATCHES, ROWS, NOTES, ABORTED];

/// With more partitions than this one compaction over all of them is less work.
const MAX_SINGLE: usize = 16;

/// Garbage below this is not worth a collection.
const MIN_GARBAGE_BYTES: u64 = 16 << 20;

/// Of all blob bytes, one in so many may be garbage.
const GARBAGE_SHARE: u64 = 3;

/// A collection rewrites one in so many blob files at a time: what is rewritten is on the disk twice until a step ends.
const STEP_SHARE: u64 = 4;

/// Steps of one collection; rewritten files are the youngest, so that each step meets others.
const MAX_STEPS: usize = 8;

/// A first and a last key.
type Span = (Vec<u8>, Vec<u8>);

pub(super) struct Janitor {
    requests: Option<Sender<PartitionId>>,
    thread: Option<JoinHandle<()>>,
    db: Arc<DB>,
}

impl Janitor {
    pub(super) fn start(db: Arc<DB>) -> Result<Janitor, StoreError> {
        let (requests, inbox) = channel();
        let worker = db.clone();
        let thread = std::thread::Builder::new()
            .name("log-janitor".into())
            .spawn(move || run(&worker, &inbox))
            .map_err(|error| StoreError::Io(format!("start the janitor thread: {error}")))?;
        Ok(Janitor {
            requests: Some(requests),
            thread: Some(thread),
            db,
        })
    }

    /// The partition lost records. Returns at once.
    pub(super) fn reclaim(&self, id: PartitionId) {
        if let Some(requests) = &self.requests
            && requests.send(id).is_err()
        {
            tracing::warn!(
                ?id,
                "the janitor is gone; space comes back at the next start"
            );
        }
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        self.requests = None;
        // A compaction may take minutes and loses nothing when it is cut short.
        self.db.cancel_all_background_work(false);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the janitor panicked");
        }
    }
}

fn run(db: &DB, inbox: &Receiver<PartitionId>) {
    let mut took = Duration::ZERO;
    let mut retry = FIRST_RETRY;
    // Of the last run of this store, or of a reclaim that left some.
    let mut wait = Some(AFTER_OPENING);
    loop {
        let ids = match wait {
            Some(wait) => inbox.recv_timeout(wait),
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        let ids = match ids {
            Ok(first) => gather(inbox, first, took),
            Err(RecvTimeoutError::Timeout) => Some(BTreeSet::new()),
            Err(RecvTimeoutError::Disconnected) => None,
        };
        let Some(ids) = ids else { return };
        let began = Instant::now();
        let done = if ids.is_empty() {
            retry = LAST_RETRY.min(retry * 2);
            reclaim_left(db)
        } else {
            retry = FIRST_RETRY;
            reclaim(db, &ids)
        };
        took = began.elapsed();
        let left = done.and_then(|()| Ok(left(db)?.is_some()));
        wait = match left {
            Ok(true) => Some(retry),
            Ok(false) => None,
            Err(error) => {
                tracing::warn!(%error, "deleted space was not given back");
                Some(retry)
            }
        };
    }
}

/// With the first one, those that come within a while; `None` when the store closes.
fn gather(
    inbox: &Receiver<PartitionId>,
    first: PartitionId,
    last_took: Duration,
) -> Option<BTreeSet<PartitionId>> {
    let mut ids = BTreeSet::from([first]);
    let end = Instant::now() + MAX_GATHER.max(last_took);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match inbox.recv_timeout(GATHER.min(left)) {
            Ok(id) => ids.insert(id),
            Err(RecvTimeoutError::Timeout) => return Some(ids),
            Err(RecvTimeoutError::Disconnected) => return None,
        };
        if left.is_zero() {
            return Some(ids);
        }
    }
}

fn reclaim(db: &DB, ids: &BTreeSet<PartitionId>) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (ids.first(), ids.last()) else {
        return Ok(());
    };
    if ids.len() > MAX_SINGLE {
        compact(db, *first, *last)?;
    } else {
        ids.iter().try_for_each(|id| compact(db, *id, *id))?;
    }
    // The write-ahead log holds what was deleted too, for as long as any family has something that is only there.
    let families = FAMILIES.map(|name| family(db, name));
    let families = families.into_iter().collect::<Result<Vec<_>, _>>()?;
    db.flush_cfs_opt(&families, &FlushOptions::default())
        .map_err(store_error)?;
    if worth_collecting(db)? {
        collect(db)?;
    }
    Ok(())
}

/// Compacts what table files still hold deletions of, down to the last level: what they delete may be beside them there.
fn reclaim_left(db: &DB) -> Result<(), StoreError> {
    let Some((from, to)) = left(db)? else {
        return Ok(());
    };
    let mut options = beside_automatic();
    options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
    for name in DELETED_BY_RANGE {
        db.compact_range_cf_opt(family(db, name)?, Some(&from), Some(&to), &options);
    }
    if worth_collecting(db)? {
        collect(db)?;
    }
    Ok(())
}

/// The first and the last key of the table files that hold deletions; `None` when nothing waits to be given back.
fn left(db: &DB) -> Result<Option<Span>, StoreError> {
    let files = db.live_files().map_err(store_error)?;
    let holding = files.into_iter().filter(|file| {
        file.num_deletions > 0 && DELETED_BY_RANGE.contains(&file.column_family_name.as_str())
    });
    let ranges = holding.filter_map(|file| file.start_key.zip(file.end_key));
    Ok(ranges.reduce(|(from, to), (start, end)| (from.min(start), to.max(end))))
}

fn compact(db: &DB, first: PartitionId, last: PartitionId) -> Result<(), StoreError> {
    let (from, to) = (batch::encode(first, 0), batch::behind(last));
    for name in DELETED_BY_RANGE {
        let family = family(db, name)?;
        db.compact_range_cf_opt(family, Some(&from), Some(&to), &beside_automatic());
    }
    Ok(())
}

fn worth_collecting(db: &DB) -> Result<bool, StoreError> {
    let garbage = property(db, "rocksdb.live-blob-file-garbage-size")?;
    let total = property(db, "rocksdb.live-blob-file-size")?;
    Ok(garbage >= MIN_GARBAGE_BYTES && garbage > total / GARBAGE_SHARE)
}

/// Rewrites the live batches of the oldest blob files, after which the files are garbage whole, until few bytes are.
fn collect(db: &DB) -> Result<(), StoreError> {
    let done = (1..=MAX_STEPS).try_for_each(|step| {
        if step > 1 && !worth_collecting(db)? {
            return Ok(());
        }
        collect_oldest(db, step == MAX_STEPS)
    });
    // Whatever else is compacted later leaves the batches where they are.
    db.set_options_cf(
        family(db, BATCHES)?,
        &[("enable_blob_garbage_collection", "false")],
    )
    .map_err(store_error)?;
    done
}

fn collect_oldest(db: &DB, all: bool) -> Result<(), StoreError> {
    let files = property(db, "rocksdb.num-blob-files")?;
    // RocksDB rounds the count of files down.
    let share = ((files / STEP_SHARE).max(1) as f64 + 0.5) / files.max(1) as f64;
    let cutoff = if all { 1.0 } else { share.min(1.0) };
    let family = family(db, BATCHES)?;
    let on = [
        ("enable_blob_garbage_collection", "true"),
        ("blob_garbage_collection_age_cutoff", &cutoff.to_string()),
    ];
    db.set_options_cf(family, &on).map_err(store_error)?;
    let mut options = beside_automatic();
    options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
    db.compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &options);
    Ok(())
}

fn property(db: &DB, name: &str) -> Result<u64, StoreError> {
    let value = db
        .property_int_value_cf(family(db, BATCHES)?, name)
        .map_err(store_error)?;
    Ok(value.unwrap_or(0))
}

fn beside_automatic() -> CompactOptions {
    let mut options = CompactOptions::default();
    options.set_exclusive_manual_compaction(false);
    options
}
