//! Every response in which a client can be told that it is held up.

use kafka_protocol::messages::*;

/// A response that has a throttle time, in milliseconds (KIP-219). Versions that have no place for it leave it out.
pub(crate) trait Throttled {
    fn throttled(&mut self, ms: i32);
}

/// Only brokers ask for markers, and Kafka has no way to slow them down.
impl Throttled for WriteTxnMarkersResponse {
    fn throttled(&mut self, _: i32) {}
}

macro_rules! throttled {
    ($($response:ident),* $(,)?) => {
        $(impl Throttled for $response {
            fn throttled(&mut self, ms: i32) {
                self.throttle_time_ms = ms;
            }
        })*

        #[cfg(test)]
        mod tests {
            use super::*;

            /// A response of any version we have a schema for, with a throttle time, can be written down.
            #[test]
            fn every_version_takes_a_throttle_time() {
                $({
                    let mut response = $response::default();
                    response.throttled(7);
                    written(&response);
                })*
            }

            fn written<R: kafka_protocol::protocol::Encodable + Clone>(response: &R)
            where
                R: kafka_protocol::protocol::HeaderVersion + kafka_protocol::protocol::Message,
            {
                for version in R::VERSIONS.min..=R::VERSIONS.max {
                    let mut bytes = bytes::BytesMut::new();
                    let done = response.encode(&mut bytes, version);
                    assert!(done.is_ok(), "{} {version}", std::any::type_name::<R>());
                }
            }
        }
    };
}

throttled![
    AddOffsetsToTxnResponse,
    AddPartitionsToTxnResponse,
    AlterClientQuotasResponse,
    AlterConfigsResponse,
    AlterPartitionReassignmentsResponse,
    ApiVersionsResponse,
    ConsumerGroupDescribeResponse,
    ConsumerGroupHeartbeatResponse,
    CreatePartitionsResponse,
    CreateTopicsResponse,
    DeleteGroupsResponse,
    DeleteRecordsResponse,
    DeleteTopicsResponse,
    DescribeClientQuotasResponse,
    DescribeClusterResponse,
    DescribeConfigsResponse,
    DescribeGroupsResponse,
    DescribeLogDirsResponse,
    DescribeProducersResponse,
    DescribeTopicPartitionsResponse,
    DescribeTransactionsResponse,
    ElectLeadersResponse,
    EndTxnResponse,
    FetchResponse,
    FindCoordinatorResponse,
    HeartbeatResponse,
    IncrementalAlterConfigsResponse,
    InitProducerIdResponse,
    JoinGroupResponse,
    LeaveGroupResponse,
    ListGroupsResponse,
    ListOffsetsResponse,
    ListPartitionReassignmentsResponse,
    ListTransactionsResponse,
    MetadataResponse,
    OffsetCommitResponse,
    OffsetDeleteResponse,
    OffsetFetchResponse,
    OffsetForLeaderEpochResponse,
    SyncGroupResponse,
    TxnOffsetCommitResponse,
];
