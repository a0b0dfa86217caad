//! Chains that are watched, never obeyed (`tidegate.shadow.chain`).
//!
//! A shadow is shown batches of the produce path after the real chain had them, as a job of its own on the plugin pool. Its
//! verdicts are compared with the real ones and counted; nobody waits for them. When the pool has enough to do, a batch is
//! skipped and counted as such.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tidegate_plugin::{
    Chain, ChainInput, ChainOutcome, ChainResult, Edits, Engine, PoolKey, RecordEdit, Side,
};
use tidegate_record::{Batch, RecordView, Records};

use crate::decoding::Decoding;
use crate::topics::TopicSettings;

/// A topic's shadow chain, with what it has been found to do.
pub(crate) struct Shadow {
    chain: Arc<Chain>,
    counters: Arc<ShadowCounters>,
    gate: Arc<Gate>,
}

/// Jobs of all shadows that are waiting or running.
#[derive(Default)]
pub(super) struct Gate(AtomicUsize);

/// A batch of the produce path, as the real chain saw it.
pub(crate) struct Observed<'a> {
    pub(crate) topic: &'a TopicSettings,
    pub(crate) partition: i32,
    pub(crate) append_time_ms: i64,
    pub(crate) batch: &'a Batch,
    pub(crate) decoding: &'a Arc<Decoding>,
    pub(crate) real: Real,
}

/// What became of the batch's records.
#[derive(Default)]
pub(crate) struct Real {
    /// Empty: all were kept.
    keep: Vec<bool>,
    edits: Edits,
}

/// Records by what the shadow would have done with them.
#[derive(Default)]
pub(crate) struct ShadowCounters {
    records: AtomicU64,
    agree: AtomicU64,
    would_drop: AtomicU64,
    would_keep: AtomicU64,
    would_change: AtomicU64,
    errors: AtomicU64,
    skipped: AtomicU64,
}

/// [`ShadowCounters`] at one time. `records` is the sum of what follows it, without `skipped`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShadowReport {
    /// Records it was shown.
    pub(crate) records: u64,
    /// It would have done the same.
    pub(crate) agree: u64,
    /// It would have taken away what was kept.
    pub(crate) would_drop: u64,
    /// It would have kept what was taken away.
    pub(crate) would_keep: u64,
    /// Both keep the record, with other parts.
    pub(crate) would_change: u64,
    /// It failed.
    pub(crate) errors: u64,
    /// Records it was not shown, because the plugin pool was busy.
    pub(crate) skipped: u64,
}

impl Real {
    /// What the real chain said. Records that it rejects count as taken away.
    pub(crate) fn of(result: &ChainResult) -> Real {
        match result.all_kept {
            true => Real::default(),
            false => Real {
                keep: result.keep.clone(),
                edits: result.edits.clone(),
            },
        }
    }

    fn keeps(&self, record: usize) -> bool {
        self.keep.get(record).copied().unwrap_or(true)
    }
}

impl Shadow {
    pub(super) fn new(
        chain: Arc<Chain>,
        counters: Arc<ShadowCounters>,
        gate: Arc<Gate>,
    ) -> Arc<Shadow> {
        Arc::new(Shadow {
            chain,
            counters,
            gate,
        })
    }

    #[cfg(test)]
    pub(crate) fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Shows it a batch. Never blocks, and never takes a place that a real chain waits for.
    pub(crate) fn observe(&self, engine: &Engine, observed: Observed<'_>) {
        let count = observed.batch.record_count() as u64;
        let skip = || ShadowCounters::add(&self.counters.skipped, count);
        let pool = engine.pool();
        // A topic's own jobs queue behind each other while other threads are idle, so a short queue is not a busy pool.
        let busy = pool.queued() > pool.threads();
        let Some(ticket) = (!busy).then(|| self.gate.enter((pool.threads() / 4).max(1))) else {
            return skip();
        };
        let Some(ticket) = ticket else {
            return skip();
        };
        let job = Job {
            chain: self.chain.clone(),
            counters: self.counters.clone(),
            topic: observed.topic.name().to_owned(),
            keep_tombstones: observed.topic.config().tombstones_bypass(),
            fixed_keys: observed.topic.config().keys_fixed(),
            partition: observed.partition,
            append_time_ms: observed.append_time_ms,
            batch: observed.batch.clone(),
            decoding: observed.decoding.clone(),
            real: observed.real,
        };
        // A key of its own: what it uses is not held against the topic's real chain.
        let key = PoolKey(!observed.topic.pool_key().0);
        let run = Box::new(move || {
            job.run();
            drop(ticket);
        });
        if pool.submit(key, run).is_err() {
            skip();
        }
    }
}

impl Gate {
    fn enter(self: &Arc<Gate>, max: usize) -> Option<Ticket> {
        let ticket = Ticket(self.clone());
        (self.0.fetch_add(1, Ordering::AcqRel) < max).then_some(ticket)
    }
}

/// One job's place; given back however the job ends, also when it never runs.
struct Ticket(Arc<Gate>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

struct Job {
    chain: Arc<Chain>,
    counters: Arc<ShadowCounters>,
    topic: String,
    keep_tombstones: bool,
    fixed_keys: bool,
    partition: i32,
    append_time_ms: i64,
    batch: Batch,
    decoding: Arc<Decoding>,
    real: Real,
}

impl Job {
    fn run(&self) {
        let count = self.batch.record_count() as u64;
        ShadowCounters::add(&self.counters.records, count);
        let records = self.batch.record_count();
        let Ok(opened) = self
            .decoding
            .open(records, |limits| self.batch.records(limits))
        else {
            return ShadowCounters::add(&self.counters.errors, count);
        };
        let records = &opened.records;
        let outcome = self.chain.run(&ChainInput {
            base_offset: None,
            side: Side::Produce,
            keep_tombstones: self.keep_tombstones,
            fixed_keys: self.fixed_keys,
            ..ChainInput::new(&self.topic, self.partition, self.append_time_ms, records)
        });
        match outcome {
            ChainOutcome::Done(result) => self.counters.compare(records, &self.real, &result),
            ChainOutcome::Failed(_) => ShadowCounters::add(&self.counters.errors, count),
        }
    }
}

impl ShadowCounters {
    pub(crate) fn report(&self) -> ShadowReport {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ShadowReport {
            records: get(&self.records),
            agree: get(&self.agree),
            would_drop: get(&self.would_drop),
            would_keep: get(&self.would_keep),
            would_change: get(&self.would_change),
            errors: get(&self.errors),
            skipped: get(&self.skipped),
        }
    }

    fn add(counter: &AtomicU64, delta: u64) {
        counter.fetch_add(delta, Ordering::Relaxed);
    }

    /// A record on which the shadow failed is an error, whatever its policy made of it.
    fn compare(&self, records: &Records, real: &Real, shadow: &ChainResult) {
        let mut failed = vec![false; records.len()];
        for record in shadow.failures.iter().flat_map(|failure| &failure.records) {
            if let Some(slot) = failed.get_mut(*record) {
                *slot = true;
            }
        }
        let mut counts = ShadowReport::default();
        for (index, record) in records.iter().enumerate() {
            let kept = shadow.keep.get(index).copied().unwrap_or(true);
            let count = match (failed.get(index), real.keeps(index), kept) {
                (Some(true), _, _) => &mut counts.errors,
                (_, true, false) => &mut counts.would_drop,
                (_, false, true) => &mut counts.would_keep,
                (_, false, false) => &mut counts.agree,
                (_, true, true) if same(index, &record, &real.edits, &shadow.edits) => {
                    &mut counts.agree
                }
                (_, true, true) => &mut counts.would_change,
            };
            *count += 1;
        }
        Self::add(&self.agree, counts.agree);
        Self::add(&self.would_drop, counts.would_drop);
        Self::add(&self.would_keep, counts.would_keep);
        Self::add(&self.would_change, counts.would_change);
        Self::add(&self.errors, counts.errors);
    }
}

/// Whether both leave the record with the same parts.
fn same(index: usize, record: &RecordView<'_>, one: &Edits, other: &Edits) -> bool {
    let one = one.of(index, one.layers());
    let other = other.of(index, other.layers());
    if one.is_none() && other.is_none() {
        return true;
    }
    Parts::of(record, one) == Parts::of(record, other)
}

#[derive(PartialEq)]
struct Parts<'a> {
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: Vec<(&'a [u8], Option<&'a [u8]>)>,
    timestamp: i64,
}

impl<'a> Parts<'a> {
    fn of(record: &RecordView<'a>, edit: Option<RecordEdit<'a>>) -> Parts<'a> {
        let edit = edit.unwrap_or_default();
        Parts {
            key: edit.key.unwrap_or(record.key),
            value: edit.value.unwrap_or(record.value),
            headers: edit.headers.unwrap_or_else(|| record.headers().collect()),
            timestamp: edit.timestamp.unwrap_or(record.timestamp),
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_plugin::{Failure, FailureKind, OnError};
    use tidegate_record::{BatchBuilder, Codec, DecodeLimits, RecordParts};

    use super::*;

    fn records(count: usize) -> Records {
        let mut builder = BatchBuilder::new(Codec::None);
        for _ in 0..count {
            builder.push(RecordParts::default()).unwrap();
        }
        let limits = DecodeLimits {
            max_bytes: 1 << 20,
            max_records: 100,
        };
        builder.build().unwrap().records(limits).unwrap()
    }

    #[test]
    fn every_record_is_counted_once() {
        let counters = ShadowCounters::default();
        let real = Real {
            keep: vec![true, true, false, false, true],
            ..Real::default()
        };
        let shadow = ChainResult {
            keep: vec![true, false, true, false, false],
            failures: vec![Failure {
                binding: 0,
                kind: FailureKind::Trap,
                message: String::new(),
                policy: OnError::Drop,
                records: vec![4],
            }],
            ..ChainResult::default()
        };
        counters.compare(&records(5), &real, &shadow);
        let expected = ShadowReport {
            agree: 2,
            would_drop: 1,
            would_keep: 1,
            errors: 1,
            ..ShadowReport::default()
        };
        assert_eq!(counters.report(), expected);
    }

    #[test]
    fn the_gate_counts_who_is_inside() {
        let gate = Arc::new(Gate::default());
        let first = gate.enter(2);
        let second = gate.enter(2);
        assert!(first.is_some() && second.is_some());
        assert!(gate.enter(2).is_none());
        drop(first);
        assert!(gate.enter(2).is_some());
    }
}
