//! The broker's log: where it goes, and how its levels change while it runs.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use clap::ValueEnum;
use tidegate_broker::{LogLevel, Loggers, ROOT_LOGGER};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, Targets};

/// Filters the log, in tracing's syntax: `debug`, or `tidegate_broker=debug`.
const LOG_VARIABLE: &str = "TIDEGATE_LOG";
const DEFAULT_FILTER: &str = "info";

/// What can be given a level of its own: the crates and modules that say something.
const LOGGERS: [&str; 12] = [
    "tidegate_broker",
    "tidegate_broker::admin",
    "tidegate_broker::api",
    "tidegate_broker::connection",
    "tidegate_broker::groups",
    "tidegate_broker::metadata_log",
    "tidegate_broker::partition",
    "tidegate_broker::plugins",
    "tidegate_broker::server",
    "tidegate_broker::tasks",
    "tidegate_plugin",
    "tidegate_storage",
];

#[derive(ValueEnum, Debug, Clone, Copy)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Starts the log on standard error, and gives what changes its levels.
pub(crate) fn start(format: LogFormat) -> Arc<dyn Loggers> {
    let asked = std::env::var(LOG_VARIABLE).unwrap_or_default();
    let base = match EnvFilter::try_new(&asked) {
        Ok(_) if !asked.is_empty() => asked,
        _ => DEFAULT_FILTER.to_owned(),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&base))
        .with_writer(std::io::stderr)
        // A log in a file or a journal is no place for colours.
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    let reload: Reload = match format {
        LogFormat::Text => {
            let log = log.with_filter_reloading();
            let handle = log.reload_handle();
            log.init();
            Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()))
        }
        LogFormat::Json => {
            let log = log.json().with_filter_reloading();
            let handle = log.reload_handle();
            log.init();
            Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()))
        }
    };
    Arc::new(Levels {
        base,
        set: Mutex::default(),
        reload,
    })
}

type Reload = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

struct Levels {
    /// As the process was started.
    base: String,
    /// What was set since, by logger.
    set: Mutex<BTreeMap<String, LogLevel>>,
    reload: Reload,
}

impl fmt::Debug for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Levels")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Loggers for Levels {
    fn levels(&self) -> Vec<(String, LogLevel)> {
        let set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        let filter = filter(&self.base, &set);
        std::iter::once(ROOT_LOGGER)
            .chain(LOGGERS)
            .map(|logger| (logger.to_owned(), level_of(&filter, logger)))
            .collect()
    }

    fn set(&self, logger: &str, level: Option<LogLevel>) -> Result<(), String> {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = set.clone();
        match level {
            Some(level) => changed.insert(logger.to_owned(), level),
            None => changed.remove(logger),
        };
        (self.reload)(EnvFilter::new(filter(&self.base, &changed)))?;
        *set = changed;
        Ok(())
    }
}

/// The filter in tracing's syntax; of two that are about the same target the later counts.
fn filter(base: &str, set: &BTreeMap<String, LogLevel>) -> String {
    let mut filter = base.to_owned();
    for (logger, level) in set {
        let level = level.name().to_lowercase();
        match logger.as_str() {
            ROOT_LOGGER => filter.push_str(&format!(",{level}")),
            target => filter.push_str(&format!(",{target}={level}")),
        }
    }
    filter
}

/// The level that a filter comes to for a logger. Directives about spans and fields say more than a level can.
fn level_of(filter: &str, logger: &str) -> LogLevel {
    let plain = |directive: &&str| Targets::from_str(directive).is_ok();
    let plain: Vec<&str> = filter.split(',').filter(plain).collect();
    let targets = Targets::from_str(&plain.join(",")).unwrap_or_default();
    let own = targets
        .iter()
        .filter(|(target, _)| logger.starts_with(target))
        .max_by_key(|(target, _)| target.len())
        .map(|(_, level)| level);
    let level = own
        .or(targets.default_level())
        .unwrap_or(LevelFilter::ERROR);
    match level {
        LevelFilter::TRACE => LogLevel::Trace,
        LevelFilter::DEBUG => LogLevel::Debug,
        LevelFilter::INFO => LogLevel::Info,
        LevelFilter::WARN => LogLevel::Warn,
        _ => LogLevel::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_target_counts_and_the_later_word() {
        let of = |filter: &str| {
            (
                level_of(filter, ROOT_LOGGER),
                level_of(filter, "tidegate_broker::api"),
            )
        };
        assert_eq!(of("info"), (LogLevel::Info, LogLevel::Info));
        let filter = "warn,tidegate_broker=debug,tidegate_broker::api=trace";
        assert_eq!(of(filter), (LogLevel::Warn, LogLevel::Trace));
        assert_eq!(of("info,warn"), (LogLevel::Warn, LogLevel::Warn));
        assert_eq!(
            of("tidegate_broker=debug"),
            (LogLevel::Error, LogLevel::Debug)
        );
    }

    #[test]
    fn what_is_set_lies_over_what_was_started_with() {
        let levels = Levels {
            base: "info".to_owned(),
            set: Mutex::default(),
            reload: Box::new(|_| Ok(())),
        };
        let of = |logger: &str| {
            let all = levels.levels();
            all.iter().find(|(name, _)| name == logger).unwrap().1
        };
        levels
            .set("tidegate_broker", Some(LogLevel::Debug))
            .unwrap();
        levels.set(ROOT_LOGGER, Some(LogLevel::Warn)).unwrap();
        assert_eq!(of("tidegate_broker::api"), LogLevel::Debug);
        assert_eq!(of("tidegate_storage"), LogLevel::Warn);
        levels.set("tidegate_broker", None).unwrap();
        assert_eq!(of("tidegate_broker::api"), LogLevel::Warn);
    }
}
