//! Where a leader's reign ended in the log (KIP-101, KIP-320).

use tidegate_record::{LeaderEpoch, Offset, PartitionId};

use super::Log;
use crate::ReadError;

impl Log {
    /// The end of an epoch: where the first batch of a later one begins, with the largest epoch up to the asked one that
    /// has batches (the asked one itself when none has). The current epoch ends at the log's end; a later one than that
    /// is `None`: this log has never heard of it. Blocks on the disk.
    pub fn end_of_epoch(
        &self,
        id: PartitionId,
        epoch: LeaderEpoch,
    ) -> Result<Option<(LeaderEpoch, Offset)>, ReadError> {
        let partition = self.known(id)?;
        let (current, bounds) = (partition.epoch(), partition.bounds());
        if epoch > current || epoch.0 < 0 {
            return Ok(None);
        }
        if epoch == current {
            return Ok(Some((epoch, bounds.end)));
        }
        let end = self.halve(id, bounds.end, |row| row.leader_epoch <= epoch.0)?;
        let before = match end > bounds.start {
            true => self.rows(id, end - 1, 1)?,
            false => Vec::new(),
        };
        let found = before
            .first()
            .map_or(epoch, |row| LeaderEpoch(row.leader_epoch));
        Ok(Some((found, end)))
    }
}
