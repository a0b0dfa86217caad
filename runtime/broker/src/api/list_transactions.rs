//! ListTransactions (key 66), versions 0 to 2 (KIP-664): by state and producer id, from version 1 on by how long they have been
//! open (KIP-994), from version 2 on by a pattern of the transactional id (KIP-1152).

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::list_transactions_response::TransactionState as ListedState;
use kafka_protocol::messages::{
    ListTransactionsRequest, ListTransactionsResponse, ProducerId, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;
use regex::Regex;
use tidegate_coordinator::transaction::{ListedTransaction, TransactionState};
use tidegate_protocol::error::ErrorCode;

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;
use crate::clock::now_ms;

pub(crate) struct ListTransactions;

/// The most a compiled pattern may take, in bytes.
const MAX_PATTERN_BYTES: usize = 1 << 20;

impl KafkaApi for ListTransactions {
    const KEY: i16 = 66;
    const SERVED: RangeInclusive<i16> = 0..=2;
    type Request = ListTransactionsRequest;

    async fn handle(
        broker: &Arc<Broker>,
        _context: &RequestContext,
        request: ListTransactionsRequest,
    ) -> ListTransactionsResponse {
        let response = ListTransactionsResponse::default();
        let pattern = match pattern(request.transactional_id_pattern.as_deref()) {
            Ok(pattern) => pattern,
            Err(code) => return response.with_error_code(code.code()),
        };
        let (known, unknown): (Vec<_>, Vec<_>) = request
            .state_filters
            .into_iter()
            .partition(|name| TransactionState::ALL.iter().any(|s| s.as_str() == &**name));
        let listed = match broker.transactions.list().await {
            Ok(listed) => listed,
            Err(error) => return response.with_error_code(error.code()),
        };
        // Unknown states match nothing, and do not make the filter a filter for everything.
        let by_state = !known.is_empty() || !unknown.is_empty();
        let (now, longer_than) = (now_ms(), request.duration_filter);
        let passes = |transaction: &ListedTransaction| {
            let state = transaction.state.as_str();
            let ids = &request.producer_id_filters;
            (!by_state || known.iter().any(|name| &**name == state))
                && (ids.is_empty() || ids.iter().any(|id| id.0 == transaction.producer_id))
                && (longer_than < 0 || now.saturating_sub(transaction.start_ms) > longer_than)
                && pattern
                    .as_ref()
                    .is_none_or(|pattern| pattern.is_match(&transaction.transactional_id))
        };
        let states = listed.into_iter().filter(passes).map(|transaction| {
            ListedState::default()
                .with_transactional_id(TransactionalId(StrBytes::from_string(
                    transaction.transactional_id,
                )))
                .with_producer_id(ProducerId(transaction.producer_id))
                .with_transaction_state(StrBytes::from_static_str(transaction.state.as_str()))
        });
        response
            .with_transaction_states(states.collect())
            .with_unknown_state_filters(unknown)
    }
}

/// Matches whole ids, as RE2 does for Kafka.
fn pattern(text: Option<&str>) -> Result<Option<Regex>, ErrorCode> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    regex::RegexBuilder::new(&format!("^(?:{text})$"))
        .size_limit(MAX_PATTERN_BYTES)
        .build()
        .map(Some)
        .map_err(|_| ErrorCode::InvalidRegularExpression)
}
