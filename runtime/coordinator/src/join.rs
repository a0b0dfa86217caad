//! JoinGroup.

use crate::error::GroupError;
use crate::group::{Group, Phase};
use crate::members::{Member, make_member_id};
use crate::outbox::{Context, Pending};
use crate::request::{JoinRefusal, JoinRequest, Reply, Token};

impl Group {
    /// Takes a member in, back in, or tells it why not. `unique` is fresh for this request.
    pub(crate) fn join(
        &mut self,
        token: Token,
        request: JoinRequest,
        unique: &str,
        cx: &mut Context<'_>,
    ) {
        if self.consumer.is_some() && !self.deleting {
            if !self.is_empty() {
                return self.join_consumer(token, request, unique, cx);
            }
            self.end_empty_consumer(cx);
        }
        let member_id = request.member_id.clone();
        if let Err(error) = self.check_join(&request, cx) {
            return refuse_join(token, error, member_id, cx);
        }
        if member_id.is_empty() {
            self.join_new(token, request, unique, cx);
        } else if self.invited.remove(&member_id).is_some() {
            self.add_member(member_id, token, request, cx);
        } else {
            match self.check_member(&member_id, request.group_instance_id.as_deref()) {
                Ok(()) => self.rejoin(token, request, cx),
                Err(error) => refuse_join(token, error, member_id, cx),
            }
        }
        self.try_complete_join(cx);
    }

    fn check_join(&self, request: &JoinRequest, cx: &Context<'_>) -> Result<(), GroupError> {
        let id = &request.member_id;
        if self.deleting {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        let has_place = self.members.contains_key(id)
            || self.invited.contains_key(id)
            || request
                .group_instance_id
                .as_ref()
                .is_some_and(|i| self.statics.contains_key(i));
        let taken = self.members.len() + self.invited.len();
        if !has_place && taken >= cx.options.max_group_size {
            return Err(GroupError::GroupMaxSizeReached);
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn join_new(&mut self, token: Token, request: JoinRequest, unique: &str, cx: &mut Context<'_>) {
        let instance = request.group_instance_id.as_deref();
        let id = make_member_id(instance, &request.client_id, unique);
        if self.members.contains_key(&id) || self.invited.contains_key(&id) {
            // The host repeated a unique part; two members with one id would be worse.
            return refuse_join(token, GroupError::InvalidRequest, String::new(), cx);
        }
        match instance.and_then(|instance| self.statics.get(instance).cloned()) {
            Some(old) => self.replace_static(&old, id, token, request, cx),
            None if instance.is_none() && request.require_known_member => {
                let session_ms = i64::from(request.session_timeout_ms);
                self.invited
                    .insert(id.clone(), cx.now_ms.saturating_add(session_ms));
                refuse_join(token, GroupError::MemberIdRequired, id, cx);
            }
            None => self.add_member(id, token, request, cx),
        }
    }

    fn add_member(&mut self, id: String, token: Token, request: JoinRequest, cx: &mut Context<'_>) {
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        if let Phase::Preparing {
            initial: Some(initial),
            ..
        } = &mut self.phase
        {
            initial.grew = true;
        }
        let member = Member::new(id.clone(), request, token, cx.now_ms);
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), id.clone());
        }
        self.leader.get_or_insert_with(|| id.clone());
        self.members.insert(id, member);
        self.prepare_rebalance(cx);
    }

    /// A member that is known sends JoinGroup again.
    fn rejoin(&mut self, token: Token, request: JoinRequest, cx: &mut Context<'_>) {
        let id = request.member_id.clone();
        let unchanged = self
            .members
            .get(&id)
            .is_some_and(|m| m.protocols == request.protocols);
        let answer_now = match self.phase {
            // It lost the answer to its last JoinGroup.
            Phase::Completing => unchanged,
            // A leader rejoins to make the group reassign, whatever it says.
            Phase::Stable => unchanged && !self.is_leader(&id),
            Phase::Preparing { .. } => false,
            Phase::Empty => {
                return refuse_join(token, GroupError::UnknownMemberId, id, cx);
            }
        };
        if answer_now {
            self.seen(&id, cx.now_ms);
            cx.out.reply(token, Reply::Join(Ok(self.joined(&id))));
            return;
        }
        self.update_member(&id, token, request, cx);
        self.prepare_rebalance(cx);
    }

    fn update_member(
        &mut self,
        id: &str,
        token: Token,
        request: JoinRequest,
        cx: &mut Context<'_>,
    ) {
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        member.update(request);
        // A second JoinGroup means that the client gave up on the first.
        if let Some(earlier) = member.join.replace(token) {
            refuse_join(earlier, GroupError::RebalanceInProgress, id.to_owned(), cx);
        }
    }

    /// A static member is back under a new id and takes its old one's place (KIP-345).
    fn replace_static(
        &mut self,
        old: &str,
        id: String,
        token: Token,
        request: JoinRequest,
        cx: &mut Context<'_>,
    ) {
        let Some(mut member) = self.members.remove(old) else {
            return;
        };
        if let Some(waiting) = member.join.take() {
            refuse_join(waiting, GroupError::FencedInstanceId, old.to_owned(), cx);
        }
        if let Some(waiting) = member.sync.take() {
            cx.out
                .reply(waiting, Reply::Sync(Err(GroupError::FencedInstanceId)));
        }
        let led = self.is_leader(old);
        let can_skip = request.supports_skip_assignment;
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), id.clone());
        }
        if led {
            self.leader = Some(id.clone());
        }
        if self.unsynced.remove(old) {
            self.unsynced.insert(id.clone());
        }
        member.id = id.clone();
        member.update(request);
        member.seen(cx.now_ms);
        self.members.insert(id.clone(), member);
        if self.phase == Phase::Stable && self.select_protocol() == self.protocol {
            let leader = if led { Some((old, can_skip)) } else { None };
            return self.keep_generation(&id, token, leader, cx);
        }
        if let Some(member) = self.members.get_mut(&id) {
            member.join = Some(token);
        }
        self.prepare_rebalance(cx);
    }

    /// The generation goes on with the member's new id; it is answered once that is stored.
    /// `leader` holds the old id of a member that led, and whether it knows `skip_assignment`.
    fn keep_generation(
        &mut self,
        id: &str,
        token: Token,
        leader: Option<(&str, bool)>,
        cx: &mut Context<'_>,
    ) {
        let mut joined = self.joined(id);
        match leader {
            Some((_, true)) => joined.skip_assignment = true,
            // An older client that is told it leads would assign again and change nothing but its
            // own view; told that its former self leads, it just asks for its assignment.
            Some((old, false)) => {
                joined.leader = old.to_owned();
                joined.members.clear();
            }
            None => {}
        }
        self.append_classic(self.record(None), cx, |of| Pending::Replacement {
            of,
            token,
            joined,
        });
    }
}

pub(crate) fn refuse_join(
    token: Token,
    error: GroupError,
    member_id: String,
    cx: &mut Context<'_>,
) {
    cx.out
        .reply(token, Reply::Join(Err(JoinRefusal { error, member_id })));
}
