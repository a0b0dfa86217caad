//! Whether a change leaves every topic with chains that can run. Asked before the change is proposed.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_metadata::config::TopicConfig;
use tidegate_metadata::{Command, Image, Refusal, apply};

use super::bindings::{BindKey, Place, Stand, all_stands, stands};
use super::rules::{self, Router, Routers};
use super::{PLUGINS_TOPIC, PluginService};
use crate::broker::Broker;
use crate::metadata_log::ProposeError;

const OWN_TOPICS: [&str; 3] = ["__consumer_offsets", "__transaction_state", PLUGINS_TOPIC];

/// A state of the cluster that a change would lead to.
struct Plan {
    image: Arc<Image>,
    /// Topics whose chains change, with the settings they would have.
    changed: BTreeMap<String, TopicConfig>,
}

impl PluginService {
    /// Checks a command that is about to be proposed: `CreateTopic`, `SetTopicConfigs`, `SetBrokerConfigs`, and those
    /// of plugins; all others pass. Every binding it leads to is made for real. Missing exact targets of routers are
    /// created unless `validate_only`. The error is a sentence. What the image itself will refuse passes here.
    ///
    /// The caller holds [`change_turn`](Self::change_turn) until the proposal is through.
    pub(crate) async fn check_command(
        &self,
        broker: &Arc<Broker>,
        command: &Command,
        validate_only: bool,
    ) -> Result<(), String> {
        let before = broker.image();
        let affected = affected(command);
        if matches!(affected, Affected::Nothing) {
            return Ok(());
        }
        let Ok((after, _)) = apply(&before, command) else {
            return Ok(());
        };
        let changed = self.changed(&before, &after, &affected)?;
        self.verify(
            broker,
            Plan {
                image: Arc::new(after),
                changed,
            },
            validate_only,
        )
        .await
    }

    async fn verify(
        &self,
        broker: &Arc<Broker>,
        plan: Plan,
        validate_only: bool,
    ) -> Result<(), String> {
        let chained = |config: &TopicConfig| {
            Place::ALL
                .iter()
                .any(|place| !place.chain(config).is_empty())
        };
        if !plan.changed.values().any(chained) {
            return Ok(());
        }
        let (service, theirs) = (broker.plugins.clone(), broker.clone());
        let missing = self
            .work(move || service.verify_plan(&theirs, &plan))
            .await?;
        if validate_only {
            return Ok(());
        }
        for name in missing {
            create_target(broker, name).await?;
        }
        Ok(())
    }

    /// Topics whose chains would be made of something else than now.
    fn changed(
        &self,
        before: &Image,
        after: &Image,
        affected: &Affected<'_>,
    ) -> Result<BTreeMap<String, TopicConfig>, String> {
        let mut changed = BTreeMap::new();
        let looked_at = after
            .topics
            .values()
            .filter(|topic| affected.includes(&topic.name));
        for topic in looked_at.filter(|topic| !topic.internal) {
            let config = self.resolve(after, &topic.configs)?;
            let now = self.keys(before, &topic.name);
            let then = keys_of(&topic.name, &config, after);
            match then {
                Ok(then) if now.as_ref() == Ok(&then) => {}
                // It was broken before, in the same way, and this change is not about it.
                Err(why) if now.as_ref() == Err(&why) && affected.is_everything() => {}
                Err(why) => return Err(why),
                Ok(_) => {
                    changed.insert(topic.name.clone(), config);
                }
            }
        }
        Ok(changed)
    }

    fn keys(&self, image: &Image, topic: &str) -> Result<Vec<BindKey>, String> {
        let Some(known) = image.topic(topic) else {
            return Ok(Vec::new());
        };
        keys_of(topic, &self.resolve(image, &known.configs)?, image)
    }

    /// Makes the bindings and applies the rules; gives the targets that do not exist. Blocks.
    fn verify_plan(&self, broker: &Arc<Broker>, plan: &Plan) -> Result<Vec<String>, String> {
        for (topic, config) in &plan.changed {
            self.bind_all(broker, plan, topic, config)?;
        }
        let routers = self.routers(broker, plan);
        let is_internal = |name: &str| {
            OWN_TOPICS.contains(&name) || plan.image.topic(name).is_some_and(|t| t.internal)
        };
        let internal: Vec<String> = plan
            .image
            .topics
            .values()
            .filter(|topic| topic.internal)
            .map(|topic| topic.name.clone())
            .chain(OWN_TOPICS.map(str::to_owned))
            .collect();
        let exists =
            |name: &str| plan.image.topic(name).is_some() || plan.changed.contains_key(name);
        let mut missing = Vec::new();
        for topic in plan.changed.keys() {
            rules::check(topic, &routers, &is_internal, &internal)?;
            let own = routers.get(topic).map(Vec::as_slice).unwrap_or_default();
            missing.extend(rules::missing_targets(own, &exists));
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
            if stand.key.place == Place::Consume && stand.world == "router" {
                return Err(format!(
                    "`{}` is a router and cannot stand in tidegate.consume.chain: routers in a consume chain are \
                     only for views",
                    stand.entry.plugin
                ));
            }
            self.make(broker, &stand)?;
        }
        Ok(())
    }

    /// Every topic's routers in the plan. One that cannot be bound now routes nothing, so it breaks no rule.
    fn routers(&self, broker: &Broker, plan: &Plan) -> Routers {
        let mut all = Routers::new();
        let others = plan
            .image
            .topics
            .values()
            .filter(|topic| !topic.internal && !plan.changed.contains_key(&topic.name));
        for topic in others {
            if let Ok(config) = self.resolve(&plan.image, &topic.configs) {
                all.insert(
                    topic.name.clone(),
                    self.routers_of(broker, plan, &topic.name, &config),
                );
            }
        }
        for (topic, config) in &plan.changed {
            all.insert(topic.clone(), self.routers_of(broker, plan, topic, config));
        }
        all.retain(|_, routers| !routers.is_empty());
        all
    }

    fn routers_of(
        &self,
        broker: &Broker,
        plan: &Plan,
        topic: &str,
        config: &TopicConfig,
    ) -> Vec<Router> {
        let is_router = |stand: &Stand| stand.world == "router";
        stands(topic, config, Place::Produce, &plan.image)
            .unwrap_or_default()
            .iter()
            .filter(|stand| is_router(stand))
            .filter_map(|stand| {
                let binding = self.make(broker, stand).ok()?;
                Some(Router {
                    alias: stand.key.alias.clone(),
                    targets: binding.targets().to_vec(),
                })
            })
            .collect()
    }

    /// A target that is created gets the broker's defaults, so these may not have a router either.
    fn may_create(&self, broker: &Broker, plan: &Plan, missing: &[String]) -> Result<(), String> {
        let Some(first) = missing.first() else {
            return Ok(());
        };
        if !broker.config.auto_create_topics {
            return Err(format!(
                "topic `{first}`, a target of the router, does not exist, and topics are not created by themselves \
                 here (auto.create.topics.enable): create it first"
            ));
        }
        let config = self.resolve(&plan.image, &BTreeMap::new())?;
        let has_router = stands(first, &config, Place::Produce, &plan.image)?
            .iter()
            .any(|stand| stand.world == "router");
        match has_router {
            true => Err(format!(
                "topic `{first}`, a target of the router, would be created with the broker's default \
                 tidegate.produce.chain, which has a router: create it first, with a chain of its own"
            )),
            false => Ok(()),
        }
    }
}

/// Which topics a command can change the chains of.
enum Affected<'a> {
    Nothing,
    Topic(&'a str),
    Everything,
}

impl Affected<'_> {
    fn includes(&self, topic: &str) -> bool {
        match self {
            Affected::Nothing => false,
            Affected::Topic(name) => *name == topic,
            Affected::Everything => true,
        }
    }

    fn is_everything(&self) -> bool {
        matches!(self, Affected::Everything)
    }
}

fn affected(command: &Command) -> Affected<'_> {
    match command {
        Command::CreateTopic { name, .. } | Command::SetTopicConfigs { name, .. } => {
            Affected::Topic(name)
        }
        Command::SetBrokerConfigs { .. }
        | Command::RegisterPlugin { .. }
        | Command::RemovePlugin { .. }
        | Command::SetLatestPlugin { .. } => Affected::Everything,
        _ => Affected::Nothing,
    }
}

fn keys_of(topic: &str, config: &TopicConfig, image: &Image) -> Result<Vec<BindKey>, String> {
    let stands = all_stands(topic, config, image)?;
    Ok(stands.into_iter().map(|stand| stand.key).collect())
}

async fn create_target(broker: &Arc<Broker>, name: String) -> Result<(), String> {
    let create = Command::CreateTopic {
        name: name.clone(),
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
            "topic `{name}`, a target of the router, cannot be created: {error}"
        )),
    }
}
