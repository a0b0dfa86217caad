//! Snapshots of producers, and what else makes the next start short.

use tidegate_record::PartitionId;

use super::{Log, lock};
use crate::{ProducerSnapshot, ReadError, StoreError};

impl Log {
    /// The partition's last producer snapshot; `None` when there is none, when it knows of more than the log holds, or
    /// when it is damaged: the rows tell the same, and a partition need not stay shut for it. Blocks on the disk.
    pub fn producers(&self, id: PartitionId) -> Result<Option<ProducerSnapshot>, ReadError> {
        let end = self.known(id)?.bounds().end;
        let found = match self.shared.store.producers(id) {
            Err(error @ StoreError::Corrupt(_)) => {
                tracing::error!(?id, %error, "the producer snapshot is damaged and not used");
                None
            }
            found => found?,
        };
        Ok(found.filter(|snapshot| snapshot.below <= end))
    }

    /// Replaces the partition's producer snapshot. Not synced: a crash may leave the one before. Blocks on the disk.
    pub fn keep_producers(
        &self,
        id: PartitionId,
        snapshot: &ProducerSnapshot,
    ) -> Result<(), ReadError> {
        // The log must not be truncated in between.
        let _admin = lock(&self.shared.admin);
        let partition = self.known(id)?;
        self.shared.check_online()?;
        if snapshot.below > partition.bounds().end {
            return Ok(());
        }
        Ok(self.guard(self.shared.store.put_producers(id, snapshot))?)
    }

    /// After [`Log::close`]: leaves as little as possible for the next start to replay. Blocks on the disk, for as long as
    /// it takes to write what is buffered.
    pub fn settle(&self) -> Result<(), StoreError> {
        self.shared.check_online()?;
        self.guard(self.shared.store.settle())
    }
}
