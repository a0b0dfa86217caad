//! The partition path: partition table, tail cache, read-ahead and one writer thread over a [`LogStore`].
//!
//! # Life of an append
//!
//! [`Log::submit`] puts it in a bounded queue. The writer thread drains the queue, refuses what is
//! stale, gives the rest their offsets, writes all of it at once, makes it readable, syncs if one
//! of the appends asked, and calls each `done` in the order of submission. While it syncs the
//! queue fills for the next write: that is the group commit, and there is no other lock in it.
//!
//! # Failure
//!
//! After a failed sync, or a failed write that was not a plain full disk, the log is
//! [`StoreHealth::Offline`] for good: what reached the disk is unknown, and an fsync that failed
//! once may succeed the second time without having written anything. Reads go on.

mod admin;
mod ahead;
mod compact;
mod epochs;
mod lane;
mod partition;
mod plan;
mod producers;
mod queue;
mod read;
mod scrub;
mod stats;
mod syncer;
mod tail;
mod times;
mod writer;

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{JoinHandle, ThreadId};

use bytes::Bytes;
use tidegate_record::PartitionId;

use self::ahead::Ahead;
pub use self::compact::KeyName;
pub use self::lane::Lane;
use self::partition::Partition;
use self::queue::Queue;
pub use self::scrub::Scrubbed;
use self::stats::Counters;
pub use self::stats::LogStats;
use self::syncer::Syncer;
use self::writer::Writer;
use crate::{
    Aborts, AppendError, AppendPart, Appended, LogStore, Progress, StoreError, StoreHealth,
};

/// Called once with the fate of an append, on the writer thread and in the order of submission: it must not block.
pub type Done = Box<dyn FnOnce(Result<Vec<Appended>, AppendError>) + Send>;

/// Makes the late parts of an append from where its first part ended up. The error is the reason
/// for which the whole append is refused. Runs on the writer thread and holds up every partition
/// of the store: no disk, no locks that others hold for long.
pub type LateParts = Box<dyn FnOnce(&Appended) -> Result<Vec<AppendPart>, String> + Send>;

/// Called after each write and each sync, on the thread that made it: it must not block, and may hear of less than it has.
pub type ProgressFn = Box<dyn Fn(&[Progress]) + Send + Sync>;

/// Batches that enter the log together: a crash leaves all of them or none.
pub struct Append {
    /// The batches, written in this order.
    pub parts: Vec<AppendPart>,
    /// True: `done` is called when everything is on disk. False: when it is written, and the disk
    /// follows within [`LogOptions::lazy_sync_ms`].
    pub sync: bool,
    /// The broker's clock, kept in the index rows (ms).
    pub now_ms: i64,
    /// Refused too when an earlier append of the lane was refused.
    pub lane: Option<Lane>,
    /// Parts that need to know which offset the first one got.
    pub late: Option<Late>,
    /// Kept beside the first part's index row for as long as that; at most 16 KiB. See
    /// [`Log::note`].
    pub note: Option<Bytes>,
    /// When the first part is an ABORT marker: what it ends, for [`Log::aborted`].
    pub aborts: Option<Aborts>,
    /// Gets one [`Appended`] per part, the late ones last. Dropped uncalled only if the process
    /// ends first.
    pub done: Done,
}

/// Parts of an append that are made when the offset of its first part is known. They stand behind
/// the others and share their fate: a refusal of one, an error or a panic refuses the append.
pub struct Late {
    /// Bytes that they may come to, for the queue's bound.
    pub bytes: usize,
    /// Makes them.
    pub parts: LateParts,
}

impl Append {
    /// Bytes of its batches and its note.
    pub fn size(&self) -> usize {
        let parts: usize = self.parts.iter().map(|part| part.batch.bytes().len()).sum();
        let late = self.late.as_ref().map_or(0, |late| late.bytes);
        parts
            .saturating_add(late)
            .saturating_add(self.note.as_ref().map_or(0, Bytes::len))
    }
}

impl fmt::Debug for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self
            .parts
            .iter()
            .map(|part| (part.id, part.batch.size()))
            .collect();
        f.debug_struct("Append")
            .field("parts", &parts)
            .field("sync", &self.sync)
            .finish_non_exhaustive()
    }
}

/// Memory bounds and timing of a [`Log`].
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Bytes of recent batches kept readable without the store, over all partitions.
    pub tail_cache_bytes: usize,
    /// Bytes of older batches kept for whoever else reads them, and read before they are asked for; 0 for neither.
    pub read_ahead_bytes: usize,
    /// Bytes of batches that may wait for the writer. An append beyond it is handed back, unless
    /// it is alone in the queue.
    pub queue_bytes: usize,
    /// How long a written append may wait for a sync nobody asked for. `u64::MAX`: for ever.
    pub lazy_sync_ms: u64,
    /// It comes sooner where syncs are quick: after so many times what the last one took. 0: never sooner.
    pub lazy_sync_factor: u32,
    /// Bytes of batches that go into one write, one append at least.
    pub group_bytes: usize,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            tail_cache_bytes: 128 << 20,
            read_ahead_bytes: 64 << 20,
            queue_bytes: 64 << 20,
            lazy_sync_ms: 20,
            lazy_sync_factor: 0,
            group_bytes: 4 << 20,
        }
    }
}

/// The logs of one store. Any thread may use it; dropping the last reference closes it.
pub struct Log {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// The writer waits for it, so it must not wait for the writer.
    syncer_id: Option<ThreadId>,
}

/// What the writer thread shares with the callers.
pub(crate) struct Shared {
    store: Arc<dyn LogStore>,
    options: LogOptions,
    partitions: RwLock<HashMap<PartitionId, Arc<Partition>>>,
    queue: Queue,
    ahead: Ahead,
    /// Held by the writer from the epoch check to the publication of the new end. Whoever takes
    /// it knows that no append is half way: after `set_epoch` no older epoch can be appended.
    gate: Mutex<()>,
    /// Held while a log start moves or a partition comes or goes. Taken before `gate`.
    admin: Mutex<()>,
    /// Somebody waits for what is written and not yet synced.
    sync_wanted: AtomicBool,
    /// The syncer thread has something to do.
    syncing: AtomicBool,
    /// What the last sync took (ns).
    sync_took: AtomicU64,
    /// Held through a sync and what is made of its outcome. Taken before `gate`.
    syncs: Mutex<()>,
    offline: AtomicBool,
    reason: Mutex<String>,
    listeners: RwLock<Vec<ProgressFn>>,
    counters: Counters,
}

impl Log {
    /// Reads the partition table of `store` and starts the writer thread.
    pub fn open(store: Arc<dyn LogStore>, options: LogOptions) -> Result<Arc<Log>, StoreError> {
        let mut partitions = HashMap::new();
        for entry in store.partitions()? {
            partitions.insert(entry.id, Arc::new(Partition::load(store.as_ref(), entry)?));
        }
        let shared = Arc::new(Shared {
            store,
            queue: Queue::new(options.queue_bytes),
            ahead: Ahead::new(options.read_ahead_bytes),
            options,
            partitions: RwLock::new(partitions),
            gate: Mutex::new(()),
            admin: Mutex::new(()),
            sync_wanted: AtomicBool::new(false),
            syncing: AtomicBool::new(false),
            sync_took: AtomicU64::new(0),
            syncs: Mutex::new(()),
            offline: AtomicBool::new(false),
            reason: Mutex::new(String::new()),
            listeners: RwLock::new(Vec::new()),
            counters: Counters::default(),
        });
        let syncer = Syncer::start(shared.clone())?;
        let syncer_id = syncer.id();
        let writer = Writer::new(shared.clone(), syncer);
        let thread = std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || writer.run())
            .map_err(|error| StoreError::Io(format!("start the writer thread: {error}")))?;
        Ok(Arc::new(Log {
            shared,
            writer: Mutex::new(Some(thread)),
            syncer_id,
        }))
    }

    /// Asks for the sync that lazy appends wait for to come now. Never blocks; listeners hear of it when it is done. Where no
    /// sync is due, for a partition that is to wait longer or after a full disk, none is made.
    pub fn sync_soon(&self) {
        self.shared.sync_wanted.store(true, Ordering::Release);
        self.shared.queue.call();
    }

    /// Queues an append; never blocks on the disk. Handed back when the queue is full, the store
    /// is offline or the log is closed: nothing of it was done and `done` was not called.
    // The append is the caller's own value coming back, not an error to be kept small.
    #[allow(clippy::result_large_err)]
    pub fn submit(&self, append: Append) -> Result<(), Append> {
        if self.shared.offline.load(Ordering::Acquire) {
            return Err(append);
        }
        self.shared.queue.push(append)
    }

    /// Whether appends are still taken.
    pub fn health(&self) -> StoreHealth {
        self.shared.health()
    }

    /// What the writer did since the log was opened.
    pub fn stats(&self) -> LogStats {
        self.shared.counters.read()
    }

    /// Adds a listener for moving ends. Called after every write (the end moved, readers may read)
    /// and after every sync (the synced end moved), each time after the `done` calls it allows.
    pub fn on_progress(&self, f: ProgressFn) {
        self.shared
            .listeners
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(f);
    }

    /// Writes and syncs what is queued, then stops the writer thread. Later appends are handed
    /// back, reads go on. Called from a callback it only asks the thread to stop.
    pub fn close(&self) {
        self.shared.queue.close();
        let thread = lock(&self.writer).take();
        let Some(thread) = thread else { return };
        let current = std::thread::current().id();
        if thread.thread().id() == current || self.syncer_id == Some(current) {
            return;
        }
        if thread.join().is_err() {
            tracing::error!("the log writer panicked");
        }
        // A listener may hold what holds this log; nothing will call it any more.
        self.shared
            .listeners
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn partition(&self, id: PartitionId) -> Option<Arc<Partition>> {
        self.partitions
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned()
    }

    fn health(&self) -> StoreHealth {
        if self.offline.load(Ordering::Acquire) {
            return StoreHealth::Offline(lock(&self.reason).clone());
        }
        StoreHealth::Online
    }

    /// Ends acknowledgements for good. The first reason is kept: it is the cause.
    fn go_offline(&self, why: &str) {
        let mut reason = lock(&self.reason);
        if reason.is_empty() {
            tracing::error!(why, "the store goes offline");
            *reason = why.to_owned();
        }
        self.offline.store(true, Ordering::Release);
    }

    fn check_online(&self) -> Result<(), StoreError> {
        match self.health() {
            StoreHealth::Online => Ok(()),
            StoreHealth::Offline(reason) => Err(StoreError::Offline(reason)),
        }
    }
}

/// A caller's panic is its own bug; without this it would stop every partition of the store.
fn guarded(what: &str, f: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(f)).is_err() {
        tracing::error!(what, "panicked on a thread of the log");
    }
}

/// If a thread of the log panics nobody would answer any more: say so instead of hanging.
struct Watch(Arc<Shared>, &'static str);

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.go_offline(self.1);
        }
    }
}

/// A poisoned lock is taken all the same: every value behind one is whole between statements, and
/// a panic elsewhere must not stop the writer.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
