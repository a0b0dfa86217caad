//! `/metrics`: what is counted as it happens, and what is asked now.

mod plugins;

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use tidegate_storage::{LogStats, StoreHealth};

use self::plugins::PluginSeries;
use super::Refused;
use crate::broker::Broker;
use crate::topics::Topic;
use crate::transactions::TransactionCounts;

/// A scrape names at most so many topics, in the order of their names.
const MAX_TOPICS: usize = 500;
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn metrics(State(broker): State<Arc<Broker>>) -> Result<Response, Refused> {
    // Asks every partition for its size and its high watermark, so not on an async worker.
    let rendered = tokio::task::spawn_blocking(move || {
        let metrics = broker.metrics.clone();
        metrics.render(Snapshot::of(&broker))
    });
    match rendered.await {
        Ok(Ok(text)) => Ok(([(CONTENT_TYPE, OPEN_METRICS)], text).into_response()),
        _ => Err(Refused::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the metrics cannot be written",
        )),
    }
}

/// What the broker's parts know at one time.
#[derive(Debug)]
struct Snapshot {
    online: bool,
    log: LogStats,
    /// Passes, batches, bytes, damaged.
    scrub: [u64; 4],
    topics: usize,
    partitions: usize,
    compilations: u64,
    cache_hits: u64,
    transactions: TransactionCounts,
    by_topic: Vec<TopicRow>,
    /// By the key of a quota, how many clients are counted under it.
    quota_clients: Vec<(&'static str, usize)>,
    /// By part, bytes of the budget and bytes of it that are taken.
    memory: [(&'static str, i64, i64); 2],
    plugins: PluginSeries,
}

#[derive(Debug)]
struct TopicRow {
    name: String,
    bytes: u64,
    /// Records ever appended and committed, over all partitions: the high watermarks' sum.
    offsets: i64,
}

impl Snapshot {
    fn of(broker: &Broker) -> Snapshot {
        let image = broker.image();
        Snapshot {
            online: matches!(broker.log.health(), StoreHealth::Online),
            log: broker.log.stats(),
            scrub: broker.scrub.read(),
            topics: image.topics.len(),
            partitions: image.partition_count(),
            compilations: broker.plugins.engine().compilations(),
            cache_hits: broker.plugins.engine().cache_hits(),
            transactions: broker.transactions.counts(),
            by_topic: image
                .topics
                .keys()
                .filter_map(|name| broker.topics.get(name))
                .take(MAX_TOPICS)
                .map(|topic| TopicRow::of(&topic))
                .collect(),
            quota_clients: broker.quotas.counted().collect(),
            memory: broker.memory(),
            plugins: PluginSeries::of(broker),
        }
    }
}

impl TopicRow {
    fn of(topic: &Topic) -> TopicRow {
        let partitions = topic.partitions();
        TopicRow {
            name: topic.settings.name().to_owned(),
            bytes: partitions
                .iter()
                .map(|partition| partition.size_bytes())
                .sum(),
            offsets: partitions
                .iter()
                .map(|partition| partition.high_watermark())
                .sum(),
        }
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut gauge = |name: &str, help: &str, value: i64| {
            let metric = ConstGauge::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        gauge(
            "store_online",
            "1 while the store takes writes",
            i64::from(self.online),
        )?;
        gauge("topics", "Topics in the cluster", signed(self.topics))?;
        gauge(
            "partitions",
            "Partitions in the cluster",
            signed(self.partitions),
        )?;
        gauge(
            "transactional_ids",
            "Transactional ids that are remembered",
            signed(self.transactions.ids),
        )?;
        gauge(
            "transactions_ongoing",
            "Transactions that are open",
            signed(self.transactions.ongoing),
        )?;
        let mut counter = |name: &str, help: &str, value: u64| {
            let metric = ConstCounter::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
        };
        counter(
            "plugin_compilations",
            "Plugins compiled since the start",
            self.compilations,
        )?;
        counter(
            "plugin_cache_hits",
            "Plugins since the start whose code an earlier run had compiled",
            self.cache_hits,
        )?;
        counter(
            "store_writes",
            "Writes to the store, each a group of appends",
            self.log.writes,
        )?;
        counter("store_batches", "Batches written", self.log.batches)?;
        counter("store_syncs", "Syncs that succeeded", self.log.syncs)?;
        counter(
            "store_sync_nanos",
            "Nanoseconds spent in them",
            self.log.sync_nanos,
        )?;
        counter("scrub_passes", "Scrubs of the whole store", self.scrub[0])?;
        counter("scrub_batches", "Batches that scrubs read", self.scrub[1])?;
        counter("scrub_bytes", "Bytes of them", self.scrub[2])?;
        counter(
            "scrub_damaged",
            "Batches and partitions that a scrub found damaged",
            self.scrub[3],
        )?;
        self.topic_gauges(&mut encoder)?;
        self.quota_gauges(&mut encoder)?;
        self.memory_gauges(&mut encoder)?;
        self.plugins.encode(&mut encoder)
    }
}

impl Snapshot {
    fn topic_gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut family =
            |name: &str, help: &str, unit: Option<&Unit>, value: fn(&TopicRow) -> i64| {
                let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
                for row in &self.by_topic {
                    let labels = [("topic", row.name.as_str())];
                    ConstGauge::new(value(row)).encode(family.encode_family(&labels)?)?;
                }
                Ok(())
            };
        family(
            "topic_size",
            "Bytes of the topic's batches",
            Some(&Unit::Bytes),
            |row| i64::try_from(row.bytes).unwrap_or(i64::MAX),
        )?;
        family(
            "topic_offsets",
            "High watermarks of the topic's partitions, added up",
            None,
            |row| row.offsets,
        )
    }
}

impl Snapshot {
    fn quota_gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Clients that owe something or have not saved up all that they may";
        let mut family =
            encoder.encode_descriptor("quota_clients", help, None, MetricType::Gauge)?;
        for (quota, clients) in &self.quota_clients {
            let labels = [("quota", *quota)];
            ConstGauge::new(signed(*clients)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Snapshot {
    fn memory_gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut family = |name: &str, help: &str, value: fn(&(&str, i64, i64)) -> i64| {
            let unit = Some(&Unit::Bytes);
            let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
            for row in &self.memory {
                let labels = [("part", row.0)];
                ConstGauge::new(value(row)).encode(family.encode_family(&labels)?)?;
            }
            Ok(())
        };
        family(
            "memory_bound",
            "What may be taken of this part of the memory budget",
            |row| row.1,
        )?;
        family("memory_used", "What is taken of it", |row| row.2)
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
