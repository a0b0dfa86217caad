//! `tidegate plugin show`: one plugin, what it takes, and how it does where it is bound.

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use crate::admin::Admin;
use crate::args::Global;
use crate::output::{Output, OutputArgs, items, print_json, print_table, say, text};

/// Show one plugin: its versions, the configuration it takes, and where it is bound.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  tidegate plugin show match")]
pub(crate) struct ShowArgs {
    name: String,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) fn run(args: ShowArgs, global: &Global) -> Result<()> {
    let answer = Admin::new(global).get(&["v1", "plugins", &args.name])?;
    if args.output.output == Output::Json {
        return print_json(&answer);
    }
    let description = &answer["description"];
    say!("{}: {}", args.name, text(&description["summary"]))?;
    say!("  world     {}", text(&description["world"]))?;
    say!(
        "  versions  {}",
        items(&answer["versions"])
            .iter()
            .map(version)
            .collect::<Vec<_>>()
            .join(", ")
    )?;
    say!("  reads     {}", text(&description["columns"]))?;
    say!("  state     {}", text(&description["state"]))?;
    say!("  instances {}", text(&description["allocation"]))?;
    let error = text(&answer["description_error"]);
    if !error.is_empty() {
        say!("  error     {error}")?;
    }
    print_config(&description["config"])?;
    print_bindings(&answer["bindings"])
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
    vec![
        text(&key["name"]),
        text(&key["type"]),
        if required { "yes" } else { "" }.to_owned(),
        text(&key["default"]),
        text(&key["doc"]),
    ]
}

fn print_bindings(bindings: &Value) -> Result<()> {
    let rows: Vec<_> = items(bindings).iter().map(binding_row).collect();
    if rows.is_empty() {
        say!("\nBound to no topic.")?;
        return Ok(());
    }
    say!("\nBindings:")?;
    let columns = [
        "TOPIC",
        "SIDE",
        "ALIAS",
        "VERSION",
        "IN",
        "KEPT",
        "DROPPED",
        "REJECTED",
        "ROUTED",
        "ERRORS",
        "US/CALL",
        "LAST ERROR",
    ];
    print_table(&columns, rows)
}

fn binding_row(binding: &Value) -> Vec<String> {
    let stats = &binding["stats"];
    let number = |name: &str| stats[name].as_u64().unwrap_or(0);
    let micros = number("nanos").checked_div(number("calls")).unwrap_or(0) / 1000;
    let mut row: Vec<String> = ["topic", "side", "alias", "version"]
        .iter()
        .map(|name| text(&binding[*name]))
        .collect();
    let counters = [
        "records_in",
        "kept",
        "dropped",
        "rejected",
        "routed",
        "errors",
    ];
    row.extend(counters.iter().map(|name| number(name).to_string()));
    row.push(micros.to_string());
    row.push(text(&binding["last_error"]));
    row
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
        assert_eq!(binding_row(&json!({})).len(), 12);
        assert_eq!(version(&json!("0.1.0")), "0.1.0");
        assert_eq!(version(&json!({"version": "0.1.0"})), "0.1.0");
        let signed = json!({"version": "0.1.0", "signed_by": "k="});
        assert_eq!(version(&signed), "0.1.0 (signed by k=)");
    }

    #[test]
    fn time_per_call_is_in_microseconds() {
        let row = binding_row(&json!({"stats": {"nanos": 9_000, "calls": 3}}));
        assert_eq!(row[10], "3");
    }
}
