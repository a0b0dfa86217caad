//! How long it takes, at a fixed rate, until a batch is acknowledged and until a consumer has it.
//!
//! Times count from when a batch was due, not from when it could be sent: a broker that stalls is charged for
//! what it keeps waiting (what is known as coordinated omission otherwise).

use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::connection::Connection;
use crate::consume::Reader;
use crate::figures::{Figures, Start, joined};
use crate::frames::{self, LATEST};
use crate::options::Options;
use crate::produce::{interval, sleep_until};

/// Left out of the figures: the first connections, and code that is warmed up.
const WARM_UP: Duration = Duration::from_secs(1);

pub(crate) fn run(options: &Options) -> Result<Figures, Failure> {
    let plan = Plan::new(options)?;
    let mut frames = (0..options.partitions)
        .map(|partition| frames::produce(options, partition..partition + 1, 1))
        .collect::<Result<Vec<_>, _>>()?;
    let mut reader = Reader::open(options, LATEST)?;
    let mut sender = Connection::open(&options.bootstrap)?;
    let mut answers = sender.split()?;
    let start = Start::now();
    let (mut acks, mut receipts) = thread::scope(|scope| {
        let plan = &plan;
        let (start, reader) = (start.at(), &mut reader);
        let acks = scope.spawn(move || plan.acks(&mut answers, start, frames::check_produced));
        let receipts = scope.spawn(move || plan.receipts(reader, options, start));
        plan.send(&mut sender, &mut frames, start)?;
        Ok::<_, Failure>((joined(acks.join())?, joined(receipts.join())?))
    })?;
    let records = plan.batches * plan.batch_records;
    Ok(start
        .figures(records, records * options.record_bytes as u64)
        .with_latencies("ack", &mut acks)
        .with_latencies("receive", &mut receipts))
}

/// Batches in turn over the partitions, each due a fixed time after the one before.
pub(crate) struct Plan {
    batches: u64,
    batch_records: u64,
    partitions: u64,
    interval: Duration,
}

impl Plan {
    pub(crate) fn new(options: &Options) -> Result<Plan, Failure> {
        if options.rate <= 0.0 {
            return Err("latency is measured at a rate".into());
        }
        let batch_records = options.batch_records() as u64;
        let interval = interval(options, batch_records);
        let by_time = options.time.as_secs_f64() / interval.as_secs_f64();
        let batch_bytes = batch_records * options.record_bytes as u64;
        Ok(Plan {
            batches: (by_time as u64).min(options.bytes / batch_bytes).max(1),
            batch_records,
            partitions: u64::from(options.partitions.unsigned_abs()),
            interval,
        })
    }

    fn due(&self, batch: u64, start: Instant) -> Instant {
        start + self.interval.mul_f64(batch as f64)
    }

    pub(crate) fn send(
        &self,
        connection: &mut Connection,
        frames: &mut [Vec<u8>],
        start: Instant,
    ) -> Result<(), Failure> {
        let mut frame = 0;
        for batch in 0..self.batches {
            sleep_until(self.due(batch, start));
            connection.send(&mut frames[frame], batch as u32)?;
            frame = (frame + 1) % frames.len();
        }
        Ok(())
    }

    /// Microseconds from when each batch was due to its answer, which `check` looks at.
    pub(crate) fn acks(
        &self,
        connection: &mut Connection,
        start: Instant,
        check: impl Fn(&[u8]) -> Result<(), Failure>,
    ) -> Result<Vec<u64>, Failure> {
        let mut latencies = Vec::new();
        for batch in 0..self.batches {
            check(connection.receive(batch as u32)?)?;
            self.note(batch, start, &mut latencies);
        }
        Ok(latencies)
    }

    fn receipts(
        &self,
        reader: &mut Reader,
        options: &Options,
        start: Instant,
    ) -> Result<Vec<u64>, Failure> {
        let first = reader.offsets().to_vec();
        let mut latencies = Vec::new();
        let mut received = 0;
        while received < self.batches {
            reader.poll(options, |fetched| {
                let offset = fetched.base_offset - first[fetched.partition];
                let turn = offset.unsigned_abs() / self.batch_records;
                let batch = turn * self.partitions + fetched.partition as u64;
                self.note(batch, start, &mut latencies);
                received += 1;
            })?;
        }
        Ok(latencies)
    }

    /// Adds what passed since the batch was due, unless that was while warming up.
    fn note(&self, batch: u64, start: Instant, latencies: &mut Vec<u64>) {
        let due = self.due(batch, start);
        if due.duration_since(start) >= WARM_UP {
            latencies.push(due.elapsed().as_micros() as u64);
        }
    }
}
