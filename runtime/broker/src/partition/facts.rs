//! What the produce chain did to a batch, as a note.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::Bytes;
use tidegate_plugin::{Binding, ChainResult, OnError};

use super::dead_letters::Letter;
use super::notes::{Action, Fact, Note, NotedPlugin, runs};
use super::routes::{RouteFate, Routed, Source};

/// Reasons that are told apart in one note; more of them would not fit into it.
const MAX_REASONS: usize = 256;

/// The note of a batch to which something happened; `None` = every record went on as it came.
pub(super) fn note(
    source: &Source<'_>,
    result: &ChainResult,
    routed: &Routed,
    letters: &[Letter],
) -> Option<Bytes> {
    let untouched = result.all_kept
        && result.failures.is_empty()
        && routed.ends.is_empty()
        && letters.is_empty();
    if untouched {
        return None;
    }
    let mut facts = Facts::new(source);
    facts.of_failures(result);
    facts.of_letters(letters);
    facts.of_routes(routed);
    facts.of_edits(result);
    facts.of_verdicts(result, letters);
    Some(facts.into_note().encode().into())
}

/// One kind of fact: the plugin's place, the action, the target and the reason.
type Kind = (usize, Action, String, String);

struct Facts<'a> {
    source: &'a Source<'a>,
    /// By what happened, the offset deltas of the records to which it did.
    found: BTreeMap<Kind, Vec<u32>>,
    cut: bool,
}

impl<'a> Facts<'a> {
    fn new(source: &'a Source<'a>) -> Facts<'a> {
        Facts {
            source,
            found: BTreeMap::new(),
            cut: false,
        }
    }

    fn of_failures(&mut self, result: &ChainResult) {
        for failure in &result.failures {
            let action = match failure.policy {
                OnError::Drop => Action::FailedAndDropped,
                OnError::Pass => Action::FailedAndPassed,
                // Dead letters say it themselves; the others leave nothing to note.
                OnError::DeadLetter | OnError::Reject | OnError::Pause => continue,
            };
            let kind = (failure.binding, action, "", failure.message.as_str());
            self.add(kind, failure.records.iter().copied());
        }
    }

    fn of_letters(&mut self, letters: &[Letter]) {
        for letter in letters {
            let cause = &letter.cause;
            let reason = format!("{}: {}", cause.kind, cause.message);
            let (topic, reason) = (cause.topic.as_str(), reason.as_str());
            let kind = (cause.binding, Action::DeadLettered, topic, reason);
            self.add(kind, [letter.record]);
        }
    }

    fn of_routes(&mut self, routed: &Routed) {
        for end in &routed.ends {
            let (action, reason) = match &end.fate {
                RouteFate::Appended => (Action::Routed, ""),
                RouteFate::GivenUp => (Action::RoutedAndDropped, ""),
                RouteFate::Refused(OnError::Pass, reason) => {
                    (Action::FailedAndPassed, reason.as_str())
                }
                RouteFate::Refused(OnError::Drop, reason) => {
                    (Action::FailedAndDropped, reason.as_str())
                }
                RouteFate::Refused(..) => continue,
            };
            let kind = (end.binding, action, end.to.as_str(), reason);
            self.add(kind, end.records.iter().copied());
        }
    }

    fn of_edits(&mut self, result: &ChainResult) {
        for layer in 0..result.edits.layers() {
            let Some(binding) = result.edits.binding(layer) else {
                continue;
            };
            let records = 0..self.source.records.len();
            let touched = records.filter(|index| result.edits.touches(layer, *index));
            self.add((binding, Action::Edited, "", ""), touched);
        }
    }

    /// Records that a plugin took away by a verdict of its own.
    fn of_verdicts(&mut self, result: &ChainResult, letters: &[Letter]) {
        let mut told = vec![false; result.keep.len()];
        let mut tell = |index: usize| {
            if let Some(told) = told.get_mut(index) {
                *told = true;
            }
        };
        letters.iter().for_each(|letter| tell(letter.record));
        for rejection in &result.discarded {
            let mut bindings = self.source.chain.bindings().iter();
            let binding = bindings.position(|binding| binding.alias() == rejection.alias);
            if let Some(binding) = binding {
                tell(rejection.index);
                let kind = (binding, Action::Discarded, "", rejection.reason.as_str());
                self.add(kind, [rejection.index]);
            }
        }
        let dropped = result.failures.iter();
        dropped
            .filter(|failure| failure.policy == OnError::Drop)
            .flat_map(|failure| &failure.records)
            .for_each(|index| tell(*index));
        let mut by_binding: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, taker) in result.taken_by.iter().enumerate() {
            let Some(binding) = usize::from(*taker).checked_sub(1) else {
                continue;
            };
            if told.get(index) != Some(&true) {
                by_binding.entry(binding).or_default().push(index);
            }
        }
        for (binding, records) in by_binding {
            self.add((binding, Action::Dropped, "", ""), records);
        }
    }

    /// The records are indices in the client's batch, in any order.
    fn add(
        &mut self,
        (binding, action, target, reason): (usize, Action, &str, &str),
        records: impl IntoIterator<Item = usize>,
    ) {
        let deltas = records.into_iter().filter_map(|index| {
            let record = self.source.records.get(index)?;
            u32::try_from(record.offset_delta).ok()
        });
        let deltas: Vec<u32> = deltas.collect();
        if deltas.is_empty() {
            return;
        }
        let full = self.found.len() >= MAX_REASONS;
        let kind = (binding, action, target.to_owned(), reason.to_owned());
        match self.found.entry(kind) {
            Entry::Occupied(known) => known.into_mut().extend(deltas),
            Entry::Vacant(vacant) if !full => {
                vacant.insert(deltas);
            }
            Entry::Vacant(_) => {
                self.cut = true;
                let kind = (binding, action, target.to_owned(), String::new());
                self.found.entry(kind).or_default().extend(deltas);
            }
        }
    }

    fn into_note(self) -> Note {
        let bindings = self.source.chain.bindings().iter();
        let facts = self.found.into_iter();
        Note {
            plugins: bindings.map(|binding| noted(binding)).collect(),
            facts: facts
                .map(|((plugin, action, target, reason), mut deltas)| {
                    deltas.sort_unstable();
                    Fact {
                        action,
                        plugin,
                        reason,
                        target,
                        records: runs(deltas),
                    }
                })
                .collect(),
            cut: self.cut,
        }
    }
}

fn noted(binding: &Binding) -> NotedPlugin {
    let (plugin, description) = (binding.plugin(), binding.plugin().description());
    let mut digest = [0; 8];
    digest
        .iter_mut()
        .zip(plugin.digest().0)
        .for_each(|(to, from)| *to = from);
    NotedPlugin {
        alias: binding.alias().to_owned(),
        name: description.name.clone(),
        version: description.version.clone(),
        digest,
    }
}
