//! Nanoseconds per record of the plugins that ship, in batches of 1,000. `Wasm` is the component in the broker's engine:
//! columns filled, call, verdicts or edits taken back and checked; what rebuilding the batch costs is the broker's bench.
//! `native` is the same Rust compiled natively, on columns that were filled before.

mod cases;

use std::path::Path;
use std::process::Command;

use cases::{BATCH, CASES, LARGE, SMALL, Sample};
use tidegate_plugin::Chain;
use tidegate_tests_plugins::{Row, bind, records, run_chain, value};

fn main() {
    let native = native();
    let (small, large) = (rows(SMALL), rows(LARGE));
    println!("{:<52} {:>17} {:>17}", "ns per record", "100 B", "1 KB");
    println!(
        "{:<52} {:>8} {:>8} {:>8} {:>8}",
        "", "Wasm", "native", "Wasm", "native"
    );
    for (at, (name, config)) in CASES.iter().enumerate() {
        let chain = Chain::new(vec![bind(name, config).expect("a good configuration")]);
        let label: Vec<String> = config
            .iter()
            .map(|(key, value)| shown(key, value))
            .collect();
        let native = native.get(at).copied().unwrap_or_default();
        println!(
            "{:<52} {:>8.1} {:>8.1} {:>8.1} {:>8.1}",
            format!("{name} {}", label.join(" ")),
            nanos(&chain, &small),
            native.0,
            nanos(&chain, &large),
            native.1,
        );
    }
}

fn rows(bytes: usize) -> Vec<Row> {
    let row = |index| {
        let Sample {
            key,
            value: text,
            header,
        } = cases::sample(index, bytes);
        value(text).key(key).header("trace", header)
    };
    (0..BATCH).map(row).collect()
}

fn nanos(chain: &Chain, rows: &[Row]) -> f64 {
    let records = records(rows);
    cases::nanos(|| {
        std::hint::black_box(run_chain(chain, &records));
        chain.settle(0, true);
    })
}

/// A long value would push the figures out of sight.
fn shown(key: &str, value: &str) -> String {
    let words: Vec<&str> = value.split_whitespace().collect();
    let value = words.join(" ");
    let short: String = value.chars().take(28).collect();
    let more = if short.len() < value.len() { "…" } else { "" };
    format!("{key}={short}{more}")
}

/// One pair for each case, from `plugins/native`; none where that cannot be built, which is then said.
fn native() -> Vec<(f64, f64)> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/Cargo.toml");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "run",
            "--release",
            "--locked",
            "--quiet",
            "-p",
            "native",
            "--manifest-path",
        ])
        .arg(manifest)
        .output()
        .expect("cargo runs");
    if !output.status.success() {
        eprintln!(
            "no native figures: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let pair = |line: &str| {
        let (small, large) = line.split_once(' ')?;
        Some((small.parse().ok()?, large.parse().ok()?))
    };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(pair)
        .collect()
}
