//! Latencies in fixed buckets, counted without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// How long runs took: one count for each bound, and one for what is beyond the last.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Histogram {
    /// Runs no longer than the bound of the same index in [`BOUNDS_NANOS`](Self::BOUNDS_NANOS), and longer than the one
    /// before it; the last counts what is longer than all.
    pub counts: [u64; Histogram::BOUNDS_NANOS.len() + 1],
    pub sum_nanos: u64,
}

impl Histogram {
    /// Upper bounds in nanoseconds, 10 us to 5 s.
    pub const BOUNDS_NANOS: [u64; 17] = [
        10_000,
        25_000,
        50_000,
        100_000,
        250_000,
        500_000,
        1_000_000,
        2_500_000,
        5_000_000,
        10_000_000,
        25_000_000,
        50_000_000,
        100_000_000,
        250_000_000,
        500_000_000,
        1_000_000_000,
        5_000_000_000,
    ];

    /// Runs counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The bound, in nanoseconds, below which this share of the runs stayed; `None` when there were none, or when it is
    /// beyond the last bound.
    pub fn quantile_nanos(&self, share: f64) -> Option<u64> {
        let wanted = (self.count() as f64 * share.clamp(0.0, 1.0))
            .ceil()
            .max(1.0);
        let mut seen = 0;
        for (bound, count) in Self::BOUNDS_NANOS.iter().zip(&self.counts) {
            seen += count;
            if seen as f64 >= wanted {
                return Some(*bound);
            }
        }
        None
    }
}

#[derive(Default)]
pub(crate) struct AtomicHistogram {
    counts: [AtomicU64; Histogram::BOUNDS_NANOS.len() + 1],
    sum_nanos: AtomicU64,
}

impl AtomicHistogram {
    pub(crate) fn add(&self, nanos: u64) {
        let bucket = Histogram::BOUNDS_NANOS.partition_point(|bound| *bound < nanos);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Histogram {
        Histogram {
            counts: std::array::from_fn(|bucket| {
                let count = self.counts.get(bucket);
                count.map_or(0, |count| count.load(Ordering::Relaxed))
            }),
            sum_nanos: self.sum_nanos.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_quantiles_are_bounds() {
        let histogram = AtomicHistogram::default();
        for nanos in [1, 10_000, 10_001, 3_000_000, 9_000_000_000] {
            histogram.add(nanos);
        }
        let histogram = histogram.snapshot();
        assert_eq!(histogram.count(), 5);
        assert_eq!(histogram.counts[..3], [2, 1, 0]);
        assert_eq!(histogram.counts[17], 1);
        assert_eq!(histogram.quantile_nanos(0.5), Some(25_000));
        assert_eq!(histogram.quantile_nanos(0.8), Some(5_000_000));
        assert_eq!(
            histogram.quantile_nanos(0.99),
            None,
            "beyond the last bound"
        );
        assert_eq!(Histogram::default().quantile_nanos(0.5), None);
    }
}
