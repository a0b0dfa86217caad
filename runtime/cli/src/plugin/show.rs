//! `tidegate plugin show`: one plugin, what it takes, and how it does where it is bound.

use anyhow::{Result, bail};
use clap::Args;
use serde_json::Value;

use crate::admin::Admin;
use crate::args::Global;
use crate::output::{
    Output, OutputArgs, counted, items, print_json, print_table, say, size_text, text,
};

/// Show one plugin, or with --topic all that stands in a topic's chains.
///
/// A plugin's versions, the configuration it takes, and how it does where it is bound: counts, policies, limits and which of
/// them were hit, cost, circuit breaker, and whether it is paused.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate plugin show match
  tidegate plugin show --topic flights       # its chains, in order, and what a shadow chain would have done
  tidegate plugin show match -o json")]
pub(crate) struct ShowArgs {
    #[arg(required_unless_present = "topic", conflicts_with = "topic")]
    name: Option<String>,
    /// Show a topic's chains instead.
    #[arg(long)]
    topic: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) fn run(args: ShowArgs, global: &Global) -> Result<()> {
    let admin = Admin::new(global);
    match (&args.topic, &args.name) {
        (Some(topic), _) => show_topic(&admin, topic, args.output.output),
        (None, Some(name)) => show_plugin(&admin, name, args.output.output),
        (None, None) => bail!("name a plugin, or a topic with --topic"),
    }
}

fn show_plugin(admin: &Admin, name: &str, output: Output) -> Result<()> {
    let answer = admin.get(&["v1", "plugins", name])?;
    if output == Output::Json {
        return print_json(&answer);
    }
    let description = &answer["description"];
    say!("{name}: {}", text(&description["summary"]))?;
    let versions = items(&answer["versions"]).iter().map(version);
    let rows = [
        ("world", text(&description["world"])),
        ("versions", versions.collect::<Vec<_>>().join(", ")),
        ("latest", text(&answer["latest"])),
        ("before", text(&answer["previous"])),
        ("reads", text(&description["columns"])),
        ("writes", text(&description["writes"])),
        ("state", text(&description["state"])),
        ("instances", text(&description["allocation"])),
        ("error", text(&answer["description_error"])),
    ];
    for (what, words) in rows.iter().filter(|(_, words)| !words.is_empty()) {
        say!("  {what:<10} {words}")?;
    }
    print_config(&description["config"])?;
    let bindings = items(&answer["bindings"]);
    if bindings.is_empty() {
        say!("\nBound to no topic.")?;
        return Ok(());
    }
    say!("\nBindings:")?;
    print_bindings(bindings)
}

fn show_topic(admin: &Admin, topic: &str, output: Output) -> Result<()> {
    let answer = admin.get(&["v1", "topics", topic, "plugins"])?;
    if output == Output::Json {
        return print_json(&answer);
    }
    let rows = [
        ("produce", text(&answer["produce_chain"])),
        ("consume", text(&answer["consume_chain"])),
        ("shadow", text(&answer["shadow_chain"])),
        ("dead letters", text(&answer["dead_letter_topic"])),
    ];
    say!("{topic}:")?;
    for (what, words) in rows.iter().filter(|(_, words)| !words.is_empty()) {
        say!("  {what:<12} {words}")?;
    }
    let bindings = items(&answer["bindings"]);
    if bindings.is_empty() {
        say!(
            "  no plugins; `tidegate topic alter {topic} -c tidegate.produce.chain=NAME` binds one"
        )?;
        return Ok(());
    }
    say!("")?;
    print_bindings(bindings)?;
    if let Some(shadow) = shadow_text(&answer["shadow"]) {
        say!("\nShadow chain, beside the real one: {shadow}")?;
    }
    Ok(())
}

pub(super) fn print_config(config: &Value) -> Result<()> {
    let rows: Vec<_> = items(config).iter().map(config_row).collect();
    if rows.is_empty() {
        return Ok(());
    }
    say!("\nConfiguration (topic configs tidegate.plugin.<name>.<key>):")?;
    print_table(&["KEY", "TYPE", "REQUIRED", "DEFAULT", "MEANING"], rows)
}

fn config_row(key: &Value) -> Vec<String> {
    let required = key["required"].as_bool().unwrap_or(false);
    let secret = match key["secret"].as_bool() {
        Some(true) => ", secret",
        _ => "",
    };
    vec![
        text(&key["name"]),
        format!("{}{secret}", text(&key["type"])),
        if required { "yes" } else { "" }.to_owned(),
        text(&key["default"]),
        text(&key["doc"]),
    ]
}

const COLUMNS: [&str; 13] = [
    "TOPIC", "CHAIN", "ALIAS", "VERSION", "IN", "KEPT", "EDITED", "DROPPED", "REJECTED", "ROUTED",
    "DEAD", "ERRORS", "STATE",
];

/// A table of counts, then for each binding what does not fit into it.
fn print_bindings(bindings: &[Value]) -> Result<()> {
    print_table(&COLUMNS, bindings.iter().map(binding_row).collect())?;
    for binding in bindings {
        say!(
            "\n{} in {}:",
            text(&binding["alias"]),
            text(&binding["topic"])
        )?;
        for (what, words) in details(binding) {
            say!("  {what:<10} {words}")?;
        }
    }
    Ok(())
}

fn binding_row(binding: &Value) -> Vec<String> {
    let stats = &binding["stats"];
    let names = ["topic", "side", "alias", "version"];
    let counters = [
        "records_in",
        "kept",
        "edited",
        "dropped",
        "rejected",
        "routed",
        "dead_lettered",
        "errors",
    ];
    let mut row: Vec<String> = names.iter().map(|name| text(&binding[*name])).collect();
    let number = |name: &&str| stats[*name].as_u64().unwrap_or(0).to_string();
    row.extend(counters.iter().map(number));
    row.push(state(binding).to_owned());
    row
}

fn state(binding: &Value) -> &'static str {
    let stats = &binding["stats"];
    match stats["breaker"].as_str() {
        _ if !text(&stats["paused"]).is_empty() => "paused",
        _ if binding["ready"] == false => "not ready",
        Some("open") => "breaker open",
        Some("half-open") => "breaker half-open",
        _ => "running",
    }
}

/// What a table has no room for, without what there is nothing to say of.
fn details(binding: &Value) -> Vec<(&'static str, String)> {
    let stats = &binding["stats"];
    let mut policies = format!("on error {}", text(&binding["on_error"]));
    if !binding["on_reject"].is_null() {
        policies = format!("{policies}, on reject {}", text(&binding["on_reject"]));
    }
    let number = |name: &str| stats[name].as_u64().unwrap_or(0);
    let mut cost = counted(number("calls"), "call");
    if let Some(nanos) = number("nanos").checked_div(number("calls")) {
        let cpu = number("cpu_nanos")
            .checked_div(number("records_in"))
            .unwrap_or(0);
        cost = format!("{cost}, {} us each, {cpu} ns CPU a record", nanos / 1000);
    }
    cost = format!("{cost}, {} of memory", size_text(number("memory_bytes")));
    let rows = [
        ("policy", policies),
        ("limits", pairs(&binding["limits"])),
        ("hit", pairs(&stats["limit_hits"])),
        ("cost", cost),
        ("counters", pairs(&stats["counters"])),
        ("paused", text(&stats["paused"])),
        ("error", text(&binding["error"])),
        ("last error", text(&binding["last_error"])),
    ];
    rows.into_iter()
        .filter(|(_, words)| !words.is_empty())
        .collect()
}

/// `deadline.ms 1000, instances 8`
fn pairs(map: &Value) -> String {
    let pairs = map.as_object().into_iter().flatten();
    let pairs = pairs.map(|(name, value)| format!("{name} {}", text(value)));
    pairs.collect::<Vec<_>>().join(", ")
}

fn shadow_text(shadow: &Value) -> Option<String> {
    let records = shadow["records"].as_u64()?;
    let number = |name: &str| shadow[name].as_u64().unwrap_or(0);
    Some(format!(
        "of {} it agrees on {}; it would drop {} and keep {} more, and change {}; {} errors, {} skipped",
        counted(records, "record"),
        number("agree"),
        number("would_drop"),
        number("would_keep"),
        number("would_change"),
        number("errors"),
        number("skipped"),
    ))
}

/// Versions come as plain strings or as objects that have one, and the key that signed it.
fn version(entry: &Value) -> String {
    match (&entry["version"], &entry["signed_by"]) {
        (Value::Null, _) => text(entry),
        (version, Value::Null) => text(version),
        (version, key) => format!("{} (signed by {})", text(version), text(key)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_survive_missing_fields() {
        assert_eq!(config_row(&json!({}))[2], "");
        let secret = json!({"name": "hash.key", "type": "text", "secret": true});
        assert_eq!(config_row(&secret)[..2], ["hash.key", "text, secret"]);
        assert_eq!(binding_row(&json!({})).len(), COLUMNS.len());
        assert_eq!(shadow_text(&json!(null)), None);
        assert_eq!(version(&json!("0.1.0")), "0.1.0");
        assert_eq!(version(&json!({"version": "0.1.0"})), "0.1.0");
        let signed = json!({"version": "0.1.0", "signed_by": "k="});
        assert_eq!(version(&signed), "0.1.0 (signed by k=)");
    }

    #[test]
    fn a_binding_says_how_it_does() {
        let mut binding = json!({
            "on_error": "reject", "on_reject": "refuse", "ready": true, "last_error": "it trapped",
            "limits": {"deadline.ms": 1000, "instances": 8},
            "stats": {"nanos": 9_000, "calls": 3, "records_in": 10, "cpu_nanos": 500, "memory_bytes": 1024,
                "limit_hits": {"deadline": 2}, "breaker": "closed", "paused": null},
        });
        assert_eq!(state(&binding), "running");
        let expected = [
            ("policy", "on error reject, on reject refuse"),
            ("limits", "deadline.ms 1000, instances 8"),
            ("hit", "deadline 2"),
            (
                "cost",
                "3 calls, 3 us each, 50 ns CPU a record, 1.0 KiB of memory",
            ),
            ("last error", "it trapped"),
        ];
        let found = details(&binding);
        let found: Vec<_> = found
            .iter()
            .map(|(what, words)| (*what, words.as_str()))
            .collect();
        assert_eq!(found, expected);
        binding["stats"]["breaker"] = json!("open");
        assert_eq!(state(&binding), "breaker open");
        binding["stats"]["paused"] = json!("it trapped");
        assert_eq!(state(&binding), "paused");
    }
}
