//! Notes of batches and chunks of plugins, as the broker keeps them: a byte that says which, then its bytes.
//!
//! Each is refused, or means something that is written so that it means the same again, as far as a note has room.
//! Reading takes memory in proportion to the bytes.

use std::ops::Range;

use crate::chunk::{ChunkKey, decode_value, encode_value};
use crate::corpus::Seed;
use crate::memory::{SLACK, within};
use crate::notes::{Action, Fact, Note, NotedPlugin, runs};

/// Bytes of memory for one that is stored: each of its bits may name a record, as four bytes and then as a run of eight,
/// in vectors that are copied when they grow.
const MOST_GROWTH: usize = 256;

pub(super) fn run(data: &[u8]) {
    match data.split_first() {
        Some((0, bytes)) => note(bytes),
        Some((1, bytes)) => {
            if let Some(key) = ChunkKey::decode(bytes) {
                assert!(key.index < key.count);
                assert_eq!(key.encode(), bytes);
            }
        }
        Some((2, bytes)) => {
            if let Some(chunk) = decode_value(bytes) {
                assert_eq!(encode_value(chunk), bytes);
            }
        }
        _ => {}
    }
}

fn note(bytes: &[u8]) {
    let Some(note) = within(MOST_GROWTH * bytes.len() + SLACK, || Note::decode(bytes)) else {
        return;
    };
    for fact in &note.facts {
        fact.is_about(0);
        fact.is_about(u32::MAX);
    }
    let written = note.encode();
    let again = Note::decode(&written).expect("what is written can be read");
    if !again.cut && !texts(&note).any(is_shortened) {
        assert_eq!((&again.plugins, again.cut), (&note.plugins, note.cut));
        assert!(
            again
                .facts
                .iter()
                .map(plain)
                .eq(note.facts.iter().map(plain))
        );
    }
}

/// With the runs of records joined that touch, and without empty ones: bytes that nobody wrote may hold such.
fn plain(fact: &Fact) -> Fact {
    let mut records: Vec<Range<u32>> = Vec::new();
    for run in fact.records.iter().filter(|run| !run.is_empty()) {
        match records.last_mut() {
            Some(last) if last.end == run.start => last.end = run.end,
            _ => records.push(run.clone()),
        }
    }
    Fact {
        records,
        ..fact.clone()
    }
}

fn texts(note: &Note) -> impl Iterator<Item = &str> {
    let of_plugins = note
        .plugins
        .iter()
        .flat_map(|plugin| [&plugin.alias, &plugin.name, &plugin.version]);
    let of_facts = note
        .facts
        .iter()
        .flat_map(|fact| [&fact.reason, &fact.target]);
    of_plugins.chain(of_facts).map(String::as_str)
}

fn is_shortened(text: &str) -> bool {
    text.len() > 300
}

pub(super) fn seeds() -> Vec<Seed> {
    let plugin = NotedPlugin {
        alias: "late".to_owned(),
        name: "match".to_owned(),
        version: "0.1.0".to_owned(),
        digest: [7; 8],
    };
    let fact = |action, records| Fact {
        action,
        plugin: 0,
        reason: "too late".to_owned(),
        target: "other".to_owned(),
        records,
    };
    let note = Note {
        plugins: vec![plugin],
        facts: vec![
            fact(Action::Dropped, runs(0..40)),
            fact(Action::Routed, runs((0..200).step_by(2))),
        ],
        cut: false,
    };
    let key = ChunkKey {
        digest: [7; 32],
        index: 1,
        count: 3,
    };
    vec![
        Seed::made("note", [&[0], &note.encode()[..]].concat()),
        Seed::made("chunk-key", [&[1], &key.encode()[..]].concat()),
        Seed::made("chunk", [&[2], &encode_value(b"wasm")[..]].concat()),
    ]
}
