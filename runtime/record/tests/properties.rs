//! What holds for every batch: round trips, sparse batches against a model, no panics.

mod common;

use bytes::Bytes;
use common::{Owned, OwnedHeader, WIDE, build, codec, own, records, reseal};
use proptest::prelude::*;
use tidegate_record::{
    Batch, BatchBuilder, BatchError, BatchHeader, CheckedBatch, Codec, DecodeLimits, LeaderEpoch,
    Producer, RecordEditParts, cut, last_kept_delta, last_surviving_delta, recode, retain, rewrite,
};

fn max_timestamp(records: &[Owned]) -> i64 {
    records.iter().map(|record| record.timestamp).max().unwrap()
}

proptest! {
    #[test]
    fn what_was_built_is_read_back(codec in codec(), model in records(3)) {
        let batch = Batch::check(build(codec, &model).into_bytes()).unwrap();
        let records = batch.records(WIDE).unwrap();
        prop_assert_eq!(own(&records), model.clone());
        prop_assert_eq!(batch.header().max_timestamp, max_timestamp(&model));
        prop_assert_eq!(last_surviving_delta(&records), model.last().unwrap().offset_delta);
        let raw: Vec<u8> = (0..records.len()).flat_map(|i| records.raw(i).to_vec()).collect();
        prop_assert_eq!(&raw[..], &records.data()[..]);
        prop_assert_eq!(raw.len(), records.decoded_bytes());
    }

    #[test]
    fn dense_batches_may_be_produced(codec in codec(), model in records(0)) {
        let bytes = build(codec, &model).into_bytes();
        let checked = CheckedBatch::check(bytes.clone(), bytes.len()).unwrap();
        prop_assert_eq!(own(&checked.decode(WIDE).unwrap()), model);
        prop_assert!(CheckedBatch::check(bytes.clone(), bytes.len() - 1).is_err());
    }

    #[test]
    fn copied_records_equal_built_ones(codec in codec(), model in records(3)) {
        let records = build(codec, &model).records(WIDE).unwrap();
        let mut copy = BatchBuilder::new(codec);
        for record in records.iter() {
            copy.push_raw_from(&record, Some(record.offset_delta)).unwrap();
        }
        let (copied, built) = (copy.build().unwrap(), build(codec, &model));
        prop_assert_eq!(copied.bytes(), built.bytes());
    }

    #[test]
    fn retain_equals_the_model(
        codec in codec(),
        model in records(3),
        picks in proptest::collection::vec(any::<bool>(), 60),
        hole in 0..5i32,
        append_time in any::<bool>(),
    ) {
        let batch = stored(codec, &model, hole, append_time);
        let records = batch.records(WIDE).unwrap();
        let kept = retain(&batch, &records, |i| picks[i]).unwrap();
        let survivors: Vec<Owned> = own(&records)
            .into_iter()
            .zip(&picks)
            .filter_map(|(record, keep)| keep.then_some(record))
            .collect();

        let kept = Batch::check(kept.into_bytes()).unwrap();
        let kept_records = kept.records(WIDE).unwrap();
        prop_assert_eq!(own(&kept_records), survivors.clone());
        prop_assert_eq!(last_kept_delta(&records, |i| picks[i]), last_surviving_delta(&kept_records));

        let (old, new) = (*batch.header(), *kept.header());
        let expected = BatchHeader {
            attributes: if survivors.is_empty() {
                old.attributes.with_codec(Codec::None)
            } else {
                old.attributes
            },
            max_timestamp: if append_time || survivors.is_empty() {
                old.max_timestamp
            } else {
                max_timestamp(&survivors)
            },
            record_count: survivors.len() as i32,
            batch_length: new.batch_length,
            crc: new.crc,
            ..old
        };
        prop_assert_eq!(new, expected);
    }

    #[test]
    fn rewrite_equals_the_model(
        codec in codec(),
        to in codec(),
        model in records(3),
        picks in proptest::collection::vec((proptest::bool::weighted(0.8), edit()), 60),
        hole in 0..5i32,
        append_time in any::<bool>(),
    ) {
        let batch = stored(codec, &model, hole, append_time);
        let records = batch.records(WIDE).unwrap();
        let (keep, edit) = (|i: usize| picks[i].0, |i: usize| picks[i].1.as_ref().map(Edit::parts));
        let written = rewrite(&batch, &records, keep, edit, to, WIDE.max_bytes).unwrap();
        let expected: Vec<Owned> = own(&records)
            .into_iter()
            .zip(&picks)
            .filter(|(_, (keep, _))| *keep)
            .map(|(record, (_, edit))| match edit {
                Some(edit) => edit.apply(record, append_time),
                None => record,
            })
            .collect();

        let written = Batch::check(written.into_bytes()).unwrap();
        let found = written.records(WIDE).unwrap();
        prop_assert_eq!(own(&found), expected.clone());

        let (old, new) = (*batch.header(), *written.header());
        let codec = if expected.is_empty() { Codec::None } else { to };
        let header = BatchHeader {
            attributes: old.attributes.with_codec(codec),
            max_timestamp: if append_time || expected.is_empty() {
                old.max_timestamp
            } else {
                max_timestamp(&expected)
            },
            record_count: expected.len() as i32,
            batch_length: new.batch_length,
            crc: new.crc,
            ..old
        };
        prop_assert_eq!(new, header);

        // As large as it is, and not one byte less, but for the room of the last length.
        let bytes = found.decoded_bytes();
        let fits = |max| rewrite(&batch, &records, keep, edit, to, max).is_ok();
        prop_assert!(fits(bytes + 5));
        prop_assert!(bytes == 0 || !fits(bytes - 1));
    }

    #[test]
    fn without_an_edit_rewrite_is_retain(
        codec in codec(),
        model in records(3),
        picks in proptest::collection::vec(any::<bool>(), 60),
    ) {
        let batch = build(codec, &model);
        let records = batch.records(WIDE).unwrap();
        let keep = |i: usize| picks[i];
        let retained = retain(&batch, &records, keep).unwrap();
        let nothing = |_| Some(RecordEditParts::default());
        let written = rewrite(&batch, &records, keep, nothing, codec, WIDE.max_bytes).unwrap();
        prop_assert_eq!(written.bytes(), retained.bytes());
        let same = rewrite(&batch, &records, |_| true, |_| None, codec, 0);
        prop_assert!(same.is_err() || records.is_empty());
    }

    #[test]
    fn edited_copies_equal_built_ones(
        codec in codec(),
        model in records(3),
        edits in proptest::collection::vec(edit(), 60),
    ) {
        let records = build(codec, &model).records(WIDE).unwrap();
        let mut copy = BatchBuilder::new(codec);
        let mut expected = Vec::new();
        for (record, (model, edit)) in records.iter().zip(model.into_iter().zip(&edits)) {
            let delta = Some(record.offset_delta);
            match edit {
                Some(edit) => copy.push_edited(&record, &edit.parts(), delta).unwrap(),
                None => copy.push_raw_from(&record, delta).unwrap(),
            };
            expected.push(edit.as_ref().map_or(model.clone(), |edit| edit.apply(model, false)));
        }
        let (copied, built) = (copy.build().unwrap(), build(codec, &expected));
        prop_assert_eq!(copied.bytes(), built.bytes());
    }

    #[test]
    fn keeping_all_keeps_the_bytes(codec in codec(), model in records(3)) {
        let batch = build(codec, &model);
        let records = batch.records(WIDE).unwrap();
        let kept = retain(&batch, &records, |_| true).unwrap();
        prop_assert_eq!(kept.bytes().as_ptr(), batch.bytes().as_ptr());
    }

    #[test]
    fn cut_ends_at_the_last_survivor(codec in codec(), model in records(3), hole in 1..9i32) {
        let batch = stored(codec, &model, hole, false);
        let before = batch.bytes().clone();
        let last = model.last().unwrap().offset_delta;
        let sent = Batch::check(cut(&batch, last).into_bytes()).unwrap();
        let expected = BatchHeader {
            last_offset_delta: last,
            crc: sent.header().crc,
            ..*batch.header()
        };
        prop_assert_eq!(*sent.header(), expected);
        prop_assert_eq!(own(&sent.records(WIDE).unwrap()), model);
        prop_assert_eq!(batch.bytes(), &before);
        // Nothing to cut: the same bytes.
        for delta in [-1, last + hole, i32::MAX] {
            prop_assert_eq!(cut(&batch, delta).bytes().as_ptr(), batch.bytes().as_ptr());
        }
    }

    #[test]
    fn recode_changes_the_codec_only(from in codec(), to in codec(), model in records(3)) {
        let batch = build(from, &model);
        let coded = recode(&batch, &batch.records(WIDE).unwrap(), to).unwrap();
        let coded = Batch::check(coded.into_bytes()).unwrap();
        prop_assert_eq!(coded.codec().unwrap(), to);
        prop_assert_eq!(own(&coded.records(WIDE).unwrap()), model);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        try_everything(bytes.into());
    }

    #[test]
    fn mutated_batches_never_panic(
        codec in codec(),
        model in records(1),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        cut_off in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let mut bytes = build(codec, &model).bytes().to_vec();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(at) = cut_off {
            bytes.truncate(at.index(bytes.len()));
        }
        try_everything(bytes.clone().into());
        if bytes.len() >= 61 {
            try_everything(reseal(bytes));
        }
    }
}

/// What the model has in place of a record's parts.
#[derive(Clone, Debug)]
struct Edit {
    key: Option<Option<Vec<u8>>>,
    value: Option<Option<Vec<u8>>>,
    headers: Option<Vec<OwnedHeader>>,
    timestamp: Option<i64>,
}

fn edit() -> impl Strategy<Value = Option<Edit>> {
    use proptest::{collection::vec, option::of};
    let part = || of(of(vec(any::<u8>(), 0..300)));
    let headers = vec((vec(any::<u8>(), 0..20), of(vec(any::<u8>(), 0..50))), 0..4);
    let timestamp = of(prop_oneof![-1i64..1 << 42, Just(i64::MAX), Just(i64::MIN)]);
    let edit = (part(), part(), of(headers), timestamp);
    of(edit.prop_map(|(key, value, headers, timestamp)| Edit {
        key,
        value,
        headers,
        timestamp,
    }))
}

impl Edit {
    fn parts(&self) -> RecordEditParts<'_> {
        RecordEditParts {
            key: self.key.as_ref().map(Option::as_deref),
            value: self.value.as_ref().map(Option::as_deref),
            headers: self.headers.as_ref().map(|all| {
                all.iter()
                    .map(|(k, v)| (k.as_slice(), v.as_deref()))
                    .collect()
            }),
            timestamp: self.timestamp,
        }
    }

    fn apply(&self, record: Owned, append_time: bool) -> Owned {
        Owned {
            timestamp: match self.timestamp {
                Some(timestamp) if !append_time => timestamp,
                _ => record.timestamp,
            },
            key: self.key.clone().unwrap_or(record.key),
            value: self.value.clone().unwrap_or(record.value),
            headers: self.headers.clone().unwrap_or(record.headers),
            ..record
        }
    }
}

fn stored(codec: Codec, model: &[Owned], hole: i32, append_time: bool) -> Batch {
    let batch = build(codec, model);
    let records = batch.records(WIDE).unwrap();
    let mut builder = BatchBuilder::new(codec);
    builder.base_offset = 1000;
    builder.leader_epoch = 7;
    builder.producer = Producer {
        id: 5,
        epoch: 2,
        base_sequence: 40,
    };
    builder.append_time_ms = append_time.then_some(77);
    builder.last_offset_delta = Some(model.last().unwrap().offset_delta + hole);
    for record in records.iter() {
        builder
            .push_raw_from(&record, Some(record.offset_delta))
            .unwrap();
    }
    builder.build().unwrap()
}

/// Everything that may be done with bytes from outside, with narrow limits.
fn try_everything(bytes: Bytes) {
    let limits = DecodeLimits {
        max_bytes: 1 << 16,
        max_records: 1000,
    };
    let _ = BatchHeader::parse(&bytes);
    let _ = Batch::take(&mut bytes.clone());
    if let Ok(checked) = CheckedBatch::check(bytes.clone(), 1 << 20)
        && let Ok(records) = checked.decode(limits)
    {
        assert!(
            records
                .iter()
                .enumerate()
                .all(|(i, r)| r.offset_delta as usize == i)
        );
    }
    let Ok(batch) = Batch::stored(bytes) else {
        return;
    };
    let _ = cut(&batch, 0);
    if let Ok(records) = batch.records(limits) {
        assert!(records.decoded_bytes() <= limits.max_bytes);
        assert_eq!(own(&records).len(), batch.record_count());
        let kept = retain(&batch, &records, |i| i % 2 == 0).unwrap();
        Batch::check(kept.into_bytes())
            .map(drop)
            .or_else(is_old_crc)
            .unwrap();
        let value = RecordEditParts {
            value: Some(Some(b"edited")),
            ..RecordEditParts::default()
        };
        let edit = |i: usize| i.is_multiple_of(3).then(|| value.clone());
        let written = rewrite(&batch, &records, |_| true, edit, Codec::None, 1 << 16);
        if let Ok(written) = written {
            Batch::check(written.into_bytes())
                .map(drop)
                .or_else(is_old_crc)
                .unwrap();
        }
    }
    let placed = batch.place(3, LeaderEpoch(1)).stamp_append_time(9);
    Batch::check(placed.into_bytes()).unwrap();
}

/// A batch kept whole keeps its wrong CRC.
fn is_old_crc(error: BatchError) -> Result<(), BatchError> {
    match error {
        BatchError::Crc { .. } => Ok(()),
        other => Err(other),
    }
}
