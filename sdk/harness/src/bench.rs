//! What a plugin costs.

use std::time::{Duration, Instant};

use tidegate_plugin::Columns;

use crate::{Harness, HarnessError, Record, RunError};

/// Keeps every record and looks at none; its source is beside it.
const KEEP_ALL: &[u8] = include_bytes!("../assets/keep_all.wasm");
/// Runs before those that count: instances are made, memory has its size.
const WARM_UP: usize = 5;
/// Runs that count, at least.
const LEAST_RUNS: usize = 20;

/// What running one batch over and over took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    pub runs: u64,
    /// Records of the batch.
    pub records: u64,
    /// Bytes of its keys, values and headers.
    pub bytes: u64,
    /// Of the run in the middle, wall time: decoding into columns, the calls, checking what came back.
    pub nanos_per_record: f64,
    /// CPU time inside the plugin's calls, averaged over all runs.
    pub cpu_nanos_per_record: f64,
    /// Linear memory of an instance afterwards.
    pub memory_bytes: u64,
}

impl Measured {
    /// Millions of bytes of records per second, by the run in the middle.
    pub fn megabytes_per_second(&self) -> f64 {
        let nanos = self.nanos_per_record * self.records as f64;
        match nanos > 0.0 {
            true => self.bytes as f64 * 1000.0 / nanos,
            false => 0.0,
        }
    }
}

/// Runs the batch for at least this long on one thread.
///
/// # Errors
/// If the configuration is refused or the plugin fails.
pub fn measure(
    harness: &Harness,
    records: &[Record],
    at_least: Duration,
) -> Result<Measured, RunError> {
    let batch = harness.prepare(records)?;
    for _ in 0..WARM_UP {
        batch.run()?;
    }
    let cpu_before = batch.stats().cpu_nanos;
    let mut nanos: Vec<u128> = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < at_least || nanos.len() < LEAST_RUNS {
        let started = Instant::now();
        batch.run()?;
        nanos.push(started.elapsed().as_nanos());
    }
    nanos.sort_unstable();
    let middle = nanos.get(nanos.len() / 2).copied().unwrap_or(0);
    let stats = batch.stats();
    let count = records.len().max(1) as f64;
    let cpu = stats.cpu_nanos.saturating_sub(cpu_before);
    Ok(Measured {
        runs: nanos.len() as u64,
        records: records.len() as u64,
        bytes: records.iter().map(|r| r.bytes_len() as u64).sum(),
        nanos_per_record: middle as f64 / count,
        cpu_nanos_per_record: cpu as f64 / nanos.len() as f64 / count,
        memory_bytes: stats.memory_bytes,
    })
}

/// A filter that keeps every record and looks at none, with these columns lowered: what the call costs without a plugin's
/// work.
///
/// # Errors
/// If the engine does not start.
pub fn keep_all(columns: Columns) -> Result<Harness, HarnessError> {
    let names = [
        ("key", columns.key),
        ("value", columns.value),
        ("headers", columns.headers),
        ("timestamp", columns.timestamp),
    ];
    let wanted = names.into_iter().filter(|(_, wanted)| *wanted);
    let wanted: Vec<&str> = wanted.map(|(name, _)| name).collect();
    Ok(Harness::from_bytes(KEEP_ALL)?.config("columns", wanted.join(",")))
}

/// Records with JSON values of about this many bytes, keys and one header; the same ones each time.
pub fn samples(count: usize, value_bytes: usize) -> Vec<Record> {
    let words = "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor ";
    let sample = |i: usize| {
        let open = format!(
            r#"{{"id":{i},"user":"user-{}","region":"{}","amount":{}.5,"text":""#,
            i * 7919 % 1000,
            ["eu", "us", "asia"][i % 3],
            i * 31 % 500
        );
        let close = r#"","last":true}"#;
        let room = value_bytes.saturating_sub(open.len() + close.len());
        let text: String = words
            .chars()
            .cycle()
            .skip(i % words.len())
            .take(room)
            .collect();
        crate::value(format!("{open}{text}{close}"))
            .key(format!("key-{}", i % 100))
            .header("trace", format!("{i:08x}"))
    };
    (0..count).map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_json_of_the_size_asked_for() {
        for size in [100, 1000] {
            for record in samples(10, size) {
                let value = record.value.unwrap();
                assert_eq!(value.len(), size);
                serde_json::from_slice::<serde_json::Value>(&value).unwrap();
            }
        }
    }

    #[test]
    fn keep_all_keeps_all_whatever_is_lowered() {
        let records = samples(50, 100);
        for (key, value) in [(false, true), (true, false), (false, false)] {
            let columns = Columns {
                key,
                value,
                ..Columns::default()
            };
            let harness = keep_all(columns).unwrap();
            assert_eq!(harness.run(&records).unwrap().kept().len(), 50);
            let measured = measure(&harness, &records, Duration::from_millis(1)).unwrap();
            assert!(measured.nanos_per_record > 0.0 && measured.megabytes_per_second() > 0.0);
            assert!(measured.memory_bytes > 0);
        }
    }
}
