//! Who gets what: Kafka's two assignors. Each gives every partition of every subscribed topic to exactly one member that
//! subscribes to it.

mod range;
mod uniform;

use std::collections::{BTreeMap, BTreeSet};

use crate::consumer::{Partitions, TopicId};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    /// Spreads partitions evenly and moves as few as it can.
    Uniform,
    /// Gives each member the same range of every topic, so that topics of one size stay together.
    Range,
}

impl Assignor {
    pub fn by_name(name: &str) -> Option<Assignor> {
        match name {
            "uniform" => Some(Assignor::Uniform),
            "range" => Some(Assignor::Range),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }
}

/// Partitions of each topic that somebody subscribes to.
pub(crate) type PartitionCounts = BTreeMap<TopicId, i32>;

/// One member, as an assignor sees it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subscriber {
    pub(crate) instance_id: Option<String>,
    /// Topics that exist.
    pub(crate) topics: BTreeSet<TopicId>,
    /// What it was to hold so far.
    pub(crate) current: Partitions,
}

/// Every subscriber's share, which may be empty.
pub(crate) fn assign(
    assignor: Assignor,
    subscribers: &BTreeMap<String, Subscriber>,
    counts: &PartitionCounts,
) -> BTreeMap<String, Partitions> {
    match assignor {
        Assignor::Uniform => uniform::assign(subscribers, counts),
        Assignor::Range => range::assign(subscribers, counts),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn topic(n: u8) -> TopicId {
        [n; 16]
    }

    fn sizes(shares: &BTreeMap<String, Partitions>) -> Vec<usize> {
        let size = |share: &Partitions| share.values().map(BTreeSet::len).sum();
        shares.values().map(size).collect()
    }

    fn moved(before: &BTreeMap<String, Partitions>, after: &BTreeMap<String, Partitions>) -> usize {
        let kept: usize = before
            .iter()
            .filter_map(|(id, share)| Some((share, after.get(id)?)))
            .flat_map(|(share, now)| {
                share
                    .iter()
                    .map(|(t, p)| now.get(t).map_or(0, |n| n.intersection(p).count()))
            })
            .sum();
        sizes(before).iter().sum::<usize>() - kept
    }

    /// Every partition at exactly one member that subscribes to its topic.
    fn check(
        subscribers: &BTreeMap<String, Subscriber>,
        counts: &PartitionCounts,
        shares: &BTreeMap<String, Partitions>,
    ) {
        let mut seen: BTreeMap<(TopicId, i32), &String> = BTreeMap::new();
        for (id, share) in shares {
            for (topic, indexes) in share {
                assert!(!indexes.is_empty());
                assert!(subscribers[id].topics.contains(topic), "{id} subscribes");
                for index in indexes {
                    assert!((0..counts[topic]).contains(index));
                    assert!(seen.insert((*topic, *index), id).is_none(), "given twice");
                }
            }
        }
        let all: i32 = counts.values().sum();
        assert_eq!(seen.len(), all as usize, "every partition is given");
        assert_eq!(shares.len(), subscribers.len());
    }

    fn members(shape: &[(&str, Option<&str>, &[u8])]) -> BTreeMap<String, Subscriber> {
        shape
            .iter()
            .map(|(id, instance, topics)| {
                let subscriber = Subscriber {
                    instance_id: instance.map(str::to_owned),
                    topics: topics.iter().map(|n| topic(*n)).collect(),
                    current: Partitions::new(),
                };
                (id.to_string(), subscriber)
            })
            .collect()
    }

    #[test]
    fn ranges_stay_together_and_static_members_come_first() {
        let members = members(&[
            ("a", None, &[1, 2]),
            ("b", Some("i1"), &[1, 2]),
            ("c", Some("i0"), &[1, 2]),
        ]);
        let counts = PartitionCounts::from([(topic(1), 4), (topic(2), 4)]);
        let shares = assign(Assignor::Range, &members, &counts);
        for n in [1, 2] {
            assert_eq!(shares["c"][&topic(n)], [0, 1].into());
            assert_eq!(shares["b"][&topic(n)], [2].into());
            assert_eq!(shares["a"][&topic(n)], [3].into());
        }
    }

    #[test]
    fn a_member_that_joins_takes_no_more_than_its_share() {
        let counts = PartitionCounts::from([(topic(1), 6)]);
        let mut members = members(&[("a", None, &[1]), ("b", None, &[1])]);
        let first = assign(Assignor::Uniform, &members, &counts);
        assert_eq!(sizes(&first), [3, 3]);
        for (id, share) in &first {
            members.get_mut(id).unwrap().current = share.clone();
        }
        let newcomer = Subscriber {
            topics: [topic(1)].into(),
            ..Subscriber::default()
        };
        members.insert("c".to_owned(), newcomer);
        let second = assign(Assignor::Uniform, &members, &counts);
        assert_eq!(sizes(&second), [2, 2, 2]);
        assert_eq!(moved(&first, &second), 2);
    }

    fn groups() -> impl Strategy<Value = (BTreeMap<String, Subscriber>, PartitionCounts)> {
        let counts = proptest::collection::btree_map((0..5u8).prop_map(topic), 0..9i32, 1..5);
        let member = (
            proptest::option::of(0..9u8),
            proptest::collection::vec(0..5u8, 0..5),
            any::<bool>(),
        );
        let members = proptest::collection::btree_map("[a-h]", member, 1..7);
        (counts, members, any::<u64>(), any::<bool>()).prop_map(|(counts, shape, seed, same)| {
            let all: BTreeSet<TopicId> = counts.keys().copied().collect();
            let mut members: BTreeMap<String, Subscriber> = shape
                .into_iter()
                .map(|(id, (instance, topics, _))| {
                    let wanted = topics.into_iter().map(topic);
                    let topics = wanted.filter(|t| counts.contains_key(t)).collect();
                    let subscriber = Subscriber {
                        instance_id: instance.map(|n| format!("i{n}{id}")),
                        topics: if same { all.clone() } else { topics },
                        current: Partitions::new(),
                    };
                    (id, subscriber)
                })
                .collect();
            let wanted: BTreeSet<TopicId> =
                members.values().flat_map(|m| m.topics.clone()).collect();
            let counts: PartitionCounts = counts
                .into_iter()
                .filter(|(t, count)| wanted.contains(t) && *count > 0)
                .collect();
            for member in members.values_mut() {
                member.topics.retain(|t| counts.contains_key(t));
            }
            // Some former assignment: partitions dealt out by a number, also of topics that are gone.
            let ids: Vec<String> = members.keys().cloned().collect();
            for (n, index) in (0..20i32).enumerate() {
                let id = &ids[(seed.rotate_left(n as u32 * 3) % ids.len() as u64) as usize];
                let of = topic((seed.rotate_left(n as u32 * 7) % 6) as u8);
                let elsewhere = members
                    .values()
                    .any(|m| m.current.get(&of).is_some_and(|p| p.contains(&index)));
                if !elsewhere {
                    let current = &mut members.get_mut(id).unwrap().current;
                    current.entry(of).or_default().insert(index);
                }
            }
            (members, counts)
        })
    }

    proptest! {
        #[test]
        fn every_partition_goes_to_one_subscriber((members, counts) in groups()) {
            for assignor in [Assignor::Uniform, Assignor::Range] {
                let shares = assign(assignor, &members, &counts);
                check(&members, &counts, &shares);
            }
        }

        #[test]
        fn uniform_is_even_and_settles((mut members, counts) in groups()) {
            let shares = assign(Assignor::Uniform, &members, &counts);
            let topics: BTreeSet<_> = members.values().map(|m| m.topics.clone()).collect();
            if topics.len() == 1 {
                let sizes = sizes(&shares);
                prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
            }
            for (id, share) in &shares {
                members.get_mut(id).unwrap().current = share.clone();
            }
            prop_assert_eq!(assign(Assignor::Uniform, &members, &counts), shares, "nothing moves again");
        }
    }
}
