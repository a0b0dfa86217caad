//! `tidegate plugin replay`: a plugin over records that a broker has, without any effect; or with one, into a topic for it.

mod source;
mod summary;

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use tidegate_test::{Harness, Record, RunError, Verdict, World};

use self::source::{Source, Stored};
use self::summary::Summary;
use super::bench::{key_value, limit};
use super::test::load;
use crate::admin::Admin;
use crate::args::Global;
use crate::client::{Client, Outgoing, Producer, Sending};
use crate::output::OutputArgs;
use crate::progress;

/// Records of one run of the plugin.
const BATCH: usize = 1000;
/// As large as a component may be.
const MAX_COMPONENT_BYTES: u64 = 64 << 20;

/// Run a plugin over stored records of a live broker, without any effect there.
///
/// It runs here, in the broker's engine, and shows what it would do; the broker is only read from. The records are what the topic has, read past its consume chain. The plugin is a file, a project's directory (built first)
/// or NAME[@VERSION] of the broker's own. With --to, what the plugin makes of the records is sent to a topic: a backfill.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate plugin replay --topic orders --offsets 1000..2000 --plugin match.wasm -c value=EU
  tidegate plugin replay --topic orders --plugin match@0.2.0       # the version that comes next
  tidegate plugin replay --topic orders --plugin redact.wasm --to orders-clean --yes
  tidegate plugin replay --topic orders --plugin route --route eu --to orders-eu --yes

Offsets are A..B, without B itself; A and B may be left out. Batches here are not those that the
producers sent, so a plugin that keeps state may see them cut otherwise.")]
pub(crate) struct ReplayArgs {
    /// The topic to read.
    #[arg(long)]
    topic: String,
    /// The partition to read.
    #[arg(long, default_value = "0")]
    partition: i32,
    /// Which records.
    #[arg(long, value_name = "A..B", default_value = "..", value_parser = offsets)]
    offsets: Offsets,
    /// A component file, a project's directory, or NAME[@VERSION] of the broker's.
    #[arg(long, value_name = "PLUGIN", default_value = ".")]
    plugin: String,
    /// A key of the plugin's configuration; repeat it for more.
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = key_value)]
    config: Vec<(String, String)>,
    /// A limit of the binding, as tidegate.limit.<alias>.NAME sets it; repeat it for more.
    #[arg(long, value_name = "NAME=VALUE", value_parser = limit)]
    limit: Vec<(String, u64)>,
    /// Records shown of each fate.
    #[arg(long, value_name = "N", default_value = "3")]
    samples: usize,
    /// Send what the plugin keeps (and changes) to this topic.
    #[arg(long, value_name = "TOPIC", requires = "yes")]
    to: Option<String>,
    /// With --to: send what a router routes to this topic of its own instead.
    #[arg(long, value_name = "TOPIC", requires = "to")]
    route: Option<String>,
    /// Yes, write to the topic of --to.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// From the first to before the second; `None` = as far as there is something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Offsets {
    from: Option<i64>,
    to: Option<i64>,
}

pub(crate) fn run(args: ReplayArgs, global: &Global) -> Result<()> {
    let admin = Admin::new(global);
    let mut harness = plugin(&args.plugin, &admin)?
        .topic(&args.topic)
        .partition(args.partition)
        .once();
    for (key, value) in &args.config {
        harness = harness.config(key, value);
    }
    for (name, value) in &args.limit {
        harness = harness.limit(name, *value).map_err(RunError::Refused)?;
    }
    harness.check()?;
    let mut source = Source::open(&args, admin, global)?;
    let mut writer = match &args.to {
        Some(to) => Some(Writer::open(&args, to, &harness, global)?),
        None => None,
    };
    let mut summary = Summary::new(&args, source.range());
    let bar = progress::bar(source.left(), "replaying");
    while let Some(stored) = source.next()? {
        for batch in stored.chunks(BATCH) {
            replay(&harness, batch, &mut summary, writer.as_mut())?;
        }
        bar.set_position(source.passed());
    }
    bar.finish_and_clear();
    if let Some(writer) = writer {
        summary.written = Some(writer.sent);
    }
    summary.print(args.output.output)
}

fn replay(
    harness: &Harness,
    batch: &[Stored],
    summary: &mut Summary,
    writer: Option<&mut Writer<'_>>,
) -> Result<()> {
    let records: Vec<Record> = batch.iter().map(|stored| stored.record.clone()).collect();
    // The broker's time of the batch is not kept; the newest record's own comes nearest.
    let time = records.iter().filter_map(|record| record.timestamp).max();
    match harness.run_at(time.unwrap_or(0), &records) {
        Ok(outcome) => {
            summary.add(batch, &outcome);
            match writer {
                Some(writer) => writer.write(batch, &outcome),
                None => Ok(()),
            }
        }
        Err(RunError::Failed { message, .. }) => {
            summary.failed(batch, &message);
            match writer {
                // What follows would leave a hole that nobody sees.
                Some(_) => bail!(
                    "at offset {}: {message}\n  nothing from there on was written; go on with --offsets {}.. once it is mended",
                    first_offset(batch),
                    first_offset(batch)
                ),
                None => Ok(()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

fn first_offset(batch: &[Stored]) -> i64 {
    batch.first().map_or(0, |stored| stored.offset)
}

/// A file or directory if there is one of that name, else the broker's.
fn plugin(name: &str, admin: &Admin) -> Result<Harness> {
    let path = Path::new(name);
    if path.exists() {
        return load(path);
    }
    ensure!(
        !name.contains('/') && !name.ends_with(".wasm"),
        "there is no {name}; --plugin is a component file, a project's directory, or NAME[@VERSION] of the broker's"
    );
    let (name, version) = match name.split_once('@') {
        Some((name, version)) => (name, version.to_owned()),
        None => {
            let shown = admin.get(&["v1", "plugins", name])?;
            let latest = shown["latest"]
                .as_str()
                .context("the broker names no latest version")?;
            (name, latest.to_owned())
        }
    };
    let wasm = admin.download(&["v1", "plugins", name, &version], MAX_COMPONENT_BYTES)?;
    Ok(Harness::from_bytes(&wasm)?)
}

/// What goes to the topic of `--to`.
struct Writer<'a> {
    producer: Producer,
    to: &'a str,
    route: Option<&'a str>,
    sent: u64,
}

impl<'a> Writer<'a> {
    fn open(
        args: &'a ReplayArgs,
        to: &'a str,
        harness: &Harness,
        global: &Global,
    ) -> Result<Writer<'a>> {
        ensure!(
            to != args.topic,
            "--to is the topic that is read; what is written there would be read again"
        );
        ensure!(
            harness.world() != World::Router || args.route.is_some(),
            "a router keeps and copies: say with --route which of its topics is to be written to {to}"
        );
        let client = Client::connect(&global.bootstrap)?;
        Ok(Writer {
            producer: Producer::open(client, to, Sending::default())?,
            to,
            route: args.route.as_deref(),
            sent: 0,
        })
    }

    fn write(&mut self, batch: &[Stored], outcome: &tidegate_test::Outcome) -> Result<()> {
        for (stored, fate) in batch.iter().zip(&outcome.records) {
            let wanted = match self.route {
                Some(route) => fate.routes.iter().any(|to| to.topic == route),
                None => fate.verdict == Verdict::Keep,
            };
            if !wanted {
                continue;
            }
            let record = match &fate.edit {
                Some(edit) => edit.apply(&stored.record),
                None => stored.record.clone(),
            };
            let headers: Vec<_> = record
                .headers
                .iter()
                .map(|(name, value)| (name.as_slice(), value.as_deref()))
                .collect();
            let full = self.producer.push(Outgoing {
                tag: stored.offset.unsigned_abs(),
                partition: None,
                timestamp: record.timestamp.unwrap_or(-1),
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &headers,
            })?;
            if full {
                self.flush()?;
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        let flushed = self.producer.flush()?;
        self.sent += flushed.sent;
        match flushed.refused.first() {
            None => Ok(()),
            Some(refused) => {
                let first = refused.tags.first().copied().unwrap_or(0);
                bail!(
                    "{} refuses a batch from offset {first} on: {}\n  {} records were written; go on with --offsets \
                     {first}.. once it is mended",
                    self.to,
                    refused.error,
                    self.sent
                )
            }
        }
    }
}

fn offsets(text: &str) -> Result<Offsets, String> {
    let (from, to) = text
        .split_once("..")
        .ok_or("offsets are A..B, `A..` or `..B`")?;
    let number = |text: &str| match text {
        "" => Ok(None),
        text => match text.parse::<i64>() {
            Ok(offset) if offset >= 0 => Ok(Some(offset)),
            _ => Err(format!("`{text}` is no offset")),
        },
    };
    let offsets = Offsets {
        from: number(from)?,
        to: number(to)?,
    };
    match offsets {
        Offsets {
            from: Some(from),
            to: Some(to),
        } if to <= from => Err(format!("there is nothing from {from} to before {to}")),
        offsets => Ok(offsets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_a_range() {
        let range = |from, to| Ok(Offsets { from, to });
        assert_eq!(offsets("5..10"), range(Some(5), Some(10)));
        assert_eq!(offsets(".."), range(None, None));
        assert_eq!(offsets("5.."), range(Some(5), None));
        for wrong in ["5", "a..b", "10..5", "-1..", "5..5"] {
            assert!(offsets(wrong).is_err(), "{wrong}");
        }
    }
}
