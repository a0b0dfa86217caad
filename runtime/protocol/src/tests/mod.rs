//! The schemas against the decoder they guard, and the guard against hostile bytes. Test code only:
//! the allocator that counts has to be the whole test binary's, so these live inside the crate.

mod allocator;
mod hostile;
mod roundtrip;
mod sample;

use bytes::Bytes;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::Request;

use crate::{DecodeBudget, DecodeError, decode};

/// Decodes as the API's own type and gives back its encoding.
type Reencode = fn(i16, i16, Bytes, DecodeBudget) -> Result<Bytes, DecodeError>;

fn reencode<R: Request>(
    api_key: i16,
    version: i16,
    body: Bytes,
    budget: DecodeBudget,
) -> Result<Bytes, DecodeError> {
    let request: R = decode(api_key, version, body, budget)?;
    let mut out = bytes::BytesMut::new();
    request.encode(&mut out, version).unwrap();
    Ok(out.freeze())
}

/// Decodes and forgets, so that only the decoder's memory is measured.
fn discard<R: Request>(
    api_key: i16,
    version: i16,
    body: Bytes,
    budget: DecodeBudget,
) -> Result<(), DecodeError> {
    decode::<R>(api_key, version, body, budget).map(drop)
}

type Discard = fn(i16, i16, Bytes, DecodeBudget) -> Result<(), DecodeError>;

macro_rules! apis {
    ($($type:ident),* $(,)?) => {
        &[$(($type::KEY, reencode::<$type> as Reencode, discard::<$type> as Discard)),*]
    };
}

const APIS: &[(i16, Reencode, Discard)] = apis![
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
    AlterClientQuotasRequest,
    AlterConfigsRequest,
    DescribeClientQuotasRequest,
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
];

#[test]
fn every_schema_is_tested() {
    let mut keys: Vec<i16> = APIS.iter().map(|(key, ..)| *key).collect();
    keys.sort_unstable();
    let served: Vec<i16> = crate::versions::all()
        .iter()
        .map(|(key, ..)| *key)
        .collect();
    assert_eq!(keys, served);
}

/// Every API at every version with a schema.
fn every_version() -> impl Iterator<Item = (i16, i16, Reencode, Discard)> {
    APIS.iter().flat_map(|&(key, reencode, discard)| {
        let (min, max) = crate::versions::supported(key).unwrap();
        (min..=max).map(move |version| (key, version, reencode, discard))
    })
}
