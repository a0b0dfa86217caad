//! What can be asked of groups without changing them.

use crate::error::GroupError;
use crate::group::{Group, Phase};
use crate::request::{DescribedGroup, DescribedMember, FoundOffset, ListedGroup, TopicOffsets};
use crate::subscription::CONSUMER;

const CLASSIC: &str = "classic";

impl Group {
    pub(crate) fn describe(&self) -> DescribedGroup {
        let stable = self.phase == Phase::Stable;
        let protocol = self.protocol.clone().filter(|_| stable).unwrap_or_default();
        let members = self.members.values().map(|member| DescribedMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: if stable {
                member.metadata(&protocol)
            } else {
                Default::default()
            },
            assignment: if stable {
                member.assignment.clone()
            } else {
                Default::default()
            },
        });
        DescribedGroup {
            group: self.name.clone(),
            state: self.state(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            members: members.collect(),
            protocol,
        }
    }

    pub(crate) fn list(&self, states: &[String], types: &[String]) -> Option<ListedGroup> {
        let state = self.state();
        let passes = |filter: &[String], name: &str| {
            filter.is_empty()
                || filter
                    .iter()
                    .any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        // Both are called "consumer": the type of the group, and what its members are.
        let (group_type, protocol_type) = match self.consumer {
            Some(_) => (CONSUMER, Some(CONSUMER.to_owned())),
            None => (CLASSIC, self.protocol_type.clone()),
        };
        (passes(states, state.as_str()) && passes(types, group_type)).then(|| ListedGroup {
            group: self.name.clone(),
            protocol_type: protocol_type.unwrap_or_default(),
            state,
            group_type,
        })
    }

    pub(crate) fn all_offsets(&self, require_stable: bool) -> TopicOffsets {
        let mut topics: TopicOffsets = Vec::new();
        for key in self.offsets.keys() {
            let (topic, partition) = key;
            let entry = (*partition, self.offset(key, require_stable));
            match topics.last_mut() {
                Some((last, partitions)) if last == topic => partitions.push(entry),
                _ => topics.push((topic.clone(), vec![entry])),
            }
        }
        topics
    }

    fn offset(&self, key: &(String, i32), require_stable: bool) -> FoundOffset {
        match require_stable && self.transactional.contains(key) {
            true => Err(GroupError::UnstableOffsetCommit),
            false => Ok(self.offsets.get(key).cloned()),
        }
    }
}

/// The asked offsets of a group that may not be there, in the order asked.
pub(crate) fn asked_offsets(
    group: Option<&Group>,
    asked: Vec<(String, Vec<i32>)>,
    require_stable: bool,
) -> TopicOffsets {
    let find = |topic: &str, partition: i32| match group {
        Some(group) => group.offset(&(topic.to_owned(), partition), require_stable),
        None => Ok(None),
    };
    asked
        .into_iter()
        .map(|(topic, partitions)| {
            let found = partitions
                .into_iter()
                .map(|p| (p, find(&topic, p)))
                .collect();
            (topic, found)
        })
        .collect()
}
