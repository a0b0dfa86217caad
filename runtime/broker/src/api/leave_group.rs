//! LeaveGroup (key 13), versions 0 to 5: one member, or many from version 3 on (KIP-345).

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};
use kafka_protocol::protocol::StrBytes;
use tidegate_coordinator::{GroupError, LeavingMember, LeftMember, Reply, Request};

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct LeaveGroup;

const MANY_MEMBERS: i16 = 3;

impl KafkaApi for LeaveGroup {
    const KEY: i16 = 13;
    const SERVED: RangeInclusive<i16> = 0..=5;
    type Request = LeaveGroupRequest;

    async fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        request: LeaveGroupRequest,
    ) -> LeaveGroupResponse {
        let group = request.group_id.to_string();
        let many = context.head.api_version >= MANY_MEMBERS;
        let members = match many {
            false => vec![LeavingMember {
                member_id: request.member_id.to_string(),
                group_instance_id: None,
            }],
            true => request
                .members
                .into_iter()
                .map(|member| LeavingMember {
                    member_id: member.member_id.to_string(),
                    group_instance_id: member.group_instance_id.map(|id| id.to_string()),
                })
                .collect(),
        };
        let leave = Request::Leave {
            group: group.clone(),
            members,
        };
        let outcome = match broker.groups.ask(broker, &group, leave).await {
            Ok(Reply::Leave(outcome)) => outcome,
            Ok(_) => Err(GroupError::CoordinatorNotAvailable),
            Err(error) => Err(error),
        };
        match outcome {
            Err(error) => LeaveGroupResponse::default().with_error_code(error.code()),
            Ok(left) if many => LeaveGroupResponse::default()
                .with_members(left.into_iter().map(left_member).collect()),
            Ok(left) => {
                let error = left.first().and_then(|member| member.result.err());
                LeaveGroupResponse::default().with_error_code(error.map_or(0, GroupError::code))
            }
        }
    }
}

fn left_member(member: LeftMember) -> MemberResponse {
    MemberResponse::default()
        .with_member_id(StrBytes::from_string(member.member_id))
        .with_group_instance_id(member.group_instance_id.map(StrBytes::from_string))
        .with_error_code(member.result.err().map_or(0, GroupError::code))
}
