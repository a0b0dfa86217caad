//! A consumer group out of the log: each record changes what it names.

use crate::consumer::group::ConsumerGroup;
use crate::consumer::member::{Member, MemberState};
use crate::group::Group;
use crate::records::Record;
use crate::request::ConsumerOptions;

impl Group {
    /// Takes in a record of a consumer group.
    pub(crate) fn load_consumer(&mut self, record: Record) {
        if is_tombstone(&record) && self.consumer.is_none() {
            // Of a group that has ended, or never was one.
            return;
        }
        if matches!(record, Record::ConsumerEpoch { value: None, .. }) {
            self.consumer = None;
            return;
        }
        let group = self.consumer.get_or_insert_default();
        match record {
            Record::ConsumerEpoch {
                value: Some(value), ..
            } => {
                group.epoch = value.epoch;
                group.metadata_hash = value.metadata_hash;
            }
            Record::ConsumerTopics { deleted, .. } => group.has_topics_record = !deleted,
            Record::ConsumerMember { member, value, .. } => match value {
                Some(about) => {
                    group.change(&member, |member| member.about = about);
                }
                None => {
                    group.take(&member);
                }
            },
            Record::ConsumerTargetEpoch { value, .. } => {
                group.assignment_epoch = value.unwrap_or_default();
            }
            Record::ConsumerTarget { member, value, .. } => match value {
                Some(target) => {
                    group.targets.insert(member, target);
                }
                None => {
                    group.targets.remove(&member);
                }
            },
            Record::ConsumerCurrent { member, value, .. } => match value {
                Some(current) => group.change(&member, |member| member.restore(current)),
                // The rest of the member goes with its other records.
                None => {
                    if group.members.contains_key(&member) {
                        group.change(&member, |member| member.restore(Default::default()));
                    }
                }
            },
            Record::ConsumerRegex { regex, value, .. } => match value {
                Some(resolved) => {
                    group.regexes.insert(regex, resolved);
                }
                None => {
                    group.regexes.remove(&regex);
                }
            },
            _ => {}
        }
    }
}

impl ConsumerGroup {
    fn change(&mut self, id: &str, change: impl FnOnce(&mut Member)) {
        let mut member = self.take(id).unwrap_or_else(|| Member::new(id.to_owned()));
        change(&mut member);
        self.put(member);
    }

    /// Everything is loaded. Members are as good as heard of now; who holds what is clear only now, since the log may have
    /// shown states of different times.
    pub(crate) fn loaded(&mut self, name: &str, options: &ConsumerOptions, now_ms: i64) {
        let timeouts = options.timeouts(name);
        let ids: Vec<String> = self.members.keys().cloned().collect();
        let members: Vec<Member> = ids.iter().filter_map(|id| self.take(id)).collect();
        for mut member in members {
            let session_ms = match &member.about.classic {
                Some(classic) => classic.session_timeout_ms,
                None => timeouts.session_timeout_ms,
            };
            let after = |ms: i32| Some(now_ms.saturating_add(i64::from(ms.max(0))));
            member.timers = Default::default();
            member.timers.session_ms = after(session_ms);
            if member.state == MemberState::Unrevoked && !member.is_classic() {
                member.timers.rebalance_ms = after(member.about.rebalance_timeout_ms);
            }
            self.put(member);
        }
    }
}

fn is_tombstone(record: &Record) -> bool {
    matches!(
        record,
        Record::ConsumerEpoch { value: None, .. }
            | Record::ConsumerTopics { deleted: true, .. }
            | Record::ConsumerMember { value: None, .. }
            | Record::ConsumerTargetEpoch { value: None, .. }
            | Record::ConsumerTarget { value: None, .. }
            | Record::ConsumerCurrent { value: None, .. }
            | Record::ConsumerRegex { value: None, .. }
    )
}
