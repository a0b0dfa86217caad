//! One Kafka API, one file. Each declares the versions it serves, so ApiVersions cannot drift from the handlers.

use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tidegate_protocol::{
    DecodeBudget, EncodeError, Frame, RecordSets, Request, RequestHead, encode_response,
};

use crate::broker::Broker;
use crate::connection::ConnectionContext;

pub(crate) mod alias_configs;
pub(crate) mod alter_configs;
pub(crate) mod alter_partition_reassignments;
pub(crate) mod api_versions;
pub(crate) mod config_changes;
pub(crate) mod configs;
pub(crate) mod create_partitions;
pub(crate) mod create_topics;
pub(crate) mod delete_groups;
pub(crate) mod delete_records;
pub(crate) mod delete_topics;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
pub(crate) mod describe_groups;
pub(crate) mod describe_log_dirs;
pub(crate) mod describe_producers;
pub(crate) mod elect_leaders;
pub(crate) mod fetch;
pub(crate) mod find_coordinator;
pub(crate) mod heartbeat;
pub(crate) mod incremental_alter_configs;
pub(crate) mod init_producer_id;
pub(crate) mod join_group;
pub(crate) mod leave_group;
pub(crate) mod list_groups;
pub(crate) mod list_offsets;
pub(crate) mod list_partition_reassignments;
pub(crate) mod metadata;
pub(crate) mod offset_commit;
pub(crate) mod offset_delete;
pub(crate) mod offset_fetch;
pub(crate) mod offset_for_leader_epoch;
pub(crate) mod produce;
pub(crate) mod sync_group;
pub(crate) mod topic_admin;

/// A request that gets no answer: the connection is closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{0}")]
    Decode(#[from] tidegate_protocol::DecodeError),
    #[error("the response cannot be encoded: {0}")]
    Encode(#[from] tidegate_protocol::EncodeError),
    #[error(
        "a produce with acks=0 failed with error {0}, which only closing the connection can tell"
    )]
    Unanswerable(i16),
    #[error("API key {0} is not served")]
    UnknownApi(i16),
    #[error("API key {key} is not served at version {version}")]
    UnsupportedVersion { key: i16, version: i16 },
}

pub(crate) struct RequestContext {
    pub(crate) head: RequestHead,
    pub(crate) connection: Arc<ConnectionContext>,
    /// What the records of a Fetch response stand for; its encoder takes it.
    pub(crate) record_sets: Mutex<RecordSets>,
}

/// A Kafka API: its key, what it serves, and its handler.
pub(crate) trait KafkaApi {
    const KEY: i16;
    /// Versions that are answered.
    const SERVED: RangeInclusive<i16>;
    /// Versions that ApiVersions names. Wider than `SERVED` only for clients that test exact old versions before they
    /// switch features on (kafka-surface.md, note `0*`).
    const ADVERTISED: RangeInclusive<i16> = Self::SERVED;
    type Request: Request + Send;

    fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        request: Self::Request,
    ) -> impl Future<Output = <Self::Request as Request>::Response> + Send;

    fn encode(
        context: &RequestContext,
        response: &<Self::Request as Request>::Response,
    ) -> Result<Frame, EncodeError> {
        let head = &context.head;
        let whole = encode_response(Self::KEY, head.api_version, head.correlation_id, response)?;
        Ok(whole.into())
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Frame, Refused>> + Send>>;

/// A row of the dispatch table.
pub(crate) struct Entry {
    pub(crate) key: i16,
    pub(crate) served: RangeInclusive<i16>,
    pub(crate) advertised: RangeInclusive<i16>,
    pub(crate) answer: fn(Arc<Broker>, RequestContext, Bytes) -> Answer,
}

pub(crate) fn entry<A: KafkaApi>() -> Entry {
    Entry {
        key: A::KEY,
        served: A::SERVED,
        advertised: A::ADVERTISED,
        answer: |broker, context, body| {
            Box::pin(async move {
                let version = context.head.api_version;
                let budget = DecodeBudget::for_request(A::KEY, body.len());
                let request =
                    tidegate_protocol::decode::<A::Request>(A::KEY, version, body, budget)?;
                let response = A::handle(&broker, &context, request).await;
                Ok(A::encode(&context, &response)?)
            })
        },
    }
}
