//! Where a guest's log lines go.

use std::sync::Arc;

/// How much a line matters, as the guest says.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Trace => "trace",
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
        }
    }
}

/// One line of a guest, within its rate, bounded, without control characters.
#[derive(Clone, Copy, Debug)]
pub struct LogLine<'a> {
    pub alias: &'a str,
    /// The batch in hand when the line was written; empty outside of one.
    pub topic: &'a str,
    pub partition: i32,
    pub level: LogLevel,
    pub message: &'a str,
}

/// Called on the thread that runs the guest, so it must neither block nor fail.
#[derive(Clone, Default)]
pub struct LogSink(Option<Arc<Sink>>);

type Sink = dyn Fn(&LogLine<'_>) + Send + Sync;

impl LogSink {
    pub fn new(sink: impl Fn(&LogLine<'_>) + Send + Sync + 'static) -> LogSink {
        LogSink(Some(Arc::new(sink)))
    }

    pub(crate) fn write(&self, line: &LogLine<'_>) {
        if let Some(sink) = &self.0 {
            sink(line);
        }
    }
}

impl std::fmt::Debug for LogSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() {
            "LogSink"
        } else {
            "no LogSink"
        })
    }
}
