//! The consume chain: what is left of stored batches when a topic's consumers see them through plugins.
//!
//! Chains on this side are stateless (rule 19), so a result may be kept and shared by every consumer of the topic, and a
//! batch may be run again to find out how far it can be read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tidegate_plugin::{Chain, ChainFailure, ChainInput, ChainOutcome, ChainResult, Digest, Side};
use tidegate_record::{
    Batch, BatchError, Offset, PartitionId, Records, last_kept_delta, retain, rewrite,
};
use tidegate_storage::{IndexRow, Stored};

use super::Partition;
use super::read::{LeftOut, ReadFailure, Survivor};
use super::stops::Stop;
use super::stored_form::edit_of;

/// Bytes of filtered batches kept for other consumers, over all partitions.
const KEPT_BYTES: usize = 32 << 20;

impl Partition {
    /// Runs the consume chain over stored batches on the plugin pool, but for those that are left out: no plugin sees them.
    /// An error is the last item: nothing behind it was looked at.
    pub(super) async fn filter(
        self: &Arc<Self>,
        chain: Arc<Chain>,
        stored: Vec<Stored>,
        left_out: LeftOut,
    ) -> Result<Vec<Result<Survivor, ReadFailure>>, ReadFailure> {
        let (reply, survivors) = tokio::sync::oneshot::channel();
        let partition = self.clone();
        let job = Box::new(move || {
            let mut done = Vec::with_capacity(stored.len());
            for item in stored {
                if left_out.has(&item.row) {
                    done.push(Ok(Survivor::nothing(item.row)));
                    continue;
                }
                if let Err(failure) = partition.filter_one(&chain, item, &mut done) {
                    done.push(Err(failure));
                    break;
                }
            }
            // A closed receiver is a consumer that went away.
            drop(reply.send(done));
        });
        let busy = || ReadFailure::Chain("the plugin pool is full".into());
        self.env
            .engine
            .pool()
            .submit(self.topic.pool_key(), job)
            .map_err(|_| busy())?;
        survivors
            .await
            .map_err(|_| ReadFailure::Chain("the plugin host failed".into()))
    }

    fn filter_one(
        &self,
        chain: &Arc<Chain>,
        stored: Stored,
        done: &mut Vec<Result<Survivor, ReadFailure>>,
    ) -> Result<(), ReadFailure> {
        let Stored { row, batch: bytes } = stored;
        if row.last_surviving_delta < 0 {
            done.push(Ok(Survivor::nothing(row)));
            return Ok(());
        }
        let batch = Batch::stored(bytes)?;
        let keep_tombstones = self.topic.config().tombstones_bypass();
        let key = Key {
            partition: self.id,
            base_offset: row.base_offset,
            crc: batch.header().crc,
            chain: chain.digest(),
            keep_tombstones,
        };
        if let Some((batch, last_delta)) = self.env.chain_results.get(&key) {
            done.push(Ok(Survivor {
                row,
                batch,
                last_delta,
            }));
            return Ok(());
        }
        let stop = match self.stops.get(chain, row.base_offset) {
            Some(stop) => stop,
            None => match self.run_on(chain, row, &batch)? {
                Ok(survivor) => {
                    let kept = (survivor.batch.clone(), survivor.last_delta);
                    self.env.chain_results.keep(key, kept);
                    done.push(Ok(survivor));
                    return Ok(());
                }
                Err(stop) => stop,
            },
        };
        done.extend(stop.before.map(Ok));
        Err(ReadFailure::Chain(stop.sentence))
    }

    /// What the chain leaves of a batch, or where it stopped. That is remembered, unless it is trouble of the moment.
    fn run_on(
        &self,
        chain: &Arc<Chain>,
        row: IndexRow,
        batch: &Batch,
    ) -> Result<Result<Survivor, Stop>, ReadFailure> {
        let count = batch.record_count();
        let opened = self
            .env
            .decoding
            .open(count, |limits| batch.records(limits))?;
        let records = &opened.records;
        let stop = match self.run(chain, &row, records) {
            ChainOutcome::Done(result) => match self.survivor(row, batch, records, &result)? {
                Ok(survivor) => return Ok(Ok(survivor)),
                Err(stop) => stop,
            },
            ChainOutcome::Failed(failure) => {
                let stop = Stop {
                    before: self.before_poison(chain, &row, batch, records, &failure)?,
                    sentence: format!("plugin {}: {}", failure.alias, failure.message),
                };
                if failure.temporary {
                    return Ok(Err(stop));
                }
                stop
            }
        };
        self.stops.remember(chain, row.base_offset, stop.clone());
        Ok(Err(stop))
    }

    fn run(&self, chain: &Chain, row: &IndexRow, records: &Records) -> ChainOutcome {
        chain.run(&ChainInput {
            topic: self.topic.name(),
            partition: self.index,
            append_time_ms: row.append_time,
            base_offset: Some(row.base_offset),
            records,
            side: Side::Consume,
            keep_tombstones: self.topic.config().tombstones_bypass(),
            // What consumers see is compacted by nobody.
            fixed_keys: false,
        })
    }

    /// What stands before the record that broke the chain: consumers get up to it, not only up to its batch (rule 26).
    fn before_poison(
        &self,
        chain: &Chain,
        row: &IndexRow,
        batch: &Batch,
        records: &Records,
        failure: &ChainFailure,
    ) -> Result<Option<Survivor>, ReadFailure> {
        let poison = failure.record.filter(|index| *index > 0);
        let Some((index, poison)) = poison.and_then(|i| Some((i, records.get(i)?))) else {
            return Ok(None);
        };
        let row = IndexRow {
            last_offset: row.base_offset + i64::from(poison.offset_delta) - 1,
            ..*row
        };
        let prefix = retain(batch, records, |i| i < index)?;
        let records = prefix.records(self.limits())?;
        match self.run(chain, &row, &records) {
            ChainOutcome::Done(result) => Ok(self.survivor(row, &prefix, &records, &result)?.ok()),
            ChainOutcome::Failed(_) => Ok(None),
        }
    }

    /// The records that are left, with what transforms made of them. What could not be opened again is not made.
    fn survivor(
        &self,
        row: IndexRow,
        batch: &Batch,
        records: &Records,
        result: &ChainResult,
    ) -> Result<Result<Survivor, Stop>, ReadFailure> {
        let keep = |i: usize| result.keep.get(i).copied().unwrap_or(true);
        let edit = |i: usize| edit_of(&result.edits, i, result.edits.layers());
        let last_delta = last_kept_delta(records, keep);
        let rewritten = match result.edits.is_empty() {
            true => retain(batch, records, keep),
            false => {
                let max_bytes = self.env.decoding.max_bytes;
                rewrite(batch, records, keep, edit, batch.codec()?, max_bytes)
            }
        };
        Ok(match rewritten {
            Ok(batch) => Ok(Survivor {
                row,
                batch: batch.into_bytes(),
                last_delta,
            }),
            Err(BatchError::TooLarge) => Err(Stop {
                before: None,
                sentence: format!(
                    "plugins made the batch at offset {} larger than the broker sends",
                    row.base_offset
                ),
            }),
            Err(error) => return Err(error.into()),
        })
    }
}

/// Names a chain's result: the CRC tells a batch from another that once stood at its offset.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    partition: PartitionId,
    base_offset: Offset,
    crc: u32,
    chain: Digest,
    keep_tombstones: bool,
}

type Kept = (Bytes, i32);

/// Results of consume chains, so that ten consumers of a topic cost one run. Two generations: what was not asked for
/// while one filled up is forgotten with the next.
#[derive(Default)]
pub(crate) struct ChainResults {
    generations: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<Key, Kept>,
    young_bytes: usize,
    old: HashMap<Key, Kept>,
}

impl ChainResults {
    fn get(&self, key: &Key) -> Option<Kept> {
        let mut generations = self.lock();
        if let Some(kept) = generations.young.get(key) {
            return Some(kept.clone());
        }
        let kept = generations.old.remove(key)?;
        generations.insert(key.clone(), kept.clone());
        Some(kept)
    }

    fn keep(&self, key: Key, kept: Kept) {
        self.lock().insert(key, kept);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Generations> {
        self.generations
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Generations {
    fn insert(&mut self, key: Key, kept: Kept) {
        // An entry costs its key and its place too.
        let size = kept.0.len() + size_of::<(Key, Kept)>();
        if self.young_bytes + size > KEPT_BYTES / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        if size <= KEPT_BYTES / 2 {
            self.young_bytes += size;
            self.young.insert(key, kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(base_offset: Offset) -> Key {
        Key {
            partition: PartitionId(1),
            base_offset,
            crc: 0,
            chain: Digest([0; 32]),
            keep_tombstones: false,
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_used_stays() {
        let results = ChainResults::default();
        let megabyte = Bytes::from(vec![0; 1 << 20]);
        for offset in 0..200 {
            results.keep(key(offset), (megabyte.clone(), 0));
            assert!(results.get(&key(0)).is_some(), "{offset}");
        }
        let generations = results.lock();
        assert!(generations.young.len() + generations.old.len() <= KEPT_BYTES >> 20);
        assert!(!generations.young.contains_key(&key(1)) && !generations.old.contains_key(&key(1)));
    }
}
