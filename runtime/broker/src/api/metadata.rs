//! Metadata (key 3), versions 0 to 13: brokers, topics and partitions; auto-creation (KIP-204 flag from 4 on), topic
//! ids (KIP-516: answered from 10, asked by from 12), authorized operations (KIP-430) of a broker without ACLs.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use tidegate_metadata::Topic;
use tidegate_protocol::error::ErrorCode;
use uuid::Uuid;

use super::describe_cluster::CLUSTER_OPERATIONS;
use super::topic_admin::{AdminError, auto_create, unknown_id, unknown_topic};
use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct Metadata;

/// Kafka's bits for READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS and ALTER_CONFIGS.
const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// Topics one request may create; the client asks again for the rest.
const MAX_CREATED: usize = 100;

/// First version whose empty topic list means none rather than all.
const EMPTY_IS_NONE: i16 = 1;
const TOPIC_OPERATIONS_FROM: i16 = 8;
const CLUSTER_OPERATIONS_IN: RangeInclusive<i16> = 8..=10;
/// First version that may ask by topic id.
const ASK_BY_ID: i16 = 12;

impl KafkaApi for Metadata {
    const KEY: i16 = 3;
    const SERVED: RangeInclusive<i16> = 0..=13;
    type Request = MetadataRequest;

    async fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        request: MetadataRequest,
    ) -> MetadataResponse {
        let version = context.head.api_version;
        let all = match &request.topics {
            None => true,
            Some(topics) => topics.is_empty() && version < EMPTY_IS_NONE,
        };
        let mut topics = match request.topics.filter(|_| !all) {
            None => every_topic(broker),
            Some(wanted) => {
                let create = request.allow_auto_topic_creation && broker.config.auto_create_topics;
                asked_topics(broker, context, wanted, create).await
            }
        };
        if version >= TOPIC_OPERATIONS_FROM && request.include_topic_authorized_operations {
            for topic in topics.iter_mut().filter(|topic| topic.error_code == 0) {
                topic.topic_authorized_operations = TOPIC_OPERATIONS;
            }
        }
        let response = respond(broker, topics);
        let wants_operations = request.include_cluster_authorized_operations;
        match wants_operations && CLUSTER_OPERATIONS_IN.contains(&version) {
            true => response.with_cluster_authorized_operations(CLUSTER_OPERATIONS),
            false => response,
        }
    }
}

fn respond(broker: &Broker, topics: Vec<MetadataResponseTopic>) -> MetadataResponse {
    let image = broker.image();
    let brokers = image
        .brokers
        .values()
        .filter(|row| !row.fenced)
        .filter_map(|row| {
            let listener = row.listeners.first()?;
            Some(
                MetadataResponseBroker::default()
                    .with_node_id(BrokerId(row.id))
                    .with_host(StrBytes::from_string(listener.host.clone()))
                    .with_port(i32::from(listener.port))
                    .with_rack(row.rack.clone().map(StrBytes::from_string)),
            )
        })
        .collect();
    MetadataResponse::default()
        .with_brokers(brokers)
        .with_cluster_id(Some(StrBytes::from_string(image.cluster_id.clone())))
        .with_controller_id(BrokerId(broker.node_id()))
        .with_topics(topics)
}

fn every_topic(broker: &Broker) -> Vec<MetadataResponseTopic> {
    broker
        .image()
        .topics
        .values()
        .map(|topic| described(broker, topic))
        .collect()
}

/// Topics in the order asked for, each once.
async fn asked_topics(
    broker: &Arc<Broker>,
    context: &RequestContext,
    wanted: Vec<MetadataRequestTopic>,
    create: bool,
) -> Vec<MetadataResponseTopic> {
    let version = context.head.api_version;
    let mut seen = BTreeSet::new();
    let mut creations = if create { MAX_CREATED } else { 0 };
    let mut topics = Vec::new();
    for wanted in wanted {
        if !seen.insert((wanted.topic_id, wanted.name.clone())) {
            continue;
        }
        let found = match Asked::read(version, &wanted) {
            Err(error) => Err(error),
            Ok(Asked::ById(id)) => broker
                .image()
                .topic_by_id(id.as_bytes())
                .cloned()
                .ok_or_else(|| unknown_id(id)),
            Ok(Asked::ByName(name)) => named(broker, context, name, create, &mut creations).await,
        };
        topics.push(match found {
            Ok(topic) => described(broker, &topic),
            Err(error) => failed(version, wanted, &error),
        });
    }
    topics
}

/// How one topic of the request is named.
#[derive(Debug)]
enum Asked<'a> {
    ByName(&'a str),
    ById(Uuid),
}

impl Asked<'_> {
    fn read(version: i16, wanted: &MetadataRequestTopic) -> Result<Asked<'_>, AdminError> {
        let by_id = !wanted.topic_id.is_nil();
        match &wanted.name {
            _ if by_id && version >= ASK_BY_ID => Ok(Asked::ById(wanted.topic_id)),
            Some(name) if !by_id => Ok(Asked::ByName(name)),
            _ => Err(AdminError::invalid_request(
                "a topic is asked for by its name, or from version 12 on by its id",
            )),
        }
    }
}

async fn named(
    broker: &Arc<Broker>,
    context: &RequestContext,
    name: &str,
    create: bool,
    creations: &mut usize,
) -> Result<Arc<Topic>, AdminError> {
    if let Some(topic) = broker.image().topic(name) {
        return Ok(topic.clone());
    }
    let error = unknown_topic(name);
    if !create || error.code != ErrorCode::UnknownTopicOrPartition {
        return Err(error);
    }
    if *creations == 0 {
        let why = format!("one request creates at most {MAX_CREATED} topics; ask again");
        return Err(AdminError::new(ErrorCode::LeaderNotAvailable, why));
    }
    *creations -= 1;
    auto_create(broker, context, name)
        .await
        .inspect_err(|error| {
            tracing::warn!(topic = name, %error, "cannot create a topic that was asked for");
        })
}

fn described(broker: &Broker, topic: &Topic) -> MetadataResponseTopic {
    let live = broker.topics.get(&topic.name);
    let me = broker.node_id();
    let partitions = (0..)
        .zip(&topic.partitions)
        .map(|(index, row)| {
            let broken = row.leader == me
                && live
                    .as_ref()
                    .is_none_or(|live| live.partition(index).is_none());
            partition(index, row, broken.then_some(me))
        })
        .collect();
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(topic.name.clone()))))
        .with_topic_id(Uuid::from_bytes(topic.id))
        .with_is_internal(topic.internal)
        .with_partitions(partitions)
}

/// `broken`: the leader that cannot serve the partition, because its store failed to open it.
fn partition(
    index: i32,
    row: &tidegate_metadata::Partition,
    broken: Option<i32>,
) -> MetadataResponsePartition {
    let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect::<Vec<_>>();
    let offline: Vec<i32> = broken.into_iter().collect();
    let leader = if broken.is_some() { -1 } else { row.leader };
    let error = if leader < 0 {
        ErrorCode::LeaderNotAvailable.code()
    } else {
        0
    };
    MetadataResponsePartition::default()
        .with_error_code(error)
        .with_partition_index(index)
        .with_leader_id(BrokerId(leader))
        .with_leader_epoch(row.leader_epoch)
        .with_replica_nodes(ids(&row.replicas))
        .with_isr_nodes(ids(&row.isr))
        .with_offline_replicas(ids(&offline))
}

fn failed(version: i16, wanted: MetadataRequestTopic, error: &AdminError) -> MetadataResponseTopic {
    // The name cannot be null below version 12, even in the answer to a request that had none.
    let name = match version >= ASK_BY_ID {
        true => wanted.name,
        false => Some(wanted.name.unwrap_or_default()),
    };
    MetadataResponseTopic::default()
        .with_error_code(error.code.code())
        .with_name(name)
        .with_topic_id(wanted.topic_id)
}

#[cfg(test)]
mod tests {
    use tidegate_record::PartitionId;

    use super::*;

    fn wanted(name: Option<&'static str>, id: u128) -> MetadataRequestTopic {
        let name = name.map(|name| TopicName(StrBytes::from_static_str(name)));
        MetadataRequestTopic::default()
            .with_name(name)
            .with_topic_id(Uuid::from_u128(id))
    }

    #[test]
    fn topics_are_asked_for_by_name_and_lately_by_id() {
        assert!(matches!(
            Asked::read(0, &wanted(Some("a"), 0)),
            Ok(Asked::ByName("a"))
        ));
        assert!(matches!(
            Asked::read(12, &wanted(None, 7)),
            Ok(Asked::ById(_))
        ));
        assert!(matches!(
            Asked::read(12, &wanted(Some("a"), 7)),
            Ok(Asked::ById(_))
        ));
        for (version, name, id) in [(11, Some("a"), 7), (11, None, 7), (13, None, 0)] {
            let error = Asked::read(version, &wanted(name, id)).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidRequest);
        }
    }

    #[test]
    fn a_failed_topic_can_be_encoded_at_every_version() {
        let error = AdminError::invalid_request("x");
        for version in Metadata::SERVED {
            let topic = failed(version, wanted(None, 0), &error);
            let response = MetadataResponse::default().with_topics(vec![topic]);
            tidegate_protocol::encode_response(3, version, 1, &response).unwrap();
        }
    }

    #[test]
    fn a_partition_that_cannot_be_opened_has_no_leader() {
        let row = tidegate_metadata::Partition {
            id: PartitionId(1),
            replicas: vec![4],
            isr: vec![4],
            leader: 4,
            leader_epoch: 2,
            partition_epoch: 0,
        };
        let healthy = partition(3, &row, None);
        assert_eq!(
            (
                healthy.error_code,
                healthy.leader_id.0,
                healthy.leader_epoch
            ),
            (0, 4, 2)
        );
        let broken = partition(3, &row, Some(4));
        assert_eq!((broken.error_code, broken.leader_id.0), (5, -1));
        assert_eq!(broken.offline_replicas, [BrokerId(4)]);
    }
}
