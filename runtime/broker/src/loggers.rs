//! The loggers of the process, as far as a broker shows and changes them (KIP-412).
//!
//! Who starts a broker owns the log; this is the seam to it. What is set here is gone with the process, as in Kafka.

use std::fmt;

/// How much a logger says: itself and what is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// The logger that those follow which have no level of their own.
pub const ROOT_LOGGER: &str = "root";

/// Loggers whose levels can be changed while they log.
pub trait Loggers: fmt::Debug + Send + Sync {
    /// Every logger by name, with the level in effect.
    fn levels(&self) -> Vec<(String, LogLevel)>;

    /// `None` gives the level up, so that the logger follows the others again. Asked only for loggers that `levels` names.
    /// An error is a sentence.
    fn set(&self, logger: &str, level: Option<LogLevel>) -> Result<(), String>;
}

impl LogLevel {
    pub const ALL: [LogLevel; 5] = [
        LogLevel::Error,
        LogLevel::Warn,
        LogLevel::Info,
        LogLevel::Debug,
        LogLevel::Trace,
    ];

    /// As Kafka writes it.
    pub fn name(self) -> &'static str {
        match self {
            LogLevel::Error => "ERROR",
            LogLevel::Warn => "WARN",
            LogLevel::Info => "INFO",
            LogLevel::Debug => "DEBUG",
            LogLevel::Trace => "TRACE",
        }
    }

    /// Kafka's FATAL is the worst there is, so it reads as ERROR.
    pub fn from_name(name: &str) -> Option<LogLevel> {
        if name == "FATAL" {
            return Some(LogLevel::Error);
        }
        LogLevel::ALL.into_iter().find(|level| level.name() == name)
    }
}
