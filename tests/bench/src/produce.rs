//! Produces as fast as the broker answers, or at a rate.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::connection::Connection;
use crate::figures::{Figures, Start, joined};
use crate::frames;
use crate::options::Options;

/// Different frames, so that the same values do not come every time.
const VARIANTS: u64 = 4;

pub(crate) fn run(options: &Options) -> Result<Figures, Failure> {
    let load = Load::prepare(options)?;
    let start = Start::now();
    let mut latencies = load.run(options, start.at())?;
    Ok(start
        .figures(load.records(), load.bytes())
        .with("requests", load.requests() as f64)
        .with("request_bytes", load.frame_bytes as f64)
        .with_latencies("ack", &mut latencies))
}

/// Open connections, with the frames that they will send.
pub(crate) struct Load {
    workers: std::sync::Mutex<Vec<Worker>>,
    /// Records in one request, and bytes of their values.
    request_records: u64,
    request_value_bytes: u64,
    frame_bytes: usize,
    sent: AtomicU64,
}

impl Load {
    pub(crate) fn prepare(options: &Options) -> Result<Load, Failure> {
        let frames = (0..VARIANTS)
            .map(|variant| frames::produce(options, 0..options.partitions, variant))
            .collect::<Result<Vec<_>, _>>()?;
        let workers = (0..options.connections)
            .map(|_| {
                Ok(Worker {
                    connection: Connection::open(&options.bootstrap)?,
                    frames: frames.clone(),
                })
            })
            .collect::<Result<_, Failure>>()?;
        let request_records =
            options.batch_records() as u64 * u64::from(options.partitions.unsigned_abs());
        Ok(Load {
            workers: std::sync::Mutex::new(workers),
            request_records,
            request_value_bytes: request_records * options.record_bytes as u64,
            frame_bytes: frames.first().map_or(0, Vec::len),
            sent: AtomicU64::new(0),
        })
    }

    /// Until a limit is met and everything is answered. Returns the microseconds of each request.
    pub(crate) fn run(&self, options: &Options, start: Instant) -> Result<Vec<u64>, Failure> {
        let mut workers = self
            .workers
            .lock()
            .map_err(|_| "a thread panicked")?
            .drain(..)
            .collect::<Vec<_>>();
        thread::scope(|scope| {
            let running: Vec<_> = workers
                .iter_mut()
                .map(|worker| scope.spawn(|| worker.run(self, options, start)))
                .collect();
            let mut all = Vec::new();
            for worker in running {
                all.append(&mut joined(worker.join())?);
            }
            Ok(all)
        })
    }

    pub(crate) fn requests(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn records(&self) -> u64 {
        self.requests() * self.request_records
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.requests() * self.request_value_bytes
    }

    /// Whether there is one more to send, and when it is due.
    fn next(&self, options: &Options, start: Instant) -> Option<Instant> {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let elapsed = start.elapsed();
        if elapsed >= options.time || number * self.request_value_bytes >= options.bytes {
            self.sent.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(match options.rate > 0.0 {
            true => start + interval(options, self.request_records).mul_f64(number as f64),
            false => start + elapsed,
        })
    }
}

/// Between two requests of so many records.
pub(crate) fn interval(options: &Options, records: u64) -> Duration {
    Duration::from_secs_f64(records as f64 / options.rate)
}

pub(crate) fn sleep_until(due: Instant) {
    let left = due.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        thread::sleep(left);
    }
}

struct Worker {
    connection: Connection,
    frames: Vec<Vec<u8>>,
}

impl Worker {
    fn run(&mut self, load: &Load, options: &Options, start: Instant) -> Result<Vec<u64>, Failure> {
        let mut waiting: VecDeque<(u32, Instant)> = VecDeque::new();
        let mut latencies = Vec::new();
        let mut correlation = 0u32;
        let mut over = false;
        while !over || !waiting.is_empty() {
            while !over && waiting.len() < options.window {
                let Some(due) = load.next(options, start) else {
                    over = true;
                    break;
                };
                sleep_until(due);
                let variant = correlation as usize % self.frames.len();
                let sent = Instant::now();
                self.connection
                    .send(&mut self.frames[variant], correlation)?;
                waiting.push_back((correlation, sent));
                correlation = correlation.wrapping_add(1);
            }
            if let Some((correlation, sent)) = waiting.pop_front() {
                frames::check_produced(self.connection.receive(correlation)?)?;
                latencies.push(sent.elapsed().as_micros() as u64);
            }
        }
        Ok(latencies)
    }
}
