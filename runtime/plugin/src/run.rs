//! One binding over one batch: which rows it sees, in how many calls, and what happens when one fails.

use std::ops::Range;

use crate::clock::{self, Budget};
use crate::columns::Table;
use crate::instance::{CallError, Instance};
use crate::stats::Tally;
use crate::verdict::{Answer, KEEP};
use crate::{
    Binding, ChainFailure, ChainInput, ChainResult, Columns, FailureKind, OnError, Rejection,
    Route, Side, World, wire,
};

/// The batch as every binding of the chain sees it.
pub(crate) struct Batch<'a> {
    pub(crate) input: &'a ChainInput<'a>,
    /// All records, in all the columns that any binding of the chain wants.
    pub(crate) table: &'a Table,
    /// Records that bypass filters; empty = none.
    pub(crate) tombstones: Vec<bool>,
}

pub(crate) struct Run<'a> {
    binding: &'a Binding,
    batch: &'a Batch<'a>,
    scratch: &'a mut Table,
    result: &'a mut ChainResult,
    wanted: Columns,
    budget: Budget,
    instance: Option<Instance>,
    tally: Tally,
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
        batch: &'a Batch<'a>,
        scratch: &'a mut Table,
        result: &'a mut ChainResult,
    ) -> Run<'a> {
        Run {
            wanted: binding.plugin().description().columns,
            budget: Budget::new(binding.deadline()),
            binding,
            batch,
            scratch,
            result,
            instance: None,
            tally: Tally::default(),
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
        self.tally.records_in = count as u64;
        let rows = rows.as_deref();
        let outcome = if self.binding.breaker.admit(clock::now()) {
            let outcome = self.decide_all(rows, count);
            self.tell_breaker();
            outcome
        } else {
            let error = CallError::new(
                FailureKind::BreakerOpen,
                "it failed too often and is left alone",
            );
            self.apply_policy(rows, 0..count, &error, false)
        };
        if let Some(instance) = self.instance.take() {
            self.binding.give_back(instance);
        }
        self.binding.counters.add(&self.tally);
        self.result.plugin_nanos += self.tally.nanos;
        outcome
    }

    /// The records that this binding sees, ascending; `None` = all of the batch.
    fn rows(&self) -> Option<Vec<u32>> {
        let bypass =
            self.binding.plugin().world() == World::Filter && !self.batch.tombstones.is_empty();
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

    /// Works through the ranges in order. A range that traps is halved until the poison record stands
    /// alone (stream-semantics rule 25); any other failure leaves what is left undecided.
    fn decide_all(&mut self, rows: Option<&[u32]>, count: usize) -> Result<(), ChainFailure> {
        let mut ranges = self.split(rows, count);
        ranges.reverse();
        while let Some(range) = ranges.pop() {
            let error = match self.call(rows, range.clone()) {
                Ok(answer) => {
                    self.answered = true;
                    self.merge(rows, range.start, answer);
                    continue;
                }
                Err(error) => error,
            };
            self.binding.counters.failed(&error);
            let time_left = !self.budget.next_call().is_zero();
            match error.kind {
                FailureKind::Trap if range.len() > 1 && time_left => {
                    let middle = range.start + range.len() / 2;
                    ranges.push(middle..range.end);
                    ranges.push(range.start..middle);
                }
                FailureKind::Trap if range.len() == 1 => {
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
            let message = format!(
                "it had not finished after {} ms",
                self.binding.limits().deadline_ms.saturating_mul(2)
            );
            return Err(CallError::new(FailureKind::Deadline, message));
        }
        self.check_size(rows, &range)?;
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.binding.take(self.budget.until())?,
        };
        let started = clock::now();
        let whole = rows.is_none() && range.len() == self.batch.table.len();
        let table = if whole {
            self.batch.table
        } else {
            let rows: Vec<u32> = range.map(|at| row_at(rows, at) as u32).collect();
            self.scratch.gather(self.batch.table, &rows, self.wanted);
            &*self.scratch
        };
        let input = self.batch.input;
        let context = wire::Context {
            topic: input.topic,
            partition: u32::try_from(input.partition).unwrap_or(0),
            alias: self.binding.alias(),
            append_time: input.append_time_ms,
            base_offset: input.base_offset,
        };
        let batch = table.lower(self.wanted, context);
        let answer = instance.run(
            batch,
            self.binding.limits(),
            self.binding.targets(),
            deadline,
        );
        self.tally.calls += 1;
        self.tally.nanos += u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        match &answer {
            Err(error) if !error.spares_instance() => {
                // What a trap leaves in its memory is anybody's guess.
                drop(instance);
                self.binding.discard();
            }
            _ => self.instance = Some(instance),
        }
        answer
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
        Err(CallError::new(
            FailureKind::Memory,
            format!("a record has more than the {max} bytes that its limits let in"),
        ))
    }

    /// Writes an answer about the rows from `start` on into the batch's result.
    fn merge(&mut self, rows: Option<&[u32]>, start: usize, answer: Answer) {
        let rejected = answer.rejections.len() as u64;
        let not_kept = answer.codes.iter().filter(|code| **code != KEEP).count() as u64;
        self.tally.rejected += rejected;
        self.tally.dropped += not_kept - rejected;
        self.tally.routed += answer.routes.len() as u64;
        if not_kept > 0 {
            match rows {
                None => {
                    let keep = self.result.keep.iter_mut().skip(start);
                    keep.zip(&answer.codes)
                        .for_each(|(keep, code)| *keep = *code == KEEP);
                }
                Some(_) => {
                    for (at, code) in answer.codes.iter().enumerate() {
                        self.set_keep(row_at(rows, start + at), *code == KEEP);
                    }
                }
            }
        }
        for (at, reason) in answer.rejections {
            let index = row_at(rows, start + at as usize);
            self.reject(index, reason);
        }
        self.result.routes.extend(
            answer
                .routes
                .into_iter()
                .map(|(at, topic, partition)| Route {
                    record: row_at(rows, start + at as usize),
                    topic,
                    partition,
                    layers: 0,
                }),
        );
    }

    /// What `tidegate.on.error` says about rows that nobody could decide. `poison`: the one record that
    /// makes the plugin trap.
    fn apply_policy(
        &mut self,
        rows: Option<&[u32]>,
        range: Range<usize>,
        error: &CallError,
        poison: bool,
    ) -> Result<(), ChainFailure> {
        if error.kind == FailureKind::BreakerOpen {
            self.binding.counters.failed(error);
        }
        // The broker's own want of room decides nothing about records: the client tries again.
        let policy = self.binding.on_error();
        let decides = error.kind != FailureKind::Unavailable;
        match policy {
            OnError::Pass if decides => Ok(()),
            OnError::Drop if decides => {
                self.tally.dropped += range.len() as u64;
                range.for_each(|at| self.set_keep(row_at(rows, at), false));
                Ok(())
            }
            OnError::Reject if poison && self.batch.input.side == Side::Produce => {
                let index = row_at(rows, range.start);
                self.set_keep(index, false);
                self.tally.rejected += 1;
                self.reject(
                    index,
                    format!(
                        "the plugin `{}` failed on this record: {}",
                        self.binding.alias(),
                        error.message
                    ),
                );
                Ok(())
            }
            _ => Err(ChainFailure {
                alias: self.binding.alias().to_owned(),
                kind: error.kind,
                message: format!(
                    "the plugin `{}` failed: {}",
                    self.binding.alias(),
                    error.message
                ),
                temporary: error.kind.is_temporary(),
                policy,
                record: poison.then(|| row_at(rows, range.start)),
            }),
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

    fn set_keep(&mut self, index: usize, keep: bool) {
        if let Some(slot) = self.result.keep.get_mut(index) {
            *slot = keep;
        }
    }

    fn reject(&mut self, index: usize, reason: String) {
        let alias = self.binding.alias().to_owned();
        self.result.rejected.push(Rejection {
            index,
            reason,
            alias,
        });
    }
}

/// The batch's index of the row at this place of a selection.
fn row_at(rows: Option<&[u32]>, at: usize) -> usize {
    match rows {
        None => at,
        Some(rows) => rows.get(at).map_or(usize::MAX, |row| *row as usize),
    }
}
