//! `/v1/topics/T/records`: a raw read past the consume chain, for operators.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidegate_record::{Offset, RecordView};

use super::request::Fields;
use super::{Refused, topics};
use crate::broker::Broker;
use crate::partition::ReadFailure;

const DEFAULT_BYTES: usize = 1 << 20;
/// Bytes of keys, values and headers in one answer, unless its only record has more.
const MAX_BYTES: usize = 8 << 20;
const MAX_RECORDS: usize = 10_000;

pub(super) async fn read(
    State(broker): State<Arc<Broker>>,
    Path(topic): Path<String>,
    fields: Fields,
) -> Result<Json<Value>, Refused> {
    fields.only(&["partition", "from", "to", "max_bytes"])?;
    let partition = topics::partition(&broker, &topic, fields.number("partition")?.unwrap_or(0))?;
    let from = fields
        .number("from")?
        .unwrap_or_else(|| partition.log_start());
    let to = fields.number("to")?.unwrap_or(Offset::MAX);
    let max_bytes = fields.number("max_bytes")?.unwrap_or(DEFAULT_BYTES);
    let read = tokio::task::spawn_blocking(move || {
        let mut answer = Answer {
            left: max_bytes.clamp(1, MAX_BYTES),
            records: Vec::new(),
        };
        let next = partition.read_raw(from, to, &mut |offset, record| answer.add(offset, &record));
        (
            next,
            answer.records,
            partition.log_start(),
            partition.high_watermark(),
        )
    });
    let (next, records, start, end) = read.await.map_err(|_| {
        Refused::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the broker is shutting down",
        )
    })?;
    let next = next.map_err(|error| match error {
        ReadFailure::OutOfRange => Refused::new(
            StatusCode::NOT_FOUND,
            format!("offset {from} is outside the log, which has {start} to {end}"),
        ),
        other => Refused::new(StatusCode::SERVICE_UNAVAILABLE, other),
    })?;
    Ok(Json(json!({ "records": records, "next": next })))
}

struct Answer {
    left: usize,
    records: Vec<Value>,
}

impl Answer {
    /// False when the record has no room any more. The first one always has.
    fn add(&mut self, offset: Offset, record: &RecordView<'_>) -> bool {
        let size = size_of(record);
        let fits = size <= self.left && self.records.len() < MAX_RECORDS;
        if !fits && !self.records.is_empty() {
            return false;
        }
        self.left = self.left.saturating_sub(size);
        let headers: Vec<Value> = record
            .headers()
            .map(|(name, value)| json!([bytes(Some(name)), bytes(value)]))
            .collect();
        self.records.push(json!({
            "offset": offset,
            "timestamp": record.timestamp,
            "key": bytes(record.key),
            "value": bytes(record.value),
            "headers": headers,
        }));
        true
    }
}

fn size_of(record: &RecordView<'_>) -> usize {
    let len = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
    let headers: usize = record
        .headers()
        .map(|(name, value)| name.len() + len(value))
        .sum();
    len(record.key) + len(record.value) + headers
}

/// Base64, because records are bytes; null stays null.
fn bytes(part: Option<&[u8]>) -> Value {
    part.map_or(Value::Null, |part| Value::String(STANDARD.encode(part)))
}
