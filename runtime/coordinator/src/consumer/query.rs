//! What can be asked of consumer groups without changing them.

use crate::consumer::beat::{DescribedConsumerGroup, DescribedConsumerMember, NamedPartitions};
use crate::consumer::group::ConsumerGroup;
use crate::consumer::member::Member;
use crate::consumer::{Assignor, Partitions, Topics};

impl ConsumerGroup {
    pub(crate) fn describe(
        &self,
        name: &str,
        assignors: &[Assignor],
        topics: &Topics,
    ) -> DescribedConsumerGroup {
        let members = self.members.values();
        DescribedConsumerGroup {
            group: name.to_owned(),
            state: self.state(),
            epoch: self.epoch,
            assignment_epoch: self.assignment_epoch,
            assignor: self.assignor(assignors).name().to_owned(),
            members: members.map(|m| self.describe_member(m, topics)).collect(),
        }
    }

    fn describe_member(&self, member: &Member, topics: &Topics) -> DescribedConsumerMember {
        let about = &member.about;
        DescribedConsumerMember {
            member_id: member.id.clone(),
            instance_id: about.instance_id.clone(),
            rack_id: about.rack_id.clone(),
            epoch: member.epoch,
            client_id: about.client_id.clone(),
            client_host: about.client_host.clone(),
            subscribed_names: about.subscribed_names.iter().cloned().collect(),
            subscribed_regex: about.subscribed_regex.clone(),
            assignment: named(&member.assigned, topics),
            target: named(&self.target(&member.id), topics),
            is_classic: member.is_classic(),
        }
    }
}

/// Topics that were deleted have no name, and are left out.
fn named(partitions: &Partitions, topics: &Topics) -> Vec<NamedPartitions> {
    let of_topic =
        |(id, indexes): (&crate::consumer::TopicId, &std::collections::BTreeSet<i32>)| {
            Some(NamedPartitions {
                id: *id,
                name: topics.name(id)?.to_owned(),
                partitions: indexes.iter().copied().collect(),
            })
        };
    partitions.iter().filter_map(of_topic).collect()
}
