//! Appending through the partition path beside a bare RocksDB `WriteBatch` loop with the same
//! options, in the same run: 16 partitions, unsynced, batches of 1, 16 and 256 KiB.
//!
//! `cargo bench -p tidegate-storage --profile release [-- rounds [scale [KiB]]]`
//!
//! Rounds of the contestants alternate, and the ratio is taken within a round, so that what else
//! the machine does hits both alike. Two bare loops run: one write per batch, and one write for 16
//! batches (one per partition), as a group commit would do it. The stricter one is the yardstick.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use bytes::Bytes;
use tidegate_record::{Batch, BatchBuilder, Codec, LeaderEpoch, PartitionId, RecordParts};
use tidegate_storage::{
    Append, AppendPart, BareRocks, Log, LogOptions, LogStore, PartitionEntry, RocksLog,
    RocksOptions,
};

const PARTITIONS: u32 = 16;
const EPOCH: LeaderEpoch = LeaderEpoch(1);

/// Appends under way at a time, in bytes: what a few busy connections keep in flight.
const IN_FLIGHT_BYTES: usize = 8 << 20;

/// Batch size and bytes written per contestant and round.
const CASES: [(usize, usize); 3] = [
    (1 << 10, 192 << 20),
    (16 << 10, 768 << 20),
    (256 << 10, 1 << 30),
];

fn main() {
    let numbers: Vec<f64> = std::env::args()
        .skip(1)
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let rounds = numbers.first().map_or(5, |n| *n as usize);
    let scale = numbers.get(1).copied().unwrap_or(1.0);
    println!(
        "{PARTITIONS} partitions, unsynced, {rounds} rounds; median MB/s (least CPU s per GB)\n"
    );
    println!(
        "| batch | bare, 1 a write | bare, 16 a write | partition path | batches a write | share of the better bare | worst to best |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let only = numbers.get(2).map(|kib| *kib as usize * 1024);
    for (size, bytes) in CASES
        .into_iter()
        .filter(|case| only.is_none_or(|only| only == case.0))
    {
        compare(size, (bytes as f64 * scale) as usize / size, rounds);
    }
    notes((256 << 20) as f64 * scale, rounds);
    sync_latency();
}

/// What a note beside each batch costs: nothing where there is none, a few bytes for a dropped or edited batch, and the
/// most there may be.
fn notes(bytes: f64, rounds: usize) {
    let batch = batch_of(16 << 10);
    let count = bytes as usize / batch.size();
    println!("\n| 16 KiB batches, each with a note of | MB/s of batches (least CPU s per GB) |");
    println!("| --- | --- |");
    let lengths = [0, 64, 1 << 10, 16 << 10];
    let mut costs = [const { Vec::new() }; 4];
    // In turns, so that what else the machine does hits all alike.
    for _ in 0..rounds {
        for (length, costs) in lengths.into_iter().zip(&mut costs) {
            let note = (length > 0).then(|| Bytes::from(vec![b'n'; length]));
            costs.push(noted(&batch, count, note.as_ref()));
        }
    }
    for (length, costs) in lengths.into_iter().zip(&costs) {
        let cpu = costs.iter().map(|cost| cost.cpu);
        let mut rates: Vec<f64> = costs.iter().map(|cost| bytes / 1e6 / cost.wall).collect();
        println!(
            "| {length} bytes | {:.0} ({:.2}) |",
            median(&mut rates),
            cpu.fold(f64::INFINITY, f64::min) / (bytes / 1e9)
        );
    }
}

fn compare(size: usize, count: usize, rounds: usize) {
    let batch = batch_of(size);
    let total = (count * batch.bytes().len()) as f64;
    let mut costs = [const { Vec::new() }; 3];
    let mut shares = Vec::new();
    for round in 0..rounds {
        // Another order every round: whoever runs first meets the emptier page cache.
        for turn in 0..3 {
            let which = (turn + round) % 3;
            costs[which].push(match which {
                0 => bare(&batch, count, 1),
                1 => bare(&batch, count, PARTITIONS as usize),
                _ => through_the_log(&batch, count),
            });
        }
        let [single, grouped, path] = [0, 1, 2].map(|which: usize| costs[which][round].wall);
        shares.push(single.min(grouped) / path);
    }
    let rates = |which: usize| {
        let all: &Vec<Cost> = &costs[which];
        let wall = median(&mut all.iter().map(|cost| cost.wall).collect::<Vec<_>>());
        let cpu = all
            .iter()
            .map(|cost| cost.cpu)
            .fold(f64::INFINITY, f64::min);
        format!("{:.0} ({:.2})", total / 1e6 / wall, cpu / (total / 1e9))
    };
    let group = median(&mut costs[2].iter().map(|cost| cost.group).collect::<Vec<_>>());
    let share = median(&mut shares);
    println!(
        "| {} KiB | {} | {} | {} | {group:.0} | {:.0} % | {:.0} % to {:.0} % |",
        size >> 10,
        rates(0),
        rates(1),
        rates(2),
        share * 100.0,
        shares[0] * 100.0,
        shares[shares.len() - 1] * 100.0,
    );
}

/// What one run took, in seconds.
struct Cost {
    wall: f64,
    /// All threads of the process, flushes included.
    cpu: f64,
    /// Batches per write; 0 when it is given.
    group: f64,
}

struct Start {
    wall: Instant,
    cpu: f64,
}

impl Start {
    fn now() -> Start {
        Start {
            wall: Instant::now(),
            cpu: cpu_seconds(),
        }
    }

    fn cost(self, group: f64) -> Cost {
        Cost {
            wall: self.wall.elapsed().as_secs_f64(),
            cpu: cpu_seconds() - self.cpu,
            group,
        }
    }
}

/// User and system time of this process, from Linux's `/proc` (clock ticks of 10 ms); 0 elsewhere.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    fields
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0
}

fn bare(batch: &Batch, count: usize, group: usize) -> Cost {
    in_fresh_directory(|dir| {
        let store = BareRocks::open(dir, RocksOptions::default()).unwrap();
        let fresh = fresh_bytes(batch);
        let mut writes = Vec::with_capacity(group);
        let start = Start::now();
        for i in 0..count {
            let (id, offset) = (i as u32 % PARTITIONS, (i as u32 / PARTITIONS).into());
            writes.push((PartitionId(id), offset, fresh(i)));
            if writes.len() == group {
                store.write(&writes).unwrap();
                writes.clear();
            }
        }
        store.write(&writes).unwrap();
        start.cost(0.0)
    })
}

fn through_the_log(batch: &Batch, count: usize) -> Cost {
    noted(batch, count, None)
}

fn noted(batch: &Batch, count: usize, note: Option<&Bytes>) -> Cost {
    in_fresh_directory(|dir| {
        let log = open(dir, u64::MAX);
        let fresh = fresh_bytes(batch);
        let (done, answers) = channel();
        let in_flight = (IN_FLIGHT_BYTES / batch.size()).clamp(PARTITIONS as usize, 4096);
        let start = Start::now();
        for i in 0..count {
            if i >= in_flight {
                answers.recv().unwrap();
            }
            let batch = Batch::stored(fresh(i)).unwrap();
            let id = i as u32 % PARTITIONS;
            submit(&log, id, batch, note.cloned(), false, done.clone());
        }
        wait(&answers, count.min(in_flight));
        let stats = log.stats();
        start.cost(stats.batches as f64 / stats.writes as f64)
    })
}

fn open(dir: &Path, lazy_sync_ms: u64) -> Arc<Log> {
    let store = Arc::new(RocksLog::open(dir, RocksOptions::default()).unwrap());
    let options = LogOptions {
        lazy_sync_ms,
        ..LogOptions::default()
    };
    let log = Log::open(store as Arc<dyn LogStore>, options).unwrap();
    for id in 0..PARTITIONS {
        let id = PartitionId(id);
        let entry = PartitionEntry {
            id,
            topic_id: [1; 16],
            index: id.0 as i32,
            log_start: 0,
        };
        log.ensure_partition(entry).unwrap();
        log.set_epoch(id, EPOCH);
    }
    log
}

fn submit(
    log: &Log,
    id: u32,
    batch: Batch,
    note: Option<Bytes>,
    sync: bool,
    done: std::sync::mpsc::Sender<()>,
) {
    let last_surviving_delta = batch.header().last_offset_delta;
    let part = AppendPart {
        id: PartitionId(id),
        epoch: EPOCH,
        batch,
        last_surviving_delta,
    };
    let done = Box::new(move |fate: Result<_, _>| {
        fate.unwrap();
        done.send(()).unwrap();
    });
    log.submit(Append {
        parts: vec![part],
        sync,
        now_ms: 0,
        lane: None,
        late: None,
        note,
        aborts: None,
        done,
    })
    .unwrap();
}

fn wait(answers: &Receiver<()>, count: usize) {
    for _ in 0..count {
        answers.recv().unwrap();
    }
}

/// Not a target: what one synced append costs here, and 64 that share their syncs.
fn sync_latency() {
    for in_flight in [1, 64] {
        let mut latencies: Vec<f64> = in_fresh_directory(|dir| {
            let log = open(dir, 20);
            let batch = batch_of(16 << 10);
            let (done, answers) = channel();
            let mut latencies = Vec::new();
            for _ in 0..200 {
                let start = Instant::now();
                for id in 0..in_flight {
                    let batch = Batch::stored(Bytes::copy_from_slice(batch.bytes())).unwrap();
                    submit(&log, id % PARTITIONS, batch, None, true, done.clone());
                }
                wait(&answers, in_flight as usize);
                latencies.push(start.elapsed().as_secs_f64() * 1e3);
            }
            latencies
        });
        let middle = median(&mut latencies);
        println!(
            "\n{in_flight} synced appends of 16 KiB at once: median {middle:.2} ms, p99 {:.2} ms",
            latencies[latencies.len() * 99 / 100]
        );
    }
}

/// Every batch in memory of its own, as if just received: the log patches offsets in place and
/// keeps the bytes in its tail cache, and both contestants read source bytes that are not in the
/// CPU's cache. The copy costs both the same.
fn fresh_bytes(batch: &Batch) -> impl Fn(usize) -> Bytes {
    let bytes = batch.bytes().clone();
    move |_| Bytes::copy_from_slice(&bytes)
}

/// One batch of `size` bytes, header included, of 100-byte records that do not repeat.
fn batch_of(size: usize) -> Batch {
    let mut builder = BatchBuilder::new(Codec::None);
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    while builder.bytes_len() + 120 < size {
        let value: Vec<u8> = (0..100)
            .map(|_| {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                noise as u8
            })
            .collect();
        let record = RecordParts {
            timestamp: 1,
            value: Some(&value),
            ..RecordParts::default()
        };
        builder.push(record).unwrap();
    }
    builder.build().unwrap()
}

fn in_fresh_directory<T>(run: impl FnOnce(&Path) -> T) -> T {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
