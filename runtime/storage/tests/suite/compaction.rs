//! Compaction against a model, on both stores: of each key the latest record, and nothing else changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use tidegate_record::{
    Batch, BatchBuilder, Codec, DecodeLimits, EndMarker, Offset, PartitionId, Producer, RecordParts,
};
use tidegate_storage::{
    Aborts, Append, Compaction, CompactionPolicy, Log, LogOptions, LogStore, MemoryLog, RocksLog,
    RocksOptions,
};

use super::common::{EPOCH, entry, part, submit};

const P0: PartitionId = PartitionId(0);
const ALL: usize = usize::MAX;
const LIMITS: DecodeLimits = DecodeLimits {
    max_bytes: 1 << 24,
    max_records: 1 << 16,
};

/// Offset, key and value of a record as a consumer reads it.
type Read = (Offset, Option<Vec<u8>>, Option<Vec<u8>>);

fn on_both(test: impl Fn(Arc<dyn LogStore>)) {
    test(Arc::new(MemoryLog::new()));
    let dir = tempfile::tempdir().unwrap();
    test(Arc::new(
        RocksLog::open(dir.path(), RocksOptions::default()).unwrap(),
    ));
}

fn open(store: Arc<dyn LogStore>) -> Arc<Log> {
    let log = Log::open(store, LogOptions::default()).unwrap();
    log.ensure_partition(entry(0)).unwrap();
    log.set_epoch(P0, EPOCH);
    log
}

/// A batch of (key, value) records; `None` is a null key, or a tombstone.
fn batch(
    codec: Codec,
    producer: Option<(i64, i32)>,
    records: &[(Option<&str>, Option<&str>)],
) -> Batch {
    let mut builder = BatchBuilder::new(codec);
    if let Some((id, base_sequence)) = producer {
        builder.producer = Producer {
            id,
            epoch: 0,
            base_sequence,
        };
    }
    for (key, value) in records {
        let record = RecordParts {
            timestamp: 1_000,
            key: key.map(str::as_bytes),
            value: value.map(str::as_bytes),
            ..RecordParts::default()
        };
        builder.push(record).unwrap();
    }
    builder.build().unwrap()
}

fn append(log: &Log, batch: Batch) -> Offset {
    let fate = submit(log, vec![part(0, batch)], true).recv().unwrap();
    fate.unwrap()[0].base_offset
}

/// Everything that the store has, past the tail cache.
fn read(store: &dyn LogStore) -> Vec<Read> {
    let mut found = Vec::new();
    for stored in store.read(P0, 0, i64::MAX, ALL).unwrap() {
        // Checks the CRC too.
        let batch = Batch::check(stored.batch.clone()).unwrap();
        assert_eq!(stored.row.size as usize, stored.batch.len());
        assert_eq!(batch.base_offset(), stored.row.base_offset);
        for record in batch.records(LIMITS).unwrap().iter() {
            let offset = batch.base_offset() + i64::from(record.offset_delta);
            let own = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
            found.push((offset, own(record.key), own(record.value)));
        }
    }
    found
}

fn offsets(store: &dyn LogStore) -> Vec<Offset> {
    read(store).into_iter().map(|(offset, ..)| offset).collect()
}

fn policy(now_ms: i64, to: Offset) -> CompactionPolicy {
    CompactionPolicy {
        now_ms,
        to,
        min_lag_ms: 0,
        max_lag_ms: i64::MAX,
        min_dirty_ratio: 0.5,
        delete_retention_ms: 1_000,
        max_keys: 1_000_000,
    }
}

/// One pass. Keys are short here: they name themselves.
fn compact(log: &Log, policy: &CompactionPolicy) -> Option<Compaction> {
    let name = |key: &[u8]| {
        key.iter()
            .fold(1, |name, byte| name << 8 | u128::from(*byte))
    };
    log.compact(P0, policy, &name).unwrap()
}

/// A batch inside the transaction of producer 4.
fn transactional(sequence: i32, records: &[(Option<&str>, Option<&str>)]) -> Batch {
    let batch = batch(Codec::None, Some((4, sequence)), records);
    let records = batch.records(LIMITS).unwrap();
    let mut builder = BatchBuilder::new(Codec::None);
    builder.transactional = true;
    builder.producer = Producer {
        id: 4,
        epoch: 0,
        base_sequence: sequence,
    };
    for record in records.iter() {
        let record = RecordParts {
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            ..RecordParts::default()
        };
        builder.push(record).unwrap();
    }
    builder.build().unwrap()
}

/// Ends the transaction of producer 4; where it began, if it is aborted.
fn end(log: &Log, aborted_from: Option<Offset>) -> Offset {
    let marker = EndMarker {
        commit: aborted_from.is_none(),
        coordinator_epoch: 0,
    };
    let (done, fate) = std::sync::mpsc::channel();
    log.submit(Append {
        parts: vec![part(0, marker.batch(4, 0, 1_000).unwrap())],
        sync: true,
        now_ms: 5_000,
        lane: None,
        late: None,
        note: None,
        aborts: aborted_from.map(|first_offset| Aborts {
            first_offset,
            stable_offset: first_offset,
        }),
        done: Box::new(move |result| drop(done.send(result))),
    })
    .unwrap();
    fate.recv().unwrap().unwrap()[0].base_offset
}

/// Offsets of the batches that are there.
fn bases(store: &dyn LogStore) -> Vec<Offset> {
    let rows = store.rows(P0, 0, ALL).unwrap();
    rows.iter().map(|row| row.base_offset).collect()
}

const A: Option<&str> = Some("a");
const B: Option<&str> = Some("b");

#[test]
fn the_latest_of_each_key_stays_where_it_was() {
    on_both(|store| {
        let log = open(store.clone());
        append(&log, batch(Codec::Lz4, None, &[(A, A), (B, A), (A, B)]));
        append(&log, batch(Codec::None, None, &[(A, A)]));
        append(
            &log,
            batch(Codec::Gzip, None, &[(None, A), (B, B), (Some("c"), A)]),
        );
        let before = log.size_bytes(P0);
        let done = compact(&log, &policy(10_000, 7)).unwrap();
        assert_eq!((done.records, done.removed, done.cleaned), (7, 4, 7));
        assert_eq!(offsets(store.as_ref()), [3, 5, 6]);
        assert_eq!(log.bounds(P0).unwrap().end, 7);
        // Sizes are what is there: what a disk report says, and what retention by size goes by.
        let rows = store.rows(P0, 0, 9).unwrap();
        let sizes: u64 = rows.iter().map(|row| u64::from(row.size)).sum();
        assert_eq!(log.size_bytes(P0), sizes);
        assert!(sizes < before && done.bytes_after == sizes);
        for pair in rows.windows(2) {
            assert_eq!(pair[0].end_position(), pair[1].position);
        }
        assert_eq!(compact(&log, &policy(10_000, 7)), None, "it is clean");
    });
}

#[test]
fn a_tombstone_outlives_what_it_deletes() {
    on_both(|store| {
        let log = open(store.clone());
        append(&log, batch(Codec::None, None, &[(A, A), (A, None), (B, A)]));
        compact(&log, &policy(10_000, 3)).unwrap();
        assert_eq!(offsets(store.as_ref()), [1, 2]);
        assert_eq!(compact(&log, &policy(10_999, 3)), None);
        // A restart remembers both what is clean and when tombstones may go.
        drop(log);
        let log = open(store.clone());
        assert_eq!(compact(&log, &policy(10_999, 3)), None);
        compact(&log, &policy(11_000, 3)).unwrap();
        assert_eq!(offsets(store.as_ref()), [2]);
        assert_eq!(compact(&log, &policy(99_000, 3)), None);
    });
}

#[test]
fn the_young_and_the_unreplicated_are_left_alone() {
    on_both(|store| {
        let log = open(store.clone());
        // Appends carry the time 5000.
        for value in [A, B, A] {
            append(&log, batch(Codec::None, None, &[(A, value)]));
        }
        let young = CompactionPolicy {
            min_lag_ms: 2_000,
            ..policy(6_000, 3)
        };
        assert_eq!(compact(&log, &young), None);
        compact(&log, &policy(6_000, 2)).unwrap();
        assert_eq!(offsets(store.as_ref()), [1, 2]);
        // One batch more is a third of the bytes, less than half; but not for ever.
        let patient = CompactionPolicy {
            min_dirty_ratio: 0.6,
            ..policy(6_000, 3)
        };
        assert_eq!(compact(&log, &patient), None);
        let overdue = CompactionPolicy {
            min_dirty_ratio: 0.6,
            max_lag_ms: 500,
            ..policy(6_000, 3)
        };
        compact(&log, &overdue).unwrap();
        assert_eq!(offsets(store.as_ref()), [2]);
    });
}

#[test]
fn sequences_and_the_end_survive_a_restart() {
    on_both(|store| {
        let log = open(store.clone());
        append(&log, batch(Codec::None, Some((7, 0)), &[(A, A)]));
        append(&log, batch(Codec::None, Some((7, 1)), &[(A, B)]));
        append(&log, batch(Codec::None, Some((8, 0)), &[(B, A)]));
        append(&log, batch(Codec::None, None, &[(A, A), (B, B)]));
        append(&log, batch(Codec::None, None, &[(None, A)]));
        compact(&log, &policy(10_000, 6)).unwrap();
        assert_eq!(offsets(store.as_ref()), [3, 4]);
        let rows = store.rows(P0, 0, 9).unwrap();
        let kept: Vec<_> = rows
            .iter()
            .map(|row| (row.base_offset, row.is_empty()))
            .collect();
        // The first batch of producer 7 is gone; the last ones of both, and the log's, keep their headers.
        assert_eq!(kept, [(1, true), (2, true), (3, false), (5, true)]);
        drop(log);
        assert_eq!(open(store.clone()).bounds(P0).unwrap().end, 6);
        let log = open(store.clone());
        append(&log, batch(Codec::None, Some((7, 2)), &[(Some("c"), A)]));
        let eager = CompactionPolicy {
            min_dirty_ratio: 0.0,
            ..policy(10_000, 7)
        };
        compact(&log, &eager).unwrap();
        let rows = store.rows(P0, 0, 9).unwrap();
        let kept: Vec<_> = rows.iter().map(|row| row.base_offset).collect();
        assert_eq!(
            kept,
            [2, 3, 6],
            "headers go when nothing needs them any more"
        );
    });
}

#[test]
fn a_pass_that_cannot_hold_every_key_goes_on_with_the_next() {
    on_both(|store| {
        let log = open(store.clone());
        for round in 0..2 {
            for key in 0..40 {
                let (key, value) = (format!("k{key}"), format!("v{round}"));
                append(
                    &log,
                    batch(Codec::None, None, &[(Some(&key), Some(&value))]),
                );
            }
        }
        let small = CompactionPolicy {
            max_keys: 15,
            min_dirty_ratio: 0.0,
            ..policy(10_000, 80)
        };
        let mut passes = 0;
        while compact(&log, &small).is_some() {
            passes += 1;
            assert!(passes < 20, "each pass gets further");
        }
        assert!(passes > 2);
        assert_eq!(offsets(store.as_ref()), (40..80).collect::<Vec<_>>());
    });
}

/// What compaction must leave, in the simplest words there are.
fn model(all: &[Read], to: Offset) -> Vec<Read> {
    let mut latest: BTreeMap<&[u8], Offset> = BTreeMap::new();
    for (offset, key, _) in all.iter().filter(|read| read.0 < to) {
        if let Some(key) = key {
            latest.insert(key, *offset);
        }
    }
    let stays = |read: &&Read| {
        let (offset, key, _) = read;
        *offset >= to
            || key
                .as_ref()
                .is_some_and(|key| latest.get(key.as_slice()) == Some(offset))
    };
    all.iter().filter(stays).cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn compaction_equals_the_model(
        batches in proptest::collection::vec(
            (0..3usize, proptest::collection::vec((proptest::option::weighted(0.9, 0..6u8), any::<bool>()), 1..6)),
            1..30,
        ),
        passes in proptest::collection::vec(0..40usize, 1..4),
    ) {
        let store: Arc<dyn LogStore> = Arc::new(MemoryLog::new());
        let log = open(store.clone());
        let mut all: Vec<Read> = Vec::new();
        for (index, (codec, records)) in batches.iter().enumerate() {
            let codec = [Codec::None, Codec::Lz4, Codec::Zstd][*codec];
            let keys: Vec<_> = records.iter().map(|(key, _)| key.map(|key| format!("k{key}"))).collect();
            let value = format!("v{index}");
            let records: Vec<_> = keys
                .iter()
                .zip(records)
                .map(|(key, (_, dead))| (key.as_deref(), (!dead).then_some(value.as_str())))
                .collect();
            let base = append(&log, batch(codec, None, &records));
            for (delta, (key, value)) in records.iter().enumerate() {
                let own = |text: &Option<&str>| text.map(|text| text.as_bytes().to_vec());
                all.push((base + delta as i64, own(key), own(value)));
            }
            if passes.contains(&index) {
                let end = log.bounds(P0).unwrap().end;
                let policy = CompactionPolicy { min_dirty_ratio: 0.0, ..policy(10_000, end) };
                compact(&log, &policy);
                all = model(&all, end);
                prop_assert_eq!(read(store.as_ref()), all.clone());
                let rows = store.rows(P0, 0, ALL).unwrap();
                let sizes: u64 = rows.iter().map(|row| u64::from(row.size)).sum();
                prop_assert_eq!(log.size_bytes(P0), sizes);
            }
        }
    }
}

#[test]
fn aborted_records_go_and_replace_nothing() {
    on_both(|store| {
        let log = open(store.clone());
        append(&log, batch(Codec::None, None, &[(A, A), (B, A)]));
        append(&log, transactional(0, &[(A, B), (B, B)]));
        assert_eq!(end(&log, Some(2)), 4);
        append(&log, transactional(2, &[(B, B)]));
        assert_eq!(end(&log, None), 6);
        append(&log, batch(Codec::None, None, &[(Some("c"), A)]));
        assert_eq!(log.aborted(P0, 0, 8).unwrap().len(), 1);
        compact(&log, &policy(10_000, 8)).unwrap();
        let values = read(store.as_ref());
        let values: Vec<_> = values
            .iter()
            .filter(|(offset, ..)| ![4, 6].contains(offset))
            .map(|(offset, _, value)| (*offset, value.as_deref()))
            .collect();
        assert_eq!(
            values,
            [
                (0, Some(&b"a"[..])),
                (5, Some(&b"b"[..])),
                (7, Some(&b"a"[..]))
            ],
            "what was aborted neither stays nor takes its older twin away"
        );
    });
}

#[test]
fn a_marker_outlives_its_records_for_a_while() {
    on_both(|store| {
        let log = open(store.clone());
        append(&log, transactional(0, &[(A, A)]));
        end(&log, Some(0));
        append(&log, transactional(1, &[(B, B)]));
        end(&log, None);
        append(&log, transactional(2, &[(B, A)]));
        end(&log, None);
        append(&log, batch(Codec::None, None, &[(Some("c"), A)]));
        compact(&log, &policy(10_000, 7)).unwrap();
        // Two transactions lost their records, but a reader may stand inside of them.
        assert_eq!(bases(store.as_ref()), [1, 3, 4, 5, 6]);
        assert_eq!(log.aborted(P0, 1, 7).unwrap().len(), 1);
        compact(&log, &policy(11_000, 7)).unwrap();
        assert_eq!(
            bases(store.as_ref()),
            [4, 5, 6],
            "the last one still has its record"
        );
        assert_eq!(
            log.aborted(P0, 0, 7).unwrap(),
            [],
            "a reader told of it would wait for a marker that is gone"
        );
    });
}
