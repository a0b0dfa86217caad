//! EndTxn (key 26), versions 0 to 5: commits or aborts. From version 5 on it bumps the producer's epoch and says which
//! producer the client goes on with (KIP-890).

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::{EndTxnRequest, EndTxnResponse, ProducerId};
use tidegate_coordinator::transaction::{EndRequest, Producer};

use super::add_partitions_to_txn::code;
use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct EndTxn;

const EPOCH_BUMPS: i16 = 5;

impl KafkaApi for EndTxn {
    const KEY: i16 = 26;
    const SERVED: RangeInclusive<i16> = 0..=5;
    type Request = EndTxnRequest;

    async fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        request: EndTxnRequest,
    ) -> EndTxnResponse {
        let version = context.head.api_version;
        let ended = broker
            .transactions
            .end(
                broker,
                EndRequest {
                    transactional_id: request.transactional_id.to_string(),
                    producer: Producer {
                        id: request.producer_id.0,
                        epoch: request.producer_epoch,
                    },
                    commit: request.committed,
                    client_version: if version >= EPOCH_BUMPS { 2 } else { 0 },
                },
            )
            .await;
        let response = EndTxnResponse::default();
        match ended {
            Ok(producer) => response
                .with_producer_id(ProducerId(producer.id))
                .with_producer_epoch(producer.epoch),
            Err(error) => response
                .with_error_code(code(error, version))
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1),
        }
    }
}
