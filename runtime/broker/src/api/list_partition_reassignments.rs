//! ListPartitionReassignments (key 46), version 0 (KIP-455): with one broker nothing is ever on its way to another.

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct ListPartitionReassignments;

impl KafkaApi for ListPartitionReassignments {
    const KEY: i16 = 46;
    const SERVED: RangeInclusive<i16> = 0..=0;
    type Request = ListPartitionReassignmentsRequest;

    async fn handle(
        _broker: &Arc<Broker>,
        _context: &RequestContext,
        _request: ListPartitionReassignmentsRequest,
    ) -> ListPartitionReassignmentsResponse {
        ListPartitionReassignmentsResponse::default()
    }
}
