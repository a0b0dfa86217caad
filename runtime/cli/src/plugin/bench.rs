//! `tidegate plugin bench`: what a plugin costs.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::{Value, json};
use tidegate_test::bench::{self, Measured};
use tidegate_test::golden::Case;
use tidegate_test::{Harness, Record, RunError};

use super::test::load;
use crate::output::{Output, OutputArgs, print_json, print_table, say, size_text};

/// Measure what a plugin costs in the broker's engine.
///
/// On one thread: nanoseconds per record and what they come to in MB/s, CPU time, and memory.
///
/// Beside it stands a filter that keeps everything and looks at nothing, with the same columns: what the call costs without
/// the plugin's work. The deadline is a minute, unless --limit says otherwise. What rebuilding and storing a batch costs is the broker's and not in here.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate plugin bench                                        # the project here, on generated JSON
  tidegate plugin bench match.wasm --config value=needle --sizes 100,1000,10000
  tidegate plugin bench --records golden/cases.jsonl           # on records of your own, as golden files have them")]
pub(crate) struct BenchArgs {
    /// A plugin's directory, which is built first, or a component file.
    #[arg(default_value = ".", value_name = "DIR|FILE.wasm")]
    plugin: PathBuf,
    /// A key of the plugin's configuration; repeat it for more.
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = key_value)]
    config: Vec<(String, String)>,
    /// A limit of the binding, as tidegate.limit.<alias>.NAME sets it; repeat it for more.
    #[arg(long, value_name = "NAME=VALUE", value_parser = limit)]
    limit: Vec<(String, u64)>,
    /// Records to measure with, one JSON object a line; the file's setting counts, too.
    #[arg(long, value_name = "FILE.jsonl", conflicts_with = "sizes")]
    records: Option<PathBuf>,
    /// Bytes of the generated values.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "BYTES",
        default_value = "100,1000"
    )]
    sizes: Vec<usize>,
    /// Records in a batch.
    #[arg(long, default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: u32,
    /// How long each measurement takes, at least.
    #[arg(long, default_value = "1", value_name = "SECONDS")]
    seconds: f64,
    #[command(flatten)]
    output: OutputArgs,
}

/// A machine that is busy with something else is no reason to stop a measurement.
const DEADLINE_MS: u64 = 60_000;

/// One row of the result.
struct Row {
    records: String,
    plugin: Measured,
    keep_all: Measured,
}

pub(crate) fn run(args: BenchArgs) -> Result<()> {
    ensure!(
        args.seconds.is_finite() && (0.0..=600.0).contains(&args.seconds),
        "--seconds is from 0 to 600"
    );
    let mut harness = load(&args.plugin)?;
    let mut batches = Vec::new();
    match &args.records {
        Some(path) => {
            let case = Case::read(path)?;
            harness = case.setting(harness).map_err(RunError::Refused)?;
            let records: Vec<Record> = case.records().cloned().collect();
            ensure!(!records.is_empty(), "{} has no records", path.display());
            let records = records
                .into_iter()
                .cycle()
                .take(args.batch as usize)
                .collect();
            batches.push((path.display().to_string(), records));
        }
        None => batches.extend(args.sizes.iter().map(|size| {
            (
                size_text(*size as u64),
                bench::samples(args.batch as usize, *size),
            )
        })),
    }
    for (key, value) in &args.config {
        harness = harness.config(key, value);
    }
    harness = harness
        .limit("deadline.ms", DEADLINE_MS)
        .map_err(RunError::Refused)?;
    for (name, value) in &args.limit {
        harness = harness.limit(name, *value).map_err(RunError::Refused)?;
    }
    let least = Duration::from_secs_f64(args.seconds);
    let keep_all = bench::keep_all(harness.description().columns)?;
    let mut rows = Vec::new();
    for (records, batch) in batches {
        rows.push(Row {
            records,
            plugin: bench::measure(&harness, &batch, least)?,
            keep_all: bench::measure(&keep_all, &batch, least.min(Duration::from_secs(1)))?,
        });
    }
    print(&args, &harness, &rows)
}

fn print(args: &BenchArgs, harness: &Harness, rows: &[Row]) -> Result<()> {
    let description = harness.description();
    if args.output.output == Output::Json {
        return print_json(&json!({
            "plugin": description.name,
            "version": description.version,
            "world": harness.world().as_str(),
            "batch": args.batch,
            "rows": rows.iter().map(row_json).collect::<Vec<_>>(),
        }));
    }
    say!(
        "{} {}, a {}; batches of {} records, one thread",
        description.name,
        description.version,
        harness.world(),
        args.batch
    )?;
    let header = [
        "VALUES",
        "NS/RECORD",
        "MB/S",
        "CPU NS",
        "KEEP-ALL NS",
        "MEMORY",
        "RUNS",
    ];
    print_table(&header, rows.iter().map(row_cells).collect())
}

fn row_cells(row: &Row) -> Vec<String> {
    vec![
        row.records.clone(),
        format!("{:.1}", row.plugin.nanos_per_record),
        format!("{:.0}", row.plugin.megabytes_per_second()),
        format!("{:.1}", row.plugin.cpu_nanos_per_record),
        format!("{:.1}", row.keep_all.nanos_per_record),
        size_text(row.plugin.memory_bytes),
        row.plugin.runs.to_string(),
    ]
}

fn row_json(row: &Row) -> Value {
    json!({
        "values": row.records,
        "ns_per_record": row.plugin.nanos_per_record,
        "mb_per_second": row.plugin.megabytes_per_second(),
        "cpu_ns_per_record": row.plugin.cpu_nanos_per_record,
        "keep_all_ns_per_record": row.keep_all.nanos_per_record,
        "memory_bytes": row.plugin.memory_bytes,
        "runs": row.plugin.runs,
    })
}

pub(super) fn limit(text: &str) -> Result<(String, u64), String> {
    let (name, value) = text.split_once('=').ok_or("a limit is NAME=VALUE")?;
    let value = value
        .parse()
        .map_err(|_| format!("`{value}` is no whole number"))?;
    Ok((name.to_owned(), value))
}

pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or("a key of the configuration is KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}
