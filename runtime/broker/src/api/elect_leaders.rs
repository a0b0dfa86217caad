//! ElectLeaders (key 43), versions 0 to 2 (KIP-460). With one replica its leader is the only one there can be, preferred
//! or not, so no election is ever needed.

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};
use kafka_protocol::protocol::StrBytes;
use tidegate_protocol::error::ErrorCode;

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct ElectLeaders;

impl KafkaApi for ElectLeaders {
    const KEY: i16 = 43;
    const SERVED: RangeInclusive<i16> = 0..=2;
    type Request = ElectLeadersRequest;

    async fn handle(
        broker: &Arc<Broker>,
        _context: &RequestContext,
        request: ElectLeadersRequest,
    ) -> ElectLeadersResponse {
        // No list asks for every partition that needs an election: there is none.
        let wanted = request.topic_partitions.unwrap_or_default();
        let results = wanted
            .into_iter()
            .map(|wanted| {
                let topic = broker.topics.get(&wanted.topic);
                let elect = |&index: &i32| {
                    let known = topic.as_ref().and_then(|topic| topic.partition(index));
                    let (code, sentence) = match known {
                        Some(_) => (
                            ErrorCode::ElectionNotNeeded,
                            "the partition is led by its preferred replica",
                        ),
                        None => (
                            ErrorCode::UnknownTopicOrPartition,
                            "the partition does not exist",
                        ),
                    };
                    PartitionResult::default()
                        .with_partition_id(index)
                        .with_error_code(code.code())
                        .with_error_message(Some(StrBytes::from_static_str(sentence)))
                };
                let results = wanted.partitions.iter().map(elect).collect();
                ReplicaElectionResult::default()
                    .with_topic(wanted.topic)
                    .with_partition_result(results)
            })
            .collect();
        ElectLeadersResponse::default().with_replica_election_results(results)
    }
}
