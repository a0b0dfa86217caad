//! DescribeGroups (key 15), versions 0 to 6. A group nobody knows is `Dead`, and an error from version 6 on (KIP-1043).
//! One that is asked for twice is told once: with its members' metadata it can be a million times longer than its name.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};
use kafka_protocol::protocol::StrBytes;
use tidegate_coordinator::{DescribedGroup as Group, DescribedMember, GroupError};

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct DescribeGroups;

const STATIC_MEMBERS: i16 = 4;
const NOT_FOUND_IS_AN_ERROR: i16 = 6;

impl KafkaApi for DescribeGroups {
    const KEY: i16 = 15;
    const SERVED: RangeInclusive<i16> = 0..=6;
    type Request = DescribeGroupsRequest;

    async fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        request: DescribeGroupsRequest,
    ) -> DescribeGroupsResponse {
        let version = context.head.api_version;
        let mut groups = Vec::with_capacity(request.groups.len());
        let mut told = HashSet::new();
        for id in request.groups {
            if !told.insert(id.clone()) {
                continue;
            }
            groups.push(match broker.groups.describe(broker, &id).await {
                Ok(group) => described(id, group, version),
                Err(error) => unknown(id, error, version),
            });
        }
        DescribeGroupsResponse::default().with_groups(groups)
    }
}

fn described(id: GroupId, group: Group, version: i16) -> DescribedGroup {
    let members = group
        .members
        .into_iter()
        .map(|member| describe(member, version))
        .collect();
    DescribedGroup::default()
        .with_group_id(id)
        .with_group_state(StrBytes::from_static_str(group.state.as_str()))
        .with_protocol_type(StrBytes::from_string(group.protocol_type))
        .with_protocol_data(StrBytes::from_string(group.protocol))
        .with_members(members)
}

fn describe(member: DescribedMember, version: i16) -> DescribedGroupMember {
    let described = DescribedGroupMember::default()
        .with_member_id(StrBytes::from_string(member.member_id))
        .with_client_id(StrBytes::from_string(member.client_id))
        .with_client_host(StrBytes::from_string(member.client_host))
        .with_member_metadata(member.metadata)
        .with_member_assignment(member.assignment);
    match version >= STATIC_MEMBERS {
        true => {
            described.with_group_instance_id(member.group_instance_id.map(StrBytes::from_string))
        }
        false => described,
    }
}

fn unknown(id: GroupId, error: GroupError, version: i16) -> DescribedGroup {
    let not_found = error == GroupError::GroupIdNotFound;
    let sentence = format!("group {} does not exist", *id);
    let group = DescribedGroup::default()
        .with_group_id(id)
        .with_group_state(StrBytes::from_static_str("Dead"));
    match (not_found, version >= NOT_FOUND_IS_AN_ERROR) {
        (true, false) => group,
        (true, true) => group
            .with_error_code(error.code())
            .with_error_message(Some(StrBytes::from_string(sentence))),
        (false, _) => group.with_error_code(error.code()),
    }
}
