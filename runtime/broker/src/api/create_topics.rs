//! CreateTopics (key 19), versions 2 to 7: topics with a count or with assignments, `validate_only`, -1 for the
//! defaults (KIP-464), and from 5 on what came of it (KIP-525), with the topic id from 7.
//!
//! The timeout is not looked at: a topic is answered for when it can be produced to.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use kafka_protocol::protocol::StrBytes;
use tidegate_metadata::{Command, Outcome, Topic};
use tidegate_protocol::error::ErrorCode;
use uuid::Uuid;

use super::configs::{self, ConfigEntry};
use super::topic_admin::{
    AdminError, change, check_not_reserved, check_not_retired, duplicate_topic, duplicates, mutate,
    new_topic, partitions_of,
};
use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct CreateTopics;

/// First version that tells what was created.
const RESULTS: i16 = 5;
const TOPIC_IDS: i16 = 7;
/// First version whose clients know THROTTLING_QUOTA_EXCEEDED (KIP-599).
const STRICT: i16 = 6;

impl KafkaApi for CreateTopics {
    const KEY: i16 = 19;
    const SERVED: RangeInclusive<i16> = 2..=7;
    type Request = CreateTopicsRequest;

    async fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        request: CreateTopicsRequest,
    ) -> CreateTopicsResponse {
        let twice = duplicates(request.topics.iter().map(|topic| topic.name.clone()));
        let strict = context.head.api_version >= STRICT;
        let mutations = broker.quotas.mutations(context.client(), strict);
        let mut answered = BTreeSet::new();
        let mut results = Vec::new();
        for wanted in &request.topics {
            if !answered.insert(&wanted.name) {
                continue;
            }
            let created = match twice.contains(&wanted.name) {
                true => Err(duplicate_topic(&wanted.name)),
                false if request.validate_only => create(broker, wanted, true).await,
                false => {
                    let create = async {
                        let created = create(broker, wanted, false).await?;
                        let partitions = partitions_of(&created);
                        Ok::<_, AdminError>((created, partitions))
                    };
                    mutate(context, &mutations, create).await
                }
            };
            let created = created.and_then(topic_of);
            let result = CreatableTopicResult::default()
                .with_name(wanted.name.clone())
                .with_error_message(None);
            results.push(match created {
                Ok(topic) => {
                    let created = Created {
                        id: (!request.validate_only).then(|| Uuid::from_bytes(topic.id)),
                        configs: configs::topic_entries(broker, &broker.image(), &topic.configs),
                        topic: &topic,
                    };
                    created.tell(context.head.api_version, result)
                }
                Err(error) => result
                    .with_error_code(error.code.code())
                    .with_error_message(error.text()),
            });
        }
        CreateTopicsResponse::default().with_topics(results)
    }
}

async fn create(
    broker: &Arc<Broker>,
    wanted: &CreatableTopic,
    validate_only: bool,
) -> Result<Outcome, AdminError> {
    check_not_reserved(&wanted.name)?;
    let configs = configs_of(&wanted.configs)?;
    check_not_retired(configs.keys())?;
    let partitions = given(wanted.num_partitions);
    let factor = given(wanted.replication_factor);
    let assigned = replicas_of(&wanted.assignments)?;
    if !assigned.is_empty() && (partitions.is_some() || factor.is_some()) {
        return Err(AdminError::invalid_request(
            "give either assignments or a partition count and replication factor; the others are -1",
        ));
    }
    let mut command = new_topic(broker, &wanted.name, partitions, factor, configs);
    if let Command::CreateTopic { assignments, .. } = &mut command {
        *assignments = assigned;
    }
    change(broker, validate_only, |_| Ok(command)).await
}

fn topic_of(created: Outcome) -> Result<Arc<Topic>, AdminError> {
    match created {
        Outcome::Topic(topic) => Ok(topic),
        other => Err(AdminError::new(
            ErrorCode::UnknownServerError,
            format!("creating a topic came to {other:?}"),
        )),
    }
}

/// -1 leaves it to the broker.
fn given<T: From<i8> + PartialEq>(number: T) -> Option<T> {
    (number != T::from(-1)).then_some(number)
}

fn configs_of(configs: &[CreatableTopicConfig]) -> Result<BTreeMap<String, String>, AdminError> {
    let mut all = BTreeMap::new();
    for config in configs {
        let name = config.name.as_str();
        let Some(value) = &config.value else {
            let why = format!("{name}: the value is null; leave the config out to use the default");
            return Err(AdminError::new(ErrorCode::InvalidConfig, why));
        };
        if all
            .insert(name.to_owned(), value.as_str().to_owned())
            .is_some()
        {
            let why = format!("config `{name}` stands more than once");
            return Err(AdminError::invalid_request(why));
        }
    }
    Ok(all)
}

/// Replicas by partition; the client may list the partitions in any order.
fn replicas_of(assignments: &[CreatableReplicaAssignment]) -> Result<Vec<Vec<i32>>, AdminError> {
    let by_index: BTreeMap<i32, Vec<i32>> = assignments
        .iter()
        .map(|row| {
            (
                row.partition_index,
                row.broker_ids.iter().map(|id| id.0).collect(),
            )
        })
        .collect();
    if by_index.len() != assignments.len() || by_index.keys().zip(0..).any(|(is, due)| *is != due) {
        return Err(AdminError::new(
            ErrorCode::InvalidReplicaAssignment,
            "the assigned partitions must be numbered from 0 without gaps or repetitions",
        ));
    }
    Ok(by_index.into_values().collect())
}

/// What is told of a topic that was, or could be, created.
struct Created<'a> {
    topic: &'a Topic,
    id: Option<Uuid>,
    configs: Vec<ConfigEntry>,
}

impl Created<'_> {
    fn tell(self, version: i16, result: CreatableTopicResult) -> CreatableTopicResult {
        if version < RESULTS {
            return result;
        }
        let replicas = self
            .topic
            .partitions
            .first()
            .map_or(0, |row| row.replicas.len());
        let partitions = i32::try_from(self.topic.partitions.len()).unwrap_or(i32::MAX);
        let result = result
            .with_num_partitions(partitions)
            .with_replication_factor(i16::try_from(replicas).unwrap_or(i16::MAX))
            .with_configs(Some(self.configs.into_iter().map(told).collect()));
        match self.id {
            Some(id) if version >= TOPIC_IDS => result.with_topic_id(id),
            _ => result,
        }
    }
}

fn told(entry: ConfigEntry) -> CreatableTopicConfigs {
    CreatableTopicConfigs::default()
        .with_name(StrBytes::from_string(entry.name))
        .with_value(entry.value.map(StrBytes::from_string))
        .with_read_only(entry.read_only)
        .with_config_source(entry.source.code())
        .with_is_sensitive(entry.sensitive)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::BrokerId;
    use tidegate_metadata::Partition;
    use tidegate_metadata::config::describe_topic;
    use tidegate_record::PartitionId;

    use super::*;

    fn assignment(index: i32, brokers: &[i32]) -> CreatableReplicaAssignment {
        CreatableReplicaAssignment::default()
            .with_partition_index(index)
            .with_broker_ids(brokers.iter().copied().map(BrokerId).collect())
    }

    fn config(name: &'static str, value: Option<&'static str>) -> CreatableTopicConfig {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(value.map(StrBytes::from_static_str))
    }

    #[test]
    fn assignments_number_every_partition_once() {
        let whole = [assignment(1, &[2]), assignment(0, &[1])];
        assert_eq!(replicas_of(&whole), Ok(vec![vec![1], vec![2]]));
        assert_eq!(replicas_of(&[]), Ok(vec![]));
        let bad = [
            vec![assignment(1, &[1])],
            vec![assignment(-1, &[1])],
            vec![assignment(0, &[1]), assignment(0, &[2])],
            vec![assignment(0, &[1]), assignment(i32::MAX, &[2])],
        ];
        for rows in bad {
            let error = replicas_of(&rows).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidReplicaAssignment);
        }
    }

    #[test]
    fn configs_have_a_value_and_stand_once() {
        let of = |rows: &[CreatableTopicConfig]| configs_of(rows).map_err(|error| error.code);
        assert_eq!(of(&[config("a", Some("1"))]).unwrap()["a"], "1");
        assert_eq!(of(&[config("a", None)]), Err(ErrorCode::InvalidConfig));
        let twice = [config("a", Some("1")), config("a", Some("2"))];
        assert_eq!(of(&twice), Err(ErrorCode::InvalidRequest));
    }

    #[test]
    fn minus_one_is_the_default() {
        assert_eq!(
            (given(-1_i32), given(0_i32), given(-1_i16)),
            (None, Some(0), None)
        );
    }

    #[test]
    fn every_version_can_tell_of_a_created_topic() {
        let row = Partition {
            id: PartitionId(0),
            replicas: vec![1],
            isr: vec![1],
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
        };
        let topic = Topic {
            id: [7; 16],
            name: "t".into(),
            internal: false,
            configs: BTreeMap::new(),
            partitions: vec![row.clone(), row],
        };
        for version in CreateTopics::SERVED {
            let described = describe_topic(&BTreeMap::new(), &[]);
            let created = Created {
                topic: &topic,
                id: Some(Uuid::from_bytes(topic.id)),
                configs: configs::entries(described, &configs::KnownKeys::default()),
            };
            let result = created.tell(version, CreatableTopicResult::default());
            assert_eq!(result.num_partitions, if version >= 5 { 2 } else { -1 });
            assert_eq!(result.topic_id.is_nil(), version < 7);
            let response = CreateTopicsResponse::default().with_topics(vec![result]);
            tidegate_protocol::encode_response(19, version, 1, &response).unwrap();
        }
    }
}
