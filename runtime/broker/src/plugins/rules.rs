//! Who may route to whom (stream-semantics.md, rule 22): no cycles, whatever the order of the bindings.

use std::collections::BTreeMap;

use tidegate_plugin::TargetPattern;

/// A router in a topic's produce chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Router {
    pub(super) alias: String,
    pub(super) targets: Vec<TargetPattern>,
}

/// Routers by the topic whose produce chain they stand in; topics without one are left out.
pub(super) type Routers = BTreeMap<String, Vec<Router>>;

/// Checks one topic against all others, both as a source and as a target. The error is a sentence.
pub(super) fn check(
    topic: &str,
    routers: &Routers,
    is_internal: &dyn Fn(&str) -> bool,
    internal_topics: &[String],
) -> Result<(), String> {
    let Some(own) = routers.get(topic) else {
        return Ok(());
    };
    for router in own {
        for target in &router.targets {
            check_target(topic, router, target, routers, is_internal, internal_topics)?;
        }
    }
    for (source, theirs) in routers.iter().filter(|(source, _)| *source != topic) {
        let router = theirs
            .iter()
            .find(|router| router.targets.iter().any(|t| t.matches(topic)));
        if let Some(router) = router {
            return Err(format!(
                "topic `{topic}` is a target of router `{}` of topic `{source}`, so its own produce chain may not have \
                 a router (`{}`): routed records could go round in circles",
                router.alias,
                own.first().map_or("", |router| &router.alias),
            ));
        }
    }
    Ok(())
}

/// Exact names of a topic's routers that no topic has yet.
pub(super) fn missing_targets(routers: &[Router], exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut missing: Vec<String> = routers
        .iter()
        .flat_map(|router| &router.targets)
        .filter_map(|target| match target {
            TargetPattern::Exact(name) if !exists(name) => Some(name.clone()),
            _ => None,
        })
        .collect();
    missing.sort();
    missing.dedup();
    missing
}

fn check_target(
    topic: &str,
    router: &Router,
    target: &TargetPattern,
    routers: &Routers,
    is_internal: &dyn Fn(&str) -> bool,
    internal_topics: &[String],
) -> Result<(), String> {
    let alias = &router.alias;
    let internal = match target {
        TargetPattern::Exact(name) => is_internal(name).then_some(name),
        TargetPattern::Prefix(_) => internal_topics.iter().find(|name| target.matches(name)),
    };
    if let Some(name) = internal {
        return Err(format!(
            "router `{alias}` may not route to `{name}` (by `{target}`): it is the broker's own topic"
        ));
    }
    if target.matches(topic) {
        return Err(format!(
            "router `{alias}` may not route to `{topic}` itself (by `{target}`): use `keep` or `drop` for records that \
             stay or go"
        ));
    }
    match routers.keys().find(|other| target.matches(other)) {
        None => Ok(()),
        Some(other) => Err(format!(
            "router `{alias}` may not route to `{other}` (by `{target}`), whose own produce chain has a router: routed \
             records could go round in circles"
        )),
    }
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

    fn routers(of: &[(&str, &[TargetPattern])]) -> Routers {
        of.iter()
            .map(|(topic, targets)| {
                let router = Router {
                    alias: "route".to_owned(),
                    targets: targets.to_vec(),
                };
                ((*topic).to_owned(), vec![router])
            })
            .collect()
    }

    fn verdict(topic: &str, routers: &Routers) -> Result<(), String> {
        let internal = ["__consumer_offsets".to_owned()];
        check(topic, routers, &|name| name.starts_with("__"), &internal)
    }

    #[test]
    fn a_router_may_name_topics_without_one() {
        let all = routers(&[
            ("in", &[exact("a"), prefix("out-")]),
            ("other", &[exact("a")]),
        ]);
        assert_eq!(verdict("in", &all), Ok(()));
        assert_eq!(verdict("a", &all), Ok(()));
        assert_eq!(verdict("unknown", &all), Ok(()));
    }

    #[test]
    fn a_chain_of_routers_is_refused_in_both_orders() {
        let all = routers(&[("a", &[exact("b")]), ("b", &[exact("c")])]);
        assert!(
            verdict("a", &all)
                .unwrap_err()
                .contains("`b` (by `b`), whose own")
        );
        assert!(
            verdict("b", &all)
                .unwrap_err()
                .contains("is a target of router `route` of topic `a`")
        );
        let all = routers(&[("a", &[prefix("b-")]), ("b-1", &[exact("c")])]);
        assert!(verdict("a", &all).unwrap_err().contains("(by `b-*`)"));
        assert!(verdict("b-1", &all).is_err());
    }

    #[test]
    fn itself_and_internal_topics_are_no_targets() {
        assert!(
            verdict("a", &routers(&[("a", &[exact("a")])]))
                .unwrap_err()
                .contains("itself")
        );
        assert!(verdict("a-1", &routers(&[("a-1", &[prefix("a-")])])).is_err());
        let offsets = routers(&[("a", &[exact("__consumer_offsets")])]);
        assert!(verdict("a", &offsets).unwrap_err().contains("broker's own"));
        assert!(verdict("a", &routers(&[("a", &[prefix("__c")])])).is_err());
        assert!(verdict("a", &routers(&[("a", &[exact("__tidegate_plugins")])])).is_err());
    }

    #[test]
    fn only_exact_names_can_be_missing() {
        let all = routers(&[("in", &[exact("a"), exact("b"), exact("a"), prefix("c-")])]);
        let missing = missing_targets(&all["in"], &|name| name == "b");
        assert_eq!(missing, ["a"]);
    }
}
