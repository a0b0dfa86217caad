//! The partition's own records for a coordinator that starts: everything in the log, transactions and all.

use tidegate_record::{Batch, EndMarker};

use super::Partition;
use super::read::ReadFailure;

/// Stored bytes read in one step.
const STEP_BYTES: usize = 1 << 20;

/// What a coordinator learns of its log, in its order.
pub(crate) enum Replayed<'a> {
    Record {
        /// Of the transaction that the record is part of.
        producer_id: Option<i64>,
        key: &'a [u8],
        value: Option<&'a [u8]>,
    },
    /// The producer's transaction ends here.
    Marker { producer_id: i64, commit: bool },
}

impl Partition {
    /// Shows every record with a key, and every transaction marker, up to the log's end. Blocks on the disk.
    pub(crate) fn replay(&self, each: &mut dyn FnMut(Replayed<'_>)) -> Result<(), ReadFailure> {
        let bounds = self.env.log.bounds(self.id).ok_or(ReadFailure::NotLeader)?;
        let mut from = bounds.start;
        while from < bounds.end {
            let stored = self.env.log.read(self.id, from, bounds.end, STEP_BYTES)?;
            let Some(last) = stored.last() else {
                return Ok(());
            };
            from = last.row.last_offset + 1;
            for item in &stored {
                self.replay_batch(&Batch::stored(item.batch.clone())?, each)?;
            }
        }
        Ok(())
    }

    fn replay_batch(
        &self,
        batch: &Batch,
        each: &mut dyn FnMut(Replayed<'_>),
    ) -> Result<(), ReadFailure> {
        let header = batch.header();
        if header.attributes.is_control() {
            if let Some(marker) = EndMarker::of(batch)? {
                each(Replayed::Marker {
                    producer_id: header.producer_id,
                    commit: marker.commit,
                });
            }
            return Ok(());
        }
        let transactional = header.attributes.is_transactional();
        let producer_id = transactional.then_some(header.producer_id);
        for record in batch.records(self.limits())?.iter() {
            if let Some(key) = record.key {
                each(Replayed::Record {
                    producer_id,
                    key,
                    value: record.value,
                });
            }
        }
        Ok(())
    }
}
