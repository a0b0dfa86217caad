//! One step of a member towards its target (KIP-848, "Reconciliation").
//!
//! A member in `Stable` that is behind loses what is not its target's any more, and stays in its epoch until it says that
//! it let go. Only then does it reach the target's epoch, and gets what nobody else holds; for the rest it waits.

use std::collections::BTreeSet;

use crate::consumer::group::ConsumerGroup;
use crate::consumer::member::{Member, MemberState};
use crate::consumer::{LogRecord, Partitions, TopicId};
use crate::error::GroupError;

impl ConsumerGroup {
    /// Takes the member as far as it can go now, and writes that down if it moved. `owned`: what the member says it
    /// holds, if it does.
    pub(crate) fn reconcile(
        &mut self,
        name: &str,
        id: &str,
        owned: Option<&Partitions>,
        now_ms: i64,
        records: &mut Vec<LogRecord>,
    ) {
        let Some(member) = self.members.get(id) else {
            return;
        };
        if member.is_reconciled_to(self.assignment_epoch) {
            return;
        }
        let mut next = self.step(member, owned);
        if next.current() == member.current() {
            return;
        }
        next.timers.rebalance_ms = match next.state {
            // Members of the classic protocol have timers for joining and syncing instead.
            MemberState::Unrevoked if !next.is_classic() => {
                let timeout_ms = i64::from(next.about.rebalance_timeout_ms.max(0));
                Some(now_ms.saturating_add(timeout_ms))
            }
            _ => None,
        };
        records.push(next.current_record(name));
        self.put(next);
    }

    fn step(&self, member: &Member, owned: Option<&Partitions>) -> Member {
        match member.state {
            MemberState::Stable | MemberState::Unreleased => {
                self.towards_target(member, member.epoch, owned)
            }
            MemberState::Unrevoked if still_owns(owned, &member.revoking) => member.clone(),
            // It gave everything up that it had to in its epoch.
            MemberState::Unrevoked => {
                self.towards_target(member, member.epoch.saturating_add(1), owned)
            }
            MemberState::Unknown => self.towards_target(member, self.assignment_epoch, owned),
        }
    }

    fn towards_target(&self, member: &Member, epoch: i32, owned: Option<&Partitions>) -> Member {
        let target = self.target(&member.id);
        let mut next = member.clone();
        next.assigned = Partitions::new();
        next.revoking = Partitions::new();
        let mut waits = false;
        let mut gained = Partitions::new();
        let topics: BTreeSet<&TopicId> = target.keys().chain(member.assigned.keys()).collect();
        for topic in topics {
            let none = BTreeSet::new();
            let wanted = target.get(topic).unwrap_or(&none);
            let had = member.assigned.get(topic).unwrap_or(&none);
            add(&mut next.assigned, topic, had.intersection(wanted));
            add(&mut next.revoking, topic, had.difference(wanted));
            let (free, taken): (Vec<_>, Vec<_>) = wanted
                .difference(had)
                .partition(|index| self.is_free(topic, **index));
            waits |= !taken.is_empty();
            add(&mut gained, topic, free);
        }
        if !next.revoking.is_empty() && still_owns(owned, &next.revoking) {
            next.state = MemberState::Unrevoked;
            next.set_epoch(epoch);
            return next;
        }
        next.revoking = Partitions::new();
        for (topic, indexes) in &gained {
            add(&mut next.assigned, topic, indexes);
        }
        next.state = match waits {
            true => MemberState::Unreleased,
            false => MemberState::Stable,
        };
        next.set_epoch(self.assignment_epoch);
        next
    }
}

/// A state of a newer broker is left by giving everything up.
pub(crate) fn check_known_state(
    member: &Member,
    owned: Option<&Partitions>,
) -> Result<(), GroupError> {
    let must_start_over = member.state == MemberState::Unknown
        && owned.is_none_or(|owned| owned.values().any(|indexes| !indexes.is_empty()));
    match must_start_over {
        true => Err(GroupError::FencedMemberEpoch),
        false => Ok(()),
    }
}

/// Whether the member may still use any of these; it may unless it says what it holds.
fn still_owns(owned: Option<&Partitions>, revoking: &Partitions) -> bool {
    let Some(owned) = owned else { return true };
    revoking.iter().any(|(topic, indexes)| {
        let held = owned.get(topic);
        held.is_some_and(|held| indexes.iter().any(|index| held.contains(index)))
    })
}

fn add<'a>(to: &mut Partitions, topic: &TopicId, indexes: impl IntoIterator<Item = &'a i32>) {
    let mut indexes = indexes.into_iter().copied().peekable();
    if indexes.peek().is_some() {
        to.entry(*topic).or_default().extend(indexes);
    }
}
