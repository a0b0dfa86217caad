//! One member of a consumer group.

use crate::consumer::{LogRecord, Partitions};
use crate::records::{self, ConsumerCurrent, ConsumerMemberMetadata};

/// The epoch of a static member that left and may come back (KIP-848).
pub(crate) const LEFT_FOR_NOW: i32 = -2;

#[derive(Clone, Debug, Default)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) about: ConsumerMemberMetadata,
    pub(crate) epoch: i32,
    /// A member whose last answer was lost comes back with this one.
    pub(crate) previous_epoch: i32,
    pub(crate) state: MemberState,
    pub(crate) assigned: Partitions,
    /// Taken away; still the member's until it has confirmed that it let go.
    pub(crate) revoking: Partitions,
    pub(crate) timers: Timers,
}

/// The numbers are those of the stored record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum MemberState {
    #[default]
    Stable,
    /// Has partitions to give up.
    Unrevoked,
    /// Waits for partitions that others still hold.
    Unreleased,
    /// Of a newer broker: the member must start over.
    Unknown,
}

/// When a member has kept the others waiting for too long. Not stored: a load starts them anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timers {
    pub(crate) session_ms: Option<i64>,
    /// For giving up partitions.
    pub(crate) rebalance_ms: Option<i64>,
    /// For a classic member to rejoin, and to ask for its assignment.
    pub(crate) join_ms: Option<i64>,
    pub(crate) sync_ms: Option<i64>,
}

impl Timers {
    pub(crate) fn next_ms(&self) -> Option<i64> {
        let all = [
            self.session_ms,
            self.rebalance_ms,
            self.join_ms,
            self.sync_ms,
        ];
        all.into_iter().flatten().min()
    }
}

impl Member {
    pub(crate) fn new(id: String) -> Member {
        Member {
            id,
            previous_epoch: -1,
            ..Member::default()
        }
    }

    pub(crate) fn is_classic(&self) -> bool {
        self.about.classic.is_some()
    }

    pub(crate) fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == epoch
    }

    /// Everything that it may be using.
    pub(crate) fn held(&self) -> Partitions {
        let mut held = self.assigned.clone();
        for (topic, indexes) in &self.revoking {
            held.entry(*topic).or_default().extend(indexes);
        }
        held
    }

    /// The regex it subscribes to, if that is one.
    pub(crate) fn regex(&self) -> Option<&str> {
        let regex = self.about.subscribed_regex.as_deref();
        regex.filter(|regex| !regex.is_empty())
    }

    /// The epoch that a lost answer carried is the previous one only where it changed: repeating an answer must not forget
    /// what the member may still come back with.
    pub(crate) fn set_epoch(&mut self, epoch: i32) {
        if epoch != self.epoch {
            self.previous_epoch = self.epoch;
            self.epoch = epoch;
        }
    }

    pub(crate) fn current(&self) -> ConsumerCurrent {
        ConsumerCurrent {
            epoch: self.epoch,
            previous_epoch: self.previous_epoch,
            state: self.state.code(),
            assigned: self.assigned.clone(),
            revoking: self.revoking.clone(),
        }
    }

    pub(crate) fn about_record(&self, group: &str) -> LogRecord {
        let key = records::consumer_member_key(group, &self.id);
        (key, Some(self.about.encode()))
    }

    pub(crate) fn current_record(&self, group: &str) -> LogRecord {
        let key = records::consumer_current_key(group, &self.id);
        (key, Some(self.current().encode()))
    }

    /// Takes over what a record says.
    pub(crate) fn restore(&mut self, current: ConsumerCurrent) {
        self.epoch = current.epoch;
        self.previous_epoch = current.previous_epoch;
        self.state = MemberState::from_code(current.state);
        self.assigned = current.assigned;
        self.revoking = current.revoking;
    }
}

impl MemberState {
    fn code(self) -> i8 {
        match self {
            MemberState::Stable => 0,
            MemberState::Unrevoked => 1,
            MemberState::Unreleased => 2,
            MemberState::Unknown => 127,
        }
    }

    fn from_code(code: i8) -> MemberState {
        match code {
            0 => MemberState::Stable,
            1 => MemberState::Unrevoked,
            2 => MemberState::Unreleased,
            _ => MemberState::Unknown,
        }
    }
}
