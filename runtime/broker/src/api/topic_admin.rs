//! What the admin APIs and auto-creation share: making a change, and saying why there is none.
//!
//! Kafka's error codes for what the metadata refuses are assigned here and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;
use tidegate_metadata::config::is_retired;
use tidegate_metadata::{Command, Image, Outcome, Refusal, Topic, apply, validate_topic_name};
use tidegate_protocol::error::ErrorCode;
use uuid::Uuid;

use super::RequestContext;
use crate::broker::Broker;
use crate::metadata_log::ProposeError;
use crate::quotas::Mutations;

/// Why an admin operation was not done: Kafka's code, and a sentence for the person who asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct AdminError {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
}

impl AdminError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> AdminError {
        AdminError {
            code,
            message: message.into(),
        }
    }

    pub(crate) fn invalid_request(message: impl Into<String>) -> AdminError {
        AdminError::new(ErrorCode::InvalidRequest, message)
    }

    /// As the `error_message` of a response.
    pub(crate) fn text(&self) -> Option<StrBytes> {
        Some(StrBytes::from_string(self.message.clone()))
    }
}

impl From<Refusal> for AdminError {
    fn from(refusal: Refusal) -> AdminError {
        let code = match &refusal {
            Refusal::TopicExists(_) => ErrorCode::TopicAlreadyExists,
            Refusal::UnknownTopic(_) | Refusal::UnknownPartition { .. } => {
                ErrorCode::UnknownTopicOrPartition
            }
            Refusal::InvalidTopic { .. } => ErrorCode::InvalidTopicException,
            Refusal::InternalTopic(_) => ErrorCode::PolicyViolation,
            Refusal::InvalidPartitions(_) => ErrorCode::InvalidPartitions,
            Refusal::InvalidReplicationFactor(_) => ErrorCode::InvalidReplicationFactor,
            Refusal::InvalidAssignment(_) => ErrorCode::InvalidReplicaAssignment,
            Refusal::InvalidConfig { .. } => ErrorCode::InvalidConfig,
            Refusal::StaleEpoch(_) => ErrorCode::InvalidUpdateVersion,
            Refusal::VersionExists { .. }
            | Refusal::InvalidPlugin(_)
            | Refusal::UnknownPlugin(_)
            | Refusal::PluginBound { .. }
            | Refusal::InvalidRequest(_) => ErrorCode::InvalidRequest,
        };
        AdminError::new(code, refusal.to_string())
    }
}

impl From<ProposeError> for AdminError {
    fn from(error: ProposeError) -> AdminError {
        match error {
            ProposeError::Refused(refusal) => refusal.into(),
            ProposeError::Store(_) | ProposeError::Encode(_) => {
                tracing::error!(%error, "a metadata change failed");
                AdminError::new(ErrorCode::KafkaStorageError, error.to_string())
            }
            // Clients look for the controller again and retry.
            ProposeError::Closing => AdminError::new(ErrorCode::NotController, error.to_string()),
        }
    }
}

/// Makes one change that a client asked for, or only checks it: what the image refuses, then what the plugins refuse.
///
/// `command` sees the image that it will be applied to, because config changes take turns.
pub(crate) async fn change(
    broker: &Arc<Broker>,
    validate_only: bool,
    command: impl FnOnce(&Image) -> Result<Command, AdminError> + Send,
) -> Result<Outcome, AdminError> {
    let _turn = broker.plugins.change_turn().await;
    let image = broker.image();
    let command = command(&image)?;
    let (_, outcome) = apply(&image, &command)?;
    broker
        .plugins
        .check_command(broker, &command, validate_only)
        .await
        .map_err(|why| AdminError::new(ErrorCode::InvalidConfig, why))?;
    match validate_only {
        true => Ok(outcome),
        false => Ok(broker.metadata.propose(command).await?),
    }
}

/// As [`change`], of so many partitions as the outcome of it says, under the client's controller_mutation_rate (KIP-599).
pub(crate) async fn mutate(
    context: &RequestContext,
    mutations: &Mutations<'_>,
    change: impl Future<Output = Result<(Outcome, usize), AdminError>>,
) -> Result<Outcome, AdminError> {
    mutations.check().map_err(|owed| {
        context.throttle(owed);
        AdminError::new(
            ErrorCode::ThrottlingQuotaExceeded,
            "the quota controller_mutation_rate is used up; try again after the throttle time",
        )
    })?;
    let (outcome, partitions) = change.await?;
    context.throttle(mutations.count(partitions));
    Ok(outcome)
}

/// The command for a topic with this broker's defaults for what is not said.
pub(crate) fn new_topic(
    broker: &Broker,
    name: &str,
    partitions: Option<i32>,
    replication_factor: Option<i16>,
    configs: BTreeMap<String, String>,
) -> Command {
    Command::CreateTopic {
        name: name.to_owned(),
        id: Uuid::new_v4().into_bytes(),
        partitions: partitions.unwrap_or(broker.config.num_partitions),
        replication_factor: replication_factor.unwrap_or(broker.config.default_replication_factor),
        assignments: Vec::new(),
        configs,
        internal: false,
    }
}

/// Creates a topic because somebody asked about it. One that is there by now is as good.
pub(crate) async fn auto_create(
    broker: &Arc<Broker>,
    context: &RequestContext,
    name: &str,
) -> Result<Arc<Topic>, AdminError> {
    check_not_reserved(name)?;
    let command = new_topic(broker, name, None, None, BTreeMap::new());
    // Never refused: who is over the quota is held up after its answer.
    let mutations = broker.quotas.mutations(context.client(), false);
    let create = async {
        let created = change(broker, false, |_| Ok(command)).await?;
        let partitions = partitions_of(&created);
        Ok::<_, AdminError>((created, partitions))
    };
    match mutate(context, &mutations, create).await {
        Ok(Outcome::Topic(topic)) => Ok(topic),
        Err(error) if error.code != ErrorCode::TopicAlreadyExists => Err(error),
        _ => find_topic(&broker.image(), name).cloned(),
    }
}

/// How many partitions a topic has that was created or deleted.
pub(crate) fn partitions_of(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Topic(topic) | Outcome::Deleted(topic) => topic.partitions.len(),
        _ => 0,
    }
}

/// Logs of older programs hold configs that Kafka gave up; nobody sets them any more.
pub(crate) fn check_not_retired<'a>(
    names: impl IntoIterator<Item = &'a String>,
) -> Result<(), AdminError> {
    match names.into_iter().find(|name| is_retired(name)) {
        None => Ok(()),
        Some(name) => Err(AdminError::new(
            ErrorCode::InvalidConfig,
            format!("unknown topic config `{name}`: Kafka 4.0 gave it up"),
        )),
    }
}

/// Clients do not create the topics that the broker creates when it needs them: it would find them not as it made them.
pub(crate) fn check_not_reserved(name: &str) -> Result<(), AdminError> {
    let own = [
        "__consumer_offsets",
        "__transaction_state",
        "__share_group_state",
    ];
    if own.contains(&name) || name.starts_with("__tidegate_") {
        return Err(AdminError::new(
            ErrorCode::InvalidTopicException,
            format!("`{name}` is the broker's own topic; it is created when it is needed"),
        ));
    }
    Ok(())
}

/// A topic that exists, else the error for its name.
pub(crate) fn find_topic<'a>(image: &'a Image, name: &str) -> Result<&'a Arc<Topic>, AdminError> {
    image.topic(name).ok_or_else(|| unknown_topic(name))
}

/// What to say about a topic that is not there.
pub(crate) fn unknown_topic(name: &str) -> AdminError {
    match validate_topic_name(name) {
        Ok(()) => Refusal::UnknownTopic(name.to_owned()).into(),
        Err(why) => {
            let name = name.chars().take(255).collect();
            Refusal::InvalidTopic { name, why }.into()
        }
    }
}

/// What to say about a topic id that no topic has.
pub(crate) fn unknown_id(id: Uuid) -> AdminError {
    AdminError::new(
        ErrorCode::UnknownTopicId,
        format!("no topic has the id {id}"),
    )
}

/// What stands more than once in a request.
pub(crate) fn duplicates<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut seen = BTreeSet::new();
    items
        .into_iter()
        .filter_map(|item| seen.replace(item))
        .collect()
}

pub(crate) fn duplicate_topic(name: &str) -> AdminError {
    AdminError::invalid_request(format!(
        "topic `{name}` stands more than once in the request"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_kafkas_codes_and_keep_their_sentences() {
        let code = |refusal: Refusal| AdminError::from(refusal).code;
        assert_eq!(
            code(Refusal::TopicExists("t".into())),
            ErrorCode::TopicAlreadyExists
        );
        assert_eq!(
            code(Refusal::InternalTopic("t".into())),
            ErrorCode::PolicyViolation
        );
        assert_eq!(
            code(Refusal::InvalidPartitions("x".into())),
            ErrorCode::InvalidPartitions
        );
        assert_eq!(
            code(Refusal::InvalidAssignment("x".into())),
            ErrorCode::InvalidReplicaAssignment
        );
        let refusal = Refusal::InvalidConfig {
            name: "retention.ms".into(),
            why: "no".into(),
        };
        let error = AdminError::from(refusal);
        assert_eq!(
            (error.code, error.message.as_str()),
            (ErrorCode::InvalidConfig, "retention.ms: no")
        );
    }

    #[test]
    fn a_missing_topic_is_told_from_an_impossible_one() {
        assert_eq!(unknown_topic("a").code, ErrorCode::UnknownTopicOrPartition);
        assert_eq!(unknown_topic("a b").code, ErrorCode::InvalidTopicException);
        assert!(unknown_topic(&"x".repeat(30_000)).message.len() < 1_000);
    }

    #[test]
    fn the_brokers_own_topics_are_not_for_clients_to_create() {
        for name in [
            "__consumer_offsets",
            "__transaction_state",
            "__tidegate_plugins",
        ] {
            assert_eq!(
                check_not_reserved(name).unwrap_err().code,
                ErrorCode::InvalidTopicException
            );
        }
        assert_eq!(check_not_reserved("__mine"), Ok(()));
    }

    #[test]
    fn what_stands_twice_is_found_once() {
        assert_eq!(duplicates(["a", "b", "a", "c", "a"]), BTreeSet::from(["a"]));
        assert_eq!(duplicates(["a", "b"]), BTreeSet::new());
    }
}
