//! ConsumerGroupHeartbeat (KIP-848): a member joins, tells what changed, confirms what it let go, and leaves.

use crate::consumer::beat::{BeatRefusal, Beaten, ConsumerHeartbeat};
use crate::consumer::group::ConsumerGroup;
use crate::consumer::member::{LEFT_FOR_NOW, Member};
use crate::consumer::reconcile::check_known_state;
use crate::consumer::regexes::check_regex;
use crate::consumer::{Assignor, LONGEST_TEXT, LogRecord, Partitions};
use crate::error::GroupError;
use crate::group::Group;
use crate::outbox::Context;
use crate::records;
use crate::request::{ConsumerOptions, Reply, Token};

const JOINS: i32 = 0;
const LEAVES: i32 = -1;
/// "Not changed", of a timeout.
const AS_BEFORE: i32 = -1;
/// Of a member that does not say: what clients say by themselves (`max.poll.interval.ms`).
const DEFAULT_REBALANCE_TIMEOUT_MS: i32 = 300_000;

/// Whose place a member takes.
pub(super) enum Place {
    New,
    Own,
    /// That of the static member with this id.
    Of(String),
}

/// Checks a heartbeat by itself.
pub(crate) fn check_fields(
    beat: &ConsumerHeartbeat,
    options: &ConsumerOptions,
) -> Result<(), BeatRefusal> {
    let invalid = |why: &str| Err(BeatRefusal::new(GroupError::InvalidRequest, why));
    let is_blank = |text: &str| text.trim().is_empty();
    let needs_id = beat.makes_own_id || beat.epoch > JOINS || beat.epoch == LEAVES;
    if needs_id && is_blank(&beat.member_id) {
        return invalid("MemberId can't be empty.");
    }
    if is_blank(&beat.group) {
        return invalid("GroupId can't be empty.");
    }
    if beat.instance_id.as_deref().is_some_and(is_blank) {
        return invalid("InstanceId can't be empty.");
    }
    if beat.rack_id.as_deref().is_some_and(is_blank) {
        return invalid("RackId can't be empty.");
    }
    let names = beat.subscribed_names.iter().flatten();
    let texts = [&beat.group, &beat.member_id]
        .into_iter()
        .chain(
            [&beat.instance_id, &beat.rack_id, &beat.server_assignor]
                .into_iter()
                .flatten(),
        )
        .chain(names);
    if texts.into_iter().any(|text| text.len() > LONGEST_TEXT) {
        return invalid("A name is longer than Kafka's records hold.");
    }
    match beat.epoch {
        // Null says as well that nothing is owned. Kafka wants an empty list, and a timeout, but librdkafka 2.12 that leaves and
        // joins at once sends neither, which against Kafka's slower answers does not come to pass, and takes a refusal for fatal.
        JOINS if beat.owned.as_ref().is_some_and(|owned| !owned.is_empty()) => {
            return invalid("TopicPartitions must be empty when joining.");
        }
        JOINS if beat.subscribed_names.is_none() && beat.subscribed_regex.is_none() => {
            return invalid(
                "SubscribedTopicNames or SubscribedTopicRegex must be given when joining.",
            );
        }
        LEFT_FOR_NOW if beat.instance_id.is_none() => {
            return invalid("InstanceId can't be null.");
        }
        epoch if epoch < LEFT_FOR_NOW => return invalid("MemberEpoch is invalid."),
        _ => {}
    }
    check_assignor(beat.server_assignor.as_deref(), &options.assignors)
}

fn check_assignor(wanted: Option<&str>, assignors: &[Assignor]) -> Result<(), BeatRefusal> {
    let Some(wanted) = wanted else { return Ok(()) };
    if Assignor::by_name(wanted).is_some_and(|assignor| assignors.contains(&assignor)) {
        return Ok(());
    }
    let names: Vec<_> = assignors.iter().map(|assignor| assignor.name()).collect();
    let wanted: String = wanted.chars().take(128).collect();
    let message = format!(
        "ServerAssignor {wanted} is not supported. Supported assignors: {}.",
        names.join(", ")
    );
    Err(BeatRefusal::new(GroupError::UnsupportedAssignor, message))
}

impl Group {
    /// `unique` is the id of a member that has none yet.
    pub(crate) fn consumer_heartbeat(
        &mut self,
        token: Token,
        beat: ConsumerHeartbeat,
        unique: &str,
        cx: &mut Context<'_>,
    ) {
        let outcome = match beat.epoch {
            _ if self.deleting => Err(GroupError::CoordinatorNotAvailable.into()),
            LEAVES | LEFT_FOR_NOW => self.leave_consumer(&beat, cx),
            _ => self.beat(beat, unique, cx),
        };
        match outcome {
            Ok((beaten, records)) => {
                let reply = Reply::ConsumerHeartbeat(Ok(beaten));
                self.settle(Some((token, reply)), records, cx);
            }
            Err(refusal) => cx.out.reply(token, Reply::ConsumerHeartbeat(Err(refusal))),
        }
    }

    fn beat(
        &mut self,
        mut beat: ConsumerHeartbeat,
        unique: &str,
        cx: &mut Context<'_>,
    ) -> Result<(Beaten, Vec<LogRecord>), BeatRefusal> {
        if beat.epoch == JOINS {
            beat.owned.get_or_insert_default();
        }
        let id = match beat.member_id.is_empty() {
            true => unique.to_owned(),
            false => beat.member_id.clone(),
        };
        // Everything that can be refused comes before anything changes.
        let converted = match &self.consumer {
            Some(_) => None,
            None if beat.epoch == JOINS => Some(self.converted(cx)?),
            None => return Err(no_consumer_group(&self.name)),
        };
        let place = match (&converted, &self.consumer) {
            (Some(group), _) => group.place(&id, &beat, cx.options)?,
            (None, Some(group)) => group.place(&id, &beat, cx.options)?,
            (None, None) => return Err(no_consumer_group(&self.name)),
        };
        if let Some(regex) = beat.subscribed_regex.as_deref().filter(|r| !r.is_empty()) {
            check_regex(regex)?;
        }
        let mut records = Vec::new();
        if let Some(group) = converted {
            self.become_consumer(group, &mut records, cx);
        }
        let Some(group) = &mut self.consumer else {
            return Err(no_consumer_group(&self.name));
        };
        if let Place::Of(old) = &place {
            group.replace(&self.name, old, &id, &mut records);
        }
        let beaten = group.keep_up(&self.name, id, beat, &mut records, cx);
        Ok((beaten, records))
    }

    fn leave_consumer(
        &mut self,
        beat: &ConsumerHeartbeat,
        cx: &mut Context<'_>,
    ) -> Result<(Beaten, Vec<LogRecord>), BeatRefusal> {
        let Some(group) = &mut self.consumer else {
            return Err(no_consumer_group(&self.name));
        };
        let id = group.find(&beat.member_id, beat.instance_id.as_deref())?;
        let records = match group.members.get(&id) {
            Some(member) if beat.epoch == LEFT_FOR_NOW => {
                let mut member = member.clone();
                member.epoch = LEFT_FOR_NOW;
                member.revoking = Partitions::new();
                member.timers.rebalance_ms = None;
                let record = member.current_record(&self.name);
                group.put(member);
                vec![record]
            }
            _ => self.fence(&[id.clone()].into(), cx),
        };
        let beaten = Beaten {
            member_id: id,
            epoch: beat.epoch,
            heartbeat_interval_ms: 0,
            assignment: None,
        };
        Ok((beaten, records))
    }
}

impl ConsumerGroup {
    /// The member a request of this id, and perhaps instance id, speaks for.
    pub(super) fn find(&self, id: &str, instance: Option<&str>) -> Result<String, GroupError> {
        let known = match instance {
            None => self.members.get_key_value(id).map(|(id, _)| id),
            Some(instance) => self.statics.get(instance),
        };
        match known {
            None => Err(GroupError::UnknownMemberId),
            Some(known) if known != id => Err(GroupError::FencedInstanceId),
            Some(known) => Ok(known.clone()),
        }
    }

    fn place(
        &self,
        id: &str,
        beat: &ConsumerHeartbeat,
        options: &crate::GroupOptions,
    ) -> Result<Place, BeatRefusal> {
        self.check_size(id, options.consumer.max_size)?;
        let joins = beat.epoch == JOINS;
        let instance = beat.instance_id.as_deref();
        let same_instance = instance.and_then(|instance| self.statics.get(instance));
        match same_instance {
            Some(old) if joins && old != id => {
                let held = self.members.get(old);
                // Two that speak KIP-848 do not take each other's place: the old one has to leave for now.
                match held.is_some_and(|old| !old.is_classic() && old.epoch != LEFT_FOR_NOW) {
                    true => Err(GroupError::UnreleasedInstanceId.into()),
                    false => Ok(Place::Of(old.clone())),
                }
            }
            None if joins && instance.is_some() => Ok(match self.members.contains_key(id) {
                true => Place::Own,
                false => Place::New,
            }),
            _ => match (self.find(id, instance), joins) {
                (Ok(id), _) => self.check_epoch(&id, beat).map(|()| Place::Own),
                (Err(GroupError::UnknownMemberId), true) => Ok(Place::New),
                (Err(error), _) => Err(error.into()),
            },
        }
    }

    pub(super) fn check_size(&self, id: &str, max: usize) -> Result<(), GroupError> {
        match self.members.len() >= max && !self.members.contains_key(id) {
            true => Err(GroupError::GroupMaxSizeReached),
            false => Ok(()),
        }
    }

    fn check_epoch(&self, id: &str, beat: &ConsumerHeartbeat) -> Result<(), BeatRefusal> {
        let Some(member) = self.members.get(id) else {
            return Err(GroupError::UnknownMemberId.into());
        };
        check_known_state(member, beat.owned.as_ref())?;
        // A member that starts over holds nothing, so it may do that at any time; otherwise it could not come back before
        // its session ended.
        if beat.epoch == member.epoch || beat.epoch == JOINS {
            return Ok(());
        }
        let answer_was_lost = beat.epoch < member.epoch
            && beat.epoch == member.previous_epoch
            && beat
                .owned
                .as_ref()
                .is_some_and(|owned| is_within(owned, &member.assigned));
        match answer_was_lost {
            true => Ok(()),
            false => Err(BeatRefusal::new(
                GroupError::FencedMemberEpoch,
                format!(
                    "The member is in epoch {}, not {}; it must abandon its partitions and rejoin.",
                    member.epoch, beat.epoch
                ),
            )),
        }
    }

    /// A static member is back under another id.
    pub(super) fn replace(
        &mut self,
        name: &str,
        old: &str,
        id: &str,
        records: &mut Vec<LogRecord>,
    ) {
        let Some(mut member) = self.take(old) else {
            return;
        };
        let target = self.targets.remove(old).unwrap_or_default();
        records.extend(member_tombstones(name, old));
        member.id = id.to_owned();
        member.epoch = 0;
        member.previous_epoch = 0;
        member.timers = Default::default();
        records.push(member.about_record(name));
        let value = records::consumer_target_value(&target);
        records.push((records::consumer_target_key(name, id), Some(value)));
        records.push(member.current_record(name));
        self.targets.insert(id.to_owned(), target);
        self.put(member);
    }

    /// Takes in what the heartbeat says, and brings the group and the member forward.
    fn keep_up(
        &mut self,
        name: &str,
        id: String,
        beat: ConsumerHeartbeat,
        records: &mut Vec<LogRecord>,
        cx: &mut Context<'_>,
    ) -> Beaten {
        let before = self
            .members
            .get(&id)
            .cloned()
            .unwrap_or_else(|| Member::new(id.clone()));
        let tells_all = beat.rebalance_timeout_ms != AS_BEFORE
            && (beat.subscribed_names.is_some() || beat.subscribed_regex.is_some())
            && beat.owned.is_some();
        let tells_assignment = beat.epoch == JOINS || tells_all;
        let owned = beat.owned.clone();
        let mut member = before.clone();
        update(&mut member, beat);
        let timeouts = cx.options.consumer.timeouts(name);
        let session_ms = i64::from(timeouts.session_timeout_ms);
        member.timers.session_ms = Some(cx.now_ms.saturating_add(session_ms));
        self.advance(name, &before, member, owned.as_ref(), records, cx);
        let after = self.members.get(&id);
        let assigned = after
            .map(|member| member.assigned.clone())
            .unwrap_or_default();
        Beaten {
            epoch: after.map_or(0, |member| member.epoch),
            member_id: id,
            heartbeat_interval_ms: timeouts.heartbeat_interval_ms,
            assignment: (tells_assignment || assigned != before.assigned).then_some(assigned),
        }
    }

    /// Puts the member in as it is now; raises the epoch, makes a new target and reconciles, as far as each is due.
    pub(super) fn advance(
        &mut self,
        name: &str,
        before: &Member,
        member: Member,
        owned: Option<&Partitions>,
        records: &mut Vec<LogRecord>,
        cx: &mut Context<'_>,
    ) {
        let id = member.id.clone();
        let is_new = !self.members.contains_key(&id);
        if is_new || member.about != before.about {
            records.push(member.about_record(name));
        }
        let new_regex = member.regex() != before.regex();
        let mut bump = self.epoch == 0
            || new_regex
            || member.about.subscribed_names != before.about.subscribed_names;
        self.put(member);
        // Both walk all members, so only where something may have changed.
        if new_regex || self.regexes_version != cx.topics.version {
            self.drop_unused_regexes(name, records);
            bump |= self.refresh_regexes(name, cx.topics, cx.now_ms, records);
        }
        self.refresh_epoch(name, bump, cx.topics, records);
        self.refresh_target(name, cx.topics, &cx.options.consumer.assignors, records);
        self.reconcile(name, &id, owned, cx.now_ms, records);
    }
}

fn update(member: &mut Member, beat: ConsumerHeartbeat) {
    let about = &mut member.about;
    about.client_id = crate::members::clip(beat.client_id);
    about.client_host = crate::members::clip(beat.client_host);
    about.classic = None;
    if let Some(instance) = beat.instance_id {
        about.instance_id = Some(instance);
    }
    if let Some(rack) = beat.rack_id {
        about.rack_id = Some(rack);
    }
    if beat.rebalance_timeout_ms != AS_BEFORE {
        about.rebalance_timeout_ms = beat.rebalance_timeout_ms;
    } else if about.rebalance_timeout_ms <= 0 {
        about.rebalance_timeout_ms = DEFAULT_REBALANCE_TIMEOUT_MS;
    }
    if let Some(names) = beat.subscribed_names {
        about.subscribed_names = names;
    }
    if let Some(regex) = beat.subscribed_regex {
        about.subscribed_regex = Some(regex);
    }
    if let Some(assignor) = beat.server_assignor {
        about.server_assignor = Some(assignor);
    }
    member.timers.join_ms = None;
    member.timers.sync_ms = None;
}

pub(super) fn member_tombstones(name: &str, id: &str) -> [LogRecord; 3] {
    [
        (records::consumer_current_key(name, id), None),
        (records::consumer_target_key(name, id), None),
        (records::consumer_member_key(name, id), None),
    ]
}

pub(crate) fn no_consumer_group(name: &str) -> BeatRefusal {
    let message = format!("Group {name} is not a consumer group.");
    BeatRefusal::new(GroupError::GroupIdNotFound, message)
}

fn is_within(owned: &Partitions, assigned: &Partitions) -> bool {
    owned.iter().all(|(topic, indexes)| {
        let held = assigned.get(topic);
        indexes.is_empty() || held.is_some_and(|held| indexes.is_subset(held))
    })
}
