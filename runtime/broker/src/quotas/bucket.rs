//! How much of what is allowed has been used, by whom. Reads no clock: the time comes with each call.
//!
//! A bucket fills at its rate up to its burst, and use takes from it. Use is known only when it has happened, so a level may
//! go below zero: what is owed is the time until it is back at zero, and that time is the throttle time. A full bucket is
//! as good as none, which is why idle ones may be forgotten.

use std::collections::HashMap;

/// What somebody may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Allowance {
    /// Units per second; more than 0.
    pub(super) per_second: f64,
    /// Units that can be saved up.
    pub(super) burst: f64,
}

/// What one client owes is bounded, so that a limit that was far too low for a moment is not felt for days.
const MOST_OWED_SECONDS: f64 = 3_600.0;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    level: f64,
    at_us: u64,
    allowance: Allowance,
}

/// The buckets of one kind of quota, by whoever is counted together.
pub(super) struct Buckets {
    most: usize,
    buckets: HashMap<String, Bucket>,
}

impl Bucket {
    fn full(allowance: Allowance, now_us: u64) -> Bucket {
        Bucket {
            level: allowance.burst,
            at_us: now_us,
            allowance,
        }
    }

    fn refill(&mut self, now_us: u64) {
        let seconds = now_us.saturating_sub(self.at_us) as f64 / 1e6;
        let Allowance { per_second, burst } = self.allowance;
        self.level = (self.level + seconds * per_second).min(burst);
        self.at_us = self.at_us.max(now_us);
    }

    fn take(&mut self, units: f64) {
        let owed = MOST_OWED_SECONDS * self.allowance.per_second;
        self.level = (self.level - units).max(-owed);
    }

    /// Microseconds until nothing is owed.
    fn wait_us(&self) -> u64 {
        let seconds = -self.level / self.allowance.per_second;
        // Rounded up: who comes back after that time owes nothing.
        (seconds * 1e6).ceil().max(0.0) as u64
    }

    fn is_full(&self) -> bool {
        self.level >= self.allowance.burst
    }
}

impl Buckets {
    pub(super) fn new(most: usize) -> Buckets {
        Buckets {
            most,
            buckets: HashMap::new(),
        }
    }

    /// Takes `units` and gives the microseconds until nothing is owed.
    pub(super) fn take(&mut self, who: &str, allowance: Allowance, units: f64, now_us: u64) -> u64 {
        let bucket = self.bucket(who, allowance, now_us);
        bucket.take(units);
        bucket.wait_us()
    }

    /// The microseconds until nothing is owed, without taking anything.
    pub(super) fn owed(&mut self, who: &str, allowance: Allowance, now_us: u64) -> u64 {
        match self.buckets.contains_key(who) {
            true => self.bucket(who, allowance, now_us).wait_us(),
            false => 0,
        }
    }

    /// Forgets whoever has saved up all there is: it makes no difference to them.
    pub(super) fn forget_idle(&mut self, now_us: u64) {
        self.buckets.retain(|_, bucket| {
            bucket.refill(now_us);
            !bucket.is_full()
        });
    }

    pub(super) fn len(&self) -> usize {
        self.buckets.len()
    }

    fn bucket(&mut self, who: &str, allowance: Allowance, now_us: u64) -> &mut Bucket {
        if !self.buckets.contains_key(who) {
            self.make_room(now_us);
        }
        let bucket = self
            .buckets
            .entry(who.to_owned())
            .or_insert_with(|| Bucket::full(allowance, now_us));
        bucket.refill(now_us);
        if bucket.allowance != allowance {
            // What is owed in units under the old limit is owed under the new one.
            bucket.allowance = allowance;
            bucket.level = bucket.level.min(allowance.burst);
        }
        bucket
    }

    /// Client ids are whatever clients say, so their number is bounded: beyond it, who owes least is forgiven.
    fn make_room(&mut self, now_us: u64) {
        if self.buckets.len() < self.most {
            return;
        }
        self.forget_idle(now_us);
        if self.buckets.len() < self.most {
            return;
        }
        let mut waits: Vec<u64> = self.buckets.values().map(Bucket::wait_us).collect();
        let middle = waits.len() / 2;
        let (_, median, _) = waits.select_nth_unstable(middle);
        let (median, mut spare) = (*median, self.most / 2);
        self.buckets.retain(|_, bucket| {
            // Half of them go at once, so that the next ones do not each walk over all.
            let goes = bucket.wait_us() <= median && spare > 0;
            spare -= usize::from(goes);
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000;
    const TEN: Allowance = Allowance {
        per_second: 10.0,
        burst: 100.0,
    };

    #[test]
    fn what_is_saved_up_is_free_and_the_rest_is_owed() {
        let mut buckets = Buckets::new(10);
        assert_eq!(buckets.owed("a", TEN, 0), 0);
        assert_eq!(buckets.take("a", TEN, 100.0, 0), 0);
        assert_eq!(buckets.take("a", TEN, 25.0, 0), 2_500_000);
        assert_eq!(buckets.owed("a", TEN, SECOND), 1_500_000);
        assert_eq!(buckets.owed("a", TEN, 3 * SECOND), 0);
        // Others are not touched, and nobody saves up more than the burst.
        assert_eq!(buckets.owed("b", TEN, SECOND), 0);
        assert_eq!(buckets.take("a", TEN, 101.0, 1_000 * SECOND), 100_000);
    }

    #[test]
    fn another_limit_holds_from_now_on() {
        let mut buckets = Buckets::new(10);
        buckets.take("a", TEN, 200.0, 0);
        let fast = Allowance {
            per_second: 1_000.0,
            burst: 50.0,
        };
        assert_eq!(buckets.owed("a", fast, 0), 100_000);
        assert_eq!(buckets.take("a", fast, 50.0, 10 * SECOND), 0);
        assert_eq!(buckets.take("a", fast, 1.0, 10 * SECOND), 1_000);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let mut buckets = Buckets::new(10);
        assert_eq!(buckets.take("a", TEN, 110.0, 5 * SECOND), SECOND);
        assert_eq!(buckets.owed("a", TEN, 0), SECOND);
        assert_eq!(buckets.owed("a", TEN, 6 * SECOND), 0);
    }

    #[test]
    fn what_is_owed_has_an_end() {
        let mut buckets = Buckets::new(10);
        let wait = buckets.take("a", TEN, 1e30, 0);
        assert_eq!(wait, 3_600 * SECOND);
    }

    #[test]
    fn the_idle_are_forgotten_and_debtors_outlive_a_crowd() {
        let mut buckets = Buckets::new(100);
        buckets.take("debtor", TEN, 1_000.0, 0);
        for n in 0..10_000 {
            buckets.take(&n.to_string(), TEN, 101.0, 0);
            assert!(buckets.len() <= 100);
        }
        assert!(buckets.owed("debtor", TEN, 0) > 80 * SECOND);
        buckets.forget_idle(10 * SECOND);
        assert!(buckets.len() > 1);
        buckets.forget_idle(20 * SECOND);
        assert_eq!(buckets.len(), 1);
        buckets.forget_idle(200 * SECOND);
        assert_eq!(buckets.len(), 0);
    }

    proptest! {
        /// Who waits as told never gets more than burst and rate allow, whatever is used at once.
        #[test]
        fn who_waits_is_held_to_the_rate(
            uses in proptest::collection::vec((0.0..500.0_f64, 0..3 * SECOND), 1..100)
        ) {
            let mut buckets = Buckets::new(1);
            let (mut now, mut used, mut last) = (0, 0.0, 0.0);
            for (units, pause) in uses {
                prop_assert_eq!(buckets.owed("a", TEN, now), 0);
                let wait = buckets.take("a", TEN, units, now);
                used += units;
                last = units;
                now += wait + pause;
            }
            let allowed = TEN.burst + TEN.per_second * now as f64 / 1e6;
            prop_assert!(used - last <= allowed + 1e-3, "{used} in {now} us");
        }
    }
}
