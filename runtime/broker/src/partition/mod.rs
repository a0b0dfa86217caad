//! One partition on its leader: admission, the produce chain, the append, the high watermark, and reads below it.
//!
//! `api/*` reaches the log only through this handle. Everything that orders a partition happens under one mutex that is
//! never held across a plugin call or a disk access.

mod admission;
mod append;
mod chain_run;
mod consume;
mod dead_letters;
mod explain;
mod facts;
mod flush;
mod notes;
mod open_transactions;
mod producers;
mod raw;
mod read;
mod replay;
mod routes;
mod stops;
mod stored_form;
#[cfg(test)]
mod tests;
mod times;
mod transactions;

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use tidegate_plugin::Engine;
use tidegate_record::{LeaderEpoch, Offset, PartitionId};
use tidegate_replication::{Effect, Event, Replica};
use tidegate_storage::{
    Compaction, CompactionPolicy, Log, Progress, ReadError, RetentionPolicy, Scrubbed, StoreHealth,
};
use tokio::sync::{Notify, oneshot};

use crate::clock::now_ms;
use crate::decoding::Decoding;
use crate::topics::{ChainSlot, TopicSettings, Topics};

use self::admission::Admission;
use self::stops::Stops;

pub(crate) use self::append::{Acks, ProduceFailure, ProduceOutcome};
pub(crate) use self::consume::ChainResults;
pub(crate) use self::explain::Step;
pub(crate) use self::producers::KnownProducer;
pub(crate) use self::read::{Cursor, Isolation, ReadFailure};
pub(crate) use self::replay::Replayed;
pub(crate) use self::transactions::Marker;

/// What every partition of a broker shares.
pub(crate) struct PartitionEnv {
    pub(crate) log: Arc<Log>,
    pub(crate) engine: Engine,
    /// For routes: the partitions of other topics. Weak, because the registry owns the partitions.
    pub(crate) topics: Weak<Topics>,
    pub(crate) node_id: i32,
    pub(crate) decoding: Arc<Decoding>,
    pub(crate) chain_results: ChainResults,
}

pub(crate) struct Partition {
    pub(crate) id: PartitionId,
    pub(crate) index: i32,
    pub(crate) topic: Arc<TopicSettings>,
    env: Arc<PartitionEnv>,
    state: Mutex<State>,
    stops: Stops,
}

/// Invariant: `log start <= high watermark <= log end`, and the high watermark never moves back.
struct State {
    replica: Replica,
    admission: Admission,
    /// acks=all produces waiting for the high watermark to reach an offset; rising by offset.
    acks: Vec<(Offset, oneshot::Sender<ProduceOutcome>, ProduceOutcome)>,
    /// Long polls to wake when the high watermark moves.
    watchers: Vec<Weak<Notify>>,
}

impl Partition {
    /// Opens the partition on this node as its leader: replays producer state and elects.
    ///
    /// Reads the index rows behind the last producer snapshot, so it belongs on a blocking thread.
    pub(crate) fn open(
        id: PartitionId,
        index: i32,
        topic: Arc<TopicSettings>,
        env: Arc<PartitionEnv>,
        leadership: Leadership,
    ) -> Result<Arc<Partition>, ReadError> {
        let bounds = env.log.bounds(id).ok_or(ReadError::UnknownPartition(id))?;
        let admission = Admission::replay(&env.log, id, bounds.start)?;
        let mut replica = Replica::new(env.node_id);
        env.log.set_epoch(id, leadership.epoch);
        env.log.set_flush_policy(id, flush::policy(&topic));
        let effects = replica.step(
            Event::Elected {
                epoch: leadership.epoch,
                replicas: leadership.replicas,
                isr: leadership.isr,
                min_isr: topic.config().min_insync_replicas,
                log_end: bounds.end,
                synced_end: bounds.synced_end,
                high_watermark: bounds.start,
            },
            now_ms(),
        );
        let partition = Arc::new(Partition {
            id,
            index,
            topic,
            env,
            state: Mutex::new(State {
                replica,
                admission,
                acks: Vec::new(),
                watchers: Vec::new(),
            }),
            stops: Stops::default(),
        });
        let mut state = partition.lock();
        partition.act(&mut state, effects);
        drop(state);
        Ok(partition)
    }

    pub(crate) fn high_watermark(&self) -> Offset {
        self.lock().replica.high_watermark()
    }

    pub(crate) fn leader_epoch(&self) -> LeaderEpoch {
        self.lock().replica.epoch()
    }

    /// First offset a consumer may ask for.
    pub(crate) fn log_start(&self) -> Offset {
        self.env
            .log
            .bounds(self.id)
            .map_or(0, |bounds| bounds.start)
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.env.log.size_bytes(self.id)
    }

    /// `notify` is woken once, when the high watermark next moves (or the partition goes away).
    pub(crate) fn watch(&self, notify: &Arc<Notify>) {
        let mut state = self.lock();
        state.watchers.retain(|watcher| watcher.strong_count() > 0);
        let watcher = Arc::downgrade(notify);
        // A poll that was woken by another partition registers again; it is still here.
        if !state.watchers.iter().any(|known| known.ptr_eq(&watcher)) {
            state.watchers.push(watcher);
        }
    }

    /// The store wrote or synced: feed the engine, act on what it says.
    pub(crate) fn progressed(&self, progress: &Progress) {
        let mut state = self.lock();
        let mut effects = state
            .replica
            .step(Event::Appended { end: progress.end }, now_ms());
        let durable = match flush::is_relaxed(&self.topic) {
            true => progress.end,
            false => progress.synced_end,
        };
        effects.extend(state.replica.step(Event::Synced { end: durable }, now_ms()));
        self.act(&mut state, effects);
    }

    /// The topic is being deleted: everything that waits is answered.
    pub(crate) fn resign(self: &Arc<Self>) {
        let mut state = self.lock();
        let effects = state.replica.step(Event::Resigned, now_ms());
        self.act(&mut state, effects);
        self.fail_all(&mut state, &ProduceFailure::gone());
        wake(&mut state.watchers);
        drop(state);
        // Whoever leads from now on has seen other batches than this broker's plugins.
        if let ChainSlot::Ready(chain) = &self.topic.chains().produce {
            chain.forget_state(self.index);
        }
    }

    /// Somebody resumed the topic's plugins: the consume chain may try again where it stopped.
    pub(crate) fn resume_chain(&self) {
        self.stops.clear();
        wake(&mut self.lock().watchers);
    }

    /// The topic's `min.insync.replicas` or `flush.*` may have changed.
    pub(crate) fn reconfigure(&self, replicas: Vec<i32>) {
        self.env
            .log
            .set_flush_policy(self.id, flush::policy(&self.topic));
        let min_isr = self.topic.config().min_insync_replicas;
        let mut state = self.lock();
        let effects = state
            .replica
            .step(Event::Reconfigured { replicas, min_isr }, now_ms());
        self.act(&mut state, effects);
    }

    /// The idempotent producers it remembers, each with the first offset of its open transaction.
    pub(crate) fn producers(&self) -> Vec<(KnownProducer, Option<Offset>)> {
        let admission = &self.lock().admission;
        let known = admission.producers.known().into_iter();
        known
            .map(|producer| {
                (
                    producer.clone(),
                    admission.transactions.first_of(producer.id),
                )
            })
            .collect()
    }

    /// Where an epoch ended, see [`Log::end_of_epoch`]. Blocks on the disk.
    pub(crate) fn end_of_epoch(
        &self,
        epoch: LeaderEpoch,
    ) -> Result<Option<(LeaderEpoch, Offset)>, ReadError> {
        self.env.log.end_of_epoch(self.id, epoch)
    }

    pub(crate) fn expire_producers(&self, before_ms: i64) {
        let admission = &mut self.lock().admission;
        let transactions = &admission.transactions;
        admission
            .producers
            .expire(before_ms, |id| transactions.is_open(id));
    }

    /// Stores what a start would need to know of the producers, if at least so many offsets lie behind the last
    /// snapshot. Blocks on the disk.
    pub(crate) fn save_producers(&self, min_offsets: i64) -> Result<(), ReadError> {
        let snapshot = {
            let mut state = self.lock();
            let end = self.env.log.bounds(self.id).map_or(0, |bounds| bounds.end);
            state.admission.snapshot(min_offsets, end)
        };
        match snapshot {
            Some(snapshot) => self.env.log.keep_producers(self.id, &snapshot),
            None => Ok(()),
        }
    }

    /// One step of a scrub, see [`Log::scrub`]. Blocks on the disk.
    pub(crate) fn scrub(
        &self,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Option<Scrubbed>, ReadError> {
        self.env.log.scrub(self.id, from, max_bytes)
    }

    /// Applies time and size retention; returns the new log start if it moved. Blocks on the disk.
    pub(crate) fn enforce_retention(&self, now_ms: i64) -> Result<Option<Offset>, ReadError> {
        let config = self.topic.config();
        if !config.cleanup_delete {
            return Ok(None);
        }
        let policy = RetentionPolicy {
            max_age_ms: config.retention_ms,
            max_bytes: config.retention_bytes,
        };
        self.env
            .log
            .retain(self.id, policy, now_ms, self.high_watermark())
    }

    /// One pass of compaction, if the topic is compacted and the log is due. Blocks on the disk.
    pub(crate) fn compact(
        &self,
        now_ms: i64,
        max_keys: usize,
    ) -> Result<Option<Compaction>, ReadError> {
        let config = self.topic.config();
        if !config.cleanup_compact {
            return Ok(None);
        }
        let policy = CompactionPolicy {
            now_ms,
            to: self.last_stable_offset(),
            min_lag_ms: config.min_compaction_lag_ms,
            max_lag_ms: config.max_compaction_lag_ms,
            min_dirty_ratio: config.min_cleanable_dirty_ratio,
            delete_retention_ms: config.delete_retention_ms,
            max_keys,
        };
        let hashers = [RandomState::new(), RandomState::new()];
        let name = move |key: &[u8]| {
            let [high, low] = hashers.each_ref().map(|hasher| hasher.hash_one(key));
            u128::from(high) << 64 | u128::from(low)
        };
        self.env.log.compact(self.id, &policy, &name)
    }

    /// Moves the log start up to `to`, durably, and gives the space back; returns the log start. Blocks on the disk.
    pub(crate) fn delete_below(&self, to: Offset) -> Result<Offset, ReadFailure> {
        Ok(self.env.log.move_log_start(self.id, to)?)
    }

    fn act(&self, state: &mut State, effects: Vec<Effect>) {
        for effect in effects {
            if let Effect::AdvanceHighWatermark(high_watermark) = effect {
                state.admission.transactions.committed(high_watermark);
                release_acks(state, high_watermark);
                wake(&mut state.watchers);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held would have been a bug of ours; the data behind it is still whole, because
        // every transition below writes its fields after its checks.
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn online(&self) -> bool {
        matches!(self.env.log.health(), StoreHealth::Online)
    }
}

/// Who leads a partition, as the cluster image says.
#[derive(Debug, Clone)]
pub(crate) struct Leadership {
    pub(crate) epoch: LeaderEpoch,
    pub(crate) replicas: Vec<i32>,
    pub(crate) isr: Vec<i32>,
}

fn release_acks(state: &mut State, high_watermark: Offset) {
    let waiting = std::mem::take(&mut state.acks);
    for (needs, reply, outcome) in waiting {
        match needs <= high_watermark {
            // A closed receiver is a client that went away; its records stay.
            true => drop(reply.send(outcome)),
            false => state.acks.push((needs, reply, outcome)),
        }
    }
}

fn wake(watchers: &mut Vec<Weak<Notify>>) {
    for watcher in watchers.drain(..) {
        if let Some(notify) = watcher.upgrade() {
            notify.notify_one();
        }
    }
}
