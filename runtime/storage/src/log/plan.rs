//! Deciding a group: which appends are taken, and which offsets their batches get. Pure but for
//! reading the partition table; nothing is visible before the writer acts on the plan.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use tidegate_record::PartitionId;

use super::partition::{End, Partition};
use super::{Append, Done, Lane, Late, Shared};
use crate::keys::note;
use crate::{AbortedTransaction, Aborts, AppendError, AppendPart, Appended, IndexRow, Placed};

/// One group, decided.
#[derive(Default)]
pub(crate) struct Plan {
    /// Batches to write, in order.
    pub(crate) placed: Vec<PlacedBatch>,
    /// Partitions that move, with the end they move to.
    pub(crate) ends: HashMap<PartitionId, (Arc<Partition>, End)>,
    /// One per append, in the order of submission.
    pub(crate) outcomes: Vec<Outcome>,
    /// Where the partitions of the append in hand ended before each of its parts.
    moved: Vec<(PartitionId, End)>,
}

pub(crate) struct PlacedBatch {
    pub(crate) partition: Arc<Partition>,
    pub(crate) row: IndexRow,
    pub(crate) bytes: Bytes,
    pub(crate) note: Option<Bytes>,
    pub(crate) aborted: Option<AbortedTransaction>,
}

impl PlacedBatch {
    fn as_placed(&self) -> Placed<'_> {
        Placed {
            id: self.partition.id(),
            row: self.row,
            bytes: &self.bytes,
            note: self.note.as_ref(),
            aborted: self.aborted,
        }
    }
}

/// What is stored with the first batch of an append.
#[derive(Default)]
struct Beside {
    note: Option<Bytes>,
    aborts: Option<Aborts>,
}

pub(crate) struct Outcome {
    pub(crate) done: Done,
    pub(crate) sync: bool,
    pub(crate) lane: Option<Lane>,
    pub(crate) result: Result<Vec<Appended>, AppendError>,
}

impl Outcome {
    fn refuse(&mut self, error: AppendError) {
        self.result = Err(error);
        if let Some(lane) = &self.lane {
            lane.break_off();
        }
    }
}

impl Plan {
    /// Takes an append whole or refuses it whole.
    pub(crate) fn add(&mut self, shared: &Shared, append: Append) {
        let Append {
            parts,
            sync,
            now_ms,
            lane,
            late,
            note,
            aborts,
            done,
        } = append;
        let mut outcome = Outcome {
            done,
            sync,
            lane,
            result: Ok(Vec::new()),
        };
        let before = self.placed.len();
        self.moved.clear();
        let taken = check_note(note.as_ref())
            .and_then(|()| self.admit(shared, &parts, outcome.lane.as_ref()))
            .and_then(|()| {
                let beside = Beside { note, aborts };
                let mut appended = self.place_all(parts, beside, now_ms);
                if let Some(late) = late {
                    let parts = make(late, appended.first())?;
                    self.admit(shared, &parts, None)?;
                    appended.extend(self.place_all(parts, Beside::default(), now_ms));
                }
                Ok(appended)
            });
        match taken {
            Ok(appended) => outcome.result = Ok(appended),
            Err(error) => {
                self.take_back(before);
                outcome.refuse(error);
            }
        }
        self.outcomes.push(outcome);
    }

    pub(crate) fn writes(&self) -> Vec<Placed<'_>> {
        self.placed.iter().map(PlacedBatch::as_placed).collect()
    }

    /// Turns every append that was taken into a refusal.
    pub(crate) fn fail(&mut self, error: &AppendError) {
        for outcome in &mut self.outcomes {
            if outcome.result.is_ok() {
                outcome.refuse(error.clone());
            }
        }
    }

    /// All checks of all parts come before the first part gets an offset: an append is atomic.
    fn admit(
        &mut self,
        shared: &Shared,
        parts: &[AppendPart],
        lane: Option<&Lane>,
    ) -> Result<(), AppendError> {
        if lane.is_some_and(Lane::is_broken) {
            return Err(AppendError::LaneBroken);
        }
        for part in parts {
            let (partition, end) = match self.ends.entry(part.id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(vacant) => {
                    let partition = shared
                        .partition(part.id)
                        .ok_or(AppendError::UnknownPartition(part.id))?;
                    let end = partition.end();
                    vacant.insert((partition, end))
                }
            };
            check(part, partition, *end, parts.len())?;
        }
        Ok(())
    }

    /// Of parts that were admitted. What stands beside is the first one's.
    fn place_all(
        &mut self,
        parts: Vec<AppendPart>,
        mut beside: Beside,
        now_ms: i64,
    ) -> Vec<Appended> {
        let mut appended = Vec::with_capacity(parts.len());
        for part in parts {
            appended.extend(self.place(part, std::mem::take(&mut beside), now_ms));
        }
        appended
    }

    /// Undoes what the append in hand placed, down to so many batches.
    fn take_back(&mut self, placed: usize) {
        self.placed.truncate(placed);
        for (id, end) in self.moved.drain(..).rev() {
            if let Some((_, moved)) = self.ends.get_mut(&id) {
                *moved = end;
            }
        }
    }

    fn place(&mut self, part: AppendPart, beside: Beside, now_ms: i64) -> Option<Appended> {
        let (partition, end) = self.ends.get_mut(&part.id)?;
        self.moved.push((part.id, *end));
        let batch = part.batch.place(end.offset, part.epoch);
        let row = IndexRow::of(
            &batch,
            part.last_surviving_delta,
            now_ms,
            end.position,
            end.max_timestamp,
        );
        *end = End::behind(Some(&row), end.offset);
        let appended = Appended {
            base_offset: row.base_offset,
            last_offset: row.last_offset,
            log_start: partition.start(),
        };
        let bytes = batch.into_bytes();
        self.placed.push(PlacedBatch {
            partition: partition.clone(),
            row,
            bytes,
            note: beside.note,
            aborted: beside.aborts.map(|aborts| AbortedTransaction {
                producer_id: row.producer_id,
                first_offset: aborts.first_offset.min(row.base_offset),
                last_offset: row.base_offset,
                stable_offset: aborts.stable_offset.min(row.base_offset),
            }),
        });
        Some(appended)
    }
}

fn check_note(note: Option<&Bytes>) -> Result<(), AppendError> {
    match note.is_some_and(|note| note.len() > note::MAX_LEN) {
        true => Err(AppendError::Invalid("the note is too long".into())),
        false => Ok(()),
    }
}

/// A panic of the caller's code costs its append only.
fn make(late: Late, first: Option<&Appended>) -> Result<Vec<AppendPart>, AppendError> {
    let first = first.ok_or_else(|| AppendError::Invalid("late parts of nothing".into()))?;
    match catch_unwind(AssertUnwindSafe(|| (late.parts)(first))) {
        Ok(made) => made.map_err(AppendError::Late),
        Err(_) => Err(AppendError::Invalid(
            "what makes the late parts panicked".into(),
        )),
    }
}

/// `siblings` parts of one append may share the partition; room for all of them is asked of each.
fn check(
    part: &AppendPart,
    partition: &Partition,
    end: End,
    siblings: usize,
) -> Result<(), AppendError> {
    let current = partition.epoch();
    if part.epoch != current {
        return Err(AppendError::StaleEpoch {
            id: part.id,
            given: part.epoch,
            current,
        });
    }
    let header = part.batch.header();
    let deltas = -1..=header.last_offset_delta;
    if header.last_offset_delta < 0 || !deltas.contains(&part.last_surviving_delta) {
        return Err(AppendError::Invalid(format!(
            "last offset delta {}, last surviving delta {}",
            header.last_offset_delta, part.last_surviving_delta
        )));
    }
    let room = i64::from(u32::MAX).saturating_mul(siblings as i64 + 1);
    if end.offset.checked_add(room).is_none() {
        return Err(AppendError::Invalid(
            "the partition's offsets are used up".into(),
        ));
    }
    Ok(())
}
