//! The lines, and how bytes travel in them.

use std::collections::HashMap;
use std::io::{BufRead, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tokio::sync::mpsc;

pub type Failure = Box<dyn std::error::Error + std::marker::Send + Sync>;

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Asked {
    pub id: u64,
    pub verb: String,
    pub topic: String,
    pub topics: Vec<String>,
    pub partition: i32,
    pub partitions: Value,
    pub total: usize,
    pub configs: HashMap<String, String>,
    #[serde(rename = "where")]
    pub at: Value,
    pub group: Option<String>,
    pub offset: i64,
    pub offsets: HashMap<i32, i64>,
    pub codec: String,
    pub idempotent: bool,
    pub acks: String,
    #[serde(rename = "clientId")]
    pub client_id: String,
    #[serde(rename = "oneByOne")]
    pub one_by_one: bool,
    pub sends: Vec<Send>,
    pub member: String,
    #[serde(rename = "autoCommit")]
    pub auto_commit: bool,
    pub start: Option<(i32, Value)>,
    pub instance: Option<String>,
    pub assignor: String,
    pub protocol: String,
    pub remote_assignor: Option<String>,
    pub session_ms: u32,
    pub isolation: String,
    pub producer: String,
    #[serde(rename = "transactionalId")]
    pub transactional_id: String,
    #[serde(rename = "timeoutMs")]
    pub timeout_ms: u32,
}

#[derive(Deserialize)]
pub struct Send {
    #[serde(deserialize_with = "unpacked")]
    pub key: Option<Vec<u8>>,
    #[serde(deserialize_with = "unpacked")]
    pub value: Option<Vec<u8>>,
    pub partition: Option<i32>,
    pub timestamp: Option<String>,
    headers: Vec<(String, String)>,
}

impl Send {
    pub fn headers(&self) -> Vec<(String, Vec<u8>)> {
        let unpack = |text: &String| STANDARD.decode(text).unwrap_or_default();
        self.headers
            .iter()
            .map(|(name, text)| (name.clone(), unpack(text)))
            .collect()
    }

    pub fn timestamp_ms(&self) -> Option<i64> {
        self.timestamp.as_ref().and_then(|text| text.parse().ok())
    }
}

fn unpacked<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<u8>>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| STANDARD.decode(text).map_err(serde::de::Error::custom))
        .transpose()
}

/// A record that a member received.
pub struct Heard<'a> {
    pub member: &'a str,
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Vec<(String, Option<&'a [u8]>)>,
}

pub fn heard(record: &Heard<'_>) {
    let pack = |bytes: Option<&[u8]>| bytes.map(|bytes| STANDARD.encode(bytes));
    let headers: Vec<Value> = record
        .headers
        .iter()
        .map(|(name, value)| json!([name, pack(*value)]))
        .collect();
    say(&json!({
        "event": "record", "member": record.member, "topic": record.topic, "partition": record.partition,
        "offset": record.offset, "timestamp": record.timestamp_ms.to_string(), "key": pack(record.key),
        "value": pack(record.value), "headers": headers,
    }));
}

pub fn crashed(member: &str, error: impl std::fmt::Display) {
    say(&json!({"event": "crash", "member": member, "error": error.to_string()}));
}

pub fn say(message: &Value) {
    let mut output = std::io::stdout().lock();
    if writeln!(output, "{message}")
        .and_then(|()| output.flush())
        .is_err()
    {
        std::process::exit(1);
    }
}

/// Lines of standard input, read by a thread of their own.
pub fn read() -> mpsc::UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}
