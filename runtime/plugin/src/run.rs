//! One binding over one batch: which rows it sees, in how many calls, and where one failed.

mod policy;

use std::ops::Range;
use std::time::Instant;

use crate::clock::{self, Budget};
use crate::columns::Table;
use crate::contract::wire;
use crate::edits::{Chunk, Layer, Selection};
use crate::failure::CallError;
use crate::instance::Instance;
use crate::stats::Tally;
use crate::verdict::{Answer, KEEP};
use crate::{
    Binding, ChainFailure, ChainInput, ChainResult, Columns, FailureKind, Route, Side, World,
};

/// The batch as one binding of the chain meets it.
#[derive(Clone, Copy)]
pub(crate) struct Batch<'a> {
    pub(crate) input: &'a ChainInput<'a>,
    /// All records, in all the columns that any binding of the chain wants, with what earlier ones replaced.
    pub(crate) table: &'a Table,
    /// Records that bypass filters and transforms; empty = none.
    pub(crate) tombstones: &'a [bool],
    /// Somebody only wants to know: nothing is counted, and neither breaker nor pause hears of it.
    pub(crate) dry: bool,
}

pub(crate) struct Run<'a> {
    binding: &'a Binding,
    /// The binding's place in the chain.
    place: usize,
    batch: Batch<'a>,
    scratch: &'a mut Table,
    result: &'a mut ChainResult,
    wanted: Columns,
    started: Instant,
    budget: Budget,
    instance: Option<Instance>,
    tally: Tally,
    layer: Layer,
    layer_bytes: usize,
    /// A call gave a good answer: the plugin works, whatever single record it trips over.
    answered: bool,
    /// It tripped over a single record.
    poisoned: bool,
    /// It failed in a way that is not one record's.
    failed: bool,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        binding: &'a Binding,
        place: usize,
        batch: Batch<'a>,
        scratch: &'a mut Table,
        result: &'a mut ChainResult,
    ) -> Run<'a> {
        Run {
            wanted: binding.columns(),
            started: clock::now(),
            budget: Budget::new(binding.deadline()),
            binding,
            place,
            batch,
            scratch,
            result,
            instance: None,
            tally: Tally::default(),
            layer: Layer::new(place),
            layer_bytes: 0,
            answered: false,
            poisoned: false,
            failed: false,
        }
    }

    pub(crate) fn run(mut self) -> Result<(), ChainFailure> {
        let rows = self.rows();
        let count = rows.as_ref().map_or(self.batch.table.len(), Vec::len);
        if count == 0 {
            return Ok(());
        }
        if let Some(reason) = self.binding.paused() {
            return Err(self.still_paused(&reason));
        }
        self.tally.records_in = count as u64;
        let rows = rows.as_deref();
        let outcome = if self.batch.dry {
            self.decide_all(rows, count)
        } else if self.binding.breaker.admit(clock::now()) {
            let outcome = self.decide_all(rows, count);
            self.tell_breaker();
            outcome
        } else {
            let error = CallError::new(
                FailureKind::BreakerOpen,
                "it failed too often and is left alone for a while",
            );
            self.count_failure(rows, &(0..count), &error);
            self.apply_policy(rows, 0..count, &error, false)
        };
        if let Some(instance) = self.instance.take() {
            self.binding.give_back(self.batch.input.partition, instance);
        }
        if !self.batch.dry {
            self.binding
                .counters
                .add(&self.tally, clock::nanos_since(self.started));
        }
        self.result.plugin_nanos += self.tally.nanos;
        if !self.layer.is_empty() {
            self.result.edits.push(self.layer);
        }
        outcome
    }

    /// The records that this binding sees, ascending; `None` = all of the batch.
    fn rows(&self) -> Option<Vec<u32>> {
        let bypass =
            self.binding.plugin().world() != World::Router && !self.batch.tombstones.is_empty();
        let keep = &self.result.keep;
        if !bypass && keep.iter().all(|keep| *keep) {
            return None;
        }
        let seen = |row: usize| {
            keep.get(row) == Some(&true)
                && !(bypass && self.batch.tombstones.get(row) == Some(&true))
        };
        Some(
            (0..keep.len())
                .filter(|row| seen(*row))
                .map(|row| row as u32)
                .collect(),
        )
    }

    /// Works through the ranges in order. A range that traps is halved until the poison record stands alone
    /// (stream-semantics rule 25), unless the plugin keeps state; any other failure leaves what is left undecided.
    fn decide_all(&mut self, rows: Option<&[u32]>, count: usize) -> Result<(), ChainFailure> {
        let may_run_again = !self.binding.keeps_state();
        let mut ranges = self.split(rows, count);
        ranges.reverse();
        while let Some(range) = ranges.pop() {
            let error = match self.call(rows, range.clone()) {
                Ok(answer) => {
                    self.answered = true;
                    self.merge(rows, range, answer);
                    continue;
                }
                Err(error) => error,
            };
            self.count_failure(rows, &range, &error);
            let time_left = !self.budget.next_call().is_zero();
            match error.kind {
                FailureKind::Trap if may_run_again && range.len() > 1 && time_left => {
                    let middle = range.start + range.len() / 2;
                    ranges.push(middle..range.end);
                    ranges.push(range.start..middle);
                }
                FailureKind::Trap if may_run_again && range.len() == 1 => {
                    self.poisoned = true;
                    self.apply_policy(rows, range, &error, true)?;
                    if !self.result.rejected.is_empty() && self.batch.input.side == Side::Produce {
                        return Ok(());
                    }
                }
                _ => {
                    // The broker's own want of room says nothing about the plugin.
                    self.failed = error.kind != FailureKind::Unavailable;
                    return self.apply_policy(rows, range.start..count, &error, false);
                }
            }
        }
        Ok(())
    }

    /// Ranges that one call each can take, by records and by bytes.
    fn split(&self, rows: Option<&[u32]>, count: usize) -> Vec<Range<usize>> {
        let limits = self.binding.limits();
        let max_rows = limits.call_records.max(1);
        let max_bytes = limits.input_bytes();
        let table = self.batch.table;
        if count <= max_rows && table.bytes(self.wanted) <= max_bytes {
            return std::iter::once(0..count).collect();
        }
        let mut ranges = Vec::new();
        let (mut start, mut bytes) = (0, 0);
        for at in 0..count {
            let row_bytes = table.row_bytes(row_at(rows, at), self.wanted);
            if at > start && (at - start == max_rows || bytes + row_bytes > max_bytes) {
                ranges.push(start..at);
                (start, bytes) = (at, 0);
            }
            bytes += row_bytes;
        }
        ranges.push(start..count);
        ranges
    }

    fn call(&mut self, rows: Option<&[u32]>, range: Range<usize>) -> Result<Answer, CallError> {
        let deadline = self.budget.next_call();
        if deadline.is_zero() {
            let deadline_ms = self.binding.limits().deadline_ms;
            let ran = format!(
                "had not finished after {} ms",
                deadline_ms.saturating_mul(2)
            );
            return Err(CallError::deadline(&ran, deadline_ms.into()));
        }
        self.check_size(rows, &range)?;
        let input = self.batch.input;
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.binding.take(input.partition, self.budget.until())?,
        };
        let (started, cpu) = (clock::now(), clock::thread_cpu_nanos());
        let whole = rows.is_none() && range.len() == self.batch.table.len();
        let table = if whole {
            self.batch.table
        } else {
            let rows: Vec<u32> = range.map(|at| row_at(rows, at) as u32).collect();
            self.scratch.gather(self.batch.table, &rows, self.wanted);
            &*self.scratch
        };
        let context = wire::Context {
            topic: input.topic,
            partition: u32::try_from(input.partition).unwrap_or(0),
            alias: self.binding.alias(),
            append_time: input.append_time_ms,
            base_offset: input.base_offset,
        };
        let batch = table.lower(self.wanted, context);
        let terms = self.binding.terms(input.fixed_keys);
        let answer = instance.run(batch, &terms, deadline);
        self.tally.lowered_bytes += table.bytes(self.wanted) as u64;
        self.tally.calls += 1;
        self.tally.nanos += clock::nanos_since(started);
        self.tally.cpu_nanos += clock::thread_cpu_nanos().saturating_sub(cpu);
        match &answer {
            Err(error) if !error.spares_instance() => {
                // What a trap leaves in its memory is anybody's guess.
                drop(instance);
                self.binding.discard(input.partition);
            }
            _ => self.instance = Some(instance),
        }
        answer.and_then(|answer| self.within_output(answer))
    }

    /// A single record may be more than a call takes.
    fn check_size(&self, rows: Option<&[u32]>, range: &Range<usize>) -> Result<(), CallError> {
        let max = self.binding.limits().input_bytes();
        if range.len() > 1
            || self
                .batch
                .table
                .row_bytes(row_at(rows, range.start), self.wanted)
                <= max
        {
            return Ok(());
        }
        Err(CallError::limit(
            FailureKind::Memory,
            "memory",
            format!(
                "a record has more bytes than one call takes in (limit `call.bytes`, at most a quarter of \
                 `memory.bytes`: {max})"
            ),
        ))
    }

    /// Each call was within its limit; what stays of them until the batch is through must be, too.
    fn within_output(&mut self, answer: Answer) -> Result<Answer, CallError> {
        let max = self.binding.limits().output_bytes;
        self.layer_bytes += answer.edits.bytes();
        if self.layer_bytes <= max {
            return Ok(answer);
        }
        Err(CallError::limit(
            FailureKind::OutputLimit,
            "output.bytes",
            format!(
                "its edits of one batch take more bytes than they may (limit `output.bytes`: {max})"
            ),
        ))
    }

    /// Writes an answer about the rows of a range into the batch's result.
    fn merge(&mut self, rows: Option<&[u32]>, range: Range<usize>, answer: Answer) {
        let Answer {
            codes,
            rejections,
            routes,
            edits,
        } = answer;
        let start = range.start;
        let not_kept = codes.iter().filter(|code| **code != KEEP).count();
        if not_kept > 0 {
            self.tally.dropped += (not_kept - rejections.len()) as u64;
            self.take_by_codes(rows, start, &codes);
        }
        for (at, reason) in rejections {
            let index = row_at(rows, start + at as usize);
            self.reject(index, reason);
        }
        self.tally.routed += routes.len() as u64;
        let layers = self.result.edits.layers();
        self.result
            .routes
            .extend(routes.into_iter().map(|(at, topic, partition)| Route {
                record: row_at(rows, start + at as usize),
                topic,
                partition,
                layers,
                binding: self.place,
            }));
        if !edits.is_empty() {
            let edited = edits.edited(&codes, range.len());
            self.tally.edited += edited as u64;
            if edited > 0 {
                self.layer.push(Chunk {
                    records: selection(rows, range),
                    codes,
                    columns: edits,
                });
            }
        }
    }

    fn take_by_codes(&mut self, rows: Option<&[u32]>, start: usize, codes: &[u8]) {
        let by = self.mark();
        let ChainResult { keep, taken_by, .. } = &mut *self.result;
        if taken_by.is_empty() {
            taken_by.resize(keep.len(), 0);
        }
        if rows.is_none() {
            // All of them were kept so far: this is the hot loop.
            let records = keep.iter_mut().zip(taken_by).skip(start);
            for ((keep, taken), code) in records.zip(codes) {
                *keep = *code == KEEP;
                *taken = if *keep { 0 } else { by };
            }
            return;
        }
        for (at, _) in codes.iter().enumerate().filter(|(_, code)| **code != KEEP) {
            self.take_away(row_at(rows, start + at));
        }
    }

    fn tell_breaker(&self) {
        let breaker = &self.binding.breaker;
        if self.failed || (self.poisoned && !self.answered) {
            if breaker.failed(clock::now()) {
                tracing::warn!(
                    target: "tidegate::plugin",
                    alias = self.binding.alias(),
                    topic = self.batch.input.topic,
                    "the circuit breaker opened: {} failures in a row",
                    self.binding.limits().breaker_failures,
                );
            }
        } else if self.answered {
            breaker.succeeded();
        } else {
            breaker.abandoned();
        }
    }
}

/// The batch's index of the row at this place of a selection.
fn row_at(rows: Option<&[u32]>, at: usize) -> usize {
    match rows {
        None => at,
        Some(rows) => rows.get(at).map_or(usize::MAX, |row| *row as usize),
    }
}

fn selection(rows: Option<&[u32]>, range: Range<usize>) -> Selection {
    match rows {
        None => Selection::Range(range.start as u32..range.end as u32),
        Some(rows) => Selection::Rows(rows.get(range).unwrap_or_default().to_vec()),
    }
}
