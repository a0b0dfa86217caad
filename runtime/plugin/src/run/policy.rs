//! What becomes of records that a plugin rejected, and of those that it could not decide.

use std::ops::Range;

use super::{Run, row_at};
use crate::failure::CallError;
use crate::{
    ChainFailure, DeadRecord, Failure, FailureKind, LogLevel, OnError, OnReject, Rejection, Side,
};

impl Run<'_> {
    /// A record that the plugin rejected. Its `keep` is false already.
    pub(super) fn reject(&mut self, index: usize, reason: String) {
        let on_reject = match self.batch.input.side {
            Side::Produce => self.binding.on_reject(),
            // There is nobody to tell: the chain lets go of these when it is through.
            Side::Consume => OnReject::Refuse,
        };
        match on_reject {
            OnReject::Refuse | OnReject::Drop => self.tally.rejected += 1,
            OnReject::DeadLetter => {
                self.tally.dead_lettered += 1;
                self.result.dead.push(DeadRecord {
                    index,
                    binding: self.place,
                    kind: None,
                    message: reason,
                });
                return;
            }
        }
        let rejection = Rejection {
            index,
            reason,
            alias: self.binding.alias().to_owned(),
        };
        match on_reject {
            OnReject::Drop => self.result.discarded.push(rejection),
            _ => self.result.rejected.push(rejection),
        }
    }

    /// What `tidegate.on.error` says about rows that nobody could decide. `poison`: the one record that makes the plugin
    /// trap.
    pub(super) fn apply_policy(
        &mut self,
        rows: Option<&[u32]>,
        range: Range<usize>,
        error: &CallError,
        poison: bool,
    ) -> Result<(), ChainFailure> {
        let policy = self.binding.on_error();
        let failure = ChainFailure {
            alias: self.binding.alias().to_owned(),
            kind: error.kind,
            message: format!(
                "the plugin `{}` failed: {}",
                self.binding.alias(),
                self.told(rows, &range, error)
            ),
            temporary: error.kind.is_temporary(),
            policy,
            record: poison.then(|| row_at(rows, range.start)),
        };
        if error.kind == FailureKind::Unavailable {
            // The broker's own want of room decides nothing about records: the client tries again.
            return Err(failure);
        }
        if error.kind != FailureKind::BreakerOpen && !self.batch.dry {
            let input = self.batch.input;
            self.binding.log(
                input.topic,
                input.partition,
                LogLevel::Error,
                &failure.message,
            );
        }
        let produce = self.batch.input.side == Side::Produce;
        match policy {
            OnError::Pass => self.tally.passed += range.len() as u64,
            OnError::Drop => {
                self.tally.dropped += range.len() as u64;
                range
                    .clone()
                    .for_each(|at| self.take_away(row_at(rows, at)));
            }
            OnError::DeadLetter if produce => {
                self.tally.dead_lettered += range.len() as u64;
                for at in range.clone() {
                    self.bury(row_at(rows, at), error, &failure.message);
                }
            }
            OnError::Reject if produce && poison => {
                let index = row_at(rows, range.start);
                self.take_away(index);
                self.tally.rejected += 1;
                self.result.rejected.push(Rejection {
                    index,
                    reason: format!(
                        "the plugin `{}` failed on this record: {}",
                        self.binding.alias(),
                        error.message
                    ),
                    alias: self.binding.alias().to_owned(),
                });
            }
            OnError::Pause if !self.batch.dry => return Err(self.pause(failure)),
            OnError::Pause | OnError::Reject | OnError::DeadLetter => return Err(failure),
        }
        self.result.failures.push(Failure {
            binding: self.place,
            kind: error.kind,
            message: failure.message,
            policy,
            records: range.map(|at| row_at(rows, at)).collect(),
        });
        Ok(())
    }

    /// A run while the binding waits to be resumed.
    pub(super) fn still_paused(&self, reason: &str) -> ChainFailure {
        let alias = self.binding.alias();
        let error = CallError::new(
            FailureKind::Paused,
            format!(
                "the plugin `{alias}` is paused since it failed ({reason}); {}",
                self.how_to_resume()
            ),
        );
        if !self.batch.dry {
            self.binding.counters.failed(&error, error.message.clone());
        }
        ChainFailure {
            alias: alias.to_owned(),
            kind: error.kind,
            message: error.message,
            temporary: true,
            policy: OnError::Pause,
            record: None,
        }
    }

    pub(super) fn count_failure(
        &self,
        rows: Option<&[u32]>,
        range: &Range<usize>,
        error: &CallError,
    ) {
        if self.batch.dry {
            return;
        }
        let told = self.told(rows, range, error);
        self.binding.counters.failed(error, told);
    }

    /// The binding, as `ChainResult::taken_by` names it.
    pub(super) fn mark(&self) -> u8 {
        u8::try_from(self.place + 1).unwrap_or(u8::MAX)
    }

    pub(super) fn take_away(&mut self, index: usize) {
        let by = self.mark();
        let records = self.result.keep.len();
        if let Some(keep) = self.result.keep.get_mut(index) {
            *keep = false;
        }
        if self.result.taken_by.is_empty() {
            self.result.taken_by.resize(records, 0);
        }
        if let Some(taken) = self.result.taken_by.get_mut(index) {
            *taken = by;
        }
    }

    fn bury(&mut self, index: usize, error: &CallError, message: &str) {
        self.take_away(index);
        self.result.dead.push(DeadRecord {
            index,
            binding: self.place,
            kind: Some(error.kind),
            message: message.to_owned(),
        });
    }

    /// Whoever runs the batch may try again, and will meet the same until somebody resumes the plugin.
    fn pause(&self, failure: ChainFailure) -> ChainFailure {
        self.binding.pause(failure.message.clone());
        tracing::warn!(
            target: "tidegate::plugin",
            alias = self.binding.alias(),
            topic = self.batch.input.topic,
            "paused: {}",
            failure.message
        );
        ChainFailure {
            message: format!(
                "{}; it is paused: {}",
                failure.message,
                self.how_to_resume()
            ),
            temporary: true,
            ..failure
        }
    }

    fn how_to_resume(&self) -> String {
        format!(
            "once the cause is gone, `tidegate plugin resume --topic {} {}` lets it run again",
            self.batch.input.topic,
            self.binding.alias()
        )
    }

    /// The error, and where it happened: as much of topic, partition, record and offset as is known.
    fn told(&self, rows: Option<&[u32]>, range: &Range<usize>, error: &CallError) -> String {
        let input = self.batch.input;
        let record = (range.len() == 1).then(|| row_at(rows, range.start));
        let delta = record.map_or(Some(0), |row| self.batch.table.delta(row));
        let offset = input.base_offset.zip(delta);
        let mut place = format!("topic `{}`, partition {}", input.topic, input.partition);
        if let Some(record) = record {
            place += &format!(", record {record} of its batch");
        }
        if let Some((base, delta)) = offset {
            let what = if record.is_some() { "" } else { "batch at " };
            place += &format!(", {what}offset {}", base.saturating_add(delta));
        }
        format!("{} ({place})", error.message)
    }
}
