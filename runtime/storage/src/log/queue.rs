//! The bounded queue between the callers and the writer thread.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Append, lock};

pub(crate) struct Queue {
    max_bytes: usize,
    group_bytes: usize,
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    appends: VecDeque<Append>,
    bytes: usize,
    closed: bool,
    /// The writer is asleep: only then does a push have to wake it.
    waiting: bool,
}

/// Why [`Queue::drain`] returned.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Drained {
    Group,
    TimedOut,
    Closed,
}

impl Queue {
    pub(crate) fn new(max_bytes: usize, group_bytes: usize) -> Queue {
        Queue {
            max_bytes,
            group_bytes,
            state: Mutex::default(),
            filled: Condvar::new(),
        }
    }

    #[allow(clippy::result_large_err)]
    pub(crate) fn push(&self, append: Append) -> Result<(), Append> {
        let size = append.size();
        let mut state = lock(&self.state);
        // One append may always wait, or one larger than the queue could never be written.
        let full = !state.appends.is_empty() && state.bytes.saturating_add(size) > self.max_bytes;
        if state.closed || full {
            return Err(append);
        }
        state.bytes = state.bytes.saturating_add(size);
        state.appends.push_back(append);
        let wake = std::mem::take(&mut state.waiting);
        drop(state);
        if wake {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Waits for appends and moves a group of them into `group`. Without a `timeout` it waits for
    /// ever; when closed it goes on to return groups until the queue is empty.
    pub(crate) fn drain(&self, group: &mut Vec<Append>, timeout: Option<Duration>) -> Drained {
        let mut state = self.wait(timeout);
        let mut bytes = 0usize;
        while let Some(append) = state.appends.front() {
            bytes = bytes.saturating_add(append.size());
            if !group.is_empty() && bytes > self.group_bytes {
                break;
            }
            group.extend(state.appends.pop_front());
        }
        let taken: usize = group.iter().map(Append::size).sum();
        state.bytes = state.bytes.saturating_sub(taken);
        match (group.is_empty(), state.closed) {
            (false, _) => Drained::Group,
            (true, true) => Drained::Closed,
            (true, false) => Drained::TimedOut,
        }
    }

    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.filled.notify_all();
    }

    fn wait(&self, timeout: Option<Duration>) -> MutexGuard<'_, State> {
        let mut state = lock(&self.state);
        while state.appends.is_empty() && !state.closed {
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
