//! What one binding may use, and what happens when its plugin fails.

/// The bounds of one binding. Each hit is counted and named in the error.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Wall time of one call into the guest, in milliseconds. Configuration calls have the same.
    pub deadline_ms: u64,
    /// Linear memory of one instance, all its memories together.
    pub memory_bytes: usize,
    /// Elements of one table of one instance. What a table starts with was accepted with the plugin and is never
    /// too much.
    pub table_elements: usize,
    /// Instances of this binding that may run at the same time. One that keeps state has one for each partition, which
    /// rest in between.
    pub instances: usize,
    /// Everything that one call gives back, as the host would have to copy it; also what all edits of one batch together
    /// may take.
    pub output_bytes: usize,
    /// Routes, reasons of rejection, and replaced entries of a column, of one call.
    pub output_records: usize,
    /// Bytes of log messages kept per second; what is over is counted, not kept.
    pub log_bytes_per_sec: usize,
    /// Records lowered in one call; a larger batch is split.
    pub call_records: usize,
    /// Bytes lowered in one call; a larger batch is split, and a single larger record is a failure.
    /// Never more than a quarter of `memory_bytes`, whatever is said here.
    pub call_bytes: usize,
    /// Names of counters that a binding may use; further names are ignored and counted.
    pub counters: usize,
    /// Consecutive failures after which the circuit breaker opens.
    pub breaker_failures: u32,
    /// How long an open breaker waits before it lets one call through.
    pub breaker_delay_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            deadline_ms: 1000,
            memory_bytes: 64 << 20,
            table_elements: 10_000,
            instances: 8,
            output_bytes: 16 << 20,
            output_records: 100_000,
            log_bytes_per_sec: 64 << 10,
            call_records: 10_000,
            call_bytes: 16 << 20,
            counters: 64,
            breaker_failures: 5,
            breaker_delay_ms: 5000,
        }
    }
}

impl Limits {
    /// Bytes lowered in one call, after the rule that input may take a quarter of the memory.
    pub(crate) fn input_bytes(&self) -> usize {
        self.call_bytes.min(self.memory_bytes / 4).max(1)
    }
}

/// What happens to records whose plugin failed (`tidegate.on.error`).
///
/// What cannot be acted upon record by record comes back to the caller as a [`ChainFailure`](crate::ChainFailure): a
/// failure that is not one record's under `Reject`, everything under `Pause`, and `DeadLetter` on the consume side.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnError {
    /// A validator that breaks must not let records through.
    #[default]
    Reject,
    Drop,
    /// For enrichment: a record that could not be looked at stays.
    Pass,
    /// The batch and all later ones wait for [`Binding::resume`](crate::Binding::resume).
    Pause,
    /// The records go to the dead-letter topic instead of the log. Produce side only.
    DeadLetter,
}

/// What happens to records that a plugin rejects on the produce side (`tidegate.on.reject`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnReject {
    /// The produce request fails, as the contract says of a rejection.
    #[default]
    Refuse,
    /// The rejected record alone goes to the dead-letter topic; the producer is acknowledged.
    DeadLetter,
    /// The rejected record alone is dropped; the producer is acknowledged.
    Drop,
}

impl std::str::FromStr for OnReject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "refuse" => Ok(OnReject::Refuse),
            "dead-letter" => Ok(OnReject::DeadLetter),
            "drop" => Ok(OnReject::Drop),
            other => Err(format!(
                "`{other}` does not say what becomes of rejected records: use refuse, dead-letter or drop"
            )),
        }
    }
}

impl std::str::FromStr for OnError {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "reject" => Ok(OnError::Reject),
            "drop" => Ok(OnError::Drop),
            "pass" => Ok(OnError::Pass),
            "pause" => Ok(OnError::Pause),
            "dead-letter" => Ok(OnError::DeadLetter),
            other => Err(format!(
                "`{other}` is not an error policy: use reject, drop, pass, pause or dead-letter"
            )),
        }
    }
}
