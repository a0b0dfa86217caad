//! Outcomes as lines of text.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;
use serde_json::Value;
use tidegate_plugin::{FailureKind, PartitionChoice};

use crate::{Destination, Edit, Fate, Log, Outcome, Record, Verdict};

/// All of a run: the records' lines, then what else it said.
pub(crate) fn lines(outcome: &Outcome) -> Vec<String> {
    let mut lines: Vec<String> = outcome.records.iter().map(ToString::to_string).collect();
    lines.extend(notes(outcome));
    lines.extend(counter_lines(&outcome.counters));
    lines
}

/// Failures that a policy dealt with, and log lines.
pub(super) fn notes(outcome: &Outcome) -> Vec<String> {
    let mut notes = Vec::new();
    for failed in &outcome.failures {
        notes.extend(failure(
            failed.kind,
            &failed.message,
            failed.records.first().copied(),
        ));
    }
    notes.extend(outcome.logs.iter().map(ToString::to_string));
    notes
}

/// Of the words only the first line: what follows is a backtrace, which another compiler changes.
pub(super) fn failure(kind: FailureKind, message: &str, record: Option<usize>) -> Vec<String> {
    let first = message.lines().next().unwrap_or_default();
    let place = record
        .map(|index| format!(" at record {index}"))
        .unwrap_or_default();
    vec![format!("failed: {}{place}: {first}", kind.as_str())]
}

pub(super) fn counter_lines(counters: &BTreeMap<String, u64>) -> impl Iterator<Item = String> {
    counters
        .iter()
        .map(|(name, n)| format!("counter: {} {n}", one_line(name)))
}

pub(super) fn one_line(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('\r', "\\r")
        .replace('\n', "\\n")
}

impl Display for Fate {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let to: Vec<String> = self.routes.iter().map(ToString::to_string).collect();
        let to = to.join(", ");
        match (&self.verdict, &self.edit) {
            (Verdict::Reject(words), _) => return write!(f, "reject: {}", one_line(words)),
            (Verdict::DeadLetter(words), _) => {
                let first = words.lines().next().unwrap_or_default();
                return write!(f, "dead-letter: {first}");
            }
            (Verdict::Drop, _) if to.is_empty() => return f.write_str("drop"),
            (Verdict::Drop, _) => return write!(f, "-> {to}"),
            (Verdict::Keep, Some(edit)) => write!(f, "{edit}")?,
            (Verdict::Keep, None) => f.write_str("keep")?,
        }
        match to.is_empty() {
            true => Ok(()),
            false => write!(f, " -> {to}"),
        }
    }
}

impl Display for Destination {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.topic)?;
        match self.partition {
            PartitionChoice::ByKey => Ok(()),
            PartitionChoice::SameIndex => f.write_str(":same"),
            PartitionChoice::Explicit(index) => write!(f, ":{index}"),
        }
    }
}

impl Display for Edit {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let mut fields = Vec::new();
        if let Some(key) = &self.key {
            fields.push(format!("\"key\":{}", bytes_text(key.as_deref())));
        }
        if let Some(value) = &self.value {
            fields.push(format!("\"value\":{}", bytes_text(value.as_deref())));
        }
        if let Some(headers) = &self.headers {
            fields.push(format!("\"headers\":{}", headers_text(headers)));
        }
        if let Some(timestamp) = self.timestamp {
            fields.push(format!("\"timestamp\":{timestamp}"));
        }
        write!(f, "{{{}}}", fields.join(","))
    }
}

impl Display for Record {
    /// As a line of a case would have it, but for bytes that are no text.
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let mut fields = Vec::new();
        if self.key.is_some() {
            fields.push(format!("\"key\":{}", bytes_text(self.key.as_deref())));
        }
        fields.push(format!("\"value\":{}", bytes_text(self.value.as_deref())));
        if !self.headers.is_empty() {
            fields.push(format!("\"headers\":{}", headers_text(&self.headers)));
        }
        if let Some(timestamp) = self.timestamp {
            fields.push(format!("\"timestamp\":{timestamp}"));
        }
        write!(f, "{{{}}}", fields.join(","))
    }
}

impl Display for Log {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "log: {}: {}",
            self.level.as_str(),
            one_line(&self.message)
        )
    }
}

fn headers_text(headers: &[(Vec<u8>, Option<Vec<u8>>)]) -> String {
    let pairs = headers.iter().map(|(name, value)| {
        format!(
            "[{},{}]",
            bytes_text(Some(name)),
            bytes_text(value.as_deref())
        )
    });
    format!("[{}]", pairs.collect::<Vec<_>>().join(","))
}

/// JSON objects and arrays as they stand, so that they can be read; other text as a string; other bytes as base64.
fn bytes_text(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else {
        return "null".to_owned();
    };
    match std::str::from_utf8(bytes) {
        Ok(text) if is_plain_json(text) => text.to_owned(),
        Ok(text) => Value::from(text).to_string(),
        Err(_) => format!("{{\"base64\":\"{}\"}}", STANDARD.encode(bytes)),
    }
}

/// What is written as it stands must be one line, and nothing that a string could look like.
fn is_plain_json(text: &str) -> bool {
    text.starts_with(['{', '['])
        && !text.contains(['\n', '\r', '\t'])
        && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{null, value};

    fn fate(verdict: Verdict, routes: &[(&str, PartitionChoice)]) -> Fate {
        let to = |(topic, partition): &(&str, PartitionChoice)| Destination {
            topic: (*topic).to_owned(),
            partition: *partition,
        };
        Fate {
            verdict,
            routes: routes.iter().map(to).collect(),
            edit: None,
        }
    }

    #[test]
    fn a_fate_is_a_line() {
        let keys = [
            ("a", PartitionChoice::ByKey),
            ("b", PartitionChoice::Explicit(3)),
        ];
        assert_eq!(fate(Verdict::Keep, &[]).to_string(), "keep");
        assert_eq!(fate(Verdict::Drop, &[]).to_string(), "drop");
        assert_eq!(fate(Verdict::Drop, &keys).to_string(), "-> a, b:3");
        assert_eq!(fate(Verdict::Keep, &keys[..1]).to_string(), "keep -> a");
        let same = [("c", PartitionChoice::SameIndex)];
        assert_eq!(fate(Verdict::Drop, &same).to_string(), "-> c:same");
        let reject = fate(Verdict::Reject("two\nlines".into()), &[]);
        assert_eq!(reject.to_string(), "reject: two\\nlines");
    }

    #[test]
    fn an_edit_is_json() {
        let edit = Edit {
            key: Some(None),
            value: Some(Some(br#"{"b": 1, "a": 2}"#.to_vec())),
            headers: Some(vec![(b"h".to_vec(), Some(vec![0xff]))]),
            timestamp: Some(7),
        };
        assert_eq!(
            edit.to_string(),
            r#"{"key":null,"value":{"b": 1, "a": 2},"headers":[["h",{"base64":"/w=="}]],"timestamp":7}"#
        );
    }

    #[test]
    fn only_json_on_one_line_stands_as_it_is() {
        assert_eq!(
            value("{\"a\":\n1}").to_string(),
            r#"{"value":"{\"a\":\n1}"}"#
        );
        assert_eq!(value("{oops").to_string(), r#"{"value":"{oops"}"#);
        assert_eq!(value("12").to_string(), r#"{"value":"12"}"#);
        assert_eq!(null().to_string(), r#"{"value":null}"#);
    }
}
