//! What plugins log, as records of `__tidegate_plugin_logs`.
//!
//! Lines come from the threads that run plugins, within the rate of their binding; they wait in a bounded queue, and a line
//! that finds it full is counted and gone: no plugin waits for a log. The topic is the broker's own, so no chain stands
//! before it and nothing logged there can be logged again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use tidegate_metadata::Command;
use tidegate_plugin::LogSink;
use tidegate_record::{Batch, BatchBuilder, BuildError, Codec, RecordParts};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::watch;

use super::LOGS_TOPIC;
use super::bindings::Stand;
use crate::broker::Broker;
use crate::clock::now_ms;
use crate::partition::Partition;

/// Lines that may wait; the host bounds each to a few KiB.
const QUEUE_LINES: usize = 2048;
/// Lines in one batch.
const BATCH_LINES: usize = 500;
/// How long the first line of a batch waits for others.
const LINGER: Duration = Duration::from_millis(100);
const RETENTION_MS: i64 = 7 * 24 * 60 * 60 * 1000;

pub(crate) struct PluginLogs {
    queue: Sender<Line>,
    /// Until the task takes it.
    waiting: Mutex<Option<Receiver<Line>>>,
    lost: Arc<AtomicU64>,
}

/// Which binding lines come from.
struct Origin {
    topic: String,
    alias: String,
    plugin: String,
    version: String,
}

struct Line {
    origin: Arc<Origin>,
    time_ms: i64,
    /// `None` outside of a batch.
    partition: Option<i32>,
    level: &'static str,
    message: String,
}

impl PluginLogs {
    pub(super) fn new() -> PluginLogs {
        let (queue, waiting) = channel(QUEUE_LINES);
        PluginLogs {
            queue,
            waiting: Mutex::new(Some(waiting)),
            lost: Arc::default(),
        }
    }

    /// Lines that were neither refused by their binding's rate nor stored.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Where the plugin of one stand logs to.
    pub(super) fn sink(&self, stand: &Stand) -> LogSink {
        let origin = Arc::new(Origin {
            topic: stand.key.topic.clone(),
            alias: stand.key.alias.clone(),
            plugin: stand.entry.plugin.name.clone(),
            version: stand.version.clone(),
        });
        let (queue, lost) = (self.queue.clone(), self.lost.clone());
        LogSink::new(move |line| {
            let line = Line {
                origin: origin.clone(),
                time_ms: now_ms(),
                partition: (!line.topic.is_empty()).then_some(line.partition),
                level: line.level.as_str(),
                message: line.message.to_owned(),
            };
            if queue.try_send(line).is_err() {
                lost.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    /// Appends what is logged until the broker stops. To be run once.
    pub(crate) async fn run(broker: Arc<Broker>, mut stopping: watch::Receiver<bool>) {
        let logs = broker.plugins.logs();
        let taken = logs
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut waiting) = taken else {
            return;
        };
        let mut lines = Vec::with_capacity(BATCH_LINES);
        loop {
            let stopped = tokio::select! {
                received = waiting.recv_many(&mut lines, BATCH_LINES) => received == 0,
                _ = stopping.wait_for(|stop| *stop) => true,
            };
            if !stopped && lines.len() < BATCH_LINES {
                tokio::time::sleep(LINGER).await;
            }
            while lines.len() < BATCH_LINES
                && let Ok(line) = waiting.try_recv()
            {
                lines.push(line);
            }
            if !lines.is_empty() {
                logs.store(&broker, &lines).await;
                lines.clear();
            }
            if stopped {
                return;
            }
        }
    }

    async fn store(&self, broker: &Arc<Broker>, lines: &[Line]) {
        if let Err(why) = append(broker, lines).await {
            self.lost.fetch_add(lines.len() as u64, Ordering::Relaxed);
            tracing::warn!(why, "{} log lines of plugins are lost", lines.len());
        }
    }
}

async fn append(broker: &Arc<Broker>, lines: &[Line]) -> Result<(), String> {
    let partition = open_topic(broker).await?;
    let batch = batch(lines).map_err(|error| error.to_string())?;
    match partition.append_internal(batch, None).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(failure)) => Err(failure.message),
        Err(_) => Err("the broker is shutting down".to_owned()),
    }
}

fn batch(lines: &[Line]) -> Result<Batch, BuildError> {
    let mut builder = BatchBuilder::new(Codec::Lz4);
    for line in lines {
        let value = line.json();
        builder.push(RecordParts {
            timestamp: line.time_ms,
            key: Some(line.origin.alias.as_bytes()),
            value: Some(value.as_bytes()),
            ..RecordParts::default()
        })?;
    }
    builder.build()
}

impl Line {
    fn json(&self) -> String {
        let Origin {
            topic,
            alias,
            plugin,
            version,
        } = &*self.origin;
        let value = json!({
            "time_ms": self.time_ms,
            "topic": topic,
            "partition": self.partition,
            "alias": alias,
            "plugin": plugin,
            "version": version,
            "level": self.level,
            "message": self.message,
        });
        value.to_string()
    }
}

async fn open_topic(broker: &Arc<Broker>) -> Result<Arc<Partition>, String> {
    let find = || broker.topics.get(LOGS_TOPIC)?.partition(0);
    if let Some(partition) = find() {
        return Ok(partition);
    }
    let configs = [("retention.ms".to_owned(), RETENTION_MS.to_string())];
    let create = Command::CreateTopic {
        name: LOGS_TOPIC.to_owned(),
        id: uuid::Uuid::new_v4().into_bytes(),
        partitions: 1,
        replication_factor: 1,
        assignments: Vec::new(),
        configs: BTreeMap::from(configs),
        internal: true,
    };
    let created = broker.metadata.propose(create).await;
    find().ok_or_else(|| match created {
        Err(error) => format!("{LOGS_TOPIC} cannot be created: {error}"),
        Ok(_) => format!("{LOGS_TOPIC} cannot be opened; see the broker's log"),
    })
}
