//! The consume side: what a consumer may see of the stored batches from an offset on.
//!
//! Replicas get the stored bytes; consumers get this. A produce-path filter leaves holes that every plain fetch meets,
//! so the rules below hold with or without a consume chain (stream semantics, "Consume path"): a batch that ends in a
//! hole is cut, one without anything for the reader is passed over, and a hole at the end is reported so that the
//! fetch can close the response with a gap marker.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_record::{Attributes, Batch, DecodeLimits, LeaderEpoch, Offset, RecordView, cut, gap};
use tidegate_storage::{AbortedTransaction, IndexRow, ReadError, StoreHealth, Stored};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::GapMode;
use crate::topics::ChainSlot;

use super::Partition;

/// Who asks for the end of a log waits no longer for its disk, which may be full or gone.
const SETTLE_AT_MOST: Duration = Duration::from_secs(5);
/// Stored bytes looked at in one step of a fetch; the fetch loops, so this bounds what one step holds up.
const STEP_BYTES: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    ReadUncommitted,
    ReadCommitted,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadFailure {
    #[error("the offset is outside the log")]
    OutOfRange,
    #[error("this broker does not have the partition")]
    NotLeader,
    #[error("the log cannot be read: {0}")]
    Storage(String),
    /// The consume chain stopped before a record, and its policy says to wait for somebody (rule 26).
    #[error("the consume chain stopped: {0}")]
    Chain(String),
}

/// Where a fetch stands in one partition. Made for a fetch offset, moved on by [`Partition::scan`].
pub(crate) struct Cursor {
    fetch_offset: Offset,
    isolation: Isolation,
    /// The reader is shown no control batches, so it cannot tell by itself what was aborted.
    without_control: bool,
    /// Whether the broker itself leaves out control batches and aborted records; open before the first step. One answer
    /// does one or the other, also where a consume chain comes or goes meanwhile.
    leaves_out: Option<bool>,
    next: Offset,
    /// Bytes ready to be sent, in order.
    batches: Vec<Bytes>,
    /// Where the reader stands when it has read `batches`.
    position: Offset,
    pub(crate) bytes: usize,
    pub(crate) records: usize,
    /// Stored bytes that were looked at, sent or not.
    pub(crate) scanned_bytes: usize,
    /// Set while nothing after the last batch in `batches` is left for this reader, up to its end.
    hole: Option<Hole>,
}

/// The end of a range in which a reader finds nothing.
#[derive(Debug, Clone, Copy)]
struct Hole {
    last_offset: Offset,
    /// Epoch of `last_offset`: clients take their position's epoch from what they are sent.
    epoch: LeaderEpoch,
    timestamp: i64,
}

/// What a fetch sends of one partition.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Whole batches in order, a gap marker last if there is one.
    pub(crate) batches: Vec<Bytes>,
    /// For a reader that cannot be told of the hole: where it will ask next, and where the scan then goes on.
    pub(crate) resume: Option<(Offset, Offset)>,
}

impl Cursor {
    /// For a reader at `fetch_offset`; up to `next` it is known that there is nothing for it.
    pub(crate) fn new(fetch_offset: Offset, next: Offset) -> Cursor {
        Cursor {
            fetch_offset,
            isolation: Isolation::ReadUncommitted,
            without_control: false,
            leaves_out: None,
            next: next.max(fetch_offset),
            batches: Vec::new(),
            position: fetch_offset,
            bytes: 0,
            records: 0,
            scanned_bytes: 0,
            hole: None,
        }
    }

    pub(crate) fn isolated(self, isolation: Isolation) -> Cursor {
        Cursor { isolation, ..self }
    }

    /// For a reader that does not know control batches: they are holes to it, and so are aborted records if it is to see
    /// committed ones only.
    pub(crate) fn without_control(self) -> Cursor {
        Cursor {
            without_control: true,
            ..self
        }
    }

    /// Closes the answer: tells the reader that nothing is left for it up to the end of what was looked at.
    pub(crate) fn finish(mut self, mode: GapMode) -> Answer {
        let mut resume = None;
        if let Some(hole) = self.open_hole() {
            let Hole {
                last_offset,
                epoch,
                timestamp,
            } = hole;
            let marker = match mode {
                GapMode::Marker => Some(gap::marker(last_offset, epoch, timestamp)),
                GapMode::Before if self.batches.is_empty() => Some(gap::before(
                    self.fetch_offset,
                    last_offset,
                    epoch,
                    timestamp,
                )),
                // Only alone in its response; the next fetch starts inside the hole and gets it then.
                GapMode::Before => None,
                GapMode::Cursor => {
                    resume = Some((self.position, last_offset + 1));
                    None
                }
            };
            self.batches.extend(marker.map(Batch::into_bytes));
        }
        Answer {
            batches: self.batches,
            resume,
        }
    }

    /// Whether `finish` would tell the reader anything.
    fn has_news(&self) -> bool {
        !self.batches.is_empty() || self.open_hole().is_some()
    }

    /// A hole that ends before the reader's position is none to it.
    fn open_hole(&self) -> Option<Hole> {
        self.hole.filter(|hole| hole.last_offset >= self.position)
    }

    fn send(&mut self, batch: Batch) {
        self.bytes += batch.size();
        self.records += batch.record_count();
        self.position = batch.last_offset() + 1;
        self.batches.push(batch.into_bytes());
        self.hole = None;
    }

    fn skip(&mut self, row: &IndexRow) {
        self.hole = Some(Hole {
            last_offset: row.last_offset,
            epoch: LeaderEpoch(row.leader_epoch),
            timestamp: row.max_timestamp,
        });
    }
}

impl Partition {
    /// End of what a consumer may see.
    pub(crate) fn visible_end(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadUncommitted => self.high_watermark(),
            Isolation::ReadCommitted => self.last_stable_offset(),
        }
    }

    /// Waits until consumers may see what is in the log now. A batch that was answered without a sync stands behind the high
    /// watermark until there is one, and whoever asks for the end of the log after that answer must find it there.
    pub(crate) async fn settled(&self) {
        let Some(end) = self.env.log.bounds(self.id).map(|bounds| bounds.end) else {
            return;
        };
        if self.high_watermark() >= end {
            return;
        }
        let wake = Arc::new(Notify::new());
        let deadline = Instant::now() + SETTLE_AT_MOST;
        loop {
            // Registered before looking, so that no move in between is missed.
            self.watch(&wake);
            let offline = matches!(self.env.log.health(), StoreHealth::Offline(_));
            if self.high_watermark() >= end || offline {
                return;
            }
            self.env.log.sync_soon();
            if tokio::time::timeout_at(deadline, wake.notified())
                .await
                .is_err()
            {
                return;
            }
        }
    }

    /// The aborted transactions that whoever reads with this cursor is told of. None where the broker left their records
    /// out itself: without its marker, a transaction on the list would take later ones of its producer with it.
    pub(crate) async fn aborted_for(
        self: &Arc<Self>,
        cursor: &Cursor,
    ) -> Result<Vec<AbortedTransaction>, ReadFailure> {
        match (cursor.isolation, cursor.leaves_out) {
            (Isolation::ReadCommitted, Some(false)) => {
                self.aborted(cursor.fetch_offset, cursor.next).await
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Checks a fetch offset: `log start <= offset <= log end`, as Kafka does.
    pub(crate) fn check_offset(&self, offset: Offset) -> Result<(), ReadFailure> {
        let bounds = self.env.log.bounds(self.id).ok_or(ReadFailure::NotLeader)?;
        match (bounds.start..=bounds.end).contains(&offset) {
            true => Ok(()),
            false => Err(ReadFailure::OutOfRange),
        }
    }

    /// One step of a fetch: looks at stored batches from where the cursor stands up to `end` and adds what the reader
    /// gets, until about `max_bytes` are collected. The first batch comes whole, whatever its size, if `at_least_one`.
    ///
    /// Returns whether there is more below `end` to look at.
    pub(crate) async fn scan(
        self: &Arc<Self>,
        cursor: &mut Cursor,
        end: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<bool, ReadFailure> {
        if cursor.next >= end || (cursor.bytes >= max_bytes && !(at_least_one && cursor.bytes == 0))
        {
            return Ok(false);
        }
        let want = max_bytes.saturating_sub(cursor.bytes).clamp(1, STEP_BYTES);
        let chain = match &self.topic.chains().consume {
            ChainSlot::Unavailable(reason) => return Err(ReadFailure::Chain(reason.clone())),
            ChainSlot::Ready(chain) => Some(chain.clone()),
            ChainSlot::None => None,
        };
        let leaves_out = chain.is_some() || cursor.without_control;
        if *cursor.leaves_out.get_or_insert(leaves_out) != leaves_out {
            return Ok(false);
        }
        // With a chain the bytes that are read say nothing about the bytes that are sent.
        let want = if chain.is_some() { STEP_BYTES } else { want };
        let stored = self.stored(cursor.next, end, want).await?;
        if stored.is_empty() {
            return Ok(false);
        }
        let left_out = match leaves_out {
            true => self.left_out(cursor.isolation, &stored).await?,
            false => LeftOut::Nothing,
        };
        let survivors = match chain {
            Some(chain) => self.filter(chain, stored, left_out).await?,
            None => stored
                .into_iter()
                .map(|item| match left_out.has(&item.row) {
                    true => Ok(Survivor::nothing(item.row)),
                    false => Survivor::plain(item),
                })
                .collect(),
        };
        for survivor in survivors {
            let survivor = match survivor {
                Ok(survivor) => survivor,
                // What stands before it is sent first; the failure is told to who asks from here (rule 26).
                Err(_) if cursor.has_news() => return Ok(false),
                Err(failure) => return Err(failure),
            };
            let fits = cursor.bytes + survivor.batch.len() <= max_bytes;
            if !fits && survivor.has_anything(cursor.next) && !(cursor.bytes == 0 && at_least_one) {
                return Ok(false);
            }
            cursor.scanned_bytes += survivor.row.size as usize;
            survivor.deliver(cursor)?;
        }
        Ok(cursor.next < end && cursor.bytes < max_bytes)
    }

    /// What of these batches a reader must not see who is shown no control batches (rule 18).
    async fn left_out(
        self: &Arc<Self>,
        isolation: Isolation,
        stored: &[Stored],
    ) -> Result<LeftOut, ReadFailure> {
        let (Some(first), Some(last)) = (stored.first(), stored.last()) else {
            return Ok(LeftOut::Nothing);
        };
        let aborted = match isolation {
            Isolation::ReadUncommitted => Vec::new(),
            Isolation::ReadCommitted => {
                self.aborted(first.row.base_offset, last.row.last_offset + 1)
                    .await?
            }
        };
        Ok(LeftOut::ControlAnd(aborted))
    }

    /// Every record from the log's start to its end, for the broker's own topics. Blocks on the disk.
    pub(crate) fn read_all(
        &self,
        each: &mut dyn FnMut(Offset, RecordView<'_>),
    ) -> Result<(), ReadFailure> {
        let bounds = self.env.log.bounds(self.id).ok_or(ReadFailure::NotLeader)?;
        let mut from = bounds.start;
        while from < bounds.end {
            let stored = self.env.log.read(self.id, from, bounds.end, STEP_BYTES)?;
            let Some(last) = stored.last() else {
                return Ok(());
            };
            from = last.row.last_offset + 1;
            for item in &stored {
                let batch = Batch::stored(item.batch.clone())?;
                if batch.header().attributes.is_control() {
                    continue;
                }
                for record in batch.records(self.limits())?.iter() {
                    each(batch.base_offset() + i64::from(record.offset_delta), record);
                }
            }
        }
        Ok(())
    }

    /// First record at or after a time: its offset, timestamp and leader epoch.
    pub(crate) async fn offset_for_time(
        self: &Arc<Self>,
        timestamp: i64,
        isolation: Isolation,
    ) -> Result<Option<(Offset, i64, i32)>, ReadFailure> {
        let partition = self.clone();
        let end = self.visible_end(isolation);
        blocking(move || {
            Ok(partition
                .env
                .log
                .lookup_timestamp(partition.id, timestamp, end)?)
        })
        .await
    }

    /// Offset and timestamp of the record with the greatest timestamp (KIP-734).
    pub(crate) async fn offset_of_max_time(
        self: &Arc<Self>,
        isolation: Isolation,
    ) -> Result<Option<(Offset, i64)>, ReadFailure> {
        let partition = self.clone();
        let end = self.visible_end(isolation);
        blocking(move || Ok(partition.env.log.max_timestamp(partition.id, end)?)).await
    }

    async fn stored(
        self: &Arc<Self>,
        from: Offset,
        end: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Stored>, ReadFailure> {
        if let Some(stored) = self.env.log.read_tail(self.id, from, end, max_bytes) {
            return Ok(stored);
        }
        let (log, id) = (&self.env.log, self.id);
        let stored = match log.read_recent(id, from, end, max_bytes) {
            Some(stored) => stored,
            None => {
                let partition = self.clone();
                let read = move || partition.env.log.read_shared(id, from, end, max_bytes);
                blocking(move || Ok(read()?)).await?
            }
        };
        // While these are on their way to the reader.
        if let Some(last) = stored.last()
            && let Some(ahead) = log.ahead(id, from, last.row.last_offset + 1, max_bytes)
        {
            drop(tokio::task::spawn_blocking(ahead));
        }
        Ok(stored)
    }

    pub(super) fn limits(&self) -> DecodeLimits {
        self.env.decoding.limits()
    }
}

/// Batches that are holes to a reader, whatever they hold.
pub(super) enum LeftOut {
    Nothing,
    /// Control batches, and what belongs to these transactions.
    ControlAnd(Vec<AbortedTransaction>),
}

impl LeftOut {
    pub(super) fn has(&self, row: &IndexRow) -> bool {
        let LeftOut::ControlAnd(aborted) = self else {
            return false;
        };
        let attributes = Attributes(row.attributes);
        attributes.is_control()
            || attributes.is_transactional()
                && aborted.iter().any(|transaction| {
                    transaction.producer_id == row.producer_id
                        && (transaction.first_offset..=transaction.last_offset)
                            .contains(&row.base_offset)
                })
    }
}

/// A stored batch with what is left of it for a reader.
#[derive(Clone)]
pub(super) struct Survivor {
    pub(super) row: IndexRow,
    pub(super) batch: Bytes,
    /// Offset delta of the last record in `batch`, -1 for none.
    pub(super) last_delta: i32,
}

impl Survivor {
    pub(super) fn nothing(row: IndexRow) -> Survivor {
        Survivor {
            row,
            batch: Bytes::new(),
            last_delta: -1,
        }
    }

    fn plain(stored: Stored) -> Result<Survivor, ReadFailure> {
        let last_delta = stored.row.last_surviving_delta;
        Ok(Survivor {
            row: stored.row,
            batch: stored.batch,
            last_delta,
        })
    }

    /// Whether a reader who stands at `next` finds a record here. A batch whose records all lie before it must not be
    /// sent: some clients crawl through its range one offset at a time.
    fn has_anything(&self, next: Offset) -> bool {
        self.last_delta >= 0 && self.row.base_offset + i64::from(self.last_delta) >= next
    }

    fn deliver(self, cursor: &mut Cursor) -> Result<(), ReadFailure> {
        let new = self.has_anything(cursor.next);
        cursor.next = self.row.last_offset + 1;
        if !new {
            cursor.skip(&self.row);
            return Ok(());
        }
        let batch = Batch::stored(self.batch)?;
        if self.last_delta >= batch.header().last_offset_delta {
            cursor.send(batch);
            return Ok(());
        }
        cursor.send(cut(&batch, self.last_delta));
        cursor.skip(&self.row);
        Ok(())
    }
}

/// Runs a disk read away from the socket threads.
pub(super) async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, ReadFailure> + Send + 'static,
) -> Result<T, ReadFailure> {
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|_| ReadFailure::Storage("the read was interrupted".into()))?
}

impl From<ReadError> for ReadFailure {
    fn from(error: ReadError) -> ReadFailure {
        match error {
            ReadError::OutOfRange { .. } => ReadFailure::OutOfRange,
            ReadError::UnknownPartition(_) => ReadFailure::NotLeader,
            ReadError::Store(error) => ReadFailure::Storage(error.to_string()),
        }
    }
}

impl From<tidegate_record::BatchError> for ReadFailure {
    fn from(error: tidegate_record::BatchError) -> ReadFailure {
        ReadFailure::Storage(error.to_string())
    }
}
