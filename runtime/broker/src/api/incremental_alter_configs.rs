//! IncrementalAlterConfigs (key 44), versions 0 to 1 (KIP-339): set, delete, append to and subtract from lists.

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::config_changes::{Edit, Named, Wanted, alter_all, gather, value_of};
use super::topic_admin::AdminError;
use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct IncrementalAlterConfigs;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

impl KafkaApi for IncrementalAlterConfigs {
    const KEY: i16 = 44;
    const SERVED: RangeInclusive<i16> = 0..=1;
    type Request = IncrementalAlterConfigsRequest;

    async fn handle(
        broker: &Arc<Broker>,
        _context: &RequestContext,
        request: IncrementalAlterConfigsRequest,
    ) -> IncrementalAlterConfigsResponse {
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
        IncrementalAlterConfigsResponse::default().with_responses(responses)
    }
}

fn wanted(resource: &AlterConfigsResource) -> Result<Wanted, AdminError> {
    let edits = resource
        .configs
        .iter()
        .map(|config| Ok((config.name.to_string(), edit(config)?)));
    gather(edits).map(Wanted::Edits)
}

fn edit(config: &AlterableConfig) -> Result<Edit, AdminError> {
    let value = || value_of(&config.name, config.value.as_deref());
    match config.config_operation {
        SET => Ok(Edit::Set(value()?)),
        DELETE => Ok(Edit::Delete),
        APPEND => Ok(Edit::Append(value()?)),
        SUBTRACT => Ok(Edit::Subtract(value()?)),
        other => Err(AdminError::invalid_request(format!(
            "{other} is not an operation; set is {SET}, delete {DELETE}, append {APPEND}, subtract {SUBTRACT}"
        ))),
    }
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

#[cfg(test)]
mod tests {
    use kafka_protocol::protocol::StrBytes;
    use tidegate_protocol::error::ErrorCode;

    use super::*;

    fn of(operation: i8, value: Option<&'static str>) -> Result<Edit, ErrorCode> {
        let config = AlterableConfig::default()
            .with_name(StrBytes::from_static_str("cleanup.policy"))
            .with_config_operation(operation)
            .with_value(value.map(StrBytes::from_static_str));
        edit(&config).map_err(|error| error.code)
    }

    #[test]
    fn operations_are_kafkas() {
        assert_eq!(of(0, Some("v")), Ok(Edit::Set("v".into())));
        assert_eq!(of(1, None), Ok(Edit::Delete));
        assert_eq!(of(2, Some("v")), Ok(Edit::Append("v".into())));
        assert_eq!(of(3, Some("v")), Ok(Edit::Subtract("v".into())));
        for (operation, value) in [(0, None), (2, None), (3, None), (4, Some("v")), (-1, None)] {
            assert_eq!(of(operation, value), Err(ErrorCode::InvalidRequest));
        }
    }
}
