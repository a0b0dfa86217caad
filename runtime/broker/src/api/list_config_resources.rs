//! ListConfigResources (key 74), versions 0 and 1 (KIP-1142): what configs can be asked for. Version 0 knew only client
//! metrics (KIP-1000), of which there are none here.

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use kafka_protocol::protocol::StrBytes;
use tidegate_protocol::error::ErrorCode;

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct ListConfigResources;

/// Kafka's codes of config resources.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

/// First version that asks by type.
const BY_TYPE: i16 = 1;

impl KafkaApi for ListConfigResources {
    const KEY: i16 = 74;
    const SERVED: RangeInclusive<i16> = 0..=1;
    type Request = ListConfigResourcesRequest;

    async fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        request: ListConfigResourcesRequest,
    ) -> ListConfigResourcesResponse {
        let asked = match context.head.api_version >= BY_TYPE {
            true => wanted(request.resource_types),
            false => Ok(vec![CLIENT_METRICS]),
        };
        match asked {
            Err(code) => ListConfigResourcesResponse::default().with_error_code(code.code()),
            Ok(kinds) => {
                let found = kinds.into_iter().flat_map(|kind| resources(broker, kind));
                ListConfigResourcesResponse::default().with_config_resources(found.collect())
            }
        }
    }
}

/// Each type once; an empty list asks for all.
fn wanted(mut kinds: Vec<i8>) -> Result<Vec<i8>, ErrorCode> {
    const ALL: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];
    if kinds.iter().any(|kind| !ALL.contains(kind)) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    kinds.sort_unstable();
    kinds.dedup();
    Ok(if kinds.is_empty() {
        ALL.to_vec()
    } else {
        kinds
    })
}

fn resources(broker: &Broker, kind: i8) -> Vec<ConfigResource> {
    let image = broker.image();
    let names: Vec<String> = match kind {
        TOPIC => image.topics.values().map(|t| t.name.clone()).collect(),
        BROKER | BROKER_LOGGER => image.brokers.values().map(|b| b.id.to_string()).collect(),
        GROUP => image.group_configs.keys().cloned().collect(),
        _ => Vec::new(),
    };
    let resource = |name| {
        ConfigResource::default()
            .with_resource_name(StrBytes::from_string(name))
            .with_resource_type(kind)
    };
    names.into_iter().map(resource).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_asked_for_once_and_known() {
        assert_eq!(wanted(vec![]).unwrap(), [2, 4, 8, 16, 32]);
        assert_eq!(wanted(vec![4, 2, 4]).unwrap(), [2, 4]);
        assert_eq!(
            wanted(vec![2, 3]).unwrap_err(),
            ErrorCode::UnsupportedVersion
        );
    }
}
