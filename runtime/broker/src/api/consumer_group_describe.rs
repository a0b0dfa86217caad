//! ConsumerGroupDescribe (key 69), versions 0 to 1 (KIP-848): state, epochs, assignor and members of groups whose
//! coordinator assigns; from version 1 on also which protocol a member speaks (KIP-1099).

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member, TopicPartitions,
};
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, GroupId, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use tidegate_coordinator::{
    BeatRefusal, DescribedConsumerGroup, DescribedConsumerMember, GroupError, NamedPartitions,
    Reply, Request,
};
use uuid::Uuid;

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct ConsumerGroupDescribe;

const MEMBER_TYPE: i16 = 1;
const CLASSIC_MEMBER: i8 = 0;
const CONSUMER_MEMBER: i8 = 1;

impl KafkaApi for ConsumerGroupDescribe {
    const KEY: i16 = 69;
    const SERVED: RangeInclusive<i16> = 0..=1;
    type Request = ConsumerGroupDescribeRequest;

    async fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        request: ConsumerGroupDescribeRequest,
    ) -> ConsumerGroupDescribeResponse {
        let mut groups = Vec::with_capacity(request.group_ids.len());
        for id in request.group_ids {
            groups.push(match describe(broker, &id).await {
                Ok(group) => described(id, group, context.head.api_version),
                Err(refusal) => DescribedGroup::default()
                    .with_group_id(id)
                    .with_error_code(refusal.error.code())
                    .with_error_message(Some(StrBytes::from_string(refusal.message))),
            });
        }
        ConsumerGroupDescribeResponse::default().with_groups(groups)
    }
}

async fn describe(
    broker: &Arc<Broker>,
    group: &GroupId,
) -> Result<DescribedConsumerGroup, BeatRefusal> {
    let refused = |error: GroupError| BeatRefusal {
        error,
        message: error.to_string(),
    };
    if group.is_empty() {
        return Err(refused(GroupError::InvalidGroupId));
    }
    let request = Request::DescribeConsumer {
        group: group.to_string(),
    };
    match broker.groups.ask(broker, group, request).await {
        Ok(Reply::DescribeConsumer(described)) => described,
        Ok(_) => Err(refused(GroupError::CoordinatorNotAvailable)),
        Err(error) => Err(refused(error)),
    }
}

fn described(id: GroupId, group: DescribedConsumerGroup, version: i16) -> DescribedGroup {
    let members = group.members.into_iter();
    DescribedGroup::default()
        .with_group_id(id)
        .with_group_state(StrBytes::from_static_str(group.state.as_str()))
        .with_group_epoch(group.epoch)
        .with_assignment_epoch(group.assignment_epoch)
        .with_assignor_name(StrBytes::from_string(group.assignor))
        .with_members(members.map(|member| tell(member, version)).collect())
}

fn tell(member: DescribedConsumerMember, version: i16) -> Member {
    let names = member.subscribed_names.into_iter();
    let told = Member::default()
        .with_member_id(StrBytes::from_string(member.member_id))
        .with_instance_id(member.instance_id.map(StrBytes::from_string))
        .with_rack_id(member.rack_id.map(StrBytes::from_string))
        .with_member_epoch(member.epoch)
        .with_client_id(StrBytes::from_string(member.client_id))
        .with_client_host(StrBytes::from_string(member.client_host))
        .with_subscribed_topic_names(
            names
                .map(|name| TopicName(StrBytes::from_string(name)))
                .collect(),
        )
        .with_subscribed_topic_regex(member.subscribed_regex.map(StrBytes::from_string))
        .with_assignment(assignment(member.assignment))
        .with_target_assignment(assignment(member.target));
    match (version >= MEMBER_TYPE, member.is_classic) {
        (true, true) => told.with_member_type(CLASSIC_MEMBER),
        (true, false) => told.with_member_type(CONSUMER_MEMBER),
        (false, _) => told,
    }
}

fn assignment(topics: Vec<NamedPartitions>) -> Assignment {
    let topic = |topic: NamedPartitions| {
        TopicPartitions::default()
            .with_topic_id(Uuid::from_bytes(topic.id))
            .with_topic_name(TopicName(StrBytes::from_string(topic.name)))
            .with_partitions(topic.partitions)
    };
    Assignment::default().with_topic_partitions(topics.into_iter().map(topic).collect())
}

#[cfg(test)]
mod tests {
    use tidegate_coordinator::GroupState;

    use super::*;

    #[test]
    fn every_version_can_be_encoded() {
        let share = vec![NamedPartitions {
            id: [7; 16],
            name: "t".into(),
            partitions: vec![1],
        }];
        let member = DescribedConsumerMember {
            member_id: "m".into(),
            instance_id: None,
            rack_id: Some("r".into()),
            epoch: 2,
            client_id: "c".into(),
            client_host: "/h".into(),
            subscribed_names: vec!["t".into()],
            subscribed_regex: None,
            assignment: share.clone(),
            target: share,
            is_classic: true,
        };
        let group = DescribedConsumerGroup {
            group: "g".into(),
            state: GroupState::Reconciling,
            epoch: 3,
            assignment_epoch: 2,
            assignor: "uniform".into(),
            members: vec![member],
        };
        for version in ConsumerGroupDescribe::SERVED {
            let id = GroupId(StrBytes::from_static_str("g"));
            let told = described(id, group.clone(), version);
            assert_eq!(told.group_state.as_str(), "Reconciling");
            let response = ConsumerGroupDescribeResponse::default().with_groups(vec![told]);
            tidegate_protocol::encode_response(69, version, 1, &response).unwrap();
        }
    }
}
