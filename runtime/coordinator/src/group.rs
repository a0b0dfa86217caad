//! One group: its members, generation, offsets, and what they allow.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::consumer::ConsumerGroup;
use crate::error::GroupError;
use crate::members::Member;
use crate::records::{self, MemberRecord};
use crate::request::{AppendId, GroupState, Joined, JoinedMember, OffsetAndMetadata, Synced};
use crate::settle::LogState;
use crate::transactional::TransactionalOffsets;

#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) phase: Phase,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: Option<String>,
    pub(crate) members: BTreeMap<String, Member>,
    /// Member ids by instance id.
    pub(crate) statics: BTreeMap<String, String>,
    /// Ids given out with MEMBER_ID_REQUIRED, and when they lapse.
    pub(crate) invited: BTreeMap<String, i64>,
    /// Members that have not sent SyncGroup in this generation, and when they must have.
    pub(crate) unsynced: BTreeSet<String>,
    pub(crate) sync_deadline_ms: Option<i64>,
    /// The leader's assignment while its record is being appended.
    pub(crate) assigning: Option<(AppendId, BTreeMap<String, Bytes>)>,
    pub(crate) offsets: BTreeMap<(String, i32), OffsetAndMetadata>,
    /// Offsets of open transactions.
    pub(crate) transactional: TransactionalOffsets,
    /// Commits being appended, with how many per partition, so that a deletion covers them too.
    pub(crate) committing: BTreeMap<(String, i32), u32>,
    /// A deletion is being appended.
    pub(crate) deleting: bool,
    /// When the state last changed.
    pub(crate) state_ms: i64,
    /// Set: the coordinator assigns (KIP-848), and of the fields above only name and offsets mean something.
    pub(crate) consumer: Option<Box<ConsumerGroup>>,
    pub(crate) log: LogState,
}

/// The states of a group; `Dead` is not one of them, since a dead group is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Empty,
    Preparing {
        deadline_ms: i64,
        /// Set in an empty group's first rebalance, which always waits its full delay.
        initial: Option<InitialDelay>,
    },
    Completing,
    Stable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InitialDelay {
    /// By how much the delay may still grow.
    pub(crate) remaining_ms: i64,
    /// Somebody joined since the delay began, so it is worth another one.
    pub(crate) grew: bool,
}

impl Group {
    pub(crate) fn new(name: String, now_ms: i64) -> Group {
        Group {
            name,
            phase: Phase::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            invited: BTreeMap::new(),
            unsynced: BTreeSet::new(),
            sync_deadline_ms: None,
            assigning: None,
            offsets: BTreeMap::new(),
            transactional: TransactionalOffsets::default(),
            committing: BTreeMap::new(),
            deleting: false,
            state_ms: now_ms,
            consumer: None,
            log: LogState::default(),
        }
    }

    pub(crate) fn state(&self) -> GroupState {
        if let Some(consumer) = self.consumer.as_ref().filter(|_| !self.deleting) {
            return consumer.state();
        }
        match self.phase {
            _ if self.deleting => GroupState::Dead,
            Phase::Empty => GroupState::Empty,
            Phase::Preparing { .. } => GroupState::PreparingRebalance,
            Phase::Completing => GroupState::CompletingRebalance,
            Phase::Stable => GroupState::Stable,
        }
    }

    /// Whether it has no members.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.consumer {
            Some(consumer) => consumer.members.is_empty(),
            None => self.phase == Phase::Empty,
        }
    }

    /// Nothing would be lost if the group were forgotten.
    pub(crate) fn is_vacant(&self) -> bool {
        self.phase == Phase::Empty
            && self.consumer.is_none()
            && self.generation == 0
            && self.members.is_empty()
            && self.invited.is_empty()
            && self.offsets.is_empty()
            && self.transactional.is_empty()
            && self.committing.is_empty()
            && !self.deleting
    }

    pub(crate) fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    /// Whether a member with these protocols could be assigned together with all present ones.
    pub(crate) fn supports(&self, protocol_type: &str, protocols: &[(String, Bytes)]) -> bool {
        if protocol_type.is_empty() || protocols.is_empty() {
            return false;
        }
        if self.members.is_empty() {
            return true;
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols
                .iter()
                .any(|(name, _)| self.members.values().all(|m| m.supports(name)))
    }

    /// Each member votes for the first of its protocols that all have; most votes win, and among
    /// equals the one the leader likes best.
    pub(crate) fn select_protocol(&self) -> Option<String> {
        let common = |name: &&String| self.members.values().all(|member| member.supports(name));
        let mut votes: BTreeMap<&String, usize> = BTreeMap::new();
        for member in self.members.values() {
            let vote = member.protocols.iter().map(|(name, _)| name).find(common)?;
            *votes.entry(vote).or_default() += 1;
        }
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        let dislike = |name: &String| {
            let rank = leader.and_then(|m| m.protocols.iter().position(|(known, _)| known == name));
            rank.unwrap_or(usize::MAX)
        };
        let best = votes
            .into_iter()
            .max_by_key(|(name, count)| (*count, std::cmp::Reverse(dislike(name))));
        best.map(|(name, _)| name.clone())
    }

    pub(crate) fn rebalance_timeout_ms(&self) -> i64 {
        let longest = self
            .members
            .values()
            .map(|member| member.rebalance_timeout_ms)
            .max();
        // Never 0, so that a timer always lies ahead.
        i64::from(longest.unwrap_or(0)).max(1)
    }

    /// Checks that the member is one, and is not replaced under its instance id.
    pub(crate) fn check_member(
        &self,
        member: &str,
        instance: Option<&str>,
    ) -> Result<(), GroupError> {
        if let Some(instance) = instance {
            match self.statics.get(instance) {
                None => return Err(GroupError::UnknownMemberId),
                Some(id) if id != member => return Err(GroupError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member) {
            Ok(())
        } else {
            Err(GroupError::UnknownMemberId)
        }
    }

    /// As `check_member`, and of this generation.
    pub(crate) fn check_current(
        &self,
        member: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), GroupError> {
        if self.deleting {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        self.check_member(member, instance)?;
        if generation == self.generation {
            Ok(())
        } else {
            Err(GroupError::IllegalGeneration)
        }
    }

    pub(crate) fn seen(&mut self, member: &str, now_ms: i64) {
        if let Some(member) = self.members.get_mut(member) {
            member.seen(now_ms);
        }
    }

    /// What a member is told when the current generation's join is over.
    pub(crate) fn joined(&self, member: &str) -> Joined {
        let protocol = self.protocol.clone().unwrap_or_default();
        let leads = self.is_leader(member);
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            members: if leads {
                self.roster(&protocol)
            } else {
                Vec::new()
            },
            protocol_name: protocol,
            leader: self.leader.clone().unwrap_or_default(),
            member_id: member.to_owned(),
            skip_assignment: false,
        }
    }

    pub(crate) fn synced(&self, assignment: Bytes) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol_name: self.protocol.clone().unwrap_or_default(),
            assignment,
        }
    }

    pub(crate) fn roster(&self, protocol: &str) -> Vec<JoinedMember> {
        let entry = |member: &Member| JoinedMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance.clone(),
            metadata: member.metadata(protocol),
        };
        self.members.values().map(entry).collect()
    }

    /// The group's record, with assignments from `assignment` or as they are.
    pub(crate) fn record(&self, assignments: Option<&BTreeMap<String, Bytes>>) -> (Bytes, Bytes) {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let member = |member: &Member| MemberRecord {
            member_id: member.id.clone(),
            group_instance_id: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: member.metadata(protocol),
            assignment: match assignments {
                Some(given) => given.get(&member.id).cloned().unwrap_or_default(),
                None => member.assignment.clone(),
            },
        };
        let value = records::GroupMetadata {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_timestamp: self.state_ms,
            members: self.members.values().map(member).collect(),
        };
        (records::group_key(&self.name), value.encode())
    }

    /// When the group next needs a tick.
    pub(crate) fn deadline_ms(&self) -> Option<i64> {
        let retry = self.log.retry_ms;
        if let Some(consumer) = &self.consumer {
            return consumer.deadline_ms().into_iter().chain(retry).min();
        }
        let members = self.members.values().filter_map(Member::expires_ms);
        let preparing = match self.phase {
            Phase::Preparing { deadline_ms, .. } => Some(deadline_ms),
            _ => None,
        };
        members
            .chain(self.invited.values().copied())
            .chain(self.sync_deadline_ms)
            .chain(preparing)
            .chain(retry)
            .min()
    }
}
