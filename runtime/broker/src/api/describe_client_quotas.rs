//! DescribeClientQuotas (key 48), versions 0 to 1 (KIP-546): the limits of the entities that a filter matches.

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use kafka_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};
use kafka_protocol::protocol::StrBytes;
use tidegate_metadata::quota::{QuotaFilter, QuotaMatch};
use tidegate_protocol::error::ErrorCode;

use super::quota_entities;
use super::topic_admin::AdminError;
use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct DescribeClientQuotas;

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

impl KafkaApi for DescribeClientQuotas {
    const KEY: i16 = 48;
    const SERVED: RangeInclusive<i16> = 0..=1;
    type Request = DescribeClientQuotasRequest;

    async fn handle(
        broker: &Arc<Broker>,
        _context: &RequestContext,
        request: DescribeClientQuotasRequest,
    ) -> DescribeClientQuotasResponse {
        let response = DescribeClientQuotasResponse::default().with_error_message(None);
        let filter = match filter(&request) {
            Ok(filter) => filter,
            Err(error) => {
                return response
                    .with_error_code(error.code.code())
                    .with_error_message(error.text())
                    .with_entries(None);
            }
        };
        let image = broker.image();
        let rows = image.quotas.iter();
        let entries = rows
            .filter(|(entity, _)| filter.matches(entity))
            .map(|(entity, limits)| {
                let parts = quota_entities::told(entity).into_iter();
                let parts = parts.map(|(kind, name)| {
                    EntityData::default()
                        .with_entity_type(kind)
                        .with_entity_name(name)
                });
                let values = limits.iter().map(|(key, limit)| {
                    ValueData::default()
                        .with_key(StrBytes::from_string(key.clone()))
                        .with_value(*limit)
                });
                EntryData::default()
                    .with_entity(parts.collect())
                    .with_values(values.collect())
            });
        response.with_entries(Some(entries.collect()))
    }
}

fn filter(request: &DescribeClientQuotasRequest) -> Result<QuotaFilter, AdminError> {
    let mut filter = QuotaFilter {
        strict: request.strict,
        ..QuotaFilter::default()
    };
    for component in &request.components {
        let kind = component.entity_type.as_str();
        let places = (&mut filter.user, &mut filter.client_id, &mut filter.ip);
        let place = quota_entities::at(places, kind).map_err(|why| match kind.is_empty() {
            true => AdminError::invalid_request(why),
            // As Kafka says it of types that another broker may know.
            false => AdminError::new(ErrorCode::UnsupportedVersion, why),
        })?;
        if place.replace(wanted(component)?).is_some() {
            let why = format!("the filter has more than one {kind}");
            return Err(AdminError::invalid_request(why));
        }
    }
    if filter.ip.is_some() && (filter.user.is_some() || filter.client_id.is_some()) {
        return Err(AdminError::invalid_request(
            "a filter for an ip cannot be combined with a user or a client-id",
        ));
    }
    Ok(filter)
}

fn wanted(component: &ComponentData) -> Result<QuotaMatch, AdminError> {
    match (component.match_type, &component._match) {
        (EXACT, Some(name)) => {
            let name = quota_entities::written(&component.entity_type, name);
            Ok(QuotaMatch::Exact(name))
        }
        (DEFAULT, None) => Ok(QuotaMatch::Default),
        (ANY, None) => Ok(QuotaMatch::Any),
        (EXACT, None) => Err(AdminError::invalid_request(
            "an exact match needs the name to match",
        )),
        (DEFAULT | ANY, Some(_)) => Err(AdminError::invalid_request(
            "a match of the default, or of any name, has no name",
        )),
        (other, _) => Err(AdminError::invalid_request(format!(
            "{other} is not a way to match; exact is {EXACT}, default {DEFAULT}, any {ANY}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(kind: &str, match_type: i8, name: Option<&str>) -> ComponentData {
        ComponentData::default()
            .with_entity_type(StrBytes::from_string(kind.to_owned()))
            .with_match_type(match_type)
            .with_match(name.map(|name| StrBytes::from_string(name.to_owned())))
    }

    fn read(components: Vec<ComponentData>) -> Result<QuotaFilter, ErrorCode> {
        let request = DescribeClientQuotasRequest::default()
            .with_components(components)
            .with_strict(true);
        filter(&request).map_err(|error| error.code)
    }

    #[test]
    fn filters_read_as_kafka_numbers_them() {
        let both = read(vec![
            component("user", 0, Some("u")),
            component("client-id", 2, None),
        ]);
        let expected = QuotaFilter {
            user: Some(QuotaMatch::Exact("u".to_owned())),
            client_id: Some(QuotaMatch::Any),
            ip: None,
            strict: true,
        };
        assert_eq!(both, Ok(expected));
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for components in [
            vec![component("user", 0, None)],
            vec![component("user", 1, Some("u"))],
            vec![component("user", 3, None)],
            vec![component("", 2, None)],
            vec![component("user", 2, None), component("user", 1, None)],
            vec![component("user", 2, None), component("ip", 2, None)],
        ] {
            assert_eq!(read(components), Err(ErrorCode::InvalidRequest));
        }
        let unknown = read(vec![component("group", 2, None)]);
        assert_eq!(unknown, Err(ErrorCode::UnsupportedVersion));
    }
}
