//! DescribeTransactions (key 65), version 0 (KIP-664).

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, ProducerId, TopicName,
    TransactionalId,
};
use kafka_protocol::protocol::StrBytes;
use tidegate_coordinator::transaction::{DescribedTransaction, TransactionError};

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct DescribeTransactions;

impl KafkaApi for DescribeTransactions {
    const KEY: i16 = 65;
    const SERVED: RangeInclusive<i16> = 0..=0;
    type Request = DescribeTransactionsRequest;

    async fn handle(
        broker: &Arc<Broker>,
        _context: &RequestContext,
        request: DescribeTransactionsRequest,
    ) -> DescribeTransactionsResponse {
        let mut states = Vec::with_capacity(request.transactional_ids.len());
        for id in request.transactional_ids {
            let described = broker.transactions.describe(broker, &id).await;
            states.push(respond(id, described));
        }
        DescribeTransactionsResponse::default().with_transaction_states(states)
    }
}

fn respond(
    id: TransactionalId,
    described: Result<DescribedTransaction, TransactionError>,
) -> TransactionState {
    let state = TransactionState::default().with_transactional_id(id);
    let described = match described {
        Ok(described) => described,
        Err(error) => return state.with_error_code(error.code()),
    };
    let topics = described.partitions.into_iter().map(|(topic, indexes)| {
        TopicData::default()
            .with_topic(TopicName(StrBytes::from_string(topic)))
            .with_partitions(indexes.into_iter().collect())
    });
    state
        .with_transaction_state(StrBytes::from_static_str(described.state.as_str()))
        .with_transaction_timeout_ms(described.timeout_ms)
        .with_transaction_start_time_ms(described.start_ms)
        .with_producer_id(ProducerId(described.producer.id))
        .with_producer_epoch(described.producer.epoch)
        .with_topics(topics.collect())
}
