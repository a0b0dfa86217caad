//! What a leader keeps about its followers.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_record::Offset;

use crate::Event;

#[derive(Clone, Debug)]
pub(crate) struct Leading {
    me: i32,
    min_isr: usize,
    log_end: Offset,
    synced_end: Offset,
    /// The log's end at the election: who has not reached it may still hold records of an older
    /// leader that this one does not have.
    epoch_start: Offset,
    isr: BTreeSet<i32>,
    /// Proposed and not answered yet. Until then the metadata may hold either set, so both count.
    proposed: Option<BTreeSet<i32>>,
    /// All replicas but this one.
    followers: BTreeMap<i32, Follower>,
}

#[derive(Clone, Copy, Debug)]
struct Follower {
    /// Holds everything below; `None` until its first fetch in this epoch.
    end: Option<Offset>,
    /// When it last had all there was.
    caught_up_ms: i64,
    last_fetch_ms: i64,
    /// The leader's log end at its last fetch: reaching it means it was caught up at that time.
    end_at_last_fetch: Offset,
}

impl Leading {
    pub(crate) fn new(
        me: i32,
        replicas: Vec<i32>,
        isr: Vec<i32>,
        min_isr: usize,
        log_end: Offset,
        synced_end: Offset,
        now_ms: i64,
    ) -> Leading {
        let mut leading = Leading {
            me,
            min_isr,
            log_end,
            synced_end: synced_end.min(log_end),
            epoch_start: log_end,
            isr: isr.into_iter().chain([me]).collect(),
            proposed: None,
            followers: BTreeMap::new(),
        };
        leading.set_replicas(&replicas, now_ms);
        leading
    }

    /// Takes in what concerns a leader; the rest is the caller's.
    pub(crate) fn take(&mut self, event: Event, now_ms: i64) {
        match event {
            Event::Reconfigured { replicas, min_isr } => {
                self.min_isr = min_isr;
                self.set_replicas(&replicas, now_ms);
            }
            Event::Appended { end } => self.log_end = self.log_end.max(end),
            Event::Synced { end } => {
                self.synced_end = self.synced_end.max(end);
                self.log_end = self.log_end.max(end);
            }
            Event::Fetched {
                replica, offset, ..
            } => self.fetched(replica, offset, now_ms),
            Event::IsrCommitted { isr } => {
                self.isr = isr.into_iter().chain([self.me]).collect();
                self.proposed = None;
            }
            Event::IsrRefused => self.proposed = None,
            Event::Elected { .. } | Event::Resigned | Event::Tick => {}
        }
    }

    pub(crate) fn isr(&self) -> Vec<i32> {
        self.isr.iter().copied().collect()
    }

    pub(crate) fn synced_end(&self) -> Offset {
        self.synced_end
    }

    /// Whether the in-sync set is large enough. A topic cannot ask for more replicas than it has.
    pub(crate) fn enough(&self) -> bool {
        self.isr.len() >= self.min_isr.min(self.followers.len() + 1)
    }

    /// The offset up to which every member that counts holds the log; `None` while it is unknown or
    /// frozen under `min.insync.replicas`.
    pub(crate) fn committed(&self) -> Option<Offset> {
        if !self.enough() {
            return None;
        }
        let counted = self.isr.iter().chain(self.proposed.iter().flatten());
        counted
            .filter(|id| **id != self.me)
            .map(|id| self.followers.get(id).and_then(|follower| follower.end))
            .try_fold(self.synced_end, |least, end| end.map(|end| least.min(end)))
    }

    /// The in-sync set as it should be, if it is not so and nothing is being proposed yet.
    pub(crate) fn propose(
        &mut self,
        joining: Option<i32>,
        high_watermark: Offset,
        lag_ms: i64,
        now_ms: i64,
    ) -> Option<Vec<i32>> {
        if self.proposed.is_some() {
            return None;
        }
        let mut wanted = BTreeSet::from([self.me]);
        for (id, follower) in &self.followers {
            let belongs = if self.isr.contains(id) {
                !self.is_lagging(follower, lag_ms, now_ms)
            } else {
                joining == Some(*id)
                    && follower
                        .end
                        .is_some_and(|end| end >= high_watermark.max(self.epoch_start))
            };
            if belongs {
                wanted.insert(*id);
            }
        }
        if wanted == self.isr {
            return None;
        }
        let list = wanted.iter().copied().collect();
        self.proposed = Some(wanted);
        Some(list)
    }

    pub(crate) fn next_deadline(&self, lag_ms: i64) -> Option<i64> {
        if self.proposed.is_some() {
            return None;
        }
        self.isr
            .iter()
            .filter_map(|id| self.followers.get(id))
            .filter(|follower| follower.end != Some(self.log_end))
            .map(|follower| {
                follower
                    .caught_up_ms
                    .saturating_add(lag_ms)
                    .saturating_add(1)
            })
            .min()
    }

    fn is_lagging(&self, follower: &Follower, lag_ms: i64, now_ms: i64) -> bool {
        follower.end != Some(self.log_end) && now_ms.saturating_sub(follower.caught_up_ms) > lag_ms
    }

    fn fetched(&mut self, replica: i32, offset: Offset, now_ms: i64) {
        let log_end = self.log_end;
        // An offset beyond the log cannot be the same log's; the fetch itself is answered with
        // OFFSET_OUT_OF_RANGE elsewhere.
        let Some(follower) = self.followers.get_mut(&replica) else {
            return;
        };
        if offset < 0 || offset > log_end {
            return;
        }
        if offset == log_end {
            follower.caught_up_ms = now_ms;
        } else if offset >= follower.end_at_last_fetch {
            follower.caught_up_ms = follower.caught_up_ms.max(follower.last_fetch_ms);
        }
        follower.last_fetch_ms = now_ms;
        follower.end_at_last_fetch = log_end;
        follower.end = Some(offset);
    }

    fn set_replicas(&mut self, replicas: &[i32], now_ms: i64) {
        self.followers.retain(|id, _| replicas.contains(id));
        let new = Follower {
            end: None,
            // A new leader gives everybody the full time to show up.
            caught_up_ms: now_ms,
            last_fetch_ms: now_ms,
            end_at_last_fetch: self.log_end,
        };
        for id in replicas.iter().filter(|id| **id != self.me) {
            self.followers.entry(*id).or_insert(new);
        }
    }
}
