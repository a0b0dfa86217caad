//! One load, and consumers that keep up with it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::Failure;
use crate::consume;
use crate::figures::{Figures, Start, joined};
use crate::frames::LATEST;
use crate::options::Options;
use crate::produce::Load;

/// Over when every consumer has all that was produced; the seconds last until then.
pub(crate) fn run(options: &Options) -> Result<Figures, Failure> {
    let load = Load::prepare(options)?;
    let mut readers = consume::open(options, LATEST)?;
    let expected = AtomicU64::new(u64::MAX);
    let start = Start::now();
    let (read, produced) = thread::scope(|scope| {
        let running: Vec<_> = readers
            .iter_mut()
            .map(|reader| scope.spawn(|| reader.until(options, &expected)))
            .collect();
        let produced = load.run(options, start.at());
        let seconds = start.at().elapsed().as_secs_f64();
        // Whatever became of the load, the consumers must not wait for more.
        let records = if produced.is_ok() { load.records() } else { 0 };
        expected.store(records, Ordering::Release);
        let read = consume::total(running.into_iter().map(|reader| joined(reader.join())));
        produced.and_then(|_| Ok((read?, seconds)))
    })?;
    Ok(start
        .figures(load.records(), load.bytes())
        .with("produce_seconds", produced)
        .with("consumed_records", read.records as f64)
        .with("consumed_bytes", read.bytes as f64)
        .with("fetches", read.requests as f64))
}
