//! What a replay came to: counts, and a few records of each fate.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tidegate_test::{Fate, Outcome, Verdict};

use super::ReplayArgs;
use super::source::Stored;
use crate::output::{Output, counted, print_json, print_table, say, size_text};

/// Characters of a record that are shown.
const SHOWN: usize = 100;
/// Log lines, and messages of failures, that are kept.
const KEPT_LINES: usize = 20;

pub(super) struct Summary {
    topic: String,
    partition: i32,
    range: (i64, i64),
    samples: usize,
    /// Records sent to the topic of `--to`.
    pub(super) written: Option<u64>,
    records: u64,
    bytes: u64,
    cpu: Duration,
    wall: Duration,
    memory_bytes: u64,
    fates: BTreeMap<String, Tally>,
    counters: BTreeMap<String, u64>,
    logs: Vec<String>,
    failures: Vec<String>,
}

#[derive(Default)]
struct Tally {
    records: u64,
    samples: Vec<Sample>,
}

struct Sample {
    offset: i64,
    record: String,
    fate: String,
}

impl Summary {
    pub(super) fn new(args: &ReplayArgs, range: (i64, i64)) -> Summary {
        Summary {
            topic: args.topic.clone(),
            partition: args.partition,
            range,
            samples: args.samples,
            written: None,
            records: 0,
            bytes: 0,
            cpu: Duration::ZERO,
            wall: Duration::ZERO,
            memory_bytes: 0,
            fates: BTreeMap::new(),
            counters: BTreeMap::new(),
            logs: Vec::new(),
            failures: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, batch: &[Stored], outcome: &Outcome) {
        self.cpu += outcome.cpu;
        self.wall += outcome.wall;
        self.memory_bytes = self.memory_bytes.max(outcome.memory_bytes);
        for (stored, fate) in batch.iter().zip(&outcome.records) {
            self.count(stored, &kind(fate), || fate.to_string());
            for to in &fate.routes {
                self.count_fate(stored, &format!("-> {}", to.topic), || fate.to_string());
            }
        }
        for (name, n) in &outcome.counters {
            *self.counters.entry(name.clone()).or_insert(0) += n;
        }
        let room = KEPT_LINES.saturating_sub(self.logs.len());
        let logs = outcome.logs.iter().take(room);
        self.logs.extend(logs.map(ToString::to_string));
    }

    pub(super) fn failed(&mut self, batch: &[Stored], message: &str) {
        for stored in batch {
            self.count(stored, "failed", || "failed".to_owned());
        }
        if self.failures.len() < KEPT_LINES {
            let first = batch.first().map_or(0, |stored| stored.offset);
            self.failures.push(format!("at offset {first}: {message}"));
        }
    }

    fn count(&mut self, stored: &Stored, kind: &str, fate: impl FnOnce() -> String) {
        self.records += 1;
        self.bytes += stored.record.bytes_len() as u64;
        self.count_fate(stored, kind, fate);
    }

    fn count_fate(&mut self, stored: &Stored, kind: &str, fate: impl FnOnce() -> String) {
        let tally = self.fates.entry(kind.to_owned()).or_default();
        tally.records += 1;
        if tally.samples.len() < self.samples {
            tally.samples.push(Sample {
                offset: stored.offset,
                record: short(&stored.record.to_string()),
                fate: short(&fate()),
            });
        }
    }

    pub(super) fn print(&self, output: Output) -> Result<()> {
        if output == Output::Json {
            return print_json(&self.json());
        }
        let nanos = self.wall.as_nanos() as f64 / self.records.max(1) as f64;
        say!(
            "{} partition {}, offsets {} to {}: {}, {}; {nanos:.0} ns a record in the plugin, {} of memory",
            self.topic,
            self.partition,
            self.range.0,
            self.range.1,
            counted(self.records, "record"),
            size_text(self.bytes),
            size_text(self.memory_bytes)
        )?;
        let share = |n: u64| format!("{:.1} %", n as f64 * 100.0 / self.records.max(1) as f64);
        let fates = self.fates.iter();
        let rows = fates.map(|(kind, tally)| {
            vec![
                kind.clone(),
                tally.records.to_string(),
                share(tally.records),
            ]
        });
        print_table(&["FATE", "RECORDS", "SHARE"], rows.collect())?;
        let samples = self.fates.values().flat_map(|tally| &tally.samples);
        let rows: Vec<Vec<String>> = samples
            .map(|s| vec![s.offset.to_string(), s.fate.clone(), s.record.clone()])
            .collect();
        if !rows.is_empty() {
            say!("")?;
            print_table(&["OFFSET", "FATE", "RECORD"], rows)?;
        }
        for (name, n) in &self.counters {
            say!("counter: {name} {n}")?;
        }
        for line in self.logs.iter().chain(&self.failures) {
            say!("{line}")?;
        }
        match self.written {
            Some(written) => say!("{} written", counted(written, "record"))?,
            None => eprintln!("the broker was only read from"),
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let fates = self.fates.iter().map(|(kind, tally)| {
            let samples = tally.samples.iter();
            let samples: Vec<Value> = samples
                .map(|s| json!({"offset": s.offset, "fate": s.fate, "record": s.record}))
                .collect();
            (
                kind.clone(),
                json!({"records": tally.records, "samples": samples}),
            )
        });
        json!({
            "topic": self.topic,
            "partition": self.partition,
            "from": self.range.0,
            "to": self.range.1,
            "records": self.records,
            "bytes": self.bytes,
            "plugin_nanos": u64::try_from(self.wall.as_nanos()).unwrap_or(u64::MAX),
            "cpu_nanos": u64::try_from(self.cpu.as_nanos()).unwrap_or(u64::MAX),
            "memory_bytes": self.memory_bytes,
            "fates": fates.collect::<serde_json::Map<_, _>>(),
            "counters": self.counters,
            "logs": self.logs,
            "failures": self.failures,
            "written": self.written,
        })
    }
}

fn kind(fate: &Fate) -> String {
    let kind = match (&fate.verdict, &fate.edit) {
        (Verdict::Keep, None) => "kept",
        (Verdict::Keep, Some(_)) => "edited",
        (Verdict::Drop, _) if fate.routes.is_empty() => "dropped",
        (Verdict::Drop, _) => "moved",
        (Verdict::Reject(_), _) => "rejected",
        (Verdict::DeadLetter(_), _) => "dead-lettered",
    };
    kind.to_owned()
}

fn short(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
