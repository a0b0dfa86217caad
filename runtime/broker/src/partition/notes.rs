//! The note of a batch: what the produce chain did to its records, kept beside its index row for `explain`.
//!
//! ```text
//! version, 1 byte: 1
//! flags, 1 byte: 1 = something was left out, because a note has a bound
//! plugins, count: each alias, name and version as text, then the first 8 bytes of its digest
//! facts, to the end: each
//!     action, 1 byte | plugin, its place above | reason, text | target, text | records
//! records: 0 | count of runs | each: how far behind the run before it begins, its length
//!       or 1 | first offset delta | count of bytes | bits from there on, least significant first
//! ```
//!
//! Numbers are LEB128, texts a length and UTF-8; an empty text says nothing. Records are named by offset delta, and take
//! whichever of the two forms is shorter. A note that does not fit loses the reasons of single records first.

use std::ops::Range;

/// As long as storage takes.
const MAX_LEN: usize = 16 << 10;
const VERSION: u8 = 1;
const CUT: u8 = 1;
const RUNS: u8 = 0;
const BITS: u8 = 1;
/// Longest text, in bytes.
const MAX_TEXT: usize = 300;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) plugins: Vec<NotedPlugin>,
    pub(super) facts: Vec<Fact>,
    /// Not everything that happened stands here.
    pub(super) cut: bool,
}

/// A plugin as it stood in the chain when the batch was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NotedPlugin {
    pub(super) alias: String,
    pub(super) name: String,
    pub(super) version: String,
    /// The first bytes of its digest.
    pub(super) digest: [u8; 8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    Dropped,
    Edited,
    Routed,
    /// Routed, but the target's own chain did not keep it.
    RoutedAndDropped,
    DeadLettered,
    /// The plugin failed, and its policy was to drop.
    FailedAndDropped,
    /// The plugin failed, and its policy was to let the record pass.
    FailedAndPassed,
    /// The plugin rejected it, and `tidegate.on.reject` was to let it go.
    Discarded,
}

/// One thing that happened to some records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) action: Action,
    /// Place in [`Note::plugins`].
    pub(super) plugin: usize,
    /// Empty = none.
    pub(super) reason: String,
    /// Where records went; empty = nowhere.
    pub(super) target: String,
    /// Offset deltas: ascending runs that do not touch.
    pub(super) records: Vec<Range<u32>>,
}

impl Fact {
    pub(super) fn is_about(&self, delta: u32) -> bool {
        let after = self.records.partition_point(|run| run.start <= delta);
        let run = after.checked_sub(1).and_then(|at| self.records.get(at));
        run.is_some_and(|run| run.contains(&delta))
    }
}

impl Action {
    const ALL: [Action; 8] = [
        Action::Dropped,
        Action::Edited,
        Action::Routed,
        Action::RoutedAndDropped,
        Action::DeadLettered,
        Action::FailedAndDropped,
        Action::FailedAndPassed,
        Action::Discarded,
    ];

    fn code(self) -> u8 {
        // The order of `ALL` is what is stored.
        Action::ALL
            .iter()
            .position(|action| *action == self)
            .map_or(u8::MAX, |at| at as u8 + 1)
    }

    fn from_code(code: u8) -> Option<Action> {
        let at = usize::from(code).checked_sub(1)?;
        Action::ALL.get(at).copied()
    }
}

/// Ascending offset deltas as runs.
pub(super) fn runs(deltas: impl IntoIterator<Item = u32>) -> Vec<Range<u32>> {
    let mut runs: Vec<Range<u32>> = Vec::new();
    for delta in deltas {
        match runs.last_mut() {
            Some(run) if run.end == delta => run.end += 1,
            Some(run) if run.end > delta => {}
            _ => runs.push(delta..delta.saturating_add(1)),
        }
    }
    runs
}

impl Note {
    /// At most 16 KiB, whatever happened.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, if self.cut { CUT } else { 0 }];
        put_number(&mut out, self.plugins.len() as u64);
        for plugin in &self.plugins {
            put_text(&mut out, &plugin.alias);
            put_text(&mut out, &plugin.name);
            put_text(&mut out, &plugin.version);
            out.extend_from_slice(&plugin.digest);
        }
        if out.len() > MAX_LEN {
            // A chain of dozens of plugins with the longest of names.
            return vec![VERSION, CUT, 0];
        }
        let mut left_out = Vec::new();
        for fact in &self.facts {
            if !put_if_it_fits(&mut out, fact) {
                left_out.push(fact);
            }
        }
        for fact in without_reasons(&left_out) {
            put_if_it_fits(&mut out, &fact);
        }
        if !left_out.is_empty()
            && let Some(flags) = out.get_mut(1)
        {
            *flags |= CUT;
        }
        out
    }

    /// `None`: these bytes are no note that this version can read.
    pub(super) fn decode(bytes: &[u8]) -> Option<Note> {
        let mut rest = bytes;
        if take_byte(&mut rest)? != VERSION {
            return None;
        }
        let mut note = Note {
            cut: take_byte(&mut rest)? & CUT != 0,
            ..Note::default()
        };
        for _ in 0..take_count(&mut rest)? {
            note.plugins.push(NotedPlugin {
                alias: take_text(&mut rest)?,
                name: take_text(&mut rest)?,
                version: take_text(&mut rest)?,
                digest: *take_bytes(&mut rest, 8)?.first_chunk()?,
            });
        }
        while !rest.is_empty() {
            note.facts.push(Fact {
                action: Action::from_code(take_byte(&mut rest)?)?,
                plugin: usize::try_from(take_number(&mut rest)?).ok()?,
                reason: take_text(&mut rest)?,
                target: take_text(&mut rest)?,
                records: take_records(&mut rest)?,
            });
        }
        Some(note)
    }
}

fn put_if_it_fits(out: &mut Vec<u8>, fact: &Fact) -> bool {
    let before = out.len();
    out.push(fact.action.code());
    put_number(out, fact.plugin as u64);
    put_text(out, &fact.reason);
    put_text(out, &fact.target);
    put_records(out, &fact.records);
    let fits = out.len() <= MAX_LEN;
    if !fits {
        out.truncate(before);
    }
    fits
}

/// What is left to say when the reasons do not fit: one fact for each action, plugin and target.
fn without_reasons(facts: &[&Fact]) -> Vec<Fact> {
    let mut merged: Vec<(Fact, Vec<u32>)> = Vec::new();
    for fact in facts {
        let same = |known: &&mut (Fact, Vec<u32>)| {
            known.0.action == fact.action
                && known.0.plugin == fact.plugin
                && known.0.target == fact.target
        };
        let deltas = fact.records.iter().cloned().flatten();
        match merged.iter_mut().find(same) {
            Some((_, all)) => all.extend(deltas),
            None => {
                let bare = Fact {
                    reason: String::new(),
                    records: Vec::new(),
                    ..(*fact).clone()
                };
                merged.push((bare, deltas.collect()));
            }
        }
    }
    merged
        .into_iter()
        .map(|(fact, mut deltas)| {
            deltas.sort_unstable();
            Fact {
                records: runs(deltas),
                ..fact
            }
        })
        .collect()
}

fn put_records(out: &mut Vec<u8>, records: &[Range<u32>]) {
    let (Some(first), Some(last)) = (records.first(), records.last()) else {
        out.extend([RUNS, 0]);
        return;
    };
    let before = out.len();
    out.push(RUNS);
    put_number(out, records.len() as u64);
    let mut end = 0;
    for run in records {
        put_number(out, u64::from(run.start - end));
        put_number(out, u64::from(run.end - run.start));
        end = run.end;
    }
    let bits = (last.end - first.start) as usize;
    let bytes = bits.div_ceil(8);
    // With its own head, that is.
    if bytes + 8 >= out.len() - before {
        return;
    }
    out.truncate(before);
    out.push(BITS);
    put_number(out, u64::from(first.start));
    put_number(out, bytes as u64);
    let at = out.len();
    out.resize(at + bytes, 0);
    for delta in records.iter().cloned().flatten() {
        let bit = (delta - first.start) as usize;
        if let Some(byte) = out.get_mut(at + bit / 8) {
            *byte |= 1 << (bit % 8);
        }
    }
}

fn take_records(rest: &mut &[u8]) -> Option<Vec<Range<u32>>> {
    if take_byte(rest)? == BITS {
        let first = u32::try_from(take_number(rest)?).ok()?;
        let count = take_count(rest)?;
        let bits = take_bytes(rest, count)?;
        let set = (0..bits.len() * 8).filter(|bit| {
            bits.get(bit / 8)
                .is_some_and(|byte| byte & (1 << (bit % 8)) != 0)
        });
        let deltas: Option<Vec<u32>> = set
            .map(|bit| first.checked_add(u32::try_from(bit).ok()?))
            .collect();
        return Some(runs(deltas?));
    }
    let mut runs = Vec::new();
    let mut end = 0u32;
    for _ in 0..take_count(rest)? {
        let start = end.checked_add(u32::try_from(take_number(rest)?).ok()?)?;
        end = start.checked_add(u32::try_from(take_number(rest)?).ok()?)?;
        runs.push(start..end);
    }
    Some(runs)
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    put_number(out, end as u64);
    out.extend_from_slice(text.get(..end).unwrap_or_default().as_bytes());
}

fn take_byte(rest: &mut &[u8]) -> Option<u8> {
    let (byte, behind) = rest.split_first()?;
    *rest = behind;
    Some(*byte)
}

fn take_bytes<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (bytes, behind) = rest.split_at_checked(count)?;
    *rest = behind;
    Some(bytes)
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..63).step_by(7) {
        let byte = take_byte(rest)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// A number of things of which each takes a byte at least: never more than there are bytes.
fn take_count(rest: &mut &[u8]) -> Option<usize> {
    let count = usize::try_from(take_number(rest)?).ok()?;
    (count <= rest.len()).then_some(count)
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let length = take_count(rest)?;
    let text = take_bytes(rest, length)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![Just(String::new()), "[a-zäöü ]{1,40}"]
    }

    fn fact() -> impl Strategy<Value = Fact> {
        let action = prop::sample::select(Action::ALL.to_vec());
        let records = prop_oneof![
            prop::collection::btree_set(0u32..5000, 1..40),
            prop::collection::btree_set(0u32..300, 100..200),
            prop::collection::btree_set(any::<u32>().prop_map(|n| n % (u32::MAX - 1)), 1..5),
        ];
        (action, 0usize..5, text(), text(), records).prop_map(
            |(action, plugin, reason, target, records)| Fact {
                action,
                plugin,
                reason,
                target,
                records: runs(records),
            },
        )
    }

    fn plugin() -> impl Strategy<Value = NotedPlugin> {
        (text(), text(), text(), any::<[u8; 8]>()).prop_map(|(alias, name, version, digest)| {
            NotedPlugin {
                alias,
                name,
                version,
                digest,
            }
        })
    }

    fn note() -> impl Strategy<Value = Note> {
        let plugins = prop::collection::vec(plugin(), 0..5);
        let facts = prop::collection::vec(fact(), 0..8);
        (plugins, facts, any::<bool>()).prop_map(|(plugins, facts, cut)| Note {
            plugins,
            facts,
            cut,
        })
    }

    proptest! {
        #[test]
        fn round_trips(note in note()) {
            let bytes = note.encode();
            prop_assert!(bytes.len() <= MAX_LEN);
            prop_assert_eq!(Note::decode(&bytes), Some(note));
        }

        #[test]
        fn what_does_not_fit_is_cut_and_says_so(
            facts in prop::collection::vec(fact(), 180..600),
            reason in "[a-z]{100,400}",
        ) {
            let facts: Vec<_> = facts
                .into_iter()
                .enumerate()
                .map(|(n, fact)| Fact { reason: format!("{n} {reason}"), target: String::new(), ..fact })
                .collect();
            let whole = Note { facts, ..Note::default() };
            let bytes = whole.encode();
            prop_assert!(bytes.len() <= MAX_LEN);
            let read = Note::decode(&bytes).unwrap();
            prop_assert!(read.cut);
            // Nothing is made up: what is said of a record was so.
            for fact in &read.facts {
                let deltas = fact.records.iter().cloned().flatten();
                for delta in deltas.take(100) {
                    let same = |known: &Fact| {
                        known.action == fact.action && known.plugin == fact.plugin && known.is_about(delta)
                    };
                    prop_assert!(whole.facts.iter().any(same));
                }
            }
        }

        #[test]
        fn any_bytes_are_no_note_or_a_note(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = bytes;
            if let Some(version) = bytes.first_mut() {
                *version = VERSION;
            }
            if let Some(note) = Note::decode(&bytes) {
                prop_assert!(note.facts.len() <= bytes.len() && note.plugins.len() <= bytes.len());
            }
        }
    }

    #[test]
    fn dense_records_take_a_bit_each() {
        let fact = |records| Fact {
            action: Action::Dropped,
            plugin: 0,
            reason: String::new(),
            target: String::new(),
            records,
        };
        let len = |records| {
            let facts = vec![fact(records)];
            Note {
                facts,
                ..Note::default()
            }
            .encode()
            .len()
        };
        // Every other one of ten thousand; every thousandth; all.
        assert!(len(runs((0..10_000).step_by(2))) < 1270);
        assert!(len(runs((0..10_000).step_by(1000))) < 50);
        assert!(len(runs(0..10_000)) < 20);
    }

    #[test]
    fn a_fact_knows_its_records() {
        let fact = Fact {
            action: Action::Edited,
            plugin: 0,
            reason: String::new(),
            target: String::new(),
            records: runs([0, 1, 2, 5, 9, 10]),
        };
        let about: Vec<u32> = (0..12).filter(|delta| fact.is_about(*delta)).collect();
        assert_eq!(about, [0, 1, 2, 5, 9, 10]);
    }
}
