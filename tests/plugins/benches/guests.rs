//! Nanoseconds per record of the plugins that ship, columns, call and verdicts included, in batches
//! of 1,000. What rebuilding the batch costs is the broker's bench.

use std::time::Instant;

use tidegate_plugin::Chain;
use tidegate_tests_plugins::{Row, bind, records, run_chain, value};

const BATCH: usize = 1_000;
const BATCHES: usize = 300;

fn main() {
    let small = rows(100);
    let large = rows(1_000);
    println!("{:<44} {:>10} {:>10}", "ns per record", "100 B", "1 KB");
    for (name, config) in CASES {
        let binding = bind(name, config).expect("a good configuration");
        let chain = Chain::new(vec![binding]);
        let label: Vec<String> = config
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let (small, large) = (nanos(&chain, &small), nanos(&chain, &large));
        println!(
            "{:<44} {small:>10.1} {large:>10.1}",
            format!("{name} {}", label.join(" "))
        );
    }
}

const CASES: &[(&str, &[(&str, &str)])] = &[
    ("match", &[("value", "needle")]),
    ("match", &[("value", "absent")]),
    ("match", &[("op", "exists")]),
    ("match", &[("op", "prefix"), ("value", "{\"id\"")]),
    ("match", &[("op", "regex"), ("value", "ne+dle")]),
    ("match", &[("field", "header:none"), ("op", "exists")]),
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
];

/// Every second one contains the needle.
fn rows(bytes: usize) -> Vec<Row> {
    let row = |i: usize| {
        let word = if i.is_multiple_of(2) {
            "needle"
        } else {
            "nothing"
        };
        let open = format!(r#"{{"id": {i}, "word": "{word}", "text": ""#);
        let close = r#"", "last": "z"}"#;
        let text = "lorem ipsum dolor sit amet ".chars().cycle();
        let text: String = text
            .take(bytes.saturating_sub(open.len() + close.len()))
            .collect();
        value(format!("{open}{text}{close}")).key(["eu", "us", "asia"][i % 3])
    };
    (0..BATCH).map(row).collect()
}

fn nanos(chain: &Chain, rows: &[Row]) -> f64 {
    let records = records(rows);
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..BATCHES {
            std::hint::black_box(run_chain(chain, &records));
        }
        best = best.min(start.elapsed().as_nanos() as f64 / (BATCH * BATCHES) as f64);
    }
    best
}
