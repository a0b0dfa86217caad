//! The bounded queue between the callers and the writer thread.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Append, lock};

pub(crate) struct Queue {
    max_bytes: usize,
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    appends: VecDeque<Waiting>,
    /// Of the appends here and of those the writer holds but has not taken into a group.
    bytes: usize,
    closed: bool,
    /// The writer is asleep: only then does a push have to wake it.
    waiting: bool,
    /// Somebody wants the writer to look up, though there may be nothing to write.
    called: bool,
}

struct Waiting {
    append: Append,
    size: usize,
}

/// The writer's end of the queue. Appends move over all at once, so that the callers wait for the
/// lock no longer than it takes to swap two pointers.
#[derive(Default)]
pub(crate) struct Backlog {
    appends: VecDeque<Waiting>,
}

/// Why [`Queue::drain`] returned.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Drained {
    Group,
    TimedOut,
    Closed,
}

impl Queue {
    pub(crate) fn new(max_bytes: usize) -> Queue {
        Queue {
            max_bytes,
            state: Mutex::default(),
            filled: Condvar::new(),
        }
    }

    #[allow(clippy::result_large_err)]
    pub(crate) fn push(&self, append: Append) -> Result<(), Append> {
        let size = append.size();
        let mut state = lock(&self.state);
        // One append may always wait, or one larger than the queue could never be written.
        let full = state.bytes > 0 && state.bytes.saturating_add(size) > self.max_bytes;
        if state.closed || full {
            return Err(append);
        }
        state.bytes = state.bytes.saturating_add(size);
        state.appends.push_back(Waiting { append, size });
        let wake = std::mem::take(&mut state.waiting);
        drop(state);
        if wake {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Waits for appends and moves some into `group`: one at least, then up to `group_bytes`.
    /// A call ends the wait as the time does. Without a `timeout` it waits for ever; when closed it goes on until the queue is empty.
    pub(crate) fn drain(
        &self,
        backlog: &mut Backlog,
        group: &mut Vec<Append>,
        group_bytes: usize,
        timeout: Option<Duration>,
    ) -> Drained {
        if backlog.appends.is_empty() {
            let mut state = self.wait(timeout);
            if state.appends.is_empty() {
                return if state.closed {
                    Drained::Closed
                } else {
                    Drained::TimedOut
                };
            }
            std::mem::swap(&mut state.appends, &mut backlog.appends);
        }
        let mut bytes = 0usize;
        while let Some(next) = backlog.appends.front() {
            if !group.is_empty() && bytes.saturating_add(next.size) > group_bytes {
                break;
            }
            bytes = bytes.saturating_add(next.size);
            group.extend(backlog.appends.pop_front().map(|sized| sized.append));
        }
        let mut state = lock(&self.state);
        state.bytes = state.bytes.saturating_sub(bytes);
        Drained::Group
    }

    /// Ends the writer's present wait, or its next one.
    pub(crate) fn call(&self) {
        lock(&self.state).called = true;
        self.filled.notify_one();
    }

    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.filled.notify_all();
    }

    fn wait(&self, timeout: Option<Duration>) -> MutexGuard<'_, State> {
        let mut state = lock(&self.state);
        while state.appends.is_empty() && !state.closed && !std::mem::take(&mut state.called) {
            state.waiting = true;
            let Some(timeout) = timeout else {
                state = self
                    .filled
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            // Woken early for nothing, the caller asks again with the time that is left.
            let woken = self.filled.wait_timeout(state, timeout);
            return woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }
}
