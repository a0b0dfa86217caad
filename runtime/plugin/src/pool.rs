//! The threads that plugins run on.
//!
//! Start-time fair queueing: each key has a virtual time, which is the wall time its jobs have used, and
//! the waiting key with the least goes next. A key that was idle starts at the time of the one served
//! last, so it gains nothing by waiting. With a cap on the threads of a key, a plugin that loops costs
//! its own topic its deadline and nobody else anything (stream-semantics rule 28).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::{io, thread};

use crate::clock;

/// Wasm has its own bound; the rest is for the host's frames.
const STACK_BYTES: usize = 4 << 20;
/// Keys remembered before those that owe nothing are forgotten.
const KEPT_KEYS: usize = 4096;

/// Whose work it is: one key for each topic (or binding) that must not starve the others.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PoolKey(pub u64);

pub type Job = Box<dyn FnOnce() + Send>;

/// There is no room for the job, or the pool is closed; the job is dropped. Answer as for trouble that
/// passes: clients retry.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the plugin pool's queue is full")]
pub struct PoolFull;

/// Closes when dropped: running jobs end, waiting ones are dropped.
pub struct Pool {
    shared: Arc<Shared>,
    threads: usize,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    max_queued: usize,
    max_queued_per_key: usize,
    max_running_per_key: usize,
}

#[derive(Default)]
struct State {
    keys: HashMap<PoolKey, KeyState>,
    /// Keys with a waiting job and a thread to spare, least virtual time first.
    ready: BTreeSet<(u64, PoolKey)>,
    queued: usize,
    /// Virtual time of the key served last.
    now: u64,
    /// The number of keys at which the next sweep comes.
    sweep_at: usize,
    closed: bool,
}

#[derive(Default)]
struct KeyState {
    jobs: VecDeque<Job>,
    running: usize,
    /// Wall nanoseconds used, moved up to `State::now` after idling.
    used: u64,
}

impl Pool {
    pub(crate) fn new(threads: usize, max_queued: usize) -> io::Result<Pool> {
        let threads = match threads {
            0 => thread::available_parallelism().map_or(4, |cores| (2 * cores.get()).max(4)),
            threads => threads,
        };
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            max_queued: max_queued.max(1),
            max_queued_per_key: (max_queued / 4).max(1),
            max_running_per_key: (threads / 4).max(1),
        });
        let pool = Pool { shared, threads };
        for number in 0..threads {
            let shared = Arc::clone(&pool.shared);
            thread::Builder::new()
                .name(format!("tidegate-plugin-{number}"))
                .stack_size(STACK_BYTES)
                .spawn(move || shared.serve())?;
        }
        Ok(pool)
    }

    /// Never blocks. Jobs of one key start in the order in which they were submitted.
    pub fn submit(&self, key: PoolKey, job: Job) -> Result<(), PoolFull> {
        let mut state = self.shared.lock();
        if state.closed || state.queued >= self.shared.max_queued {
            return Err(PoolFull);
        }
        state.forget_idle();
        let now = state.now;
        let entry = state.keys.entry(key).or_default();
        if entry.jobs.len() >= self.shared.max_queued_per_key {
            return Err(PoolFull);
        }
        if entry.jobs.is_empty() && entry.running == 0 {
            entry.used = entry.used.max(now);
        }
        entry.jobs.push_back(job);
        state.queued += 1;
        state.make_ready(key, self.shared.max_running_per_key);
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }

    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Jobs waiting, over all keys.
    pub fn queued(&self) -> usize {
        self.shared.lock().queued
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Not joined: the last handle may be dropped by a job, on one of these threads.
        let mut state = self.shared.lock();
        state.closed = true;
        let waiting: Vec<KeyState> = state.keys.drain().map(|(_, key)| key).collect();
        state.ready.clear();
        state.queued = 0;
        drop(state);
        drop(waiting);
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn serve(&self) {
        let mut state = self.lock();
        loop {
            if state.closed {
                return;
            }
            let Some((key, job)) = state.next(self.max_running_per_key) else {
                state = self
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            let started = clock::now();
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!(target: "tidegate::plugin", "a job of the plugin pool panicked");
            }
            let used = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
            state = self.lock();
            state.finish(key, used, self.max_running_per_key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&mut self, max_running: usize) -> Option<(PoolKey, Job)> {
        let (used, key) = self.ready.pop_first()?;
        self.now = self.now.max(used);
        let entry = self.keys.get_mut(&key)?;
        let job = entry.jobs.pop_front()?;
        entry.running += 1;
        self.queued = self.queued.saturating_sub(1);
        self.make_ready(key, max_running);
        Some((key, job))
    }

    fn finish(&mut self, key: PoolKey, used: u64, max_running: usize) {
        let Some(entry) = self.keys.get_mut(&key) else {
            return;
        };
        self.ready.remove(&(entry.used, key));
        entry.running = entry.running.saturating_sub(1);
        entry.used = entry.used.saturating_add(used);
        self.make_ready(key, max_running);
    }

    fn make_ready(&mut self, key: PoolKey, max_running: usize) {
        if let Some(entry) = self.keys.get(&key)
            && !entry.jobs.is_empty()
            && entry.running < max_running
        {
            self.ready.insert((entry.used, key));
        }
    }

    /// Keys are topics, which come and go. What a key owes is remembered until the others have caught up.
    fn forget_idle(&mut self) {
        if self.keys.len() > self.sweep_at.max(KEPT_KEYS) {
            let now = self.now;
            self.keys
                .retain(|_, k| !k.jobs.is_empty() || k.running > 0 || k.used > now);
            // Keys that stay must not be walked again at each submission.
            self.sweep_at = self.keys.len() * 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const WAIT: Duration = Duration::from_secs(20);

    #[test]
    fn a_key_runs_its_jobs_in_order() {
        let pool = Pool::new(4, 100).unwrap();
        let (send, receive) = mpsc::channel();
        for number in 0..20 {
            let send = send.clone();
            pool.submit(PoolKey(1), Box::new(move || send.send(number).unwrap()))
                .unwrap();
        }
        let got: Vec<i32> = (0..20)
            .map(|_| receive.recv_timeout(WAIT).unwrap())
            .collect();
        assert_eq!(got, (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn a_stuck_key_leaves_threads_for_others() {
        let pool = Pool::new(4, 100).unwrap();
        let (release, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        for _ in 0..8 {
            let gate = Arc::clone(&gate);
            let job = move || {
                let gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
                assert!(gate.recv().is_err());
            };
            pool.submit(PoolKey(1), Box::new(job)).unwrap();
        }
        let (send, receive) = mpsc::channel();
        pool.submit(PoolKey(2), Box::new(move || send.send(()).unwrap()))
            .unwrap();
        receive
            .recv_timeout(WAIT)
            .expect("another key's job runs beside stuck ones");
        drop(release);
    }

    #[test]
    fn the_queue_is_bounded_and_one_key_cannot_fill_it() {
        let pool = Pool::new(4, 8).unwrap();
        let (release, gate) = mpsc::channel::<()>();
        let (started, running) = mpsc::channel();
        let job = move || {
            started.send(()).unwrap();
            assert!(gate.recv().is_err());
        };
        pool.submit(PoolKey(1), Box::new(job)).unwrap();
        running.recv_timeout(WAIT).unwrap();
        for _ in 0..2 {
            pool.submit(PoolKey(1), Box::new(|| ())).unwrap();
        }
        assert_eq!(pool.submit(PoolKey(1), Box::new(|| ())), Err(PoolFull));
        assert_eq!(pool.queued(), 2);
        let (send, receive) = mpsc::channel();
        pool.submit(PoolKey(2), Box::new(move || send.send(()).unwrap()))
            .unwrap();
        receive.recv_timeout(WAIT).unwrap();
        drop(release);
    }

    #[test]
    fn the_one_that_used_less_goes_first() {
        let mut state = State::default();
        for key in [1, 2] {
            let jobs: VecDeque<Job> = (0..2).map(|_| Box::new(|| ()) as Job).collect();
            state.keys.insert(
                PoolKey(key),
                KeyState {
                    jobs,
                    ..KeyState::default()
                },
            );
            state.make_ready(PoolKey(key), 1);
        }
        assert_eq!(state.next(1).unwrap().0, PoolKey(1));
        state.finish(PoolKey(1), 1000, 1);
        assert_eq!(state.next(1).unwrap().0, PoolKey(2));
        state.finish(PoolKey(2), 10, 1);
        assert_eq!(state.next(1).unwrap().0, PoolKey(2));
        assert_eq!(state.next(1).unwrap().0, PoolKey(1));
        assert!(state.next(1).is_none());
        assert_eq!(state.now, 1000);
    }

    #[test]
    fn a_panic_does_not_cost_a_thread() {
        let pool = Pool::new(1, 100).unwrap();
        pool.submit(PoolKey(1), Box::new(|| panic!("expected by the test")))
            .unwrap();
        let (send, receive) = mpsc::channel();
        pool.submit(PoolKey(1), Box::new(move || send.send(()).unwrap()))
            .unwrap();
        receive.recv_timeout(WAIT).unwrap();
    }
}
