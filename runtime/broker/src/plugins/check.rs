//! Whether a change leaves every topic with chains that can run. Asked before the change is proposed.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_metadata::config::TopicConfig;
use tidegate_metadata::{Command, Image, apply};

use super::PluginService;
use super::bindings::{BindKey, all_stands};
use super::plan::{self, Plan};
use crate::broker::Broker;

/// What a topic's plugins and the rules about them are made of: a change of anything else needs no check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Footprint {
    keys: Vec<BindKey>,
    compacted: bool,
    keys_fixed: bool,
    dead_letter_topic: Option<String>,
}

impl PluginService {
    /// Checks a command that is about to be proposed: `CreateTopic`, `SetTopicConfigs`, `Set(One)BrokerConfigs`, and those
    /// of plugins; all others pass. Every binding it leads to is made for real. Missing exact targets of routers, and
    /// dead-letter topics, are created unless `validate_only`. The error is a sentence. What the image itself will refuse passes here.
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
        if plan.changed.is_empty() {
            return Ok(());
        }
        let (service, theirs) = (broker.plugins.clone(), broker.clone());
        let missing = self
            .work(move || service.verify_plan(&theirs, &plan))
            .await?;
        if validate_only {
            return Ok(());
        }
        for topic in missing {
            plan::create(broker, topic).await?;
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
            let now = self.footprint(before, &topic.name);
            let then = footprint(&topic.name, &config, after);
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

    fn footprint(&self, image: &Image, topic: &str) -> Result<Footprint, String> {
        let Some(known) = image.topic(topic) else {
            return Ok(Footprint::default());
        };
        footprint(topic, &self.resolve(image, &known.configs)?, image)
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
        | Command::SetOneBrokerConfigs { .. }
        | Command::RegisterPlugin { .. }
        | Command::RegisterSignedPlugin { .. }
        | Command::RemovePlugin { .. }
        | Command::SetLatestPlugin { .. } => Affected::Everything,
        _ => Affected::Nothing,
    }
}

fn footprint(topic: &str, config: &TopicConfig, image: &Image) -> Result<Footprint, String> {
    let stands = all_stands(topic, config, image)?;
    let keys: Vec<BindKey> = stands.into_iter().map(|stand| stand.key).collect();
    Ok(Footprint {
        compacted: config.cleanup_compact,
        keys_fixed: config.keys_fixed(),
        // Without plugins nobody sends anything there.
        dead_letter_topic: config
            .dead_letter_topic
            .clone()
            .filter(|_| !keys.is_empty()),
        keys,
    })
}
