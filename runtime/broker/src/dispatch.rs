//! Which APIs are served, in one table.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;

use crate::api::{self, Answered, Entry, Refused, RequestContext, entry};
use crate::broker::Broker;

/// Every API but Produce, whose requests overlap and which the connection therefore handles itself.
static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    vec![
        entry::<api::fetch::Fetch>(),
        entry::<api::list_offsets::ListOffsets>(),
        entry::<api::metadata::Metadata>(),
        entry::<api::api_versions::ApiVersions>(),
        entry::<api::init_producer_id::InitProducerId>(),
        entry::<api::create_topics::CreateTopics>(),
        entry::<api::delete_topics::DeleteTopics>(),
        entry::<api::create_partitions::CreatePartitions>(),
        entry::<api::delete_records::DeleteRecords>(),
        entry::<api::describe_configs::DescribeConfigs>(),
        entry::<api::alter_configs::AlterConfigs>(),
        entry::<api::incremental_alter_configs::IncrementalAlterConfigs>(),
        entry::<api::describe_client_quotas::DescribeClientQuotas>(),
        entry::<api::alter_client_quotas::AlterClientQuotas>(),
        entry::<api::describe_cluster::DescribeCluster>(),
        entry::<api::find_coordinator::FindCoordinator>(),
        entry::<api::join_group::JoinGroup>(),
        entry::<api::sync_group::SyncGroup>(),
        entry::<api::heartbeat::Heartbeat>(),
        entry::<api::leave_group::LeaveGroup>(),
        entry::<api::offset_commit::OffsetCommit>(),
        entry::<api::offset_fetch::OffsetFetch>(),
        entry::<api::describe_groups::DescribeGroups>(),
        entry::<api::list_groups::ListGroups>(),
        entry::<api::delete_groups::DeleteGroups>(),
        entry::<api::offset_delete::OffsetDelete>(),
        entry::<api::consumer_group_heartbeat::ConsumerGroupHeartbeat>(),
        entry::<api::consumer_group_describe::ConsumerGroupDescribe>(),
        entry::<api::offset_for_leader_epoch::OffsetForLeaderEpoch>(),
        entry::<api::describe_log_dirs::DescribeLogDirs>(),
        entry::<api::describe_producers::DescribeProducers>(),
        entry::<api::elect_leaders::ElectLeaders>(),
        entry::<api::alter_partition_reassignments::AlterPartitionReassignments>(),
        entry::<api::list_partition_reassignments::ListPartitionReassignments>(),
        entry::<api::add_partitions_to_txn::AddPartitionsToTxn>(),
        entry::<api::add_offsets_to_txn::AddOffsetsToTxn>(),
        entry::<api::end_txn::EndTxn>(),
        entry::<api::write_txn_markers::WriteTxnMarkers>(),
        entry::<api::txn_offset_commit::TxnOffsetCommit>(),
        entry::<api::describe_transactions::DescribeTransactions>(),
        entry::<api::list_transactions::ListTransactions>(),
    ]
});

/// (key, lowest, highest) of what ApiVersions names, by key.
pub(crate) fn advertised() -> Vec<(i16, i16, i16)> {
    let produce = &api::produce::ADVERTISED;
    let mut rows = vec![(api::produce::KEY, *produce.start(), *produce.end())];
    rows.extend(
        ENTRIES
            .iter()
            .map(|e| (e.key, *e.advertised.start(), *e.advertised.end())),
    );
    rows.sort_unstable();
    rows
}

pub(crate) fn serves(key: i16, version: i16) -> bool {
    ENTRIES
        .iter()
        .any(|entry| entry.key == key && entry.served.contains(&version))
}

pub(crate) async fn answer(
    broker: Arc<Broker>,
    context: RequestContext,
    body: Bytes,
) -> Result<Answered, Refused> {
    let (key, version) = (context.head.api_key, context.head.api_version);
    let entry = ENTRIES
        .iter()
        .find(|e| e.key == key)
        .ok_or(Refused::UnknownApi(key))?;
    if !entry.served.contains(&version) {
        return Err(Refused::UnsupportedVersion { key, version });
    }
    (entry.answer)(broker, context, body).await
}
