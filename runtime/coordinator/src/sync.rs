//! SyncGroup, Heartbeat and LeaveGroup.

use std::collections::BTreeMap;

use crate::error::GroupError;
use crate::group::{Group, Phase};
use crate::outbox::{Context, Pending};
use crate::request::{AppendId, LeavingMember, LeftMember, Reply, SyncRequest, Token};

impl Group {
    pub(crate) fn sync(&mut self, token: Token, request: SyncRequest, cx: &mut Context<'_>) {
        if self.consumer.is_some() && !self.deleting {
            return self.sync_consumer(token, request, cx);
        }
        let id = request.member_id.clone();
        if let Err(error) = self.check_sync(&request) {
            cx.out.reply(token, Reply::Sync(Err(error)));
            return;
        }
        self.unsynced.remove(&id);
        if self.unsynced.is_empty() {
            self.sync_deadline_ms = None;
        }
        match self.phase {
            Phase::Completing => {
                self.await_assignment(&id, token, cx);
                if self.is_leader(&id) && self.assigning.is_none() {
                    self.store_assignment(request, cx);
                }
            }
            _ => {
                self.seen(&id, cx.now_ms);
                let assignment = self
                    .members
                    .get(&id)
                    .map(|member| member.assignment.clone());
                let synced = self.synced(assignment.unwrap_or_default());
                cx.out.reply(token, Reply::Sync(Ok(synced)));
            }
        }
    }

    fn check_sync(&self, request: &SyncRequest) -> Result<(), GroupError> {
        let instance = request.group_instance_id.as_deref();
        self.check_current(&request.member_id, instance, request.generation)?;
        let differs = |asked: &Option<String>, actual: &Option<String>| {
            asked.is_some() && actual.is_some() && asked != actual
        };
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol)
        {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        match self.phase {
            Phase::Empty => Err(GroupError::UnknownMemberId),
            Phase::Preparing { .. } => Err(GroupError::RebalanceInProgress),
            Phase::Completing | Phase::Stable => Ok(()),
        }
    }

    fn await_assignment(&mut self, id: &str, token: Token, cx: &mut Context<'_>) {
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        if let Some(earlier) = member.sync.replace(token) {
            cx.out
                .reply(earlier, Reply::Sync(Err(GroupError::RebalanceInProgress)));
        }
    }

    /// The generation is stored before anybody learns its assignment: after a crash, the members go
    /// on with what they were told.
    fn store_assignment(&mut self, request: SyncRequest, cx: &mut Context<'_>) {
        let given: BTreeMap<_, _> = request
            .assignments
            .into_iter()
            .filter(|(member, _)| self.members.contains_key(member))
            .collect();
        let (record, generation) = (self.record(Some(&given)), self.generation);
        let id = self.append_classic(record, cx, |of| Pending::Assignment { of, generation });
        self.assigning = Some((id, given));
    }

    /// The assignment's record is stored, or is not.
    pub(crate) fn assignment_appended(
        &mut self,
        id: AppendId,
        generation: i32,
        stored: bool,
        cx: &mut Context<'_>,
    ) {
        let current = self
            .assigning
            .as_ref()
            .is_some_and(|(assigning, _)| *assigning == id);
        if self.phase != Phase::Completing || self.generation != generation || !current {
            return;
        }
        let Some((_, mut given)) = self.assigning.take() else {
            return;
        };
        if !stored {
            self.fail_syncs(GroupError::CoordinatorNotAvailable, cx);
            self.prepare_rebalance(cx);
            return;
        }
        self.phase = Phase::Stable;
        self.state_ms = cx.now_ms;
        let mut answers = Vec::new();
        for member in self.members.values_mut() {
            member.assignment = given.remove(&member.id).unwrap_or_default();
            if let Some(token) = member.sync.take() {
                member.seen(cx.now_ms);
                answers.push((token, member.assignment.clone()));
            }
        }
        for (token, assignment) in answers {
            cx.out
                .reply(token, Reply::Sync(Ok(self.synced(assignment))));
        }
    }

    pub(crate) fn heartbeat(
        &mut self,
        member: &str,
        instance: Option<&str>,
        generation: i32,
        now_ms: i64,
    ) -> Result<(), GroupError> {
        if let Some(consumer) = self.consumer.as_mut().filter(|_| !self.deleting) {
            return consumer.classic_heartbeat(member, instance, generation, now_ms);
        }
        self.check_current(member, instance, generation)?;
        self.seen(member, now_ms);
        match self.phase {
            Phase::Empty => Err(GroupError::UnknownMemberId),
            Phase::Preparing { .. } => Err(GroupError::RebalanceInProgress),
            Phase::Completing | Phase::Stable => Ok(()),
        }
    }

    pub(crate) fn leave(&mut self, leaving: LeavingMember, cx: &mut Context<'_>) -> LeftMember {
        let result = self.find_leaving(&leaving).map(|id| {
            if self.invited.remove(&id).is_some() {
                self.try_complete_join(cx);
            } else {
                self.remove_member(&id, cx);
            }
        });
        let LeavingMember {
            member_id,
            group_instance_id,
        } = leaving;
        LeftMember {
            member_id,
            group_instance_id,
            result,
        }
    }

    fn find_leaving(&self, leaving: &LeavingMember) -> Result<String, GroupError> {
        let id = &leaving.member_id;
        match &leaving.group_instance_id {
            // An administrator removes a static member by its instance alone.
            Some(instance) if id.is_empty() => self
                .statics
                .get(instance)
                .cloned()
                .ok_or(GroupError::UnknownMemberId),
            None if self.invited.contains_key(id) => Ok(id.clone()),
            instance => self
                .check_member(id, instance.as_deref())
                .map(|()| id.clone()),
        }
    }
}
