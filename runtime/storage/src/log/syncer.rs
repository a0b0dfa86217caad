//! Syncs, and the thread for those that nobody asked for: the writer goes on writing while the disk is busy.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tidegate_record::Offset;

use super::partition::Partition;
use super::{Shared, Watch, guarded, lock};
use crate::{Progress, StoreError, StoreHealth};

/// How far a partition had got when a sync began. Whoever appended below has been answered, unless it is who asked.
pub(crate) struct Mark {
    partition: Arc<Partition>,
    end: Offset,
    /// How often the log had been cut by then.
    cuts: u64,
}

/// The writer's end of the thread.
pub(crate) struct Syncer {
    jobs: Option<Sender<Vec<Mark>>>,
    thread: Option<JoinHandle<()>>,
}

impl Mark {
    /// Taken by the writer, the only one who moves the end.
    pub(crate) fn of(partition: Arc<Partition>) -> Mark {
        Mark {
            end: partition.end().offset,
            cuts: partition.cuts(),
            partition,
        }
    }

    pub(crate) fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }
}

impl Syncer {
    pub(crate) fn start(shared: Arc<Shared>) -> Result<Syncer, StoreError> {
        let (jobs, orders) = channel();
        let thread = std::thread::Builder::new()
            .name("log-syncer".into())
            .spawn(move || run(&shared, &orders))
            .map_err(|error| StoreError::Io(format!("start the syncer thread: {error}")))?;
        Ok(Syncer {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    pub(crate) fn id(&self) -> Option<std::thread::ThreadId> {
        self.thread.as_ref().map(|thread| thread.thread().id())
    }

    /// Makes a sync. There is one under way until [`Shared::is_syncing`] says otherwise; the writer is called then.
    pub(crate) fn sync(&self, shared: &Shared, marks: Vec<Mark>) {
        shared.syncing.store(true, Ordering::Release);
        if let Some(jobs) = &self.jobs {
            // A thread that panicked has taken the store offline.
            drop(jobs.send(marks));
        }
    }
}

impl Drop for Syncer {
    /// Waits for the sync under way.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the log syncer panicked");
        }
    }
}

fn run(shared: &Arc<Shared>, orders: &Receiver<Vec<Mark>>) {
    let _offline_if_it_panics = Watch(shared.clone(), "the syncer thread panicked");
    while let Ok(marks) = orders.recv() {
        if let Ok(marks) = shared.sync_store(marks) {
            // Nothing beyond the marks: appends that came since may not have been answered yet.
            let progress = marks.iter().map(|mark| Progress {
                id: mark.partition.id(),
                end: mark.end,
                synced_end: mark.end,
            });
            shared.report(&progress.collect::<Vec<_>>());
        }
        shared.syncing.store(false, Ordering::Release);
        shared.queue.call();
    }
}

impl Shared {
    pub(crate) fn is_syncing(&self) -> bool {
        self.syncing.load(Ordering::Acquire)
    }

    /// Never tried again once it failed: the kernel may have dropped the dirty pages and would call the next one a success.
    /// So there is one at a time. Gives the marks back that still hold; the error is why the store is offline.
    pub(crate) fn sync_store(&self, mut marks: Vec<Mark>) -> Result<Vec<Mark>, String> {
        let _alone = lock(&self.syncs);
        if let StoreHealth::Offline(reason) = self.health() {
            return Err(reason);
        }
        let start = Instant::now();
        self.store.sync().map_err(|error| {
            self.go_offline(&format!("sync failed: {error}"));
            error.to_string()
        })?;
        let took = start.elapsed();
        self.counters.synced(took);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sync_took.store(nanos, Ordering::Relaxed);
        // No log is cut meanwhile.
        let _gate = lock(&self.gate);
        marks.retain(|mark| mark.partition.set_synced(mark.end, mark.cuts));
        Ok(marks)
    }

    /// What the last sync took.
    pub(crate) fn sync_took(&self) -> Duration {
        Duration::from_nanos(self.sync_took.load(Ordering::Relaxed))
    }

    pub(crate) fn report(&self, progress: &[Progress]) {
        let listeners = self
            .listeners
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        for listener in listeners.iter() {
            guarded("progress listener", || listener(progress));
        }
    }
}
