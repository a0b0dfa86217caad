//! InitProducerId (key 22), versions 0 to 5: ids for idempotent producers, from blocks that the metadata log hands out, and
//! for transactional ones, which their coordinator gives and fences (KIP-98, KIP-360).

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};
use tidegate_coordinator::transaction::{InitRequest, Producer, TransactionError};
use tidegate_metadata::{Command, Outcome};
use tokio::sync::Mutex;

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;
use crate::metadata_log::MetadataLog;

pub(crate) struct InitProducerId;

/// Ids taken from the metadata log at once, as in Kafka (KIP-730).
const BLOCK: u32 = 1_000;
/// First version in which a fenced producer is called PRODUCER_FENCED (KIP-588).
const FENCED: i16 = 4;

impl KafkaApi for InitProducerId {
    const KEY: i16 = 22;
    const SERVED: RangeInclusive<i16> = 0..=5;
    type Request = InitProducerIdRequest;

    async fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        request: InitProducerIdRequest,
    ) -> InitProducerIdResponse {
        let version = context.head.api_version;
        match init(broker, request).await {
            Ok(producer) => InitProducerIdResponse::default()
                .with_producer_id(ProducerId(producer.id))
                .with_producer_epoch(producer.epoch),
            Err(error) => InitProducerIdResponse::default()
                .with_error_code(code(error, version))
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1),
        }
    }
}

async fn init(
    broker: &Arc<Broker>,
    request: InitProducerIdRequest,
) -> Result<Producer, TransactionError> {
    let Some(transactional_id) = request.transactional_id else {
        // A client that names its old id has lost track of it; a new one is always right without transactions.
        let id = broker.producer_ids.next(broker.metadata.as_ref()).await;
        let id = id.ok_or(TransactionError::CoordinatorLoadInProgress)?;
        return Ok(Producer { id, epoch: 0 });
    };
    let expected = match (request.producer_id.0, request.producer_epoch) {
        (-1, -1) => None,
        (-1, _) | (_, -1) => return Err(TransactionError::InvalidRequest),
        (id, epoch) => Some(Producer { id, epoch }),
    };
    broker
        .transactions
        .init(
            broker,
            InitRequest {
                transactional_id: transactional_id.to_string(),
                timeout_ms: request.transaction_timeout_ms,
                expected,
            },
        )
        .await
}

fn code(error: TransactionError, version: i16) -> i16 {
    match version < FENCED {
        true => error.at_partition().code(),
        false => error.code(),
    }
}

/// Producer ids this broker may still give out. A block that is not used up before a restart is lost, not reused.
#[derive(Default)]
pub(crate) struct ProducerIds {
    block: Mutex<Range<i64>>,
}

impl ProducerIds {
    pub(crate) async fn next(&self, metadata: &dyn MetadataLog) -> Option<i64> {
        let mut block = self.block.lock().await;
        if let Some(id) = block.next() {
            return Some(id);
        }
        match metadata
            .propose(Command::AllocateProducerIds { count: BLOCK })
            .await
        {
            Ok(Outcome::ProducerIds(range)) => *block = range,
            Ok(_) => return None,
            Err(error) => {
                tracing::error!(%error, "cannot allocate producer ids");
                return None;
            }
        }
        block.next()
    }
}
