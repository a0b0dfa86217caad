//! FindCoordinator (key 10), versions 0 to 6: this broker, for every group and transactional id.
//!
//! Not served: share groups, which are told so with INVALID_REQUEST.

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;
use tidegate_protocol::error::ErrorCode;

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct FindCoordinator;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
/// First version that asks for many keys at once (KIP-699).
const MANY_KEYS: i16 = 4;

impl KafkaApi for FindCoordinator {
    const KEY: i16 = 10;
    const SERVED: RangeInclusive<i16> = 0..=6;
    type Request = FindCoordinatorRequest;

    async fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        request: FindCoordinatorRequest,
    ) -> FindCoordinatorResponse {
        let many = context.head.api_version >= MANY_KEYS;
        let keys = if many {
            request.coordinator_keys
        } else {
            vec![request.key]
        };
        let found = find(broker, request.key_type).await;
        let mut coordinators = keys.into_iter().map(|key| match &found {
            Ok((host, port)) => Coordinator::default()
                .with_key(key)
                .with_node_id(BrokerId(broker.node_id()))
                .with_host(host.clone())
                .with_port(*port),
            Err((code, message)) => Coordinator::default()
                .with_key(key)
                .with_node_id(BrokerId(-1))
                .with_port(-1)
                .with_error_code(code.code())
                .with_error_message(Some(StrBytes::from_static_str(message))),
        });
        if many {
            return FindCoordinatorResponse::default().with_coordinators(coordinators.collect());
        }
        let only = coordinators.next().unwrap_or_default();
        FindCoordinatorResponse::default()
            .with_error_code(only.error_code)
            .with_error_message(only.error_message)
            .with_node_id(only.node_id)
            .with_host(only.host)
            .with_port(only.port)
    }
}

type NotFound = (ErrorCode, &'static str);

async fn find(broker: &Arc<Broker>, key_type: i8) -> Result<(StrBytes, i32), NotFound> {
    let unavailable = (
        ErrorCode::CoordinatorNotAvailable,
        "the coordinator is not ready yet",
    );
    let ready = match key_type {
        GROUP => broker.groups.ensure(broker).await.is_ok(),
        TRANSACTION => broker.transactions.ensure(broker).await.is_ok(),
        _ => {
            return Err((
                ErrorCode::InvalidRequest,
                "this version of the broker coordinates consumer groups and transactions only",
            ));
        }
    };
    if !ready {
        return Err(unavailable);
    }
    let image = broker.image();
    let listener = image
        .brokers
        .get(&broker.node_id())
        .and_then(|registered| registered.listeners.first())
        .ok_or(unavailable)?;
    Ok((
        StrBytes::from_string(listener.host.clone()),
        i32::from(listener.port),
    ))
}
