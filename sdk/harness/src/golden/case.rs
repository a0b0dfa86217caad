//! One case file: a setting, and batches of records.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tidegate_plugin::{OnError, OnReject};

use crate::{Harness, Outcome, Record, RunError};

/// What a case file says.
#[derive(Clone, Debug, Default)]
pub struct Case {
    setting: Setting,
    batches: Vec<Batch>,
}

#[derive(Clone, Debug, Default)]
struct Batch {
    records: Vec<Record>,
    /// Its append fails.
    fails: bool,
}

/// Why a case cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    #[error("reading {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("line {line}: {reason}")]
    Line { line: usize, reason: String },
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Setting {
    config: BTreeMap<String, Value>,
    topic: Option<String>,
    partition: Option<i32>,
    side: SideName,
    compacted: bool,
    on_error: Option<String>,
    on_reject: Option<String>,
    limits: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SideName {
    #[default]
    Produce,
    Consume,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    end: EndName,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum EndName {
    Appended,
    Failed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
    #[serde(default)]
    headers: Headers,
    #[serde(default)]
    timestamp: Option<i64>,
    #[serde(default)]
    base64: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Headers {
    Pairs(Vec<(String, Option<String>)>),
    Map(BTreeMap<String, Option<String>>),
}

impl Default for Headers {
    fn default() -> Self {
        Headers::Pairs(Vec::new())
    }
}

impl Case {
    /// # Errors
    /// If the file cannot be read, or a line is not what [`golden`](super) says it may be.
    pub fn read(path: &Path) -> Result<Case, CaseError> {
        let text = std::fs::read_to_string(path).map_err(|source| CaseError::Read {
            path: path.to_owned(),
            source,
        })?;
        Case::parse(&text)
    }

    /// # Errors
    /// If a line is not what [`golden`](super) says it may be.
    pub fn parse(text: &str) -> Result<Case, CaseError> {
        let mut case = Case::default();
        let mut batch = Batch::default();
        let mut first = true;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with("//") {
                continue;
            }
            let wrong = |reason: String| CaseError::Line {
                line: index + 1,
                reason,
            };
            let keys: BTreeMap<String, &RawValue> = serde_json::from_str(line)
                .map_err(|error| wrong(format!("no JSON object: {error}")))?;
            if keys.contains_key("end") {
                let End { end } = parse(line).map_err(wrong)?;
                batch.fails = matches!(end, EndName::Failed);
                case.batches.push(std::mem::take(&mut batch));
            } else if first && is_setting(&keys) {
                case.setting = parse(line).map_err(wrong)?;
            } else {
                let record = parse::<Line<'_>>(line).and_then(Line::record);
                batch.records.push(record.map_err(wrong)?);
            }
            first = false;
        }
        if !batch.records.is_empty() {
            case.batches.push(batch);
        }
        Ok(case)
    }

    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.batches.iter().flat_map(|batch| &batch.records)
    }

    /// The harness with what the case's first line sets.
    ///
    /// # Errors
    /// A sentence, where it names a policy that there is not.
    pub fn setting(&self, harness: Harness) -> Result<Harness, String> {
        self.setting.apply(harness)
    }

    /// Runs the case and gives its snapshot.
    ///
    /// # Errors
    /// A sentence, where there is nothing to keep: the answers differ from run to run, say.
    pub fn snapshot(&self, harness: &Harness) -> Result<String, String> {
        let harness = self.setting(harness.fresh())?;
        if let Err(RunError::Refused(sentence)) = harness.check() {
            return Ok(format!(
                "refused: {}\n",
                super::snapshot::one_line(&sentence)
            ));
        }
        let (mut lines, mut notes) = (Vec::new(), Vec::new());
        let mut counters = BTreeMap::new();
        for batch in &self.batches {
            match batch.run(&harness) {
                Ok(outcome) => {
                    lines.extend(outcome.records.iter().map(ToString::to_string));
                    notes.extend(super::snapshot::notes(&outcome));
                    for (name, n) in outcome.counters {
                        *counters.entry(name).or_insert(0) += n;
                    }
                }
                Err(RunError::Failed {
                    kind,
                    message,
                    record,
                    logs,
                }) => {
                    lines.extend(batch.records.iter().map(|_| "failed".to_owned()));
                    notes.extend(super::snapshot::failure(kind, &message, record));
                    notes.extend(logs.iter().map(ToString::to_string));
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        lines.extend(notes);
        lines.extend(super::snapshot::counter_lines(&counters));
        lines.push(String::new());
        Ok(lines.join("\n"))
    }
}

impl Batch {
    fn run(&self, harness: &Harness) -> Result<Outcome, RunError> {
        match self.fails {
            false => harness.run(&self.records),
            true => harness.run_unappended(&self.records),
        }
    }
}

impl Setting {
    fn apply(&self, mut harness: Harness) -> Result<Harness, String> {
        for (key, value) in &self.config {
            let value = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            harness = harness.config(key, value);
        }
        if let Some(topic) = &self.topic {
            harness = harness.topic(topic);
        }
        if let Some(partition) = self.partition {
            harness = harness.partition(partition);
        }
        if let Some(policy) = &self.on_error {
            harness = harness.on_error(policy.parse::<OnError>()?);
        }
        if let Some(policy) = &self.on_reject {
            harness = harness.on_reject(policy.parse::<OnReject>()?);
        }
        for (name, value) in &self.limits {
            harness = harness.limit(name, *value)?;
        }
        if matches!(self.side, SideName::Consume) {
            harness = harness.consume();
        }
        if self.compacted {
            harness = harness.compacted();
        }
        Ok(harness)
    }
}

/// A record has none of these, and a setting none of a record's.
fn is_setting(keys: &BTreeMap<String, &RawValue>) -> bool {
    const KEYS: [&str; 8] = [
        "config",
        "topic",
        "partition",
        "side",
        "compacted",
        "on_error",
        "on_reject",
        "limits",
    ];
    keys.keys().any(|key| KEYS.contains(&key.as_str()))
}

fn parse<'a, T: Deserialize<'a>>(line: &'a str) -> Result<T, String> {
    serde_json::from_str(line).map_err(|error| error.to_string())
}

impl Line<'_> {
    fn record(self) -> Result<Record, String> {
        let text = |text: String| match self.base64 {
            true => STANDARD
                .decode(&text)
                .map_err(|error| format!("`{text}` is not base64: {error}")),
            false => Ok(text.into_bytes()),
        };
        let part = |raw: Option<&RawValue>| match raw.map(RawValue::get) {
            None => Ok(None),
            Some(json) if json.starts_with('"') => text(parse(json)?).map(Some),
            Some(json) if self.base64 => Err(format!("`{json}` is not base64 in a string")),
            Some(json) => Ok(Some(json.as_bytes().to_vec())),
        };
        let pairs = match self.headers {
            Headers::Pairs(pairs) => pairs,
            Headers::Map(map) => map.into_iter().collect(),
        };
        let header = |(name, value): (String, Option<String>)| {
            let value = value.map(text).transpose()?;
            Ok((text(name)?, value))
        };
        Ok(Record {
            key: part(self.key)?,
            value: part(self.value)?,
            headers: pairs
                .into_iter()
                .map(header)
                .collect::<Result<_, String>>()?,
            timestamp: self.timestamp,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{null, value};

    fn records(text: &str) -> Vec<Record> {
        Case::parse(text).unwrap().records().cloned().collect()
    }

    #[test]
    fn a_line_is_a_record() {
        let text = r#"
// what nobody reads
{"key": "k", "value": {"b": 1.0, "a": "\u0041"}, "headers": {"h": "v", "n": null}, "timestamp": 5}
{"value": "plain"}
{"headers": [["h", "1"], ["h", "2"]]}
{}
"#;
        let expected = [
            value(r#"{"b": 1.0, "a": "\u0041"}"#)
                .key("k")
                .header("h", "v")
                .null_header("n")
                .timestamp(5),
            value("plain"),
            null().header("h", "1").header("h", "2"),
            null(),
        ];
        assert_eq!(records(text), expected);
    }

    #[test]
    fn bytes_are_base64() {
        let line = r#"{"key": "/w==", "value": null, "headers": {"aA==": "AAE="}, "base64": true}"#;
        assert_eq!(records(line), [null().key([0xff]).header("h", [0, 1])]);
        for wrong in [
            r#"{"key": "?", "base64": true}"#,
            r#"{"key": 1, "base64": true}"#,
        ] {
            assert!(
                Case::parse(wrong)
                    .unwrap_err()
                    .to_string()
                    .contains("base64")
            );
        }
    }

    #[test]
    fn batches_end_as_they_are_told() {
        let case = Case::parse(
            "{\"config\": {\"n\": 3, \"t\": \"x\"}}\n{}\n{\"end\": \"failed\"}\n{}\n{}\n{\"end\":\"appended\"}\n{}",
        )
        .unwrap();
        let batches: Vec<_> = case
            .batches
            .iter()
            .map(|b| (b.records.len(), b.fails))
            .collect();
        assert_eq!(batches, [(1, true), (2, false), (1, false)]);
        assert_eq!(case.setting.config.len(), 2);
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        for (text, words) in [
            ("{}\n{\"valeu\": 1}", "line 2: unknown field `valeu`"),
            (
                "{\"config\": {}, \"tpoic\": \"t\"}",
                "line 1: unknown field `tpoic`",
            ),
            ("{}\n\nno", "line 3: no JSON object"),
            ("{}\n{\"end\": \"maybe\"}", "line 2: unknown variant"),
        ] {
            let error = Case::parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
