//! `tidegate consume`: the records of a topic, as text, JSON or raw values.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tidegate_record::RecordView;

use crate::args::Global;
use crate::client::{Client, Reader, Start};

const COMMIT_EVERY: Duration = Duration::from_secs(5);

/// Print the records of a topic.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate consume flights                                    # what comes from now on
  tidegate consume flights --from-beginning --until-end       # what is there, then exit
  tidegate consume flights --from-beginning --count 10 -o json
  tidegate consume flights --partition 0 --offset 1200 --idle-exit 5 -o raw
  tidegate consume flights --group report --until-end         # goes on where the last run ended

text is partition/offset, key and value, separated by tabs; json is one object a line, bytes that
are no UTF-8 as {\"hex\": ...}; raw is the values alone, one a line.")]
pub(crate) struct ConsumeArgs {
    topic: String,
    /// Same as --offset beginning.
    #[arg(long, conflicts_with = "offset")]
    from_beginning: bool,
    /// Where to start in every partition: an offset, `beginning` or `end` [default: end].
    #[arg(long, value_name = "N|beginning|end", value_parser = start)]
    offset: Option<Start>,
    /// Only this partition; repeat it for more.
    #[arg(long, short)]
    partition: Vec<i32>,
    /// Stop after N records.
    #[arg(long, short = 'n', value_name = "N")]
    count: Option<u64>,
    /// Stop at the offsets that were the ends when this began.
    #[arg(long)]
    until_end: bool,
    /// Stop when no record came for this long.
    #[arg(long, value_name = "SECONDS")]
    idle_exit: Option<f64>,
    /// Start where this group's committed offsets are, and commit. All partitions are read here;
    /// the group's membership is not joined.
    #[arg(long, short)]
    group: Option<String>,
    /// Leave out the records of transactions that are open or were aborted.
    #[arg(long)]
    read_committed: bool,
    /// How to print a record.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    Json,
    Raw,
}

pub(crate) fn run(args: ConsumeArgs, global: &Global) -> Result<()> {
    let client = Client::connect(&global.bootstrap)?;
    let mut reader = Reader::open(client, &args.topic, &args.partition)?;
    if args.read_committed {
        reader.read_committed();
    }
    reader.seek(match (args.from_beginning, args.offset) {
        (true, _) => Start::Beginning,
        (false, Some(start)) => start,
        (false, None) => Start::End,
    })?;
    if let Some(group) = &args.group {
        reader.seek_to_group(group)?;
    }
    if args.until_end {
        reader.until_end()?;
    }
    let mut printer = Printer {
        args: &args,
        out: std::io::BufWriter::new(std::io::stdout().lock()),
        printed: 0,
        last_record: Instant::now(),
    };
    let result = read(&mut reader, &mut printer);
    // What was printed was read, whatever ended it.
    if let Some(group) = &args.group {
        reader.commit(group)?;
    }
    result
}

fn read(reader: &mut Reader, printer: &mut Printer<'_>) -> Result<()> {
    let mut last_commit = Instant::now();
    while !reader.is_done() && !printer.is_done() {
        reader.poll(&mut |partition, offset, record| printer.print(partition, offset, record))?;
        printer.out.flush()?;
        if let Some(group) = &printer.args.group
            && last_commit.elapsed() >= COMMIT_EVERY
        {
            last_commit = Instant::now();
            reader.commit(group)?;
        }
    }
    Ok(())
}

struct Printer<'a> {
    args: &'a ConsumeArgs,
    out: std::io::BufWriter<std::io::StdoutLock<'static>>,
    printed: u64,
    last_record: Instant,
}

impl Printer<'_> {
    fn is_done(&self) -> bool {
        let idle = self.last_record.elapsed().as_secs_f64();
        self.counted_out() || self.args.idle_exit.is_some_and(|limit| idle >= limit)
    }

    fn counted_out(&self) -> bool {
        self.args.count.is_some_and(|count| self.printed >= count)
    }

    /// False when enough were printed before this one.
    fn print(&mut self, partition: i32, offset: i64, record: &RecordView<'_>) -> Result<bool> {
        if self.counted_out() {
            return Ok(false);
        }
        print(&mut self.out, self.args, partition, offset, record)?;
        self.printed += 1;
        self.last_record = Instant::now();
        Ok(true)
    }
}

fn print(
    out: &mut impl Write,
    args: &ConsumeArgs,
    partition: i32,
    offset: i64,
    record: &RecordView<'_>,
) -> Result<()> {
    match args.output {
        Format::Raw => {
            out.write_all(record.value.unwrap_or_default())?;
            writeln!(out)?;
        }
        Format::Text => {
            let [key, value] = [record.key, record.value].map(|part| match part {
                Some(bytes) => String::from_utf8_lossy(bytes),
                None => "-".into(),
            });
            writeln!(out, "{partition}/{offset}\t{key}\t{value}")?;
        }
        Format::Json => writeln!(out, "{}", as_json(&args.topic, partition, offset, record))?,
    }
    Ok(())
}

fn as_json(topic: &str, partition: i32, offset: i64, record: &RecordView<'_>) -> Value {
    let header = |(key, value): (&[u8], Option<&[u8]>)| json!({"key": bytes_json(Some(key)), "value": bytes_json(value)});
    json!({
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "timestamp": record.timestamp,
        "key": bytes_json(record.key),
        "value": bytes_json(record.value),
        "headers": record.headers().map(header).collect::<Vec<_>>(),
    })
}

/// Text where it is text; else hexadecimal, marked so that the two cannot be confused.
fn bytes_json(bytes: Option<&[u8]>) -> Value {
    let Some(bytes) = bytes else {
        return Value::Null;
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::String(text.to_owned()),
        Err(_) => json!({"hex": bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()}),
    }
}

fn start(text: &str) -> Result<Start> {
    match text {
        "beginning" | "earliest" => Ok(Start::Beginning),
        "end" | "latest" => Ok(Start::End),
        number => match number.parse() {
            Ok(offset) if offset >= 0 => Ok(Start::At(offset)),
            _ => bail!("an offset is a number, `beginning` or `end`"),
        },
    }
}

#[cfg(test)]
mod tests {
    use tidegate_record::{BatchBuilder, Codec, DecodeLimits, RecordParts};

    use super::*;

    #[test]
    fn json_keeps_text_and_marks_bytes() {
        assert_eq!(bytes_json(Some(b"plain")), json!("plain"));
        assert_eq!(bytes_json(Some(&[0xff, 0x01])), json!({"hex": "ff01"}));
        assert_eq!(bytes_json(None), Value::Null);
    }

    #[test]
    fn a_record_prints_with_its_headers() {
        let mut builder = BatchBuilder::new(Codec::None);
        let headers: [(&[u8], Option<&[u8]>); 2] = [(b"h", Some(b"1")), (b"h", None)];
        let parts = RecordParts {
            offset_delta: None,
            timestamp: 5,
            key: None,
            value: Some(b"v"),
            headers: &headers,
        };
        builder.push(parts).unwrap();
        let limits = DecodeLimits {
            max_bytes: 1 << 20,
            max_records: 10,
        };
        let records = builder.build().unwrap().records(limits).unwrap();
        let printed = as_json("t", 1, 9, &records.get(0).unwrap());
        assert_eq!(printed["value"], "v");
        assert_eq!(printed["offset"], 9);
        assert_eq!(printed["headers"][1], json!({"key": "h", "value": null}));
    }

    #[test]
    fn starts_are_words_or_offsets() {
        assert_eq!(start("beginning").unwrap(), Start::Beginning);
        assert_eq!(start("end").unwrap(), Start::End);
        assert_eq!(start("7").unwrap(), Start::At(7));
        assert!(start("-7").is_err() && start("soon").is_err());
    }
}
