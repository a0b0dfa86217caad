//! Stored batches one after the other, with everything that their headers say.

use tidegate_record::{
    Batch, BatchError, BatchHeader, DecodeLimits, Offset, PartitionId, RecordView,
};
use tidegate_storage::{IndexRow, Stored};

use super::{DataDir, OfflineError, StoredPartition};

/// Stored bytes read in one step.
const STEP_BYTES: usize = 1 << 20;
/// Most that the records of one batch may come to.
const LIMITS: DecodeLimits = DecodeLimits {
    max_bytes: 256 << 20,
    max_records: 10_000_000,
};

/// One batch as it lies in the store.
#[derive(Clone, Debug)]
pub struct DumpedBatch {
    pub header: BatchHeader,
    /// Bytes of the partition's batches written before this one; compaction moves it.
    pub position: u64,
    /// Bytes of the whole batch.
    pub size: u32,
    /// Last offset that still has a record; `None` when no record is left.
    pub last_surviving_offset: Option<Offset>,
    /// The broker's clock when it was appended (ms).
    pub append_time: i64,
    /// From when on its tombstones may go (ms); `None` before compaction left some in it.
    pub delete_horizon: Option<i64>,
    /// What is wrong with it: its CRC, or that its row says something else.
    pub damage: Option<String>,
    /// Its records, if they were asked for; or why they cannot be shown.
    pub records: Result<Vec<DumpedRecord>, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpedRecord {
    pub offset: Offset,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// For a record of a control batch: `COMMIT`, `ABORT`, or its type's number.
    pub control: Option<String>,
}

impl DataDir {
    /// Shows the batches of a partition, from the one that holds `from` on, until `each` says no.
    pub fn dump(
        &self,
        partition: &StoredPartition,
        from: Offset,
        with_records: bool,
        each: &mut dyn FnMut(DumpedBatch) -> bool,
    ) -> Result<(), OfflineError> {
        let mut next = from;
        loop {
            let found = self
                .records
                .read(PartitionId(partition.id), next, STEP_BYTES)?;
            let Some(last) = found.last() else {
                return Ok(());
            };
            next = last.row.last_offset.saturating_add(1);
            for stored in found {
                if let Some(batch) = dumped(stored, with_records)
                    && !each(batch)
                {
                    return Ok(());
                }
            }
        }
    }
}

/// `None` for bytes that do not even begin like a batch, which the store's own checks refuse before.
fn dumped(stored: Stored, with_records: bool) -> Option<DumpedBatch> {
    let damage = stored.check().err();
    let Stored { row, batch: bytes } = stored;
    let header = BatchHeader::parse(&bytes).ok()?;
    let records = match with_records {
        true => Batch::stored(bytes)
            .and_then(|batch| records(&batch))
            .map_err(|error| error.to_string()),
        false => Ok(Vec::new()),
    };
    Some(DumpedBatch {
        header,
        position: row.position,
        size: row.size,
        last_surviving_offset: survivor(&row),
        append_time: row.append_time,
        delete_horizon: (row.delete_horizon > 0).then_some(row.delete_horizon),
        damage,
        records,
    })
}

fn survivor(row: &IndexRow) -> Option<Offset> {
    let delta = i64::from(row.last_surviving_delta);
    (delta >= 0).then(|| row.base_offset.saturating_add(delta))
}

fn records(batch: &Batch) -> Result<Vec<DumpedRecord>, BatchError> {
    let control = batch.header().attributes.is_control();
    let records = batch.records(LIMITS)?;
    Ok(records
        .iter()
        .map(|record| DumpedRecord {
            offset: batch
                .base_offset()
                .saturating_add(i64::from(record.offset_delta)),
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: headers(&record),
            control: control.then(|| control_type(record.key)),
        })
        .collect())
}

fn headers(record: &RecordView<'_>) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let owned = |(name, value): (&[u8], Option<&[u8]>)| (name.to_vec(), value.map(<[u8]>::to_vec));
    record.headers().map(owned).collect()
}

/// A control record's key is its version and its type, two bytes each (KIP-98).
fn control_type(key: Option<&[u8]>) -> String {
    match key {
        Some([_, _, 0, 0]) => "ABORT".to_owned(),
        Some([_, _, 0, 1]) => "COMMIT".to_owned(),
        Some([_, _, high, low]) => i16::from_be_bytes([*high, *low]).to_string(),
        _ => "?".to_owned(),
    }
}
