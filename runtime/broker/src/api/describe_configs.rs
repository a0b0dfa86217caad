//! DescribeConfigs (key 32), versions 1 to 4: topics, this broker, what is set for all brokers, and this
//! broker's loggers (KIP-412); value, source and
//! synonyms (KIP-226), type and documentation from 3 on (KIP-569).

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::configs::{ConfigEntry, Resource, broker_entries, cluster_entries, topic_entries};
use super::log_levels;
use super::topic_admin::{AdminError, find_topic};
use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct DescribeConfigs;

/// First version with types and documentation.
const TYPES: i16 = 3;

impl KafkaApi for DescribeConfigs {
    const KEY: i16 = 32;
    const SERVED: RangeInclusive<i16> = 1..=4;
    type Request = DescribeConfigsRequest;

    async fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        request: DescribeConfigsRequest,
    ) -> DescribeConfigsResponse {
        let detail = Detail {
            types: context.head.api_version >= TYPES,
            synonyms: request.include_synonyms,
            documentation: request.include_documentation,
        };
        let mut answered = BTreeSet::new();
        let mut results = Vec::new();
        for wanted in &request.resources {
            if answered.insert((wanted.resource_type, wanted.resource_name.as_str())) {
                results.push(describe(broker, wanted, detail));
            }
        }
        DescribeConfigsResponse::default().with_results(results)
    }
}

#[derive(Clone, Copy)]
struct Detail {
    types: bool,
    synonyms: bool,
    documentation: bool,
}

fn describe(
    broker: &Broker,
    wanted: &DescribeConfigsResource,
    detail: Detail,
) -> DescribeConfigsResult {
    let result = DescribeConfigsResult::default()
        .with_error_message(None)
        .with_resource_type(wanted.resource_type)
        .with_resource_name(wanted.resource_name.clone());
    match entries(broker, wanted) {
        Ok(entries) => {
            let asked = Asked::new(wanted.configuration_keys.as_deref());
            let told = entries.into_iter().filter(|entry| asked.wants(&entry.name));
            result.with_configs(told.map(|entry| tell(entry, detail)).collect())
        }
        Err(error) => result
            .with_error_code(error.code.code())
            .with_error_message(error.text()),
    }
}

fn entries(
    broker: &Broker,
    wanted: &DescribeConfigsResource,
) -> Result<Vec<ConfigEntry>, AdminError> {
    let image = broker.image();
    match Resource::parse(
        wanted.resource_type,
        &wanted.resource_name,
        broker.node_id(),
    )? {
        Resource::Topic(name) => Ok(topic_entries(
            broker,
            &image,
            &find_topic(&image, &name)?.configs,
        )),
        Resource::Broker => Ok(broker_entries(broker, &image)),
        Resource::Cluster => Ok(cluster_entries(broker, &image)),
        Resource::Loggers => log_levels::entries(broker),
    }
}

/// The configs asked for; none named is all of them.
struct Asked<'a>(BTreeSet<&'a str>);

impl<'a> Asked<'a> {
    fn new(keys: Option<&'a [StrBytes]>) -> Asked<'a> {
        Asked(
            keys.unwrap_or_default()
                .iter()
                .map(StrBytes::as_str)
                .collect(),
        )
    }

    fn wants(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.contains(name)
    }
}

fn tell(entry: ConfigEntry, detail: Detail) -> DescribeConfigsResourceResult {
    let synonyms = if detail.synonyms {
        entry.synonyms()
    } else {
        Vec::new()
    };
    let told = DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_string(entry.name))
        .with_value(entry.value.map(StrBytes::from_string))
        .with_read_only(entry.read_only)
        .with_config_source(entry.source.code())
        .with_is_sensitive(entry.sensitive)
        .with_synonyms(synonyms);
    if !detail.types {
        return told;
    }
    let doc = detail
        .documentation
        .then(|| StrBytes::from_string(entry.doc));
    told.with_config_type(entry.kind.code())
        .with_documentation(doc)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tidegate_metadata::config::describe_topic;

    use super::*;
    use crate::api::configs::{self, KnownKeys};

    fn all() -> Vec<ConfigEntry> {
        let own = BTreeMap::from([("retention.ms".to_owned(), "5".to_owned())]);
        configs::entries(describe_topic(&own, &[]), &KnownKeys::default())
    }

    fn retention(detail: Detail) -> DescribeConfigsResourceResult {
        let entry = all()
            .into_iter()
            .find(|entry| entry.name == "retention.ms")
            .unwrap();
        tell(entry, detail)
    }

    #[test]
    fn detail_is_told_when_asked_for() {
        let plain = retention(Detail {
            types: false,
            synonyms: false,
            documentation: true,
        });
        assert_eq!(
            (plain.value.as_deref(), plain.config_source),
            (Some("5"), 1)
        );
        assert!(plain.synonyms.is_empty() && plain.documentation.unwrap_or_default().is_empty());
        assert_eq!(plain.config_type, 0);
        let full = retention(Detail {
            types: true,
            synonyms: true,
            documentation: true,
        });
        let synonyms: Vec<_> = full
            .synonyms
            .iter()
            .map(|s| (s.name.as_str(), s.source))
            .collect();
        assert_eq!(synonyms.first(), Some(&("retention.ms", 1)));
        assert_eq!(synonyms.last().map(|s| s.1), Some(5));
        assert!(full.documentation.is_some());
        assert_eq!(full.config_type, 5);
    }

    #[test]
    fn every_version_can_be_encoded() {
        for version in DescribeConfigs::SERVED {
            let detail = Detail {
                types: version >= TYPES,
                synonyms: true,
                documentation: true,
            };
            let configs = all().into_iter().map(|entry| tell(entry, detail)).collect();
            let result = DescribeConfigsResult::default().with_configs(configs);
            let response = DescribeConfigsResponse::default().with_results(vec![result]);
            tidegate_protocol::encode_response(32, version, 1, &response).unwrap();
        }
    }

    #[test]
    fn naming_no_config_asks_for_all() {
        assert!(Asked::new(None).wants("a") && Asked::new(Some(&[])).wants("a"));
        let keys = [StrBytes::from_static_str("a")];
        let some = Asked::new(Some(&keys));
        assert!(some.wants("a") && !some.wants("b"));
    }
}
