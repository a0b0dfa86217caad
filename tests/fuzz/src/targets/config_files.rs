//! Configuration files, TOML and properties: a byte for the extension, then the file. Its values are tried as addresses
//! and as client patterns too.
//!
//! Each is refused with a sentence or read; an address that is read is written as one that is the same, and a topic's
//! section is what the tables of configs take.

use std::path::Path;

use crate::config::{self, ConsumeGap, GapChoice, HostPort};
use crate::corpus::Seed;
use crate::memory::within;

/// A table, a key and a value in TOML's own tree, for a byte or two of the file.
const MOST_GROWTH: usize = 4096;

pub(super) fn run(data: &[u8]) {
    let Some((kind, text)) = data.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let path = Path::new(["c.toml", "c.properties", "config"][usize::from(*kind) % 3]);
    match within(MOST_GROWTH * text.len() + (1 << 20), || {
        config::read(path, text)
    }) {
        Err(why) => assert!(!why.is_empty()),
        Ok((found, topics)) => {
            found.values().for_each(|value| values(value));
            for fields in topics.into_values() {
                match config::topic(fields) {
                    Ok(topic) => assert!(topic.partitions.is_none_or(|count| count > 0)),
                    Err((key, why)) => assert!(!key.is_empty() && !why.is_empty()),
                }
            }
        }
    }
}

fn values(value: &str) {
    for entry in value.split(',') {
        if let Ok((_, address)) = config::listener(entry) {
            assert_eq!(HostPort::parse(&address.to_string()), Ok(address.clone()));
            address.is_loopback();
            address.reachable(1);
        }
    }
    if let Ok(clients) = config::clients(value) {
        let gap = ConsumeGap {
            default: GapChoice::Auto,
            clients,
        };
        gap.mode(value);
        gap.mode("rdkafka");
    }
}

pub(super) fn seeds() -> Vec<Seed> {
    let toml = r#"
"num.partitions" = 3
log.retention.hours = 2
listeners = ["PLAINTEXT://:9092", "B://[::1]:9093"]
[tidegate]
consume.gap = "marker"
"consume.gap.clients" = "a*=before"
[[plugin]]
name = "match"
version = "0.1.0"
path = "match.wasm"
[topic."orders.eu"]
partitions = 4
retention.ms = 1000
tidegate.produce.chain = ["match", "late=match"]
"#;
    let properties = "listeners=PLAINTEXT://:9092,B://h:9093\nplugin.match.version=1\nplugin.match.path=x\n\
        topic.orders.eu.partitions=4\ntopic.orders.eu.retention.ms=1000\n";
    let seed =
        |name: &str, kind: u8, text: &str| Seed::made(name, [&[kind], text.as_bytes()].concat());
    vec![
        seed("toml", 0, toml),
        seed("properties", 1, properties),
        seed("guessed-toml", 2, toml),
        seed("guessed-properties", 2, properties),
    ]
}
