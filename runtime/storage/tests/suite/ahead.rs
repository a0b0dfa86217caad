//! Reading ahead of the tail cache, and for others.

use std::sync::atomic::Ordering;

use std::sync::Arc;

use super::common::{Troubled, append, batch_at, open_with};
use super::log::{P0, P1, on_both};
use tidegate_record::{Batch, PartitionId};
use tidegate_storage::{Log, LogOptions, LogStore, MemoryLog};

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
