//! The facades `log` and `tracing`, into the broker's log of the plugin. Each is a feature of this
//! crate; with it on, whatever the plugin and its dependencies log arrives there.
//!
//! ```
//! # #[cfg(feature = "log")] {
//! use tidegate_sdk::{host::Level, logging};
//!
//! logging::set_max_level(Level::Warn);
//! log::warn!("{} records without a key", 3);
//! # assert!(!log::log_enabled!(log::Level::Info));
//! # }
//! ```
//!
//! The broker bounds how much a plugin may log in a second, so levels below `Info` are off until
//! [`set_max_level`] turns them on.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::host::Level;

static MAX_LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// Leaves out what is less severe. Affects `log` and `tracing`, not [`host::log`](crate::host::log()).
pub fn set_max_level(level: Level) {
    MAX_LEVEL.store(level as u8, Ordering::Relaxed);
    install();
    #[cfg(feature = "log")]
    log_facade::follow();
    #[cfg(feature = "tracing")]
    tracing_facade::follow();
}

/// Makes the facades end here, where nothing else did so before. Runs before `configure`.
pub(crate) fn install() {
    #[cfg(feature = "log")]
    log_facade::install();
    #[cfg(feature = "tracing")]
    tracing_facade::install();
}

#[cfg_attr(not(any(feature = "log", feature = "tracing")), expect(dead_code))]
fn is_on(level: Level) -> bool {
    level as u8 >= MAX_LEVEL.load(Ordering::Relaxed)
}

#[cfg(feature = "log")]
mod log_facade {
    use log::{LevelFilter, Log, Metadata, Record};

    use super::{Level, is_on};
    use crate::host;

    struct HostLog;

    impl Log for HostLog {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            is_on(level(metadata.level()))
        }

        fn log(&self, record: &Record<'_>) {
            if self.enabled(record.metadata()) {
                host::log(level(record.level()), &record.args().to_string());
            }
        }

        fn flush(&self) {}
    }

    fn level(level: log::Level) -> Level {
        match level {
            log::Level::Error => Level::Error,
            log::Level::Warn => Level::Warn,
            log::Level::Info => Level::Info,
            log::Level::Debug => Level::Debug,
            log::Level::Trace => Level::Trace,
        }
    }

    pub(super) fn install() {
        if log::set_logger(&HostLog).is_ok() {
            follow();
        }
    }

    /// Lets the macros skip what would be left out.
    pub(super) fn follow() {
        let most = LevelFilter::iter()
            .filter(|filter| filter.to_level().is_some_and(|it| is_on(level(it))))
            .last();
        log::set_max_level(most.unwrap_or(LevelFilter::Off));
    }
}

#[cfg(feature = "tracing")]
mod tracing_facade {
    use std::{
        cell::RefCell,
        fmt::{self, Write},
        sync::atomic::{AtomicU64, Ordering},
    };

    use tracing_core::{
        Dispatch, Event, Interest, Metadata, Subscriber, callsite, dispatcher,
        field::{Field, Visit},
        span,
    };

    use super::{Level, is_on};
    use crate::host;

    thread_local! {
        /// The spans that are open, by id, with their names; and those entered, outermost first.
        static SPANS: RefCell<Spans> = const { RefCell::new(Spans { open: Vec::new(), entered: Vec::new() }) };
    }

    struct Spans {
        open: Vec<(u64, &'static str)>,
        entered: Vec<u64>,
    }

    /// Events become lines: `span:span: message field=value`. What a span carries is not shown.
    struct HostLog {
        next: AtomicU64,
    }

    impl Subscriber for HostLog {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            is_on(level(metadata.level()))
        }

        fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
            // Asked each time: the level may change.
            Interest::sometimes()
        }

        fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
            let id = self.next.fetch_add(1, Ordering::Relaxed);
            let name = attributes.metadata().name();
            SPANS.with_borrow_mut(|spans| spans.open.push((id, name)));
            span::Id::from_u64(id)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut line = Line(String::new());
            SPANS.with_borrow(|spans| {
                for entered in &spans.entered {
                    if let Some((_, name)) = spans.open.iter().find(|(id, _)| id == entered) {
                        line.0.push_str(name);
                        line.0.push(':');
                    }
                }
            });
            event.record(&mut line);
            host::log(level(event.metadata().level()), &line.0);
        }

        fn enter(&self, span: &span::Id) {
            SPANS.with_borrow_mut(|spans| spans.entered.push(span.into_u64()));
        }

        fn exit(&self, span: &span::Id) {
            SPANS.with_borrow_mut(|spans| {
                let at = spans.entered.iter().rposition(|id| *id == span.into_u64());
                at.map(|at| spans.entered.remove(at))
            });
        }

        fn try_close(&self, id: span::Id) -> bool {
            SPANS.with_borrow_mut(|spans| spans.open.retain(|(open, _)| *open != id.into_u64()));
            true
        }
    }

    struct Line(String);

    impl Visit for Line {
        fn record_str(&mut self, field: &Field, value: &str) {
            if field.name() == "message" {
                self.record_debug(field, &format_args!("{value}"));
            } else {
                self.record_debug(field, &value);
            }
        }

        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            if !self.0.is_empty() {
                self.0.push(' ');
            }
            // Writing to a string does not fail.
            let _ = match field.name() {
                "message" => write!(self.0, "{value:?}"),
                name => write!(self.0, "{name}={value:?}"),
            };
        }
    }

    fn level(level: &tracing_core::Level) -> Level {
        match *level {
            tracing_core::Level::ERROR => Level::Error,
            tracing_core::Level::WARN => Level::Warn,
            tracing_core::Level::INFO => Level::Info,
            tracing_core::Level::DEBUG => Level::Debug,
            tracing_core::Level::TRACE => Level::Trace,
        }
    }

    pub(super) fn install() {
        // An error means that there is a subscriber already, which a test may have set.
        let _ = dispatcher::set_global_default(Dispatch::new(HostLog {
            next: AtomicU64::new(1),
        }));
    }

    pub(super) fn follow() {
        callsite::rebuild_interest_cache();
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::logging;

        #[test]
        fn events_become_lines() {
            logging::set_max_level(Level::Info);
            let logged = crate::testing::logged(|| {
                let _batch = tracing::info_span!("batch", records = 3).entered();
                tracing::warn!(offset = 7, key = "k", "no {}", "value");
                tracing::debug!("left out");
            });
            let expected = [(
                Level::Warn,
                "batch: no value offset=7 key=\"k\"".to_string(),
            )];
            assert_eq!(logged, expected);
            assert_eq!(crate::testing::logged(|| tracing::error!("alone")).len(), 1);
        }
    }
}

#[cfg(all(test, feature = "log"))]
mod tests {
    use super::*;

    #[test]
    fn records_become_lines() {
        set_max_level(Level::Info);
        let logged = crate::testing::logged(|| {
            log::info!("{} of {}", 1, 2);
            log::debug!("left out");
        });
        assert_eq!(logged, [(Level::Info, "1 of 2".to_string())]);
    }
}
