//! AddOffsetsToTxn (key 25), versions 0 to 4: the partition that holds a group's offsets enters a transaction.

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
use tidegate_coordinator::transaction::{Producer, TransactionError};

use super::add_partitions_to_txn::code;
use super::{KafkaApi, RequestContext};
use crate::broker::Broker;
use crate::groups::OFFSETS_TOPIC;

pub(crate) struct AddOffsetsToTxn;

impl KafkaApi for AddOffsetsToTxn {
    const KEY: i16 = 25;
    const SERVED: RangeInclusive<i16> = 0..=4;
    type Request = AddOffsetsToTxnRequest;

    async fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        request: AddOffsetsToTxnRequest,
    ) -> AddOffsetsToTxnResponse {
        let version = context.head.api_version;
        let error = add(broker, request).await.err();
        AddOffsetsToTxnResponse::default()
            .with_error_code(error.map_or(0, |error| code(error, version)))
    }
}

async fn add(
    broker: &Arc<Broker>,
    request: AddOffsetsToTxnRequest,
) -> Result<(), TransactionError> {
    let partition = broker
        .groups
        .partition_of(broker, &request.group_id)
        .await
        .map_err(|_| TransactionError::CoordinatorNotAvailable)?;
    let producer = Producer {
        id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    let places = vec![(OFFSETS_TOPIC.to_owned(), partition)];
    broker
        .transactions
        .add(broker, &request.transactional_id, producer, places)
        .await
}
