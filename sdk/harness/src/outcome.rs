//! What came of a run, record by record.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};
use std::time::Duration;

use tidegate_plugin::{ChainResult, Failure, LogLevel, PartitionChoice, RecordEdit};

use crate::golden::lines;
use crate::{Headers, Record};

/// Everything that one batch had a plugin do. Its `Display` is what stands in a golden file's snapshot.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// One for each record of the batch, in its order.
    pub records: Vec<Fate>,
    pub logs: Vec<Log>,
    /// What this run added to the plugin's own counters.
    pub counters: BTreeMap<String, u64>,
    /// Failures that the error policy dealt with.
    pub failures: Vec<Failure>,
    /// Wall time inside the plugin's calls, lowering and lifting included.
    pub wall: Duration,
    /// CPU time inside the plugin's calls.
    pub cpu: Duration,
    /// The largest linear memory of an instance so far, in bytes.
    pub memory_bytes: u64,
}

/// What became of one record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fate {
    pub verdict: Verdict,
    /// Copies that go elsewhere, in the order in which they are appended.
    pub routes: Vec<Destination>,
    /// What the plugin replaced; `None` = nothing.
    pub edit: Option<Edit>,
}

/// Whether a record stays in its topic.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    Keep,
    /// Acknowledged, not stored.
    Drop,
    /// With the plugin's sentence: the produce request fails.
    Reject(String),
    /// The error policy sends it to the dead-letter topic, with the error's sentence.
    DeadLetter(String),
}

/// Where a router sends a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Destination {
    pub topic: String,
    pub partition: PartitionChoice,
}

/// What a transform replaced. The outer `None` leaves a part alone, the inner one makes it null.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Edit {
    pub key: Option<Option<Vec<u8>>>,
    pub value: Option<Option<Vec<u8>>>,
    /// All the headers that the record then has.
    pub headers: Option<Headers>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: Option<i64>,
}

/// One line that the plugin logged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Log {
    pub level: LogLevel,
    pub message: String,
}

impl Outcome {
    pub(crate) fn new(result: ChainResult) -> Outcome {
        let fate = |index: usize| Fate {
            verdict: match result.keep.get(index) {
                Some(true) => Verdict::Keep,
                _ => Verdict::Drop,
            },
            routes: Vec::new(),
            edit: result
                .edits
                .of(index, result.edits.layers())
                .and_then(Edit::from_record),
        };
        let mut records: Vec<Fate> = (0..result.keep.len()).map(fate).collect();
        for route in result.routes {
            if let Some(fate) = records.get_mut(route.record) {
                fate.routes.push(Destination {
                    topic: route.topic,
                    partition: route.partition,
                });
            }
        }
        for dead in result.dead {
            if let Some(fate) = records.get_mut(dead.index) {
                fate.verdict = Verdict::DeadLetter(dead.message);
            }
        }
        for rejection in result.rejected {
            if let Some(fate) = records.get_mut(rejection.index) {
                fate.verdict = Verdict::Reject(rejection.reason);
            }
        }
        Outcome {
            records,
            failures: result.failures,
            wall: Duration::from_nanos(result.plugin_nanos),
            ..Outcome::default()
        }
    }

    pub fn verdicts(&self) -> Vec<Verdict> {
        self.records
            .iter()
            .map(|fate| fate.verdict.clone())
            .collect()
    }

    /// The indices of the records that stay.
    pub fn kept(&self) -> Vec<usize> {
        let records = self.records.iter().enumerate();
        records
            .filter(|(_, fate)| fate.verdict == Verdict::Keep)
            .map(|(index, _)| index)
            .collect()
    }

    /// The topics that each record goes to.
    pub fn routed(&self) -> Vec<Vec<&str>> {
        let records = self.records.iter();
        records
            .map(|fate| fate.routes.iter().map(|to| to.topic.as_str()).collect())
            .collect()
    }

    /// The records as the topic would have them after this run of `given`: without what does not stay, edits applied.
    pub fn stored(&self, given: &[Record]) -> Vec<Record> {
        let pairs = given.iter().zip(&self.records);
        pairs
            .filter(|(_, fate)| fate.verdict == Verdict::Keep)
            .map(|(record, fate)| match &fate.edit {
                Some(edit) => edit.apply(record),
                None => record.clone(),
            })
            .collect()
    }
}

impl Edit {
    /// `None` where nothing is replaced after all.
    fn from_record(edit: RecordEdit<'_>) -> Option<Edit> {
        let owned = |part: Option<&[u8]>| part.map(<[u8]>::to_vec);
        let edit = Edit {
            key: edit.key.map(owned),
            value: edit.value.map(owned),
            headers: edit.headers.map(|headers| {
                let header = |(name, value): (&[u8], Option<&[u8]>)| (name.to_vec(), owned(value));
                headers.into_iter().map(header).collect()
            }),
            timestamp: edit.timestamp,
        };
        (edit != Edit::default()).then_some(edit)
    }

    /// The record with what this replaces.
    pub fn apply(&self, record: &Record) -> Record {
        Record {
            key: self.key.clone().unwrap_or_else(|| record.key.clone()),
            value: self.value.clone().unwrap_or_else(|| record.value.clone()),
            headers: self
                .headers
                .clone()
                .unwrap_or_else(|| record.headers.clone()),
            timestamp: self.timestamp.or(record.timestamp),
        }
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        lines(self)
            .into_iter()
            .try_for_each(|line| writeln!(f, "{line}"))
    }
}
