//! All groups of one partition: requests in, effects out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::consumer::{BeatRefusal, ConsumerHeartbeat, Topics, check_fields};
use crate::error::GroupError;
use crate::group::{Group, Phase};
use crate::join::refuse_join;
use crate::offsets::{Committer, answers};
use crate::outbox::{Context, Outbox, Pending};
use crate::query::asked_offsets;
use crate::records::{self, Record, RecordError};
use crate::request::{
    AppendId, ConsumerTimeouts, Effect, GroupOptions, JoinRequest, LeavingMember,
    OffsetAndMetadata, Reply, Request, SyncRequest, Token,
};
use crate::settle::not_stored;

/// The groups of one `__consumer_offsets` partition.
///
/// Starts out loading: give it the partition's records with [`Coordinator::load`], then call
/// [`Coordinator::loaded`]; until then requests are refused.
#[derive(Debug)]
pub struct Coordinator {
    options: GroupOptions,
    groups: BTreeMap<String, Group>,
    topics: Arc<Topics>,
    out: Outbox,
    /// (deadline, group), and each group's entry in it.
    timers: BTreeSet<(i64, String)>,
    timer_of: BTreeMap<String, i64>,
    /// Groups that have, or had, offsets pending in a producer's open transaction.
    transactions: BTreeMap<i64, BTreeSet<String>>,
    is_loaded: bool,
}

impl Coordinator {
    pub fn new(options: GroupOptions) -> Coordinator {
        Coordinator {
            options,
            groups: BTreeMap::new(),
            topics: Arc::default(),
            out: Outbox::default(),
            timers: BTreeSet::new(),
            timer_of: BTreeMap::new(),
            transactions: BTreeMap::new(),
            is_loaded: false,
        }
    }

    /// The cluster's topics from now on; consumer groups follow with their members' next heartbeats.
    pub fn set_topics(&mut self, topics: Arc<Topics>) {
        self.topics = topics;
    }

    /// The version of the topics that were set last.
    pub fn topics_version(&self) -> i64 {
        self.topics.version
    }

    /// Timeouts of consumer groups that have their own.
    pub fn set_timeouts(&mut self, timeouts_of: BTreeMap<String, ConsumerTimeouts>) {
        self.options.consumer.timeouts_of = timeouts_of;
    }

    /// Takes a request in. `fresh_member_id` is unique for each call (a UUID); a new member's id is
    /// its client id, or instance id, a dash, and this.
    pub fn handle(
        &mut self,
        token: Token,
        request: Request,
        now_ms: i64,
        fresh_member_id: &str,
    ) -> Vec<Effect> {
        self.out.expect(token);
        if !self.is_loaded {
            let refusal = refusal(request, GroupError::CoordinatorLoadInProgress);
            self.out.reply(token, refusal);
            return self.out.take_effects();
        }
        match request {
            Request::Join(join) => self.join(token, join, fresh_member_id, now_ms),
            Request::Sync(sync) => self.sync(token, sync, now_ms),
            Request::Heartbeat {
                group,
                generation,
                member_id,
                group_instance_id,
            } => {
                let beat = |group: &mut Group, _: &mut Context<'_>| {
                    let instance = group_instance_id.as_deref();
                    group.heartbeat(&member_id, instance, generation, now_ms)
                };
                let result = self.with_group(&group, now_ms, beat);
                let result = result.unwrap_or(Err(GroupError::UnknownMemberId));
                self.out.reply(token, Reply::Heartbeat(result));
            }
            Request::Leave { group, members } => self.leave(token, &group, members, now_ms),
            Request::CommitOffsets {
                group,
                generation,
                member_id,
                group_instance_id,
                knows_epochs,
                offsets,
            } => {
                let by = Committer {
                    knows_epochs,
                    member: &member_id,
                    instance: group_instance_id.as_deref(),
                    generation,
                };
                self.commit(token, group, &by, offsets, now_ms);
            }
            Request::CommitInTransaction {
                group,
                producer_id,
                producer_epoch,
                generation,
                member_id,
                group_instance_id,
                offsets,
            } => {
                let by = Committer {
                    // Every version of TxnOffsetCommit that names a member may name one of a consumer group.
                    knows_epochs: true,
                    member: &member_id,
                    instance: group_instance_id.as_deref(),
                    generation,
                };
                let producer = (producer_id, producer_epoch);
                self.commit_in_transaction(token, group, &by, producer, offsets, now_ms);
            }
            Request::FetchOffsets {
                group,
                member_id,
                member_epoch,
                topics,
                require_stable,
            } => {
                let group = self.groups.get(&group);
                let consumer = group.and_then(|group| group.consumer.as_ref());
                let allowed = consumer.map(|c| c.check_fetch(member_id.as_deref(), member_epoch));
                let found = allowed.unwrap_or(Ok(())).map(|()| match topics {
                    Some(asked) => asked_offsets(group, asked, require_stable),
                    None => group.map_or_else(Vec::new, |group| group.all_offsets(require_stable)),
                });
                self.out.reply(token, Reply::FetchOffsets(found));
            }
            Request::ConsumerHeartbeat(beat) => {
                self.consumer_heartbeat(token, beat, fresh_member_id, now_ms);
            }
            Request::Describe { group } => {
                let classic = self.groups.get(&group).filter(|g| g.consumer.is_none());
                let reply = classic
                    .map(Group::describe)
                    .ok_or(GroupError::GroupIdNotFound);
                self.out.reply(token, Reply::Describe(reply));
            }
            Request::DescribeConsumer { group } => {
                let described =
                    self.with_group(&group, now_ms, |group, cx| group.describe_consumer(cx));
                let reply = described.unwrap_or_else(|| Err(no_group(&group)));
                self.out.reply(token, Reply::DescribeConsumer(reply));
            }
            Request::List {
                states_filter,
                types_filter,
            } => {
                let groups = self.groups.values();
                let listed = groups.filter_map(|group| group.list(&states_filter, &types_filter));
                let listed = listed.collect();
                self.out.reply(token, Reply::List(Ok(listed)));
            }
            Request::DeleteGroups { groups } => self.delete_groups(token, groups),
            Request::DeleteOffsets { group, partitions } => {
                self.delete_offsets(token, &group, partitions, now_ms);
            }
        }
        self.out.take_effects()
    }

    /// Tells the outcome of an append, in the order of the appends. An [`Effect::Append`] that is not ok is not in the log,
    /// and neither is any other behind it until now: their outcomes are told with this.
    pub fn appended(&mut self, id: AppendId, ok: bool, now_ms: i64) -> Vec<Effect> {
        if ok {
            if let Some(pending) = self.out.take_pending(id) {
                self.told(id, pending, true, now_ms);
            }
            return self.out.take_effects();
        }
        let refused = self.out.take_refused(id);
        // All of them, before a group does anything about one of them.
        for of in refused.iter().filter_map(|(_, pending)| pending.logged()) {
            if let Some(group) = self.groups.get_mut(&of.group) {
                group.lose(of.tombstones.clone(), now_ms);
            }
        }
        for (id, pending) in refused {
            self.told(id, pending, false, now_ms);
        }
        self.out.take_effects()
    }

    /// Whether the outcome of an append is still to be told.
    pub fn is_pending(&self, id: AppendId) -> bool {
        self.out.is_pending(id)
    }

    fn told(&mut self, id: AppendId, pending: Pending, ok: bool, now_ms: i64) {
        match pending {
            Pending::Assignment { of, generation } => {
                self.with_group(&of.group, now_ms, |group, cx| {
                    group.assignment_appended(id, generation, ok, cx);
                });
            }
            Pending::Replacement { of, token, joined } => {
                self.with_group(&of.group, now_ms, |_, _| ());
                let reply = if ok {
                    Ok(joined)
                } else {
                    // The client comes back as a new process and replaces itself again.
                    let error = GroupError::CoordinatorNotAvailable;
                    Err(crate::JoinRefusal {
                        error,
                        member_id: String::new(),
                    })
                };
                self.out.reply(token, Reply::Join(reply));
            }
            Pending::Group { of, replies } => {
                self.with_group(&of.group, now_ms, |group, cx| group.settled(ok, cx));
                for (token, reply) in replies {
                    let reply = if ok { reply } else { not_stored(reply) };
                    self.out.reply(token, reply);
                }
            }
            Pending::Commit {
                token,
                group,
                offsets,
            } => {
                self.with_group(&group, now_ms, |group, _| {
                    group.commit_appended(&offsets, ok)
                });
                self.out
                    .reply(token, Reply::CommitOffsets(answers(offsets, ok)));
            }
            Pending::TransactionalCommit {
                token,
                group,
                producer_id,
                offsets,
            } => {
                let stored = offsets.iter().any(|(_, _, entry)| entry.is_ok()) && ok;
                self.with_group(&group, now_ms, |group, _| {
                    group.transactional_commit_appended(producer_id, &offsets, ok);
                });
                if stored && self.groups.contains_key(&group) {
                    self.in_transaction(producer_id, group);
                }
                self.out
                    .reply(token, Reply::CommitOffsets(answers(offsets, ok)));
            }
            Pending::Delete { token, groups } => self.deleted(token, groups, ok),
            Pending::DeleteOffsets {
                token,
                group,
                partitions,
            } => {
                self.with_group(&group, now_ms, |group, _| {
                    group.offsets_deleted(&partitions, ok);
                });
                let reply = if ok {
                    Ok(partitions)
                } else {
                    Err(GroupError::CoordinatorNotAvailable)
                };
                self.out.reply(token, Reply::DeleteOffsets(reply));
            }
            Pending::Expired {
                group,
                offsets,
                whole_group,
            } => {
                self.expired(&group, &offsets, whole_group, ok, now_ms);
            }
        }
    }

    /// Does what time has made due.
    pub fn tick(&mut self, now_ms: i64) -> Vec<Effect> {
        let due: Vec<String> = self
            .timers
            .iter()
            .take_while(|t| t.0 <= now_ms)
            .map(|t| t.1.clone())
            .collect();
        for name in due {
            // `with_group` does what is due before it returns.
            self.with_group(&name, now_ms, |_, _| ());
        }
        self.out.take_effects()
    }

    /// A marker ended the producer's transaction in this partition: its offsets count, or are forgotten. To be told in
    /// the order of the log, with the outcomes of appends.
    pub fn transaction_ended(&mut self, producer_id: i64, commit: bool, now_ms: i64) {
        for name in self.transactions.remove(&producer_id).unwrap_or_default() {
            // Sessions have not begun while loading, so nothing may look at timers.
            if !self.is_loaded {
                if let Some(group) = self.groups.get_mut(&name) {
                    group.transaction_ended(producer_id, commit);
                }
                continue;
            }
            self.with_group(&name, now_ms, |group, _| {
                group.transaction_ended(producer_id, commit);
            });
        }
    }

    /// When `tick` has something to do next.
    pub fn next_deadline(&self) -> Option<i64> {
        self.timers.first().map(|(deadline, _)| *deadline)
    }

    /// Lets go of offsets that nobody uses any more, and of groups that hold nothing. Worth calling
    /// every few minutes.
    pub fn expire_offsets(&mut self, now_ms: i64) -> Vec<Effect> {
        let Coordinator {
            groups,
            out,
            options,
            topics,
            ..
        } = self;
        let retention_ms = options.offsets_retention_ms;
        let mut cx = Context {
            out,
            options,
            topics,
            now_ms,
        };
        for group in groups.values_mut() {
            let expired = group.expired_offsets(retention_ms, now_ms);
            let idle = group.is_empty()
                && group.invited.is_empty()
                && group.committing.is_empty()
                && group.transactional.is_empty()
                && !group.deleting;
            let whole = idle && expired.len() == group.offsets.len() && {
                !expired.is_empty()
                    || group.consumer.is_some()
                    || now_ms.saturating_sub(group.state_ms) >= retention_ms
            };
            if whole || !expired.is_empty() {
                // Holds joins and commits off until the tombstones are stored.
                group.deleting = whole;
                group.drop_offsets(expired, whole, &mut cx);
            }
        }
        self.out.take_effects()
    }

    /// Lets go of a deleted topic's offsets.
    pub fn topic_deleted(&mut self, topic: &str, now_ms: i64) -> Vec<Effect> {
        let Coordinator {
            groups,
            out,
            options,
            topics,
            ..
        } = self;
        let mut cx = Context {
            out,
            options,
            topics,
            now_ms,
        };
        for group in groups.values_mut() {
            let of_topic = |(name, _): &&(String, i32)| name == topic;
            let pending = group.transactional.keys();
            let known: BTreeSet<_> = group.offsets.keys().chain(pending).collect();
            let gone: Vec<_> = known.into_iter().filter(of_topic).cloned().collect();
            if !gone.is_empty() {
                group.drop_offsets(gone, false, &mut cx);
            }
        }
        self.out.take_effects()
    }

    /// The host no longer wants an answer. The member stays until its session ends.
    pub fn disconnect(&mut self, token: Token) {
        self.out.forget(token);
    }

    /// Takes in one record of the partition, in order, before [`Coordinator::loaded`]. An error means
    /// that the record was skipped; records of unknown kinds are skipped in silence.
    pub fn load(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), RecordError> {
        match records::decode(key, value)? {
            Record::Offset {
                group,
                topic,
                partition,
                value,
            } => {
                let entry = self.groups.entry(group.clone());
                let group = entry.or_insert_with(|| Group::new(group, 0));
                let key = (topic, partition);
                match value {
                    Some(offset) => {
                        group.transactional.overtake(&key);
                        group.offsets.insert(key, offset);
                    }
                    None => group.forget_offset(&key),
                }
            }
            Record::Group { group, value } => {
                let mut loaded = Group::new(group.clone(), 0);
                let ended = value.is_none();
                if let Some(metadata) = value {
                    loaded.restore(metadata);
                }
                if let Some(known) = self.groups.remove(&group) {
                    loaded.offsets = known.offsets;
                    loaded.transactional = known.transactional;
                    // The end of a classic group says nothing of a consumer group of its name.
                    loaded.consumer = known.consumer.filter(|_| ended);
                }
                self.groups.insert(group, loaded);
            }
            Record::Unknown => {}
            consumer => {
                if let Some(name) = consumer.group() {
                    let name = name.to_owned();
                    let entry = self.groups.entry(name.clone());
                    let group = entry.or_insert_with(|| Group::new(name, 0));
                    group.load_consumer(consumer);
                }
            }
        }
        Ok(())
    }

    /// As [`Coordinator::load`], for a record of a transactional batch of this producer. Its markers are told with
    /// [`Coordinator::transaction_ended`].
    pub fn load_in_transaction(
        &mut self,
        producer_id: i64,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), RecordError> {
        let Record::Offset {
            group,
            topic,
            partition,
            value: Some(offset),
        } = records::decode(key, value)?
        else {
            // Nothing else is written in transactions.
            return Ok(());
        };
        let entry = self.groups.entry(group.clone());
        let known = entry.or_insert_with(|| Group::new(group.clone(), 0));
        known
            .transactional
            .put(producer_id, (topic, partition), offset);
        self.in_transaction(producer_id, group);
        Ok(())
    }

    /// Everything is loaded: sessions start now.
    pub fn loaded(&mut self, now_ms: i64) {
        self.is_loaded = true;
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            self.with_group(&name, now_ms, |group, cx| {
                for member in group.members.values_mut() {
                    member.seen(cx.now_ms);
                }
                if let Some(consumer) = &mut group.consumer {
                    consumer.loaded(&group.name, &cx.options.consumer, cx.now_ms);
                }
            });
        }
    }

    pub fn is_loaded(&self) -> bool {
        self.is_loaded
    }

    /// How many groups there are.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    fn join(&mut self, token: Token, request: JoinRequest, unique: &str, now_ms: i64) {
        let name = request.group.clone();
        let checked = check_join_fields(&request, &self.options).and_then(|()| {
            let known = self.groups.contains_key(&name);
            if known || request.member_id.is_empty() {
                Ok(())
            } else {
                Err(GroupError::UnknownMemberId)
            }
        });
        if let Err(error) = checked {
            let mut cx = Context {
                out: &mut self.out,
                options: &self.options,
                topics: &self.topics,
                now_ms,
            };
            return refuse_join(token, error, request.member_id, &mut cx);
        }
        self.groups
            .entry(name.clone())
            .or_insert_with(|| Group::new(name.clone(), now_ms));
        self.with_group(&name, now_ms, |group, cx| {
            group.join(token, request, unique, cx)
        });
    }

    fn consumer_heartbeat(
        &mut self,
        token: Token,
        beat: ConsumerHeartbeat,
        unique: &str,
        now_ms: i64,
    ) {
        let name = beat.group.clone();
        let checked = check_fields(&beat, &self.options.consumer).and_then(|()| {
            match beat.epoch != 0 && !self.groups.contains_key(&name) {
                true => Err(no_group(&name)),
                false => Ok(()),
            }
        });
        if let Err(refusal) = checked {
            self.out
                .reply(token, Reply::ConsumerHeartbeat(Err(refusal)));
            return;
        }
        self.groups
            .entry(name.clone())
            .or_insert_with(|| Group::new(name.clone(), now_ms));
        self.with_group(&name, now_ms, |group, cx| {
            group.consumer_heartbeat(token, beat, unique, cx);
        });
    }

    fn sync(&mut self, token: Token, request: SyncRequest, now_ms: i64) {
        let name = request.group.clone();
        let known = self.with_group(&name, now_ms, |group, cx| group.sync(token, request, cx));
        if known.is_none() {
            self.out
                .reply(token, Reply::Sync(Err(GroupError::UnknownMemberId)));
        }
    }

    fn leave(&mut self, token: Token, group: &str, members: Vec<LeavingMember>, now_ms: i64) {
        let left = self.with_group(group, now_ms, |group, cx| {
            if group.deleting {
                return Some(Err(GroupError::CoordinatorNotAvailable));
            }
            if group.consumer.is_some() {
                group.leave_consumer_members(token, members, cx);
                return None;
            }
            let left = members.into_iter();
            Some(Ok(left.map(|member| group.leave(member, cx)).collect()))
        });
        if let Some(reply) = left.unwrap_or(Some(Err(GroupError::UnknownMemberId))) {
            self.out.reply(token, Reply::Leave(reply));
        }
    }

    fn commit(
        &mut self,
        token: Token,
        name: String,
        by: &Committer<'_>,
        offsets: Vec<(String, i32, OffsetAndMetadata)>,
        now_ms: i64,
    ) {
        let checked = match self.groups.get(&name) {
            _ if name.len() > i16::MAX as usize => Err(GroupError::InvalidGroupId),
            Some(group) => group.check_commit(by),
            None if by.generation < 0 => Ok(()),
            None => Err(GroupError::IllegalGeneration),
        };
        if let Err(error) = checked {
            let refused = offsets
                .into_iter()
                .map(|(topic, p, _)| (topic, p, Err(error)));
            self.out
                .reply(token, Reply::CommitOffsets(refused.collect()));
            return;
        }
        self.groups
            .entry(name.clone())
            .or_insert_with(|| Group::new(name.clone(), now_ms));
        self.with_group(&name, now_ms, |group, cx| {
            group.seen(by.member, cx.now_ms);
            group.commit(token, offsets, cx);
        });
    }

    fn commit_in_transaction(
        &mut self,
        token: Token,
        name: String,
        by: &Committer<'_>,
        producer: (i64, i16),
        offsets: Vec<(String, i32, OffsetAndMetadata)>,
        now_ms: i64,
    ) {
        let checked = match self.groups.get(&name) {
            _ if name.is_empty() || name.len() > i16::MAX as usize => {
                Err(GroupError::InvalidGroupId)
            }
            Some(group) => group.check_transactional_commit(by),
            None if by.generation < 0 => Ok(()),
            None => Err(GroupError::IllegalGeneration),
        };
        if let Err(error) = checked {
            let refused = offsets
                .into_iter()
                .map(|(topic, p, _)| (topic, p, Err(error)));
            self.out
                .reply(token, Reply::CommitOffsets(refused.collect()));
            return;
        }
        self.groups
            .entry(name.clone())
            .or_insert_with(|| Group::new(name.clone(), now_ms));
        self.with_group(&name, now_ms, |group, cx| {
            group.commit_in_transaction(token, producer, offsets, cx);
        });
    }

    /// The group has an offset pending of this producer.
    fn in_transaction(&mut self, producer_id: i64, group: String) {
        self.transactions
            .entry(producer_id)
            .or_default()
            .insert(group);
    }

    fn delete_groups(&mut self, token: Token, names: Vec<String>) {
        let mut records = Vec::new();
        let mut results: Vec<(String, Result<(), GroupError>)> = Vec::new();
        for name in names {
            let result = match self.groups.get_mut(&name) {
                None => Err(GroupError::GroupIdNotFound),
                // Also one that is named twice in the request.
                Some(group) if group.deleting => Err(GroupError::GroupIdNotFound),
                Some(group) if !group.is_empty() => Err(GroupError::NonEmptyGroup),
                Some(group) => {
                    group.deleting = true;
                    records.extend(group.tombstones());
                    Ok(())
                }
            };
            results.push((name, result));
        }
        if records.is_empty() {
            self.out.reply(token, Reply::DeleteGroups(results));
        } else {
            self.out.append(
                records,
                Pending::Delete {
                    token,
                    groups: results,
                },
            );
        }
    }

    fn delete_offsets(
        &mut self,
        token: Token,
        name: &str,
        partitions: Vec<(String, i32)>,
        now_ms: i64,
    ) {
        let done = self.with_group(name, now_ms, |group, cx| {
            group.delete_offsets(token, partitions, cx)
        });
        if let Err(error) = done.unwrap_or(Err(GroupError::GroupIdNotFound)) {
            self.out.reply(token, Reply::DeleteOffsets(Err(error)));
        }
    }

    fn deleted(
        &mut self,
        token: Token,
        mut groups: Vec<(String, Result<(), GroupError>)>,
        ok: bool,
    ) {
        for (name, result) in groups.iter_mut().filter(|(_, result)| result.is_ok()) {
            if ok {
                self.forget_group(name);
            } else if let Some(group) = self.groups.get_mut(name) {
                group.deleting = false;
                *result = Err(GroupError::CoordinatorNotAvailable);
            }
        }
        self.out.reply(token, Reply::DeleteGroups(groups));
    }

    fn expired(
        &mut self,
        name: &str,
        offsets: &[(String, i32)],
        whole_group: bool,
        ok: bool,
        now_ms: i64,
    ) {
        if whole_group && ok {
            self.forget_group(name);
            return;
        }
        self.with_group(name, now_ms, |group, _| {
            // Only what this append held off: a deletion of the group may be on its way behind it.
            if whole_group {
                group.deleting = false;
            }
            for key in offsets.iter().filter(|_| ok) {
                group.forget_offset(key);
            }
        });
    }

    fn forget_group(&mut self, name: &str) {
        self.groups.remove(name);
        if let Some(deadline) = self.timer_of.remove(name) {
            self.timers.remove(&(deadline, name.to_owned()));
        }
    }

    /// Runs `work` on a group, then whatever is due in it, and sets its timer anew.
    fn with_group<T>(
        &mut self,
        name: &str,
        now_ms: i64,
        work: impl FnOnce(&mut Group, &mut Context<'_>) -> T,
    ) -> Option<T> {
        let group = self.groups.get_mut(name)?;
        let mut cx = Context {
            out: &mut self.out,
            options: &self.options,
            topics: &self.topics,
            now_ms,
        };
        let result = work(group, &mut cx);
        // One timer may set the next, already due one (a delay of 0); a chain of them is short.
        for _ in 0..4 {
            if group.deadline_ms().is_none_or(|due| due > now_ms) {
                break;
            }
            group.expire(&mut cx);
        }
        let deadline = group.deadline_ms();
        // While something of it is on its way it must be there to hear of a loss: what was to be taken out of the log is known
        // to nobody else.
        if group.is_vacant() && group.log.is_settled(&self.out) {
            self.forget_group(name);
        } else if self.timer_of.get(name).copied() != deadline {
            self.set_timer(name, deadline);
        }
        Some(result)
    }

    fn set_timer(&mut self, name: &str, deadline: Option<i64>) {
        let old = match deadline {
            Some(deadline) => self.timer_of.insert(name.to_owned(), deadline),
            None => self.timer_of.remove(name),
        };
        if let Some(old) = old {
            self.timers.remove(&(old, name.to_owned()));
        }
        if let Some(deadline) = deadline {
            self.timers.insert((deadline, name.to_owned()));
        }
    }
}

impl Group {
    /// Takes the state over that a record holds. Sessions start when loading ends.
    fn restore(&mut self, metadata: records::GroupMetadata) {
        let protocol = metadata.protocol.clone().unwrap_or_default();
        self.phase = if metadata.members.is_empty() {
            Phase::Empty
        } else {
            Phase::Stable
        };
        self.generation = metadata.generation;
        self.protocol_type = Some(metadata.protocol_type).filter(|name| !name.is_empty());
        self.protocol = metadata.protocol;
        self.leader = metadata.leader;
        self.state_ms = metadata.state_timestamp.max(0);
        for record in metadata.members {
            let member = record.into_member(&protocol);
            if let Some(instance) = &member.instance {
                self.statics.insert(instance.clone(), member.id.clone());
            }
            self.members.insert(member.id.clone(), member);
        }
    }
}

fn check_join_fields(request: &JoinRequest, options: &GroupOptions) -> Result<(), GroupError> {
    const LONGEST: usize = i16::MAX as usize;
    if request.group.is_empty() || request.group.len() > LONGEST {
        return Err(GroupError::InvalidGroupId);
    }
    let session = options.session_min_ms..=options.session_max_ms;
    if !session.contains(&request.session_timeout_ms) {
        return Err(GroupError::InvalidSessionTimeout);
    }
    let names = request
        .protocols
        .iter()
        .map(|(name, _)| name)
        .chain([&request.protocol_type]);
    let too_long = names
        .chain(&request.group_instance_id)
        .any(|name| name.len() > LONGEST);
    if too_long {
        Err(GroupError::InvalidRequest)
    } else {
        Ok(())
    }
}

fn no_group(name: &str) -> BeatRefusal {
    BeatRefusal {
        error: GroupError::GroupIdNotFound,
        message: format!("Group {name} not found."),
    }
}

/// The reply that refuses a request as a whole.
fn refusal(request: Request, error: GroupError) -> Reply {
    match request {
        Request::Join(join) => Reply::Join(Err(crate::JoinRefusal {
            error,
            member_id: join.member_id,
        })),
        Request::Sync(_) => Reply::Sync(Err(error)),
        Request::Heartbeat { .. } => Reply::Heartbeat(Err(error)),
        Request::Leave { .. } => Reply::Leave(Err(error)),
        Request::CommitOffsets { offsets, .. } | Request::CommitInTransaction { offsets, .. } => {
            let refused = offsets
                .into_iter()
                .map(|(topic, p, _)| (topic, p, Err(error)));
            Reply::CommitOffsets(refused.collect())
        }
        Request::FetchOffsets { .. } => Reply::FetchOffsets(Err(error)),
        Request::DeleteOffsets { .. } => Reply::DeleteOffsets(Err(error)),
        Request::Describe { .. } => Reply::Describe(Err(error)),
        Request::ConsumerHeartbeat(_) => Reply::ConsumerHeartbeat(Err(error.into())),
        Request::DescribeConsumer { .. } => Reply::DescribeConsumer(Err(error.into())),
        Request::List { .. } => Reply::List(Err(error)),
        Request::DeleteGroups { groups } => Reply::DeleteGroups(
            groups
                .into_iter()
                .map(|group| (group, Err(error)))
                .collect(),
        ),
    }
}
