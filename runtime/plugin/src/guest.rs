//! What stands behind one instance: its limits, and the three host functions it may call.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use wasmtime::component::{Linker, WasmStr};
use wasmtime::{ResourceLimiter, StoreContextMut};

use crate::{Limits, clock, wire};

/// The one interface a plugin may import (and the types, which are not code).
pub(crate) const HOST: &str = "tidegate:plugin/host@0.1.0";
pub(crate) const TYPES: &str = "tidegate:plugin/types@0.1.0";

/// Longest log message kept, in bytes.
const MAX_LOG: usize = 4096;
const MAX_COUNTER_NAME: usize = 128;
/// More than any real component has; each costs the host memory of its own.
const MAX_CORE_INSTANCES: usize = 64;
const MAX_MEMORIES: usize = 8;
const MAX_TABLES: usize = 32;

/// What all instances of one binding share.
pub(crate) struct Shared {
    pub(crate) alias: String,
    /// Every declared key that has a value, its default included.
    pub(crate) config: Vec<(String, String)>,
    counters: Mutex<BTreeMap<String, u64>>,
    max_counters: usize,
    log: Mutex<LogAllowance>,
    log_bytes_per_sec: usize,
    log_dropped: AtomicU64,
}

struct LogAllowance {
    since: Instant,
    used: usize,
}

impl Shared {
    pub(crate) fn new(alias: &str, config: Vec<(String, String)>, limits: &Limits) -> Shared {
        Shared {
            alias: alias.to_owned(),
            config,
            counters: Mutex::default(),
            max_counters: limits.counters,
            log: Mutex::new(LogAllowance {
                since: clock::now(),
                used: 0,
            }),
            log_bytes_per_sec: limits.log_bytes_per_sec,
            log_dropped: AtomicU64::new(0),
        }
    }

    pub(crate) fn counters(&self) -> BTreeMap<String, u64> {
        self.counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn log_dropped(&self) -> u64 {
        self.log_dropped.load(Ordering::Relaxed)
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

    fn count(&self, name: &str, delta: u64) {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = counters.get_mut(name) {
            *value = value.saturating_add(delta);
        } else if counters.len() < self.max_counters && name.len() <= MAX_COUNTER_NAME {
            counters.insert(name.to_owned(), delta);
        }
    }
}

/// The data of one store.
pub(crate) struct Guest {
    pub(crate) shared: Arc<Shared>,
    /// The topic of the batch in hand, for log lines.
    pub(crate) topic: String,
    /// Set when the guest was refused memory, tables or instances: the trap that usually follows is
    /// then told as what it is.
    pub(crate) refused: Option<&'static str>,
    /// When the call in hand is over.
    pub(crate) until: Instant,
    memory_bytes: usize,
    max_memory_bytes: usize,
    max_table_elements: usize,
}

impl Guest {
    pub(crate) fn new(shared: Arc<Shared>, limits: &Limits) -> Guest {
        Guest {
            shared,
            topic: String::new(),
            refused: None,
            until: clock::now(),
            memory_bytes: 0,
            max_memory_bytes: limits.memory_bytes,
            max_table_elements: limits.table_elements,
        }
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
        if total > self.max_memory_bytes {
            self.refused = Some("memory");
            return Ok(false);
        }
        self.memory_bytes = total;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > self.max_table_elements {
            self.refused = Some("table elements");
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

/// Links `tidegate:plugin/host`, and nothing else.
pub(crate) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut host = linker.instance(HOST)?;
    host.func_wrap(
        "log",
        |store: StoreContextMut<'_, Guest>, (level, message): (wire::Level, WasmStr)| {
            let message = message.to_str(&store)?;
            log(store.data(), level, &message);
            Ok(())
        },
    )?;
    host.func_wrap(
        "counter",
        |store: StoreContextMut<'_, Guest>, (name, delta): (WasmStr, u64)| {
            let name = name.to_str(&store)?;
            store.data().shared.count(&name, delta);
            Ok(())
        },
    )?;
    host.func_wrap(
        "config",
        |store: StoreContextMut<'_, Guest>, (key,): (WasmStr,)| {
            let key = key.to_str(&store)?;
            let config = &store.data().shared.config;
            let value = config
                .iter()
                .find(|(name, _)| *name == key)
                .map(|(_, value)| value.clone());
            Ok((value,))
        },
    )?;
    Ok(())
}

fn log(guest: &Guest, level: wire::Level, message: &str) {
    if !guest.shared.may_log(message.len().min(MAX_LOG)) {
        return;
    }
    let mut end = message.len().min(MAX_LOG);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let (kept, _) = message.split_at(end);
    // A guest must not be able to forge log lines.
    let text: String = kept
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let (alias, topic) = (guest.shared.alias.as_str(), guest.topic.as_str());
    match level {
        wire::Level::Trace => tracing::trace!(target: "tidegate::plugin", alias, topic, "{text}"),
        wire::Level::Debug => tracing::debug!(target: "tidegate::plugin", alias, topic, "{text}"),
        wire::Level::Info => tracing::info!(target: "tidegate::plugin", alias, topic, "{text}"),
        wire::Level::Warn => tracing::warn!(target: "tidegate::plugin", alias, topic, "{text}"),
        wire::Level::Error => tracing::error!(target: "tidegate::plugin", alias, topic, "{text}"),
    }
}
