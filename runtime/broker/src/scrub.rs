//! Reading everything that is stored, slowly and again and again, so that damage is found while a copy may still be whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate_storage::ReadError;
use tokio::sync::watch;

use crate::broker::Broker;
use crate::partition::Partition;

/// Stored bytes read in one step; between steps the scrub pauses to keep to its rate.
const STEP_BYTES: usize = 256 << 10;

/// What scrubs saw since the start.
#[derive(Debug, Default)]
pub(crate) struct ScrubCounters {
    pub(crate) passes: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) damaged: AtomicU64,
}

impl ScrubCounters {
    /// Passes, batches, bytes, damaged.
    pub(crate) fn read(&self) -> [u64; 4] {
        [&self.passes, &self.batches, &self.bytes, &self.damaged]
            .map(|counter| counter.load(Ordering::Relaxed))
    }
}

/// One pass over every partition, then the next one after the configured interval, until the broker stops.
pub(crate) async fn run(broker: Arc<Broker>, mut stopping: watch::Receiver<bool>) {
    let interval = Duration::from_millis(broker.config.scrub_interval_ms);
    if interval.is_zero() {
        return;
    }
    loop {
        pass(&broker, &mut stopping).await;
        if pause(interval, &mut stopping).await {
            return;
        }
    }
}

async fn pass(broker: &Arc<Broker>, stopping: &mut watch::Receiver<bool>) {
    for topic in broker.topics.all() {
        for partition in topic.partitions() {
            if let Err(error) = one(broker, &partition, topic.settings.name(), stopping).await {
                let (topic, index) = (topic.settings.name(), partition.index);
                broker.scrub.damaged.fetch_add(1, Ordering::Relaxed);
                tracing::error!(topic, index, %error, "the scrub cannot read on in this partition");
            }
            if *stopping.borrow() {
                return;
            }
        }
    }
    broker.scrub.passes.fetch_add(1, Ordering::Relaxed);
}

async fn one(
    broker: &Arc<Broker>,
    partition: &Arc<Partition>,
    topic: &str,
    stopping: &mut watch::Receiver<bool>,
) -> Result<(), String> {
    let mut from = 0;
    loop {
        let reader = partition.clone();
        let step = tokio::task::spawn_blocking(move || reader.scrub(from, STEP_BYTES));
        let step = step.await.map_err(|error| error.to_string())?;
        let seen = match step {
            Ok(Some(seen)) => seen,
            // At its end, or deleted meanwhile.
            Ok(None) | Err(ReadError::UnknownPartition(_)) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let counters = &broker.scrub;
        counters.batches.fetch_add(seen.batches, Ordering::Relaxed);
        counters.bytes.fetch_add(seen.bytes, Ordering::Relaxed);
        for (offset, what) in &seen.damaged {
            counters.damaged.fetch_add(1, Ordering::Relaxed);
            tracing::error!(topic, index = partition.index, offset, %what, "a stored batch is damaged");
        }
        from = seen.next;
        let rate = broker.config.scrub_bytes_per_sec.max(1);
        let wait = Duration::from_micros(seen.bytes.saturating_mul(1_000_000) / rate);
        if pause(wait, stopping).await {
            return Ok(());
        }
    }
}

/// True: the broker stops.
async fn pause(time: Duration, stopping: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        () = tokio::time::sleep(time) => false,
        _ = stopping.wait_for(|stop| *stop) => true,
    }
}
