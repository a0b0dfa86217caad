//! Every API with a schema, and what must hold of a body of it.

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use tidegate_protocol::messages::*;
use tidegate_protocol::{DecodeBudget, Request, decode};

use crate::memory::{SLACK, within};

/// Small, so that small inputs meet it.
const BUDGET: DecodeBudget = DecodeBudget {
    max_decoded_bytes: 16 << 10,
};

/// A body is refused, or decodes within its budget to what encodes to the same request again. An API that is not known
/// is neither.
pub(crate) fn check(api_key: i16, version: i16, body: Bytes) {
    if let Some((_, check)) = APIS.iter().find(|(key, _)| *key == api_key) {
        check(version, body);
    }
}

/// Whether bodies of the API are checked here.
pub fn is_checked(api_key: i16) -> bool {
    APIS.iter().any(|(key, _)| *key == api_key)
}

type Check = fn(i16, Bytes);

fn check_as<R: Request + Debug>(version: i16, body: Bytes) {
    let decoded = within(BUDGET.max_decoded_bytes + SLACK, || {
        decode::<R>(R::KEY, version, body, BUDGET)
    });
    let Ok(request) = decoded else {
        return;
    };
    let mut out = BytesMut::new();
    let encoded = request.encode(&mut out, version);
    encoded.expect("what was decoded can be encoded");
    let out = out.freeze();
    let again = decode::<R>(R::KEY, version, out.clone(), BUDGET).expect("and decoded again");
    // Compared as bytes: a quota that is not a number is not equal to itself.
    let mut encoded = BytesMut::new();
    let encoded_again = again.encode(&mut encoded, version);
    encoded_again.expect("what was decoded can be encoded");
    assert_eq!(encoded, out, "version {version}: {request:?}");
}

macro_rules! apis {
    ($($type:ident),* $(,)?) => {
        &[$(($type::KEY, check_as::<$type> as Check)),*]
    };
}

const APIS: &[(i16, Check)] = apis![
    ProduceRequest,
    FetchRequest,
    ListOffsetsRequest,
    MetadataRequest,
    OffsetCommitRequest,
    OffsetFetchRequest,
    FindCoordinatorRequest,
    JoinGroupRequest,
    HeartbeatRequest,
    LeaveGroupRequest,
    SyncGroupRequest,
    DescribeGroupsRequest,
    ListGroupsRequest,
    ApiVersionsRequest,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DeleteRecordsRequest,
    InitProducerIdRequest,
    OffsetForLeaderEpochRequest,
    DescribeConfigsRequest,
    AlterConfigsRequest,
    CreatePartitionsRequest,
    DeleteGroupsRequest,
    IncrementalAlterConfigsRequest,
    DescribeClusterRequest,
    DescribeLogDirsRequest,
    ElectLeadersRequest,
    AlterPartitionReassignmentsRequest,
    ListPartitionReassignmentsRequest,
    OffsetDeleteRequest,
    DescribeProducersRequest,
    AddPartitionsToTxnRequest,
    AddOffsetsToTxnRequest,
    EndTxnRequest,
    WriteTxnMarkersRequest,
    TxnOffsetCommitRequest,
    DescribeTransactionsRequest,
    ListTransactionsRequest,
    DescribeClientQuotasRequest,
    AlterClientQuotasRequest,
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupDescribeRequest,
    AlterReplicaLogDirsRequest,
    ListConfigResourcesRequest,
    DescribeTopicPartitionsRequest,
];
