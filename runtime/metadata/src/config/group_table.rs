//! Configs of consumer groups (KIP-848, resource type GROUP): each overrules a broker config for one group.

use std::collections::BTreeMap;

use super::describe::{described, synonym};
use super::{Check, ConfigSource, ConfigType, DescribedConfig, broker_defs, check_size};

/// One group config; its default is what the broker config says.
#[derive(Debug)]
pub struct GroupConfigDef {
    pub name: &'static str,
    pub broker_name: &'static str,
    pub doc: &'static str,
    pub check: Check,
}

pub fn group_defs() -> &'static [GroupConfigDef] {
    DEFS
}

static DEFS: &[GroupConfigDef] = &[
    GroupConfigDef {
        name: "consumer.heartbeat.interval.ms",
        broker_name: "group.consumer.heartbeat.interval.ms",
        doc: "How often the group's members send heartbeats, in milliseconds.",
        check: Check::AtLeast(1),
    },
    GroupConfigDef {
        name: "consumer.session.timeout.ms",
        broker_name: "group.consumer.session.timeout.ms",
        doc: "After this silence, in milliseconds, a member of the group is out.",
        check: Check::AtLeast(1),
    },
];

/// Checks one group config by itself; the error is a sentence. The broker's bounds are in its file, and checked by it.
pub fn validate_group_config(name: &str, value: &str) -> Result<(), String> {
    check_size(name, value)?;
    match DEFS.iter().find(|def| def.name == name) {
        Some(def) => def.check.validate(ConfigType::Int, value),
        None => Err(format!("`{name}` is not a group config")),
    }
}

/// All configs of a group, by name.
pub fn describe_group(
    own: &BTreeMap<String, String>,
    file: &BTreeMap<String, String>,
) -> Vec<DescribedConfig> {
    let describe = |def: &GroupConfigDef| {
        let set = own.get(def.name);
        let set = set.map(|value| synonym(def.name, value, ConfigSource::Group));
        let in_file = file.get(def.broker_name);
        let in_file = in_file.map(|v| synonym(def.broker_name, v, ConfigSource::StaticBroker));
        let default = broker_defs()
            .iter()
            .find(|broker| broker.name == def.broker_name);
        let default = default.and_then(|broker| broker.default);
        let default = default.map(|v| synonym(def.broker_name, v, ConfigSource::Default));
        let layers = set.into_iter().chain(in_file).chain(default).collect();
        described(def.name, ConfigType::Int, def.doc.to_owned(), false, layers)
    };
    DEFS.iter().map(describe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_overrules_the_broker() {
        let map = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let own = map("consumer.session.timeout.ms", "50000");
        let file = map("group.consumer.heartbeat.interval.ms", "6000");
        let all = describe_group(&own, &file);
        let told: Vec<_> = all
            .iter()
            .map(|c| (c.name.as_str(), c.value.as_deref(), c.source))
            .collect();
        assert_eq!(
            told,
            [
                (
                    "consumer.heartbeat.interval.ms",
                    Some("6000"),
                    ConfigSource::StaticBroker
                ),
                (
                    "consumer.session.timeout.ms",
                    Some("50000"),
                    ConfigSource::Group
                ),
            ]
        );
        assert_eq!(all[1].synonyms.len(), 2, "and the broker's default");
    }

    #[test]
    fn only_known_names_with_numbers_are_set() {
        assert_eq!(
            validate_group_config("consumer.session.timeout.ms", "1"),
            Ok(())
        );
        for (name, value) in [
            ("consumer.session.timeout.ms", "0"),
            ("consumer.session.timeout.ms", "x"),
            ("session.timeout.ms", "1"),
        ] {
            assert!(
                validate_group_config(name, value).is_err(),
                "{name}={value}"
            );
        }
    }
}
