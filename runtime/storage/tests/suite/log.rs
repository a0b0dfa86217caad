//! The partition path, over the store in memory and over RocksDB.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::common::{
    EPOCH, Troubled, append, batch, batch_at, empty_batch, entry, open, open_with, part, submit,
};
use tidegate_record::{Batch, LeaderEpoch, PartitionId, retain};
use tidegate_storage::{
    Append, AppendError, AppendPart, FlushPolicy, Lane, Late, Log, LogOptions, LogStore, MemoryLog,
    Progress, ReadError, RetentionPolicy, RocksLog, RocksOptions, StoreError, StoreHealth,
};

const P0: PartitionId = PartitionId(0);
const P1: PartitionId = PartitionId(1);
const ALL: usize = usize::MAX;

/// Runs a test over both stores.
fn on_both(test: impl Fn(Arc<dyn LogStore>)) {
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
fn a_sync_that_nobody_asked_for_comes_sooner_where_syncs_are_quick() {
    on_both(|store| {
        let options = LogOptions {
            lazy_sync_ms: 3_600_000,
            lazy_sync_factor: 10,
            ..LogOptions::default()
        };
        let log = open_with(store, 1, options);
        let (told, synced) = channel();
        let told = Mutex::new(told);
        log.on_progress(Box::new(move |progress| {
            for moved in progress
                .iter()
                .filter(|moved| moved.synced_end == moved.end)
            {
                let _ = told.lock().unwrap().send(moved.end);
            }
        }));
        for end in [3, 6] {
            submit(&log, vec![part(0, batch(3))], false);
            while synced.recv_timeout(Duration::from_secs(60)).unwrap() < end {}
        }
    });
}

/// Three partitions of 40 batches of three records, all of them older than the tail cache.
fn old_batches(store: Arc<dyn LogStore>, read_ahead_bytes: usize) -> Arc<Log> {
    let options = LogOptions {
        tail_cache_bytes: 0,
        read_ahead_bytes,
        ..LogOptions::default()
    };
    let log = open_with(store, 3, options);
    for i in 0..120 {
        append(&log, i % 3, batch_at(&[i64::from(i), 0, 0], 300));
    }
    log
}

/// Reads on from `from`, and what comes next before it is asked for; gives where that begins.
fn read_on(log: &Log, id: PartitionId, from: i64) -> i64 {
    let found = log.read_shared(id, from, i64::MAX, 4_500).unwrap();
    let next = found.last().unwrap().row.last_offset + 1;
    if let Some(ahead) = log.ahead(id, from, next, 4_500) {
        ahead();
    }
    next
}

#[test]
fn readers_of_old_batches_share_them_and_find_the_next_ones_read() {
    on_both(|store| {
        let store = Troubled::new(store);
        let log = old_batches(store.clone(), 1 << 20);
        let reads = || store.reads.load(Ordering::SeqCst);
        let next = read_on(&log, P0, 0);
        assert_eq!(reads(), 2, "what was asked for, and what comes next");
        assert_eq!(
            log.read_recent(P0, next, i64::MAX, 4_500),
            Some(store.read(P0, next, i64::MAX, 4_500).unwrap())
        );
        let mut next = next;
        while next < 120 {
            next = read_on(&log, P0, next);
        }
        let before = reads();
        for from in 0..120 {
            let recent = log.read_recent(P0, from, i64::MAX, 1_000).unwrap();
            assert!((recent[0].row.base_offset..=recent[0].row.last_offset).contains(&from));
            let few = log.read_recent(P0, from, from + 1, 4_500).unwrap();
            assert_eq!(few.len(), 1, "nothing at or behind the end that was given");
        }
        assert_eq!(reads(), before, "everything was read once");
        assert!(
            log.ahead(P1, 60, 66, 4_500).is_none(),
            "nobody reads on there"
        );
        assert!(log.read_recent(P1, 60, i64::MAX, 4_500).is_none());
    });
}

#[test]
fn what_was_read_is_forgotten_where_the_log_changes() {
    on_both(|store| {
        let log = old_batches(store, 1 << 20);
        let next = read_on(&log, P0, 0);
        log.truncate(P0, next + 1).unwrap();
        assert!(log.read_recent(P0, 0, i64::MAX, 4_500).is_none());
        append(&log, 0, batch_at(&[77, 0, 0], 100));
        let found = log.read_shared(P0, next, i64::MAX, 4_500).unwrap();
        let found = Batch::check(found[0].batch.clone()).unwrap();
        assert_eq!(found.header().max_timestamp, 77);
        log.move_log_start(P0, 3).unwrap();
        assert!(log.read_recent(P0, 0, i64::MAX, 4_500).is_none());
    });
}

#[test]
fn what_is_read_ahead_stays_within_its_budget() {
    on_both(|store| {
        let log = old_batches(store, 20_000);
        let mut next = 0;
        while next < 120 {
            next = read_on(&log, P0, next);
        }
        let kept = |from: &i64| log.read_recent(P0, *from, from + 1, 0).is_some();
        let kept = (0..120).step_by(3).filter(kept).count();
        assert!(
            (10..=20).contains(&kept),
            "{kept} batches of about 1000 bytes"
        );

        // What nobody asks for takes half of it at most.
        let next = [P0, P1].map(|id| read_on(&log, id, 0));
        assert!(log.ahead(PartitionId(2), 0, next[0], 4_500).is_none());
        log.read_shared(P0, next[0], i64::MAX, 4_500).unwrap();
        assert!(log.ahead(PartitionId(2), 0, next[0], 4_500).is_some());

        let log = old_batches(Arc::new(MemoryLog::new()), 0);
        let next = read_on(&log, P0, 0);
        assert!(log.read_recent(P0, 0, i64::MAX, 4_500).is_none() && next > 0);
    });
}

#[test]
fn a_stretch_that_cannot_be_read_is_read_again() {
    let store = Troubled::new(Arc::new(MemoryLog::new()));
    let log = old_batches(store.clone(), 1 << 20);
    store.fail_read.store(true, Ordering::SeqCst);
    assert!(log.read_shared(P0, 0, i64::MAX, 4_500).is_err());
    assert!(log.ahead(P0, 0, 12, 4_500).map(|ahead| ahead()).is_some());
    store.fail_read.store(false, Ordering::SeqCst);
    for from in [0, 12] {
        let found = log.read_shared(P0, from, i64::MAX, 4_500).unwrap();
        assert_eq!(found[0].row.base_offset, from);
    }
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
fn one_write_and_one_sync_serve_a_whole_group() {
    let store = Troubled::new(Arc::new(MemoryLog::new()));
    let log = open(store.clone(), 2);
    store.hold();
    let first = submit(&log, vec![part(0, batch(1))], true);
    while store.writes.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    let waiting: Vec<_> = (0..100)
        .map(|i| submit(&log, vec![part(i % 2, batch(1))], true))
        .collect();
    store.release();
    first.recv().unwrap().unwrap();
    for fate in waiting {
        fate.recv().unwrap().unwrap();
    }
    assert_eq!(store.writes.load(Ordering::SeqCst), 2);
    assert_eq!(store.syncs.load(Ordering::SeqCst), 2);
    let stats = log.stats();
    assert_eq!((stats.writes, stats.syncs, stats.batches), (2, 2, 101));
}

#[test]
fn callbacks_come_in_the_order_of_submission() {
    on_both(|store| {
        let log = open(store, 4);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (finished, all) = channel();
        for i in 0..500u32 {
            // Refused ones keep their place too.
            let id = if i % 10 == 9 { 77 } else { i % 4 };
            let (seen, finished) = (seen.clone(), finished.clone());
            let done = Box::new(move |fate: Result<_, _>| {
                assert_eq!(fate.is_err(), id == 77);
                seen.lock().unwrap().push(i);
                finished.send(()).unwrap_or(());
            });
            let parts = vec![part(id, batch(1))];
            log.submit(Append {
                parts,
                sync: i % 3 == 0,
                now_ms: 0,
                lane: None,
                late: None,
                note: None,
                aborts: None,
                done,
            })
            .unwrap();
        }
        drop(finished);
        assert_eq!(all.iter().count(), 500);
        assert!(seen.lock().unwrap().iter().copied().eq(0..500));
    });
}

#[test]
fn unsynced_appends_are_answered_first_and_synced_later() {
    on_both(|store| {
        let store = Troubled::new(store);
        let log = open(store.clone(), 1);
        let (moved, progress) = channel();
        log.on_progress(Box::new(move |all: &[Progress]| {
            all.iter().for_each(|one| moved.send(*one).unwrap_or(()));
        }));
        submit(&log, vec![part(0, batch(2))], false)
            .recv()
            .unwrap()
            .unwrap();
        assert_eq!(
            progress.recv().unwrap(),
            Progress {
                id: P0,
                end: 2,
                synced_end: 0
            }
        );
        assert_eq!(
            progress.recv().unwrap(),
            Progress {
                id: P0,
                end: 2,
                synced_end: 2
            }
        );
        assert_eq!(store.syncs.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_relaxed_partition_is_synced_by_count_or_by_time() {
    on_both(|store| {
        let store = Troubled::new(store);
        let options = LogOptions {
            lazy_sync_ms: u64::MAX,
            ..LogOptions::default()
        };
        let log = open_with(store.clone(), 2, options);
        let (moved, progress) = channel();
        log.on_progress(Box::new(move |all: &[Progress]| {
            all.iter().for_each(|one| moved.send(*one).unwrap_or(()));
        }));
        let flush = |messages, ms| log.set_flush_policy(P0, FlushPolicy { messages, ms });
        let written = |records| {
            submit(&log, vec![part(0, batch(records))], false)
                .recv()
                .unwrap()
                .unwrap()
        };
        let synced = |end| {
            while progress.recv().unwrap().synced_end < end {}
            store.syncs.load(Ordering::SeqCst)
        };

        flush(Some(10), None);
        written(4);
        written(5);
        assert_eq!(log.bounds(P0).unwrap().synced_end, 0);
        written(1);
        assert_eq!(synced(10), 1, "one sync at the tenth record");

        flush(Some(1000), Some(1));
        written(1);
        assert_eq!(synced(11), 2, "time was up first");

        // Somebody else's sync is everybody's, and the count begins anew.
        flush(Some(10), None);
        written(9);
        append(&log, 1, batch(1));
        assert_eq!(synced(20), 3);
        written(9);
        assert_eq!(log.bounds(P0).unwrap().synced_end, 20);
    });
}

#[test]
fn a_sync_that_somebody_waits_for_comes_at_once() {
    on_both(|store| {
        let store = Troubled::new(store);
        let options = LogOptions {
            lazy_sync_ms: 3_600_000,
            ..LogOptions::default()
        };
        let log = open_with(store.clone(), 1, options);
        let (moved, progress) = channel();
        log.on_progress(Box::new(move |all: &[Progress]| {
            all.iter().for_each(|one| moved.send(*one).unwrap_or(()));
        }));
        // With nothing to sync it changes nothing.
        log.sync_soon();
        for end in 1..=3 {
            submit(&log, vec![part(0, batch(1))], false)
                .recv()
                .unwrap()
                .unwrap();
            log.sync_soon();
            while progress.recv().unwrap().synced_end < end {}
        }
        assert!(store.syncs.load(Ordering::SeqCst) <= 3);
    });
}

/// A log whose syncs come when they are asked for, and what it tells of its progress.
fn synced_when_asked(store: Arc<Troubled>) -> (Arc<Log>, Receiver<Progress>) {
    let options = LogOptions {
        lazy_sync_ms: 3_600_000,
        ..LogOptions::default()
    };
    let log = open_with(store, 1, options);
    let (moved, progress) = channel();
    log.on_progress(Box::new(move |all: &[Progress]| {
        all.iter().for_each(|one| moved.send(*one).unwrap_or(()));
    }));
    (log, progress)
}

fn written(log: &Log, records: usize) {
    let fate = submit(log, vec![part(0, batch(records))], false);
    fate.recv().unwrap().unwrap();
}

#[test]
fn appends_go_on_while_a_sync_that_nobody_asked_for_is_made() {
    on_both(|store| {
        let store = Troubled::new(store);
        let (log, progress) = synced_when_asked(store.clone());
        let of = |end, synced_end| Progress {
            id: P0,
            end,
            synced_end,
        };
        store.hold_sync();
        written(&log, 2);
        assert_eq!(progress.recv().unwrap(), of(2, 0));
        log.sync_soon();
        while store.syncs.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        written(&log, 3);
        assert_eq!(progress.recv().unwrap(), of(5, 0));
        // Asked for while the first is under way: made behind it.
        log.sync_soon();
        store.release_sync();
        // Of what was there when it began, and not of what came since.
        assert_eq!(progress.recv().unwrap(), of(2, 2));
        assert_eq!(progress.recv().unwrap(), of(5, 5));
        assert_eq!(log.bounds(P0).unwrap().synced_end, 5);
        assert_eq!(store.syncs.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn what_was_cut_off_while_it_was_synced_is_not_taken_for_synced() {
    on_both(|store| {
        let store = Troubled::new(store);
        let (log, progress) = synced_when_asked(store.clone());
        written(&log, 1);
        written(&log, 2);
        store.hold_sync();
        log.sync_soon();
        while store.syncs.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        log.truncate(P0, 1).unwrap();
        written(&log, 5);
        log.sync_soon();
        store.release_sync();
        let told: Vec<_> = progress
            .iter()
            .take(4)
            .map(|one| (one.end, one.synced_end))
            .collect();
        assert_eq!(told, [(1, 0), (3, 0), (6, 0), (6, 6)]);
    });
}

#[test]
fn a_failed_sync_that_nobody_asked_for_takes_the_store_offline() {
    let store = Troubled::new(Arc::new(MemoryLog::new()));
    let (log, progress) = synced_when_asked(store.clone());
    written(&log, 1);
    assert_eq!(progress.recv().unwrap().end, 1);
    store.hold_sync();
    store.fail_sync.store(true, Ordering::SeqCst);
    log.sync_soon();
    while store.syncs.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    // It waits for the disk, and must not believe the second sync.
    let waiting = submit(&log, vec![part(0, batch(1))], true);
    store.fail_sync.store(false, Ordering::SeqCst);
    store.release_sync();
    assert!(matches!(
        waiting.recv().unwrap(),
        Err(AppendError::Offline(_))
    ));
    log.close();
    assert_eq!(log.bounds(P0).unwrap().synced_end, 0);
    assert!(progress.iter().all(|one| one.synced_end == 0));
}

#[test]
fn the_log_may_be_closed_by_whoever_hears_of_a_sync() {
    let (log, _) = synced_when_asked(Troubled::new(Arc::new(MemoryLog::new())));
    let (closed, is_closed) = channel();
    let weak = Arc::downgrade(&log);
    log.on_progress(Box::new(move |all: &[Progress]| {
        if all.iter().any(|one| one.synced_end == 1) {
            weak.upgrade().unwrap().close();
            closed.send(()).unwrap();
        }
    }));
    written(&log, 1);
    log.sync_soon();
    is_closed.recv().unwrap();
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
fn nothing_is_acknowledged_after_a_failed_sync() {
    let store = Troubled::new(Arc::new(MemoryLog::new()));
    let log = open(store.clone(), 1);
    append(&log, 0, batch(1));
    store.fail_sync.store(true, Ordering::SeqCst);
    let fate = submit(&log, vec![part(0, batch(1))], true).recv().unwrap();
    assert!(matches!(fate, Err(AppendError::Offline(_))));
    assert!(matches!(log.health(), StoreHealth::Offline(reason) if reason.contains("sync")));
    // The disk is well again, but a second fsync would say so even about pages it lost.
    store.fail_sync.store(false, Ordering::SeqCst);
    let syncs = store.syncs.load(Ordering::SeqCst);
    let append = Append {
        parts: vec![part(0, batch(1))],
        sync: true,
        now_ms: 0,
        lane: None,
        late: None,
        note: None,
        aborts: None,
        done: Box::new(|_| panic!("handed back, not answered")),
    };
    drop(log.submit(append).unwrap_err());
    assert!(log.move_log_start(P0, 1).is_err());
    let bounds = log.bounds(P0).unwrap();
    assert_eq!(bounds.synced_end, 1);
    log.close();
    assert_eq!(store.syncs.load(Ordering::SeqCst), syncs);
    assert_eq!(log.read(P0, 0, 1, ALL).unwrap().len(), 1, "reads go on");
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
