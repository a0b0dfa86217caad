//! ConsumerGroupHeartbeat (key 68), versions 0 to 1 (KIP-848): membership, subscriptions and assignments of groups whose
//! coordinator assigns. From version 1 on members make their ids, and may subscribe by regex.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions as Owned;
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use kafka_protocol::protocol::StrBytes;
use tidegate_coordinator::{
    BeatRefusal, Beaten, ConsumerHeartbeat, GroupError, Partitions, Reply, Request,
};
use uuid::Uuid;

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct ConsumerGroupHeartbeat;

/// First version whose members make their own ids.
const OWN_IDS: i16 = 1;

impl KafkaApi for ConsumerGroupHeartbeat {
    const KEY: i16 = 68;
    const SERVED: RangeInclusive<i16> = 0..=1;
    type Request = ConsumerGroupHeartbeatRequest;

    async fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        request: ConsumerGroupHeartbeatRequest,
    ) -> ConsumerGroupHeartbeatResponse {
        let beat = heartbeat(context, request);
        let group = beat.group.clone();
        let request = Request::ConsumerHeartbeat(beat);
        let outcome = match broker.groups.ask(broker, &group, request).await {
            Ok(Reply::ConsumerHeartbeat(outcome)) => outcome,
            Ok(_) => Err(refused(GroupError::CoordinatorNotAvailable)),
            Err(error) => Err(refused(error)),
        };
        match outcome {
            Ok(beaten) => respond(beaten),
            Err(refusal) => ConsumerGroupHeartbeatResponse::default()
                .with_error_code(refusal.error.code())
                .with_error_message(Some(StrBytes::from_string(refusal.message))),
        }
    }
}

fn heartbeat(
    context: &RequestContext,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerHeartbeat {
    let text = |text: StrBytes| text.to_string();
    let names = request.subscribed_topic_names;
    ConsumerHeartbeat {
        group: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        epoch: request.member_epoch,
        instance_id: request.instance_id.map(text),
        rack_id: request.rack_id.map(text),
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        subscribed_names: names.map(|names| names.iter().map(|name| name.to_string()).collect()),
        subscribed_regex: request.subscribed_topic_regex.map(text),
        server_assignor: request.server_assignor.map(text),
        owned: request.topic_partitions.map(owned),
        client_id: context.head.client_id.clone().unwrap_or_default(),
        client_host: format!("/{}", context.connection.peer.ip()),
        makes_own_id: context.head.api_version >= OWN_IDS,
    }
}

/// A topic without partitions is none.
fn owned(topics: Vec<Owned>) -> Partitions {
    let mut partitions = Partitions::new();
    for topic in topics.into_iter().filter(|t| !t.partitions.is_empty()) {
        let indexes = partitions.entry(*topic.topic_id.as_bytes()).or_default();
        indexes.extend(topic.partitions);
    }
    partitions
}

fn refused(error: GroupError) -> BeatRefusal {
    BeatRefusal {
        error,
        message: error.to_string(),
    }
}

fn respond(beaten: Beaten) -> ConsumerGroupHeartbeatResponse {
    let topic = |(id, indexes): ([u8; 16], std::collections::BTreeSet<i32>)| {
        TopicPartitions::default()
            .with_topic_id(Uuid::from_bytes(id))
            .with_partitions(indexes.into_iter().collect())
    };
    let assignment = |partitions: BTreeMap<_, _>| {
        Assignment::default().with_topic_partitions(partitions.into_iter().map(topic).collect())
    };
    ConsumerGroupHeartbeatResponse::default()
        .with_member_id(Some(StrBytes::from_string(beaten.member_id)))
        .with_member_epoch(beaten.epoch)
        .with_heartbeat_interval_ms(beaten.heartbeat_interval_ms)
        .with_assignment(beaten.assignment.map(assignment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_can_be_encoded() {
        let beaten = Beaten {
            member_id: "m".into(),
            epoch: 3,
            heartbeat_interval_ms: 5,
            assignment: Some(Partitions::from([([7; 16], [1, 2].into())])),
        };
        let response = respond(beaten);
        let assignment = response.assignment.as_ref().unwrap();
        assert_eq!(assignment.topic_partitions[0].partitions, [1, 2]);
        for version in ConsumerGroupHeartbeat::SERVED {
            tidegate_protocol::encode_response(68, version, 1, &response).unwrap();
        }
    }

    #[test]
    fn a_topic_without_partitions_is_not_held() {
        let topic = |n: u8, partitions: Vec<i32>| {
            Owned::default()
                .with_topic_id(Uuid::from_bytes([n; 16]))
                .with_partitions(partitions)
        };
        let held = owned(vec![topic(1, vec![]), topic(2, vec![3]), topic(2, vec![4])]);
        assert_eq!(held, Partitions::from([([2; 16], [3, 4].into())]));
    }
}
