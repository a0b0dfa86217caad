//! The writer thread: group commit.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tidegate_record::PartitionId;

use super::partition::Partition;
use super::plan::{Outcome, Plan};
use super::queue::{Backlog, Drained};
use super::tail::Order;
use super::{Append, LogOptions, Shared, lock};
use crate::{AppendError, Progress, StoreError, StoreHealth, Stored};

pub(crate) struct Writer {
    shared: Arc<Shared>,
    tail: Order,
    /// Partitions whose end moved since the last sync.
    unsynced: HashMap<PartitionId, Unsynced>,
    /// When the next sync is due: the earliest time that any unsynced write's partition asks for.
    sync_at: Option<Instant>,
    /// What the last sync took.
    sync_took: Duration,
}

struct Unsynced {
    partition: Arc<Partition>,
    records: u64,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>) -> Writer {
        let tail = Order::new(shared.options.tail_cache_bytes);
        Writer {
            shared,
            tail,
            unsynced: HashMap::new(),
            sync_at: None,
            sync_took: Duration::ZERO,
        }
    }

    /// Until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let _offline_if_it_panics = Watch(self.shared.clone());
        let (mut backlog, mut group) = (Backlog::default(), Vec::new());
        let group_bytes = self.shared.options.group_bytes;
        loop {
            let timeout = self.time_left();
            match self
                .shared
                .queue
                .drain(&mut backlog, &mut group, group_bytes, timeout)
            {
                Drained::Group => self.commit(&mut group),
                Drained::TimedOut => {}
                Drained::Closed => break,
            }
            let wanted = self.shared.sync_wanted.swap(false, Ordering::AcqRel);
            if self
                .time_left()
                .is_some_and(|left| wanted || left.is_zero())
            {
                self.sync();
            }
        }
        if !self.unsynced.is_empty() {
            self.sync();
        }
    }

    fn commit(&mut self, group: &mut Vec<Append>) {
        let mut plan = Plan::default();
        let wrote = self.write(group, &mut plan);
        let Plan { outcomes, ends, .. } = plan;
        if !wrote {
            return answer(outcomes);
        }
        // Who asked for no sync need not wait for the others', unless they came before.
        let early = outcomes
            .iter()
            .take_while(|o| !o.sync || o.result.is_err())
            .count();
        let mut outcomes = outcomes.into_iter();
        answer(outcomes.by_ref().take(early));
        self.report(ends.values().map(|(partition, _)| partition));
        if outcomes.len() > 0 {
            let synced = self.sync_store();
            answer(outcomes.map(|outcome| after_sync(outcome, &synced)));
            self.report_synced(synced.is_ok());
        }
    }

    /// Decides the group, writes it and makes it readable, all under the gate. False: nothing was
    /// written and the plan's outcomes say why.
    fn write(&mut self, group: &mut Vec<Append>, plan: &mut Plan) -> bool {
        let shared = self.shared.clone();
        let _gate = lock(&shared.gate);
        for append in group.drain(..) {
            plan.add(&shared, append);
        }
        if let StoreHealth::Offline(reason) = shared.health() {
            plan.fail(&AppendError::Offline(reason));
            return false;
        }
        if plan.placed.is_empty() {
            return false;
        }
        if let Err(error) = shared.store.write(&plan.writes()) {
            plan.fail(&self.write_failed(&error));
            return false;
        }
        self.publish(plan);
        true
    }

    fn publish(&mut self, plan: &mut Plan) {
        let bytes = plan.placed.iter().map(|placed| placed.bytes.len()).sum();
        self.shared.counters.wrote(plan.placed.len(), bytes);
        for placed in plan.placed.drain(..) {
            if let Some(aborted) = &placed.aborted {
                placed.partition.aborted(aborted.last_offset);
            }
            let stored = Stored {
                row: placed.row,
                batch: placed.bytes,
            };
            self.tail.publish(&placed.partition, stored);
        }
        let (now, lazy_ms) = (Instant::now(), self.lazy_ms());
        for (id, (partition, end)) in &plan.ends {
            let records = end.offset.saturating_sub(partition.end().offset);
            partition.set_end(*end);
            let unsynced = self.unsynced.entry(*id).or_insert_with(|| Unsynced {
                partition: partition.clone(),
                records: 0,
            });
            unsynced.records = unsynced.records.saturating_add(records.cast_unsigned());
            let patience = partition
                .flush_policy()
                .patience_ms(unsynced.records, lazy_ms);
            let due = patience.and_then(|ms| now.checked_add(Duration::from_millis(ms)));
            self.sync_at = [self.sync_at, due].into_iter().flatten().min();
        }
    }

    fn write_failed(&mut self, error: &StoreError) -> AppendError {
        match error {
            StoreError::DiskFull(_) => {
                // A sync now would meet the same full disk and take the store down for good. What
                // was written before is answered as acks=1 already; it waits for the next write.
                self.sync_at = None;
                AppendError::Store(error.to_string())
            }
            StoreError::UnknownPartition(_) | StoreError::Invalid(_) => {
                AppendError::Store(error.to_string())
            }
            _ => {
                self.shared.go_offline(&format!("write failed: {error}"));
                AppendError::Offline(error.to_string())
            }
        }
    }

    /// The sync nobody asked for.
    fn sync(&mut self) {
        let synced = self.sync_store();
        self.report_synced(synced.is_ok());
    }

    /// Never tried again once it failed: the kernel may have dropped the dirty pages and would
    /// call the next one a success.
    fn sync_store(&mut self) -> Result<(), String> {
        self.sync_at = None;
        if let StoreHealth::Offline(reason) = self.shared.health() {
            return Err(reason);
        }
        let start = Instant::now();
        self.shared.store.sync().map_err(|error| {
            self.shared.go_offline(&format!("sync failed: {error}"));
            error.to_string()
        })?;
        self.sync_took = start.elapsed();
        self.shared.counters.synced(self.sync_took);
        self.unsynced
            .values()
            .for_each(|unsynced| unsynced.partition.set_synced());
        Ok(())
    }

    fn report_synced(&mut self, synced: bool) {
        let unsynced = std::mem::take(&mut self.unsynced);
        if synced {
            self.report(unsynced.values().map(|unsynced| &unsynced.partition));
        }
    }

    fn report<'a>(&self, partitions: impl Iterator<Item = &'a Arc<Partition>>) {
        let listeners = self
            .shared
            .listeners
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if listeners.is_empty() {
            return;
        }
        let progress: Vec<Progress> = partitions
            .map(|partition| {
                let bounds = partition.bounds();
                Progress {
                    id: partition.id(),
                    end: bounds.end,
                    synced_end: bounds.synced_end,
                }
            })
            .collect();
        for listener in listeners.iter() {
            guarded("progress listener", || listener(&progress));
        }
    }

    /// How long a sync that nobody asked for is put off: consumers wait for it, and all else waits while it is made.
    fn lazy_ms(&self) -> u64 {
        let LogOptions {
            lazy_sync_ms,
            lazy_sync_factor,
            ..
        } = self.shared.options;
        if lazy_sync_factor == 0 {
            return lazy_sync_ms;
        }
        let quick = self.sync_took.saturating_mul(lazy_sync_factor).as_millis();
        u64::try_from(quick).map_or(lazy_sync_ms, |quick| quick.max(1).min(lazy_sync_ms))
    }

    fn time_left(&self) -> Option<Duration> {
        self.sync_at
            .map(|at| at.saturating_duration_since(Instant::now()))
    }
}

/// What becomes of a taken append when the sync it waited for ended so.
fn after_sync(outcome: Outcome, synced: &Result<(), String>) -> Outcome {
    let result = match (synced, outcome.result) {
        (Err(reason), Ok(_)) => Err(AppendError::Offline(reason.clone())),
        (_, result) => result,
    };
    Outcome { result, ..outcome }
}

fn answer(outcomes: impl IntoIterator<Item = Outcome>) {
    for outcome in outcomes {
        guarded("append callback", || (outcome.done)(outcome.result));
    }
}

/// A caller's panic is its own bug; without this it would stop every partition of the store.
fn guarded(what: &str, f: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(f)).is_err() {
        tracing::error!(what, "panicked on the writer thread");
    }
}

/// If the writer itself panics nobody would answer any more: say so instead of hanging.
struct Watch(Arc<Shared>);

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.go_offline("the writer thread panicked");
        }
    }
}
