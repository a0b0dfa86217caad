//! Giving deleted space back, on a thread of its own.
//!
//! A range deletion is one small entry: the keys it covers go when a compaction meets them, and
//! nothing makes one run. The janitor compacts the key range of every partition that lost records.
//! Keys are small, so that is cheap, and it is exact: RocksDB learns which blobs are garbage, and
//! drops blob files that hold nothing else. Where old and live batches share files, it collects:
//! once more than half of all blob bytes are garbage, the live rest is rewritten.
//!
//! `DeleteFilesInRange` is not used. It drops table files without counting the blobs they pointed
//! to as garbage, and it ignores snapshots, so a running read would find rows without batches.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rocksdb::{BottommostLevelCompaction, CompactOptions, DB, FlushOptions};
use tidegate_record::PartitionId;

use super::options::{ABORTED, BATCHES, FAMILIES, NOTES, ROWS};
use super::{family, store_error};
use crate::StoreError;
use crate::keys::batch;

/// Deletions that come together are reclaimed together.
const GATHER: Duration = Duration::from_millis(200);

/// With more partitions than this one compaction over all of them is less work.
const MAX_SINGLE: usize = 16;

/// Garbage below this is not worth a collection.
const MIN_GARBAGE_BYTES: u64 = 16 << 20;

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
    while let Ok(first) = inbox.recv() {
        let mut ids = BTreeSet::from([first]);
        loop {
            match inbox.recv_timeout(GATHER) {
                Ok(id) => ids.insert(id),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            };
        }
        if let Err(error) = reclaim(db, &ids) {
            tracing::warn!(%error, "deleted space was not given back");
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

fn compact(db: &DB, first: PartitionId, last: PartitionId) -> Result<(), StoreError> {
    let (from, to) = (batch::encode(first, 0), batch::behind(last));
    for name in [BATCHES, ROWS, NOTES, ABORTED] {
        let family = family(db, name)?;
        db.compact_range_cf_opt(family, Some(&from), Some(&to), &beside_automatic());
    }
    Ok(())
}

fn worth_collecting(db: &DB) -> Result<bool, StoreError> {
    let garbage = property(db, "rocksdb.live-blob-file-garbage-size")?;
    let total = property(db, "rocksdb.live-blob-file-size")?;
    Ok(garbage >= MIN_GARBAGE_BYTES && garbage > total / 2)
}

/// Rewrites the live batches of all blob files, after which the files are garbage whole.
fn collect(db: &DB) -> Result<(), StoreError> {
    let family = family(db, BATCHES)?;
    let on = [
        ("enable_blob_garbage_collection", "true"),
        ("blob_garbage_collection_age_cutoff", "1.0"),
    ];
    db.set_options_cf(family, &on).map_err(store_error)?;
    let mut options = beside_automatic();
    options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
    db.compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &options);
    db.set_options_cf(family, &[("enable_blob_garbage_collection", "false")])
        .map_err(store_error)
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
