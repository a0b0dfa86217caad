//! AlterPartitionReassignments (key 45), versions 0 and 1 (KIP-455). There is one broker to assign to: asking for what
//! is there already succeeds, as in Kafka; anything else is refused with the reason.

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
};
use kafka_protocol::protocol::StrBytes;
use tidegate_protocol::error::ErrorCode;

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;
use crate::topics::Topic;

pub(crate) struct AlterPartitionReassignments;

impl KafkaApi for AlterPartitionReassignments {
    const KEY: i16 = 45;
    const SERVED: RangeInclusive<i16> = 0..=1;
    type Request = AlterPartitionReassignmentsRequest;

    async fn handle(
        broker: &Arc<Broker>,
        _context: &RequestContext,
        request: AlterPartitionReassignmentsRequest,
    ) -> AlterPartitionReassignmentsResponse {
        let responses = request
            .topics
            .into_iter()
            .map(|wanted| {
                let topic = broker.topics.get(&wanted.name);
                let partitions = wanted
                    .partitions
                    .iter()
                    .map(|partition| {
                        let judged = judge(topic.as_deref(), broker.node_id(), partition);
                        respond(partition.partition_index, judged)
                    })
                    .collect();
                ReassignableTopicResponse::default()
                    .with_name(wanted.name)
                    .with_partitions(partitions)
            })
            .collect();
        AlterPartitionReassignmentsResponse::default()
            .with_allow_replication_factor_change(request.allow_replication_factor_change)
            .with_responses(responses)
    }
}

fn judge(
    topic: Option<&Topic>,
    node_id: i32,
    wanted: &ReassignablePartition,
) -> Result<(), (ErrorCode, String)> {
    if topic
        .and_then(|topic| topic.partition(wanted.partition_index))
        .is_none()
    {
        let sentence = "the partition does not exist".to_owned();
        return Err((ErrorCode::UnknownTopicOrPartition, sentence));
    }
    let Some(replicas) = &wanted.replicas else {
        let sentence = "no reassignment of the partition is in progress".to_owned();
        return Err((ErrorCode::NoReassignmentInProgress, sentence));
    };
    let refuse = |sentence: String| Err((ErrorCode::InvalidReplicaAssignment, sentence));
    match replicas.as_slice() {
        [] => refuse("an assignment names at least one broker".to_owned()),
        [one] if one.0 == node_id => Ok(()),
        [one, rest @ ..] if rest.contains(one) => {
            refuse(format!("broker {} stands twice in the assignment", one.0))
        }
        many => match many.iter().find(|replica| replica.0 != node_id) {
            Some(unknown) => refuse(format!("broker {} is not part of the cluster", unknown.0)),
            None => refuse(format!("broker {node_id} stands twice in the assignment")),
        },
    }
}

fn respond(index: i32, judged: Result<(), (ErrorCode, String)>) -> ReassignablePartitionResponse {
    let response = ReassignablePartitionResponse::default().with_partition_index(index);
    match judged {
        Ok(()) => response,
        Err((code, sentence)) => response
            .with_error_code(code.code())
            .with_error_message(Some(StrBytes::from_string(sentence))),
    }
}
