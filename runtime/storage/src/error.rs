//! Errors of the storage seam, one type per operation.

use thiserror::Error;
use tidegate_record::{LeaderEpoch, Offset, PartitionId};

/// Why a [`crate::LogStore`] or [`crate::CommandLog`] could not do what was asked.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// The disk is full. Nothing of the write is visible; it may be tried again later.
    #[error("no space left: {0}")]
    DiskFull(String),
    /// The file system or the database under the store failed.
    #[error("i/o: {0}")]
    Io(String),
    /// What is on disk is not what was written.
    #[error("corrupt store: {0}")]
    Corrupt(String),
    /// Less was found on disk than had been synced: a file is damaged or missing.
    #[error(
        "{path} lost writes that were on disk: what could be recovered ends at sequence {found}, but {floor} had been \
         synced, so at least {} of its entries are missing. A write-ahead log (*.log) is damaged or missing. Restore the \
         directory from a backup, or, to go on with what is left, remove the file {path}/{}",
        floor - found, crate::rocks::FLOOR_FILE
    )]
    Lost {
        /// Directory of the database.
        path: String,
        /// Sequence of the last entry that was recovered.
        found: u64,
        /// Sequence of the last entry that was known to be synced.
        floor: u64,
    },
    /// Another process has it open.
    #[error("{0} is in use: a broker or another command has it open")]
    InUse(String),
    /// The store was written by a version this one does not know.
    #[error("store format {found} is not supported (this version reads {supported})")]
    UnsupportedFormat {
        /// Format on disk.
        found: u32,
        /// Format this version writes.
        supported: u32,
    },
    /// The store has no such partition.
    #[error("unknown partition {0:?}")]
    UnknownPartition(PartitionId),
    /// The caller broke the operation's precondition.
    #[error("invalid argument: {0}")]
    Invalid(String),
    /// An earlier write or sync failed; nothing is accepted until a restart.
    #[error("store is offline: {0}")]
    Offline(String),
}

/// Why a read was refused.
#[derive(Clone, Debug, Error)]
pub enum ReadError {
    /// The offset lies outside the log.
    #[error("offset out of range: log is [{start}, {end})")]
    OutOfRange {
        /// First readable offset.
        start: Offset,
        /// Log end offset.
        end: Offset,
    },
    /// The store has no such partition.
    #[error("unknown partition {0:?}")]
    UnknownPartition(PartitionId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an append was refused. Nothing of it is in the log, unless the store went offline in the
/// middle of it: then its fate is unknown, as after a crash.
#[derive(Clone, Debug, Error)]
pub enum AppendError {
    /// The store has no such partition.
    #[error("unknown partition {0:?}")]
    UnknownPartition(PartitionId),
    /// The leader epoch changed between admission and append.
    #[error("partition {id:?} is at epoch {current:?}, the append carries {given:?}")]
    StaleEpoch {
        /// The partition.
        id: PartitionId,
        /// Epoch the append carries.
        given: LeaderEpoch,
        /// Epoch of the partition.
        current: LeaderEpoch,
    },
    /// The part contradicts itself, for example a surviving delta beyond the batch's last one.
    #[error("invalid append: {0}")]
    Invalid(String),
    /// Its late parts could not be made, for this reason.
    #[error("the rest of the append could not be made: {0}")]
    Late(String),
    /// A write or sync failed; nothing is acknowledged any more.
    #[error("store is offline: {0}")]
    Offline(String),
    /// An earlier append of the same lane was refused.
    #[error("an earlier append in the same lane was refused")]
    LaneBroken,
    /// The write did not happen, for example because the disk is full. It may be tried again.
    #[error("store: {0}")]
    Store(String),
}
