//! Several bindings in order over one batch.

use std::cell::RefCell;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tidegate_record::Records;

use crate::columns::Table;
use crate::run::{Batch, Run};
use crate::{
    Binding, ChainFailure, ChainInput, ChainOutcome, ChainResult, Columns, Digest, FailureKind,
    Side, State, World,
};

/// Column buffers that a thread keeps from one batch to the next.
const KEPT_BYTES: usize = 4 << 20;

thread_local! {
    static TABLES: RefCell<(Table, Table)> = RefCell::default();
}

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct Chain {
    bindings: Arc<[Arc<Binding>]>,
    wanted: Columns,
}

impl Chain {
    pub fn new(bindings: Vec<Arc<Binding>>) -> Chain {
        let wanted = bindings
            .iter()
            .map(|binding| binding.plugin().description().columns)
            .fold(Columns::default(), Columns::union);
        Chain {
            bindings: bindings.into(),
            wanted,
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
        self.bindings
            .iter()
            .any(|binding| binding.plugin().description().state == State::Partition)
    }

    /// Whether the batch of the last run was appended. If not, the instances that saw it are thrown away: a plugin
    /// that remembers a record that was never stored would drop its retry.
    pub fn settle(&self, partition: i32, appended: bool) {
        if !appended {
            self.forget_state(partition);
        }
    }

    /// Throws away what its plugins remember of a partition, as when leadership of it changes.
    pub fn forget_state(&self, _partition: i32) {}

    /// Identifies the plugins, their order, aliases, configurations and error policies: a key for
    /// caches of results.
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        let mut text = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        for binding in self.bindings.iter() {
            text(&binding.plugin().digest().to_string());
            text(binding.alias());
            text(&format!("{:?}", binding.on_error()));
            text(&binding.config().len().to_string());
            for (key, value) in binding.config() {
                text(key);
                text(value);
            }
        }
        Digest(hash.finalize().into())
    }

    /// Blocks for as long as the plugins run: call it on the pool, never on an async worker.
    pub fn run(&self, input: &ChainInput<'_>) -> ChainOutcome {
        TABLES.with(|tables| match tables.try_borrow_mut() {
            Ok(mut tables) => {
                let (table, scratch) = &mut *tables;
                let outcome = self.run_with(input, table, scratch);
                table.shrink(KEPT_BYTES);
                scratch.shrink(KEPT_BYTES);
                outcome
            }
            // A chain inside a chain does not happen; were it to, it would bring its own buffers.
            Err(_) => self.run_with(input, &mut Table::default(), &mut Table::default()),
        })
    }

    fn run_with(
        &self,
        input: &ChainInput<'_>,
        table: &mut Table,
        scratch: &mut Table,
    ) -> ChainOutcome {
        let count = input.records.len();
        let mut result = ChainResult {
            keep: vec![true; count],
            all_kept: true,
            ..ChainResult::default()
        };
        let Some(first) = self.bindings.first().filter(|_| count > 0) else {
            return ChainOutcome::Done(result);
        };
        if table.fill(input.records, self.wanted).is_none() {
            return ChainOutcome::Failed(ChainFailure {
                alias: first.alias().to_owned(),
                kind: FailureKind::Unavailable,
                message: "the batch is too large for a plugin".to_owned(),
                temporary: false,
                policy: first.on_error(),
                record: None,
            });
        }
        let batch = Batch {
            input,
            table,
            tombstones: self.tombstones(input),
        };
        for binding in self.bindings.iter() {
            if let Err(failure) = Run::new(binding, &batch, scratch, &mut result).run() {
                return ChainOutcome::Failed(failure);
            }
            if input.side == Side::Produce && !result.rejected.is_empty() {
                // The batch is refused whatever the rest of the chain would say.
                break;
            }
        }
        result.rejected.sort_by_key(|rejection| rejection.index);
        if input.side == Side::Consume {
            result.rejected.clear();
        }
        result.all_kept = result.keep.iter().all(|keep| *keep);
        ChainOutcome::Done(result)
    }

    /// The records that filters must not see; empty when there are none.
    fn tombstones(&self, input: &ChainInput<'_>) -> Vec<bool> {
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
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.bindings.iter()).finish()
    }
}
