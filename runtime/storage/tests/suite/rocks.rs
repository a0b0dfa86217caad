//! What only the store on disk can show: reopening, damage, and space coming back.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::common::{
    EPOCH, append, batch, batch_at, entry, open, open_with, part, placed, submit, write,
};
use tidegate_record::PartitionId;
use tidegate_storage::{
    Append, AppendError, CommandLog, Late, Log, LogOptions, LogStore, PartitionEntry,
    RetentionPolicy, RocksCommandLog, RocksLog, RocksOptions, StoreError, StoreHealth, StoreReader,
};

const P0: PartitionId = PartitionId(0);
const P1: PartitionId = PartitionId(1);

fn rocks(dir: &Path) -> Arc<RocksLog> {
    Arc::new(RocksLog::open(dir, RocksOptions::default()).unwrap())
}

#[test]
fn everything_is_there_after_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(rocks(dir.path()), 2);
    for i in 0..20 {
        append(&log, 0, batch_at(&[100 + i; 3], 600));
    }
    let before = log.read(P0, 0, i64::MAX, usize::MAX).unwrap();
    let size = log.size_bytes(P0);
    log.move_log_start(P0, 7).unwrap();
    drop(log);

    let log = Log::open(rocks(dir.path()), LogOptions::default()).unwrap();
    assert_eq!(log.partitions().len(), 2);
    let bounds = log.bounds(P0).unwrap();
    assert_eq!((bounds.start, bounds.end, bounds.synced_end), (7, 60, 60));
    assert_eq!(log.read(P0, 7, i64::MAX, usize::MAX).unwrap(), before[2..]);
    assert_eq!(log.size_bytes(P0), size - 2 * u64::from(before[0].row.size));
    log.set_epoch(P0, EPOCH);
    assert_eq!(append(&log, 0, batch(1)).base_offset, 60);
    assert_eq!(
        log.lookup_timestamp(P0, 119, i64::MAX).unwrap().unwrap().0,
        57
    );
}

#[test]
fn unsynced_appends_survive_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions {
        lazy_sync_ms: u64::MAX,
        ..LogOptions::default()
    };
    let store = rocks(dir.path());
    let log = open_with(store.clone(), 1, options);
    submit(&log, vec![part(0, batch(5))], false)
        .recv()
        .unwrap()
        .unwrap();
    assert_eq!(log.bounds(P0).unwrap().synced_end, 0);
    // The writer never syncs: what follows reads what a killed process would have left.
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
        if file.file_name() != "LOCK" {
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
    }
    assert_eq!(rocks(copy.path()).end(P0).unwrap(), 5);
}

#[test]
fn a_torn_tail_loses_a_suffix_of_whole_appends() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(rocks(dir.path()), 2);
    for _ in 0..10 {
        let parts = vec![part(0, batch_at(&[1], 600)), part(1, batch_at(&[1], 600))];
        submit(&log, parts, true).recv().unwrap().unwrap();
    }
    drop(log);
    let wal = newest_wal(dir.path());
    let whole = std::fs::metadata(&wal).unwrap().len();
    let mut ends = Vec::new();
    for cut in [0, 1, 100, 1_500, 4_000] {
        let copy = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        let wal = copy.path().join(wal.file_name().unwrap());
        std::fs::OpenOptions::new()
            .write(true)
            .open(&wal)
            .unwrap()
            .set_len(whole - cut)
            .unwrap();
        // All of it was synced before the log was closed, so a tear is told, and nothing of the evidence is touched.
        if cut > 0 {
            let refused = RocksLog::open(copy.path(), RocksOptions::default());
            assert!(matches!(refused, Err(StoreError::Lost { found, floor, .. }) if found < floor));
            let left = std::fs::metadata(copy.path().join(wal.file_name().unwrap()));
            assert_eq!(left.unwrap().len(), whole - cut);
            // Had the machine lost power before the sync, the floor would not say so.
            std::fs::remove_file(copy.path().join("FLOOR")).unwrap();
        }
        let store = rocks(copy.path());
        let end = store.end(P0).unwrap();
        assert_eq!(
            end,
            store.end(P1).unwrap(),
            "the parts of an append are atomic"
        );
        assert_eq!(
            store.read(P0, 0, end, usize::MAX).unwrap().len() as i64,
            end
        );
        ends.push(end);
    }
    assert_eq!(ends[0], 10);
    assert!(ends.is_sorted_by(|a, b| a >= b) && ends[4] < 10, "{ends:?}");
}

#[test]
fn a_store_without_its_current_file_is_not_taken_for_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(rocks(dir.path()), 1);
    append(&log, 0, batch(3));
    log.close();
    log.settle().unwrap();
    drop(log);
    let current = std::fs::read(dir.path().join("CURRENT")).unwrap();
    std::fs::remove_file(dir.path().join("CURRENT")).unwrap();
    let refused = RocksLog::open(dir.path(), RocksOptions::default());
    assert!(matches!(refused, Err(StoreError::Corrupt(why)) if why.contains("CURRENT")));
    std::fs::write(dir.path().join("CURRENT"), current).unwrap();
    assert_eq!(rocks(dir.path()).end(P0).unwrap(), 3);
}

#[test]
fn a_settled_store_has_nothing_to_replay() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(rocks(dir.path()), 1);
    append(&log, 0, batch_at(&[1], 100_000));
    log.close();
    let size = |log: std::path::PathBuf| std::fs::metadata(log).unwrap().len();
    assert!(size(newest_wal(dir.path())) > 100_000);
    log.settle().unwrap();
    assert_eq!(size(newest_wal(dir.path())), 0);
    drop(log);
    assert_eq!(rocks(dir.path()).end(P0).unwrap(), 1);
}

/// What a broker of format 1 left: two partitions of ten batches, a compacted one of six, committed offsets.
#[test]
fn a_store_of_format_1_opens() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../broker/tests/fixtures/format-1");
    let dir = tempfile::tempdir().unwrap();
    for store in ["log", "metadata"] {
        std::fs::create_dir(dir.path().join(store)).unwrap();
        for file in std::fs::read_dir(fixture.join(store))
            .unwrap()
            .map(Result::unwrap)
        {
            std::fs::copy(file.path(), dir.path().join(store).join(file.file_name())).unwrap();
        }
    }
    let log = dir.path().join("log");
    let problems = |dir: &Path| {
        let mut found = Vec::new();
        let reader = StoreReader::open(dir).unwrap();
        let done = reader.verify(&mut |problem| found.push(problem), &mut |_| ());
        (found, done.batches)
    };
    let (found, batches) = problems(&log);
    assert_eq!(found, vec![], "as it lies");
    assert!(batches >= 21, "{batches}");
    let store = RocksLog::open(&log, RocksOptions::default()).unwrap();
    let ends: Vec<_> = store
        .partitions()
        .unwrap()
        .iter()
        .map(|entry| store.end(entry.id).unwrap())
        .collect();
    assert_eq!(ends.iter().filter(|end| **end == 10).count(), 2, "{ends:?}");
    assert_eq!(ends.iter().filter(|end| **end == 6).count(), 1, "{ends:?}");
    drop(store);
    assert_eq!(problems(&log), (vec![], batches), "taken over");
    assert!(log.join("FLOOR").exists());
    let commands = dir.path().join("metadata");
    let mut count = 0;
    let mut counted = |_, _: &[u8]| {
        count += 1;
        Ok(())
    };
    RocksCommandLog::open(&commands)
        .unwrap()
        .replay(0, &mut counted)
        .unwrap();
    assert!(count >= 5, "cluster id, broker, topics");
}

/// Nothing that was written is called a problem, and what no writer leaves is.
#[test]
fn verify_names_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let store = rocks(dir.path());
    store.create_partition(&entry(0)).unwrap();
    store.create_partition(&entry(2)).unwrap();
    write(
        &*store,
        0,
        &[placed(batch(3), 0, 0), placed(batch_at(&[1], 900), 3, 100)],
    )
    .unwrap();
    let (reading, checked) = (
        || StoreReader::open(dir.path()),
        |reader: StoreReader| {
            let mut found = Vec::new();
            reader.verify(
                &mut |problem| found.push((problem.partition, problem.offset)),
                &mut |_| (),
            );
            found
        },
    );
    assert!(matches!(reading(), Err(StoreError::InUse(_))));
    drop(store);
    assert!(checked(reading().unwrap()).is_empty());

    let store = rocks(dir.path());
    let mut flipped = placed(batch_at(&[1], 900), 4, 1000);
    let mut bytes = flipped.batch.to_vec();
    bytes[200] ^= 1;
    flipped.batch = bytes.into();
    let mut other = placed(batch(1), 5, 2000);
    other.row.producer_id = 77;
    write(&*store, 0, &[flipped, other]).unwrap();
    write(
        &*store,
        2,
        &[placed(batch(3), 0, 0), placed(batch(1), 1, 0)],
    )
    .unwrap();
    drop(store);
    let (p0, p2) = (Some(P0), Some(PartitionId(2)));
    assert_eq!(
        checked(reading().unwrap()),
        [(p0, Some(4)), (p0, Some(5)), (p2, Some(1))]
    );
}

#[test]
fn a_scrub_finds_the_damaged_batch_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = rocks(dir.path());
    let log = open(store.clone(), 1);
    for _ in 0..4 {
        append(&log, 0, batch_at(&[1], 900));
    }
    let mut damaged = log.read(P0, 2, 3, 1).unwrap().remove(0);
    let mut bytes = damaged.batch.to_vec();
    bytes[200] ^= 1;
    damaged.batch = bytes.into();
    write(&*store, 0, &[damaged]).unwrap();
    let seen = log.scrub(P0, 0, usize::MAX).unwrap().unwrap();
    assert_eq!((seen.batches, seen.next), (4, 4));
    assert_eq!(
        seen.damaged.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
        [2]
    );
    assert_eq!(log.scrub(P0, 4, usize::MAX).unwrap(), None);
}

#[test]
fn a_delete_cut_short_is_finished_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(rocks(dir.path()), 1);
    for _ in 0..4 {
        append(&log, 0, batch(3));
    }
    drop(log);
    let store = rocks(dir.path());
    store.set_log_start(P0, 7).unwrap();
    drop(store);
    let store = rocks(dir.path());
    assert_eq!(store.rows(P0, 0, 9).unwrap().len(), 4);
    let log = Log::open(store.clone(), LogOptions::default()).unwrap();
    assert_eq!(log.bounds(P0).unwrap().start, 7);
    let bases: Vec<_> = store
        .rows(P0, 0, 9)
        .unwrap()
        .iter()
        .map(|row| row.base_offset)
        .collect();
    assert_eq!(bases, [6, 9]);
}

#[test]
fn a_directory_opens_once() {
    let dir = tempfile::tempdir().unwrap();
    let _open = rocks(dir.path());
    assert!(matches!(
        RocksLog::open(dir.path(), RocksOptions::default()),
        Err(StoreError::InUse(_))
    ));
}

#[test]
fn a_command_log_is_not_a_store_of_records() {
    let dir = tempfile::tempdir().unwrap();
    drop(rocks(dir.path()));
    assert!(RocksCommandLog::open(dir.path()).is_err());
}

#[test]
fn damage_on_disk_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let store = rocks(dir.path());
    store.create_partition(&entry(0)).unwrap();
    // A row that disagrees with its batch about the size, as no writer would leave it.
    let mut stored = placed(batch(1), 0, 0);
    stored.row.size += 1;
    write(&*store, 0, &[stored]).unwrap();
    assert!(matches!(
        store.read(P0, 0, 1, 1),
        Err(StoreError::Corrupt(_))
    ));
    // A row that contradicts itself.
    let mut stored = placed(batch(1), 5, 0);
    stored.row.last_surviving_delta = 9;
    write(&*store, 0, &[stored]).unwrap();
    assert!(matches!(store.rows(P0, 5, 1), Err(StoreError::Corrupt(_))));
    assert!(matches!(
        Log::open(store, LogOptions::default()),
        Err(StoreError::Corrupt(_))
    ));
}

/// Retention and deletion shrink the directory, also where a partition that stays shares the blob
/// files with those that go.
#[test]
fn deleted_space_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let options = RocksOptions {
        write_buffer_bytes: 4 << 20,
        blob_file_bytes: 8 << 20,
        max_wal_bytes: 8 << 20,
        ..RocksOptions::default()
    };
    let store = Arc::new(RocksLog::open(dir.path(), options).unwrap());
    let log = open(store, 8);
    // 8 partitions, 12 MiB each.
    let mut waiting = Vec::new();
    for i in 0..12 * 16 {
        for id in 0..8 {
            waiting.push(submit(
                &log,
                vec![part(id, batch_at(&[i], 64 << 10))],
                false,
            ));
        }
        // Few enough at a time for the queue.
        waiting
            .drain(..)
            .for_each(|fate| drop(fate.recv().unwrap().unwrap()));
    }
    let full = bytes_in(dir.path());
    assert!(full > 90 << 20, "{full}");

    // Seven of eight keep 1 MiB; the eighth keeps everything, in the midst of the garbage.
    let policy = RetentionPolicy {
        max_bytes: Some(1 << 20),
        ..RetentionPolicy::default()
    };
    for id in 1..7 {
        assert!(
            log.retain(PartitionId(id), policy, 0, i64::MAX)
                .unwrap()
                .is_some()
        );
        assert!(log.size_bytes(PartitionId(id)) >= 1 << 20);
    }
    log.delete_partition(PartitionId(7)).unwrap();
    // Live: 12 + 6 MiB, beside the garbage for which no collection is begun, 16 MiB, a little of the write-ahead log, and
    // four files of it that are kept to be written over, of a write buffer each.
    shrinks(dir.path(), 62 << 20);
    assert_eq!(log.read(P0, 0, i64::MAX, usize::MAX).unwrap().len(), 192);
    assert!(log.read(P1, 0, i64::MAX, usize::MAX).is_err());
    let start = log.bounds(P1).unwrap().start;
    assert!(
        !log.read(P1, start, i64::MAX, usize::MAX)
            .unwrap()
            .is_empty()
    );
}

/// What the janitor had no time for is found at the next start: nobody deletes anything there again.
#[test]
fn space_deleted_before_a_stop_comes_back_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let options = RocksOptions {
        write_buffer_bytes: 4 << 20,
        ..RocksOptions::default()
    };
    let store = Arc::new(RocksLog::open(dir.path(), options.clone()).unwrap());
    let log = open(store.clone(), 2);
    for i in 0..16 * 16 {
        append(&log, 0, batch_at(&[i], 64 << 10));
    }
    append(&log, 1, batch(3));
    store.settle().unwrap();
    let full = bytes_in(dir.path());
    assert!(full > 16 << 20, "{full}");
    log.delete_partition(P0).unwrap();
    drop((log, store));
    let stopped = bytes_in(dir.path());
    assert!(
        stopped > 16 << 20,
        "{stopped}: the janitor was faster than the stop"
    );

    let store = Arc::new(RocksLog::open(dir.path(), options).unwrap());
    shrinks(dir.path(), 1 << 20);
    assert_eq!(store.rows(P1, 0, 9).unwrap().len(), 1);
}

#[test]
fn a_partition_created_with_a_log_start_begins_there() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(rocks(dir.path()), 0);
    log.ensure_partition(PartitionEntry {
        log_start: 40,
        ..entry(0)
    })
    .unwrap();
    log.set_epoch(P0, EPOCH);
    assert_eq!(append(&log, 0, batch(2)).base_offset, 40);
}

/// What a source, its late part and its note are after a start: all of them, or none.
#[test]
fn late_parts_and_notes_come_back_with_their_source_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let count = 20;
    {
        let log = open(rocks(dir.path()), 2);
        let (sender, fates) = std::sync::mpsc::channel();
        for _ in 0..count {
            let sender = sender.clone();
            log.submit(Append {
                parts: vec![part(0, batch(3))],
                sync: true,
                now_ms: 0,
                lane: None,
                late: Some(Late {
                    bytes: 0,
                    parts: Box::new(|first| Ok(vec![part(1, batch_at(&[first.base_offset], 700))])),
                }),
                note: Some("noted".into()),
                aborts: None,
                done: Box::new(move |fate| sender.send(fate.map(drop)).unwrap()),
            })
            .unwrap();
        }
        for _ in 0..count {
            fates.recv().unwrap().unwrap();
        }
    }
    // A machine that lost power may have less of the write-ahead log.
    let wal = newest_wal(dir.path());
    let whole = std::fs::read(&wal).unwrap();
    for keep in [whole.len(), whole.len() * 2 / 3, whole.len() / 3] {
        let copy = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(dir.path()).unwrap().flatten() {
            if file.file_type().unwrap().is_file() {
                std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
            }
        }
        let cut = copy.path().join(wal.file_name().unwrap());
        std::fs::write(cut, &whole[..keep]).unwrap();
        // And a floor from before it was written.
        std::fs::remove_file(copy.path().join("FLOOR")).unwrap();
        let store = rocks(copy.path());
        let sources = store.rows(P0, 0, 100).unwrap();
        let letters = store.rows(P1, 0, 100).unwrap();
        assert_eq!(
            sources.len(),
            letters.len(),
            "{keep} bytes of {}",
            whole.len()
        );
        assert!(keep < whole.len() || sources.len() == count);
        for (source, letter) in sources.iter().zip(&letters) {
            assert_eq!(letter.max_timestamp, source.base_offset);
            let note = store.note(P0, source.last_offset).unwrap();
            assert_eq!(note, Some((source.base_offset, "noted".into())));
        }
    }
}

fn newest_wal(dir: &Path) -> std::path::PathBuf {
    let wals = std::fs::read_dir(dir)
        .unwrap()
        .map(|file| file.unwrap().path());
    wals.filter(|path| path.extension().is_some_and(|e| e == "log"))
        .max()
        .unwrap()
}

/// Files may go while they are counted.
/// Waits until a store's files come to `goal` bytes at most.
fn shrinks(dir: &Path, goal: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while bytes_in(dir) > goal {
        assert!(
            Instant::now() < deadline,
            "{} bytes are left",
            bytes_in(dir)
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn bytes_in(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).unwrap().flatten();
    files
        .filter_map(|file| file.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}

/// `TIDEGATE_SMALL_DISK` names a directory on a file system of about 40 MB that is otherwise empty.
#[test]
#[ignore = "needs a small file system"]
fn a_full_disk_stops_writes_until_there_is_room() {
    let disk = std::env::var("TIDEGATE_SMALL_DISK").expect("a directory on a small file system");
    let dir = tempfile::tempdir_in(disk).unwrap();
    let ballast = dir.path().join("ballast");
    std::fs::write(&ballast, vec![1; 24 << 20]).unwrap();
    let options = RocksOptions {
        write_buffer_bytes: 16 << 20,
        ..RocksOptions::default()
    };
    let store = dir.path().join("store");
    let log = open(Arc::new(RocksLog::open(&store, options).unwrap()), 1);
    let mut acknowledged = 0;
    let refused = loop {
        match submit(&log, vec![part(0, batch_at(&[1], 256 << 10))], true)
            .recv()
            .unwrap()
        {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, AppendError::Store(_)), "{refused}");
    assert_eq!(log.health(), StoreHealth::Online);
    assert_eq!(
        log.read(P0, 0, i64::MAX, usize::MAX).unwrap().len(),
        acknowledged
    );

    std::fs::remove_file(&ballast).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match submit(&log, vec![part(0, batch(1))], true).recv().unwrap() {
            Ok(appended) => break assert_eq!(appended[0].base_offset, acknowledged as i64),
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let synced_end = log.bounds(P0).unwrap().synced_end;
    drop(log);
    assert_eq!(rocks(&store).end(P0).unwrap(), synced_end);
}
