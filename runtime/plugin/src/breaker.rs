//! The circuit breaker: after several failures in a row a plugin is left alone for a while.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Where a binding's breaker stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum BreakerState {
    #[default]
    Closed,
    Open,
    /// Open long enough: one run is let through to try.
    HalfOpen,
}

pub(crate) struct Breaker {
    limit: u32,
    delay: Duration,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    failures: u32,
    /// Set while open; the moment from which one run may try.
    until: Option<Instant>,
    trying: bool,
}

impl Breaker {
    pub(crate) fn new(limit: u32, delay: Duration) -> Breaker {
        Breaker {
            limit: limit.max(1),
            delay,
            inner: Mutex::default(),
        }
    }

    /// Whether a run may start. Each run that was let in must end in `succeeded`, `failed` or
    /// `abandoned`, or a half-open breaker would wait for it for ever.
    pub(crate) fn admit(&self, now: Instant) -> bool {
        let mut inner = self.lock();
        match inner.until {
            None => true,
            Some(until) if now >= until && !inner.trying => {
                inner.trying = true;
                true
            }
            Some(_) => false,
        }
    }

    pub(crate) fn succeeded(&self) {
        *self.lock() = Inner::default();
    }

    /// True when this failure opened the breaker.
    pub(crate) fn failed(&self, now: Instant) -> bool {
        let mut inner = self.lock();
        inner.failures = inner.failures.saturating_add(1);
        inner.trying = false;
        let was_open = inner.until.is_some();
        if inner.failures >= self.limit {
            inner.until = Some(now + self.delay);
        }
        !was_open && inner.until.is_some()
    }

    /// The run said nothing about the plugin: it never reached it.
    pub(crate) fn abandoned(&self) {
        self.lock().trying = false;
    }

    pub(crate) fn state(&self, now: Instant) -> BreakerState {
        let inner = self.lock();
        match inner.until {
            None => BreakerState::Closed,
            Some(until) if now >= until => BreakerState::HalfOpen,
            Some(_) => BreakerState::Open,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_failures_in_a_row_only() {
        let breaker = Breaker::new(3, Duration::from_secs(5));
        let start = crate::clock::now();
        for _ in 0..2 {
            assert!(!breaker.failed(start));
        }
        breaker.succeeded();
        for _ in 0..2 {
            assert!(!breaker.failed(start));
        }
        assert_eq!(breaker.state(start), BreakerState::Closed);
        assert!(breaker.failed(start));
        assert_eq!(breaker.state(start), BreakerState::Open);
        assert!(!breaker.admit(start));
    }

    #[test]
    fn half_open_lets_one_run_through() {
        let breaker = Breaker::new(1, Duration::from_secs(5));
        let start = crate::clock::now();
        assert!(breaker.failed(start));
        let later = start + Duration::from_secs(5);
        assert_eq!(breaker.state(later), BreakerState::HalfOpen);
        assert!(breaker.admit(later));
        assert!(!breaker.admit(later));
        assert!(!breaker.failed(later), "it was open already");
        assert!(!breaker.admit(later), "a failed try opens it again");
        let later = later + Duration::from_secs(5);
        assert!(breaker.admit(later));
        breaker.abandoned();
        assert!(breaker.admit(later));
        breaker.succeeded();
        assert_eq!(breaker.state(later), BreakerState::Closed);
    }
}
