//! InitProducerId (key 22), versions 0 to 5: ids for idempotent producers, from blocks that the metadata log hands out.
//!
//! Not served: transactional ids, until the transaction coordinator exists.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};
use tidegate_metadata::{Command, Outcome};
use tidegate_protocol::error::ErrorCode;
use tokio::sync::Mutex;

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;
use crate::metadata_log::MetadataLog;

pub(crate) struct InitProducerId;

/// Ids taken from the metadata log at once, as in Kafka (KIP-730).
const BLOCK: u32 = 1_000;

impl KafkaApi for InitProducerId {
    const KEY: i16 = 22;
    const SERVED: RangeInclusive<i16> = 0..=5;
    type Request = InitProducerIdRequest;

    async fn handle(
        broker: &Arc<Broker>,
        _context: &RequestContext,
        request: InitProducerIdRequest,
    ) -> InitProducerIdResponse {
        let refused = |code: ErrorCode| {
            InitProducerIdResponse::default()
                .with_error_code(code.code())
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1)
        };
        if request.transactional_id.is_some() {
            return refused(ErrorCode::TransactionalIdAuthorizationFailed);
        }
        // A client that names its old id has lost track of it; a new one is always right without transactions.
        match broker.producer_ids.next(broker.metadata.as_ref()).await {
            Some(id) => InitProducerIdResponse::default()
                .with_producer_id(ProducerId(id))
                .with_producer_epoch(0),
            None => refused(ErrorCode::CoordinatorLoadInProgress),
        }
    }
}

/// Producer ids this broker may still give out. A block that is not used up before a restart is lost, not reused.
#[derive(Default)]
pub(crate) struct ProducerIds {
    block: Mutex<Range<i64>>,
}

impl ProducerIds {
    async fn next(&self, metadata: &dyn MetadataLog) -> Option<i64> {
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
