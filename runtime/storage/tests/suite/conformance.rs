//! One suite for every [`LogStore`] and every [`CommandLog`]: what the traits promise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::common::{batch, batch_at, entry, placed, write};
use tidegate_record::PartitionId;
use tidegate_storage::{
    AbortedTransaction, Change, CommandLog, LogStore, MemoryCommandLog, MemoryLog, PartitionEntry,
    Placed, ProducerSnapshot, RocksCommandLog, RocksLog, RocksOptions, StoreError, Stored,
};

const P0: PartitionId = PartitionId(0);
const P1: PartitionId = PartitionId(1);

macro_rules! conformance {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[test] fn $name() { super::$name(&super::MemoryLog::new()); })*
        }
        mod rocks {
            $(#[test] fn $name() {
                let dir = tempfile::tempdir().unwrap();
                let store = super::RocksLog::open(dir.path(), super::RocksOptions::default());
                super::$name(&store.unwrap());
            })*
        }
    };
}

conformance!(
    lists_partitions_by_id,
    creating_is_idempotent,
    deleting_is_idempotent_and_leaves_the_others,
    reads_start_with_the_containing_batch,
    reads_keep_to_their_limits,
    a_hole_is_read_over,
    rows_match_the_batches,
    a_write_is_refused_whole,
    the_end_is_behind_the_last_row,
    the_log_start_only_grows,
    deleting_below_keeps_the_containing_batch,
    truncation_removes_the_containing_batch,
    offsets_reach_beyond_32_bits,
    unknown_partitions_are_errors,
    notes_live_as_long_as_their_batches,
    aborted_transactions_live_as_long_as_their_markers,
    a_producer_snapshot_lives_as_long_as_what_it_knows,
    reads_beside_writes_see_whole_writes,
);

fn lists_partitions_by_id(store: &dyn LogStore) {
    for id in [7, 1, u32::MAX, 300] {
        store.create_partition(&entry(id)).unwrap();
    }
    let ids: Vec<u32> = store.partitions().unwrap().iter().map(|e| e.id.0).collect();
    assert_eq!(ids, [1, 7, 300, u32::MAX]);
    write(store, u32::MAX, &run(2)).unwrap();
    assert_eq!(store.rows(PartitionId(u32::MAX), 0, 9).unwrap().len(), 2);
}

fn creating_is_idempotent(store: &dyn LogStore) {
    let first = PartitionEntry {
        log_start: 5,
        ..entry(0)
    };
    store.create_partition(&first).unwrap();
    store.create_partition(&entry(0)).unwrap();
    assert_eq!(store.partitions().unwrap(), [first]);
    let other = PartitionEntry {
        topic_id: [9; 16],
        ..entry(0)
    };
    assert!(matches!(
        store.create_partition(&other),
        Err(StoreError::Invalid(_))
    ));
    // One that is refused keeps the others out.
    assert!(matches!(
        store.create_partitions(&[entry(1), other, entry(2)]),
        Err(StoreError::Invalid(_))
    ));
    assert_eq!(store.partitions().unwrap(), [first]);
    store
        .create_partitions(&[entry(1), first, entry(2), entry(1)])
        .unwrap();
    let ids: Vec<u32> = store.partitions().unwrap().iter().map(|e| e.id.0).collect();
    assert_eq!(ids, [0, 1, 2]);
    assert_eq!(store.end(P0).unwrap(), 5);
}

fn deleting_is_idempotent_and_leaves_the_others(store: &dyn LogStore) {
    for id in 0..5 {
        store.create_partition(&entry(id)).unwrap();
        write(store, id, &run(3)).unwrap();
    }
    store.delete_partition(P1).unwrap();
    store.delete_partition(P1).unwrap();
    store
        .delete_partitions(&[PartitionId(3), P1, PartitionId(4), PartitionId(77)])
        .unwrap();
    assert!(matches!(
        store.rows(P1, 0, 1),
        Err(StoreError::UnknownPartition(P1))
    ));
    assert_eq!(store.partitions().unwrap().len(), 2);
    for id in [0, 2] {
        assert_eq!(
            store.read(PartitionId(id), 0, 100, usize::MAX).unwrap(),
            run(3)
        );
    }
}

fn reads_start_with_the_containing_batch(store: &dyn LogStore) {
    store.create_partition(&entry(0)).unwrap();
    let batches = run(4);
    write(store, 0, &batches).unwrap();
    for from in 0..12 {
        let found = store.read(P0, from, 12, usize::MAX).unwrap();
        assert_eq!(found, batches[from as usize / 3..], "from {from}");
    }
    assert!(store.read(P0, 12, 100, usize::MAX).unwrap().is_empty());
}

fn reads_keep_to_their_limits(store: &dyn LogStore) {
    store.create_partition(&entry(0)).unwrap();
    let batches = run(4);
    write(store, 0, &batches).unwrap();
    let size = batches[0].batch.len();
    for (max, count) in [
        (0, 1),
        (size, 1),
        (2 * size - 1, 1),
        (2 * size, 2),
        (usize::MAX, 4),
    ] {
        assert_eq!(
            store.read(P0, 0, 12, max).unwrap().len(),
            count,
            "max {max}"
        );
    }
    for (to, count) in [(0, 0), (1, 1), (3, 1), (4, 2), (12, 4)] {
        assert_eq!(
            store.read(P0, 0, to, usize::MAX).unwrap().len(),
            count,
            "to {to}"
        );
    }
}

fn a_hole_is_read_over(store: &dyn LogStore) {
    store.create_partition(&entry(0)).unwrap();
    let batches = [placed(batch(2), 10, 0), placed(batch(2), 20, 80)];
    write(store, 0, &batches).unwrap();
    assert_eq!(store.read(P0, 0, 100, usize::MAX).unwrap(), batches);
    assert_eq!(store.read(P0, 12, 100, usize::MAX).unwrap(), batches[1..]);
    assert_eq!(store.rows(P0, 15, 1).unwrap()[0].base_offset, 20);
    assert!(store.read(P0, 12, 20, usize::MAX).unwrap().is_empty());
}

fn rows_match_the_batches(store: &dyn LogStore) {
    store.create_partition(&entry(0)).unwrap();
    let batches = run(5);
    write(store, 0, &batches).unwrap();
    let rows: Vec<_> = batches.iter().map(|stored| stored.row).collect();
    assert_eq!(store.rows(P0, 0, 100).unwrap(), rows);
    assert_eq!(store.rows(P0, 4, 2).unwrap(), rows[1..3]);
    assert_eq!(store.rows(P0, 0, 0).unwrap(), []);
    assert_eq!(store.last_row(P0).unwrap(), Some(rows[4]));
}

fn a_write_is_refused_whole(store: &dyn LogStore) {
    store.create_partition(&entry(0)).unwrap();
    let stored = placed(batch(1), 0, 0);
    let to = |id| Placed {
        id,
        row: stored.row,
        bytes: &stored.batch,
        note: None,
        aborted: None,
    };
    let refused = store.write(&[to(P0), to(P1)]);
    assert!(matches!(refused, Err(StoreError::UnknownPartition(P1))));
    assert_eq!(store.end(P0).unwrap(), 0);
    store.create_partition(&entry(1)).unwrap();
    store.write(&[to(P0), to(P1)]).unwrap();
    assert_eq!((store.end(P0).unwrap(), store.end(P1).unwrap()), (1, 1));
    store.write(&[]).unwrap();
    store.sync().unwrap();
}

fn the_end_is_behind_the_last_row(store: &dyn LogStore) {
    store
        .create_partition(&PartitionEntry {
            log_start: 7,
            ..entry(0)
        })
        .unwrap();
    store.create_partition(&entry(1)).unwrap();
    assert_eq!(store.end(P0).unwrap(), 7);
    write(store, 0, &[placed(batch(3), 7, 0)]).unwrap();
    assert_eq!(store.end(P0).unwrap(), 10);
    assert_eq!(store.end(P1).unwrap(), 0);
    store.set_log_start(P0, 10).unwrap();
    store.delete_below(P0, 10).unwrap();
    assert_eq!(store.last_row(P0).unwrap(), None);
    assert_eq!(store.end(P0).unwrap(), 10, "an emptied log keeps its end");
}

fn the_log_start_only_grows(store: &dyn LogStore) {
    store.create_partition(&entry(0)).unwrap();
    store.set_log_start(P0, 6).unwrap();
    store.set_log_start(P0, 3).unwrap();
    assert_eq!(store.partitions().unwrap()[0].log_start, 6);
}

fn deleting_below_keeps_the_containing_batch(store: &dyn LogStore) {
    for id in 0..2 {
        store.create_partition(&entry(id)).unwrap();
        write(store, id, &run(4)).unwrap();
    }
    store.delete_below(P0, 0).unwrap();
    assert_eq!(store.rows(P0, 0, 9).unwrap().len(), 4);
    store.delete_below(P0, 4).unwrap();
    assert_eq!(store.read(P0, 0, 100, usize::MAX).unwrap(), run(4)[1..]);
    store.delete_below(P0, 6).unwrap();
    assert_eq!(store.read(P0, 0, 100, usize::MAX).unwrap(), run(4)[2..]);
    store.delete_below(P0, 1_000).unwrap();
    assert!(store.rows(P0, 0, 9).unwrap().is_empty());
    assert_eq!(store.rows(P1, 0, 9).unwrap().len(), 4);
}

fn truncation_removes_the_containing_batch(store: &dyn LogStore) {
    for id in 0..2 {
        store.create_partition(&entry(id)).unwrap();
        write(store, id, &run(4)).unwrap();
    }
    store.truncate(P0, 12).unwrap();
    assert_eq!(store.end(P0).unwrap(), 12);
    store.truncate(P0, 7).unwrap();
    assert_eq!(store.read(P0, 0, 100, usize::MAX).unwrap(), run(4)[..2]);
    // What is written again in the place of what was cut must stay.
    write(store, 0, &[placed(batch_at(&[9], 50), 6, 0)]).unwrap();
    assert_eq!(store.end(P0).unwrap(), 7);
    assert_eq!(
        store.read(P0, 6, 100, usize::MAX).unwrap()[0]
            .row
            .max_timestamp,
        9
    );
    store.truncate(P0, 0).unwrap();
    assert_eq!(store.end(P0).unwrap(), 0);
    assert_eq!(store.end(P1).unwrap(), 12);
}

fn offsets_reach_beyond_32_bits(store: &dyn LogStore) {
    store.create_partition(&entry(0)).unwrap();
    let base = 1 << 40;
    let batches = [
        placed(batch(1), base, 0),
        placed(batch(1), base + 1, 1 << 50),
    ];
    write(store, 0, &batches).unwrap();
    assert_eq!(
        store.read(P0, base + 1, i64::MAX, usize::MAX).unwrap(),
        batches[1..]
    );
    assert_eq!(store.end(P0).unwrap(), base + 2);
}

fn unknown_partitions_are_errors(store: &dyn LogStore) {
    let unknown = |result| matches!(result, Err(StoreError::UnknownPartition(P0)));
    assert!(unknown(store.read(P0, 0, 1, 1).map(drop)));
    assert!(unknown(store.rows(P0, 0, 1).map(drop)));
    assert!(unknown(store.last_row(P0).map(drop)));
    assert!(unknown(store.note(P0, 0).map(drop)));
    assert!(unknown(store.end(P0).map(drop)));
    assert!(unknown(store.set_log_start(P0, 1)));
    assert!(unknown(store.delete_below(P0, 1)));
    assert!(unknown(store.truncate(P0, 1)));
}

fn notes_live_as_long_as_their_batches(store: &dyn LogStore) {
    // Batches of three records; those at 3 and 9 have a note.
    let write_noted = |id| {
        store.create_partition(&entry(id)).unwrap();
        for (stored, note) in run(4).iter().zip([None, Some("one"), None, Some("three")]) {
            let note = note.map(|text| bytes::Bytes::from(format!("{text} of {id}")));
            let write = Placed {
                id: PartitionId(id),
                row: stored.row,
                bytes: &stored.batch,
                note: note.as_ref(),
                aborted: None,
            };
            store.write(&[write]).unwrap();
        }
    };
    let noted = |id, offset| {
        let note = store.note(id, offset).unwrap();
        note.map(|(base, text)| (base, String::from_utf8(text.to_vec()).unwrap()))
    };
    let one = |id| Some((3, format!("one of {id}")));
    let three = |id| Some((9, format!("three of {id}")));
    for id in 0..3 {
        write_noted(id);
    }
    for (offset, expected) in [(0, None), (2, None), (3, one(0)), (5, one(0)), (6, None)] {
        assert_eq!(noted(P0, offset), expected, "{offset}");
    }
    assert_eq!(noted(P0, 11), three(0));
    assert_eq!(noted(P0, 12), None, "behind the end");

    // What shares a batch with the new log start stays.
    store.delete_below(P0, 5).unwrap();
    assert_eq!((noted(P0, 2), noted(P0, 5)), (None, one(0)));
    store.delete_below(P0, 6).unwrap();
    assert_eq!((noted(P0, 5), noted(P0, 9)), (None, three(0)));
    store.truncate(P0, 11).unwrap();
    assert_eq!(noted(P0, 9), None);
    // A batch that is written in the place of another does not get the other's note.
    write(store, 0, &run(4)[3..]).unwrap();
    assert_eq!(noted(P0, 9), None);

    assert_eq!((noted(P1, 3), noted(P1, 9)), (one(1), three(1)));
    store.delete_partition(P1).unwrap();
    store.create_partition(&entry(1)).unwrap();
    write(store, 1, &run(4)).unwrap();
    assert_eq!((noted(P1, 3), noted(P1, 9)), (None, None));
    assert_eq!(noted(PartitionId(2), 4), one(2));
}

fn aborted_transactions_live_as_long_as_their_markers(store: &dyn LogStore) {
    // Batches of three records; those at 3, 9 and 12 stand for markers.
    let aborted = |last_offset| AbortedTransaction {
        producer_id: 7,
        first_offset: last_offset - 3,
        last_offset,
        stable_offset: 1,
    };
    let batches = run(5);
    let fill = |id| {
        store.create_partition(&entry(id)).unwrap();
        for (stored, marks) in batches.iter().zip([false, true, false, true, true]) {
            let write = Placed {
                id: PartitionId(id),
                row: stored.row,
                bytes: &stored.batch,
                note: None,
                aborted: marks.then(|| aborted(stored.row.base_offset)),
            };
            store.write(&[write]).unwrap();
        }
    };
    let found = |id, from| {
        let found = store.aborted(PartitionId(id), from, 9).unwrap();
        found.iter().map(|a| a.last_offset).collect::<Vec<_>>()
    };
    fill(0);
    fill(1);
    assert_eq!(store.aborted(P0, 0, 1).unwrap(), [aborted(3)]);
    assert_eq!(found(0, 0), [3, 9, 12]);
    assert_eq!(
        found(0, 3),
        [3, 9, 12],
        "a marker at the offset itself counts"
    );
    assert_eq!(found(0, 4), [9, 12]);
    assert_eq!(found(0, 13), [], "the next partition's do not");

    store.delete_below(P0, 5).unwrap();
    assert_eq!(found(0, 0), [3, 9, 12], "its batch holds the new start");
    store.delete_below(P0, 6).unwrap();
    assert_eq!(found(0, 0), [9, 12]);
    store.compact(P0, &[Change::Remove(9)], 12).unwrap();
    assert_eq!(found(0, 0), [12]);
    store.truncate(P0, 12).unwrap();
    assert_eq!(found(0, 0), []);
    assert_eq!(found(1, 0), [3, 9, 12]);
    store.delete_partition(P1).unwrap();
    store.create_partition(&entry(1)).unwrap();
    assert_eq!(found(1, 0), []);
    assert!(store.aborted(PartitionId(9), 0, 1).is_err());
}

fn a_producer_snapshot_lives_as_long_as_what_it_knows(store: &dyn LogStore) {
    let snapshot = |below, state: &'static str| ProducerSnapshot {
        below,
        state: state.into(),
    };
    for id in 0..2 {
        store.create_partition(&entry(id)).unwrap();
        write(store, id, &run(4)).unwrap();
        assert_eq!(store.producers(PartitionId(id)).unwrap(), None);
        let (old, new) = (snapshot(3, "old"), snapshot(6, "new"));
        store.put_producers(PartitionId(id), &old).unwrap();
        store.put_producers(PartitionId(id), &new).unwrap();
        assert_eq!(store.producers(PartitionId(id)).unwrap(), Some(new));
    }
    store.settle().unwrap();
    store.delete_below(P0, 9).unwrap();
    store.truncate(P0, 9).unwrap();
    assert_eq!(store.producers(P0).unwrap(), Some(snapshot(6, "new")));
    write(store, 0, &run(4)[..3]).unwrap();
    store.truncate(P0, 5).unwrap();
    assert_eq!(store.producers(P0).unwrap(), None, "it knew of batch 3");
    store.delete_partition(P1).unwrap();
    store.create_partition(&entry(1)).unwrap();
    assert_eq!(store.producers(P1).unwrap(), None);
    let unknown = PartitionId(9);
    assert!(store.put_producers(unknown, &snapshot(0, "")).is_err());
    assert!(store.producers(unknown).is_err());
}

fn reads_beside_writes_see_whole_writes(store: &dyn LogStore) {
    store.create_partition(&entry(0)).unwrap();
    store.create_partition(&entry(1)).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while !stop.load(Ordering::Acquire) {
                let first = store.end(P0).unwrap();
                let second = store.end(P1).unwrap();
                assert!(
                    second >= first,
                    "one write reached {first} but only {second}"
                );
                let found = store.read(P0, 0, first, usize::MAX).unwrap();
                assert_eq!(found.len() as i64, first);
                seen = first;
            }
            seen
        });
        for base in 0..300 {
            let stored = placed(batch_at(&[base], 600), base, 0);
            let to = |id| Placed {
                id,
                row: stored.row,
                bytes: &stored.batch,
                note: None,
                aborted: None,
            };
            store.write(&[to(P0), to(P1)]).unwrap();
        }
        stop.store(true, Ordering::Release);
        reader.join().unwrap();
    });
}

/// `count` batches of three records, from offset 0. Larger than the smallest blob.
fn run(count: usize) -> Vec<Stored> {
    let mut position = 0;
    (0..count)
        .map(|i| {
            let stored = placed(batch_at(&[i as i64; 3], 400), i as i64 * 3, position);
            position = stored.row.end_position();
            stored
        })
        .collect()
}

#[test]
fn command_logs_conform() {
    let dir = tempfile::tempdir().unwrap();
    command_log(Arc::new(MemoryCommandLog::new()));
    command_log(Arc::new(RocksCommandLog::open(dir.path()).unwrap()));
}

fn command_log(log: Arc<dyn CommandLog>) {
    assert!(replayed(&*log, 0).is_empty());
    assert!(log.load_snapshot().unwrap().is_none());
    for (command, index) in [(b"a", 1), (b"b", 2), (b"c", 3), (b"d", 4)] {
        assert_eq!(log.append(command).unwrap(), index);
    }
    assert_eq!(replayed(&*log, 0).len(), 4);
    assert_eq!(replayed(&*log, 3), [(3, b"c".to_vec()), (4, b"d".to_vec())]);
    assert!(matches!(log.snapshot(5, b""), Err(StoreError::Invalid(_))));
    log.snapshot(3, b"image").unwrap();
    assert!(matches!(log.snapshot(2, b""), Err(StoreError::Invalid(_))));
    assert_eq!(log.load_snapshot().unwrap(), Some((3, b"image".to_vec())));
    assert_eq!(replayed(&*log, 0), [(4, b"d".to_vec())]);
    log.snapshot(4, b"all").unwrap();
    assert!(replayed(&*log, 0).is_empty());
    assert_eq!(log.append(b"e").unwrap(), 5);
    let stopped = log.replay(0, &mut |_, _| Err(StoreError::Invalid("enough".into())));
    assert!(matches!(stopped, Err(StoreError::Invalid(reason)) if reason == "enough"));
}

#[test]
fn a_command_log_reopens_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let log = RocksCommandLog::open(dir.path()).unwrap();
    for command in [b"a", b"b", b"c"] {
        log.append(command).unwrap();
    }
    log.snapshot(3, b"image").unwrap();
    drop(log);
    let log = RocksCommandLog::open(dir.path()).unwrap();
    assert_eq!(log.load_snapshot().unwrap(), Some((3, b"image".to_vec())));
    assert_eq!(log.append(b"d").unwrap(), 4);
    drop(log);
    let log = RocksCommandLog::open(dir.path()).unwrap();
    assert_eq!(replayed(&log, 0), [(4, b"d".to_vec())]);
}

fn replayed(log: &dyn CommandLog, from: u64) -> Vec<(u64, Vec<u8>)> {
    let mut found = Vec::new();
    log.replay(from, &mut |index, command| {
        found.push((index, command.to_vec()));
        Ok(())
    })
    .unwrap();
    found
}
