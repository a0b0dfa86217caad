//! What AlterConfigs and IncrementalAlterConfigs share: from what a client sent to the whole state it leads to.
//!
//! Configs of a broker are its own (KIP-226), but those that begin with `tidegate.`: they are about topics, and brokers that
//! differed in them would treat one topic in two ways.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_metadata::config::{
    ConfigSource, ConfigType, DescribedConfig, describe_broker, describe_topic, list_append,
    list_subtract, lookup,
};
use tidegate_metadata::{Command, Image};
use tidegate_protocol::error::ErrorCode;

use super::configs::{Resource, layers};
use super::log_levels;
use super::topic_admin::{AdminError, change, check_not_retired, duplicates, find_topic};
use crate::broker::Broker;

/// One edit of one config (KIP-339).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    Set(String),
    Delete,
    /// Elements that a list gains.
    Append(String),
    /// Elements that a list loses.
    Subtract(String),
}

/// What a client wants of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// These and no others.
    Whole(BTreeMap<String, String>),
    Edits(BTreeMap<String, Edit>),
}

/// A resource of a request, as the two requests write it.
pub(super) struct Named<'a> {
    pub(super) kind: i8,
    pub(super) name: &'a str,
    pub(super) wanted: Result<Wanted, AdminError>,
}

/// Changes each resource by itself; the answers are in the order of the resources.
pub(super) async fn alter_all(
    broker: &Arc<Broker>,
    resources: Vec<Named<'_>>,
    validate_only: bool,
) -> Vec<Result<(), AdminError>> {
    let twice: BTreeSet<(i8, &str)> = duplicates(resources.iter().map(|r| (r.kind, r.name)));
    let mut answers = Vec::with_capacity(resources.len());
    for Named { kind, name, wanted } in resources {
        answers.push(match (twice.contains(&(kind, name)), wanted) {
            (true, _) => Err(AdminError::invalid_request(
                "the resource stands more than once in the request",
            )),
            (false, Err(error)) => Err(error),
            (false, Ok(wanted)) => alter(broker, kind, name, wanted, validate_only).await,
        });
    }
    answers
}

/// Gathers the configs of a resource by name; a name that stands twice is an error.
pub(super) fn gather<T>(
    configs: impl Iterator<Item = Result<(String, T), AdminError>>,
) -> Result<BTreeMap<String, T>, AdminError> {
    let mut all = BTreeMap::new();
    for config in configs {
        let (name, value) = config?;
        if all.contains_key(&name) {
            let why = format!("config `{}` stands more than once", shorten(&name));
            return Err(AdminError::invalid_request(why));
        }
        all.insert(name, value);
    }
    Ok(all)
}

/// A value that must be there.
pub(super) fn value_of(name: &str, value: Option<&str>) -> Result<String, AdminError> {
    value.map(str::to_owned).ok_or_else(|| {
        let why = "the value is null; to go back to the default, delete the config";
        AdminError::invalid_request(format!("{}: {why}", shorten(name)))
    })
}

async fn alter(
    broker: &Arc<Broker>,
    kind: i8,
    name: &str,
    wanted: Wanted,
    validate_only: bool,
) -> Result<(), AdminError> {
    let resource = Resource::parse(kind, name, broker.node_id())?;
    if resource == Resource::Loggers {
        return log_levels::alter(broker, wanted, validate_only);
    }
    let (node_id, file) = (broker.node_id(), &broker.config.topic_defaults);
    change(broker, validate_only, |image| {
        command(image, (node_id, file), resource, wanted)
    })
    .await
    .map(drop)
}

fn command(
    image: &Image,
    (node_id, file): (i32, &BTreeMap<String, String>),
    resource: Resource,
    wanted: Wanted,
) -> Result<Command, AdminError> {
    let layers = layers(node_id, image, file);
    match resource {
        Resource::Topic(name) => {
            let own = &find_topic(image, &name)?.configs;
            let set = difference(own, wanted, &|| describe_topic(own, &layers))?;
            check_not_retired(
                set.iter()
                    .filter(|(_, value)| value.is_some())
                    .map(|(k, _)| k),
            )?;
            Ok(Command::SetTopicConfigs { name, set })
        }
        Resource::Broker => {
            let none = BTreeMap::new();
            let own = image.own_broker_configs.get(&node_id).unwrap_or(&none);
            let set = difference(own, wanted, &|| describe_broker(&layers))?;
            let broker = node_id;
            Ok(Command::SetOneBrokerConfigs { broker, set })
        }
        Resource::Loggers => Err(AdminError::invalid_request(
            "levels of loggers are not kept with the metadata",
        )),
        Resource::Cluster => {
            let shared = &image.broker_configs;
            // A list grows from what all brokers follow, not from what this one has instead.
            let of_all = [
                (shared, ConfigSource::DynamicDefaultBroker),
                (file, ConfigSource::StaticBroker),
            ];
            let set = difference(shared, wanted, &|| describe_broker(&of_all))?;
            Ok(Command::SetBrokerConfigs { set })
        }
    }
}

/// What to set and what to remove. `described`: the configs in effect, which is what a list grows from.
fn difference(
    own: &BTreeMap<String, String>,
    wanted: Wanted,
    described: &dyn Fn() -> Vec<DescribedConfig>,
) -> Result<BTreeMap<String, Option<String>>, AdminError> {
    match wanted {
        Wanted::Whole(configs) => {
            let removed = own.keys().map(|name| (name.clone(), None));
            Ok(removed
                .chain(configs.into_iter().map(|(k, v)| (k, Some(v))))
                .collect())
        }
        Wanted::Edits(edits) => {
            let lists = edits
                .values()
                .any(|e| matches!(e, Edit::Append(_) | Edit::Subtract(_)));
            let current = if lists { described() } else { Vec::new() };
            let edited = |(name, edit): (String, Edit)| {
                let value = edited(&name, edit, &current)?;
                Ok((name, value))
            };
            edits.into_iter().map(edited).collect()
        }
    }
}

fn edited(
    name: &str,
    edit: Edit,
    current: &[DescribedConfig],
) -> Result<Option<String>, AdminError> {
    match edit {
        Edit::Set(value) => Ok(Some(value)),
        Edit::Delete => Ok(None),
        Edit::Append(added) => Ok(Some(list_append(&list(name, current)?, &added))),
        Edit::Subtract(removed) => Ok(Some(list_subtract(&list(name, current)?, &removed))),
    }
}

fn list(name: &str, current: &[DescribedConfig]) -> Result<String, AdminError> {
    let config = current.iter().find(|config| config.name == name);
    match config {
        Some(config) if config.kind == ConfigType::List => {
            Ok(config.value.clone().unwrap_or_default())
        }
        None if lookup(name).is_none() => Err(AdminError::new(
            ErrorCode::InvalidConfig,
            format!("`{}` is not a config of this resource", shorten(name)),
        )),
        _ => Err(AdminError::new(
            ErrorCode::InvalidConfig,
            format!(
                "{}: only lists can be appended to or subtracted from; set it",
                shorten(name)
            ),
        )),
    }
}

/// A name as an error may repeat it.
fn shorten(name: &str) -> String {
    name.chars().take(128).collect()
}

#[cfg(test)]
mod tests {
    use tidegate_metadata::{BrokerSpec, Listener, Outcome, apply};

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn edits(pairs: &[(&str, Edit)]) -> Wanted {
        Wanted::Edits(
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), v.clone()))
                .collect(),
        )
    }

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
            partitions: 1,
            replication_factor: 1,
            assignments: Vec::new(),
            configs: map(&[("retention.ms", "5"), ("cleanup.policy", "delete")]),
            internal: false,
        };
        let (image, _) = apply(&Image::default(), &register).unwrap();
        apply(&image, &create).unwrap().0
    }

    /// The topic's configs after the change.
    fn altered(wanted: Wanted) -> Result<BTreeMap<String, String>, AdminError> {
        let image = image();
        let command = command(&image, (1, &map(&[])), Resource::Topic("t".into()), wanted)?;
        match apply(&image, &command)? {
            (_, Outcome::Topic(topic)) => Ok(topic.configs.clone()),
            (image, _) => Ok(image.topics["t"].configs.clone()),
        }
    }

    #[test]
    fn the_whole_set_is_replaced() {
        let whole = Wanted::Whole(map(&[("cleanup.policy", "compact")]));
        assert_eq!(altered(whole), Ok(map(&[("cleanup.policy", "compact")])));
        assert_eq!(altered(Wanted::Whole(map(&[]))), Ok(map(&[])));
    }

    #[test]
    fn edits_leave_the_rest() {
        let set = edits(&[
            ("segment.ms", Edit::Set("7".into())),
            ("retention.ms", Edit::Delete),
        ]);
        assert_eq!(
            altered(set),
            Ok(map(&[("cleanup.policy", "delete"), ("segment.ms", "7")]))
        );
        let append = edits(&[("cleanup.policy", Edit::Append("compact".into()))]);
        assert_eq!(altered(append).unwrap()["cleanup.policy"], "delete,compact");
    }

    #[test]
    fn a_list_grows_from_what_is_in_effect() {
        let image = image();
        let dynamic = map(&[("log.cleanup.policy", "compact")]);
        let layer = [(&dynamic, ConfigSource::DynamicDefaultBroker)];
        let described = || describe_topic(&map(&[]), &layer);
        let append = edits(&[("cleanup.policy", Edit::Append("delete".into()))]);
        let set = difference(&map(&[]), append, &described).unwrap();
        assert_eq!(set["cleanup.policy"].as_deref(), Some("compact,delete"));

        let subtract = edits(&[("log.cleanup.policy", Edit::Subtract("delete".into()))]);
        let set = BTreeMap::from([("log.cleanup.policy".to_owned(), Some("compact".to_owned()))]);
        for (resource, expected) in [
            (
                Resource::Cluster,
                Command::SetBrokerConfigs { set: set.clone() },
            ),
            (
                Resource::Broker,
                Command::SetOneBrokerConfigs { broker: 1, set },
            ),
        ] {
            let made = command(&image, (1, &dynamic), resource, subtract.clone());
            assert_eq!(made, Ok(expected));
        }
    }

    #[test]
    fn what_is_not_a_list_cannot_be_appended_to() {
        for name in ["retention.ms", "no.such", "tidegate.plugin.m.k"] {
            let error = altered(edits(&[(name, Edit::Append("1".into()))])).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidConfig);
            assert!(error.message.contains(name), "{}", error.message);
        }
    }

    #[test]
    fn refusals_name_the_config() {
        for (name, value) in [
            ("retention.ms", "x"),
            ("no.such", "1"),
            ("message.format.version", "2.8"),
        ] {
            let error = altered(edits(&[(name, Edit::Set(value.into()))])).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidConfig);
            assert!(error.message.contains(name), "{}", error.message);
        }
        let chain = edits(&[("tidegate.produce.chain", Edit::Append("absent".into()))]);
        let error = altered(chain).unwrap_err();
        assert!(error.message.contains("absent"), "{}", error.message);
    }

    #[test]
    fn names_stand_once_and_values_are_there() {
        let pair = |name: &str| Ok((name.to_owned(), 1));
        assert!(gather([pair("a"), pair("b")].into_iter()).is_ok());
        let twice = gather([pair("a"), pair("a")].into_iter()).unwrap_err();
        assert_eq!(twice.code, ErrorCode::InvalidRequest);
        assert_eq!(value_of("a", Some("")), Ok(String::new()));
        assert_eq!(
            value_of("a", None).unwrap_err().code,
            ErrorCode::InvalidRequest
        );
    }
}
