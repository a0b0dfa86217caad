//! `tidegate produce`: lines become records.
//!
//! Idempotent (KIP-98) with acks=all, so that a retry never stores a line twice. A batch is what one
//! read of the input gave, within the broker's limit: a pipe that pauses is sent at once.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;
use tidegate_record::Codec;

use crate::args::Global;
use crate::client::{Client, Outgoing, Producer, Refused, Sending};
use crate::output::{Output, OutputArgs, print_json};

const READ_BYTES: usize = 1 << 20;
/// Lines told one by one when a plugin refuses them; the rest is only counted.
const TOLD_LINES: usize = 20;

/// Send lines from standard input (or a file) to a topic, one record each.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  echo 'hello' | tidegate produce greetings
  tidegate produce flights --file flights.ndjson --compression zstd
  tidegate produce orders --key-separator '|' -H source=shop < orders.txt

A record that a plugin drops counts as produced: the broker acknowledged it. A record that a plugin
rejects is told with its line; the batch it came in is not stored, and the exit code is 1.")]
pub(crate) struct ProduceArgs {
    topic: String,
    /// Read from FILE instead of standard input.
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What stands before SEP in a line is the record's key.
    #[arg(long, short, value_name = "SEP")]
    key_separator: Option<String>,
    /// A header of every record; repeat it for more.
    #[arg(long, short = 'H', value_name = "NAME=VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// Send everything to this partition [default: by key, as Kafka's clients do, else in turn].
    #[arg(long, short)]
    partition: Option<i32>,
    #[arg(long, default_value = "none", value_parser = codec)]
    #[arg(value_name = "none|gzip|snappy|lz4|zstd")]
    compression: Codec,
    /// Who must have a record before it counts as sent.
    #[arg(long, default_value = "all", value_parser = acks, value_name = "0|1|all")]
    acks: i16,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) fn run(args: ProduceArgs, global: &Global) -> Result<()> {
    let client = Client::connect(&global.bootstrap)?;
    let sending = Sending {
        acks: args.acks,
        codec: args.compression,
    };
    let producer = Producer::open(client, &args.topic, sending)?;
    let mut input = open(&args)?;
    let mut lines = Lines {
        producer,
        args: &args,
        line: 0,
        sent: 0,
        refused: 0,
    };
    let started = Instant::now();
    lines.send(&mut input)?;
    lines.report(started.elapsed())
}

/// The lines of the input, with the reader's buffer in sight: when it is empty, the next line would
/// make us wait, and what is pending should go first.
fn open(args: &ProduceArgs) -> Result<BufReader<Box<dyn Read>>> {
    let source: Box<dyn Read> = match &args.file {
        Some(path) => {
            Box::new(File::open(path).with_context(|| format!("opening {}", path.display()))?)
        }
        None => Box::new(stdin()),
    };
    Ok(BufReader::with_capacity(READ_BYTES, source))
}

/// The lines on their way to the topic, and what became of them.
struct Lines<'a> {
    producer: Producer,
    args: &'a ProduceArgs,
    line: u64,
    sent: u64,
    refused: u64,
}

impl Lines<'_> {
    fn send(&mut self, input: &mut BufReader<Box<dyn Read>>) -> Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if input
                .read_until(b'\n', &mut line)
                .context("reading the input")?
                == 0
            {
                return self.flush();
            }
            self.line += 1;
            while line.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
                line.pop();
            }
            let full = self.push(&line)?;
            if full || input.buffer().is_empty() {
                self.flush()?;
            }
        }
    }

    /// Says whether its batch is full.
    fn push(&mut self, line: &[u8]) -> Result<bool> {
        let (key, value) = split_key(line, self.args.key_separator.as_deref());
        let headers: Vec<_> = self.args.header.iter().map(as_header).collect();
        self.producer.push(Outgoing {
            tag: self.line,
            partition: self.args.partition,
            timestamp: now_ms(),
            key,
            value: Some(value),
            headers: &headers,
        })
    }

    fn flush(&mut self) -> Result<()> {
        let flushed = self.producer.flush()?;
        self.sent += flushed.sent;
        for refused in flushed.refused {
            self.tell(&refused);
        }
        Ok(())
    }

    /// A refused batch: its lines are named, and sending goes on with the next.
    fn tell(&mut self, refused: &Refused) {
        self.refused += refused.tags.len() as u64;
        for (index, reason) in refused.records.iter().take(TOLD_LINES) {
            let line = usize::try_from(*index)
                .ok()
                .and_then(|i| refused.tags.get(i));
            eprintln!("line {}: {reason}", line.copied().unwrap_or(0));
        }
        if refused.records.len() > TOLD_LINES {
            eprintln!("... and {} more", refused.records.len() - TOLD_LINES);
        }
        let (first, last) = (refused.tags.first(), refused.tags.last());
        eprintln!(
            "{} records (lines {} to {}) were not stored: {}",
            refused.tags.len(),
            first.copied().unwrap_or(0),
            last.copied().unwrap_or(0),
            refused.error
        );
    }

    fn report(&self, elapsed: Duration) -> Result<()> {
        let seconds = elapsed.as_secs_f64();
        match self.args.output.output {
            Output::Json => print_json(&json!({
                "topic": self.args.topic,
                "produced": self.sent,
                "refused": self.refused,
                "seconds": seconds,
            }))?,
            Output::Table => eprintln!(
                "produced {} records to {} in {seconds:.2} s",
                self.sent, self.args.topic
            ),
        }
        if self.refused > 0 {
            bail!(
                "{} of {} records were refused",
                self.refused,
                self.refused + self.sent
            );
        }
        Ok(())
    }
}

fn split_key<'a>(line: &'a [u8], separator: Option<&str>) -> (Option<&'a [u8]>, &'a [u8]) {
    let Some(separator) = separator.map(str::as_bytes).filter(|s| !s.is_empty()) else {
        return (None, line);
    };
    match line
        .windows(separator.len())
        .position(|window| window == separator)
    {
        Some(at) => (Some(&line[..at]), &line[at + separator.len()..]),
        None => (None, line),
    }
}

fn as_header((name, value): &(String, String)) -> (&[u8], Option<&[u8]>) {
    (name.as_bytes(), Some(value.as_bytes()))
}

fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a header is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn codec(name: &str) -> Result<Codec, String> {
    Codec::from_name(name).ok_or_else(|| "one of none, gzip, snappy, lz4, zstd".to_owned())
}

fn acks(text: &str) -> Result<i16, String> {
    match text {
        "0" => Ok(0),
        "1" => Ok(1),
        "all" | "-1" => Ok(-1),
        _ => Err("one of 0, 1, all".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_split_at_the_first_separator() {
        assert_eq!(
            split_key(b"a|b|c", Some("|")),
            (Some(&b"a"[..]), &b"b|c"[..])
        );
        assert_eq!(split_key(b"a::b", Some("::")), (Some(&b"a"[..]), &b"b"[..]));
        assert_eq!(split_key(b"plain", Some("|")), (None, &b"plain"[..]));
        assert_eq!(split_key(b"a|b", None), (None, &b"a|b"[..]));
    }
}
