//! Batches, appends and stores for the tests of this crate.
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use tidegate_record::{Batch, BatchBuilder, Codec, LeaderEpoch, Offset, PartitionId, RecordParts};
use tidegate_storage::{
    AbortedTransaction, Append, AppendError, AppendPart, Appended, Change, IndexRow, Log,
    LogOptions, LogStore, PartitionEntry, Placed, ProducerSnapshot, StoreError, Stored,
};

pub(crate) const EPOCH: LeaderEpoch = LeaderEpoch(3);

pub(crate) fn entry(id: u32) -> PartitionEntry {
    PartitionEntry {
        id: PartitionId(id),
        topic_id: [id as u8; 16],
        index: 0,
        log_start: 0,
    }
}

/// A batch of one record per timestamp, each with a value of `value_len` bytes.
pub(crate) fn batch_at(timestamps: &[i64], value_len: usize) -> Batch {
    let value = vec![b'v'; value_len];
    let mut builder = BatchBuilder::new(Codec::None);
    for timestamp in timestamps {
        let record = RecordParts {
            timestamp: *timestamp,
            value: Some(&value),
            ..RecordParts::default()
        };
        builder.push(record).unwrap();
    }
    builder.build().unwrap()
}

pub(crate) fn batch(records: usize) -> Batch {
    batch_at(&vec![1_000; records], 10)
}

/// A header that covers `offsets` offsets and holds no record.
pub(crate) fn empty_batch(offsets: i32) -> Batch {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.last_offset_delta = Some(offsets - 1);
    builder.build().unwrap()
}

pub(crate) fn part(id: u32, batch: Batch) -> AppendPart {
    let last_surviving_delta = if batch.record_count() == 0 {
        -1
    } else {
        batch.header().last_offset_delta
    };
    AppendPart {
        id: PartitionId(id),
        epoch: EPOCH,
        batch,
        last_surviving_delta,
    }
}

type Fate = Result<Vec<Appended>, AppendError>;

/// Submits and returns where the fate will arrive.
pub(crate) fn submit(log: &Log, parts: Vec<AppendPart>, sync: bool) -> Receiver<Fate> {
    let (sender, receiver) = channel();
    let done = Box::new(move |fate| sender.send(fate).unwrap_or(()));
    log.submit(Append {
        parts,
        sync,
        now_ms: 5_000,
        lane: None,
        late: None,
        note: None,
        aborts: None,
        done,
    })
    .expect("the queue has room");
    receiver
}

pub(crate) fn append(log: &Log, id: u32, batch: Batch) -> Appended {
    submit(log, vec![part(id, batch)], true)
        .recv()
        .unwrap()
        .unwrap()[0]
}

pub(crate) fn open(store: Arc<dyn LogStore>, partitions: u32) -> Arc<Log> {
    open_with(store, partitions, LogOptions::default())
}

pub(crate) fn open_with(
    store: Arc<dyn LogStore>,
    partitions: u32,
    options: LogOptions,
) -> Arc<Log> {
    let log = Log::open(store, options).unwrap();
    for id in 0..partitions {
        log.ensure_partition(entry(id)).unwrap();
        log.set_epoch(PartitionId(id), EPOCH);
    }
    log
}

/// What a writer would place at `base`, with a running position of its own.
pub(crate) fn placed(batch: Batch, base: Offset, position: u64) -> Stored {
    let last = batch.header().last_offset_delta;
    let batch = batch.place(base, EPOCH);
    let row = IndexRow::of(&batch, last, 5_000, position, i64::MIN);
    Stored {
        row,
        batch: batch.into_bytes(),
    }
}

pub(crate) fn write(store: &dyn LogStore, id: u32, batches: &[Stored]) -> Result<(), StoreError> {
    let writes: Vec<Placed<'_>> = batches
        .iter()
        .map(|stored| Placed {
            id: PartitionId(id),
            row: stored.row,
            bytes: &stored.batch,
            note: None,
            aborted: None,
        })
        .collect();
    store.write(&writes)
}

/// A store whose writes, syncs and reads fail, and whose writes wait, when told to.
pub(crate) struct Troubled {
    inner: Arc<dyn LogStore>,
    pub(crate) fail_write: Mutex<Option<StoreError>>,
    pub(crate) fail_sync: AtomicBool,
    pub(crate) fail_read: AtomicBool,
    pub(crate) reads: AtomicUsize,
    pub(crate) writes: AtomicUsize,
    pub(crate) syncs: AtomicUsize,
    hold: Mutex<bool>,
    hold_sync: Mutex<bool>,
    released: Condvar,
    sync_released: Condvar,
}

impl Troubled {
    pub(crate) fn new(inner: Arc<dyn LogStore>) -> Arc<Troubled> {
        Arc::new(Troubled {
            inner,
            fail_write: Mutex::new(None),
            fail_sync: AtomicBool::new(false),
            fail_read: AtomicBool::new(false),
            reads: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
            syncs: AtomicUsize::new(0),
            hold: Mutex::new(false),
            hold_sync: Mutex::new(false),
            released: Condvar::new(),
            sync_released: Condvar::new(),
        })
    }

    /// Writes wait until [`Troubled::release`].
    pub(crate) fn hold(&self) {
        *self.hold.lock().unwrap() = true;
    }

    pub(crate) fn release(&self) {
        *self.hold.lock().unwrap() = false;
        self.released.notify_all();
    }

    /// Syncs wait until [`Troubled::release_sync`].
    pub(crate) fn hold_sync(&self) {
        *self.hold_sync.lock().unwrap() = true;
    }

    pub(crate) fn release_sync(&self) {
        *self.hold_sync.lock().unwrap() = false;
        self.sync_released.notify_all();
    }
}

impl LogStore for Troubled {
    fn partitions(&self) -> Result<Vec<PartitionEntry>, StoreError> {
        self.inner.partitions()
    }
    fn create_partitions(&self, entries: &[PartitionEntry]) -> Result<(), StoreError> {
        self.inner.create_partitions(entries)
    }
    fn delete_partitions(&self, ids: &[PartitionId]) -> Result<(), StoreError> {
        self.inner.delete_partitions(ids)
    }
    fn write(&self, writes: &[Placed<'_>]) -> Result<(), StoreError> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        drop(
            self.released
                .wait_while(self.hold.lock().unwrap(), |held| *held)
                .unwrap(),
        );
        if let Some(error) = self.fail_write.lock().unwrap().clone() {
            return Err(error);
        }
        self.inner.write(writes)
    }
    fn sync(&self) -> Result<(), StoreError> {
        let fails = self.fail_sync.load(Ordering::SeqCst);
        self.syncs.fetch_add(1, Ordering::SeqCst);
        drop(
            self.sync_released
                .wait_while(self.hold_sync.lock().unwrap(), |held| *held)
                .unwrap(),
        );
        if fails {
            return Err(StoreError::Io("fsync: Input/output error".into()));
        }
        self.inner.sync()
    }
    fn read(
        &self,
        id: PartitionId,
        from: Offset,
        to: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.fail_read.load(Ordering::SeqCst) {
            return Err(StoreError::Io("pread: Input/output error".into()));
        }
        self.inner.read(id, from, to, max_bytes)
    }
    fn rows(
        &self,
        id: PartitionId,
        from: Offset,
        limit: usize,
    ) -> Result<Vec<IndexRow>, StoreError> {
        self.inner.rows(id, from, limit)
    }
    fn note(&self, id: PartitionId, offset: Offset) -> Result<Option<(Offset, Bytes)>, StoreError> {
        self.inner.note(id, offset)
    }
    fn aborted(
        &self,
        id: PartitionId,
        from: Offset,
        limit: usize,
    ) -> Result<Vec<AbortedTransaction>, StoreError> {
        self.inner.aborted(id, from, limit)
    }
    fn last_row(&self, id: PartitionId) -> Result<Option<IndexRow>, StoreError> {
        self.inner.last_row(id)
    }
    fn end(&self, id: PartitionId) -> Result<Offset, StoreError> {
        self.inner.end(id)
    }
    fn set_log_start(&self, id: PartitionId, start: Offset) -> Result<(), StoreError> {
        self.inner.set_log_start(id, start)
    }
    fn delete_below(&self, id: PartitionId, start: Offset) -> Result<(), StoreError> {
        self.inner.delete_below(id, start)
    }
    fn compact(
        &self,
        id: PartitionId,
        changes: &[Change<'_>],
        cleaned: Offset,
    ) -> Result<(), StoreError> {
        self.inner.compact(id, changes, cleaned)
    }
    fn cleaned(&self, id: PartitionId) -> Result<Offset, StoreError> {
        self.inner.cleaned(id)
    }
    fn producers(&self, id: PartitionId) -> Result<Option<ProducerSnapshot>, StoreError> {
        self.inner.producers(id)
    }

    fn put_producers(
        &self,
        id: PartitionId,
        snapshot: &ProducerSnapshot,
    ) -> Result<(), StoreError> {
        self.inner.put_producers(id, snapshot)
    }

    fn settle(&self) -> Result<(), StoreError> {
        self.inner.settle()
    }

    fn truncate(&self, id: PartitionId, to: Offset) -> Result<(), StoreError> {
        self.inner.truncate(id, to)
    }
}
