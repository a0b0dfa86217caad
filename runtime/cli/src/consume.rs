//! `tidegate consume`: the records of a topic, as text, JSON or raw values.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tidegate_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use tidegate_protocol::messages::fetch_response::PartitionData;
use tidegate_protocol::messages::{BrokerId, FetchRequest};
use tidegate_record::{Batch, DecodeLimits, RecordView};

use crate::args::Global;
use crate::client::{Client, ClientError, check_code, topic_name};
use crate::offsets::{self, EARLIEST, LATEST};

const FETCH_BYTES: i32 = 16 << 20;
const PARTITION_BYTES: i32 = 2 << 20;
const MAX_WAIT_MS: i32 = 500;
const COMMIT_EVERY: Duration = Duration::from_secs(5);
/// A batch of a broker we chose; still bounded, since its sizes come from whoever produced it.
const LIMITS: DecodeLimits = DecodeLimits {
    max_bytes: 256 << 20,
    max_records: 10_000_000,
};

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Beginning,
    End,
    At(i64),
}

pub(crate) fn run(args: ConsumeArgs, global: &Global) -> Result<()> {
    let mut client = Client::connect(&global.bootstrap)?;
    let mut leaders: BTreeMap<i32, BrokerId> = BTreeMap::new();
    for partition in client.partitions(&args.topic)? {
        leaders.insert(partition.index, partition.leader);
    }
    for wanted in &args.partition {
        ensure!(
            leaders.contains_key(wanted),
            "topic {} has no partition {wanted}",
            args.topic
        );
    }
    leaders.retain(|index, _| args.partition.is_empty() || args.partition.contains(index));
    let positions = positions(&mut client, &args, &leaders)?;
    let ends = match args.until_end {
        true => Some(offsets::list(&mut client, &args.topic, &leaders, LATEST)?),
        false => None,
    };
    let mut consumer = Consumer {
        client,
        args: &args,
        leaders,
        positions,
        ends,
        out: std::io::BufWriter::new(std::io::stdout().lock()),
        printed: 0,
        last_record: Instant::now(),
        last_commit: Instant::now(),
    };
    let result = consumer.read();
    // What was printed was read, whatever ended it.
    consumer.commit()?;
    result
}

/// Where each partition is read from: the group's offset, else what the options say.
fn positions(
    client: &mut Client,
    args: &ConsumeArgs,
    leaders: &BTreeMap<i32, BrokerId>,
) -> Result<BTreeMap<i32, i64>> {
    let start = match (args.from_beginning, args.offset) {
        (true, _) => Start::Beginning,
        (false, Some(start)) => start,
        (false, None) => Start::End,
    };
    let mut positions = match start {
        Start::Beginning => offsets::list(client, &args.topic, leaders, EARLIEST)?,
        Start::End => offsets::list(client, &args.topic, leaders, LATEST)?,
        Start::At(offset) => leaders.keys().map(|index| (*index, offset)).collect(),
    };
    if let Some(group) = &args.group {
        for committed in offsets::committed(client, group)? {
            if committed.topic == args.topic
                && let Some(position) = positions.get_mut(&committed.partition)
            {
                *position = committed.offset;
            }
        }
    }
    Ok(positions)
}

struct Consumer<'a> {
    client: Client,
    args: &'a ConsumeArgs,
    leaders: BTreeMap<i32, BrokerId>,
    positions: BTreeMap<i32, i64>,
    ends: Option<BTreeMap<i32, i64>>,
    out: std::io::BufWriter<std::io::StdoutLock<'static>>,
    printed: u64,
    last_record: Instant,
    last_commit: Instant,
}

impl Consumer<'_> {
    fn read(&mut self) -> Result<()> {
        while !self.is_done() {
            let mut nodes: BTreeMap<BrokerId, Vec<i32>> = BTreeMap::new();
            for (index, leader) in self
                .leaders
                .iter()
                .filter(|(index, _)| !self.at_end(**index))
            {
                nodes.entry(*leader).or_default().push(*index);
            }
            for (node, partitions) in nodes {
                match self.fetch(node, &partitions) {
                    Err(error) if is_retriable(&error) => self.refresh(&error)?,
                    result => result?,
                }
            }
            self.out.flush()?;
            if self.args.group.is_some() && self.last_commit.elapsed() >= COMMIT_EVERY {
                self.commit()?;
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let counted = self.args.count.is_some_and(|count| self.printed >= count);
        let ended = self.ends.is_some() && self.leaders.keys().all(|index| self.at_end(*index));
        let idle = self.last_record.elapsed().as_secs_f64();
        counted || ended || self.args.idle_exit.is_some_and(|limit| idle >= limit)
    }

    fn at_end(&self, index: i32) -> bool {
        let end = self.ends.as_ref().and_then(|ends| ends.get(&index));
        end.is_some_and(|end| self.positions.get(&index).is_some_and(|at| at >= end))
    }

    fn fetch(&mut self, node: BrokerId, partitions: &[i32]) -> Result<()> {
        let asked = partitions.iter().map(|index| {
            FetchPartition::default()
                .with_partition(*index)
                .with_fetch_offset(self.positions.get(index).copied().unwrap_or(0))
                .with_partition_max_bytes(PARTITION_BYTES)
        });
        let topic = FetchTopic::default()
            .with_topic(topic_name(&self.args.topic))
            .with_partitions(asked.collect());
        let request = FetchRequest::default()
            .with_max_wait_ms(MAX_WAIT_MS)
            .with_min_bytes(1)
            .with_max_bytes(FETCH_BYTES)
            .with_isolation_level(i8::from(self.args.read_committed))
            .with_topics(vec![topic]);
        let response = self.client.node(node, 11, &request)?;
        check_code(response.error_code, "fetch")?;
        let mut failed = Ok(());
        for data in response
            .responses
            .into_iter()
            .flat_map(|topic| topic.partitions)
        {
            let what = format!("{} partition {}", self.args.topic, data.partition_index);
            match check_code(data.error_code, &what) {
                Ok(()) => self.print_partition(data)?,
                Err(error) => failed = Err(error.into()),
            }
        }
        failed
    }

    fn print_partition(&mut self, data: PartitionData) -> Result<()> {
        let index = data.partition_index;
        let mut aborted = Aborted::new(&data);
        let mut bytes = data.records.unwrap_or_default();
        while let Some(batch) = Batch::take(&mut bytes)? {
            let batch = checked(batch.into_bytes(), index)?;
            if !batch.header().attributes.is_control() && !aborted.contains(&batch) {
                self.print_batch(index, &batch)?;
            } else {
                aborted.pass(&batch)?;
            }
            if self.args.count.is_some_and(|count| self.printed >= count) {
                return Ok(());
            }
            self.move_to(index, batch.last_offset() + 1);
        }
        Ok(())
    }

    fn print_batch(&mut self, index: i32, batch: &Batch) -> Result<()> {
        let position = self.positions.get(&index).copied().unwrap_or(0);
        let end = self
            .ends
            .as_ref()
            .and_then(|ends| ends.get(&index))
            .copied();
        let records = batch
            .records(LIMITS)
            .with_context(|| describe(index, batch))?;
        for record in records.iter() {
            let offset = batch.base_offset() + i64::from(record.offset_delta);
            if offset < position || end.is_some_and(|end| offset >= end) {
                continue;
            }
            if self.args.count.is_some_and(|count| self.printed >= count) {
                return Ok(());
            }
            print(&mut self.out, self.args, index, offset, &record)?;
            self.printed += 1;
            self.last_record = Instant::now();
            self.move_to(index, offset + 1);
        }
        Ok(())
    }

    fn move_to(&mut self, index: i32, offset: i64) {
        let position = self.positions.entry(index).or_insert(offset);
        *position = offset.max(*position);
    }

    fn refresh(&mut self, error: &anyhow::Error) -> Result<()> {
        eprintln!("trying again: {error}");
        std::thread::sleep(Duration::from_millis(500));
        for partition in self.client.partitions(&self.args.topic)? {
            if let Some(leader) = self.leaders.get_mut(&partition.index) {
                *leader = partition.leader;
            }
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        let Some(group) = &self.args.group else {
            return Ok(());
        };
        self.last_commit = Instant::now();
        offsets::commit(&mut self.client, group, &self.args.topic, &self.positions)?;
        Ok(())
    }
}

/// Which producers' records a fetch under read_committed has to leave out, and from where on
/// (KIP-98): from the first offset of an aborted transaction to its marker.
struct Aborted {
    starts: Vec<(i64, i64)>,
    open: Vec<i64>,
}

impl Aborted {
    fn new(data: &PartitionData) -> Aborted {
        let listed = data.aborted_transactions.iter().flatten();
        let mut starts: Vec<_> = listed.map(|t| (t.first_offset, t.producer_id.0)).collect();
        starts.sort_unstable_by(|a, b| b.cmp(a));
        Aborted {
            starts,
            open: Vec::new(),
        }
    }

    fn contains(&mut self, batch: &Batch) -> bool {
        while self
            .starts
            .last()
            .is_some_and(|(first, _)| *first <= batch.last_offset())
        {
            self.open
                .extend(self.starts.pop().map(|(_, producer)| producer));
        }
        let header = batch.header();
        header.attributes.is_transactional() && self.open.contains(&header.producer_id)
    }

    /// An abort marker (control type 0) ends its producer's aborted transaction.
    fn pass(&mut self, batch: &Batch) -> Result<()> {
        if !batch.header().attributes.is_control() {
            return Ok(());
        }
        let records = batch.records(LIMITS)?;
        let key = records
            .get(0)
            .and_then(|record| record.key)
            .unwrap_or_default();
        if key.get(2..4) == Some(&[0, 0]) {
            self.open
                .retain(|producer| *producer != batch.header().producer_id);
        }
        Ok(())
    }
}

fn checked(bytes: Bytes, index: i32) -> Result<Batch> {
    Batch::check(bytes).with_context(|| format!("a batch of partition {index}"))
}

fn describe(index: i32, batch: &Batch) -> String {
    format!("partition {index}, batch at offset {}", batch.base_offset())
}

fn is_retriable(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<ClientError>()
        .is_some_and(ClientError::is_retriable)
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
    use tidegate_record::{BatchBuilder, Codec, RecordParts};

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
        let records = builder.build().unwrap().records(LIMITS).unwrap();
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
