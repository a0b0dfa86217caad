//! Reading from the tail cache beside memcpy of the same bytes, in the same run.
//!
//! `cargo bench -p tidegate-storage --profile release --bench fetch [-- rounds]`
//!
//! A fetch of cached batches hands out references, so it costs by the batch and not by the byte. The second column copies
//! what was read into one buffer, as a response that is encoded in one piece would have to.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Instant;

use bytes::Bytes;
use tidegate_record::{Batch, BatchBuilder, Codec, LeaderEpoch, PartitionId, RecordParts};
use tidegate_storage::{
    Append, AppendPart, Log, LogOptions, LogStore, MemoryLog, PartitionEntry, Stored,
};

const ID: PartitionId = PartitionId(0);
const EPOCH: LeaderEpoch = LeaderEpoch(1);
/// What a consumer asks of one partition by default.
const FETCH_BYTES: usize = 1 << 20;
/// Larger than the CPU's caches, as a log is, and within the tail cache.
const CACHED_BYTES: usize = 64 << 20;

fn main() {
    let rounds = std::env::args().skip(1).find_map(|arg| arg.parse().ok());
    let rounds = rounds.unwrap_or(30);
    println!("fetches of 1 MiB from the tail cache, microseconds, best of {rounds} rounds\n");
    println!("| batches of | read | read and copied | memcpy | read : memcpy | copied : memcpy |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for size in [1 << 10, 16 << 10, 256 << 10] {
        compare(size, rounds);
    }
}

fn compare(size: usize, rounds: usize) {
    let log = filled(size);
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

fn filled(size: usize) -> Arc<Log> {
    let store = Arc::new(MemoryLog::default());
    let log = Log::open(store as Arc<dyn LogStore>, LogOptions::default()).expect("an empty store");
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
    for _ in 0..CACHED_BYTES / batch.size() {
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
