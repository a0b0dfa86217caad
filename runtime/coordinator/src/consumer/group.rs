//! The group: members, epochs, who holds what, and what the log says of all that.

use std::collections::{BTreeMap, BTreeSet};

use crate::consumer::member::Member;
use crate::consumer::{LogRecord, Partitions, TopicId, Topics};
use crate::records::{self, ConsumerEpoch, ResolvedRegex};
use crate::request::GroupState;

#[derive(Clone, Debug, Default)]
pub(crate) struct ConsumerGroup {
    pub(crate) epoch: i32,
    /// The epoch that the targets are for.
    pub(crate) assignment_epoch: i32,
    pub(crate) metadata_hash: i64,
    pub(crate) members: BTreeMap<String, Member>,
    /// Member ids by instance id.
    pub(crate) statics: BTreeMap<String, String>,
    pub(crate) targets: BTreeMap<String, Partitions>,
    /// Which member holds a partition: has it assigned, or has not let go of it yet.
    pub(super) owners: BTreeMap<TopicId, BTreeMap<i32, String>>,
    pub(crate) regexes: BTreeMap<String, ResolvedRegex>,
    /// The topics last looked at, and last matched against the regexes; 0 before the first look.
    pub(crate) topics_version: i64,
    pub(crate) regexes_version: i64,
    /// The log may hold metadata of topics from a broker before 4.1.
    pub(crate) has_topics_record: bool,
}

impl ConsumerGroup {
    pub(crate) fn state(&self) -> GroupState {
        if self.members.is_empty() {
            GroupState::Empty
        } else if self.epoch > self.assignment_epoch {
            GroupState::Assigning
        } else if self
            .members
            .values()
            .all(|member| member.is_reconciled_to(self.assignment_epoch))
        {
            GroupState::Stable
        } else {
            GroupState::Reconciling
        }
    }

    /// Puts a member in, or in its own place, and with it what it holds.
    pub(crate) fn put(&mut self, member: Member) {
        self.take(&member.id.clone());
        for (topic, partition) in held(&member) {
            let of_topic = self.owners.entry(topic).or_default();
            of_topic.insert(partition, member.id.clone());
        }
        if let Some(instance) = &member.about.instance_id {
            self.statics.insert(instance.clone(), member.id.clone());
        }
        self.members.insert(member.id.clone(), member);
    }

    pub(crate) fn take(&mut self, id: &str) -> Option<Member> {
        let member = self.members.remove(id)?;
        for (topic, partition) in held(&member) {
            if let Some(of_topic) = self.owners.get_mut(&topic) {
                if of_topic.get(&partition).is_some_and(|owner| owner == id) {
                    of_topic.remove(&partition);
                }
                if of_topic.is_empty() {
                    self.owners.remove(&topic);
                }
            }
        }
        if let Some(instance) = &member.about.instance_id
            && self
                .statics
                .get(instance)
                .is_some_and(|static_| static_ == id)
        {
            self.statics.remove(instance);
        }
        Some(member)
    }

    pub(crate) fn is_free(&self, topic: &TopicId, partition: i32) -> bool {
        let of_topic = self.owners.get(topic);
        of_topic.is_none_or(|of_topic| !of_topic.contains_key(&partition))
    }

    /// Names that any member subscribes to, by name or by regex.
    pub(crate) fn subscribed(&self) -> BTreeSet<&str> {
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for member in self.members.values() {
            names.extend(member.about.subscribed_names.iter().map(String::as_str));
            names.extend(self.matched(member));
        }
        names
    }

    /// Names of topics that a member's regex matches.
    pub(crate) fn matched(&self, member: &Member) -> impl Iterator<Item = &str> {
        let resolved = member.regex().and_then(|regex| self.regexes.get(regex));
        resolved
            .into_iter()
            .flat_map(|resolved| resolved.topics.iter().map(String::as_str))
    }

    pub(crate) fn uses_regex(&self, regex: &str) -> bool {
        self.members
            .values()
            .any(|member| member.regex() == Some(regex))
    }

    /// Raises the epoch if that was asked for, or if the topics changed.
    pub(crate) fn refresh_epoch(
        &mut self,
        name: &str,
        bump: bool,
        topics: &Topics,
        records: &mut Vec<LogRecord>,
    ) {
        if !bump && self.topics_version == topics.version {
            return;
        }
        self.topics_version = topics.version;
        let hash = topics.hash(&self.subscribed());
        if bump || hash != self.metadata_hash {
            self.metadata_hash = hash;
            self.epoch = self.epoch.saturating_add(1);
            records.push(self.epoch_record(name));
        }
        if std::mem::take(&mut self.has_topics_record) {
            records.push((records::consumer_topics_key(name), None));
        }
    }

    pub(crate) fn epoch_record(&self, name: &str) -> LogRecord {
        let value = ConsumerEpoch {
            epoch: self.epoch,
            metadata_hash: self.metadata_hash,
        };
        (records::consumer_epoch_key(name), Some(value.encode()))
    }

    pub(crate) fn target(&self, member: &str) -> Partitions {
        self.targets.get(member).cloned().unwrap_or_default()
    }

    /// The group as the log should say it, in the order in which Kafka writes it.
    pub(crate) fn all_records(&self, name: &str) -> Vec<LogRecord> {
        let members = self.members.values();
        let mut all: Vec<LogRecord> = members.clone().map(|m| m.about_record(name)).collect();
        all.extend(self.regexes.iter().map(|(regex, resolved)| {
            let key = records::consumer_regex_key(name, regex);
            (key, Some(resolved.encode()))
        }));
        all.push(self.epoch_record(name));
        all.extend(self.targets.iter().map(|(member, target)| {
            let key = records::consumer_target_key(name, member);
            (key, Some(records::consumer_target_value(target)))
        }));
        all.push(self.target_epoch_record(name));
        all.extend(members.map(|member| member.current_record(name)));
        all
    }

    pub(crate) fn target_epoch_record(&self, name: &str) -> LogRecord {
        let key = records::consumer_target_epoch_key(name);
        let value = records::consumer_target_epoch_value(self.assignment_epoch);
        (key, Some(value))
    }

    /// Ends the group in the log, in Kafka's order: members first, the epoch last.
    pub(crate) fn tombstones(&self, name: &str) -> Vec<LogRecord> {
        let members = self.members.keys();
        let mut keys: Vec<_> = members
            .clone()
            .map(|id| records::consumer_current_key(name, id))
            .collect();
        let targets = self.targets.keys();
        keys.extend(targets.map(|id| records::consumer_target_key(name, id)));
        keys.push(records::consumer_target_epoch_key(name));
        keys.extend(members.map(|id| records::consumer_member_key(name, id)));
        let regexes = self.regexes.keys();
        keys.extend(regexes.map(|regex| records::consumer_regex_key(name, regex)));
        keys.push(records::consumer_topics_key(name));
        keys.push(records::consumer_epoch_key(name));
        keys.into_iter().map(|key| (key, None)).collect()
    }

    /// When the group next needs a tick.
    pub(crate) fn deadline_ms(&self) -> Option<i64> {
        let timers = self.members.values();
        timers.filter_map(|member| member.timers.next_ms()).min()
    }

    /// How many members speak the classic protocol.
    pub(crate) fn classic_count(&self) -> usize {
        let members = self.members.values();
        members.filter(|member| member.is_classic()).count()
    }
}

/// Everything a member has not given back.
fn held(member: &Member) -> Vec<(TopicId, i32)> {
    let all = member.assigned.iter().chain(&member.revoking);
    all.flat_map(|(topic, indexes)| indexes.iter().map(|index| (*topic, *index)))
        .collect()
}
