//! DeleteGroups (key 42), versions 0 to 2: only groups without members.

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};
use tidegate_coordinator::{GroupError, Reply, Request};

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct DeleteGroups;

impl KafkaApi for DeleteGroups {
    const KEY: i16 = 42;
    const SERVED: RangeInclusive<i16> = 0..=2;
    type Request = DeleteGroupsRequest;

    async fn handle(
        broker: &Arc<Broker>,
        _context: &RequestContext,
        request: DeleteGroupsRequest,
    ) -> DeleteGroupsResponse {
        let mut results = Vec::with_capacity(request.groups_names.len());
        for id in request.groups_names {
            let delete = Request::DeleteGroups {
                groups: vec![id.to_string()],
            };
            let result = match broker.groups.ask(broker, &id, delete).await {
                Ok(Reply::DeleteGroups(deleted)) => deleted
                    .into_iter()
                    .next()
                    .map_or(Ok(()), |(_, result)| result),
                Ok(_) => Err(GroupError::CoordinatorNotAvailable),
                Err(error) => Err(error),
            };
            results.push(
                DeletableGroupResult::default()
                    .with_group_id(id)
                    .with_error_code(result.err().map_or(0, GroupError::code)),
            );
        }
        DeleteGroupsResponse::default().with_results(results)
    }
}
