//! The partition path, over the store in memory and over RocksDB.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::channel;

use super::common::{
    EPOCH, Troubled, append, batch, batch_at, empty_batch, entry, open, open_with, part, submit,
};
use tidegate_record::{Batch, LeaderEpoch, PartitionId, retain};
use tidegate_storage::{
    Append, AppendError, AppendPart, Lane, Late, Log, LogOptions, LogStore, MemoryLog, ReadError,
    RetentionPolicy, RocksLog, RocksOptions, StoreError, StoreHealth,
};

pub(crate) const P0: PartitionId = PartitionId(0);
pub(crate) const P1: PartitionId = PartitionId(1);
pub(crate) const ALL: usize = usize::MAX;

/// Runs a test over both stores.
pub(crate) fn on_both(test: impl Fn(Arc<dyn LogStore>)) {
    test(Arc::new(MemoryLog::new()));
    let dir = tempfile::tempdir().unwrap();
    test(Arc::new(
        RocksLog::open(dir.path(), RocksOptions::default()).unwrap(),
    ));
}

#[test]
fn offsets_and_epochs_are_put_in_place() {
    on_both(|store| {
        let log = open(store, 1);
        assert_eq!(append(&log, 0, batch(3)).base_offset, 0);
        let second = append(&log, 0, batch(2));
        assert_eq!(
            (second.base_offset, second.last_offset, second.log_start),
            (3, 4, 0)
        );
        let found = log.read(P0, 3, 5, ALL).unwrap();
        let placed = Batch::check(found[0].batch.clone()).unwrap();
        assert_eq!((placed.base_offset(), placed.leader_epoch()), (3, EPOCH));
        let bounds = log.bounds(P0).unwrap();
        assert_eq!((bounds.start, bounds.end, bounds.synced_end), (0, 5, 5));
        assert_eq!(
            log.size_bytes(P0),
            log.rows(P0, 0, 9).unwrap()[1].end_position()
        );
    });
}

#[test]
fn the_tail_reads_as_the_store_does() {
    on_both(|store| {
        let options = LogOptions {
            tail_cache_bytes: 20_000,
            ..LogOptions::default()
        };
        let log = open_with(store.clone(), 2, options);
        for i in 0..50 {
            append(&log, i % 2, batch_at(&[i64::from(i), 0, 0], 300));
        }
        let end = log.bounds(P0).unwrap().end;
        assert!(
            log.read_tail(P0, 0, end, ALL).is_none(),
            "the oldest batches are evicted"
        );
        let mut cached = 0;
        for from in 0..end {
            for (to, max) in [
                (end, ALL),
                (end, 2_500),
                (end, 0),
                (from + 4, ALL),
                (from, ALL),
            ] {
                let disk = store.read(P0, from, to, max).unwrap();
                assert_eq!(
                    log.read(P0, from, to, max).unwrap(),
                    if from < to { disk } else { vec![] }
                );
                if let Some(tail) = log.read_tail(P0, from, to, max) {
                    assert_eq!(tail, log.read(P0, from, to, max).unwrap());
                    cached += usize::from(!tail.is_empty());
                }
            }
        }
        assert!(cached > 20, "{cached}");
        assert_eq!(log.read_tail(P0, end, end, ALL), Some(vec![]));
        assert_eq!(log.read_tail(P0, end + 1, end, ALL), None);
    });
}

#[test]
fn reads_outside_the_log_are_refused() {
    on_both(|store| {
        let log = open(store, 1);
        append(&log, 0, batch(3));
        assert!(log.read(P0, 3, 9, ALL).unwrap().is_empty());
        for from in [-1, 4, i64::MAX, i64::MIN] {
            let refused = log.read(P0, from, 9, ALL);
            assert!(
                matches!(refused, Err(ReadError::OutOfRange { start: 0, end: 3 })),
                "{from}"
            );
        }
        assert!(matches!(
            log.read(P1, 0, 9, ALL),
            Err(ReadError::UnknownPartition(P1))
        ));
        assert_eq!(log.bounds(P1), None);
    });
}

#[test]
fn an_append_with_a_bad_part_leaves_nothing() {
    on_both(|store| {
        let log = open(store, 2);
        let bad = |id, epoch, last_surviving_delta| AppendPart {
            id: PartitionId(id),
            epoch,
            batch: batch(1),
            last_surviving_delta,
        };
        let fate = |part_two| {
            submit(&log, vec![part(0, batch(1)), part_two], true)
                .recv()
                .unwrap()
                .unwrap_err()
        };
        assert!(matches!(
            fate(bad(9, EPOCH, 0)),
            AppendError::UnknownPartition(PartitionId(9))
        ));
        let stale = fate(bad(1, LeaderEpoch(2), 0));
        assert!(matches!(
            stale,
            AppendError::StaleEpoch {
                id: P1,
                current: EPOCH,
                ..
            }
        ));
        assert!(matches!(fate(bad(1, EPOCH, 1)), AppendError::Invalid(_)));
        assert!(matches!(fate(bad(1, EPOCH, -2)), AppendError::Invalid(_)));
        assert_eq!(log.bounds(P0).unwrap().end, 0);
        assert_eq!(log.health(), StoreHealth::Online);
        // The others of its group are not touched, and the next ones fit without a hole.
        let both = submit(&log, vec![part(0, batch(2)), part(0, batch(3))], true);
        let offsets: Vec<_> = both
            .recv()
            .unwrap()
            .unwrap()
            .iter()
            .map(|a| a.base_offset)
            .collect();
        assert_eq!(offsets, [0, 2]);
    });
}

#[test]
fn a_refused_append_takes_those_behind_it_in_its_lane_along() {
    let log = open(Arc::new(MemoryLog::new()), 1);
    let send = |lane: &Lane, id| {
        let (sender, receiver) = channel();
        let sent = Append {
            parts: vec![part(id, batch(1))],
            sync: true,
            now_ms: 0,
            lane: Some(lane.clone()),
            late: None,
            note: None,
            aborts: None,
            done: Box::new(move |fate| sender.send(fate).unwrap()),
        };
        log.submit(sent).unwrap();
        receiver.recv().unwrap()
    };
    let (lane, other) = (Lane::default(), Lane::default());
    assert_eq!(send(&lane, 0).unwrap()[0].base_offset, 0);
    assert!(matches!(
        send(&lane, 9),
        Err(AppendError::UnknownPartition(_))
    ));
    assert!(matches!(send(&lane, 0), Err(AppendError::LaneBroken)));
    assert_eq!(send(&other, 0).unwrap()[0].base_offset, 1);
    assert!(matches!(send(&lane, 0), Err(AppendError::LaneBroken)));
}

/// An append whose late parts say at which offset the first one stands.
fn with_late(
    log: &Log,
    parts: Vec<AppendPart>,
    note: Option<&'static str>,
    late: impl FnOnce(i64) -> Result<Vec<AppendPart>, String> + Send + 'static,
) -> Result<Vec<i64>, AppendError> {
    let (sender, receiver) = channel();
    let append = Append {
        parts,
        sync: true,
        now_ms: 0,
        lane: None,
        late: Some(Late {
            bytes: 100,
            parts: Box::new(move |first| late(first.base_offset)),
        }),
        note: note.map(Into::into),
        aborts: None,
        done: Box::new(move |fate| sender.send(fate).unwrap()),
    };
    assert!(append.size() >= 100 + note.map_or(0, str::len));
    log.submit(append).unwrap();
    let appended = receiver.recv().unwrap()?;
    Ok(appended.iter().map(|part| part.base_offset).collect())
}

#[test]
fn late_parts_know_where_the_first_one_stands() {
    on_both(|store| {
        let log = open(store.clone(), 3);
        append(&log, 0, batch(5));
        append(&log, 2, batch(2));
        let say = |at: i64| {
            Ok(vec![
                part(1, batch_at(&[at], 10)),
                part(0, batch_at(&[at], 10)),
            ])
        };
        let both = vec![part(0, batch(3)), part(2, batch(1))];
        let offsets = with_late(&log, both, Some("noted"), say).unwrap();
        assert_eq!(
            offsets,
            [5, 2, 0, 8],
            "the late ones stand behind the others"
        );
        for (id, offset) in [(P1, 0), (P0, 8)] {
            assert_eq!(log.rows(id, offset, 1).unwrap()[0].max_timestamp, 5);
        }
        for offset in 5..8 {
            assert_eq!(log.note(P0, offset).unwrap(), Some((5, "noted".into())));
        }
        assert_eq!(
            log.note(P0, 8).unwrap(),
            None,
            "a note is of the first part"
        );
        assert!(matches!(
            log.note(P0, 10),
            Err(ReadError::OutOfRange { .. })
        ));
        assert_eq!(store.end(P0).unwrap(), log.bounds(P0).unwrap().end);
    });
}

#[test]
fn an_append_whose_late_parts_cannot_be_made_leaves_nothing() {
    let log = open(Arc::new(MemoryLog::new()), 2);
    let first = || vec![part(0, batch(3)), part(1, batch(1)), part(0, batch(2))];
    let refused = with_late(&log, first(), None, |_| Err("as the test wants it".into()));
    assert!(matches!(refused, Err(AppendError::Late(reason)) if reason == "as the test wants it"));
    let panicked = with_late(&log, first(), None, |_| panic!("as the test wants it"));
    assert!(matches!(panicked, Err(AppendError::Invalid(_))));
    let unknown = with_late(&log, first(), None, |_| Ok(vec![part(9, batch(1))]));
    assert!(matches!(unknown, Err(AppendError::UnknownPartition(_))));
    let of_nothing = with_late(&log, vec![], None, |_| Ok(vec![part(0, batch(1))]));
    assert!(matches!(of_nothing, Err(AppendError::Invalid(_))));
    assert_eq!(log.health(), StoreHealth::Online);
    assert_eq!(log.bounds(P0).unwrap().end, 0);
    // The next one stands where the refused ones would have stood.
    assert_eq!(
        with_late(&log, first(), None, |_| Ok(vec![])).unwrap(),
        [0, 0, 3]
    );
}

#[test]
fn refused_and_taken_appends_of_one_group_do_not_touch_each_other() {
    let store = Troubled::new(Arc::new(MemoryLog::new()));
    let log = open(store.clone(), 1);
    store.hold();
    // The first one occupies the writer, the others wait for it and are one group.
    let mut fates = vec![submit(&log, vec![part(0, batch(1))], true)];
    for refuse in [false, true, false, true, false] {
        let (sender, fate) = channel();
        log.submit(Append {
            parts: vec![part(0, batch(2))],
            sync: true,
            now_ms: 0,
            lane: None,
            late: Some(Late {
                bytes: 0,
                parts: Box::new(move |first| match refuse {
                    true => Err("no".into()),
                    false => Ok(vec![part(0, batch_at(&[first.base_offset], 1))]),
                }),
            }),
            note: None,
            aborts: None,
            done: Box::new(move |fate| sender.send(fate).unwrap()),
        })
        .unwrap();
        fates.push(fate);
    }
    store.release();
    let offsets: Vec<_> = fates
        .iter()
        .filter_map(|fate| fate.recv().unwrap().ok())
        .flatten()
        .map(|appended| appended.base_offset)
        .collect();
    assert_eq!(offsets, [0, 1, 3, 4, 6, 7, 9]);
    let rows = log.rows(P0, 0, 100).unwrap();
    let late: Vec<_> = rows
        .iter()
        .filter(|row| row.base_offset == row.last_offset)
        .map(|row| row.max_timestamp)
        .collect();
    assert_eq!(
        late,
        [1_000, 1, 4, 7],
        "each late part names its own source"
    );
}

#[test]
fn a_note_has_a_bound() {
    let log = open(Arc::new(MemoryLog::new()), 1);
    let send = |len: usize| {
        let (sender, receiver) = channel();
        log.submit(Append {
            parts: vec![part(0, batch(1))],
            sync: true,
            now_ms: 0,
            lane: None,
            late: None,
            note: Some(vec![7; len].into()),
            aborts: None,
            done: Box::new(move |fate| sender.send(fate).unwrap()),
        })
        .unwrap();
        receiver.recv().unwrap()
    };
    assert!(matches!(send((16 << 10) + 1), Err(AppendError::Invalid(_))));
    assert_eq!(send(16 << 10).unwrap()[0].base_offset, 0);
    assert_eq!(log.note(P0, 0).unwrap().unwrap().1.len(), 16 << 10);
}

#[test]
fn a_new_epoch_refuses_what_was_admitted_before() {
    let store = Troubled::new(Arc::new(MemoryLog::new()));
    let log = open(store.clone(), 1);
    log.set_epoch(P0, LeaderEpoch(4));
    let fate = submit(&log, vec![part(0, batch(1))], true).recv().unwrap();
    assert!(matches!(
        fate,
        Err(AppendError::StaleEpoch {
            current: LeaderEpoch(4),
            ..
        })
    ));
    assert_eq!(log.bounds(P0).unwrap().end, 0);
}

#[test]
fn an_epoch_ends_where_the_next_one_begins() {
    on_both(|store| {
        let log = open(store, 1);
        let write = |epoch: i32, records: usize| {
            log.set_epoch(P0, LeaderEpoch(epoch));
            for _ in 0..records {
                let mut part = part(0, batch(2));
                part.epoch = LeaderEpoch(epoch);
                submit(&log, vec![part], true).recv().unwrap().unwrap();
            }
        };
        write(3, 5);
        write(6, 40);
        write(7, 1);
        write(9, 0);
        let end = |epoch: i32| {
            let found = log.end_of_epoch(P0, LeaderEpoch(epoch)).unwrap();
            found.map(|(epoch, offset)| (epoch.0, offset))
        };
        assert_eq!(
            end(1),
            Some((1, 0)),
            "before the first: it ends where that begins"
        );
        assert_eq!(end(3), Some((3, 10)));
        assert_eq!(end(5), Some((3, 10)), "no batch of its own: the one before");
        assert_eq!(end(6), Some((6, 90)));
        assert_eq!(end(7), Some((7, 92)));
        assert_eq!(end(8), Some((7, 92)));
        assert_eq!(
            end(9),
            Some((9, 92)),
            "the current one, without a batch yet"
        );
        assert_eq!((end(10), end(-1)), (None, None));
        log.move_log_start(P0, 50).unwrap();
        assert_eq!(end(3), Some((3, 50)), "its batches are gone");
        assert_eq!(end(6), Some((6, 90)));
    });
}

#[test]
fn a_full_queue_hands_the_append_back() {
    let store = Troubled::new(Arc::new(MemoryLog::new()));
    let options = LogOptions {
        queue_bytes: 1_000,
        ..LogOptions::default()
    };
    let log = open_with(store.clone(), 1, options);
    store.hold();
    let (sender, fates) = channel();
    let offer = |bytes| {
        let sender = sender.clone();
        let done = Box::new(move |fate: Result<_, _>| sender.send(fate.is_ok()).unwrap_or(()));
        let parts = vec![part(0, batch_at(&[0], bytes))];
        log.submit(Append {
            parts,
            sync: true,
            now_ms: 0,
            lane: None,
            late: None,
            note: None,
            aborts: None,
            done,
        })
        .map_err(Box::new)
    };
    // One at the writer, then the queue fills; one too large for it is taken when it is alone.
    offer(10).unwrap();
    while store.writes.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    offer(5_000).unwrap();
    let back = offer(10).unwrap_err();
    assert_eq!(back.parts.len(), 1);
    assert!(
        fates.try_recv().is_err(),
        "an append handed back is not answered"
    );
    store.release();
    assert_eq!(fates.iter().take(2).collect::<Vec<_>>(), [true, true]);
    log.submit(*back).unwrap();
    assert!(fates.recv().unwrap());
}

#[test]
fn what_waits_behind_a_failed_write_is_refused() {
    let store = Troubled::new(Arc::new(MemoryLog::new()));
    let log = open(store.clone(), 1);
    store.hold();
    *store.fail_write.lock().unwrap() = Some(StoreError::Io("write: gone".into()));
    let fates: Vec<_> = (0..5)
        .map(|_| submit(&log, vec![part(0, batch(1))], false))
        .collect();
    store.release();
    for fate in fates {
        assert!(matches!(fate.recv().unwrap(), Err(AppendError::Offline(_))));
    }
    assert_eq!(log.bounds(P0).unwrap().end, 0);
}

#[test]
fn a_full_disk_refuses_and_then_resumes() {
    let store = Troubled::new(Arc::new(MemoryLog::new()));
    let log = open(store.clone(), 1);
    *store.fail_write.lock().unwrap() = Some(StoreError::DiskFull("no space".into()));
    let fate = submit(&log, vec![part(0, batch(1))], true).recv().unwrap();
    assert!(matches!(fate, Err(AppendError::Store(_))));
    assert_eq!(log.health(), StoreHealth::Online);
    *store.fail_write.lock().unwrap() = None;
    assert_eq!(append(&log, 0, batch(1)).base_offset, 0);
}

#[test]
fn a_panicking_callback_stops_nobody_else() {
    let log = open(Arc::new(MemoryLog::new()), 1);
    let done = Box::new(|_| panic!("a caller's bug"));
    log.submit(Append {
        parts: vec![part(0, batch(1))],
        sync: true,
        now_ms: 0,
        lane: None,
        late: None,
        note: None,
        aborts: None,
        done,
    })
    .unwrap();
    assert_eq!(append(&log, 0, batch(1)).base_offset, 1);
}

#[test]
fn closing_finishes_what_is_queued() {
    on_both(|store| {
        let log = open(store.clone(), 1);
        let fates: Vec<_> = (0..50)
            .map(|_| submit(&log, vec![part(0, batch(1))], false))
            .collect();
        log.close();
        assert!(fates.into_iter().all(|fate| fate.recv().unwrap().is_ok()));
        assert_eq!(log.bounds(P0).unwrap().synced_end, 50);
        let done = Box::new(|_| ());
        let late = Append {
            parts: vec![part(0, batch(1))],
            sync: false,
            now_ms: 0,
            lane: None,
            late: None,
            note: None,
            aborts: None,
            done,
        };
        assert!(log.submit(late).is_err());
        assert_eq!(store.end(P0).unwrap(), 50);
    });
}

#[test]
fn readers_beside_the_writer_see_a_growing_whole_log() {
    on_both(|store| {
        let options = LogOptions {
            tail_cache_bytes: 30_000,
            ..LogOptions::default()
        };
        let log = open_with(store, 1, options);
        let (stop, start) = (AtomicBool::new(false), AtomicI64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Acquire) {
                        read_through(&log, start.load(Ordering::Acquire));
                    }
                });
            }
            for i in 0..400 {
                append(&log, 0, batch_at(&[i, i], 600));
                if i % 100 == 99 {
                    start.store(i, Ordering::Release);
                    log.move_log_start(P0, i).unwrap();
                }
            }
            stop.store(true, Ordering::Release);
        });
    });
}

/// Reads to the end; only retention may interrupt it.
fn read_through(log: &Log, from: i64) {
    let mut next = from.max(log.bounds(P0).unwrap().start);
    let end = log.bounds(P0).unwrap().end;
    while next < end {
        match log.read(P0, next, end, 5_000) {
            Ok(found) => {
                assert!(found[0].row.base_offset <= next && found[0].row.last_offset >= next);
                for stored in &found {
                    assert_eq!(
                        Batch::check(stored.batch.clone()).unwrap().base_offset(),
                        stored.row.base_offset
                    );
                }
                next = found.last().unwrap().row.last_offset + 1;
            }
            Err(ReadError::OutOfRange { start, .. }) => next = start,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_deleted_partition_refuses_appends() {
    on_both(|store| {
        let log = open(store.clone(), 2);
        append(&log, 0, batch(1));
        log.delete_partition(P0).unwrap();
        log.delete_partition(P0).unwrap();
        let fate = submit(&log, vec![part(0, batch(1))], true).recv().unwrap();
        assert!(matches!(fate, Err(AppendError::UnknownPartition(P0))));
        assert!(matches!(
            log.read(P0, 0, 1, ALL),
            Err(ReadError::UnknownPartition(P0))
        ));
        assert_eq!(log.partitions().len(), 1);
        assert_eq!(append(&log, 1, batch(1)).base_offset, 0);
        let taken = tidegate_storage::PartitionEntry {
            topic_id: [0xee; 16],
            ..entry(1)
        };
        assert!(log.ensure_partition(taken).is_err());
    });
}

#[test]
fn the_log_start_moves_forward_only() {
    on_both(|store| {
        let log = open(store.clone(), 1);
        for _ in 0..4 {
            append(&log, 0, batch(3));
        }
        let size = u64::from(log.rows(P0, 0, 1).unwrap()[0].size);
        assert_eq!(log.move_log_start(P0, 4).unwrap(), 4);
        assert_eq!(log.move_log_start(P0, 1).unwrap(), 4);
        assert!(matches!(
            log.move_log_start(P0, 13),
            Err(ReadError::OutOfRange { .. })
        ));
        assert_eq!(log.read(P0, 4, 12, ALL).unwrap().len(), 3);
        assert!(matches!(
            log.read(P0, 3, 12, ALL),
            Err(ReadError::OutOfRange { start: 4, .. })
        ));
        assert_eq!(log.size_bytes(P0), 3 * size);
        assert_eq!(store.rows(P0, 0, 9).unwrap().len(), 3);
        assert_eq!(log.move_log_start(P0, 12).unwrap(), 12);
        assert_eq!((log.size_bytes(P0), log.bounds(P0).unwrap().end), (0, 12));
        assert_eq!(append(&log, 0, batch(1)).base_offset, 12);
        assert_eq!(
            log.size_bytes(P0),
            store.rows(P0, 0, 9).unwrap()[0].size.into()
        );
    });
}

#[test]
fn retention_by_age_and_by_size() {
    on_both(|store| {
        let log = open(store, 1);
        for timestamp in [100, 200, 300, 150, 400] {
            append(&log, 0, batch_at(&[timestamp; 2], 100));
        }
        let size = u64::from(log.rows(P0, 0, 1).unwrap()[0].size);
        let age = |ms| RetentionPolicy {
            max_age_ms: Some(ms),
            max_bytes: None,
        };
        let bytes = |bytes| RetentionPolicy {
            max_age_ms: None,
            max_bytes: Some(bytes),
        };
        assert_eq!(
            log.retain(P0, RetentionPolicy::default(), 9_999, 10)
                .unwrap(),
            None
        );
        assert_eq!(log.retain(P0, age(300), 400, 10).unwrap(), None);
        assert_eq!(log.retain(P0, age(299), 400, 10).unwrap(), Some(2));
        // Never beyond the high watermark, whatever its age.
        assert_eq!(log.retain(P0, age(0), 9_999, 4).unwrap(), Some(4));
        assert_eq!(log.retain(P0, bytes(3 * size), 0, 10).unwrap(), None);
        assert_eq!(log.retain(P0, bytes(3 * size - 1), 0, 10).unwrap(), None);
        assert_eq!(log.retain(P0, bytes(2 * size), 0, 10).unwrap(), Some(6));
        assert_eq!(log.retain(P0, bytes(0), 0, 10).unwrap(), Some(10));
        assert_eq!(log.bounds(P0).unwrap().start, 10);
    });
}

#[test]
fn an_emptied_batch_ages_by_its_append_time() {
    on_both(|store| {
        let log = open(store, 1);
        append(&log, 0, empty_batch(4));
        assert_eq!(log.bounds(P0).unwrap().end, 4);
        let row = log.rows(P0, 2, 1).unwrap()[0];
        assert!(row.is_empty() && row.append_time == 5_000);
        let policy = RetentionPolicy {
            max_age_ms: Some(10),
            max_bytes: None,
        };
        assert_eq!(log.retain(P0, policy, 5_010, 4).unwrap(), None);
        assert_eq!(log.retain(P0, policy, 5_011, 4).unwrap(), Some(4));
    });
}

#[test]
fn time_lookup_finds_the_first_surviving_record() {
    on_both(|store| {
        let log = open(store, 1);
        let times: [&[i64]; 6] = [&[10, 30], &[20, 25, 28], &[50, 40], &[45], &[60, 70], &[55]];
        for batch_times in times {
            append(&log, 0, batch_at(batch_times, 50));
        }
        let flat: Vec<i64> = times.concat();
        let end = flat.len() as i64;
        for target in 0..80 {
            for (start, to) in [(0, end), (0, 5), (0, 0), (3, end)] {
                // Log starts only grow: the last round's stays for the next targets.
                log.move_log_start(P0, start).unwrap();
                let start = log.bounds(P0).unwrap().start;
                let expected = (start..to).find(|o| flat[*o as usize] >= target);
                let found = log.lookup_timestamp(P0, target, to).unwrap();
                let expected = expected.map(|o| (o, flat[o as usize], EPOCH.0));
                assert_eq!(found, expected, "target {target}, log [{start}, {to})");
            }
        }
    });
}

#[test]
fn the_newest_record_is_found_wherever_the_log_starts() {
    on_both(|store| {
        let log = open(store, 1);
        let times: [&[i64]; 5] = [&[10, 30], &[90, 80, 85], &[50, 40], &[60, 70], &[70]];
        for batch_times in times {
            append(&log, 0, batch_at(batch_times, 50));
        }
        let flat: Vec<i64> = times.concat();
        for start in 0..=flat.len() as i64 {
            log.move_log_start(P0, start).unwrap();
            for to in [2, 5, 7, 9, 10] {
                let newest = (start..to).map(|o| flat[o as usize]).max();
                let expected =
                    newest.map(|ts| ((start..to).find(|o| flat[*o as usize] == ts).unwrap(), ts));
                assert_eq!(
                    log.max_timestamp(P0, to).unwrap(),
                    expected,
                    "log [{start}, {to})"
                );
            }
        }
    });
}

#[test]
fn dropped_records_are_not_found_by_time() {
    on_both(|store| {
        let log = open(store, 1);
        let whole = batch_at(&[10, 99, 20], 50);
        let records = whole
            .records(tidegate_record::DecodeLimits {
                max_bytes: 1 << 20,
                max_records: 10,
            })
            .unwrap();
        let sparse = retain(&whole, &records, |i| i != 1).unwrap();
        let sparse = AppendPart {
            last_surviving_delta: 2,
            ..part(0, sparse)
        };
        submit(&log, vec![sparse], true).recv().unwrap().unwrap();
        append(&log, 0, empty_batch(3));
        append(&log, 0, batch_at(&[50], 50));
        assert_eq!(
            log.lookup_timestamp(P0, 15, 7).unwrap(),
            Some((2, 20, EPOCH.0))
        );
        assert_eq!(
            log.lookup_timestamp(P0, 21, 7).unwrap(),
            Some((6, 50, EPOCH.0))
        );
        assert_eq!(log.lookup_timestamp(P0, 51, 7).unwrap(), None);
        assert_eq!(log.max_timestamp(P0, 6).unwrap(), Some((2, 20)));
    });
}

#[test]
fn truncation_moves_the_end_back() {
    on_both(|store| {
        let log = open(store, 1);
        for timestamp in [10, 90, 20] {
            append(&log, 0, batch_at(&[timestamp; 3], 50));
        }
        log.truncate(P0, 4).unwrap();
        let bounds = log.bounds(P0).unwrap();
        assert_eq!((bounds.end, bounds.synced_end), (3, 3));
        let again = append(&log, 0, batch_at(&[30], 50));
        assert_eq!(again.base_offset, 3);
        assert_eq!(log.read(P0, 0, 9, ALL).unwrap().len(), 2);
        assert_eq!(log.max_timestamp(P0, 9).unwrap(), Some((3, 30)));
        assert_eq!(
            log.size_bytes(P0),
            log.rows(P0, 3, 1).unwrap()[0].end_position()
        );
    });
}
