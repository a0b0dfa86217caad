//! What a run prints.

use std::time::Instant;

use crate::Failure;

/// Names and numbers, in the order in which they are printed.
#[derive(Default)]
pub(crate) struct Figures(Vec<(String, f64)>);

impl Figures {
    pub(crate) fn with(mut self, name: &str, value: f64) -> Figures {
        self.0.push((name.to_owned(), value));
        self
    }

    /// Percentiles of what was measured, in milliseconds.
    pub(crate) fn with_latencies(mut self, name: &str, micros: &mut [u64]) -> Figures {
        micros.sort_unstable();
        for (percentile, share) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)] {
            let at = (micros.len() as f64 * share) as usize;
            let value = micros.get(at.min(micros.len().saturating_sub(1)));
            let millis = value.map_or(f64::NAN, |micros| *micros as f64 / 1000.0);
            self.0.push((format!("{name}_{percentile}_ms"), millis));
        }
        self
    }

    /// One line; what is not a number is null.
    pub(crate) fn json(&self) -> String {
        let fields: Vec<_> = self
            .0
            .iter()
            .map(|(name, value)| match value.is_finite() {
                true => format!("\"{name}\":{value}"),
                false => format!("\"{name}\":null"),
            })
            .collect();
        format!("{{{}}}", fields.join(","))
    }
}

/// When a run began, and what this process had cost until then.
pub(crate) struct Start {
    at: Instant,
    cpu_seconds: f64,
}

impl Start {
    pub(crate) fn now() -> Start {
        Start {
            at: Instant::now(),
            cpu_seconds: cpu_seconds(),
        }
    }

    pub(crate) fn at(&self) -> Instant {
        self.at
    }

    /// Begins a list with what every run tells.
    pub(crate) fn figures(&self, records: u64, bytes: u64) -> Figures {
        Figures::default()
            .with("records", records as f64)
            .with("bytes", bytes as f64)
            .with("seconds", self.at.elapsed().as_secs_f64())
            .with("generator_cpu_seconds", cpu_seconds() - self.cpu_seconds)
    }
}

/// The result of a thread, whose panic is a bug and told as one.
pub(crate) fn joined<T>(ended: std::thread::Result<Result<T, Failure>>) -> Result<T, Failure> {
    ended.map_err(|_| "a thread panicked")?
}

/// User and system time of this process, from Linux's `/proc` (clock ticks of 10 ms); 0 elsewhere.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_all_that_was_measured() {
        let mut micros: Vec<u64> = (1..=1000).rev().map(|n| n * 1000).collect();
        let figures = Figures::default().with_latencies("ack", &mut micros);
        assert_eq!(
            figures.json(),
            r#"{"ack_p50_ms":501,"ack_p99_ms":991,"ack_p999_ms":1000,"ack_max_ms":1000}"#
        );
    }

    #[test]
    fn nothing_measured_is_null() {
        let json = Figures::default().with_latencies("ack", &mut []).json();
        assert!(json.starts_with(r#"{"ack_p50_ms":null"#), "{json}");
    }
}
