//! An even spread that keeps what is where it is, as far as it can.
//!
//! With one subscription for all, each member's share is the number of partitions divided by members, and some have one
//! more; what a member has beyond its share is given to those below theirs. With several subscriptions, partitions
//! without a member go to the subscriber with the least, and then move from who has at least two more than another
//! subscriber of the topic. Each such move makes the sum of the squares of the shares smaller, so there is an end.

use std::collections::{BTreeMap, BTreeSet};

use crate::consumer::assignor::{PartitionCounts, Subscriber};
use crate::consumer::{Partitions, TopicId};

pub(super) fn assign(
    subscribers: &BTreeMap<String, Subscriber>,
    counts: &PartitionCounts,
) -> BTreeMap<String, Partitions> {
    let mut spread = Spread::keep(subscribers, counts);
    let subscriptions: BTreeSet<_> = subscribers.values().map(|member| &member.topics).collect();
    match subscriptions.len() <= 1 {
        true => spread.trim_to_quota(),
        false => spread.give_to_least(subscribers),
    }
    spread.shares
}

struct Spread {
    shares: BTreeMap<String, Partitions>,
    sizes: BTreeMap<String, usize>,
    /// Partitions that nobody has.
    free: Vec<(TopicId, i32)>,
}

impl Spread {
    /// What members have and may keep.
    fn keep(subscribers: &BTreeMap<String, Subscriber>, counts: &PartitionCounts) -> Spread {
        let mut free: BTreeSet<(TopicId, i32)> = counts
            .iter()
            .flat_map(|(topic, count)| (0..*count).map(|index| (*topic, index)))
            .collect();
        let mut spread = Spread {
            shares: BTreeMap::new(),
            sizes: BTreeMap::new(),
            free: Vec::new(),
        };
        for (id, member) in subscribers {
            let share = spread.shares.entry(id.clone()).or_default();
            let size = spread.sizes.entry(id.clone()).or_default();
            for (topic, indexes) in &member.current {
                for index in indexes {
                    // A partition is kept once, and only of a topic that is still there and subscribed to.
                    if member.topics.contains(topic) && free.remove(&(*topic, *index)) {
                        share.entry(*topic).or_default().insert(*index);
                        *size += 1;
                    }
                }
            }
        }
        spread.free = free.into_iter().collect();
        spread
    }

    fn trim_to_quota(&mut self) {
        let members = self.sizes.len();
        let all = self.free.len() + self.sizes.values().sum::<usize>();
        let (Some(quota), Some(mut extra)) = (all.checked_div(members), all.checked_rem(members))
        else {
            return;
        };
        // Who has the most keeps the most, so that as few as possible move.
        let mut order: Vec<(String, usize)> = self
            .sizes
            .iter()
            .map(|(id, size)| (id.clone(), *size))
            .collect();
        order.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let mut quotas = Vec::new();
        for (id, size) in order {
            let quota = quota + usize::from(extra > 0);
            extra = extra.saturating_sub(1);
            for _ in quota..size {
                let dropped = self.drop_last(&id);
                self.free.extend(dropped);
            }
            quotas.push((id, quota));
        }
        self.free.sort_unstable_by(|a, b| b.cmp(a));
        for (id, quota) in quotas {
            let size = self.sizes.get(&id).copied().unwrap_or_default();
            for _ in size..quota {
                if let Some((topic, index)) = self.free.pop() {
                    self.give(&id, topic, index);
                }
            }
        }
    }

    fn give_to_least(&mut self, subscribers: &BTreeMap<String, Subscriber>) {
        let mut of_topic: BTreeMap<TopicId, Vec<&String>> = BTreeMap::new();
        for (id, member) in subscribers {
            for topic in &member.topics {
                of_topic.entry(*topic).or_default().push(id);
            }
        }
        // Topics with few subscribers first: the others have more choice left.
        let mut free = std::mem::take(&mut self.free);
        free.sort_by_key(|(topic, index)| {
            (of_topic.get(topic).map_or(0, Vec::len), *topic, *index)
        });
        for (topic, index) in free {
            if let Some(id) = self.least(of_topic.get(&topic)) {
                self.give(&id, topic, index);
            }
        }
        while self.even_out(&of_topic) {}
    }

    /// Moves partitions from members with at least two more than another subscriber; says whether any moved.
    fn even_out(&mut self, of_topic: &BTreeMap<TopicId, Vec<&String>>) -> bool {
        let mut moved = false;
        let ids: Vec<String> = self.shares.keys().cloned().collect();
        for id in ids {
            let share = self.shares.get(&id).cloned().unwrap_or_default();
            let held = share
                .iter()
                .flat_map(|(topic, indexes)| indexes.iter().map(|index| (*topic, *index)));
            for (topic, index) in held {
                let Some(least) = self.least(of_topic.get(&topic)) else {
                    continue;
                };
                let size = |id: &String| self.sizes.get(id).copied().unwrap_or_default();
                if size(&id) > size(&least) + 1 {
                    self.drop_one(&id, topic, index);
                    self.give(&least, topic, index);
                    moved = true;
                }
            }
        }
        moved
    }

    fn least(&self, ids: Option<&Vec<&String>>) -> Option<String> {
        let size = |id: &&&String| self.sizes.get(**id).copied().unwrap_or_default();
        ids?.iter().min_by_key(size).map(|id| (*id).clone())
    }

    fn give(&mut self, id: &str, topic: TopicId, index: i32) {
        if let Some(share) = self.shares.get_mut(id) {
            share.entry(topic).or_default().insert(index);
        }
        if let Some(size) = self.sizes.get_mut(id) {
            *size += 1;
        }
    }

    fn drop_last(&mut self, id: &str) -> Option<(TopicId, i32)> {
        let (topic, indexes) = self.shares.get(id)?.last_key_value()?;
        let last = (*topic, *indexes.last()?);
        self.drop_one(id, last.0, last.1);
        Some(last)
    }

    fn drop_one(&mut self, id: &str, topic: TopicId, index: i32) {
        let Some(share) = self.shares.get_mut(id) else {
            return;
        };
        if let Some(indexes) = share.get_mut(&topic) {
            indexes.remove(&index);
            if indexes.is_empty() {
                share.remove(&topic);
            }
        }
        if let Some(size) = self.sizes.get_mut(id) {
            *size = size.saturating_sub(1);
        }
    }
}
