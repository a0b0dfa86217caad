//! Plugins and bindings as JSON.

use serde_json::{Value, json};
use tidegate_metadata::{PluginName, PluginSignature, PluginVersion};
use tidegate_plugin::{
    BindingStats, BreakerState, Columns, ConfigKind, Description, Digest, Plugin, PublicKey, State,
};

use crate::plugins::{BindingReport, ShadowReport};

/// The key that a signature is by.
pub(super) fn signed_by(signature: &PluginSignature) -> String {
    // What is stored was checked when it came; a key that is none now is shown as what it is.
    PublicKey::from_bytes(&signature.key)
        .map_or_else(|error| error.to_string(), |key| key.to_string())
}

pub(super) fn version(
    version: &str,
    row: &PluginVersion,
    known: &PluginName,
    signature: Option<&PluginSignature>,
) -> Value {
    json!({
        "version": version,
        "latest": known.latest == version,
        "sha256": Digest(row.digest).to_string(),
        "size": row.size,
        "world": row.world,
        "uploaded_ms": row.uploaded_ms,
        "signed_by": signature.map(signed_by),
    })
}

pub(super) fn description(plugin: &Plugin) -> Value {
    let Description {
        name,
        version,
        summary,
        columns: wanted,
        state: kept,
        config,
        writes,
        ..
    } = plugin.description();
    let config: Vec<Value> = config
        .iter()
        .map(|key| {
            json!({
                "name": key.name,
                "type": kind(key.kind),
                "required": key.required,
                // Somebody may have made a real secret the default.
                "default": key.default.as_ref().filter(|_| !key.secret),
                "doc": key.doc,
                "secret": key.secret,
            })
        })
        .collect();
    json!({
        "name": name,
        "version": version,
        "summary": summary,
        "world": plugin.world().as_str(),
        "columns": columns(*wanted),
        "writes": columns(*writes),
        "state": state(*kept),
        "allocation": plugin.allocation().as_str(),
        "config": config,
    })
}

pub(super) fn binding(report: &BindingReport) -> Value {
    let none = BindingStats::default();
    let stats = report.stats.as_ref().unwrap_or(&none);
    json!({
        "topic": report.topic,
        "side": report.place.name(),
        "alias": report.alias,
        "plugin": report.plugin,
        "reference": report.reference,
        "version": report.version,
        "sha256": Digest(report.digest).to_string(),
        "world": report.world,
        "ready": report.stats.is_some() && report.error.is_none(),
        "error": report.error,
        "on_error": report.on_error,
        "on_reject": report.on_reject,
        "limits": report.limits,
        "config": report.config,
        "stats": stats_of(stats),
        "last_error": stats.last_error,
    })
}

pub(super) fn shadow(report: &ShadowReport) -> Value {
    json!({
        "records": report.records,
        "agree": report.agree,
        "would_drop": report.would_drop,
        "would_keep": report.would_keep,
        "would_change": report.would_change,
        "errors": report.errors,
        "skipped": report.skipped,
    })
}

pub(super) fn breaker(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed => "closed",
        BreakerState::Open => "open",
        BreakerState::HalfOpen => "half-open",
    }
}

fn stats_of(stats: &BindingStats) -> Value {
    let quantile = |share| {
        let nanos = stats.latency.quantile_nanos(share);
        nanos.map(|nanos| nanos / 1000)
    };
    json!({
        "records_in": stats.records_in,
        "kept": stats.kept,
        "edited": stats.edited,
        "dropped": stats.dropped,
        "rejected": stats.rejected,
        "routed": stats.routed,
        "dead_lettered": stats.dead_lettered,
        "passed": stats.passed,
        "errors": stats.errors,
        "calls": stats.calls,
        "nanos": stats.nanos,
        "cpu_nanos": stats.cpu_nanos,
        "lowered_bytes": stats.lowered_bytes,
        // Upper bounds of the histogram's buckets; null when there was no run, or one longer than the last bound.
        "run_us": {
            "p50": quantile(0.5),
            "p99": quantile(0.99),
        },
        "runs": stats.latency.count(),
        "traps": stats.traps,
        "deadline_hits": stats.deadline_hits,
        "memory_hits": stats.memory_hits,
        "output_hits": stats.output_hits,
        "limit_hits": stats.limit_hits,
        "instances": stats.instances,
        "instantiations": stats.instantiations,
        "memory_bytes": stats.memory_bytes,
        "log_dropped": stats.log_dropped,
        "breaker": breaker(stats.breaker),
        "paused": stats.paused,
        "counters": stats.counters,
    })
}

fn columns(columns: Columns) -> Vec<&'static str> {
    let named = [
        ("key", columns.key),
        ("value", columns.value),
        ("headers", columns.headers),
        ("timestamp", columns.timestamp),
    ];
    let on = named.into_iter().filter(|(_, on)| *on);
    on.map(|(name, _)| name).collect()
}

fn state(state: State) -> &'static str {
    match state {
        State::None => "none",
        State::Partition => "partition",
    }
}

fn kind(kind: ConfigKind) -> &'static str {
    match kind {
        ConfigKind::Text => "text",
        ConfigKind::Integer => "integer",
        ConfigKind::Float => "float",
        ConfigKind::Boolean => "boolean",
    }
}
