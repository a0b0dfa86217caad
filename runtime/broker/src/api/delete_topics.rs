//! DeleteTopics (key 20), versions 1 to 6: by name, and from 6 on by topic id too (KIP-516).

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use tidegate_metadata::{Command, Image, Outcome, Topic};
use tidegate_protocol::error::ErrorCode;
use uuid::Uuid;

use super::topic_admin::{
    AdminError, change, duplicate_topic, duplicates, find_topic, mutate, partitions_of, unknown_id,
};
use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct DeleteTopics;

const BY_ID: i16 = 6;
const MESSAGES: i16 = 5;
/// First version whose clients know TOPIC_DELETION_DISABLED.
const DELETION_DISABLED: i16 = 3;
/// First version whose clients know THROTTLING_QUOTA_EXCEEDED (KIP-599).
const STRICT: i16 = 5;

impl KafkaApi for DeleteTopics {
    const KEY: i16 = 20;
    const SERVED: RangeInclusive<i16> = 1..=6;
    type Request = DeleteTopicsRequest;

    async fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        request: DeleteTopicsRequest,
    ) -> DeleteTopicsResponse {
        let version = context.head.api_version;
        let mutations = broker.quotas.mutations(context.client(), version >= STRICT);
        let image = broker.image();
        let asked = asked(version, request);
        let found: Vec<_> = asked.iter().map(|state| find(&image, state)).collect();
        // A topic may stand there by its name and by its id.
        let twice = duplicates(found.iter().flatten().map(|topic| topic.id));
        let mut answered = BTreeSet::new();
        let mut responses = Vec::new();
        for (state, found) in asked.iter().zip(found) {
            if !answered.insert((state.topic_id, state.name.clone())) {
                continue;
            }
            let deleted = match &found {
                Err(error) => Err(error.clone()),
                Ok(topic) if twice.contains(&topic.id) => Err(duplicate_topic(&topic.name)),
                Ok(topic) => {
                    let delete = delete(broker, version, topic);
                    mutate(context, &mutations, delete).await
                }
            };
            responses.push(respond(version, state, found.ok(), deleted.map(drop)));
        }
        DeleteTopicsResponse::default().with_responses(responses)
    }
}

fn asked(version: i16, request: DeleteTopicsRequest) -> Vec<DeleteTopicState> {
    if version >= BY_ID {
        return request.topics;
    }
    let state = |name| DeleteTopicState::default().with_name(Some(name));
    request.topic_names.into_iter().map(state).collect()
}

fn find<'a>(image: &'a Image, state: &DeleteTopicState) -> Result<&'a Arc<Topic>, AdminError> {
    match &state.name {
        Some(name) if state.topic_id.is_nil() => find_topic(image, name),
        None if !state.topic_id.is_nil() => {
            let id = state.topic_id;
            image
                .topic_by_id(id.as_bytes())
                .ok_or_else(|| unknown_id(id))
        }
        _ => Err(AdminError::invalid_request(
            "a topic is named either by its name or by its id",
        )),
    }
}

async fn delete(
    broker: &Arc<Broker>,
    version: i16,
    topic: &Topic,
) -> Result<(Outcome, usize), AdminError> {
    let enabled = broker.config.topic_defaults.get("delete.topic.enable");
    if enabled.is_some_and(|value| value.trim().eq_ignore_ascii_case("false")) {
        let code = match version >= DELETION_DISABLED {
            true => ErrorCode::TopicDeletionDisabled,
            false => ErrorCode::InvalidRequest,
        };
        return Err(AdminError::new(
            code,
            "delete.topic.enable is false on this broker",
        ));
    }
    let command = |image: &Image| {
        // Between the look and the turn the name may have gone to a new topic, which nobody asked to delete.
        let same = image.topic_by_id(&topic.id).is_some();
        let gone = || unknown_id(Uuid::from_bytes(topic.id));
        same.then(|| Command::DeleteTopic {
            name: topic.name.clone(),
        })
        .ok_or_else(gone)
    };
    let deleted = change(broker, false, command).await?;
    // What groups committed for it would be wrong for a new topic of the same name.
    broker.groups.topic_deleted(&topic.name);
    let partitions = partitions_of(&deleted);
    Ok((deleted, partitions))
}

fn respond(
    version: i16,
    state: &DeleteTopicState,
    found: Option<&Arc<Topic>>,
    deleted: Result<(), AdminError>,
) -> DeletableTopicResult {
    let name = found.map(|topic| TopicName(StrBytes::from_string(topic.name.clone())));
    let result = DeletableTopicResult::default().with_name(name.or_else(|| state.name.clone()));
    let result = match version >= BY_ID {
        true => {
            result.with_topic_id(found.map_or(state.topic_id, |topic| Uuid::from_bytes(topic.id)))
        }
        false => result,
    };
    match deleted {
        Ok(()) => result,
        Err(error) if version >= MESSAGES => result
            .with_error_code(error.code.code())
            .with_error_message(error.text()),
        Err(error) => result.with_error_code(error.code.code()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(name: Option<&'static str>, id: u128) -> DeleteTopicState {
        let name = name.map(|name| TopicName(StrBytes::from_static_str(name)));
        DeleteTopicState::default()
            .with_name(name)
            .with_topic_id(Uuid::from_u128(id))
    }

    #[test]
    fn a_topic_is_named_in_one_way() {
        let code = |state: DeleteTopicState| find(&Image::default(), &state).unwrap_err().code;
        assert_eq!(
            code(state(Some("a"), 0)),
            ErrorCode::UnknownTopicOrPartition
        );
        assert_eq!(code(state(None, 7)), ErrorCode::UnknownTopicId);
        assert_eq!(code(state(None, 0)), ErrorCode::InvalidRequest);
        assert_eq!(code(state(Some("a"), 7)), ErrorCode::InvalidRequest);
    }

    #[test]
    fn every_version_can_tell_of_a_failure() {
        for version in DeleteTopics::SERVED {
            let asked = state(Some("a"), if version >= BY_ID { 7 } else { 0 });
            let failed = Err(AdminError::invalid_request("no"));
            let result = respond(version, &asked, None, failed);
            assert_eq!(result.error_message.is_some(), version >= MESSAGES);
            let response = DeleteTopicsResponse::default().with_responses(vec![result]);
            tidegate_protocol::encode_response(20, version, 1, &response).unwrap();
        }
    }
}
