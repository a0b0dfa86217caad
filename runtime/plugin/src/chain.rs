//! Several bindings in order over one batch.

use std::cell::RefCell;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tidegate_record::Records;

use crate::columns::Table;
use crate::run::{Batch, Run};
use crate::{
    Binding, ChainFailure, ChainInput, ChainOutcome, ChainResult, Columns, DeadRecord, Digest,
    FailureKind, Side, World,
};

/// Column buffers that a thread keeps from one batch to the next.
const KEPT_BYTES: usize = 4 << 20;

thread_local! {
    static TABLES: RefCell<(Table, Table)> = RefCell::default();
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Chain {
    bindings: Arc<[Arc<Binding>]>,
    wanted: Columns,
    /// Made once: the fetch path asks for it at every batch.
    digest: Digest,
}

impl Chain {
    pub fn new(bindings: Vec<Arc<Binding>>) -> Chain {
        Chain {
            wanted: wanted(&bindings),
            digest: digest(&bindings),
            bindings: bindings.into(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.bindings.is_empty()
    }

    pub fn bindings(&self) -> &[Arc<Binding>] {
        &self.bindings
    }

    pub fn has_router(&self) -> bool {
        self.bindings
            .iter()
            .any(|binding| binding.plugin().world() == World::Router)
    }

    /// One of its plugins keeps state for each partition. The caller then runs one batch of a partition at a time, and
    /// calls [`settle`](Self::settle) before the next.
    pub fn keeps_state(&self) -> bool {
        self.bindings.iter().any(|binding| binding.keeps_state())
    }

    /// Whether the batch of the last run was appended. If not, the instances that saw it are thrown away: a plugin
    /// that remembers a record that was never stored would drop its retry. A run that failed or refused its batch has
    /// done so already.
    pub fn settle(&self, partition: i32, appended: bool) {
        if !appended {
            self.forget_state(partition);
        }
    }

    /// Throws away what its plugins remember of a partition, as when leadership of it changes.
    pub fn forget_state(&self, partition: i32) {
        self.bindings
            .iter()
            .for_each(|binding| binding.forget_state(partition));
    }

    /// Identifies the plugins, their order, aliases, configurations and error policies: a key for
    /// caches of results.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Blocks for as long as the plugins run: call it on the pool, never on an async worker.
    pub fn run(&self, input: &ChainInput<'_>) -> ChainOutcome {
        self.run_here(input, false)
    }

    /// What a run would give, without a trace in counters, breakers or pauses. Fails for a chain that keeps state: that
    /// would remember the batch.
    pub fn dry_run(&self, input: &ChainInput<'_>) -> ChainOutcome {
        match self.bindings.iter().find(|binding| binding.keeps_state()) {
            None => self.run_here(input, true),
            Some(binding) => ChainOutcome::Failed(ChainFailure {
                alias: binding.alias().to_owned(),
                kind: FailureKind::Unavailable,
                message: format!(
                    "the plugin `{}` keeps state and would remember a trial run",
                    binding.alias()
                ),
                temporary: false,
                policy: binding.on_error(),
                record: None,
            }),
        }
    }

    fn run_here(&self, input: &ChainInput<'_>, dry: bool) -> ChainOutcome {
        TABLES.with(|tables| match tables.try_borrow_mut() {
            Ok(mut tables) => {
                let (table, scratch) = &mut *tables;
                let outcome = self.run_with(input, table, scratch, dry);
                table.shrink(KEPT_BYTES);
                scratch.shrink(KEPT_BYTES);
                outcome
            }
            // A chain inside a chain does not happen; were it to, it would bring its own buffers.
            Err(_) => self.run_with(input, &mut Table::default(), &mut Table::default(), dry),
        })
    }

    fn run_with(
        &self,
        input: &ChainInput<'_>,
        table: &mut Table,
        scratch: &mut Table,
        dry: bool,
    ) -> ChainOutcome {
        let count = input.records.len();
        let mut result = ChainResult {
            keep: vec![true; count],
            all_kept: true,
            ..ChainResult::default()
        };
        if self.bindings.is_empty() || count == 0 {
            return ChainOutcome::Done(result);
        }
        if let Err(failure) = self.run_all(input, table, scratch, dry, &mut result) {
            self.forget_state(input.partition);
            return ChainOutcome::Failed(failure);
        }
        result.rejected.sort_by_key(|rejection| rejection.index);
        if input.side == Side::Consume {
            result.rejected.clear();
        }
        if !result.rejected.is_empty() {
            self.forget_state(input.partition);
        }
        if !result.dead.is_empty() {
            result.dead.sort_by_key(|dead| dead.index);
            let ChainResult { dead, routes, .. } = &mut result;
            self.forget_the_dead(input.partition, dead);
            let is_dead = |record| {
                dead.binary_search_by_key(&record, |dead| dead.index)
                    .is_ok()
            };
            routes.retain(|route| !is_dead(route.record));
        }
        result.all_kept = result.edits.is_empty() && result.keep.iter().all(|keep| *keep);
        ChainOutcome::Done(result)
    }

    /// A plugin with state must not remember a record that a later one, or its own failure, sent to the dead letters:
    /// redriven, it would be dropped as a duplicate.
    fn forget_the_dead(&self, partition: i32, dead: &[DeadRecord]) {
        for (place, binding) in self.bindings.iter().enumerate() {
            let knew = |dead: &DeadRecord| dead.binding == place && dead.kind.is_none();
            if dead.iter().any(|dead| dead.binding >= place && !knew(dead)) {
                binding.forget_state(partition);
            }
        }
    }

    fn run_all(
        &self,
        input: &ChainInput<'_>,
        table: &mut Table,
        scratch: &mut Table,
        dry: bool,
        result: &mut ChainResult,
    ) -> Result<(), ChainFailure> {
        let Some(first) = self.bindings.first() else {
            return Ok(());
        };
        table
            .fill(input.records, self.wanted)
            .ok_or_else(|| too_large(first))?;
        result.column_bytes = table.data_bytes() as u64;
        let mut tombstones = tombstones(input);
        for (place, binding) in self.bindings.iter().enumerate() {
            let batch = Batch {
                input,
                table,
                tombstones: &tombstones,
                dry,
            };
            Run::new(binding, place, batch, scratch, result).run()?;
            if input.side == Side::Produce && !result.rejected.is_empty() {
                // The batch is refused whatever the rest of the chain would say.
                return Ok(());
            }
            let later = self.bindings.get(place + 1..).unwrap_or_default();
            let Some(layer) = result.edits.last_of(place).filter(|_| !later.is_empty()) else {
                continue;
            };
            table
                .patch(layer, wanted(later), scratch)
                .ok_or_else(|| too_large(binding))?;
            if input.keep_tombstones && layer.columns().value {
                tombstones.resize(input.records.len(), false);
                for (row, tombstone) in tombstones.iter_mut().enumerate() {
                    let value = layer.value(row);
                    *tombstone = value.map_or(*tombstone, |value| value.is_none());
                }
            }
        }
        Ok(())
    }
}

/// The columns that any of these bindings wants.
fn wanted(bindings: &[Arc<Binding>]) -> Columns {
    let columns = bindings.iter().map(|binding| binding.columns());
    columns.fold(Columns::default(), Columns::union)
}

fn digest(bindings: &[Arc<Binding>]) -> Digest {
    let mut hash = Sha256::new();
    let mut text = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    for binding in bindings {
        text(&binding.plugin().digest().to_string());
        text(binding.alias());
        text(&format!(
            "{:?} {:?}",
            binding.on_error(),
            binding.on_reject()
        ));
        text(&binding.config().len().to_string());
        for (key, value) in binding.config() {
            text(key);
            text(value);
        }
    }
    Digest(hash.finalize().into())
}

/// The records that filters and transforms must not see; empty when there are none.
fn tombstones(input: &ChainInput<'_>) -> Vec<bool> {
    if !input.keep_tombstones {
        return Vec::new();
    }
    let null = |records: &Records| -> Vec<bool> {
        records
            .iter()
            .map(|record| record.value.is_none())
            .collect()
    };
    let tombstones = null(input.records);
    if tombstones.contains(&true) {
        tombstones
    } else {
        Vec::new()
    }
}

fn too_large(binding: &Binding) -> ChainFailure {
    ChainFailure {
        alias: binding.alias().to_owned(),
        kind: FailureKind::OutputLimit,
        message: format!(
            "the batch is too large for plugins at `{}`: it has 4 GiB or more in one column",
            binding.alias()
        ),
        temporary: false,
        policy: binding.on_error(),
        record: None,
    }
}

impl Default for Chain {
    fn default() -> Chain {
        Chain::new(Vec::new())
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.bindings.iter()).finish()
    }
}
