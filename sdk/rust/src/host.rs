//! All that a plugin can reach outside its own memory. Natively, [`log()`] prints to standard error
//! and [`counter`] counts, for [`testing::logged`](crate::testing::logged) and
//! [`testing::counter`](crate::testing::counter).

pub use crate::bindings::host::Level;

use crate::Columns;

/// Logs under the plugin's name. Rate-limited by the host: what is over the limit is counted, not
/// kept.
pub fn log(level: Level, message: &str) {
    outside::log(level, message);
}

/// Adds to a counter of this plugin, shown in the broker's metrics.
pub fn counter(name: &str, delta: u64) {
    outside::counter(name, delta);
}

/// The binding's value of a configuration key, or its default. `None` natively: a configuration is
/// better taken in `configure`.
pub fn config(key: &str) -> Option<String> {
    outside::config(key)
}

/// What a plugin's `columns` said of its configuration.
#[inline]
pub(crate) fn narrow(columns: Columns) {
    outside::narrow(columns);
}

#[cfg(target_arch = "wasm32")]
use crate::bindings::host as outside;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod outside {
    use std::{cell::RefCell, collections::BTreeMap};

    use super::{Columns, Level};

    thread_local! {
        static COUNTERS: RefCell<BTreeMap<String, u64>> = const { RefCell::new(BTreeMap::new()) };
        /// What was logged while a test is looking.
        static LINES: RefCell<Option<Vec<(Level, String)>>> = const { RefCell::new(None) };
    }

    pub(super) fn log(level: Level, message: &str) {
        eprintln!("{level:?}: {message}");
        LINES.with_borrow_mut(|lines| {
            if let Some(lines) = lines {
                lines.push((level, message.into()));
            }
        });
    }

    pub(crate) fn logged(run: impl FnOnce()) -> Vec<(Level, String)> {
        LINES.set(Some(Vec::new()));
        run();
        LINES.take().unwrap_or_default()
    }

    pub(super) fn counter(name: &str, delta: u64) {
        COUNTERS.with_borrow_mut(|counters| *counters.entry(name.into()).or_default() += delta);
    }

    pub(super) fn config(_key: &str) -> Option<String> {
        None
    }

    pub(super) fn narrow(_columns: Columns) {}

    pub(crate) fn counted(name: &str) -> u64 {
        COUNTERS.with_borrow(|counters| counters.get(name).copied().unwrap_or_default())
    }
}
