//! `tidegate store dump`: stored batches one after the other, in the manner of kafka-dump-log.

use std::io::Write;

use anyhow::{Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Value, json};
use tidegate_broker::offline::{DataDir, DumpedBatch, DumpedRecord, StoredPartition};

use super::Where;
use crate::output::{Output, OutputArgs, print_json, print_table, say};

/// Show the stored batches of a data directory that no broker runs on.
#[derive(Args, Debug)]
#[command(
    after_help = "Without a topic or an id it lists the partitions. As JSON it prints one object a line; keys and values
of records are Base64 there.

Examples:
  tidegate store dump --data-dir /var/lib/tidegate
  tidegate store dump --data-dir /var/lib/tidegate --topic flights --partition 2 --from 1000 --limit 10 --records"
)]
pub(crate) struct DumpArgs {
    #[command(flatten)]
    place: Where,
    /// The topic.
    #[arg(long, value_name = "TOPIC", conflicts_with = "id")]
    topic: Option<String>,
    /// Its partition.
    #[arg(long, value_name = "N", default_value_t = 0)]
    partition: i32,
    /// The partition by its id in the store, for one that no topic has.
    #[arg(long, value_name = "ID")]
    id: Option<u32>,
    /// Begin with the batch that holds this offset.
    #[arg(long, value_name = "OFFSET", default_value_t = 0)]
    from: i64,
    /// Stop after so many batches.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Show the records too.
    #[arg(long)]
    records: bool,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) fn run(args: &DumpArgs) -> Result<()> {
    let data = args.place.open()?;
    if let Err(error) = &data.metadata {
        eprintln!("the names of topics are not known: {error}");
    }
    let partition = match (&args.topic, args.id) {
        (Some(topic), _) => data.find(topic, args.partition)?,
        (None, Some(id)) => data.find_id(id)?,
        (None, None) => return list(&data, args.output.output),
    };
    let (mut left, mut damaged, mut failed) = (args.limit.unwrap_or(u64::MAX), 0u64, None);
    data.dump(&partition, args.from, args.records, &mut |batch| {
        if left == 0 {
            return false;
        }
        left -= 1;
        damaged += u64::from(batch.damage.is_some());
        let printed = match args.output.output {
            Output::Json => print_line(&as_json(&batch)),
            Output::Table => print_batch(&batch),
        };
        failed = printed.err();
        failed.is_none()
    })?;
    match (failed, damaged) {
        (Some(error), _) => Err(error),
        (None, 0) => Ok(()),
        (None, n) => bail!("{n} of these batches are damaged"),
    }
}

fn list(data: &DataDir, output: Output) -> Result<()> {
    let partitions = data.partitions()?;
    let name = |p: &StoredPartition| p.topic.clone().unwrap_or_else(|| "(no topic)".into());
    if output == Output::Json {
        let all: Vec<_> = partitions
            .iter()
            .map(|p| json!({"id": p.id, "topic": p.topic, "partition": p.index, "log_start": p.log_start}))
            .collect();
        return print_json(&Value::Array(all));
    }
    let rows = partitions.iter().map(|p| {
        vec![
            p.id.to_string(),
            name(p),
            p.index.to_string(),
            p.log_start.to_string(),
        ]
    });
    print_table(&["ID", "TOPIC", "PARTITION", "LOG START"], rows.collect())
}

/// The fields have the names that kafka-dump-log gives them, where it has them.
fn as_json(batch: &DumpedBatch) -> Value {
    let header = &batch.header;
    let mut object = json!({
        "baseOffset": header.base_offset,
        "lastOffset": header.last_offset(),
        "count": header.record_count,
        "lastSurvivingOffset": batch.last_surviving_offset,
        "baseSequence": header.base_sequence,
        "lastSequence": header.last_sequence(),
        "producerId": header.producer_id,
        "producerEpoch": header.producer_epoch,
        "partitionLeaderEpoch": header.leader_epoch,
        "isTransactional": header.attributes.is_transactional(),
        "isControl": header.attributes.is_control(),
        "deleteHorizonMs": batch.delete_horizon,
        "position": batch.position,
        "timestampType": timestamp_type(batch),
        "maxTimestamp": header.max_timestamp,
        "appendTime": batch.append_time,
        "size": batch.size,
        "magic": header.magic,
        "compresscodec": codec(batch),
        "crc": header.crc,
        "isvalid": batch.damage.is_none(),
    });
    if let Some(damage) = &batch.damage {
        object["damage"] = json!(damage);
    }
    match &batch.records {
        Ok(records) if records.is_empty() => {}
        Ok(records) => object["records"] = records.iter().map(record_json).collect(),
        Err(error) => object["recordsError"] = json!(error),
    }
    object
}

fn record_json(record: &DumpedRecord) -> Value {
    let encoded = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| STANDARD.encode(bytes));
    let headers: Vec<_> = record
        .headers
        .iter()
        .map(|(name, value)| json!([String::from_utf8_lossy(name), encoded(value)]))
        .collect();
    json!({
        "offset": record.offset, "timestamp": record.timestamp, "key": encoded(&record.key),
        "value": encoded(&record.value), "headers": headers, "control": record.control,
    })
}

fn print_line(object: &Value) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{object}")?;
    Ok(())
}

fn print_batch(batch: &DumpedBatch) -> Result<()> {
    let fields = as_json(batch);
    let shown = fields.as_object().into_iter().flatten();
    let line: Vec<_> = shown
        .filter(|(name, value)| *name != "records" && !value.is_null())
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name}: {text}"),
            other => format!("{name}: {other}"),
        })
        .collect();
    say!("{}", line.join(" "))?;
    for record in batch.records.iter().flatten() {
        say!("| {}", record_line(record))?;
    }
    Ok(())
}

fn record_line(record: &DumpedRecord) -> String {
    let text = |bytes: &Option<Vec<u8>>| match bytes {
        Some(bytes) => bytes.escape_ascii().to_string(),
        None => "null".to_owned(),
    };
    let mut line = format!("offset: {} timestamp: {}", record.offset, record.timestamp);
    if let Some(control) = &record.control {
        return format!("{line} endTxnMarker: {control}");
    }
    for (name, value) in &record.headers {
        line += &format!(" header: {}={}", name.escape_ascii(), text(value));
    }
    format!(
        "{line} key: {} value: {}",
        text(&record.key),
        text(&record.value)
    )
}

fn timestamp_type(batch: &DumpedBatch) -> &'static str {
    match batch.header.attributes.is_log_append_time() {
        true => "LogAppendTime",
        false => "CreateTime",
    }
}

fn codec(batch: &DumpedBatch) -> String {
    let codec = batch.header.attributes.codec();
    codec.map_or_else(
        |error| error.to_string(),
        |codec| format!("{codec:?}").to_lowercase(),
    )
}
