//! JoinGroup (key 11), versions 0 to 9: classic groups, with static members (KIP-345) and known ids (KIP-394).

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use kafka_protocol::protocol::StrBytes;
use tidegate_coordinator::{GroupError, JoinRefusal, JoinRequest, Joined, Reply, Request};

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct JoinGroup;

/// First version in which a new member must come back with the id it is given.
const KNOWN_MEMBERS: i16 = 4;
const PROTOCOL_TYPE: i16 = 7;
const SKIP_ASSIGNMENT: i16 = 9;

impl KafkaApi for JoinGroup {
    const KEY: i16 = 11;
    const SERVED: RangeInclusive<i16> = 0..=9;
    type Request = JoinGroupRequest;

    async fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        request: JoinGroupRequest,
    ) -> JoinGroupResponse {
        let version = context.head.api_version;
        let member_id = request.member_id.to_string();
        let join = JoinRequest {
            group: request.group_id.to_string(),
            member_id: member_id.clone(),
            group_instance_id: request.group_instance_id.map(|id| id.to_string()),
            client_id: context.head.client_id.clone().unwrap_or_default(),
            client_host: format!("/{}", context.connection.peer.ip()),
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            protocol_type: request.protocol_type.to_string(),
            protocols: request
                .protocols
                .into_iter()
                .map(|protocol| (protocol.name.to_string(), protocol.metadata))
                .collect(),
            require_known_member: version >= KNOWN_MEMBERS,
            supports_skip_assignment: version >= SKIP_ASSIGNMENT,
            reason: request.reason.map(|reason| reason.to_string()),
        };
        let group = join.group.clone();
        let outcome = match broker.groups.ask(broker, &group, Request::Join(join)).await {
            Ok(Reply::Join(outcome)) => outcome,
            Ok(_) => Err(JoinRefusal {
                error: GroupError::CoordinatorNotAvailable,
                member_id,
            }),
            Err(error) => Err(JoinRefusal { error, member_id }),
        };
        match outcome {
            Ok(joined) => welcome(joined, version),
            Err(refusal) => refuse(refusal, version),
        }
    }
}

fn welcome(joined: Joined, version: i16) -> JoinGroupResponse {
    let members = joined
        .members
        .into_iter()
        .map(|member| {
            JoinGroupResponseMember::default()
                .with_member_id(StrBytes::from_string(member.member_id))
                .with_group_instance_id(member.group_instance_id.map(StrBytes::from_string))
                .with_metadata(member.metadata)
        })
        .collect();
    let response = JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_name(Some(StrBytes::from_string(joined.protocol_name)))
        .with_leader(StrBytes::from_string(joined.leader))
        .with_member_id(StrBytes::from_string(joined.member_id))
        .with_members(members);
    let response = match version >= PROTOCOL_TYPE {
        true => response.with_protocol_type(Some(StrBytes::from_string(joined.protocol_type))),
        false => response,
    };
    match version >= SKIP_ASSIGNMENT {
        true => response.with_skip_assignment(joined.skip_assignment),
        false => response,
    }
}

fn refuse(refusal: JoinRefusal, version: i16) -> JoinGroupResponse {
    let name = (version < PROTOCOL_TYPE).then(StrBytes::default);
    JoinGroupResponse::default()
        .with_error_code(refusal.error.code())
        .with_generation_id(-1)
        .with_protocol_name(name)
        .with_member_id(StrBytes::from_string(refusal.member_id))
}
