//! Reading from the tail cache beside memcpy of the same bytes, in the same run.
//!
//! `cargo bench -p tidegate-storage --profile release --bench fetch [-- rounds]`
//!
//! A fetch of cached batches hands out references, so it costs by the batch and not by the byte. The second column copies
//! what was read into one buffer, as a response that is encoded in one piece would have to.
//!
//! Then batches that are older than the tail cache, out of RocksDB: each reader for itself, beside readers that share what they
//! read and have the next stretch read for them. Readers copy what they get, as a socket does.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Instant;

use bytes::Bytes;
use tidegate_record::{Batch, BatchBuilder, Codec, LeaderEpoch, PartitionId, RecordParts};
use tidegate_storage::{
    Append, AppendPart, Log, LogOptions, LogStore, MemoryLog, PartitionEntry, RocksLog,
    RocksOptions, Stored,
};

const ID: PartitionId = PartitionId(0);
const EPOCH: LeaderEpoch = LeaderEpoch(1);
/// What a consumer asks of one partition by default.
const FETCH_BYTES: usize = 1 << 20;
/// Larger than the CPU's caches, as a log is, and within the tail cache.
const CACHED_BYTES: usize = 64 << 20;
/// More than is kept of what was read.
const OLD_BYTES: usize = 512 << 20;

fn main() {
    let rounds = std::env::args().skip(1).find_map(|arg| arg.parse().ok());
    let rounds = rounds.unwrap_or(30);
    println!("fetches of 1 MiB from the tail cache, microseconds, best of {rounds} rounds\n");
    println!("| batches of | read | read and copied | memcpy | read : memcpy | copied : memcpy |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for size in [1 << 10, 16 << 10, 256 << 10] {
        compare(size, rounds);
    }
    println!(
        "\nolder batches of 16 KiB in fetches of 1 MiB, MB/s of all readers, best of 5 rounds\n"
    );
    println!(
        "| readers | each for itself | shared, and read ahead | ratio: least | median | greatest |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    let dir = tempfile::tempdir().expect("a directory");
    let store = RocksLog::open(dir.path(), RocksOptions::default()).expect("a new store");
    let store = Arc::new(store) as Arc<dyn LogStore>;
    drop(filled(store.clone(), 16 << 10, OLD_BYTES, 0));
    store.settle().expect("tidied");
    for readers in [1, 10] {
        compare_old(&store, readers);
    }
}

fn compare_old(store: &Arc<dyn LogStore>, readers: usize) {
    let mut rounds: Vec<[f64; 2]> = Vec::new();
    for _ in 0..5 {
        rounds.push([0, 64 << 20].map(|bytes| old_mb_per_second(store, readers, bytes)));
    }
    let best = |at: usize| rounds.iter().map(|round| round[at]).fold(0.0, f64::max);
    let mut ratios: Vec<f64> = rounds
        .iter()
        .map(|[alone, shared]| shared / alone)
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!(
        "| {readers} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} |",
        best(0),
        best(1),
        ratios[0],
        ratios[2],
        ratios[4]
    );
}

/// Readers that go through the whole log at once. Who may block for them is a thread of each reader's own.
fn old_mb_per_second(store: &Arc<dyn LogStore>, readers: usize, read_ahead_bytes: usize) -> f64 {
    let options = LogOptions {
        tail_cache_bytes: 0,
        read_ahead_bytes,
        ..LogOptions::default()
    };
    let log = Log::open(store.clone(), options).expect("an own store");
    let end = log.bounds(ID).map_or(0, |bounds| bounds.end);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..readers {
            let (log, (work, ahead)) = (log.clone(), channel::<Box<dyn FnOnce() + Send>>());
            scope.spawn(move || ahead.into_iter().for_each(|ahead| ahead()));
            scope.spawn(move || {
                let (mut at, mut buffer) = (0, Vec::with_capacity(2 * FETCH_BYTES));
                while at < end {
                    let found = log.read_shared(ID, at, end, FETCH_BYTES).expect("stored");
                    let next = found.last().map_or(end, |last| last.row.last_offset + 1);
                    if let Some(ahead) = log.ahead(ID, at, next, FETCH_BYTES) {
                        work.send(Box::new(ahead))
                            .expect("there is a thread for it");
                    }
                    copy(&found, &mut buffer);
                    at = next;
                }
            });
        }
    });
    (OLD_BYTES * readers) as f64 / 1e6 / start.elapsed().as_secs_f64()
}

fn compare(size: usize, rounds: usize) {
    let log = filled(
        Arc::new(MemoryLog::default()),
        size,
        CACHED_BYTES,
        128 << 20,
    );
    let mut buffer = Vec::with_capacity(2 * FETCH_BYTES);
    let [mut read, mut copied, mut plain] = [f64::INFINITY; 3];
    // In turns, so that what else the machine does hits all alike.
    for _ in 0..rounds {
        read = read.min(timed(&log, |found| {
            black_box(found);
        }));
        copied = copied.min(timed(&log, |found| copy(&found, &mut buffer)));
        plain = plain.min(memcpy(&log, &mut buffer));
    }
    println!(
        "| {} KiB | {read:.1} | {copied:.1} | {plain:.1} | {:.2} | {:.2} |",
        size >> 10,
        read / plain,
        copied / plain
    );
}

/// Microseconds per MiB of reading the whole cache in fetches, with what is done to each.
fn timed(log: &Log, mut each: impl FnMut(Vec<Stored>)) -> f64 {
    let end = log.bounds(ID).map_or(0, |bounds| bounds.end);
    let (mut at, mut bytes) = (0, 0);
    let start = Instant::now();
    while at < end {
        let found = log.read_tail(ID, at, end, FETCH_BYTES).expect("cached");
        at = found.last().map_or(end, |last| last.row.last_offset + 1);
        bytes += found.iter().map(|s| s.batch.len()).sum::<usize>();
        each(found);
    }
    per_mib(start, bytes)
}

/// As [`timed`] with copies, but with everything read before the clock runs.
fn memcpy(log: &Log, buffer: &mut Vec<u8>) -> f64 {
    let mut fetches = Vec::new();
    timed(log, |found| fetches.push(found));
    let bytes = fetches.iter().flatten().map(|s| s.batch.len()).sum();
    let start = Instant::now();
    for found in &fetches {
        copy(found, buffer);
    }
    per_mib(start, bytes)
}

fn copy(found: &[Stored], buffer: &mut Vec<u8>) {
    buffer.clear();
    for stored in found {
        buffer.extend_from_slice(&stored.batch);
    }
    black_box(buffer.as_slice());
}

fn per_mib(start: Instant, bytes: usize) -> f64 {
    start.elapsed().as_secs_f64() * 1e6 / (bytes as f64 / f64::from(1 << 20))
}

fn filled(
    store: Arc<dyn LogStore>,
    size: usize,
    bytes: usize,
    tail_cache_bytes: usize,
) -> Arc<Log> {
    let options = LogOptions {
        tail_cache_bytes,
        ..LogOptions::default()
    };
    let log = Log::open(store, options).expect("an empty store");
    log.ensure_partition(PartitionEntry {
        id: ID,
        topic_id: [1; 16],
        index: 0,
        log_start: 0,
    })
    .expect("a new partition");
    log.set_epoch(ID, EPOCH);
    let batch = batch_of(size);
    let (done, answers) = channel();
    for _ in 0..bytes / batch.size() {
        let done = done.clone();
        let bytes = Bytes::copy_from_slice(batch.bytes());
        let batch = Batch::stored(bytes).expect("own batch");
        let part = AppendPart {
            id: ID,
            epoch: EPOCH,
            last_surviving_delta: batch.header().last_offset_delta,
            batch,
        };
        let append = Append {
            parts: vec![part],
            sync: false,
            now_ms: 0,
            lane: None,
            late: None,
            note: None,
            aborts: None,
            done: Box::new(move |fate: Result<_, _>| done.send(fate.is_ok()).expect("awaited")),
        };
        assert!(log.submit(append).is_ok(), "the queue has room");
        assert!(answers.recv().expect("the writer lives"), "appended");
    }
    log
}

/// One batch of about `size` bytes, of 100-byte records.
fn batch_of(size: usize) -> Batch {
    let mut builder = BatchBuilder::new(Codec::None);
    while builder.bytes_len() + 120 < size {
        let record = RecordParts {
            value: Some(&[b'v'; 100]),
            ..RecordParts::default()
        };
        builder.push(record).expect("a small record");
    }
    builder.build().expect("a small batch")
}
