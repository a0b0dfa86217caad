//! Memory of answers that wait for their clients to read them: one budget over all connections.
//!
//! Consumers that stop reading hold what they asked for. So each fetch may take a share of what is free now, not of the
//! whole, so that a few who stand still leave something for the others (dynamic thresholds, Choudhury and Hahne 1998).
//! Where nothing is left a fetch waits, as if there were no records yet, and who has taken nothing for a while is cut off:
//! it loses a connection, not a record.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// A fetch may take this part of what is free.
const SHARE: i64 = 16;
/// A share is not made smaller than this while that much is free, or large batches would come one by one.
const LEAST_SHARE: i64 = 64 << 10;

/// The budget.
pub(crate) struct AnswerMemory {
    total: i64,
    /// Below zero where a batch was larger than what was reserved for it: a batch is sent whole or not at all.
    free: Mutex<i64>,
    freed: Notify,
    /// When a fetch last found nothing.
    found_nothing: Mutex<Option<Instant>>,
}

/// A part of the budget, given back when it is dropped.
pub(crate) struct Reserved {
    of: Arc<AnswerMemory>,
    bytes: i64,
}

impl AnswerMemory {
    pub(crate) fn new(total: usize) -> Arc<AnswerMemory> {
        let total = i64::try_from(total).unwrap_or(i64::MAX);
        Arc::new(AnswerMemory {
            total,
            free: Mutex::new(total),
            freed: Notify::new(),
            found_nothing: Mutex::default(),
        })
    }

    /// Bytes of the whole, and of what is taken now.
    pub(crate) fn read(&self) -> (i64, i64) {
        (self.total, self.total - *self.lock())
    }

    /// Whether a fetch found nothing within this time.
    pub(crate) fn was_short(&self, within: Duration) -> bool {
        let last = self.found_nothing.lock();
        let last = *last.unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() <= within)
    }

    /// At most `wanted` bytes, as much as one fetch may take; waits where there is nothing. None: nothing came until then.
    pub(crate) async fn reserve(
        self: &Arc<Self>,
        wanted: usize,
        until: Instant,
    ) -> Option<Reserved> {
        loop {
            let freed = self.freed.notified();
            if let Some(reserved) = self.try_reserve(wanted) {
                return Some(reserved);
            }
            *self
                .found_nothing
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            tokio::time::timeout_at(until, freed).await.ok()?;
        }
    }

    fn try_reserve(self: &Arc<Self>, wanted: usize) -> Option<Reserved> {
        let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
        let mut free = self.lock();
        if *free <= 0 {
            return None;
        }
        let bytes = wanted.min((*free / SHARE).max(LEAST_SHARE.min(*free)));
        *free -= bytes;
        Some(Reserved {
            of: self.clone(),
            bytes,
        })
    }

    fn lock(&self) -> MutexGuard<'_, i64> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reserved {
    pub(crate) fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(0)
    }

    /// What it came to in the end, more or less than was reserved.
    pub(crate) fn settle(&mut self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let mut free = self.of.lock();
        *free = free.saturating_add(self.bytes).saturating_sub(bytes);
        let less = bytes < self.bytes;
        self.bytes = bytes;
        drop(free);
        if less {
            self.of.freed.notify_waiters();
        }
    }

    /// Joins another reservation of the same budget to this one.
    pub(crate) fn join(&mut self, mut other: Reserved) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        other.bytes = 0;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.bytes != 0 {
            self.settle(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn however_many_hold_theirs_something_is_left_for_the_next() {
        let memory = AnswerMemory::new(160 * MIB);
        assert_eq!(memory.read(), (160 << 20, 0));
        let mut held = Vec::new();
        for _ in 0..40 {
            held.push(memory.try_reserve(50 * MIB).unwrap());
        }
        assert_eq!(held[0].bytes(), 10 * MIB);
        let taken: usize = held.iter().map(Reserved::bytes).sum();
        assert!(taken < 160 * MIB, "{taken}");
        assert!(held[39].bytes() >= MIB / 2, "{}", held[39].bytes());
        drop(held);
        assert_eq!(memory.read(), (160 << 20, 0));
    }

    #[test]
    fn a_large_batch_overdraws_and_is_paid_back() {
        let memory = AnswerMemory::new(2 * MIB);
        let mut one = memory.try_reserve(1).unwrap();
        one.settle(5 * MIB);
        assert!(memory.try_reserve(1).is_none());
        one.settle(MIB);
        assert_eq!(memory.try_reserve(9 * MIB).unwrap().bytes(), MIB / 16);
    }

    #[test]
    fn joined_is_given_back_once() {
        let memory = AnswerMemory::new(10 * MIB);
        let mut one = memory.try_reserve(3).unwrap();
        one.join(memory.try_reserve(4).unwrap());
        assert_eq!(one.bytes(), 7);
        assert_eq!(memory.read().1, 7);
        drop(one);
        assert_eq!(memory.read().1, 0);
    }

    #[tokio::test]
    async fn who_finds_nothing_waits_for_what_comes_free_or_for_the_deadline() {
        let memory = AnswerMemory::new(MIB);
        let mut all = memory.try_reserve(1).unwrap();
        all.settle(MIB);
        assert!(!memory.was_short(Duration::from_secs(1)));
        let soon = Instant::now() + Duration::from_millis(1);
        assert!(memory.reserve(1, soon).await.is_none());
        assert!(memory.was_short(Duration::from_secs(1)));
        let waiting = {
            let memory = memory.clone();
            let later = Instant::now() + Duration::from_secs(60);
            tokio::spawn(async move { memory.reserve(1, later).await.is_some() })
        };
        tokio::task::yield_now().await;
        drop(all);
        assert!(waiting.await.unwrap());
    }
}
