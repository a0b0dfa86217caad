//! One Kafka API, one file. Each declares the versions it serves, so ApiVersions cannot drift from the handlers.

use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tidegate_protocol::{
    DecodeBudget, EncodeError, Frame, RecordSets, Request, RequestHead, encode_response,
};

use self::throttle::Throttled;

use crate::answer_memory::Reserved;
use crate::broker::Broker;
use crate::connection::ConnectionContext;
use crate::quotas::{Client, timed};

pub(crate) mod add_offsets_to_txn;
pub(crate) mod add_partitions_to_txn;
pub(crate) mod alias_configs;
pub(crate) mod alter_client_quotas;
pub(crate) mod alter_configs;
pub(crate) mod alter_partition_reassignments;
pub(crate) mod alter_replica_log_dirs;
pub(crate) mod api_versions;
pub(crate) mod config_changes;
pub(crate) mod configs;
pub(crate) mod consumer_group_describe;
pub(crate) mod consumer_group_heartbeat;
pub(crate) mod create_partitions;
pub(crate) mod create_topics;
pub(crate) mod delete_groups;
pub(crate) mod delete_records;
pub(crate) mod delete_topics;
pub(crate) mod describe_client_quotas;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
pub(crate) mod describe_groups;
pub(crate) mod describe_log_dirs;
pub(crate) mod describe_producers;
pub(crate) mod describe_topic_partitions;
pub(crate) mod describe_transactions;
pub(crate) mod elect_leaders;
pub(crate) mod end_txn;
pub(crate) mod fetch;
pub(crate) mod find_coordinator;
pub(crate) mod heartbeat;
pub(crate) mod incremental_alter_configs;
pub(crate) mod init_producer_id;
pub(crate) mod join_group;
pub(crate) mod leave_group;
pub(crate) mod list_config_resources;
pub(crate) mod list_groups;
pub(crate) mod list_offsets;
pub(crate) mod list_partition_reassignments;
pub(crate) mod list_transactions;
pub(crate) mod log_levels;
pub(crate) mod metadata;
pub(crate) mod offset_commit;
pub(crate) mod offset_delete;
pub(crate) mod offset_fetch;
pub(crate) mod offset_for_leader_epoch;
pub(crate) mod produce;
pub(crate) mod quota_entities;
pub(crate) mod sync_group;
pub(crate) mod throttle;
pub(crate) mod topic_admin;
pub(crate) mod txn_offset_commit;
pub(crate) mod write_txn_markers;

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
    throttle_ms: AtomicU64,
    /// What the records of a Fetch response stand for; its encoder takes it.
    pub(crate) record_sets: Mutex<RecordSets>,
    /// What those records take of the budget, until the answer is written.
    pub(crate) reserved: Mutex<Option<Reserved>>,
}

impl RequestContext {
    pub(crate) fn new(head: RequestHead, connection: Arc<ConnectionContext>) -> RequestContext {
        RequestContext {
            head,
            connection,
            throttle_ms: AtomicU64::new(0),
            record_sets: Mutex::default(),
            reserved: Mutex::default(),
        }
    }

    /// Who sent the request, as far as quotas are concerned.
    pub(crate) fn client(&self) -> Client<'_> {
        Client {
            user: ANONYMOUS,
            client_id: self.head.client_id.as_deref().unwrap_or_default(),
        }
    }

    /// Holds the client up for so long after its answer; of several times the longest counts.
    pub(crate) fn throttle(&self, time: Duration) {
        // Rounded up, so that who waits for so many milliseconds owes nothing any more.
        let ms = time.as_nanos().div_ceil(1_000_000);
        let ms = u64::try_from(ms).unwrap_or(u64::MAX);
        self.throttle_ms.fetch_max(ms, Ordering::Relaxed);
    }

    pub(crate) fn throttled(&self) -> Duration {
        Duration::from_millis(self.throttle_ms.load(Ordering::Relaxed))
    }
}

/// Whom Kafka takes everybody for who did not say a name.
const ANONYMOUS: &str = "ANONYMOUS";

/// An answer, and how long its client is not read from after it (KIP-219).
pub(crate) struct Answered {
    pub(crate) frame: Frame,
    pub(crate) throttle: Duration,
    /// Held until the frame is written.
    pub(crate) reserved: Option<Reserved>,
}

/// As the `throttle_time_ms` of a response.
pub(crate) fn throttle_ms(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
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

type Answer = Pin<Box<dyn Future<Output = Result<Answered, Refused>> + Send>>;

/// A row of the dispatch table.
pub(crate) struct Entry {
    pub(crate) key: i16,
    pub(crate) served: RangeInclusive<i16>,
    pub(crate) advertised: RangeInclusive<i16>,
    pub(crate) answer: fn(Arc<Broker>, RequestContext, Bytes) -> Answer,
}

pub(crate) fn entry<A: KafkaApi>() -> Entry
where
    <A::Request as Request>::Response: Throttled,
{
    Entry {
        key: A::KEY,
        served: A::SERVED,
        advertised: A::ADVERTISED,
        answer: |broker, context, body| {
            Box::pin(async move {
                let version = context.head.api_version;
                let work = async {
                    let budget = DecodeBudget::for_request(A::KEY, body.len());
                    let request =
                        tidegate_protocol::decode::<A::Request>(A::KEY, version, body, budget)?;
                    Ok::<_, Refused>(A::handle(&broker, &context, request).await)
                };
                let (response, busy) = timed(broker.quotas.counts_time(), work).await;
                let mut response = response?;
                context.throttle(broker.quotas.worked(context.client(), busy));
                let throttle = context.throttled();
                if !throttle.is_zero() {
                    response.throttled(throttle_ms(throttle));
                }
                let frame = A::encode(&context, &response)?;
                let reserved = context.reserved.into_inner();
                Ok(Answered {
                    frame,
                    throttle,
                    reserved: reserved.unwrap_or_else(PoisonError::into_inner),
                })
            })
        },
    }
}
