//! The writer thread: group commit.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tidegate_record::PartitionId;

use super::partition::Partition;
use super::plan::{Outcome, Plan};
use super::queue::{Backlog, Drained};
use super::syncer::{Mark, Syncer};
use super::tail::Order;
use super::{Append, LogOptions, Shared, Watch, guarded, lock};
use crate::{AppendError, Progress, StoreError, StoreHealth, Stored};

pub(crate) struct Writer {
    shared: Arc<Shared>,
    tail: Order,
    syncer: Syncer,
    /// Partitions whose end moved since the last sync.
    unsynced: HashMap<PartitionId, Unsynced>,
    /// When the next sync is due: the earliest time that any unsynced write's partition asks for.
    sync_at: Option<Instant>,
    /// Somebody waits for it.
    sync_wanted: bool,
    /// As the last write found it.
    disk_full: bool,
}

struct Unsynced {
    partition: Arc<Partition>,
    records: u64,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, syncer: Syncer) -> Writer {
        let tail = Order::new(shared.options.tail_cache_bytes);
        Writer {
            shared,
            tail,
            syncer,
            unsynced: HashMap::new(),
            sync_at: None,
            sync_wanted: false,
            disk_full: false,
        }
    }

    /// Until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let _offline_if_it_panics = Watch(self.shared.clone(), "the writer thread panicked");
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
            self.sync_aside_if_due();
        }
        drop(self.syncer);
        let marks = marks(&mut self.unsynced);
        if !marks.is_empty()
            && let Ok(marks) = self.shared.sync_store(marks)
        {
            report(&self.shared, marks.iter().map(Mark::partition));
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
        // Nobody hears of a batch before who appended it does.
        if outcomes.len() == 0 {
            return report(&self.shared, ends.values().map(|(partition, _)| partition));
        }
        self.sync_at = None;
        let marks = marks(&mut self.unsynced);
        let synced = self.shared.sync_store(marks);
        answer(outcomes.map(|outcome| after_sync(outcome, synced.as_ref().err())));
        if let Ok(marks) = synced {
            report(&self.shared, marks.iter().map(Mark::partition));
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
        if std::mem::take(&mut self.disk_full) {
            tracing::info!("there is room on the disk again: appends are taken");
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
                if !std::mem::replace(&mut self.disk_full, true) {
                    tracing::error!(%error, "the disk is full: appends are refused until there is room");
                }
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

    /// The sync nobody asked for, if it is time and the last one is done.
    fn sync_aside_if_due(&mut self) {
        self.sync_wanted |= self.shared.sync_wanted.swap(false, Ordering::AcqRel);
        if self.shared.is_syncing() {
            return;
        }
        let wanted = std::mem::take(&mut self.sync_wanted);
        if self
            .time_left()
            .is_some_and(|left| wanted || left.is_zero())
        {
            self.sync_at = None;
            self.syncer.sync(&self.shared, marks(&mut self.unsynced));
        }
    }

    /// How long a sync that nobody asked for is put off: consumers wait for it, and the disk is busy with it.
    fn lazy_ms(&self) -> u64 {
        let LogOptions {
            lazy_sync_ms,
            lazy_sync_factor,
            ..
        } = self.shared.options;
        if lazy_sync_factor == 0 {
            return lazy_sync_ms;
        }
        let took = self.shared.sync_took();
        let quick = took.saturating_mul(lazy_sync_factor).as_millis();
        u64::try_from(quick).map_or(lazy_sync_ms, |quick| quick.max(1).min(lazy_sync_ms))
    }

    /// `None` while a sync is under way: its end is a call.
    fn time_left(&self) -> Option<Duration> {
        self.sync_at
            .filter(|_| !self.shared.is_syncing())
            .map(|at| at.saturating_duration_since(Instant::now()))
    }
}

/// What becomes of a taken append when the sync that it waited for is over; `failed` is why the store is offline.
fn after_sync(outcome: Outcome, failed: Option<&String>) -> Outcome {
    let result = match (failed, outcome.result) {
        (Some(reason), Ok(_)) => Err(AppendError::Offline(reason.clone())),
        (_, result) => result,
    };
    Outcome { result, ..outcome }
}

fn answer(outcomes: impl IntoIterator<Item = Outcome>) {
    for outcome in outcomes {
        guarded("append callback", || (outcome.done)(outcome.result));
    }
}

/// How far everything unsynced has got, which is unsynced no longer.
fn marks(unsynced: &mut HashMap<PartitionId, Unsynced>) -> Vec<Mark> {
    let partitions = unsynced.drain().map(|(_, unsynced)| unsynced.partition);
    partitions.map(Mark::of).collect()
}

fn report<'a>(shared: &Shared, partitions: impl Iterator<Item = &'a Arc<Partition>>) {
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
    shared.report(&progress);
}
