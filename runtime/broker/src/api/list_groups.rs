//! ListGroups (key 16), versions 0 to 5: filters by state from 4 on (KIP-518), by type from 5 on (KIP-848).

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct ListGroups;

const STATES: i16 = 4;
const TYPES: i16 = 5;

impl KafkaApi for ListGroups {
    const KEY: i16 = 16;
    const SERVED: RangeInclusive<i16> = 0..=5;
    type Request = ListGroupsRequest;

    async fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        request: ListGroupsRequest,
    ) -> ListGroupsResponse {
        let version = context.head.api_version;
        let states = request
            .states_filter
            .iter()
            .map(|state| state.to_string())
            .collect();
        let types = request
            .types_filter
            .iter()
            .map(|kind| kind.to_string())
            .collect();
        let listed = match broker.groups.list(states, types).await {
            Ok(listed) => listed,
            Err(error) => return ListGroupsResponse::default().with_error_code(error.code()),
        };
        let groups = listed
            .into_iter()
            .map(|group| {
                let mut row = ListedGroup::default()
                    .with_group_id(GroupId(StrBytes::from_string(group.group)))
                    .with_protocol_type(StrBytes::from_string(group.protocol_type));
                if version >= STATES {
                    row = row.with_group_state(StrBytes::from_static_str(group.state.as_str()));
                }
                if version >= TYPES {
                    row = row.with_group_type(StrBytes::from_static_str(group.group_type));
                }
                row
            })
            .collect();
        ListGroupsResponse::default().with_groups(groups)
    }
}
