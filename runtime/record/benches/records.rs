//! Nanoseconds per record of the two steps every filtered batch takes: decode and retain.
//!
//! The best of many rounds is printed, so that a busy machine disturbs it little.

use std::{hint::black_box, time::Instant};

use tidegate_record::{Batch, BatchBuilder, Codec, DecodeLimits, RecordParts, retain};

const RECORDS: usize = 1000;
const VALUE_BYTES: usize = 100;
const ROUNDS: usize = 2000;
const LIMITS: DecodeLimits = DecodeLimits {
    max_bytes: 16 << 20,
    max_records: 100_000,
};

fn main() {
    println!("{RECORDS} records of {VALUE_BYTES} bytes, ns per record");
    println!(
        "{:8} {:>8} {:>8} {:>12} {:>14} {:>8}",
        "codec", "check", "decode", "retain 1/2", "retain 0..n/2", "place"
    );
    for codec in Codec::ALL {
        let batch = batch(codec);
        let rounds = if codec == Codec::None {
            ROUNDS
        } else {
            ROUNDS / 20
        };
        let records = batch.records(LIMITS).expect("own batch");
        let check = best(rounds, || Batch::check(batch.bytes().clone()));
        let decode = best(rounds, || batch.records(LIMITS));
        let alternate = best(rounds, || retain(&batch, &records, |i| i % 2 == 0));
        let half = best(rounds, || retain(&batch, &records, |i| i < RECORDS / 2));
        let place = best(rounds, || {
            batch.clone().place(5, tidegate_record::LeaderEpoch(1))
        });
        println!(
            "{:8} {check:8.2} {decode:8.2} {alternate:12.2} {half:14.2} {place:8.2}",
            codec.name()
        );
    }
}

fn batch(codec: Codec) -> Batch {
    let mut builder = BatchBuilder::new(codec);
    for i in 0..RECORDS {
        let value = format!(
            "{{\"id\":{i:09},\"name\":\"sensor-{:05}\"}}",
            i * 7919 % 65_536
        );
        let value: Vec<u8> = value.bytes().cycle().take(VALUE_BYTES).collect();
        let timestamp = 1_700_000_000_000 + i as i64 / 10;
        let record = RecordParts {
            timestamp,
            value: Some(&value),
            ..RecordParts::default()
        };
        builder.push(record).expect("small record");
    }
    builder.build().expect("small batch")
}

/// Nanoseconds per record of the fastest round.
fn best<T>(rounds: usize, mut run: impl FnMut() -> T) -> f64 {
    let round = |_| {
        let start = Instant::now();
        black_box(run());
        start.elapsed().as_nanos()
    };
    (0..rounds).map(round).min().unwrap_or(0) as f64 / RECORDS as f64
}
