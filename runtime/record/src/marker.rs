//! End-of-transaction markers (KIP-98): what a transaction coordinator writes into each partition of a transaction.
//!
//! A marker is the one record of a control batch of its producer, without a sequence:
//!
//! ```text
//! key    0 version i16 = 0    2 type i16 (0 = ABORT, 1 = COMMIT)
//! value  0 version i16 = 0    2 coordinator epoch i32
//! ```

use crate::{
    Batch, BatchBuilder, BatchError, BuildError, Codec, DecodeLimits, Producer, RecordParts,
};
use crate::{NO_SEQUENCE, RecordView};

const ABORT: i16 = 0;
const COMMIT: i16 = 1;
/// Larger than any marker; what claims to be larger is none.
const LIMITS: DecodeLimits = DecodeLimits {
    max_bytes: 1 << 10,
    max_records: 1,
};

/// How a transaction ended.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct EndMarker {
    /// False: its records are to be taken for never written.
    pub commit: bool,
    /// Of the coordinator that says so; an older one's markers are refused.
    pub coordinator_epoch: i32,
}

impl EndMarker {
    /// The control batch that says it. `timestamp` is in milliseconds; place and leader epoch come with the append.
    ///
    /// # Errors
    /// None that a caller could cause: one short record always fits a batch.
    pub fn batch(
        self,
        producer_id: i64,
        producer_epoch: i16,
        timestamp: i64,
    ) -> Result<Batch, BuildError> {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.transactional = true;
        builder.control = true;
        builder.producer = Producer {
            id: producer_id,
            epoch: producer_epoch,
            base_sequence: NO_SEQUENCE,
        };
        let kind = if self.commit { COMMIT } else { ABORT };
        let [high, low] = kind.to_be_bytes();
        let [a, b, c, d] = self.coordinator_epoch.to_be_bytes();
        builder.push(RecordParts {
            timestamp,
            key: Some(&[0, 0, high, low]),
            value: Some(&[0, 0, a, b, c, d]),
            ..RecordParts::default()
        })?;
        builder.build()
    }

    /// What a stored control batch says; `None` for one of another kind, which later versions may write.
    ///
    /// # Errors
    /// A batch that cannot be opened.
    pub fn of(batch: &Batch) -> Result<Option<EndMarker>, BatchError> {
        if !batch.header().attributes.is_control() {
            return Ok(None);
        }
        let records = batch.records(LIMITS)?;
        Ok(records.get(0).and_then(|record| EndMarker::read(&record)))
    }

    /// Reads what every version of a marker begins with; a later one may add fields behind.
    fn read(record: &RecordView<'_>) -> Option<EndMarker> {
        let (_version, key) = record.key?.split_first_chunk::<2>()?;
        let (kind, _) = key.split_first_chunk::<2>()?;
        let (_version, value) = record.value?.split_first_chunk::<2>()?;
        let (epoch, _) = value.split_first_chunk::<4>()?;
        let commit = match i16::from_be_bytes(*kind) {
            ABORT => false,
            COMMIT => true,
            _ => return None,
        };
        Some(EndMarker {
            commit,
            coordinator_epoch: i32::from_be_bytes(*epoch),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn markers_read_back(commit: bool, coordinator_epoch: i32, id in 0..i64::MAX, epoch: i16,
            timestamp in 0..i64::MAX) {
            let marker = EndMarker { commit, coordinator_epoch };
            let batch = marker.batch(id, epoch, timestamp).unwrap();
            let header = *batch.header();
            prop_assert!(header.attributes.is_control() && header.attributes.is_transactional());
            prop_assert_eq!((header.producer_id, header.producer_epoch), (id, epoch));
            prop_assert_eq!((header.base_sequence, header.record_count), (-1, 1));
            prop_assert_eq!(header.max_timestamp, timestamp);
            let read = Batch::check(batch.into_bytes()).unwrap();
            prop_assert_eq!(EndMarker::of(&read).unwrap(), Some(marker));
        }
    }

    #[test]
    fn a_commit_looks_as_kafkas() {
        let marker = EndMarker {
            commit: true,
            coordinator_epoch: 0,
        };
        let batch = marker.batch(1 << 62, 0, 0x018b_cfe5_6800).unwrap();
        // The gap marker is such a marker, and was tried with fifteen clients.
        let gap = crate::gap::marker(0, crate::LeaderEpoch(0), 0x018b_cfe5_6800);
        assert_eq!(batch.place(0, crate::LeaderEpoch(0)).bytes(), gap.bytes());
    }

    #[test]
    fn other_batches_are_none() {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(RecordParts::default()).unwrap();
        assert_eq!(EndMarker::of(&builder.build().unwrap()).unwrap(), None);
        for key in [&[0, 0, 0, 2][..], &[0, 0, 0], &[]] {
            let mut builder = BatchBuilder::new(Codec::None);
            builder.control = true;
            let record = RecordParts {
                key: Some(key),
                value: Some(&[0; 6]),
                ..RecordParts::default()
            };
            builder.push(record).unwrap();
            assert_eq!(
                EndMarker::of(&builder.build().unwrap()).unwrap(),
                None,
                "{key:?}"
            );
        }
    }
}
