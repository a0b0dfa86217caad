//! A state that a change would lead to: its bindings are made for real, and the rules applied to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_metadata::config::TopicConfig;
use tidegate_metadata::{Command, Image, Refusal};

use super::bindings::all_stands;
use super::facts::facts_of;
use super::rules::{self, MissingTopic, World};
use super::{PluginService, is_own_topic, own_topics};
use crate::broker::Broker;
use crate::metadata_log::ProposeError;

/// A state of the cluster that a change would lead to.
pub(super) struct Plan {
    pub(super) image: Arc<Image>,
    /// Topics whose bindings or rules change, with the settings they would have.
    pub(super) changed: BTreeMap<String, TopicConfig>,
}

impl PluginService {
    /// Makes the bindings and applies the rules; gives the topics that must be created with the change. Blocks.
    pub(super) fn verify_plan(
        &self,
        broker: &Broker,
        plan: &Plan,
    ) -> Result<Vec<MissingTopic>, String> {
        for (topic, config) in &plan.changed {
            self.bind_all(broker, plan, topic, config)?;
        }
        // What failed a moment ago on another topic is not tried again for this one's sake.
        let facts = self.facts(&plan.image, &|stand| {
            let known = self.bindings.get(&stand.key);
            known.or_else(|| match self.bindings.wants_making(&stand.key) {
                true => self.make(broker, stand).ok(),
                false => None,
            })
        });
        let world = World {
            facts: &facts,
            is_internal: &|name| is_own_topic(&plan.image, name),
            internal_topics: &own_topics(&plan.image),
        };
        let exists = |name: &str| plan.image.topic(name).is_some();
        let mut missing = Vec::new();
        for topic in plan.changed.keys() {
            world.check_source(topic)?;
            world.check_target(topic)?;
            if let Some(own) = facts.get(topic) {
                missing.extend(rules::missing_targets(own, &exists));
            }
        }
        self.may_create(broker, plan, &missing)?;
        Ok(missing)
    }

    fn bind_all(
        &self,
        broker: &Broker,
        plan: &Plan,
        topic: &str,
        config: &TopicConfig,
    ) -> Result<(), String> {
        for stand in all_stands(topic, config, &plan.image)? {
            self.may_stand(broker, &stand, config)?;
            self.make(broker, &stand)?;
        }
        Ok(())
    }

    /// A topic that is created gets the broker's defaults, so these may not keep out what is sent there either.
    fn may_create(
        &self,
        broker: &Broker,
        plan: &Plan,
        missing: &[MissingTopic],
    ) -> Result<(), String> {
        let Some(first) = missing.first() else {
            return Ok(());
        };
        if !broker.config.auto_create_topics {
            return Err(format!(
                "topic `{}`, {}, does not exist, and topics are not created by themselves here \
                 (auto.create.topics.enable): create it first",
                first.name, first.role
            ));
        }
        let config = self.resolve(&plan.image, &BTreeMap::new())?;
        for MissingTopic { name, role } in missing {
            let facts = facts_of(name, &config, &plan.image, &|stand| {
                self.make(broker, stand).ok()
            });
            let why = match *role {
                rules::DEAD_LETTERS => facts.takes_no_dead_letters().map(str::to_owned),
                _ => facts
                    .takes_no_routes()
                    .map(|why| format!("its produce chain may not have {why}")),
            };
            if let Some(why) = why {
                return Err(format!(
                    "topic `{name}`, {role}, would be created with the broker's defaults, but {why}: create it first, \
                     with settings of its own"
                ));
            }
        }
        Ok(())
    }
}

pub(super) async fn create(broker: &Arc<Broker>, topic: MissingTopic) -> Result<(), String> {
    let create = Command::CreateTopic {
        name: topic.name.clone(),
        id: uuid::Uuid::new_v4().into_bytes(),
        partitions: broker.config.num_partitions,
        replication_factor: broker.config.default_replication_factor,
        assignments: Vec::new(),
        configs: BTreeMap::new(),
        internal: false,
    };
    match broker.metadata.propose(create).await {
        Ok(_) | Err(ProposeError::Refused(Refusal::TopicExists(_))) => Ok(()),
        Err(error) => Err(format!(
            "topic `{}`, {}, cannot be created: {error}",
            topic.name, topic.role
        )),
    }
}
