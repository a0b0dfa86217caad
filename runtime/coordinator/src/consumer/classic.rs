//! Members of a consumer group that speak the classic protocol: JoinGroup, SyncGroup, Heartbeat and LeaveGroup answered
//! out of the same state as everybody else's heartbeats. A generation is the member's epoch, nobody leads, and "rebalance
//! in progress" is how such a member learns that it has something to give up or to get.

use std::collections::BTreeSet;

use bytes::{BufMut, Bytes, BytesMut};

use crate::consumer::group::ConsumerGroup;
use crate::consumer::heartbeat::Place;
use crate::consumer::member::{Member, MemberState};
use crate::consumer::{LONGEST_TEXT, Partitions, Topics};
use crate::error::GroupError;
use crate::group::Group;
use crate::join::refuse_join;
use crate::members::clip;
use crate::outbox::Context;
use crate::records::ClassicMetadata;
use crate::request::{
    JoinRequest, Joined, LeavingMember, LeftMember, Reply, SyncRequest, Synced, Token,
};
use crate::subscription::{self, CONSUMER, Subscription};

impl Group {
    /// JoinGroup of a consumer group that has members.
    pub(crate) fn join_consumer(
        &mut self,
        token: Token,
        request: JoinRequest,
        unique: &str,
        cx: &mut Context<'_>,
    ) {
        let is_new = request.member_id.is_empty();
        let id = match is_new {
            true => crate::members::make_member_id(
                request.group_instance_id.as_deref(),
                &request.client_id,
                unique,
            ),
            false => request.member_id.clone(),
        };
        let joinable = match &self.consumer {
            Some(group) => group.check_join(&id, &request, cx),
            None => Err(GroupError::UnknownMemberId),
        };
        let (place, subscription) = match joinable {
            Ok(joinable) => joinable,
            Err(error) => return refuse_join(token, error, request.member_id, cx),
        };
        if is_new && request.require_known_member && request.group_instance_id.is_none() {
            return refuse_join(token, GroupError::MemberIdRequired, id, cx);
        }
        let name = self.name.clone();
        let Some(group) = &mut self.consumer else {
            return;
        };
        let mut records = Vec::new();
        let replaced = match &place {
            Place::Of(old) => {
                let old_is_last = group.is_last_modern(old);
                group.replace(&name, old, &id, &mut records);
                old_is_last
            }
            _ => false,
        };
        let before = group.members.get(&id).cloned();
        let before = before.unwrap_or_else(|| Member::new(id.clone()));
        let owned = owned_partitions(&subscription, cx.topics);
        let sync_ms = i64::from(request.rebalance_timeout_ms.max(0));
        let protocol_name = first_protocol(&request.protocols);
        let mut member = before.clone();
        update(&mut member, request, subscription, cx.now_ms);
        member.timers.join_ms = None;
        member.timers.sync_ms = Some(cx.now_ms.saturating_add(sync_ms));
        group.advance(&name, &before, member, Some(&owned), &mut records, cx);
        let generation = group.members.get(&id).map_or(0, |member| member.epoch);
        let nobody = BTreeSet::new();
        let downgrades = replaced && self.may_downgrade(&nobody, cx);
        if downgrades && !self.become_classic(&nobody, &mut records, cx) {
            self.prepare_rebalance(cx);
        }
        let joined = Joined {
            generation,
            protocol_type: CONSUMER.to_owned(),
            protocol_name,
            leader: String::new(),
            member_id: id,
            members: Vec::new(),
            skip_assignment: false,
        };
        self.settle(Some((token, Reply::Join(Ok(joined)))), records, cx);
    }

    pub(crate) fn sync_consumer(
        &mut self,
        token: Token,
        request: SyncRequest,
        cx: &mut Context<'_>,
    ) {
        let outcome = match &mut self.consumer {
            Some(group) => group.sync(&request, cx),
            None => Err(GroupError::UnknownMemberId),
        };
        match outcome {
            Ok(synced) => self.settle(Some((token, Reply::Sync(Ok(synced)))), Vec::new(), cx),
            Err(error) => cx.out.reply(token, Reply::Sync(Err(error))),
        }
    }

    pub(crate) fn leave_consumer_members(
        &mut self,
        token: Token,
        members: Vec<LeavingMember>,
        cx: &mut Context<'_>,
    ) {
        let mut leaving = BTreeSet::new();
        let answer = |member: LeavingMember| {
            let LeavingMember {
                member_id,
                group_instance_id,
            } = member;
            let found = self
                .consumer
                .as_ref()
                .ok_or(GroupError::UnknownMemberId)
                .and_then(|group| group.find_leaving(&member_id, group_instance_id.as_deref()));
            let result = found.map(|id| {
                leaving.insert(id);
            });
            LeftMember {
                member_id,
                group_instance_id,
                result,
            }
        };
        let left: Vec<LeftMember> = members.into_iter().map(answer).collect();
        let records = self.fence(&leaving, cx);
        self.settle(Some((token, Reply::Leave(Ok(left)))), records, cx);
    }
}

impl ConsumerGroup {
    fn check_join(
        &self,
        id: &str,
        request: &JoinRequest,
        cx: &Context<'_>,
    ) -> Result<(Place, Subscription), GroupError> {
        self.check_size(id, cx.options.consumer.max_size)?;
        if !self.supports(&request.protocol_type, &request.protocols) {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        let too_long = request
            .protocols
            .iter()
            .any(|(name, _)| name.len() > LONGEST_TEXT);
        if too_long || id.len() > LONGEST_TEXT {
            return Err(GroupError::InvalidRequest);
        }
        let metadata = request.protocols.first().map(|(_, metadata)| metadata);
        let subscription = metadata.and_then(|metadata| subscription::parse(metadata));
        let subscription = subscription.ok_or(GroupError::InconsistentGroupProtocol)?;
        let instance = request.group_instance_id.as_deref();
        let place = match instance.and_then(|instance| self.statics.get(instance)) {
            Some(old) if old == id => Place::Own,
            Some(old) if request.member_id.is_empty() => Place::Of(old.clone()),
            Some(_) => return Err(GroupError::FencedInstanceId),
            None if instance.is_some() && !request.member_id.is_empty() => {
                return Err(GroupError::UnknownMemberId);
            }
            None if self.members.contains_key(id) => Place::Own,
            None => Place::New,
        };
        Ok((place, subscription))
    }

    /// Whether a member with these protocols could stay with all others that speak the classic protocol, should the group
    /// become a classic one.
    fn supports(&self, protocol_type: &str, protocols: &[(String, Bytes)]) -> bool {
        let all_have = |name: &String| {
            let classic = self
                .members
                .values()
                .filter_map(|m| m.about.classic.as_ref());
            let mut classic = classic.map(|classic| &classic.protocols);
            classic.all(|known| known.iter().any(|(known, _)| known == name))
        };
        protocol_type == CONSUMER && protocols.iter().any(|(name, _)| all_have(name))
    }

    fn is_last_modern(&self, id: &str) -> bool {
        let member = self.members.get(id);
        member.is_some_and(|member| !member.is_classic())
            && self.classic_count() + 1 == self.members.len()
    }

    fn sync(&mut self, request: &SyncRequest, cx: &Context<'_>) -> Result<Synced, GroupError> {
        let id = self.find(&request.member_id, request.group_instance_id.as_deref())?;
        let mut member = self.classic_member(&id)?;
        if member.epoch != request.generation {
            return Err(GroupError::IllegalGeneration);
        }
        let protocol = member
            .about
            .classic
            .as_ref()
            .map(|c| first_protocol(&c.protocols));
        let protocol = protocol.unwrap_or_default();
        let differs = |asked: &Option<String>, actual: &str| {
            asked.as_ref().is_some_and(|asked| asked != actual)
        };
        if differs(&request.protocol_type, CONSUMER) || differs(&request.protocol_name, &protocol) {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        // One that has partitions to give up has rejoined already; it is told again when that is done.
        if self.epoch > member.epoch && member.state != MemberState::Unrevoked {
            must_join(&mut member, cx.now_ms);
            self.put(member);
            return Err(GroupError::RebalanceInProgress);
        }
        member.timers.sync_ms = None;
        heard_of(&mut member, cx.now_ms);
        let assignment = encode_assignment(&member, &member.assigned, cx.topics);
        self.put(member);
        Ok(Synced {
            protocol_type: CONSUMER.to_owned(),
            protocol_name: protocol,
            assignment,
        })
    }

    pub(crate) fn classic_heartbeat(
        &mut self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
        now_ms: i64,
    ) -> Result<(), GroupError> {
        let id = self.find(id, instance)?;
        let mut member = self.classic_member(&id)?;
        if member.epoch != generation {
            return Err(GroupError::IllegalGeneration);
        }
        heard_of(&mut member, now_ms);
        let rejoins = member.epoch < self.epoch
            || member.state == MemberState::Unrevoked
            || (member.state == MemberState::Unreleased && !self.waits_for_others(&member));
        if rejoins {
            must_join(&mut member, now_ms);
        }
        self.put(member);
        match rejoins {
            true => Err(GroupError::RebalanceInProgress),
            false => Ok(()),
        }
    }

    fn classic_member(&self, id: &str) -> Result<Member, GroupError> {
        let member = self.members.get(id).filter(|member| member.is_classic());
        member.cloned().ok_or(GroupError::UnknownMemberId)
    }

    /// Whether partitions that the member is to get are still with others.
    fn waits_for_others(&self, member: &Member) -> bool {
        self.target(&member.id).iter().any(|(topic, indexes)| {
            let held = member.assigned.get(topic);
            indexes.iter().any(|index| {
                !held.is_some_and(|held| held.contains(index)) && !self.is_free(topic, *index)
            })
        })
    }

    fn find_leaving(&self, id: &str, instance: Option<&str>) -> Result<String, GroupError> {
        match instance {
            // An administrator removes a static member by its instance alone.
            Some(instance) if id.is_empty() => {
                let known = self.statics.get(instance).cloned();
                known.ok_or(GroupError::UnknownMemberId)
            }
            instance => self.find(id, instance),
        }
    }
}

fn update(member: &mut Member, request: JoinRequest, subscription: Subscription, now_ms: i64) {
    let about = &mut member.about;
    about.client_id = clip(request.client_id);
    about.client_host = clip(request.client_host);
    if request.group_instance_id.is_some() {
        about.instance_id = request.group_instance_id;
    }
    if subscription.rack.is_some() {
        about.rack_id = subscription.rack;
    }
    about.rebalance_timeout_ms = match request.rebalance_timeout_ms {
        ms if ms > 0 => ms,
        _ => request.session_timeout_ms,
    };
    about.server_assignor = None;
    about.subscribed_names = subscription.topics;
    about.subscribed_regex = None;
    about.classic = Some(ClassicMetadata {
        session_timeout_ms: request.session_timeout_ms,
        protocols: request.protocols,
    });
    member.timers.rebalance_ms = None;
    heard_of(member, now_ms);
}

/// The session starts anew.
pub(super) fn heard_of(member: &mut Member, now_ms: i64) {
    if let Some(classic) = &member.about.classic {
        let session_ms = i64::from(classic.session_timeout_ms);
        member.timers.session_ms = Some(now_ms.saturating_add(session_ms));
    }
}

fn must_join(member: &mut Member, now_ms: i64) {
    let timeout_ms = i64::from(member.about.rebalance_timeout_ms.max(0));
    let due = now_ms.saturating_add(timeout_ms);
    member.timers.join_ms.get_or_insert(due);
}

fn first_protocol(protocols: &[(String, Bytes)]) -> String {
    protocols
        .first()
        .map(|(name, _)| name.clone())
        .unwrap_or_default()
}

fn owned_partitions(subscription: &Subscription, topics: &Topics) -> Partitions {
    named_partitions(&subscription.owned, topics)
}

/// By id; topics that are gone are left out.
pub(super) fn named_partitions(named: &[(String, Vec<i32>)], topics: &Topics) -> Partitions {
    let mut partitions = Partitions::new();
    for (name, indexes) in named {
        if let Some(id) = topics.id(name).filter(|_| !indexes.is_empty()) {
            partitions.entry(id).or_default().extend(indexes);
        }
    }
    partitions
}

/// A ConsumerProtocolAssignment, in the version that the member writes.
pub(super) fn encode_assignment(
    member: &Member,
    partitions: &Partitions,
    topics: &Topics,
) -> Bytes {
    let protocols = member
        .about
        .classic
        .as_ref()
        .map(|classic| &classic.protocols);
    let metadata = protocols.and_then(|protocols| protocols.first());
    let version = metadata.and_then(|(_, metadata)| subscription::version(metadata));
    let named: Vec<_> = partitions
        .iter()
        .filter_map(|(id, indexes)| Some((topics.name(id)?, indexes)))
        .collect();
    let mut bytes = BytesMut::new();
    bytes.put_i16(version.unwrap_or_default());
    bytes.put_i32(i32::try_from(named.len()).unwrap_or(0));
    for (name, indexes) in named {
        // Topic names are at most 249 bytes long.
        bytes.put_i16(i16::try_from(name.len()).unwrap_or(0));
        bytes.put_slice(name.as_bytes());
        bytes.put_i32(i32::try_from(indexes.len()).unwrap_or(0));
        for index in indexes {
            bytes.put_i32(*index);
        }
    }
    // No user data.
    bytes.put_i32(-1);
    bytes.freeze()
}
