//! What a run of a chain takes and what it gives.

use tidegate_record::Records;

use crate::{Edits, OnError};

/// Which path the batch is on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Side {
    /// Before the append: a rejected record refuses the client's batch, unless `tidegate.on.reject` says otherwise.
    #[default]
    Produce,
    /// Before the fetch response: there is nobody to tell, so a rejected record counts as dropped
    /// (stream-semantics rule 26).
    Consume,
}

/// One batch as a chain sees it.
#[derive(Clone, Copy)]
pub struct ChainInput<'a> {
    pub topic: &'a str,
    pub partition: i32,
    /// Milliseconds since the Unix epoch at which the broker took the batch.
    pub append_time_ms: i64,
    /// Offset of the record whose delta is 0, where it is known (consume chains).
    pub base_offset: Option<i64>,
    pub records: &'a Records,
    pub side: Side,
    /// On a compacted topic a dropped tombstone would change what compaction means, so records with a
    /// null value bypass filters and transforms there (stream-semantics rule 8). Routers still see them.
    pub keep_tombstones: bool,
    /// On a compacted topic another key is another record: an edit of a key is then a broken contract.
    pub fixed_keys: bool,
}

impl<'a> ChainInput<'a> {
    /// An input of the produce side with neither base offset nor tombstone rule.
    pub fn new(topic: &'a str, partition: i32, append_time_ms: i64, records: &'a Records) -> Self {
        ChainInput {
            topic,
            partition,
            append_time_ms,
            base_offset: None,
            records,
            side: Side::Produce,
            keep_tombstones: false,
            fixed_keys: false,
        }
    }
}

#[derive(Clone, Debug)]
pub enum ChainOutcome {
    Done(ChainResult),
    Failed(ChainFailure),
}

/// The chain's verdicts, in the indices of the client's batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChainResult {
    /// One for each record of the batch. A rejected record is not kept.
    pub keep: Vec<bool>,
    /// Ascending by index. On the produce side anything here refuses the whole batch, and the caller
    /// ignores `routes`. Always empty on the consume side.
    pub rejected: Vec<Rejection>,
    /// Records that a plugin rejected and `tidegate.on.reject=drop` let go: not kept, and the producer is not told.
    pub discarded: Vec<Rejection>,
    /// In the order in which they are to be appended. A record that a later plugin drops keeps the
    /// routes it was given before; one that goes to the dead-letter topic has none, since redriving it gives them anew.
    pub routes: Vec<Route>,
    /// Every entry of `keep` is true and nothing was edited: the batch's bytes can be used as they are.
    pub all_kept: bool,
    /// What transforms replaced.
    pub edits: Edits,
    /// Records for the dead-letter topic, ascending by index. None of them is kept. Produce side only.
    pub dead: Vec<DeadRecord>,
    /// Failures that a policy dealt with, in the order of the chain.
    pub failures: Vec<Failure>,
    /// For each record the binding that took it away, as its place in the chain plus one; 0 = nobody. Empty where every
    /// record stayed.
    pub taken_by: Vec<u8>,
    /// Wall time spent inside the plugins' calls, lowering and lifting included.
    pub plugin_nanos: u64,
    /// Bytes of keys, values and headers that were copied out of the batch into columns: once, however many plugins read
    /// them.
    pub column_bytes: u64,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rejection {
    /// Index in the client's batch.
    pub index: usize,
    /// The plugin's sentence, bounded to a few hundred characters.
    pub reason: String,
    pub alias: String,
}

/// One record to be appended to another topic.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// Index in the client's batch.
    pub record: usize,
    /// Matches one of the binding's target patterns.
    pub topic: String,
    pub partition: PartitionChoice,
    /// Layers of [`ChainResult::edits`] that the router saw: the routed copy has these and no later ones.
    pub layers: usize,
    /// The router, as its place in the chain.
    pub binding: usize,
}

/// One record that goes to the dead-letter topic instead of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeadRecord {
    /// Index in the client's batch.
    pub index: usize,
    /// The binding, as its place in the chain.
    pub binding: usize,
    /// `None`: the plugin rejected it (`tidegate.on.reject`).
    pub kind: Option<FailureKind>,
    /// A sentence.
    pub message: String,
}

/// A failure that `tidegate.on.error` dealt with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// The binding, as its place in the chain.
    pub binding: usize,
    pub kind: FailureKind,
    pub message: String,
    pub policy: OnError,
    /// The records it is about, ascending, in the client's indices.
    pub records: Vec<usize>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PartitionChoice {
    /// The caller checks that the target has it.
    Explicit(i32),
    /// By murmur2 of the key as Kafka's clients do; the source's index when the key is null.
    ByKey,
    /// The source's index, modulo the target's count.
    SameIndex,
}

/// The chain could not say what happens to the batch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChainFailure {
    pub alias: String,
    pub kind: FailureKind,
    /// A sentence for whoever produced or consumes.
    pub message: String,
    /// Worth a retry by the client: NOT_ENOUGH_REPLICAS rather than INVALID_RECORD on produce.
    pub temporary: bool,
    pub policy: OnError,
    /// The first record (index in the client's batch) that the failure is about, where bisection
    /// found one; otherwise every record that reached the plugin is undecided.
    pub record: Option<usize>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum FailureKind {
    /// The guest trapped.
    Trap,
    /// It ran longer than its deadline.
    Deadline,
    /// It asked for more memory, table elements or instances than it may have.
    Memory,
    /// It gave back more than it may.
    OutputLimit,
    /// What it gave back breaks the contract.
    BadOutput,
    /// It said itself that the batch failed.
    PluginError,
    /// It failed too often; nobody asked it.
    BreakerOpen,
    /// It failed, and nobody asks it until it is resumed by hand.
    Paused,
    /// The broker had no instance or memory for it.
    Unavailable,
}

impl FailureKind {
    /// As `tidegate.error.kind` of a dead letter, metrics and snapshots name it.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureKind::Trap => "trap",
            FailureKind::Deadline => "deadline",
            FailureKind::Memory => "memory",
            FailureKind::OutputLimit => "output-limit",
            FailureKind::BadOutput => "bad-output",
            FailureKind::PluginError => "plugin-error",
            FailureKind::BreakerOpen => "breaker-open",
            FailureKind::Paused => "paused",
            FailureKind::Unavailable => "unavailable",
        }
    }

    /// Trouble of the moment and of the broker, not of the record.
    pub(crate) fn is_temporary(self) -> bool {
        matches!(
            self,
            FailureKind::BreakerOpen | FailureKind::Paused | FailureKind::Unavailable
        )
    }
}
