//! What travels through the storage seam: index rows, partition entries, placed and stored batches.

use bytes::Bytes;
use tidegate_record::{Batch, HEADER_LEN, LeaderEpoch, Offset, PartitionId};

use crate::StoreError;

/// What is known of one stored batch without opening it.
///
/// Written in the same atomic write as the batch. The fetch encoder, time lookup, retention and
/// producer replay read rows, and open a batch only when its records are needed.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct IndexRow {
    /// Offset of the batch's first record position.
    pub base_offset: Offset,
    /// Last offset the batch covers; survivors may end before it.
    pub last_offset: Offset,
    /// Delta of the last record still in the batch; -1 when every record was dropped.
    pub last_surviving_delta: i32,
    /// Largest timestamp of the surviving records, as the batch header says (ms).
    pub max_timestamp: i64,
    /// Largest `max_timestamp` of this batch and all before it since the partition began or was
    /// last empty. It never decreases, so time lookup can search it by halving.
    pub max_timestamp_so_far: i64,
    /// Epoch of the leader that appended the batch.
    pub leader_epoch: i32,
    /// -1 when the producer is not idempotent.
    pub producer_id: i64,
    /// -1 when the producer is not idempotent.
    pub producer_epoch: i16,
    /// -1 when the producer is not idempotent.
    pub base_sequence: i32,
    /// Bytes of the whole batch, header included.
    pub size: u32,
    /// The batch's attributes as on the wire.
    pub attributes: i16,
    /// The broker's clock when the batch was appended (ms).
    pub append_time: i64,
    /// Bytes of this partition's batches written before this one. The difference of two rows'
    /// positions is the size of what lies between them, so no size ever needs a scan.
    pub position: u64,
    /// From then on (ms) the batch's tombstones may go; 0 before compaction first left some in it.
    pub delete_horizon: i64,
}

impl IndexRow {
    /// The row of `batch`, whose base offset and epoch are already in place.
    ///
    /// `position` and `so_far` (the partition's running maximum timestamp) are the caller's.
    pub fn of(
        batch: &Batch,
        last_surviving_delta: i32,
        append_time: i64,
        position: u64,
        so_far: i64,
    ) -> IndexRow {
        let header = batch.header();
        let counted = if last_surviving_delta < 0 {
            so_far
        } else {
            header.max_timestamp
        };
        IndexRow {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            last_surviving_delta,
            max_timestamp: header.max_timestamp,
            max_timestamp_so_far: so_far.max(counted),
            leader_epoch: header.leader_epoch,
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            size: u32::try_from(batch.bytes().len()).unwrap_or(u32::MAX),
            attributes: header.attributes.0,
            append_time,
            position,
            delete_horizon: 0,
        }
    }

    /// True when every record of the batch was dropped: a header that only holds the offsets.
    pub fn is_empty(&self) -> bool {
        self.last_surviving_delta < 0
    }

    /// Last offset that still has a record; `None` for an empty batch.
    pub fn last_surviving_offset(&self) -> Option<Offset> {
        (!self.is_empty()).then(|| {
            self.base_offset
                .saturating_add(i64::from(self.last_surviving_delta))
        })
    }

    /// Position right behind this batch.
    pub fn end_position(&self) -> u64 {
        self.position.saturating_add(u64::from(self.size))
    }

    /// The relations every row keeps; what comes from disk is checked against them.
    pub(crate) fn is_plausible(&self) -> bool {
        let delta = self.last_offset.checked_sub(self.base_offset);
        self.base_offset >= 0
            && delta.is_some_and(|d| (0..=i64::from(i32::MAX)).contains(&d))
            && self.last_surviving_delta >= -1
            && delta.is_some_and(|d| i64::from(self.last_surviving_delta) <= d)
            && self.last_offset < i64::MAX
            && self.size as usize >= HEADER_LEN
    }
}

/// One partition a store holds.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct PartitionEntry {
    /// Store-wide, never reused.
    pub id: PartitionId,
    /// The topic's id; a deleted and recreated topic has another.
    pub topic_id: [u8; 16],
    /// The partition's number within its topic.
    pub index: i32,
    /// First offset readers may see. It only grows.
    pub log_start: Offset,
}

impl PartitionEntry {
    /// Refuses another partition under an id that is taken: ids are never reused, so this is a
    /// mix-up that would hand one topic's records to another.
    pub(crate) fn same_partition(&self, other: &PartitionEntry) -> Result<(), StoreError> {
        if self.topic_id == other.topic_id && self.index == other.index {
            return Ok(());
        }
        Err(StoreError::Invalid(format!(
            "partition {:?} belongs to another topic",
            self.id
        )))
    }
}

/// One batch to write: its final bytes and its row.
#[derive(Copy, Clone, Debug)]
pub struct Placed<'a> {
    /// Where it goes.
    pub id: PartitionId,
    /// Its row; `row.size == bytes.len()`.
    pub row: IndexRow,
    /// The batch with base offset and leader epoch already in place.
    pub bytes: &'a Bytes,
    /// What its writer noted of it; see [`crate::Log::note`].
    pub note: Option<&'a Bytes>,
    /// For a marker: the transaction that it aborted.
    pub aborted: Option<AbortedTransaction>,
}

/// What a marker aborted. Kept in an index of its own, under the marker's offset, so that a reader who stands before the
/// marker can be told which records to leave out.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct AbortedTransaction {
    /// Whose it was.
    pub producer_id: i64,
    /// Where its first batch stands.
    pub first_offset: Offset,
    /// Where its marker stands.
    pub last_offset: Offset,
    /// At most the first offset of every transaction that ended behind this one: a search for what overlaps a range may
    /// stop at the first entry whose stable offset lies behind it.
    pub stable_offset: Offset,
}

impl AbortedTransaction {
    /// The relations every entry keeps; what comes from disk is checked against them.
    pub(crate) fn is_plausible(&self) -> bool {
        let offsets = 0..=self.last_offset;
        self.producer_id >= 0
            && offsets.contains(&self.first_offset)
            && offsets.contains(&self.stable_offset)
    }
}

/// What the writer of an ABORT marker knows of the transaction that it ends.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Aborts {
    /// Where its first batch stands.
    pub first_offset: Offset,
    /// The last stable offset of the partition.
    pub stable_offset: Offset,
}

/// What compaction makes of one stored batch.
#[derive(Copy, Clone, Debug)]
pub enum Change<'a> {
    /// It goes, with its row and its note.
    Remove(Offset),
    /// Its row is another: its place moved.
    Row(IndexRow),
    /// It lost records, and its row follows; `row.size == bytes.len()`. Its note stays.
    Rewrite(IndexRow, &'a Bytes),
}

/// One batch read back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stored {
    /// The batch's row.
    pub row: IndexRow,
    /// The batch as it was written.
    pub batch: Bytes,
}

impl Stored {
    /// That the batch is whole, by its CRC, and is what its row says; else a sentence that says what is wrong. Costs a
    /// pass over its bytes.
    pub fn check(&self) -> Result<(), String> {
        let batch = Batch::check(self.batch.clone())
            .map_err(|error| format!("the batch is damaged: {error}"))?;
        let (row, header) = (&self.row, batch.header());
        let pairs = [
            ("size", i64::from(row.size), batch.size() as i64),
            ("base offset", row.base_offset, header.base_offset),
            ("last offset", row.last_offset, header.last_offset()),
            (
                "leader epoch",
                i64::from(row.leader_epoch),
                i64::from(header.leader_epoch),
            ),
            ("producer id", row.producer_id, header.producer_id),
            (
                "producer epoch",
                i64::from(row.producer_epoch),
                i64::from(header.producer_epoch),
            ),
            (
                "base sequence",
                i64::from(row.base_sequence),
                i64::from(header.base_sequence),
            ),
            (
                "attributes",
                i64::from(row.attributes),
                i64::from(header.attributes.0),
            ),
        ];
        match pairs.iter().find(|(_, row, batch)| row != batch) {
            Some((field, row, batch)) => Err(format!(
                "row and batch disagree: {field} is {row} in the row, {batch} in the batch"
            )),
            None => Ok(()),
        }
    }
}

/// What a partition's owner knows of its producers, kept so that a start need not read every row.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProducerSnapshot {
    /// Every batch below this offset is reflected; those from it on are not, or need not be.
    pub below: Offset,
    /// Opaque here.
    pub state: Bytes,
}

/// Where a partition's log begins and ends.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// First offset that may be read.
    pub start: Offset,
    /// Offset the next record will get.
    pub end: Offset,
    /// Everything below it survives a power cut.
    pub synced_end: Offset,
}

/// How far a partition got; see [`crate::Log::on_progress`].
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Progress {
    /// The partition.
    pub id: PartitionId,
    /// Its log end offset.
    pub end: Offset,
    /// Its synced end.
    pub synced_end: Offset,
}

/// When what a partition appends must be on disk although no append waits for it (Kafka's `flush.messages` and
/// `flush.ms`). Both `None`: within [`crate::LogOptions::lazy_sync_ms`].
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct FlushPolicy {
    /// A sync follows when so many records are not on disk yet.
    pub messages: Option<u64>,
    /// A sync follows when the oldest of them has waited so long (ms).
    pub ms: Option<u64>,
}

impl FlushPolicy {
    /// How long the next sync may take, now that so many records wait for it (ms). `None`: nothing asks for one.
    pub(crate) fn patience_ms(self, unsynced: u64, lazy_ms: u64) -> Option<u64> {
        match self.messages {
            Some(messages) if unsynced >= messages => Some(0),
            Some(_) => self.ms,
            None => Some(self.ms.unwrap_or(lazy_ms)),
        }
    }
}

/// What may be deleted from the front of a log. Both `None`: nothing.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct RetentionPolicy {
    /// Batches whose newest record is older than this go (ms).
    pub max_age_ms: Option<i64>,
    /// The oldest batches go as long as at least this much stays (bytes).
    pub max_bytes: Option<u64>,
}

/// When and how a log is compacted.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct CompactionPolicy {
    /// The broker's clock (ms).
    pub now_ms: i64,
    /// Batches that reach this offset are left alone (the high watermark).
    pub to: Offset,
    /// Batches younger than this are left alone (ms).
    pub min_lag_ms: i64,
    /// A batch that waits longer than this makes the log worth a pass (ms).
    pub max_lag_ms: i64,
    /// So does this share of bytes that were never compacted.
    pub min_dirty_ratio: f64,
    /// How long a tombstone stays after the pass that removed what it deletes (ms).
    pub delete_retention_ms: i64,
    /// Keys remembered in one pass, 24 bytes each and the map around them; the next goes on.
    pub max_keys: usize,
}

/// What one pass of compaction did.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Compaction {
    /// Below it every key stands once, as far as its latest record is below it too.
    pub cleaned: Offset,
    /// Records it read.
    pub records: u64,
    /// Records it removed.
    pub removed: u64,
    /// Bytes of the batches before it.
    pub bytes_before: u64,
    /// Bytes of what is left of them.
    pub bytes_after: u64,
}

/// Whether the store still takes writes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StoreHealth {
    /// All is well.
    Online,
    /// A write or sync failed, with its reason; nothing is acknowledged until a restart.
    Offline(String),
}

/// One batch of an append.
#[derive(Clone, Debug)]
pub struct AppendPart {
    /// Where it goes.
    pub id: PartitionId,
    /// Leader epoch taken at admission; the append is refused when it is no longer current.
    pub epoch: LeaderEpoch,
    /// The batch; base offset and leader epoch are patched when it is placed.
    pub batch: Batch,
    /// Delta of the last surviving record; -1 when every record was dropped.
    pub last_surviving_delta: i32,
}

/// Where one part ended up.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Appended {
    /// Offset given to the batch.
    pub base_offset: Offset,
    /// Last offset the batch covers.
    pub last_offset: Offset,
    /// Log start of the partition at that time.
    pub log_start: Offset,
}
