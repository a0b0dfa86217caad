//! The low seam: what a store of partition logs promises, whatever holds the bytes.

use bytes::Bytes;
use tidegate_record::{Offset, PartitionId};

use crate::{
    AbortedTransaction, Change, IndexRow, PartitionEntry, Placed, ProducerSnapshot, StoreError,
    Stored,
};

/// A durable set of partition logs. Synchronous; every call may block on disk.
///
/// # Promises
///
/// - **Threads.** All methods may be called from any thread at once. Writes of one partition come
///   from one thread at a time (the writer); reads run beside them and see each [`write`] wholly
///   or not at all.
/// - **Durability.** `create_partitions`, `delete_partitions`, `set_log_start` and `truncate` are on
///   disk when they return. `write` is only after a later [`sync`] returned; a crash of the process
///   alone loses no write that returned, and a crash of the machine loses a suffix of the writes,
///   never one before another that stays. A store that opens with less than was synced a second
///   before the crash is refused with [`StoreError::Lost`].
/// - **Order.** Rows of a partition ascend and do not overlap. Offsets may have holes only where
///   the writer left them.
/// - **Failure.** After a failed `sync` the store must not be written again: what reached the disk
///   is unknown, and a second fsync may succeed without having written anything. The caller keeps
///   that rule ([`crate::Log`] does). `StoreError::DiskFull` from `write` means that nothing of
///   it is visible.
/// - **Foreign bytes.** What is on disk is checked before it is believed: damage is
///   [`StoreError::Corrupt`], never a panic and never an allocation of a size read from disk.
///
/// [`write`]: LogStore::write
/// [`sync`]: LogStore::sync
pub trait LogStore: Send + Sync + 'static {
    /// Every partition the store holds, by ascending id, also those nobody asked for: the broker
    /// quarantines a partition its metadata does not know, and must see it to do so.
    fn partitions(&self) -> Result<Vec<PartitionEntry>, StoreError>;

    /// Adds partitions, empty, their ends at `log_start`: all of them or none, with one sync.
    /// Idempotent: a partition that exists with the same topic and index stays as it is, log start
    /// included; another one under the same id is [`StoreError::Invalid`].
    fn create_partitions(&self, entries: &[PartitionEntry]) -> Result<(), StoreError>;

    /// Removes partitions and their logs at once, all of them or none, with one sync; the space
    /// comes back in the background. Removing what is not there is no error, so that a delete can
    /// be repeated after a crash.
    fn delete_partitions(&self, ids: &[PartitionId]) -> Result<(), StoreError>;

    /// [`create_partitions`](LogStore::create_partitions) for one.
    fn create_partition(&self, entry: &PartitionEntry) -> Result<(), StoreError> {
        self.create_partitions(std::slice::from_ref(entry))
    }

    /// [`delete_partitions`](LogStore::delete_partitions) for one.
    fn delete_partition(&self, id: PartitionId) -> Result<(), StoreError> {
        self.delete_partitions(&[id])
    }

    /// Writes batches, rows, notes and aborted transactions of any partitions atomically: a crash leaves all of them or none.
    /// Not synced. Refused whole when a partition is unknown.
    fn write(&self, writes: &[Placed<'_>]) -> Result<(), StoreError>;

    /// When it returns, everything written before the call is on disk.
    fn sync(&self) -> Result<(), StoreError>;

    /// Batches from the one containing `from` (or the next one after a hole), ascending, with
    /// `base_offset < to`. At least one when there is any, whatever `max_bytes` says; then as many
    /// as fit. The log start is not consulted, the caller keeps to it.
    fn read(
        &self,
        id: PartitionId,
        from: Offset,
        to: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Stored>, StoreError>;

    /// At most `limit` rows from the one containing `from` (or the next one), ascending.
    fn rows(
        &self,
        id: PartitionId,
        from: Offset,
        limit: usize,
    ) -> Result<Vec<IndexRow>, StoreError>;

    /// The base offset and note of the batch containing `offset`; `None` where there is no such
    /// batch, or it was written without one. A note lives exactly as long as its batch's row.
    fn note(&self, id: PartitionId, offset: Offset) -> Result<Option<(Offset, Bytes)>, StoreError>;

    /// At most `limit` aborted transactions whose marker stands at or behind `from`, ascending by marker. An entry lives
    /// exactly as long as its marker's row.
    fn aborted(
        &self,
        id: PartitionId,
        from: Offset,
        limit: usize,
    ) -> Result<Vec<AbortedTransaction>, StoreError>;

    /// The last row of the partition; `None` when it is empty.
    fn last_row(&self, id: PartitionId) -> Result<Option<IndexRow>, StoreError>;

    /// Log end offset as found in the store: behind the last row, at the log start without rows.
    fn end(&self, id: PartitionId) -> Result<Offset, StoreError>;

    /// Moves the log start forward, durably. A start at or below the present one changes nothing.
    fn set_log_start(&self, id: PartitionId, start: Offset) -> Result<(), StoreError>;

    /// Deletes every batch that lies wholly below `start`; the space comes back in the background.
    /// Call [`set_log_start`](LogStore::set_log_start) first: readers must not see holes.
    fn delete_below(&self, id: PartitionId, start: Offset) -> Result<(), StoreError>;

    /// Applies what compaction made of some batches, and remembers that the log is compacted below
    /// `cleaned`: all or nothing, not synced. Only batches that are there may be named.
    fn compact(
        &self,
        id: PartitionId,
        changes: &[Change<'_>],
        cleaned: Offset,
    ) -> Result<(), StoreError>;

    /// How far the log is compacted; 0 before the first time.
    fn cleaned(&self, id: PartitionId) -> Result<Offset, StoreError>;

    /// The last producer snapshot of the partition; `None` when there is none.
    fn producers(&self, id: PartitionId) -> Result<Option<ProducerSnapshot>, StoreError>;

    /// Replaces the partition's producer snapshot. Not synced; a crash leaves the old one or the new one, and never a
    /// snapshot without the batches that were written before it.
    fn put_producers(&self, id: PartitionId, snapshot: &ProducerSnapshot)
    -> Result<(), StoreError>;

    /// Before a clean stop: moves what a start would have to replay to where it need not, durably. Writes after it are
    /// taken as ever.
    fn settle(&self) -> Result<(), StoreError>;

    /// Deletes every batch with a record at or above `to`, durably, and a producer snapshot that knows of one.
    fn truncate(&self, id: PartitionId, to: Offset) -> Result<(), StoreError>;
}

/// The metadata commands of a cluster: an ordered log, and an image that replaces its beginning.
///
/// Indexes begin at 1 and have no holes. One caller appends at a time.
pub trait CommandLog: Send + Sync + 'static {
    /// Appends a command; it is on disk when its index is returned. After an error the log
    /// accepts nothing more, because what reached the disk is unknown.
    fn append(&self, command: &[u8]) -> Result<u64, StoreError>;

    /// Calls `f` with every command whose index is at least `from` and above the snapshot's, in
    /// order; stops at the first error `f` returns and returns it.
    // The type is its own best name; an alias would have to be imported by every implementation.
    #[allow(clippy::type_complexity)]
    fn replay(
        &self,
        from: u64,
        f: &mut dyn FnMut(u64, &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;

    /// Stores `image` as the effect of all commands up to and including `index`, which are then
    /// forgotten. Durable and atomic.
    fn snapshot(&self, index: u64, image: &[u8]) -> Result<(), StoreError>;

    /// The newest snapshot with its index.
    fn load_snapshot(&self) -> Result<Option<(u64, Vec<u8>)>, StoreError>;
}
