//! What the rules between topics need to know of each of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_metadata::Image;
use tidegate_metadata::config::{ON_ERROR, ON_REJECT, TopicConfig};
use tidegate_plugin::{Binding, State, TargetPattern};

use super::PluginService;
use super::bindings::{Place, Stand, stands};

/// One topic as the rules see it. Of its chains only the produce chain matters to other topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TopicFacts {
    pub(super) routers: Vec<Router>,
    /// Aliases that keep state for each partition.
    pub(super) stateful: Vec<String>,
    pub(super) has_chain: bool,
    pub(super) compacted: bool,
    pub(super) dead_letters: Option<DeadLetters>,
}

/// A router in a topic's produce chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Router {
    pub(super) alias: String,
    pub(super) targets: Vec<TargetPattern>,
}

/// A policy that takes records out of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeadLetters {
    pub(super) alias: String,
    /// `tidegate.on.error` or `tidegate.on.reject`.
    pub(super) policy: &'static str,
    /// Where they go; `None` while nothing says it.
    pub(super) topic: Option<String>,
}

/// Facts by topic; topics about which there is nothing to say are left out.
pub(super) type Facts = BTreeMap<String, TopicFacts>;

/// Finds the binding of a stand. One that cannot be bound does nothing, so it breaks no rule.
pub(super) type Find<'a> = &'a dyn Fn(&Stand) -> Option<Arc<Binding>>;

impl PluginService {
    /// The facts of every topic of an image.
    pub(super) fn facts(&self, image: &Image, find: Find<'_>) -> Facts {
        let topics = image.topics.values().filter(|topic| !topic.internal);
        topics
            .filter_map(|topic| {
                let config = self.resolve(image, &topic.configs).ok()?;
                Some((
                    topic.name.clone(),
                    facts_of(&topic.name, &config, image, find),
                ))
            })
            .filter(|(_, facts)| *facts != TopicFacts::default())
            .collect()
    }
}

pub(super) fn facts_of(
    topic: &str,
    config: &TopicConfig,
    image: &Image,
    find: Find<'_>,
) -> TopicFacts {
    let mut facts = TopicFacts {
        has_chain: !config.produce_chain.is_empty(),
        compacted: config.cleanup_compact,
        dead_letters: dead_letters(config),
        ..TopicFacts::default()
    };
    for stand in stands(topic, config, Place::Produce, image).unwrap_or_default() {
        let Some(binding) = find(&stand) else {
            continue;
        };
        if stand.world == "router" {
            facts.routers.push(Router {
                alias: stand.key.alias.clone(),
                targets: binding.targets().to_vec(),
            });
        }
        if binding.plugin().description().state == State::Partition {
            facts.stateful.push(stand.key.alias);
        }
    }
    facts
}

/// The first binding of the produce chain whose policy is `dead-letter`.
fn dead_letters(config: &TopicConfig) -> Option<DeadLetters> {
    config.produce_chain.iter().find_map(|entry| {
        let policies = [
            (ON_ERROR, config.error_policy(&entry.alias)),
            (ON_REJECT, config.reject_policy(&entry.alias)),
        ];
        let (policy, _) = policies
            .into_iter()
            .find(|(_, policy)| *policy == "dead-letter")?;
        Some(DeadLetters {
            alias: entry.alias.clone(),
            policy,
            topic: config.dead_letter_topic.clone(),
        })
    })
}
