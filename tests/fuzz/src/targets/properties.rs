//! Files in Java's properties format.
//!
//! Each is an error with the number of a line, or pairs; written with everything escaped, these are read as the same.

use crate::config;
use crate::corpus::Seed;
use crate::memory::{SLACK, within};

pub(super) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // A pair of two empty texts takes one byte of the file.
    match within(128 * text.len() + SLACK, || config::properties(text)) {
        Ok(pairs) => assert_eq!(config::properties(&written(&pairs)), Ok(pairs)),
        Err(why) => assert!(why.starts_with("line "), "{why}"),
    }
}

fn written(pairs: &[(String, String)]) -> String {
    let line = |(key, value): &(String, String)| format!("{}={}\n", escaped(key), escaped(value));
    pairs.iter().map(line).collect()
}

fn escaped(text: &str) -> String {
    let mut units = [0; 2];
    let unit = |unit: &u16| format!("\\u{unit:04x}");
    text.chars()
        .map(|c| {
            c.encode_utf16(&mut units)
                .iter()
                .map(unit)
                .collect::<String>()
        })
        .collect()
}

pub(super) fn seeds() -> Vec<Seed> {
    let text = "# comment\n! another\n a=1\nb : 2\nc 3\nd\ne=x,\\\n   y\nf\\ g\\=h=\\u00e9\\ud83d\\ude00\\t\npath=C:\\\\data\n";
    let kafka = "broker.id=0\nlisteners=PLAINTEXT://:9092\nlog.dirs=/tmp/kafka-logs\ntopic.a.b.retention.ms=5\n";
    vec![Seed::made("all", text), Seed::made("kafka", kafka)]
}
