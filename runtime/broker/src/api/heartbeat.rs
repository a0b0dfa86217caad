//! Heartbeat (key 12), versions 0 to 4.

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};
use tidegate_coordinator::{GroupError, Reply, Request};

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct Heartbeat;

impl KafkaApi for Heartbeat {
    const KEY: i16 = 12;
    const SERVED: RangeInclusive<i16> = 0..=4;
    type Request = HeartbeatRequest;

    async fn handle(
        broker: &Arc<Broker>,
        _context: &RequestContext,
        request: HeartbeatRequest,
    ) -> HeartbeatResponse {
        let group = request.group_id.to_string();
        let beat = Request::Heartbeat {
            group: group.clone(),
            generation: request.generation_id,
            member_id: request.member_id.to_string(),
            group_instance_id: request.group_instance_id.map(|id| id.to_string()),
        };
        let outcome = match broker.groups.ask(broker, &group, beat).await {
            Ok(Reply::Heartbeat(outcome)) => outcome,
            Ok(_) => Err(GroupError::CoordinatorNotAvailable),
            Err(error) => Err(error),
        };
        HeartbeatResponse::default().with_error_code(outcome.err().map_or(0, GroupError::code))
    }
}
