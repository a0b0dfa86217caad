//! The only place of this crate that reads a clock: deadlines, the breaker's delay, the log limit, and what calls cost.
//!
//! Nothing a plugin decides depends on it; a plugin sees only the time the broker passes in.

use std::io;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use cpu_time::ThreadTime;
use wasmtime::Engine;

/// How finely a running guest is interrupted: a deadline is overrun by about one of these.
pub(crate) const TICK: Duration = Duration::from_millis(5);

pub(crate) fn now() -> Instant {
    #[allow(clippy::disallowed_methods)]
    Instant::now()
}

/// For the times of files in the cache.
pub(crate) fn wall() -> SystemTime {
    #[allow(clippy::disallowed_methods)]
    SystemTime::now()
}

/// CPU time that this thread has used, in nanoseconds; 0 where the system does not say.
pub(crate) fn thread_cpu_nanos() -> u64 {
    let used = ThreadTime::try_now().map(|time| time.as_duration().as_nanos());
    used.map_or(0, |nanos| u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Nanoseconds since `started`.
pub(crate) fn nanos_since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Ticks after which a call of `budget` is to be looked at: never too few to be over, were the ticks
/// on time, since the first may come at once.
pub(crate) fn ticks(budget: Duration) -> u64 {
    let ticks = budget.as_nanos().div_ceil(TICK.as_nanos()) + 1;
    u64::try_from(ticks).unwrap_or(u64::MAX / 2)
}

/// Moves the engine's epoch on until nobody holds the engine any more.
///
/// The epoch follows the clock, not the number of wakeups: on a busy machine each wakeup is late, and
/// deadlines counted in them would stretch.
pub(crate) fn start_ticker(engine: &Engine) -> io::Result<()> {
    let engine = engine.weak();
    let started = now();
    let mut ticks = 0;
    thread::Builder::new()
        .name("tidegate-epoch".into())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                let due = started.elapsed().as_nanos() / TICK.as_nanos();
                while ticks < due {
                    engine.increment_epoch();
                    ticks += 1;
                }
                drop(engine);
                #[allow(clippy::disallowed_methods)]
                thread::sleep(TICK);
            }
        })?;
    Ok(())
}

/// The wall time that one binding may spend on one batch.
pub(crate) struct Budget {
    until: Instant,
    call: Duration,
}

impl Budget {
    /// Each call has `call`, all of them together twice that: room for bisection
    /// (stream-semantics rule 25).
    pub(crate) fn new(call: Duration) -> Budget {
        Budget {
            until: now() + call * 2,
            call,
        }
    }

    /// What the next call may take; zero when nothing is left.
    pub(crate) fn next_call(&self) -> Duration {
        self.until.saturating_duration_since(now()).min(self.call)
    }

    pub(crate) fn until(&self) -> Instant {
        self.until
    }
}
