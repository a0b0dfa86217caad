//! Kafka's sequence checks (KIP-98), written down as a history and nothing else.
//!
//! Where the code keeps a window and a few last numbers, this keeps every batch that was ever admitted and looks at all
//! of them again for each question.

use std::collections::HashMap;

/// How many stored batches of a producer Kafka can tell a duplicate of.
const REMEMBERED: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    New,
    /// Stored at this offset.
    Duplicate(i64),
    /// In flight under this id.
    Joins(u64),
    OutOfOrder,
    OldEpoch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) producer: i64,
    pub(crate) epoch: i16,
    pub(crate) first: i32,
    pub(crate) count: i32,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    id: u64,
    sent: Sent,
    offset: Option<i64>,
}

#[derive(Debug, Default)]
pub(crate) struct Sequences {
    admitted: HashMap<i64, Vec<Entry>>,
}

impl Sent {
    /// Sequences count modulo 2^31.
    fn last(&self) -> i32 {
        wrap(i64::from(self.first) + i64::from(self.count) - 1)
    }

    fn is_the_same(&self, other: &Sent) -> bool {
        (self.first, self.last(), self.epoch) == (other.first, other.last(), other.epoch)
    }
}

impl Sequences {
    pub(crate) fn admit(&mut self, id: u64, sent: Sent) -> Verdict {
        if sent.producer < 0 {
            return Verdict::New;
        }
        let verdict = self.judge(&sent);
        if verdict == Verdict::New {
            let entry = Entry {
                id,
                sent,
                offset: None,
            };
            self.admitted.entry(sent.producer).or_default().push(entry);
        }
        verdict
    }

    pub(crate) fn judge(&self, sent: &Sent) -> Verdict {
        let history = self
            .admitted
            .get(&sent.producer)
            .map_or(&[][..], Vec::as_slice);
        let Some(newest) = history.last() else {
            return Verdict::New;
        };
        if sent.epoch == newest.sent.epoch {
            if let Some(twin) = history
                .iter()
                .find(|e| e.offset.is_none() && e.sent.is_the_same(sent))
            {
                return Verdict::Joins(twin.id);
            }
            let recent = history
                .iter()
                .rev()
                .filter(|e| e.offset.is_some())
                .take(REMEMBERED);
            if let Some(offset) = recent
                .filter(|e| e.sent.is_the_same(sent))
                .find_map(|e| e.offset)
            {
                return Verdict::Duplicate(offset);
            }
        }
        match sent.epoch.cmp(&newest.sent.epoch) {
            std::cmp::Ordering::Less => Verdict::OldEpoch,
            std::cmp::Ordering::Greater if sent.first == 0 => Verdict::New,
            std::cmp::Ordering::Greater => Verdict::OutOfOrder,
            std::cmp::Ordering::Equal if sent.first == self.next(sent.producer) => Verdict::New,
            std::cmp::Ordering::Equal => Verdict::OutOfOrder,
        }
    }

    /// What a well-behaved client sends next.
    pub(crate) fn next(&self, producer: i64) -> i32 {
        let newest = self
            .admitted
            .get(&producer)
            .and_then(|history| history.last());
        newest.map_or(0, |entry| wrap(i64::from(entry.sent.last()) + 1))
    }

    pub(crate) fn epoch(&self, producer: i64) -> Option<i16> {
        self.admitted
            .get(&producer)?
            .last()
            .map(|entry| entry.sent.epoch)
    }

    pub(crate) fn stored(&mut self, id: u64, offset: i64) {
        let entry = self
            .admitted
            .values_mut()
            .flatten()
            .find(|entry| entry.id == id);
        if let Some(entry) = entry {
            entry.offset = Some(offset);
        }
    }

    /// The batch and all of its producer after it never happened; returns the ids of those after it.
    pub(crate) fn failed(&mut self, id: u64) -> Vec<u64> {
        for history in self.admitted.values_mut() {
            if let Some(at) = history.iter().position(|entry| entry.id == id) {
                let gone = history.split_off(at);
                return gone.iter().skip(1).map(|entry| entry.id).collect();
            }
        }
        Vec::new()
    }

    /// In flight, oldest first.
    pub(crate) fn in_flight(&self) -> Vec<(u64, Sent)> {
        let flying = self
            .admitted
            .values()
            .flatten()
            .filter(|entry| entry.offset.is_none());
        let mut flying: Vec<_> = flying.map(|entry| (entry.id, entry.sent)).collect();
        flying.sort_by_key(|(id, _)| *id);
        flying
    }

    /// Stored batches in the order of the log.
    pub(crate) fn log(&self) -> Vec<(Sent, i64)> {
        let entries = self.admitted.values().flatten();
        let mut log: Vec<_> = entries.filter_map(|e| Some((e.sent, e.offset?))).collect();
        log.sort_by_key(|(_, offset)| *offset);
        log
    }
}

pub(crate) fn wrap(sequence: i64) -> i32 {
    i32::try_from(sequence & i64::from(i32::MAX)).expect("31 bits")
}
