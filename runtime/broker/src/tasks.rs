//! What a broker does without being asked: retention, compaction, forgetting silent producers, timers of groups and
//! transactions, storing what plugins log.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::broker::Broker;
use crate::clock::now_ms;
use crate::plugins::PluginLogs;
use crate::scrub;

/// Longest that the first look at retention waits after a start (Kafka's `log.initial.task.delay.ms`): whoever restores old
/// records to a broker that just started keeps them as long as on any other.
const FIRST_CLEAN: Duration = Duration::from_secs(30);
/// Groups count time in session timeouts of seconds; a tenth of one is exact enough.
const GROUP_TICK: Duration = Duration::from_millis(50);
/// How often partitions are asked whether their producer snapshot is too old.
const SNAPSHOT_CHECK: Duration = Duration::from_secs(10);
/// Offsets whose rows a start after a crash may have to read, of each partition, beside those of the last ten seconds.
const UNSAVED_OFFSETS: i64 = 10_000;
/// What compaction remembers of one key, with its share of a half-full map.
const BYTES_PER_KEY: usize = 48;

pub(crate) fn spawn(
    tasks: &mut JoinSet<()>,
    broker: &Arc<Broker>,
    stopping: &watch::Receiver<bool>,
) {
    let check = Duration::from_millis(broker.config.log_retention_check_interval_ms.max(1));
    let first = check.min(FIRST_CLEAN);
    tasks.spawn(every_from(
        first,
        check,
        stopping.clone(),
        broker.clone(),
        clean,
    ));
    tasks.spawn(every(
        SNAPSHOT_CHECK,
        stopping.clone(),
        broker.clone(),
        |broker| async move {
            let saved =
                tokio::task::spawn_blocking(move || save_producers(&broker, UNSAVED_OFFSETS));
            drop(saved.await);
        },
    ));
    if broker.config.log_cleaner_enable {
        let pause = Duration::from_millis(broker.config.log_cleaner_backoff_ms.max(1));
        tasks.spawn(every(pause, stopping.clone(), broker.clone(), compact));
    }
    tasks.spawn(scrub::run(broker.clone(), stopping.clone()));
    tasks.spawn(PluginLogs::run(broker.clone(), stopping.clone()));
    tasks.spawn(every(
        GROUP_TICK,
        stopping.clone(),
        broker.clone(),
        |broker| async move {
            broker.groups.tick();
            broker.transactions.tick();
        },
    ));
    let check = Duration::from_millis(broker.config.transaction_abort_interval_ms);
    tasks.spawn(every(
        check,
        stopping.clone(),
        broker.clone(),
        |broker| async move { broker.transactions.abort_timed_out() },
    ));
    let check = Duration::from_millis(broker.config.transaction_expiry_interval_ms);
    tasks.spawn(every(
        check,
        stopping.clone(),
        broker.clone(),
        |broker| async move { broker.transactions.expire_ids() },
    ));
}

async fn every<F: Future<Output = ()>>(
    period: Duration,
    stopping: watch::Receiver<bool>,
    broker: Arc<Broker>,
    act: impl FnMut(Arc<Broker>) -> F,
) {
    every_from(Duration::ZERO, period, stopping, broker, act).await;
}

async fn every_from<F: Future<Output = ()>>(
    first: Duration,
    period: Duration,
    mut stopping: watch::Receiver<bool>,
    broker: Arc<Broker>,
    mut act: impl FnMut(Arc<Broker>) -> F,
) {
    let mut ticks = tokio::time::interval_at(Instant::now() + first, period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let stopped = tokio::select! {
            _ = ticks.tick() => false,
            _ = stopping.wait_for(|stop| *stop) => true,
        };
        if stopped {
            return;
        }
        act(broker.clone()).await;
    }
}

/// Snapshots of the producers of every partition in which so many offsets lie behind the last one.
pub(crate) fn save_producers(broker: &Broker, min_offsets: i64) {
    for topic in broker.topics.all() {
        for partition in topic.partitions() {
            if let Err(error) = partition.save_producers(min_offsets) {
                let (name, index) = (topic.settings.name(), partition.index);
                tracing::warn!(topic = name, index, %error, "the producers were not saved");
            }
        }
    }
}

/// Retention and producer expiry, on a blocking thread: both walk every partition.
async fn clean(broker: Arc<Broker>) {
    let done = tokio::task::spawn_blocking(move || {
        broker.groups.expire_offsets();
        broker.quotas.forget_idle();
        let now = now_ms();
        let silent_since = now.saturating_sub(broker.live.load().producer_id_expiration_ms);
        for topic in broker.topics.all() {
            for partition in topic.partitions() {
                partition.expire_producers(silent_since);
                match partition.enforce_retention(now) {
                    Ok(Some(start)) => {
                        let (name, index) = (topic.settings.name(), partition.index);
                        tracing::info!(topic = name, index, start, "retention moved the log start");
                    }
                    Ok(None) => {}
                    Err(error) => {
                        let (name, index) = (topic.settings.name(), partition.index);
                        tracing::error!(topic = name, index, %error, "retention failed");
                    }
                }
            }
        }
    });
    drop(done.await);
}

/// One pass over every log that is due, one after the other: compaction shares the disk with producers and consumers.
async fn compact(broker: Arc<Broker>) {
    let max_keys = broker.config.log_cleaner_dedupe_bytes / BYTES_PER_KEY;
    for topic in broker.topics.all() {
        for partition in topic.partitions() {
            let (name, index) = (topic.settings.name().to_owned(), partition.index);
            let done = tokio::task::spawn_blocking(move || partition.compact(now_ms(), max_keys));
            match done.await {
                Ok(Ok(Some(done))) => tracing::info!(
                    topic = name,
                    index,
                    records = done.records,
                    removed = done.removed,
                    bytes_before = done.bytes_before,
                    bytes_after = done.bytes_after,
                    "compacted"
                ),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => {
                    tracing::error!(topic = name, index, %error, "compaction failed");
                }
                Err(error) => tracing::error!(topic = name, index, %error, "compaction failed"),
            }
        }
    }
}
