//! Policies and limits of the aliases that stand in a chain, as clients are told of them while they are not set.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_metadata::binding::parse_chain;
use tidegate_metadata::config::{
    BrokerLayer, CHAINS, CONSUME_CHAIN, ConfigSource, DescribedConfig, DescribedSynonym,
    LIMIT_PREFIX, LimitDef, ON_ERROR, ON_REJECT, describe_config, limit_defs,
};
use tidegate_plugin::Limits;

use crate::plugins::named_limits;

/// Adds what is not set, and to what is set the default behind it. `own` are the topic's configs, over the broker's.
pub(super) fn complete(
    described: &mut Vec<DescribedConfig>,
    (own, layers): (&BTreeMap<String, String>, &[BrokerLayer<'_>]),
    limits: &Limits,
) {
    let aliases = aliases(described);
    let told: BTreeSet<String> = described.iter().map(|config| config.name.clone()).collect();
    for (alias, rejects) in aliases {
        let policies = [(ON_ERROR, true), (ON_REJECT, rejects)];
        let policies = policies.into_iter().filter(|(_, has)| *has);
        let policies = policies.map(|(policy, _)| format!("{policy}.{alias}"));
        let limits = limit_defs()
            .iter()
            .map(|limit| format!("{LIMIT_PREFIX}{alias}.{}", limit.name));
        let missing = policies.chain(limits).filter(|name| !told.contains(name));
        described.extend(missing.filter_map(|name| describe_config(&name, own, layers)));
    }
    let defaults = BTreeMap::from(named_limits(limits));
    for config in described.iter_mut() {
        let limit =
            limit_of(&config.name).and_then(|limit| Some((limit, defaults.get(limit.name)?)));
        if let Some((limit, value)) = limit {
            behind(config, limit, *value);
        }
    }
}

/// The broker's own limit is the last of what gives a value.
fn behind(config: &mut DescribedConfig, limit: &LimitDef, value: u64) {
    let default = DescribedSynonym {
        name: format!("tidegate.plugins.{}", limit.name),
        value: value.to_string(),
        source: ConfigSource::Default,
    };
    if config.value.is_none() {
        config.value = Some(default.value.clone());
        config.source = default.source;
    }
    config.synonyms.push(default);
}

fn limit_of(name: &str) -> Option<&'static LimitDef> {
    let (_, limit) = name.strip_prefix(LIMIT_PREFIX)?.split_once('.')?;
    limit_defs().iter().find(|def| def.name == limit)
}

/// Aliases in any chain, and whether a rejection of theirs is told to anybody.
fn aliases(described: &[DescribedConfig]) -> BTreeMap<String, bool> {
    let mut aliases = BTreeMap::new();
    for config in described {
        let chain = config
            .value
            .as_deref()
            .filter(|_| CHAINS.contains(&config.name.as_str()));
        let Some(chain) = chain.and_then(|value| parse_chain(value).ok()) else {
            continue;
        };
        for entry in chain.0 {
            *aliases.entry(entry.alias).or_default() |= config.name != CONSUME_CHAIN;
        }
    }
    aliases
}

#[cfg(test)]
mod tests {
    use tidegate_metadata::config::describe_topic;

    use super::*;

    #[test]
    fn what_is_bound_is_told_with_its_policies_and_limits() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let owned = pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            owned.collect()
        };
        let own = map(&[
            ("tidegate.produce.chain", "a=f"),
            ("tidegate.consume.chain", "b=f"),
            ("tidegate.on.error", "pass"),
            ("tidegate.limit.a.deadline.ms", "5"),
        ]);
        let mut all = describe_topic(&own, &[]);
        complete(&mut all, (&own, &[]), &Limits::default());
        let find = |name: &str| all.iter().find(|config| config.name == name);
        let value = |name: &str| find(name).and_then(|config| config.value.clone());
        assert_eq!(value("tidegate.on.error.a").as_deref(), Some("pass"));
        assert_eq!(value("tidegate.on.reject.a").as_deref(), Some("refuse"));
        assert!(find("tidegate.on.reject.b").is_none());
        assert_eq!(
            value("tidegate.limit.b.deadline.ms").as_deref(),
            Some("1000")
        );
        let set = find("tidegate.limit.a.deadline.ms").unwrap();
        assert_eq!(
            (set.value.as_deref(), set.source),
            (Some("5"), ConfigSource::Topic)
        );
        let names: Vec<_> = set.synonyms.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "tidegate.limit.a.deadline.ms",
                "tidegate.plugins.deadline.ms"
            ]
        );
        let mut names: Vec<_> = all.iter().map(|config| &config.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all.len());
    }
}
