//! CreatePartitions (key 37), versions 0 to 3 (KIP-195): a topic's count grows, placed by the image or as assigned.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use tidegate_metadata::{Command, Image};
use tidegate_protocol::error::ErrorCode;

use super::topic_admin::{
    AdminError, change, duplicate_topic, duplicates, find_topic, mutate, partitions_of,
};
use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct CreatePartitions;

/// First version whose clients know THROTTLING_QUOTA_EXCEEDED (KIP-599).
const STRICT: i16 = 3;

impl KafkaApi for CreatePartitions {
    const KEY: i16 = 37;
    const SERVED: RangeInclusive<i16> = 0..=3;
    type Request = CreatePartitionsRequest;

    async fn handle(
        broker: &Arc<Broker>,
        context: &RequestContext,
        request: CreatePartitionsRequest,
    ) -> CreatePartitionsResponse {
        let twice = duplicates(request.topics.iter().map(|topic| topic.name.clone()));
        let strict = context.head.api_version >= STRICT;
        let mutations = broker.quotas.mutations(context.client(), strict);
        let mut answered = BTreeSet::new();
        let mut results = Vec::new();
        for wanted in &request.topics {
            if !answered.insert(&wanted.name) {
                continue;
            }
            let grown = match twice.contains(&wanted.name) {
                true => Err(duplicate_topic(&wanted.name)),
                false if request.validate_only => {
                    change(broker, true, |image| command(image, wanted)).await
                }
                false => {
                    let topic = broker.image().topic(&wanted.name).cloned();
                    let before = topic.map_or(0, |topic| topic.partitions.len());
                    let grow = async {
                        let grown = change(broker, false, |image| command(image, wanted)).await?;
                        let added = partitions_of(&grown).saturating_sub(before);
                        Ok::<_, AdminError>((grown, added))
                    };
                    mutate(context, &mutations, grow).await
                }
            };
            let result = CreatePartitionsTopicResult::default().with_name(wanted.name.clone());
            results.push(match grown {
                Ok(_) => result,
                Err(error) => result
                    .with_error_code(error.code.code())
                    .with_error_message(error.text()),
            });
        }
        CreatePartitionsResponse::default().with_results(results)
    }
}

fn command(image: &Image, wanted: &CreatePartitionsTopic) -> Result<Command, AdminError> {
    find_topic(image, &wanted.name)?;
    let assignments = match &wanted.assignments {
        None => Vec::new(),
        Some(rows) if rows.is_empty() => {
            return Err(AdminError::new(
                ErrorCode::InvalidReplicaAssignment,
                "the list of assignments is empty; leave it null to let the broker place them",
            ));
        }
        Some(rows) => rows
            .iter()
            .map(|row| row.broker_ids.iter().map(|id| id.0).collect())
            .collect(),
    };
    Ok(Command::CreatePartitions {
        name: wanted.name.to_string(),
        count: wanted.count,
        assignments,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kafka_protocol::messages::create_partitions_request::CreatePartitionsAssignment;
    use kafka_protocol::messages::{BrokerId, TopicName};
    use kafka_protocol::protocol::StrBytes;
    use tidegate_metadata::{BrokerSpec, Listener, apply};

    use super::*;

    fn image() -> Image {
        let register = Command::RegisterBroker(BrokerSpec {
            id: 1,
            listeners: vec![Listener {
                name: "PLAINTEXT".into(),
                host: "h".into(),
                port: 9092,
            }],
            rack: None,
            incarnation: [1; 16],
        });
        let create = Command::CreateTopic {
            name: "t".into(),
            id: [1; 16],
            partitions: 2,
            replication_factor: 1,
            assignments: Vec::new(),
            configs: BTreeMap::new(),
            internal: false,
        };
        let (image, _) = apply(&Image::default(), &register).unwrap();
        apply(&image, &create).unwrap().0
    }

    fn outcome(name: &'static str, count: i32, brokers: Option<&[i32]>) -> Result<(), ErrorCode> {
        let row =
            |id: &i32| CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(*id)]);
        let wanted = CreatePartitionsTopic::default()
            .with_name(TopicName(StrBytes::from_static_str(name)))
            .with_count(count)
            .with_assignments(brokers.map(|ids| ids.iter().map(row).collect()));
        let image = image();
        let command = command(&image, &wanted).map_err(|error| error.code)?;
        apply(&image, &command)
            .map(drop)
            .map_err(|refusal| AdminError::from(refusal).code)
    }

    #[test]
    fn the_count_can_only_grow() {
        assert_eq!(outcome("t", 3, None), Ok(()));
        assert_eq!(outcome("t", 2, None), Err(ErrorCode::InvalidPartitions));
        assert_eq!(outcome("t", -1, None), Err(ErrorCode::InvalidPartitions));
        assert_eq!(
            outcome("t", i32::MAX, None),
            Err(ErrorCode::InvalidPartitions)
        );
        assert_eq!(
            outcome("u", 3, None),
            Err(ErrorCode::UnknownTopicOrPartition)
        );
    }

    #[test]
    fn assignments_are_for_the_new_partitions() {
        assert_eq!(outcome("t", 4, Some(&[1, 1])), Ok(()));
        for (count, brokers) in [(4, &[1][..]), (3, &[][..]), (3, &[9][..])] {
            let code = Err(ErrorCode::InvalidReplicaAssignment);
            assert_eq!(outcome("t", count, Some(brokers)), code);
        }
    }
}
