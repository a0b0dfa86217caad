//! What stands behind one instance: its limits, and what the host functions do that it may call.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use wasmtime::ResourceLimiter;

use crate::{Columns, Limits, LogLevel, LogLine, LogSink, clock};

/// Longest log message kept, in bytes.
const MAX_LOG: usize = 4096;
const MAX_COUNTER_NAME: usize = 128;
/// A shorter value is no secret worth the name, and would be found in every other word.
const MIN_SECRET: usize = 4;
/// More than any real component has; each costs the host memory of its own.
const MAX_CORE_INSTANCES: usize = 64;
const MAX_MEMORIES: usize = 8;
const MAX_TABLES: usize = 32;

/// What all instances of one binding share.
pub(crate) struct Shared {
    pub(crate) alias: String,
    /// Every declared key that has a value, its default included.
    pub(crate) config: Vec<(String, String)>,
    /// Values of secret keys, which nothing that the guest says to an operator may show. The longest first.
    secrets: Vec<String>,
    counters: Mutex<BTreeMap<String, u64>>,
    max_counters: usize,
    counters_ignored: AtomicU64,
    sink: LogSink,
    log: Mutex<LogAllowance>,
    log_bytes_per_sec: usize,
    log_dropped: AtomicU64,
    /// The largest linear memory that an instance was seen with, since instances were last thrown away.
    memory_bytes: AtomicUsize,
}

struct LogAllowance {
    since: Instant,
    used: usize,
}

impl Shared {
    pub(crate) fn new(
        alias: &str,
        config: Vec<(String, String)>,
        limits: &Limits,
        sink: LogSink,
    ) -> Shared {
        Shared {
            alias: alias.to_owned(),
            config,
            secrets: Vec::new(),
            counters: Mutex::default(),
            max_counters: limits.counters,
            counters_ignored: AtomicU64::new(0),
            sink,
            log: Mutex::new(LogAllowance {
                since: clock::now(),
                used: 0,
            }),
            log_bytes_per_sec: limits.log_bytes_per_sec,
            log_dropped: AtomicU64::new(0),
            memory_bytes: AtomicUsize::new(0),
        }
    }

    /// Hides the values of these keys from here on.
    pub(crate) fn with_secrets<'a>(mut self, keys: impl Iterator<Item = &'a str>) -> Shared {
        self.secrets = keys
            .filter_map(|key| self.value(key))
            .filter(|value| value.len() >= MIN_SECRET)
            .collect();
        self.secrets
            .sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        self
    }

    /// A guest's text without the secrets of its binding. It may have echoed one by mistake; one that means to tell a
    /// secret finds a way around this.
    pub(crate) fn hide(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| {
            text.replace(secret.as_str(), "(secret)")
        })
    }

    /// The value of a configuration key, if it has one.
    pub(crate) fn value(&self, key: &str) -> Option<String> {
        let found = self.config.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.clone())
    }

    pub(crate) fn counters(&self) -> BTreeMap<String, u64> {
        self.counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Calls that named one counter too many, or one with too long a name.
    pub(crate) fn counters_ignored(&self) -> u64 {
        self.counters_ignored.load(Ordering::Relaxed)
    }

    pub(crate) fn log_dropped(&self) -> u64 {
        self.log_dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// Instances were thrown away; the largest of those that rest is all that is known for sure.
    pub(crate) fn set_memory_bytes(&self, bytes: usize) {
        self.memory_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn saw_memory(&self, bytes: usize) {
        self.memory_bytes.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Keeps a line if it is within the binding's rate. A guest must not be able to forge lines, so none has control
    /// characters.
    pub(crate) fn log(&self, topic: &str, partition: i32, level: LogLevel, message: &str) {
        if !self.may_log(message.len().min(MAX_LOG)) {
            return;
        }
        // Hidden before the line is cut: half a secret at its end would not be found.
        let longest = self.secrets.first().map_or(0, String::len);
        let seen = self.hide(up_to(message, MAX_LOG + longest));
        let text: String = up_to(&seen, MAX_LOG)
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let alias = self.alias.as_str();
        self.sink.write(&LogLine {
            alias,
            topic,
            partition,
            level,
            message: &text,
        });
        match level {
            LogLevel::Trace => {
                tracing::trace!(target: "tidegate::plugin", alias, topic, partition, "{text}");
            }
            LogLevel::Debug => {
                tracing::debug!(target: "tidegate::plugin", alias, topic, partition, "{text}");
            }
            LogLevel::Info => {
                tracing::info!(target: "tidegate::plugin", alias, topic, partition, "{text}");
            }
            LogLevel::Warn => {
                tracing::warn!(target: "tidegate::plugin", alias, topic, partition, "{text}");
            }
            LogLevel::Error => {
                tracing::error!(target: "tidegate::plugin", alias, topic, partition, "{text}");
            }
        }
    }

    pub(crate) fn count(&self, name: &str, delta: u64) {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = counters.get_mut(name) {
            *value = value.saturating_add(delta);
        } else if counters.len() < self.max_counters && name.len() <= MAX_COUNTER_NAME {
            counters.insert(name.to_owned(), delta);
        } else {
            self.counters_ignored.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether a message of this many bytes is within this second's allowance.
    fn may_log(&self, bytes: usize) -> bool {
        let now = clock::now();
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(log.since).as_secs() >= 1 {
            *log = LogAllowance {
                since: now,
                used: 0,
            };
        }
        log.used = log.used.saturating_add(bytes);
        let within = log.used <= self.log_bytes_per_sec;
        if !within {
            self.log_dropped.fetch_add(1, Ordering::Relaxed);
        }
        within
    }
}

/// The start of a text, cut at a character.
fn up_to(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.split_at(end).0
}

/// The data of one store.
pub(crate) struct Guest {
    pub(crate) shared: Arc<Shared>,
    /// The batch in hand, for log lines; no topic outside of one.
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// Set when the guest was refused memory or table elements: the trap that usually follows is then told as what it
    /// is.
    pub(crate) refused: Option<Refused>,
    /// When the call in hand is over.
    pub(crate) until: Instant,
    /// Within `configure`, where `narrow` counts.
    pub(crate) configuring: bool,
    /// What `narrow` said last.
    pub(crate) narrowed: Option<Columns>,
    memory_bytes: usize,
    limits: GuestLimits,
}

/// A limit that the guest ran into.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused {
    pub(crate) what: &'static str,
    pub(crate) limit: &'static str,
    /// The limit's name in configurations.
    pub(crate) key: &'static str,
    pub(crate) max: usize,
}

struct GuestLimits {
    memory_bytes: usize,
    table_elements: usize,
    deadline_ms: u64,
    output_bytes: usize,
}

impl Guest {
    pub(crate) fn new(shared: Arc<Shared>, limits: &Limits) -> Guest {
        Guest {
            shared,
            topic: String::new(),
            partition: -1,
            refused: None,
            until: clock::now(),
            configuring: false,
            narrowed: None,
            memory_bytes: 0,
            limits: GuestLimits {
                memory_bytes: limits.memory_bytes,
                table_elements: limits.table_elements,
                deadline_ms: limits.deadline_ms,
                output_bytes: limits.output_bytes,
            },
        }
    }

    pub(crate) fn log(&self, level: LogLevel, message: &str) {
        self.shared.log(&self.topic, self.partition, level, message);
    }

    pub(crate) fn narrow(&mut self, columns: Columns) {
        if self.configuring {
            self.narrowed = Some(columns);
        }
    }

    /// Linear memory, all memories together.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    pub(crate) fn deadline_ms(&self) -> u128 {
        u128::from(self.limits.deadline_ms)
    }

    pub(crate) fn output_bytes(&self) -> usize {
        self.limits.output_bytes
    }
}

impl ResourceLimiter for Guest {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self
            .memory_bytes
            .saturating_add(desired.saturating_sub(current));
        if total > self.limits.memory_bytes {
            self.refused = Some(Refused {
                what: "memory",
                limit: "memory",
                key: "memory.bytes",
                max: self.limits.memory_bytes,
            });
            return Ok(false);
        }
        self.memory_bytes = total;
        self.shared.saw_memory(total);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > self.limits.table_elements {
            self.refused = Some(Refused {
                what: "table elements",
                limit: "table.elements",
                key: "table.elements",
                max: self.limits.table_elements,
            });
            return Ok(false);
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        MAX_CORE_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_whole() {
        let config = [
            ("token", "hunter2"),
            ("salt", "hunter2-salt"),
            ("pin", "42"),
        ];
        let config = config.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let shared = Shared::new("a", config.into(), &Limits::default(), LogSink::default())
            .with_secrets(["token", "salt", "pin", "unset"].into_iter());
        assert_eq!(
            shared.hide("hunter2-salt, hunter2 and 42"),
            "(secret), (secret) and 42"
        );
    }
}
