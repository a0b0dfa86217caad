//! Stored records as they are, past every chain, for operators.

use tidegate_record::{Batch, Offset, RecordView};

use super::Partition;
use super::read::ReadFailure;

/// Stored bytes read in one step.
const STEP_BYTES: usize = 1 << 20;

impl Partition {
    /// Shows committed records from `from` on, up to `to`, until `each` says no. Gives the offset to go on from. Blocks on
    /// the disk.
    pub(crate) fn read_raw(
        &self,
        from: Offset,
        to: Offset,
        each: &mut dyn FnMut(Offset, RecordView<'_>) -> bool,
    ) -> Result<Offset, ReadFailure> {
        self.check_offset(from)?;
        let end = to.min(self.high_watermark());
        let mut next = from;
        while next < end {
            let stored = self.env.log.read(self.id, next, end, STEP_BYTES)?;
            let Some(last) = stored.last() else {
                break;
            };
            let after = last.row.last_offset + 1;
            for item in &stored {
                let batch = Batch::stored(item.batch.clone())?;
                if batch.header().attributes.is_control() || item.row.is_empty() {
                    continue;
                }
                for record in batch.records(self.limits())?.iter() {
                    let offset = batch.base_offset() + i64::from(record.offset_delta);
                    if offset >= next && offset < end && !each(offset, record) {
                        return Ok(offset);
                    }
                }
            }
            next = after;
        }
        Ok(next.min(end).max(from))
    }
}
