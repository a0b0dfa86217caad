//! What the plugins that ship are timed on: shared by the bench of their components and by
//! `plugins/native`, which is built in another workspace.

use std::time::Instant;

pub(crate) const BATCH: usize = 1_000;
/// Bytes of a value.
pub(crate) const SMALL: usize = 100;
pub(crate) const LARGE: usize = 1_000;

const BATCHES: usize = 200;
const ROUNDS: usize = 5;

pub(crate) type Config<'a> = &'a [(&'a str, &'a str)];

pub(crate) const CASES: &[(&str, Config<'static>)] = &[
    ("match", &[("value", "needle")]),
    ("match", &[("value", "absent")]),
    ("match", &[("op", "exists")]),
    ("match", &[("op", "prefix"), ("value", "{\"id\"")]),
    ("match", &[("op", "regex"), ("value", "ne+dle")]),
    ("match", &[("field", "header:trace"), ("op", "exists")]),
    (
        "match",
        &[("field", "json:/id"), ("op", "gt"), ("value", "500")],
    ),
    (
        "match",
        &[("field", "json:/last"), ("op", "equals"), ("value", "z")],
    ),
    ("route", &[("table", "eu=a;us=b")]),
    ("route", &[("field", "json:/last"), ("table", "y=a;z=b")]),
    ("redact", &[("mask", "json:/word")]),
    ("redact", &[("remove", "json:/last")]),
    ("redact", &[("mask", "json:/none")]),
    (
        "redact",
        &[("hash", "json:/word"), ("hash.key", "a key for the bench")],
    ),
    ("redact", &[("mask", "header:trace")]),
    (
        "validate",
        &[(
            "schema",
            r#"{"type": "object", "required": ["id", "word"], "properties": {
                "id": {"type": "integer", "minimum": 0}, "word": {"enum": ["needle", "nothing"]}}}"#,
        )],
    ),
    (
        "validate",
        &[(
            "schema",
            r#"{"properties": {"word": {"pattern": "^n[a-z]+$"}}}"#,
        )],
    ),
    ("sample", &[("ppm", "10000")]),
    ("sample", &[("ppm", "10000"), ("field", "json:/id")]),
    // All but the first are in the window; then none is.
    ("dedup", &[]),
    (
        "dedup",
        &[("field", "header:trace"), ("window.records", "500")],
    ),
    ("enrich", &[("headers", "source=topic;region=text:eu")]),
    ("enrich", &[("headers", "id=json:/id")]),
];

/// A record of a case.
pub(crate) struct Sample {
    pub(crate) key: &'static str,
    pub(crate) value: String,
    /// Of the header `trace`; no two records have the same.
    pub(crate) header: String,
}

/// Every second one contains the needle.
pub(crate) fn sample(index: usize, bytes: usize) -> Sample {
    let word = if index.is_multiple_of(2) {
        "needle"
    } else {
        "nothing"
    };
    let open = format!(r#"{{"id": {index}, "word": "{word}", "text": ""#);
    let close = r#"", "last": "z"}"#;
    let text = "lorem ipsum dolor sit amet ".chars().cycle();
    let text: String = text
        .take(bytes.saturating_sub(open.len() + close.len()))
        .collect();
    Sample {
        key: ["eu", "us", "asia"][index % 3],
        value: format!("{open}{text}{close}"),
        header: format!("trace-{index:08}"),
    }
}

/// Nanoseconds per record of the best of some rounds, where `run` is one batch.
pub(crate) fn nanos(mut run: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..BATCHES {
            run();
        }
        best = best.min(start.elapsed().as_nanos() as f64 / (BATCH * BATCHES) as f64);
    }
    best
}
