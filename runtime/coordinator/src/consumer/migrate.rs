//! A group changes its kind while its members go on: to a consumer group when the first member that speaks KIP-848 joins a
//! classic one, back when the last leaves (`group.consumer.migration.policy`).

use std::collections::BTreeSet;

use crate::consumer::classic::{encode_assignment, heard_of, named_partitions};
use crate::consumer::group::ConsumerGroup;
use crate::consumer::heartbeat::no_consumer_group;
use crate::consumer::member::Member;
use crate::consumer::{BeatRefusal, LogRecord};
use crate::error::GroupError;
use crate::group::{Group, Phase};
use crate::members::Member as ClassicMember;
use crate::outbox::Context;
use crate::records::{ClassicMetadata, ConsumerMemberMetadata, group_key};
use crate::request::{JoinRefusal, Reply};
use crate::subscription::{self, CONSUMER};

impl Group {
    /// The consumer group that this classic one would become.
    pub(super) fn converted(&self, cx: &Context<'_>) -> Result<ConsumerGroup, BeatRefusal> {
        if self.phase == Phase::Empty {
            return Ok(ConsumerGroup::default());
        }
        let options = &cx.options.consumer;
        let refused = |why: &str| {
            let message = format!("Cannot upgrade classic group {}: {why}.", self.name);
            Err(BeatRefusal::new(GroupError::GroupIdNotFound, message))
        };
        if !options.migration.allows_upgrade() {
            return refused("online upgrade is disabled");
        }
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return refused("it does not use the consumer embedded protocol");
        }
        if self.members.len() > options.max_size {
            return refused("it is larger than a consumer group may be");
        }
        let mut group = ConsumerGroup {
            epoch: self.generation,
            assignment_epoch: self.generation,
            ..ConsumerGroup::default()
        };
        for classic in self.members.values() {
            match self.converted_member(classic, &group, cx) {
                Ok(member) => {
                    group
                        .targets
                        .insert(member.id.clone(), member.assigned.clone());
                    group.put(member);
                }
                Err(why) => return refused(why),
            }
        }
        group.metadata_hash = cx.topics.hash(&group.subscribed());
        group.topics_version = cx.topics.version;
        Ok(group)
    }

    fn converted_member(
        &self,
        classic: &ClassicMember,
        group: &ConsumerGroup,
        cx: &Context<'_>,
    ) -> Result<Member, &'static str> {
        const MALFORMED: &str = "its embedded consumer protocol is malformed";
        let chosen = self.protocol.as_deref().map(|name| classic.metadata(name));
        let first = classic
            .protocols
            .first()
            .map(|(_, metadata)| metadata.clone());
        let metadata = chosen.filter(|metadata| !metadata.is_empty()).or(first);
        let subscription = metadata.and_then(|metadata| subscription::parse(&metadata));
        let subscription = subscription.ok_or(MALFORMED)?;
        // Where a rebalance was broken off nobody has an assignment, but consumers that rebalance cooperatively still use what
        // they said they owned when they joined. (Kafka takes such partitions for free.)
        let mut assigned = named_partitions(&subscription.owned, cx.topics);
        if !classic.assignment.is_empty() {
            let assignment = subscription::parse_assignment(&classic.assignment);
            let assignment = assignment.ok_or(MALFORMED)?;
            if assignment.has_user_data {
                return Err("a custom assignor is in use, whose data would be lost");
            }
            assigned = named_partitions(&assignment.partitions, cx.topics);
        }
        // Whatever the leader handed out, a partition has one owner from here on.
        for (topic, indexes) in &mut assigned {
            indexes.retain(|index| group.is_free(topic, *index));
        }
        assigned.retain(|_, indexes| !indexes.is_empty());
        let mut member = Member {
            epoch: self.generation,
            previous_epoch: self.generation,
            assigned,
            about: ConsumerMemberMetadata {
                instance_id: classic.instance.clone(),
                rack_id: subscription.rack,
                client_id: classic.client_id.clone(),
                client_host: classic.client_host.clone(),
                subscribed_names: subscription.topics,
                subscribed_regex: None,
                rebalance_timeout_ms: classic.rebalance_timeout_ms,
                server_assignor: None,
                classic: Some(ClassicMetadata {
                    session_timeout_ms: classic.session_timeout_ms,
                    protocols: classic.protocols.clone(),
                }),
            },
            ..Member::new(classic.id.clone())
        };
        heard_of(&mut member, cx.now_ms);
        Ok(member)
    }

    /// Ends the classic group; whoever waits for it joins again.
    pub(super) fn become_consumer(
        &mut self,
        group: ConsumerGroup,
        records: &mut Vec<LogRecord>,
        cx: &mut Context<'_>,
    ) {
        let error = GroupError::RebalanceInProgress;
        for (id, member) in &mut self.members {
            if let Some(token) = member.join.take() {
                let member_id = id.clone();
                cx.out
                    .reply(token, Reply::Join(Err(JoinRefusal { error, member_id })));
            }
        }
        self.fail_syncs(error, cx);
        if self.generation > 0 || self.protocol_type.is_some() {
            records.push((group_key(&self.name), None));
        }
        if !group.members.is_empty() {
            records.extend(group.all_records(&self.name));
        }
        self.forget_classic(cx.now_ms);
        self.consumer = Some(Box::new(group));
    }

    fn forget_classic(&mut self, now_ms: i64) {
        self.phase = Phase::Empty;
        self.generation = 0;
        self.protocol_type = None;
        self.protocol = None;
        self.leader = None;
        self.members.clear();
        self.statics.clear();
        self.invited.clear();
        self.unsynced.clear();
        self.sync_deadline_ms = None;
        self.assigning = None;
        self.state_ms = now_ms;
    }

    /// Whether the group may become a classic one when these members are out.
    pub(super) fn may_downgrade(&self, leaving: &BTreeSet<String>, cx: &Context<'_>) -> bool {
        let Some(group) = &self.consumer else {
            return false;
        };
        let mut staying = group.members.values().filter(|m| !leaving.contains(&m.id));
        let count = staying.clone().count();
        let had_modern = leaving.is_empty()
            || leaving.iter().any(|id| {
                group
                    .members
                    .get(id)
                    .is_some_and(|member| !member.is_classic())
            });
        had_modern
            && count > 0
            && count <= cx.options.max_group_size
            && cx.options.consumer.migration.allows_downgrade()
            && staying.all(Member::is_classic)
    }

    /// The members that stay go on as a stable classic generation with what they hold; says whether that is their targets. If
    /// it is not, they must rebalance: told their targets at once, some would use what others have not let go of yet.
    pub(super) fn become_classic(
        &mut self,
        leaving: &BTreeSet<String>,
        records: &mut Vec<LogRecord>,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(group) = self.consumer.take() else {
            return true;
        };
        let mut on_target = true;
        records.extend(group.tombstones(&self.name));
        self.forget_classic(cx.now_ms);
        self.phase = Phase::Stable;
        self.generation = group.epoch;
        self.protocol_type = Some(CONSUMER.to_owned());
        for member in group.members.values().filter(|m| !leaving.contains(&m.id)) {
            let Some(classic) = &member.about.classic else {
                continue;
            };
            let held = member.held();
            on_target &= held == group.target(&member.id);
            let mut stays = ClassicMember {
                id: member.id.clone(),
                instance: member.about.instance_id.clone(),
                client_id: member.about.client_id.clone(),
                client_host: member.about.client_host.clone(),
                session_timeout_ms: classic.session_timeout_ms,
                rebalance_timeout_ms: member.about.rebalance_timeout_ms,
                protocols: classic.protocols.clone(),
                assignment: encode_assignment(member, &held, cx.topics),
                join: None,
                sync: None,
                is_new: false,
                deadline_ms: 0,
            };
            stays.seen(cx.now_ms);
            if let Some(instance) = &stays.instance {
                self.statics.insert(instance.clone(), stays.id.clone());
            }
            self.leader.get_or_insert_with(|| stays.id.clone());
            self.members.insert(stays.id.clone(), stays);
        }
        self.protocol = self.select_protocol();
        let (key, value) = self.record(None);
        records.push((key, Some(value)));
        on_target
    }

    /// An empty consumer group becomes a classic one for whoever joins it so.
    pub(crate) fn end_empty_consumer(&mut self, cx: &mut Context<'_>) {
        let Some(group) = self.consumer.take() else {
            return;
        };
        let records = group.tombstones(&self.name);
        self.settle(None, records, cx);
    }

    pub(crate) fn describe_consumer(
        &self,
        cx: &Context<'_>,
    ) -> Result<crate::DescribedConsumerGroup, BeatRefusal> {
        let group = self.consumer.as_ref();
        let group = group.ok_or_else(|| no_consumer_group(&self.name))?;
        Ok(group.describe(&self.name, &cx.options.consumer.assignors, cx.topics))
    }
}
