//! The pure in-sync-replica engine: (event, now) to effects.
//!
//! One [`Replica`] stands for one partition on the broker that may lead it. The host tells it what
//! happened ([`Event`]) and does what comes back ([`Effect`]). A partition with one replica runs the
//! same code as one with three: its high watermark is what the leader alone has synced.
//!
//! Safety, held by the property test below:
//! - the high watermark never moves back within a leader epoch;
//! - every member of the in-sync set, and of a set that is being proposed, holds everything below it;
//! - it stands still while the in-sync set is smaller than `min.insync.replicas`.
//!
//! Deliberately absent: clocks, I/O, and who becomes leader (the metadata decides).

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

mod leading;

use leading::Leading;
use tidegate_record::{LeaderEpoch, Offset};

/// How long a follower may be behind before it leaves the in-sync set (`replica.lag.time.max.ms`).
pub const DEFAULT_LAG_MS: i64 = 30_000;

/// The engine of one partition.
#[derive(Clone, Debug)]
pub struct Replica {
    me: i32,
    lag_ms: i64,
    /// The newest epoch seen, kept after resigning so that an old election cannot come back.
    epoch: LeaderEpoch,
    high_watermark: Offset,
    leading: Option<Leading>,
}

/// What happened, as the host saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// This broker leads from now on. An epoch that is not newer than the last is ignored.
    Elected {
        epoch: LeaderEpoch,
        replicas: Vec<i32>,
        isr: Vec<i32>,
        min_isr: usize,
        log_end: Offset,
        synced_end: Offset,
        /// The last high watermark this broker knew, which may be older than the true one.
        high_watermark: Offset,
    },
    /// `min.insync.replicas` or the replica set changed, without a new epoch.
    Reconfigured { replicas: Vec<i32>, min_isr: usize },
    /// The log's end is now `end`.
    Appended { end: Offset },
    /// Everything below `end` is on this broker's disk.
    Synced { end: Offset },
    /// A follower fetches from `offset`, so it holds everything below. Ignored unless `epoch` is the
    /// leader's: a follower of another epoch may hold other records at these offsets.
    Fetched {
        replica: i32,
        epoch: LeaderEpoch,
        offset: Offset,
    },
    /// The metadata now holds this in-sync set for the current epoch.
    IsrCommitted { isr: Vec<i32> },
    /// The metadata refused what was proposed, or the answer is lost.
    IsrRefused,
    /// Another broker leads, or nobody.
    Resigned,
    /// Time passed.
    Tick,
}

/// What the host should do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Records below are committed: wake the acks and the consumers waiting for them.
    AdvanceHighWatermark(Offset),
    /// Ask the metadata for this in-sync set; answer with `IsrCommitted` or `IsrRefused`.
    ProposeIsr(Vec<i32>),
}

impl Replica {
    /// `me` is this broker's id.
    pub fn new(me: i32) -> Replica {
        Replica::with_lag(me, DEFAULT_LAG_MS)
    }

    pub fn with_lag(me: i32, lag_ms: i64) -> Replica {
        Replica {
            me,
            lag_ms,
            epoch: LeaderEpoch(-1),
            high_watermark: 0,
            leading: None,
        }
    }

    /// Takes one event in. `now_ms` must not run backwards.
    pub fn step(&mut self, event: Event, now_ms: i64) -> Vec<Effect> {
        // Only who fetches just now may join: one that left because it stopped stays out, however
        // far it once came.
        let joining = match &event {
            Event::Fetched { replica, .. } => Some(*replica),
            _ => None,
        };
        match event {
            Event::Elected {
                epoch,
                replicas,
                isr,
                min_isr,
                log_end,
                synced_end,
                high_watermark,
            } => {
                if epoch <= self.epoch {
                    return Vec::new();
                }
                let leading =
                    Leading::new(self.me, replicas, isr, min_isr, log_end, synced_end, now_ms);
                self.epoch = epoch;
                self.high_watermark = high_watermark.clamp(0, leading.synced_end());
                self.leading = Some(leading);
            }
            Event::Resigned => self.leading = None,
            Event::Fetched { epoch, .. } if epoch != self.epoch => return Vec::new(),
            other => {
                if let Some(leading) = &mut self.leading {
                    leading.take(other, now_ms);
                }
            }
        }
        self.effects(joining, now_ms)
    }

    /// Records below are committed. While not leading: the last value known.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The newest epoch seen; -1 before the first election.
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    pub fn is_leader(&self) -> bool {
        self.leading.is_some()
    }

    /// The committed in-sync set, or nothing while not leading.
    pub fn isr(&self) -> Vec<i32> {
        self.leading.as_ref().map(Leading::isr).unwrap_or_default()
    }

    /// Whether a produce with acks=all may be taken now (else NOT_ENOUGH_REPLICAS).
    pub fn can_accept_all(&self) -> bool {
        self.leading.as_ref().is_some_and(Leading::enough)
    }

    /// When `Tick` may have an effect next.
    pub fn next_deadline(&self) -> Option<i64> {
        self.leading.as_ref()?.next_deadline(self.lag_ms)
    }

    fn effects(&mut self, joining: Option<i32>, now_ms: i64) -> Vec<Effect> {
        let Some(leading) = &mut self.leading else {
            return Vec::new();
        };
        let mut effects = Vec::new();
        // The proposal first: a follower about to join holds the watermark back from this moment.
        if let Some(isr) = leading.propose(joining, self.high_watermark, self.lag_ms, now_ms) {
            effects.push(Effect::ProposeIsr(isr));
        }
        if let Some(reached) = leading.committed().filter(|end| *end > self.high_watermark) {
            self.high_watermark = reached;
            effects.push(Effect::AdvanceHighWatermark(reached));
        }
        effects
    }
}
