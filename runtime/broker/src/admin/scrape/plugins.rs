//! Series about bindings and shadows.
//!
//! How many there are is bounded: bindings and shadows by number, limits by the host's list, and the guest's own counters by
//! the host for each binding and here for all.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeMetric, LabelSetEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tidegate_plugin::{BindingStats, BreakerState, Histogram};

use crate::broker::Broker;
use crate::plugins::{BindingReport, ShadowReport};

/// A scrape names at most so many bindings, in the order of their topics' names.
const MAX_BINDINGS: usize = 500;
const MAX_SHADOWS: usize = 500;
/// Counters of the guests' own, over all bindings.
const MAX_GUEST_COUNTERS: usize = 5000;

#[derive(Debug)]
pub(super) struct PluginSeries {
    bindings: Vec<(BindingReport, BindingStats)>,
    shadows: Vec<(String, ShadowReport)>,
    lost_log_lines: u64,
}

impl PluginSeries {
    pub(super) fn of(broker: &Broker) -> PluginSeries {
        let reports = broker.plugins.bindings(broker, None, MAX_BINDINGS);
        let mut shadows = broker.plugins.shadows(&broker.image());
        shadows.truncate(MAX_SHADOWS);
        PluginSeries {
            bindings: reports
                .into_iter()
                .filter_map(|mut report| {
                    let stats = report.stats.take()?;
                    Some((report, stats))
                })
                .collect(),
            shadows,
            lost_log_lines: broker.plugins.logs().lost(),
        }
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.counters(encoder)?;
        self.gauges(encoder)?;
        self.run_seconds(encoder)?;
        self.limit_hits(encoder)?;
        self.guest_counters(encoder)?;
        self.shadows(encoder)?;
        let lost = ConstCounter::new(self.lost_log_lines);
        lost.encode(encoder.encode_descriptor(
            "plugin_log_lines_lost",
            "Log lines of plugins, within their rate, that were not stored",
            None,
            MetricType::Counter,
        )?)
    }

    fn counters(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Value = fn(&BindingStats) -> u64;
        let counters: [(&str, &str, Value); 14] = [
            ("records_in", "Records a plugin was shown", |s| s.records_in),
            ("kept", "Records it kept", |s| s.kept),
            ("edited", "Records it kept with other parts", |s| s.edited),
            ("dropped", "Records it dropped", |s| s.dropped),
            ("rejected", "Records it rejected", |s| s.rejected),
            ("routed", "Routes it gave", |s| s.routed),
            (
                "dead_lettered",
                "Records that went to the dead-letter topic for it",
                |s| s.dead_lettered,
            ),
            (
                "passed",
                "Records that stayed although it failed on them",
                |s| s.passed,
            ),
            ("errors", "Runs that failed", |s| s.errors),
            ("traps", "Runs that trapped", |s| s.traps),
            ("deadline_hits", "Runs over their deadline", |s| {
                s.deadline_hits
            }),
            ("calls", "Calls into it", |s| s.calls),
            ("nanos", "Nanoseconds of wall time in those calls", |s| {
                s.nanos
            }),
            (
                "log_dropped",
                "Log lines beyond its rate, which were not kept",
                |s| s.log_dropped,
            ),
        ];
        for (name, help, value) in counters {
            let name = format!("plugin_{name}");
            let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
            for (report, stats) in &self.bindings {
                let metric = ConstCounter::new(value(stats));
                metric.encode(family.encode_family(&labels(report))?)?;
            }
        }
        let mut family = encoder.encode_descriptor(
            "plugin_cpu_seconds",
            "CPU time in those calls",
            None,
            MetricType::Counter,
        )?;
        for (report, stats) in &self.bindings {
            let metric = ConstCounter::new(seconds(stats.cpu_nanos));
            metric.encode(family.encode_family(&labels(report))?)?;
        }
        Ok(())
    }

    fn gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Value = fn(&BindingStats) -> i64;
        let gauges: [(&str, &str, Value); 5] = [
            ("instances", "Instances alive", |s| signed(s.instances)),
            (
                "memory_bytes",
                "The largest linear memory of a live instance",
                |s| signed(s.memory_bytes),
            ),
            (
                "breaker_open",
                "1 while the binding's circuit is not closed",
                |s| i64::from(s.breaker != BreakerState::Closed),
            ),
            (
                "breaker_state",
                "0 while the binding's circuit is closed, 1 half-open, 2 open",
                |s| match s.breaker {
                    BreakerState::Closed => 0,
                    BreakerState::HalfOpen => 1,
                    BreakerState::Open => 2,
                },
            ),
            (
                "paused",
                "1 while its policy has stopped it until somebody resumes it",
                |s| i64::from(s.paused.is_some()),
            ),
        ];
        for (name, help, value) in gauges {
            let name = format!("plugin_{name}");
            let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
            for (report, stats) in &self.bindings {
                let metric = ConstGauge::new(value(stats));
                metric.encode(family.encode_family(&labels(report))?)?;
            }
        }
        Ok(())
    }

    fn run_seconds(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = encoder.encode_descriptor(
            "plugin_run_seconds",
            "From a batch's arrival at a plugin to its verdicts",
            None,
            MetricType::Histogram,
        )?;
        for (report, stats) in &self.bindings {
            let latency = &stats.latency;
            let bounds = Histogram::BOUNDS_NANOS.iter().map(|nanos| seconds(*nanos));
            let buckets: Vec<(f64, u64)> =
                bounds.chain([f64::INFINITY]).zip(latency.counts).collect();
            let labels = labels(report);
            let mut metric = family.encode_family(&labels)?;
            metric.encode_histogram::<NoLabelSet>(
                seconds(latency.sum_nanos),
                latency.count(),
                &buckets,
                None,
            )?;
        }
        Ok(())
    }

    fn limit_hits(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = encoder.encode_descriptor(
            "plugin_limit_hits",
            "Times that a plugin was stopped or cut at a limit, by limit",
            None,
            MetricType::Counter,
        )?;
        for (report, stats) in &self.bindings {
            for (limit, hits) in &stats.limit_hits {
                let labels = With(labels(report), ("limit", limit));
                ConstCounter::new(*hits).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn guest_counters(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = encoder.encode_descriptor(
            "plugin_counter",
            "What a plugin counts itself, by the name it gives",
            None,
            MetricType::Counter,
        )?;
        let counters = self.bindings.iter().flat_map(|(report, stats)| {
            stats
                .counters
                .iter()
                .map(move |(name, value)| (report, name, value))
        });
        for (report, name, value) in counters.take(MAX_GUEST_COUNTERS) {
            let name: String = name
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
            let labels = With(labels(report), ("counter", &name));
            ConstCounter::new(*value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn shadows(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = encoder.encode_descriptor(
            "plugin_shadow_records",
            "Records by what the shadow chain would have done, beside the real one",
            None,
            MetricType::Counter,
        )?;
        for (topic, shadow) in &self.shadows {
            for (result, value) in [
                ("agree", shadow.agree),
                ("would_drop", shadow.would_drop),
                ("would_keep", shadow.would_keep),
                ("would_change", shadow.would_change),
                ("error", shadow.errors),
                ("skipped", shadow.skipped),
            ] {
                let labels = [("topic", topic.as_str()), ("result", result)];
                ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

type Labels<'a> = [(&'static str, &'a str); 5];

fn labels(report: &BindingReport) -> Labels<'_> {
    [
        ("topic", report.topic.as_str()),
        ("side", report.place.name()),
        ("alias", report.alias.as_str()),
        ("plugin", report.plugin.as_str()),
        ("version", report.version.as_str()),
    ]
}

/// A binding's labels and one more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct With<'a>(Labels<'a>, (&'static str, &'a str));

impl EncodeLabelSet for With<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)?;
        [self.1].encode(encoder)
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
