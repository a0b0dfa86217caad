//! Why a call gave nothing: which limit it met, what the guest was doing.

use std::fmt::Write as _;
use std::time::Duration;

use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use crate::FailureKind;
use crate::guest::Guest;
use crate::verdict::excerpt;

/// Frames of a guest's backtrace that are told, innermost first.
const MAX_FRAMES: usize = 20;
/// Bytes of the name of one function, and of all of a backtrace.
const MAX_FUNCTION: usize = 120;
const MAX_BACKTRACE: usize = 1024;

#[derive(Clone, Debug)]
pub(crate) struct CallError {
    pub(crate) kind: FailureKind,
    /// A sentence without its plugin's name, which whoever tells it puts before.
    pub(crate) message: String,
    /// The limit that was hit, as `BindingStats::limit_hits` names it.
    pub(crate) limit: Option<&'static str>,
}

impl CallError {
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> CallError {
        CallError {
            kind,
            message: message.into(),
            limit: None,
        }
    }

    pub(crate) fn limit(
        kind: FailureKind,
        limit: &'static str,
        message: impl Into<String>,
    ) -> CallError {
        CallError {
            limit: Some(limit),
            ..CallError::new(kind, message)
        }
    }

    /// What the guest gave breaks the contract.
    pub(crate) fn bad(message: impl Into<String>) -> CallError {
        CallError::new(FailureKind::BadOutput, message)
    }

    /// The guest's own error.
    pub(crate) fn plugin(sentence: String) -> CallError {
        CallError::new(FailureKind::PluginError, excerpt(&sentence))
    }

    pub(crate) fn no_room() -> CallError {
        CallError::new(
            FailureKind::Unavailable,
            "the broker runs all the instances it may",
        )
    }

    pub(crate) fn deadline(what: &str, limit_ms: u128) -> CallError {
        let message = format!("it {what} (limit `deadline.ms`: {limit_ms})");
        CallError::limit(FailureKind::Deadline, "deadline", message)
    }

    /// Whether the instance can be trusted with another call.
    pub(crate) fn spares_instance(&self) -> bool {
        self.kind == FailureKind::PluginError
    }
}

/// Says which limit, if any, stands behind an error of the engine.
pub(crate) fn classify(error: &wasmtime::Error, guest: &Guest, deadline: Duration) -> CallError {
    if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        return CallError::no_room();
    }
    if let Some(refused) = guest.refused {
        let message = format!(
            "it asked for more {} than it may have (limit `{}`: {})",
            refused.what, refused.key, refused.max
        );
        return CallError::limit(FailureKind::Memory, refused.limit, message);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => {
            let ran = format!(
                "ran longer than {} ms{}",
                deadline.as_millis(),
                backtrace(error)
            );
            CallError::deadline(&ran, guest.deadline_ms())
        }
        Some(trap) => {
            let trap = trap.to_string();
            let trap = trap.strip_prefix("wasm trap: ").unwrap_or(&trap);
            let message = format!("it trapped: {trap}{}", backtrace(error));
            CallError::new(FailureKind::Trap, message)
        }
        None if format!("{error:#}").contains("fuel allocated for hostcalls") => {
            let message = format!(
                "it gave back more bytes than it may (limit `output.bytes`: {})",
                guest.output_bytes()
            );
            CallError::limit(FailureKind::OutputLimit, "output.bytes", message)
        }
        None => CallError::bad(format!(
            "what it gave breaks the contract: {}",
            excerpt(&error.root_cause().to_string())
        )),
    }
}

/// The guest's functions from where it trapped outwards, ` in a < b < c`; nothing where the engine saw none.
fn backtrace(error: &wasmtime::Error) -> String {
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else {
        return String::new();
    };
    let names = trace.frames().iter().map(|frame| match frame.func_name() {
        Some(name) => function(name),
        None => format!("function {}", frame.func_index()),
    });
    told(names)
}

/// A name as its author wrote it. A hostile one may unfold to megabytes, so writing ends at the bound.
fn function(name: &str) -> String {
    struct Bounded(String);
    impl std::fmt::Write for Bounded {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            for c in text.chars() {
                if self.0.len() >= MAX_FUNCTION {
                    return Err(std::fmt::Error);
                }
                self.0.push(if c.is_control() { ' ' } else { c });
            }
            Ok(())
        }
    }
    let mut bounded = Bounded(String::new());
    // An error here says that the name was cut.
    let _ = write!(bounded, "{:#}", rustc_demangle::demangle(name));
    bounded.0
}

fn told(names: impl ExactSizeIterator<Item = String>) -> String {
    let frames = names.len();
    let mut text = String::new();
    for (number, name) in names.enumerate() {
        if number == MAX_FRAMES || text.len() > MAX_BACKTRACE {
            // Writing to a string does not fail.
            let _ = write!(text, " < {} more", frames - number);
            break;
        }
        text.push_str(if number == 0 { ", in " } else { " < " });
        text.push_str(&name);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backtrace_is_bounded_and_one_line() {
        let names = ["_ZN5guest5check17h0123456789abcdefE", "fil\nter", "apply"].map(function);
        assert_eq!(
            told(names.into_iter()),
            ", in guest::check < fil ter < apply"
        );
        let deep: Vec<String> = (0..50_000).map(|n| format!("f{n}")).collect();
        let text = told(deep.into_iter());
        assert!(text.ends_with("< f19 < 49980 more"), "{text}");
        let long = vec![function(&"x".repeat(10_000)); 20];
        assert!(told(long.into_iter()).len() < MAX_BACKTRACE + 2 * MAX_FUNCTION);
        assert_eq!(told(Vec::new().into_iter()), "");
    }
}
