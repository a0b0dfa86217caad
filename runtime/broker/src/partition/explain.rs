//! Why an offset holds what it holds: what the produce chain did, as the batch's note tells it, and what the consume chain
//! would make of the record now.

use std::sync::Arc;

use tidegate_plugin::{Binding, Chain, ChainInput, ChainOutcome, ChainResult, OnError, Side};
use tidegate_record::{Batch, Offset, Records, retain};
use tidegate_storage::IndexRow;

use crate::topics::ChainSlot;

use super::Partition;
use super::notes::{Action, Fact, Note, NotedPlugin};
use super::read::{ReadFailure, blocking};

/// What is known of one offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Explanation {
    /// The log has a record there.
    pub(crate) stored: bool,
    pub(crate) fate: Fate,
    /// What the produce chain did to the record, in the order of the chain.
    pub(crate) steps: Vec<Step>,
    /// What the consume chain, as it is bound now, does to it. Empty: it stays as it is stored.
    pub(crate) consume: Vec<Step>,
    /// A sentence or two for whoever asked.
    pub(crate) note: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Kept,
    Edited,
    Dropped,
    /// Moved to other topics.
    Routed,
    DeadLettered,
    /// Never a client's: a marker of the broker's own.
    Control,
    /// Below the log start.
    Deleted,
    /// Not written yet.
    Ahead,
    /// A hole that nothing is noted of.
    Unknown,
}

/// What one plugin did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) alias: String,
    pub(crate) plugin: String,
    pub(crate) version: String,
    /// `sha256:` and the digest's first digits.
    pub(crate) digest: String,
    pub(crate) action: &'static str,
    pub(crate) reason: Option<String>,
    /// Where the record went.
    pub(crate) to: Option<String>,
}

impl Fate {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Fate::Kept => "kept",
            Fate::Edited => "edited",
            Fate::Dropped => "dropped",
            Fate::Routed => "routed",
            Fate::DeadLettered => "dead-lettered",
            Fate::Control => "control",
            Fate::Deleted => "deleted",
            Fate::Ahead => "ahead",
            Fate::Unknown => "unknown",
        }
    }
}

impl Explanation {
    fn nothing(fate: Fate, note: String) -> Explanation {
        Explanation {
            stored: false,
            fate,
            steps: Vec::new(),
            consume: Vec::new(),
            note,
        }
    }
}

/// What the log knows of an offset.
struct Found {
    row: IndexRow,
    batch: Batch,
    records: Records,
    /// The record's place in its batch; `None` = a hole.
    place: Option<usize>,
    delta: u32,
    note: NoteState,
}

enum NoteState {
    None,
    Unreadable,
    Read(Note),
}

impl Partition {
    /// Changes nothing: the consume chain runs beside its counters.
    pub(crate) async fn explain(
        self: &Arc<Self>,
        offset: Offset,
    ) -> Result<Explanation, ReadFailure> {
        let bounds = self.env.log.bounds(self.id).ok_or(ReadFailure::NotLeader)?;
        if offset < bounds.start {
            let note = format!("deleted: the partition's log starts at {}", bounds.start);
            return Ok(Explanation::nothing(Fate::Deleted, note));
        }
        if offset >= bounds.end {
            let note = format!(
                "not written yet: the partition's log ends at {}",
                bounds.end
            );
            return Ok(Explanation::nothing(Fate::Ahead, note));
        }
        let partition = self.clone();
        let found = blocking(move || partition.look_up(offset)).await?;
        let Some(found) = found else {
            let note = "no batch covers the offset".to_owned();
            return Ok(Explanation::nothing(Fate::Unknown, note));
        };
        let mut explanation = found.explain();
        if explanation.fate != Fate::Control && found.place.is_some() {
            self.explain_consume(found, &mut explanation).await;
        }
        Ok(explanation)
    }

    fn look_up(&self, offset: Offset) -> Result<Option<Found>, ReadFailure> {
        let log = &self.env.log;
        let stored = log.read(self.id, offset, offset.saturating_add(1), 1)?;
        let Some(stored) = stored.into_iter().next() else {
            return Ok(None);
        };
        let row = stored.row;
        let delta = offset.checked_sub(row.base_offset);
        let Some(delta) = delta.and_then(|delta| u32::try_from(delta).ok()) else {
            return Ok(None);
        };
        let batch = Batch::stored(stored.batch)?;
        let records = batch.records(self.limits())?;
        let place = records
            .iter()
            .position(|record| u32::try_from(record.offset_delta) == Ok(delta));
        let note = match log.note(self.id, offset)? {
            None => NoteState::None,
            Some((_, bytes)) => Note::decode(&bytes).map_or(NoteState::Unreadable, NoteState::Read),
        };
        Ok(Some(Found {
            row,
            batch,
            records,
            place,
            delta,
            note,
        }))
    }

    async fn explain_consume(self: &Arc<Self>, found: Found, explanation: &mut Explanation) {
        let chain = match &self.topic.chains().consume {
            ChainSlot::None => return,
            ChainSlot::Unavailable(reason) => {
                explanation.note += &format!(" The consume chain cannot run now: {reason}.");
                return;
            }
            ChainSlot::Ready(chain) => chain.clone(),
        };
        let (reply, steps) = tokio::sync::oneshot::channel();
        let partition = self.clone();
        let job = Box::new(move || {
            // A closed receiver is an operator who went away.
            drop(reply.send(partition.try_consume(&chain, &found)));
        });
        let pool = self.env.engine.pool();
        if pool.submit(self.topic.pool_key(), job).is_err() {
            explanation.note += " The plugin pool is too busy to try the consume chain now.";
            return;
        }
        match steps.await {
            Ok(Ok(steps)) => explanation.consume = steps,
            Ok(Err(failure)) => {
                explanation.note += &format!(" The consume chain cannot be tried: {failure}.");
            }
            Err(_) => {
                explanation.note += " The plugin host failed while it tried the consume chain."
            }
        }
    }

    /// What the consume chain does to the record. Its batch is run whole, as for a consumer.
    fn try_consume(&self, chain: &Chain, found: &Found) -> Result<Vec<Step>, ReadFailure> {
        let Some(place) = found.place else {
            return Ok(Vec::new());
        };
        match self.dry_run(chain, found, &found.records) {
            ChainOutcome::Done(result) => Ok(consume_steps(chain, &result, place)),
            ChainOutcome::Failed(failure) => {
                let at = failure.record.unwrap_or(0);
                if at > place {
                    // Consumers get what stands before the record that breaks the chain.
                    let before = retain(&found.batch, &found.records, |i| i < at)?;
                    let records = before.records(self.limits())?;
                    if let ChainOutcome::Done(result) = self.dry_run(chain, found, &records) {
                        return Ok(consume_steps(chain, &result, place));
                    }
                }
                let mut bindings = chain.bindings().iter();
                let binding = bindings.find(|binding| binding.alias() == failure.alias);
                let action = match failure.record == Some(place) {
                    true => "stops here",
                    false => "stops before",
                };
                let step = binding.map_or_else(Step::default, step_of);
                Ok(vec![Step {
                    alias: failure.alias,
                    action,
                    reason: Some(failure.message),
                    ..step
                }])
            }
        }
    }

    fn dry_run(&self, chain: &Chain, found: &Found, records: &Records) -> ChainOutcome {
        chain.dry_run(&ChainInput {
            topic: self.topic.name(),
            partition: self.index,
            append_time_ms: found.row.append_time,
            base_offset: Some(found.row.base_offset),
            records,
            side: Side::Consume,
            keep_tombstones: self.topic.config().tombstones_bypass(),
            fixed_keys: false,
        })
    }
}

impl Found {
    fn explain(&self) -> Explanation {
        if self.batch.header().attributes.is_control() {
            let note = "a marker of the broker's own, which no plugin sees".to_owned();
            return Explanation {
                stored: self.place.is_some(),
                ..Explanation::nothing(Fate::Control, note)
            };
        }
        let stored = self.place.is_some();
        let (facts, plugins): (Vec<&Fact>, &[NotedPlugin]) = match &self.note {
            NoteState::Read(note) => (
                note.facts
                    .iter()
                    .filter(|fact| fact.is_about(self.delta))
                    .collect(),
                &note.plugins,
            ),
            _ => (Vec::new(), &[]),
        };
        let fate = fate(stored, &facts);
        let mut facts = facts;
        facts.sort_by_key(|fact| fact.plugin);
        Explanation {
            stored,
            fate,
            steps: facts.iter().map(|fact| noted_step(fact, plugins)).collect(),
            consume: Vec::new(),
            note: self.sentence(fate),
        }
    }

    fn sentence(&self, fate: Fate) -> String {
        let said = match fate {
            Fate::Kept => "The record is stored as it was produced.",
            Fate::Edited => "The record is stored as plugins changed it.",
            Fate::Dropped => "The record was acknowledged and not stored.",
            Fate::Routed => "The record was moved to another topic.",
            Fate::DeadLettered => "The record went to the dead-letter topic.",
            _ => "The record was acknowledged and not stored.",
        };
        let more = match &self.note {
            NoteState::Unreadable => {
                " The batch's note was written by another version of the broker."
            }
            NoteState::Read(note) if note.cut => {
                " Too much happened to its batch for one note: something may be missing here."
            }
            NoteState::None if fate == Fate::Unknown => {
                " Nothing was noted of it: the batch was written before notes were kept."
            }
            _ => "",
        };
        format!("{said}{more}")
    }
}

fn fate(stored: bool, facts: &[&Fact]) -> Fate {
    let any = |actions: &[Action]| facts.iter().any(|fact| actions.contains(&fact.action));
    match stored {
        true if any(&[Action::Edited]) => Fate::Edited,
        true => Fate::Kept,
        false if any(&[Action::DeadLettered]) => Fate::DeadLettered,
        false if any(&[Action::FailedAndDropped, Action::Discarded]) => Fate::Dropped,
        // A router that moves a record takes it away as well.
        false if any(&[Action::Routed, Action::RoutedAndDropped]) => Fate::Routed,
        false if any(&[Action::Dropped]) => Fate::Dropped,
        false => Fate::Unknown,
    }
}

fn noted_step(fact: &Fact, plugins: &[NotedPlugin]) -> Step {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    let plugin = plugins.get(fact.plugin).cloned().unwrap_or_default();
    Step {
        alias: plugin.alias,
        plugin: plugin.name,
        version: plugin.version,
        digest: shown(&plugin.digest),
        action: action_name(fact.action),
        reason: some(&fact.reason),
        to: some(&fact.target),
    }
}

fn action_name(action: Action) -> &'static str {
    match action {
        Action::Dropped => "dropped",
        Action::Edited => "edited",
        Action::Routed => "routed",
        Action::RoutedAndDropped => "routed, and dropped by the target's own chain",
        Action::DeadLettered => "dead-lettered",
        Action::FailedAndDropped => "failed, and dropped",
        Action::FailedAndPassed => "failed, and let pass",
        Action::Discarded => "rejected, and dropped",
    }
}

/// Who does what to the record at `place` of a batch.
fn consume_steps(chain: &Chain, result: &ChainResult, place: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    for failure in &result.failures {
        if failure.records.binary_search(&place).is_ok()
            && let Some(binding) = chain.bindings().get(failure.binding)
        {
            steps.push(Step {
                action: match failure.policy {
                    OnError::Pass => action_name(Action::FailedAndPassed),
                    _ => action_name(Action::FailedAndDropped),
                },
                reason: Some(failure.message.clone()),
                ..step_of(binding)
            });
        }
    }
    for layer in (0..result.edits.layers()).filter(|layer| result.edits.touches(*layer, place)) {
        let binding = result.edits.binding(layer);
        let binding = binding.and_then(|binding| chain.bindings().get(binding));
        steps.extend(binding.map(|binding| Step {
            action: action_name(Action::Edited),
            ..step_of(binding)
        }));
    }
    let taker = result.taken_by.get(place).copied().unwrap_or(0);
    let taker = usize::from(taker).checked_sub(1);
    let failed = |binding: usize| {
        let mut failures = result.failures.iter();
        failures.any(|f| f.binding == binding && f.records.binary_search(&place).is_ok())
    };
    if let Some(taker) = taker.filter(|taker| !failed(*taker))
        && let Some(binding) = chain.bindings().get(taker)
    {
        steps.push(Step {
            action: action_name(Action::Dropped),
            ..step_of(binding)
        });
    }
    steps
}

fn step_of(binding: &Arc<Binding>) -> Step {
    let description = binding.plugin().description();
    Step {
        alias: binding.alias().to_owned(),
        plugin: description.name.clone(),
        version: description.version.clone(),
        digest: shown(&binding.plugin().digest().0[..8]),
        ..Step::default()
    }
}

fn shown(digest: &[u8]) -> String {
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}
