//! DescribeCluster (key 60), versions 0 to 2 (KIP-700, KIP-919): the brokers, and who is the controller.
//!
//! Only the brokers' endpoints; the controllers' are not for clients here.

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};
use kafka_protocol::protocol::StrBytes;
use tidegate_metadata::Image;
use tidegate_protocol::error::ErrorCode;

use super::topic_admin::AdminError;
use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct DescribeCluster;

/// Kafka's bits for CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS and IDEMPOTENT_WRITE.
pub(super) const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;
const ENDPOINT_TYPES: i16 = 1;
const FENCED_BROKERS: i16 = 2;

impl KafkaApi for DescribeCluster {
    const KEY: i16 = 60;
    const SERVED: RangeInclusive<i16> = 0..=2;
    type Request = DescribeClusterRequest;

    async fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        request: DescribeClusterRequest,
    ) -> DescribeClusterResponse {
        let version = context.head.api_version;
        describe(&broker.image(), broker.node_id(), version, &request)
    }
}

fn describe(
    image: &Image,
    controller: i32,
    version: i16,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    if let Err(error) = check_endpoint(version, request.endpoint_type) {
        return DescribeClusterResponse::default()
            .with_error_code(error.code.code())
            .with_error_message(error.text());
    }
    let fenced_too = version >= FENCED_BROKERS && request.include_fenced_brokers;
    let brokers = image
        .brokers
        .values()
        .filter(|row| fenced_too || !row.fenced)
        .filter_map(|row| {
            let listener = row.listeners.first()?;
            let told = DescribeClusterBroker::default()
                .with_broker_id(BrokerId(row.id))
                .with_host(StrBytes::from_string(listener.host.clone()))
                .with_port(i32::from(listener.port))
                .with_rack(row.rack.clone().map(StrBytes::from_string));
            Some(if fenced_too {
                told.with_is_fenced(row.fenced)
            } else {
                told
            })
        })
        .collect();
    let response = DescribeClusterResponse::default()
        .with_cluster_id(StrBytes::from_string(image.cluster_id.clone()))
        .with_controller_id(BrokerId(controller))
        .with_brokers(brokers);
    match request.include_cluster_authorized_operations {
        true => response.with_cluster_authorized_operations(CLUSTER_OPERATIONS),
        false => response,
    }
}

fn check_endpoint(version: i16, endpoint: i8) -> Result<(), AdminError> {
    match endpoint {
        _ if version < ENDPOINT_TYPES => Ok(()),
        BROKERS => Ok(()),
        CONTROLLERS => Err(AdminError::new(
            ErrorCode::MismatchedEndpointType,
            "this is a broker's port; ask for the endpoints of brokers (1)",
        )),
        other => Err(AdminError::new(
            ErrorCode::UnsupportedEndpointType,
            format!("{other} is not an endpoint type; ask for the endpoints of brokers (1)"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_metadata::{BrokerSpec, Command, Listener, apply};

    use super::*;

    fn image() -> Image {
        let command = Command::RegisterBroker(BrokerSpec {
            id: 4,
            listeners: vec![Listener {
                name: "PLAINTEXT".into(),
                host: "h".into(),
                port: 9092,
            }],
            rack: Some("r".into()),
            incarnation: [1; 16],
        });
        apply(&Image::default(), &command).unwrap().0
    }

    #[test]
    fn brokers_are_told_and_operations_only_when_asked_for() {
        let asked = DescribeClusterRequest::default()
            .with_endpoint_type(BROKERS)
            .with_include_fenced_brokers(true);
        let mut image = image();
        if let Some(row) = image.brokers.get_mut(&4) {
            row.fenced = true;
        }
        for version in DescribeCluster::SERVED {
            let response = describe(&image, 4, version, &asked);
            tidegate_protocol::encode_response(60, version, 1, &response).unwrap();
            assert_eq!(response.brokers.len(), usize::from(version == 2));
            assert_eq!(response.cluster_authorized_operations, i32::MIN);
        }
        let asked = asked.with_include_cluster_authorized_operations(true);
        let response = describe(&image, 4, 2, &asked);
        assert_eq!(response.cluster_authorized_operations, 8096);
        assert_eq!(
            (response.brokers[0].port, response.controller_id.0),
            (9092, 4)
        );
    }

    #[test]
    fn only_brokers_endpoints_are_served() {
        for (endpoint, code) in [(2, 114), (7, 115)] {
            let asked = DescribeClusterRequest::default().with_endpoint_type(endpoint);
            let response = describe(&image(), 4, 1, &asked);
            assert_eq!(response.error_code, code);
            tidegate_protocol::encode_response(60, 1, 1, &response).unwrap();
        }
    }
}
