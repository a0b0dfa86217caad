//! How the benches of this crate measure.

use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

const ROUND: Duration = Duration::from_millis(60);
const ROUNDS: usize = 15;

/// Nanoseconds per record, least and median over the rounds, in CPU time: other processes cost caches, but not whole turns.
#[derive(Clone, Copy)]
pub(crate) struct Figure {
    pub(crate) least: f64,
    pub(crate) median: f64,
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{:.1} / {:.1}", self.least, self.median))
    }
}

/// What `work` costs, which handles this many records.
pub(crate) fn time<T>(records: usize, mut work: impl FnMut() -> T) -> Figure {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let (started, cpu, mut turns) = (Instant::now(), cpu_time(), 0);
            while started.elapsed() < ROUND {
                black_box(work());
                turns += 1;
            }
            let used = match (cpu, cpu_time()) {
                (Some(before), Some(after)) => after - before,
                _ => started.elapsed(),
            };
            used.as_nanos() as f64 / f64::from(turns) / records as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    Figure {
        least: rounds[0],
        median: rounds[ROUNDS / 2],
    }
}

/// What this thread has run, as Linux counts it; nothing elsewhere.
fn cpu_time() -> Option<Duration> {
    // Giving the processor up brings the kernel's count up to date.
    std::thread::yield_now();
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ')
        .next()?
        .parse()
        .ok()
        .map(Duration::from_nanos)
}
