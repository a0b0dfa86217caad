//! SyncGroup (key 14), versions 0 to 5.

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};
use kafka_protocol::protocol::StrBytes;
use tidegate_coordinator::{GroupError, Reply, Request, SyncRequest};

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct SyncGroup;

/// First version that carries the protocol (KIP-559).
const PROTOCOL: i16 = 5;

impl KafkaApi for SyncGroup {
    const KEY: i16 = 14;
    const SERVED: RangeInclusive<i16> = 0..=5;
    type Request = SyncGroupRequest;

    async fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        request: SyncGroupRequest,
    ) -> SyncGroupResponse {
        let sync = SyncRequest {
            group: request.group_id.to_string(),
            generation: request.generation_id,
            member_id: request.member_id.to_string(),
            group_instance_id: request.group_instance_id.map(|id| id.to_string()),
            protocol_type: request.protocol_type.map(|name| name.to_string()),
            protocol_name: request.protocol_name.map(|name| name.to_string()),
            assignments: request
                .assignments
                .into_iter()
                .map(|entry| (entry.member_id.to_string(), entry.assignment))
                .collect(),
        };
        let group = sync.group.clone();
        let outcome = match broker.groups.ask(broker, &group, Request::Sync(sync)).await {
            Ok(Reply::Sync(outcome)) => outcome,
            Ok(_) => Err(GroupError::CoordinatorNotAvailable),
            Err(error) => Err(error),
        };
        match outcome {
            Err(error) => SyncGroupResponse::default().with_error_code(error.code()),
            Ok(synced) => {
                let response = SyncGroupResponse::default().with_assignment(synced.assignment);
                if context.head.api_version < PROTOCOL {
                    return response;
                }
                response
                    .with_protocol_type(Some(StrBytes::from_string(synced.protocol_type)))
                    .with_protocol_name(Some(StrBytes::from_string(synced.protocol_name)))
            }
        }
    }
}
