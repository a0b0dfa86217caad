//! Configs about one alias of a chain: its plugin's own settings, its policies, its limits.

use super::{Check, ConfigType, ON_ERROR, ON_REJECT, PLUGIN_PREFIX};
use crate::binding::validate_plugin_name;

/// What a limit of one binding starts with: `tidegate.limit.<alias>.<name>`.
pub const LIMIT_PREFIX: &str = "tidegate.limit.";
/// What becomes of records whose plugin failed.
pub const ERROR_POLICIES: &[&str] = &["reject", "drop", "pass", "dead-letter", "pause"];
/// What becomes of records that a plugin rejects.
pub const REJECT_POLICIES: &[&str] = &["refuse", "dead-letter", "drop"];

/// One limit of a binding. The broker's own key `tidegate.plugins.<name>` gives its default.
#[derive(Debug)]
pub struct LimitDef {
    /// As in `tidegate.limit.<alias>.<name>`.
    pub name: &'static str,
    pub check: Check,
    pub doc: &'static str,
}

impl LimitDef {
    /// Every limit is a number of at most 31 bits.
    pub const KIND: ConfigType = ConfigType::Int;
}

/// All limits, by name.
pub fn limit_defs() -> &'static [LimitDef] {
    LIMITS
}

macro_rules! limits {
    ($($name:literal, $check:expr, $doc:literal;)*) => {
        &[$(LimitDef { name: $name, check: $check, doc: $doc }),*]
    };
}

static LIMITS: &[LimitDef] = limits![
    "breaker.delay.ms", Check::AtLeast(1),
        "How long an open circuit waits before it lets one call try, in milliseconds.";
    "breaker.failures", Check::AtLeast(1),
        "Consecutive failures after which a binding's circuit opens.";
    "call.bytes", Check::AtLeast(1024),
        "Bytes handed to a plugin in one call, at most a quarter of its memory.";
    "call.records", Check::AtLeast(1),
        "Records handed to a plugin in one call; larger batches are split.";
    "deadline.ms", Check::Between(1, 60_000),
        "Wall time of one call into a plugin, in milliseconds.";
    "instances", Check::Between(1, 1024),
        "Instances of one binding that may run at one time.";
    "log.bytes.per.sec", Check::AtLeast(0),
        "Bytes of a binding's own log messages kept per second.";
    "memory.bytes", Check::AtLeast(65_536),
        "Linear memory of one plugin instance.";
    "output.bytes", Check::AtLeast(1024),
        "The most that one call of a plugin may give back.";
    "output.records", Check::AtLeast(1),
        "Routes, or reasons of rejection, that one call may give back.";
    "table.elements", Check::AtLeast(1),
        "Elements of one table of a plugin instance.";
];

/// A config name that is about one alias.
#[derive(Clone, Copy, Debug)]
pub enum AliasConfig<'a> {
    /// `tidegate.plugin.<alias>.<key>`
    Setting { alias: &'a str, key: &'a str },
    /// `tidegate.on.error.<alias>`
    OnError { alias: &'a str },
    /// `tidegate.on.reject.<alias>`
    OnReject { alias: &'a str },
    /// `tidegate.limit.<alias>.<name>`
    Limit {
        alias: &'a str,
        limit: &'static LimitDef,
    },
}

/// Takes a config name apart; `None` when it is not about an alias.
pub fn alias_config(name: &str) -> Option<AliasConfig<'_>> {
    if let Some(rest) = name.strip_prefix(PLUGIN_PREFIX) {
        let (alias, key) = rest.split_once('.')?;
        let known = is_alias(alias) && !key.is_empty();
        return known.then_some(AliasConfig::Setting { alias, key });
    }
    if let Some(rest) = name.strip_prefix(LIMIT_PREFIX) {
        let (alias, limit) = rest.split_once('.')?;
        let limit = limit_defs().iter().find(|def| def.name == limit)?;
        return is_alias(alias).then_some(AliasConfig::Limit { alias, limit });
    }
    if let Some(alias) = of_alias(name, ON_ERROR) {
        return Some(AliasConfig::OnError { alias });
    }
    of_alias(name, ON_REJECT).map(|alias| AliasConfig::OnReject { alias })
}

/// Splits `tidegate.plugin.<alias>.<key>`; `None` when the name is not of that form.
pub fn plugin_key(name: &str) -> Option<(&str, &str)> {
    match alias_config(name)? {
        AliasConfig::Setting { alias, key } => Some((alias, key)),
        _ => None,
    }
}

impl<'a> AliasConfig<'a> {
    pub fn alias(&self) -> &'a str {
        match self {
            AliasConfig::Setting { alias, .. }
            | AliasConfig::OnError { alias }
            | AliasConfig::OnReject { alias }
            | AliasConfig::Limit { alias, .. } => alias,
        }
    }

    pub fn kind(&self) -> ConfigType {
        match self {
            AliasConfig::Limit { .. } => LimitDef::KIND,
            _ => ConfigType::String,
        }
    }

    pub fn check(&self) -> Check {
        match self {
            AliasConfig::Setting { .. } => Check::Any,
            AliasConfig::OnError { .. } => Check::OneOf(ERROR_POLICIES),
            AliasConfig::OnReject { .. } => Check::OneOf(REJECT_POLICIES),
            AliasConfig::Limit { limit, .. } => limit.check,
        }
    }

    /// The topic config that holds for aliases without one of their own.
    pub fn fallback(&self) -> Option<&'static str> {
        match self {
            AliasConfig::OnError { .. } => Some(ON_ERROR),
            AliasConfig::OnReject { .. } => Some(ON_REJECT),
            AliasConfig::Setting { .. } | AliasConfig::Limit { .. } => None,
        }
    }

    pub fn doc(&self) -> String {
        match self {
            AliasConfig::Setting { alias, key } => {
                format!("Setting `{key}` of the plugin that stands as `{alias}` in a chain.")
            }
            AliasConfig::OnError { alias } => format!(
                "`{ON_ERROR}` for the plugin that stands as `{alias}` in a chain, instead of the topic's."
            ),
            AliasConfig::OnReject { alias } => format!(
                "`{ON_REJECT}` for the plugin that stands as `{alias}` in a chain, instead of the topic's."
            ),
            AliasConfig::Limit { alias, limit } => format!(
                "A limit of the plugin that stands as `{alias}` in a chain, instead of the broker's \
                 tidegate.plugins.{}: {}",
                limit.name, limit.doc
            ),
        }
    }
}

/// Why a name that starts like one of these is none of them; `None` for all other names.
pub(super) fn unknown(name: &str) -> Option<String> {
    if name.starts_with(PLUGIN_PREFIX) {
        return Some(format!(
            "`{name}` is not of the form `{PLUGIN_PREFIX}<name or alias>.<key>`"
        ));
    }
    if name.starts_with(LIMIT_PREFIX) {
        let limits: Vec<&str> = limit_defs().iter().map(|def| def.name).collect();
        return Some(format!(
            "`{name}` is not of the form `{LIMIT_PREFIX}<name or alias>.<limit>`, where the limit is one of {}",
            limits.join(", ")
        ));
    }
    let policy = [ON_ERROR, ON_REJECT].into_iter().find(|policy| {
        name.strip_prefix(policy)
            .is_some_and(|rest| rest.starts_with('.'))
    })?;
    Some(format!(
        "`{name}` is not of the form `{policy}.<name or alias>`"
    ))
}

fn of_alias<'a>(name: &'a str, policy: &str) -> Option<&'a str> {
    let alias = name.strip_prefix(policy)?.strip_prefix('.')?;
    is_alias(alias).then_some(alias)
}

fn is_alias(alias: &str) -> bool {
    validate_plugin_name(alias).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{lookup, validate_topic_config};

    #[test]
    fn names_about_an_alias_are_taken_apart() {
        assert_eq!(plugin_key("tidegate.plugin.m.a.b"), Some(("m", "a.b")));
        assert_eq!(plugin_key("tidegate.on.error.m"), None);
        for name in [
            "tidegate.on.error.m",
            "tidegate.on.reject.late-match",
            "tidegate.limit.m.deadline.ms",
            "tidegate.limit.m.instances",
        ] {
            let view = lookup(name).unwrap();
            assert_eq!(view.default, None, "{name}");
            assert!(view.doc.contains("stands as"), "{name}");
        }
        for name in [
            "tidegate.on.error.",
            "tidegate.on.error.a.b",
            "tidegate.limit.m",
            "tidegate.limit.a.b.deadline.ms",
            "tidegate.plugin..k",
        ] {
            assert!(lookup(name).is_none(), "{name}");
        }
    }

    #[test]
    fn values_are_checked_and_unknown_limits_are_told_the_list() {
        let refuse = |name: &str, value: &str| validate_topic_config(name, value).unwrap_err();
        for policy in ERROR_POLICIES {
            assert_eq!(validate_topic_config("tidegate.on.error.m", policy), Ok(()));
        }
        assert!(refuse("tidegate.on.error.m", "refuse").contains("dead-letter"));
        assert!(refuse("tidegate.on.reject.m", "pass").contains("refuse, dead-letter, drop"));
        assert!(refuse("tidegate.on.reject.a.b", "drop").contains("tidegate.on.reject.<name"));
        assert_eq!(
            validate_topic_config("tidegate.limit.m.deadline.ms", "60000"),
            Ok(())
        );
        assert!(refuse("tidegate.limit.m.deadline.ms", "60001").contains("between 1 and 60000"));
        assert!(refuse("tidegate.limit.m.deadline.ms", "fast").contains("whole number"));
        let unknown = refuse("tidegate.limit.m.fuel", "1");
        assert!(
            limit_defs().iter().all(|def| unknown.contains(def.name)),
            "{unknown}"
        );
    }
}
