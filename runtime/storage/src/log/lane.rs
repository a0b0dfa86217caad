//! Appends that make sense only one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Holds appends of which none may enter the log once an earlier one was refused: the batches of
/// one idempotent producer, whose sequence numbers must not get a hole, or the records of one group
/// coordinator, each of which says what changed since those before it.
///
/// The writer decides in the order of submission, so it knows an append's fate before it looks at
/// the next. The caller learns of it later, when more may be queued behind; without this, those
/// would be written. A broken lane stays broken; who tries again starts a new one.
#[derive(Clone, Debug, Default)]
pub struct Lane(Arc<AtomicBool>);

impl Lane {
    pub(crate) fn is_broken(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// For an append that was refused before it came to the log: those behind it are refused too.
    pub fn break_off(&self) {
        self.0.store(true, Ordering::Release);
    }
}
