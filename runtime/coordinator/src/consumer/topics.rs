//! The cluster's topics as groups see them.

use std::collections::{BTreeMap, BTreeSet};

pub type TopicId = [u8; 16];

/// Topics with their ids and partition counts, handed in by the host; a new one with each change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topics {
    /// Rises with each change.
    pub version: i64,
    by_name: BTreeMap<String, (TopicId, i32)>,
    names: BTreeMap<TopicId, String>,
}

impl Topics {
    /// From (name, id, number of partitions).
    pub fn new(version: i64, topics: impl IntoIterator<Item = (String, TopicId, i32)>) -> Topics {
        let mut all = Topics {
            version,
            ..Topics::default()
        };
        for (name, id, partitions) in topics {
            all.names.insert(id, name.clone());
            all.by_name.insert(name, (id, partitions));
        }
        all
    }

    pub fn name(&self, id: &TopicId) -> Option<&str> {
        self.names.get(id).map(String::as_str)
    }

    pub fn id(&self, name: &str) -> Option<TopicId> {
        self.by_name.get(name).map(|(id, _)| *id)
    }

    pub(crate) fn get(&self, name: &str) -> Option<(TopicId, i32)> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Changes when a topic of these names comes, goes, or gets partitions; the same in every run, since it is stored.
    /// 0 when none of them exists, as in Kafka.
    pub(crate) fn hash(&self, names: &BTreeSet<&str>) -> i64 {
        let known: Vec<_> = names
            .iter()
            .filter_map(|name| self.by_name.get(*name).map(|topic| (*name, topic)))
            .collect();
        if known.is_empty() {
            return 0;
        }
        let mut hash = Fnv::default();
        for (name, (id, partitions)) in known {
            hash.add(&(name.len() as u64).to_be_bytes());
            hash.add(name.as_bytes());
            hash.add(id);
            hash.add(&partitions.to_be_bytes());
        }
        // 0 means "no topics".
        match i64::from_be_bytes(hash.0.to_be_bytes()) {
            0 => 1,
            hash => hash,
        }
    }
}

/// FNV-1a, 64 bits: fixed for all time, unlike the standard library's hasher.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_follows_the_topics_of_these_names_and_nothing_else() {
        let topics = |version, partitions, id| {
            let all = [
                ("a".to_owned(), [id; 16], partitions),
                ("b".to_owned(), [9; 16], 1),
            ];
            Topics::new(version, all)
        };
        let of_a = |topics: Topics| topics.hash(&["a", "absent"].into());
        let base = of_a(topics(1, 3, 1));
        assert_eq!(base, of_a(topics(2, 3, 1)));
        assert_ne!(base, of_a(topics(1, 4, 1)), "partitions");
        assert_ne!(base, of_a(topics(1, 3, 2)), "created anew");
        assert_eq!(topics(1, 3, 1).hash(&["absent"].into()), 0);
        assert_ne!(base, 0);
    }
}
