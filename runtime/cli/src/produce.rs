//! `tidegate produce`: lines become records.
//!
//! Idempotent (KIP-98) with acks=all, so that a retry never stores a line twice. A batch is what one
//! read of the input gave, within the broker's limit: a pipe that pauses is sent at once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use clap::Args;
use serde_json::json;
use tidegate_protocol::error::ErrorCode;
use tidegate_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use tidegate_protocol::messages::produce_response::PartitionProduceResponse;
use tidegate_protocol::messages::{BrokerId, InitProducerIdRequest, ProduceRequest};
use tidegate_record::{BatchBuilder, Codec, Producer as Identity, RecordParts, partition_for_key};

use crate::args::Global;
use crate::client::{
    Client, ClientError, PartitionView, RETRY_FOR, check, check_code, retry, topic_name,
};
use crate::output::{Output, OutputArgs, print_json};

/// Half of the usual max.message.bytes, so that one long line more still fits.
const BATCH_BYTES: usize = 512 << 10;
const BATCH_RECORDS: usize = 10_000;
const READ_BYTES: usize = 1 << 20;
const TIMEOUT_MS: i32 = 30_000;
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
    let mut client = Client::connect(&global.bootstrap)?;
    let partitions = client.partitions_or_create(&args.topic)?;
    if let Some(wanted) = args.partition
        && !partitions.iter().any(|p| p.index == wanted)
    {
        bail!(
            "topic {} has partitions 0 to {}, not {wanted}",
            args.topic,
            partitions.len() - 1
        );
    }
    let mut input = open(&args)?;
    let identity = match args.acks {
        -1 => Some(identity(&mut client)?),
        _ => None,
    };
    let mut producer = Producer::new(client, &args, partitions, identity);
    let started = Instant::now();
    producer.send_lines(&mut input)?;
    producer.report(started.elapsed())
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

fn identity(client: &mut Client) -> Result<Identity> {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(TIMEOUT_MS);
    let response = retry(RETRY_FOR, || {
        let response = client.bootstrap(4, &request)?;
        check_code(response.error_code, "a producer id")?;
        Ok(response)
    })?;
    let (id, epoch) = (response.producer_id.0, response.producer_epoch);
    Ok(Identity {
        id,
        epoch,
        base_sequence: 0,
    })
}

struct Producer<'a> {
    client: Client,
    args: &'a ProduceArgs,
    leaders: BTreeMap<i32, BrokerId>,
    identity: Option<Identity>,
    /// The next sequence of each partition; moves only when a batch was stored.
    sequences: BTreeMap<i32, i32>,
    pending: BTreeMap<i32, Pending>,
    /// Where the next keyless batch goes, so that one batch is not spread over all partitions.
    turn: usize,
    line: u64,
    sent: u64,
    refused: u64,
}

/// Records on their way into one batch, and the input lines they are.
struct Pending {
    builder: BatchBuilder,
    lines: Vec<u64>,
}

/// A batch as it goes out; a retry sends the same bytes, which is what makes it idempotent.
struct Ready {
    partition: i32,
    records: Bytes,
    lines: Vec<u64>,
}

impl<'a> Producer<'a> {
    fn new(
        client: Client,
        args: &'a ProduceArgs,
        partitions: Vec<PartitionView>,
        identity: Option<Identity>,
    ) -> Producer<'a> {
        Producer {
            client,
            args,
            leaders: partitions.iter().map(|p| (p.index, p.leader)).collect(),
            identity,
            sequences: BTreeMap::new(),
            pending: BTreeMap::new(),
            turn: 0,
            line: 0,
            sent: 0,
            refused: 0,
        }
    }

    fn send_lines(&mut self, input: &mut BufReader<Box<dyn Read>>) -> Result<()> {
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

    /// Adds a line to its partition's batch; says whether that batch is full.
    fn push(&mut self, line: &[u8]) -> Result<bool> {
        let (key, value) = split_key(line, self.args.key_separator.as_deref());
        let headers: Vec<_> = self.args.header.iter().map(as_header).collect();
        let partition = self.partition(key)?;
        let codec = self.args.compression;
        let pending = self.pending.entry(partition).or_insert_with(|| Pending {
            builder: BatchBuilder::new(codec),
            lines: Vec::new(),
        });
        let parts = RecordParts {
            offset_delta: None,
            timestamp: now_ms(),
            key,
            value: Some(value),
            headers: &headers,
        };
        pending
            .builder
            .push(parts)
            .with_context(|| format!("line {}", self.line))?;
        pending.lines.push(self.line);
        Ok(pending.builder.bytes_len() >= BATCH_BYTES || pending.lines.len() >= BATCH_RECORDS)
    }

    fn partition(&self, key: Option<&[u8]>) -> Result<i32> {
        let count = self.leaders.len();
        let nth = match (self.args.partition, key) {
            (Some(partition), _) => return Ok(partition),
            (None, Some(key)) => partition_for_key(key, u32::try_from(count)?) as usize,
            (None, None) => self.turn % count.max(1),
        };
        let partition = self.leaders.keys().nth(nth);
        partition
            .copied()
            .ok_or_else(|| anyhow!("topic {} has no partitions", self.args.topic))
    }

    fn flush(&mut self) -> Result<()> {
        self.turn += 1;
        let mut ready = Vec::with_capacity(self.pending.len());
        for (partition, pending) in std::mem::take(&mut self.pending) {
            let mut builder = pending.builder;
            if let Some(identity) = self.identity {
                let base_sequence = self.sequences.get(&partition).copied().unwrap_or(0);
                builder.producer = Identity {
                    base_sequence,
                    ..identity
                };
            }
            let records = builder.build()?.into_bytes();
            ready.push(Ready {
                partition,
                records,
                lines: pending.lines,
            });
        }
        self.deliver(ready)
    }

    /// Sends until every batch is stored or refused; what may pass is tried again.
    fn deliver(&mut self, mut ready: Vec<Ready>) -> Result<()> {
        let started = Instant::now();
        while !ready.is_empty() {
            let mut again = Vec::new();
            let mut reason = None;
            for (leader, batches) in self.by_leader(ready) {
                for (batch, result) in self.send(leader, batches) {
                    match result {
                        Ok(()) => self.stored(&batch),
                        Err(Refusal { error, .. })
                            if error.is_retriable() && started.elapsed() < RETRY_FOR =>
                        {
                            reason = Some(error);
                            again.push(batch);
                        }
                        Err(refusal) => self.tell(&batch, refusal)?,
                    }
                }
            }
            ready = again;
            if let Some(reason) = reason {
                eprintln!("trying again: {reason}");
                std::thread::sleep(Duration::from_millis(500));
                let partitions = self.client.partitions(&self.args.topic)?;
                self.leaders = partitions.iter().map(|p| (p.index, p.leader)).collect();
            }
        }
        Ok(())
    }

    fn by_leader(&self, ready: Vec<Ready>) -> BTreeMap<BrokerId, Vec<Ready>> {
        let mut grouped: BTreeMap<BrokerId, Vec<Ready>> = BTreeMap::new();
        for batch in ready {
            let leader = self
                .leaders
                .get(&batch.partition)
                .copied()
                .unwrap_or(BrokerId(-1));
            grouped.entry(leader).or_default().push(batch);
        }
        grouped
    }

    /// One request to one broker; each batch comes back with what became of it.
    fn send(&mut self, leader: BrokerId, batches: Vec<Ready>) -> Vec<(Ready, Result<(), Refusal>)> {
        let data = batches.iter().map(|batch| {
            PartitionProduceData::default()
                .with_index(batch.partition)
                .with_records(Some(batch.records.clone()))
        });
        let topic = TopicProduceData::default()
            .with_name(topic_name(&self.args.topic))
            .with_partition_data(data.collect());
        let request = ProduceRequest::default()
            .with_acks(self.args.acks)
            .with_timeout_ms(TIMEOUT_MS)
            .with_topic_data(vec![topic]);
        if self.args.acks == 0 {
            let result = self.client.tell(leader, 9, &request);
            let mut failed = result.err();
            return batches
                .into_iter()
                .map(|b| (b, failed.take().map_or(Ok(()), refused)))
                .collect();
        }
        let mut answers: Vec<PartitionProduceResponse> = match self.client.node(leader, 9, &request)
        {
            Ok(response) => response
                .responses
                .into_iter()
                .flat_map(|t| t.partition_responses)
                .collect(),
            // Whether a broken connection stored anything is unknown; with a sequence, sending
            // again is safe, without one it might store the lines twice.
            Err(error) => return all_failed(batches, error),
        };
        let what = format!("topic {}", self.args.topic);
        let outcome = |batch: Ready| {
            let nth = answers.iter().position(|a| a.index == batch.partition);
            let result = match nth.map(|nth| answers.swap_remove(nth)) {
                Some(answer) => verdict(answer, &what),
                None => verdict(
                    PartitionProduceResponse::default().with_error_code(-1),
                    &what,
                ),
            };
            (batch, result)
        };
        batches.into_iter().map(outcome).collect()
    }

    fn stored(&mut self, batch: &Ready) {
        let count = batch.lines.len();
        self.sent += count as u64;
        let sequence = self.sequences.entry(batch.partition).or_insert(0);
        // Sequences wrap to zero after the largest i32 (KIP-98).
        *sequence = ((i64::from(*sequence) + count as i64) & i64::from(i32::MAX)) as i32;
    }

    /// A refused batch: its lines are named, and sending goes on with the next, unless the error
    /// is about the topic or the connection and so about everything that follows.
    fn tell(&mut self, batch: &Ready, refusal: Refusal) -> Result<()> {
        let of_records = matches!(
            refusal.error.code(),
            Some(
                ErrorCode::InvalidRecord | ErrorCode::MessageTooLarge | ErrorCode::InvalidTimestamp
            )
        );
        if !of_records {
            return Err(refusal.error.into());
        }
        self.refused += batch.lines.len() as u64;
        for (index, reason) in refusal.records.iter().take(TOLD_LINES) {
            let line = usize::try_from(*index)
                .ok()
                .and_then(|i| batch.lines.get(i));
            eprintln!("line {}: {reason}", line.copied().unwrap_or(0));
        }
        if refusal.records.len() > TOLD_LINES {
            eprintln!("... and {} more", refusal.records.len() - TOLD_LINES);
        }
        let (first, last) = (batch.lines.first(), batch.lines.last());
        eprintln!(
            "{} records (lines {} to {}) were not stored: {}",
            batch.lines.len(),
            first.copied().unwrap_or(0),
            last.copied().unwrap_or(0),
            refusal.error
        );
        Ok(())
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

/// Why a batch was not stored, and which of its records are to blame where the broker said.
struct Refusal {
    error: ClientError,
    records: Vec<(i32, String)>,
}

fn refused(error: ClientError) -> Result<(), Refusal> {
    Err(Refusal {
        error,
        records: Vec::new(),
    })
}

fn verdict(answer: PartitionProduceResponse, what: &str) -> Result<(), Refusal> {
    let Err(error) = check(answer.error_code, answer.error_message.as_ref(), what) else {
        return Ok(());
    };
    let records = answer.record_errors.into_iter().map(|record| {
        let message = record.batch_index_error_message;
        (
            record.batch_index,
            message.map(|m| m.to_string()).unwrap_or_default(),
        )
    });
    Err(Refusal {
        error,
        records: records.collect(),
    })
}

/// The first batch carries the reason; the others repeat it in words.
fn all_failed(batches: Vec<Ready>, error: ClientError) -> Vec<(Ready, Result<(), Refusal>)> {
    let retriable = error.is_retriable();
    let text = error.to_string();
    let mut first = Some(error);
    let repeat = move |first: &mut Option<ClientError>| match first.take() {
        Some(error) => error,
        None => ClientError::Kafka {
            what: "the same request".to_owned(),
            code: if retriable {
                ErrorCode::NetworkException
            } else {
                ErrorCode::UnknownServerError
            },
            message: text.clone(),
        },
    };
    batches
        .into_iter()
        .map(|batch| (batch, refused(repeat(&mut first))))
        .collect()
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

    #[test]
    fn a_refusal_names_its_records() {
        use tidegate_protocol::StrBytes;
        use tidegate_protocol::messages::produce_response::BatchIndexAndErrorMessage;
        let record = BatchIndexAndErrorMessage::default()
            .with_batch_index(3)
            .with_batch_index_error_message(Some(StrBytes::from_static_str("no delay")));
        let answer = PartitionProduceResponse::default()
            .with_error_code(87)
            .with_record_errors(vec![record]);
        let refusal = verdict(answer, "topic t").unwrap_err();
        assert_eq!(refusal.records, vec![(3, "no delay".to_owned())]);
        assert_eq!(refusal.error.code(), Some(ErrorCode::InvalidRecord));
        assert!(verdict(PartitionProduceResponse::default(), "topic t").is_ok());
    }
}
