//! When appends are synced, answered and told of.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::common::{Troubled, append, batch, open, open_with, part, submit};
use super::log::{ALL, P0, P1, on_both};

use tidegate_storage::{
    Append, AppendError, FlushPolicy, Log, LogOptions, MemoryLog, Progress, StoreHealth,
};

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

/// A relaxed topic's consumers follow what is written; they must not be shown what its producer's transaction is not known to be in.
#[test]
fn nobody_hears_of_a_batch_before_who_appended_it_does() {
    let store = Troubled::new(Arc::new(MemoryLog::new()));
    let log = open(store.clone(), 2);
    let events = Arc::new(Mutex::new(Vec::new()));
    let told = events.clone();
    log.on_progress(Box::new(move |all: &[Progress]| {
        let ids = all.iter().map(|one| one.id).filter(|id| *id == P1);
        told.lock().unwrap().extend(ids.map(|_| "told"));
    }));
    store.hold();
    let first = submit(&log, vec![part(0, batch(1))], true);
    while store.writes.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    // One group, in which the second waits for the first's sync.
    let second = submit(&log, vec![part(0, batch(1))], true);
    let (answer, answered) = channel();
    let answers = events.clone();
    log.submit(Append {
        parts: vec![part(1, batch(1))],
        sync: false,
        now_ms: 0,
        lane: None,
        late: None,
        note: None,
        aborts: None,
        done: Box::new(move |_| {
            answers.lock().unwrap().push("answered");
            answer.send(()).unwrap();
        }),
    })
    .unwrap();
    store.release();
    for fate in [first, second] {
        fate.recv().unwrap().unwrap();
    }
    answered.recv().unwrap();
    log.close();
    assert_eq!(store.writes.load(Ordering::SeqCst), 2);
    assert_eq!(events.lock().unwrap()[..2], ["answered", "told"]);
}
