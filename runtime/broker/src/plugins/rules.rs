//! What one topic may ask of another (stream-semantics.md, rule 22): no cycles, and no plugin between a dead letter and
//! its topic, whatever the order in which the topics were set up.

use tidegate_metadata::config::DEAD_LETTER_TOPIC;
use tidegate_plugin::TargetPattern;

use super::facts::{DeadLetters, Facts, Router, TopicFacts};

/// What a missing topic is needed for.
pub(super) const ROUTED: &str = "a target of the router";
pub(super) const DEAD_LETTERS: &str = "the dead-letter topic";

/// The topics as they would be.
pub(super) struct World<'a> {
    pub(super) facts: &'a Facts,
    pub(super) is_internal: &'a dyn Fn(&str) -> bool,
    pub(super) internal_topics: &'a [String],
}

impl World<'_> {
    /// Checks where a topic sends records. The error is a sentence.
    pub(super) fn check_source(&self, topic: &str) -> Result<(), String> {
        let Some(own) = self.facts.get(topic) else {
            return Ok(());
        };
        for router in &own.routers {
            for target in &router.targets {
                self.check_route(topic, router, target)?;
            }
        }
        match &own.dead_letters {
            Some(dead) => self.check_dead_letters(topic, dead),
            None => Ok(()),
        }
    }

    /// Checks that a topic may take what others send to it. The error is a sentence.
    pub(super) fn check_target(&self, topic: &str) -> Result<(), String> {
        let Some(own) = self.facts.get(topic) else {
            return Ok(());
        };
        for (source, theirs) in self.facts.iter().filter(|(source, _)| *source != topic) {
            let router = theirs
                .routers
                .iter()
                .find(|router| router.targets.iter().any(|t| t.matches(topic)));
            if let (Some(router), Some(why)) = (router, own.takes_no_routes()) {
                return Err(format!(
                    "topic `{topic}` is a target of router `{}` of topic `{source}`, so its own produce chain may not have \
                     {why}; let the router name another topic, or take it out of the chain",
                    router.alias
                ));
            }
            let dead = theirs.dead_letters.as_ref();
            let sent = dead.is_some_and(|dead| dead.topic.as_deref() == Some(topic));
            if let (true, Some(why)) = (sent, own.takes_no_dead_letters()) {
                return Err(format!(
                    "topic `{topic}` takes the dead letters of topic `{source}`, so {why}; or name another topic in \
                     {DEAD_LETTER_TOPIC} of `{source}`"
                ));
            }
        }
        Ok(())
    }

    fn check_route(
        &self,
        topic: &str,
        router: &Router,
        target: &TargetPattern,
    ) -> Result<(), String> {
        let alias = &router.alias;
        let internal = match target {
            TargetPattern::Exact(name) => (self.is_internal)(name).then_some(name),
            TargetPattern::Prefix(_) => self
                .internal_topics
                .iter()
                .find(|name| target.matches(name)),
        };
        if let Some(name) = internal {
            return Err(format!(
                "router `{alias}` may not route to `{name}` (by `{target}`): it is the broker's own topic"
            ));
        }
        if target.matches(topic) {
            return Err(format!(
                "router `{alias}` may not route to `{topic}` itself (by `{target}`): use `keep` or `drop` for records \
                 that stay or go"
            ));
        }
        let mut named = self.facts.iter().filter(|(name, _)| target.matches(name));
        match named.find_map(|(name, facts)| Some((name, facts.takes_no_routes()?))) {
            None => Ok(()),
            Some((name, why)) => Err(format!(
                "router `{alias}` may not route to `{name}` (by `{target}`), whose own produce chain has {why}; let the \
                 router name another topic, or unbind that one"
            )),
        }
    }

    fn check_dead_letters(&self, topic: &str, dead: &DeadLetters) -> Result<(), String> {
        let DeadLetters { alias, policy, .. } = dead;
        let Some(name) = &dead.topic else {
            return Err(format!(
                "the policy of `{alias}` is `dead-letter` ({policy}), and {DEAD_LETTER_TOPIC} names no topic: set it, or \
                 give `{alias}` another policy by {policy}.{alias}"
            ));
        };
        if name == topic {
            return Err(format!(
                "{DEAD_LETTER_TOPIC} of `{topic}` is `{topic}` itself: name another topic"
            ));
        }
        if (self.is_internal)(name) {
            return Err(format!(
                "{DEAD_LETTER_TOPIC} of `{topic}` is `{name}`, which is the broker's own topic: name another one"
            ));
        }
        let target = self.facts.get(name);
        match target.and_then(TopicFacts::takes_no_dead_letters) {
            None => Ok(()),
            Some(why) => Err(format!(
                "{DEAD_LETTER_TOPIC} of `{topic}` is `{name}`, but {why}; or name another topic"
            )),
        }
    }
}

impl TopicFacts {
    /// What in its produce chain keeps routed records out.
    pub(super) fn takes_no_routes(&self) -> Option<String> {
        if let Some(router) = self.routers.first() {
            return Some(format!(
                "a router (`{}`): routed records could go round in circles",
                router.alias
            ));
        }
        let alias = self.stateful.first()?;
        Some(format!(
            "a plugin that keeps state (`{alias}`): it sees the batches of its own producers only, one at a time"
        ))
    }

    /// What keeps dead letters out, as what to do about it.
    pub(super) fn takes_no_dead_letters(&self) -> Option<&'static str> {
        if self.has_chain {
            return Some(
                "its tidegate.produce.chain must be empty: no plugin may fail on a dead letter again",
            );
        }
        self.compacted.then_some(
            "it must not be compacted (cleanup.policy=delete): dead letters of one key would replace each other",
        )
    }
}

/// Topics without which a topic cannot send its records, and which no topic is yet.
pub(super) fn missing_targets(
    facts: &TopicFacts,
    exists: &dyn Fn(&str) -> bool,
) -> Vec<MissingTopic> {
    let routed = facts.routers.iter().flat_map(|router| &router.targets);
    let routed = routed.filter_map(|target| match target {
        TargetPattern::Exact(name) => Some((name, ROUTED)),
        TargetPattern::Prefix(_) => None,
    });
    let dead = facts
        .dead_letters
        .iter()
        .filter_map(|dead| Some((dead.topic.as_ref()?, DEAD_LETTERS)));
    let mut missing: Vec<MissingTopic> = routed
        .chain(dead)
        .filter(|(name, _)| !exists(name))
        .map(|(name, role)| MissingTopic {
            name: name.clone(),
            role,
        })
        .collect();
    missing.sort();
    missing.dedup_by(|a, b| a.name == b.name);
    missing
}

/// A topic to be created, and what for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MissingTopic {
    pub(super) name: String,
    pub(super) role: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(name: &str) -> TargetPattern {
        TargetPattern::Exact(name.to_owned())
    }

    fn prefix(name: &str) -> TargetPattern {
        TargetPattern::Prefix(name.to_owned())
    }

    fn router(targets: &[TargetPattern]) -> TopicFacts {
        TopicFacts {
            routers: vec![Router {
                alias: "route".to_owned(),
                targets: targets.to_vec(),
            }],
            has_chain: true,
            ..TopicFacts::default()
        }
    }

    fn dead_letters(topic: Option<&str>) -> TopicFacts {
        TopicFacts {
            has_chain: true,
            dead_letters: Some(DeadLetters {
                alias: "check".to_owned(),
                policy: "tidegate.on.error",
                topic: topic.map(str::to_owned),
            }),
            ..TopicFacts::default()
        }
    }

    fn stateful() -> TopicFacts {
        TopicFacts {
            stateful: vec!["dedup".to_owned()],
            has_chain: true,
            ..TopicFacts::default()
        }
    }

    fn facts<const N: usize>(of: [(&str, TopicFacts); N]) -> Facts {
        of.map(|(topic, facts)| (topic.to_owned(), facts)).into()
    }

    fn both_ways(topic: &str, facts: &Facts) -> Result<(), String> {
        let world = World {
            facts,
            is_internal: &|name| name.starts_with("__"),
            internal_topics: &["__consumer_offsets".to_owned()],
        };
        world
            .check_source(topic)
            .and_then(|()| world.check_target(topic))
    }

    #[test]
    fn a_router_may_name_topics_without_one() {
        let all = facts([
            ("in", router(&[exact("a"), prefix("out-")])),
            ("other", router(&[exact("a")])),
            ("out-1", dead_letters(Some("dlq"))),
        ]);
        for topic in ["in", "a", "out-1", "dlq", "unknown"] {
            assert_eq!(both_ways(topic, &all), Ok(()), "{topic}");
        }
    }

    #[test]
    fn a_chain_of_routers_is_refused_in_both_orders() {
        let all = facts([("a", router(&[exact("b")])), ("b", router(&[exact("c")]))]);
        assert!(
            both_ways("a", &all)
                .unwrap_err()
                .contains("`b` (by `b`), whose own")
        );
        assert!(
            both_ways("b", &all)
                .unwrap_err()
                .contains("is a target of router `route` of topic `a`")
        );
        let all = facts([
            ("a", router(&[prefix("b-")])),
            ("b-1", router(&[exact("c")])),
        ]);
        assert!(both_ways("a", &all).unwrap_err().contains("(by `b-*`)"));
        assert!(both_ways("b-1", &all).is_err());
    }

    #[test]
    fn routed_records_never_meet_a_plugin_with_state() {
        let all = facts([("a", router(&[exact("b")])), ("b", stateful())]);
        for topic in ["a", "b"] {
            let why = both_ways(topic, &all).unwrap_err();
            assert!(why.contains("keeps state (`dedup`)"), "{why}");
        }
    }

    #[test]
    fn itself_and_internal_topics_are_no_targets() {
        let refused = |topic: &str, target: TargetPattern| {
            both_ways(topic, &facts([(topic, router(&[target]))])).unwrap_err()
        };
        assert!(refused("a", exact("a")).contains("itself"));
        assert!(refused("a-1", prefix("a-")).contains("itself"));
        for target in [
            exact("__consumer_offsets"),
            prefix("__c"),
            exact("__tidegate_plugins"),
        ] {
            assert!(refused("a", target).contains("broker's own"));
        }
    }

    #[test]
    fn dead_letters_need_a_topic_that_no_plugin_stands_before() {
        let refused = |all: &Facts| both_ways("t", all).unwrap_err();
        let why = refused(&facts([("t", dead_letters(None))]));
        assert!(why.contains("tidegate.on.error.check"), "{why}");
        assert!(refused(&facts([("t", dead_letters(Some("t")))])).contains("itself"));
        let own = facts([("t", dead_letters(Some("__consumer_offsets")))]);
        assert!(refused(&own).contains("broker's own"));
        let compacted = TopicFacts {
            compacted: true,
            ..TopicFacts::default()
        };
        for (target, said) in [
            (stateful(), "must be empty"),
            (compacted, "cleanup.policy=delete"),
        ] {
            let all = facts([("t", dead_letters(Some("dlq"))), ("dlq", target)]);
            for topic in ["t", "dlq"] {
                let why = both_ways(topic, &all).unwrap_err();
                assert!(why.contains(said), "{why}");
            }
        }
        let fine = facts([("t", dead_letters(Some("dlq")))]);
        assert_eq!(both_ways("t", &fine), Ok(()));
    }

    #[test]
    fn exact_targets_and_dead_letter_topics_can_be_missing() {
        let mut facts = router(&[exact("a"), exact("b"), exact("a"), prefix("c-")]);
        facts.dead_letters = dead_letters(Some("dlq")).dead_letters;
        let missing = missing_targets(&facts, &|name| name == "b");
        let names: Vec<_> = missing.iter().map(|m| (m.name.as_str(), m.role)).collect();
        assert_eq!(names, [("a", ROUTED), ("dlq", DEAD_LETTERS)]);
    }
}
