//! The target assignment: what every member shall come to hold, computed whenever the group's epoch has risen.

use std::collections::{BTreeMap, BTreeSet};

use crate::consumer::assignor::{self, Assignor, Subscriber};
use crate::consumer::group::ConsumerGroup;
use crate::consumer::{LogRecord, Topics};
use crate::records;

impl ConsumerGroup {
    /// Computes the targets if the group's epoch asks for it; what changed is written down.
    pub(crate) fn refresh_target(
        &mut self,
        name: &str,
        topics: &Topics,
        assignors: &[Assignor],
        records: &mut Vec<LogRecord>,
    ) {
        if self.epoch <= self.assignment_epoch {
            return;
        }
        let subscribers = self.subscribers(topics);
        let counts = partition_counts(&subscribers, topics);
        let made = assignor::assign(self.assignor(assignors), &subscribers, &counts);
        for (id, target) in made {
            if self.targets.get(&id) != Some(&target) {
                let key = records::consumer_target_key(name, &id);
                records.push((key, Some(records::consumer_target_value(&target))));
                self.targets.insert(id, target);
            }
        }
        self.assignment_epoch = self.epoch;
        records.push(self.target_epoch_record(name));
    }

    /// What most members ask for, or the first that is configured.
    pub(crate) fn assignor(&self, assignors: &[Assignor]) -> Assignor {
        let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
        for member in self.members.values() {
            let wanted = member.about.server_assignor.as_deref();
            if let Some(wanted) = wanted.and_then(Assignor::by_name)
                && assignors.contains(&wanted)
            {
                *votes.entry(wanted).or_default() += 1;
            }
        }
        let most = votes.into_iter().max_by_key(|(_, votes)| *votes);
        most.map(|(assignor, _)| assignor)
            .or_else(|| assignors.first().copied())
            .unwrap_or(Assignor::Uniform)
    }

    fn subscribers(&self, topics: &Topics) -> BTreeMap<String, Subscriber> {
        let subscriber = |(id, member): (&String, &crate::consumer::member::Member)| {
            let named = member.about.subscribed_names.iter().map(String::as_str);
            let ids = named
                .chain(self.matched(member))
                .filter_map(|name| topics.id(name));
            let subscriber = Subscriber {
                instance_id: member.about.instance_id.clone(),
                topics: ids.collect(),
                current: self.target(id),
            };
            (id.clone(), subscriber)
        };
        self.members.iter().map(subscriber).collect()
    }
}

fn partition_counts(
    subscribers: &BTreeMap<String, Subscriber>,
    topics: &Topics,
) -> assignor::PartitionCounts {
    let ids: BTreeSet<_> = subscribers.values().flat_map(|s| &s.topics).collect();
    ids.into_iter()
        .filter_map(|id| {
            let (_, count) = topics.get(topics.name(id)?)?;
            Some((*id, count))
        })
        .collect()
}
