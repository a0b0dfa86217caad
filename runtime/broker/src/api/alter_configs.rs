//! AlterConfigs (key 33), versions 0 to 2 (KIP-133): what is not named goes back to its default.

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::config_changes::{Named, Wanted, alter_all, gather, value_of};
use super::topic_admin::AdminError;
use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct AlterConfigs;

impl KafkaApi for AlterConfigs {
    const KEY: i16 = 33;
    const SERVED: RangeInclusive<i16> = 0..=2;
    type Request = AlterConfigsRequest;

    async fn handle(
        broker: &Arc<Broker>,
        _context: &RequestContext,
        request: AlterConfigsRequest,
    ) -> AlterConfigsResponse {
        let named = request
            .resources
            .iter()
            .map(|resource| Named {
                kind: resource.resource_type,
                name: &resource.resource_name,
                wanted: wanted(resource),
            })
            .collect();
        let answers = alter_all(broker, named, request.validate_only).await;
        let responses = request.resources.iter().zip(answers).map(respond).collect();
        AlterConfigsResponse::default().with_responses(responses)
    }
}

fn wanted(resource: &AlterConfigsResource) -> Result<Wanted, AdminError> {
    let configs = resource.configs.iter().map(|config| {
        let value = value_of(&config.name, config.value.as_deref())?;
        Ok((config.name.to_string(), value))
    });
    gather(configs).map(Wanted::Whole)
}

fn respond(
    (resource, answer): (&AlterConfigsResource, Result<(), AdminError>),
) -> AlterConfigsResourceResponse {
    let response = AlterConfigsResourceResponse::default()
        .with_error_message(None)
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone());
    match answer {
        Ok(()) => response,
        Err(error) => response
            .with_error_code(error.code.code())
            .with_error_message(error.text()),
    }
}
