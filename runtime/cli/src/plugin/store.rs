//! Plugins in a broker, over its admin HTTP: push, list, show, remove.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::admin::Admin;
use crate::args::Global;
use crate::output::{Output, OutputArgs, print_json, print_table, say, size_text, text, time_text};

/// Upload a component under a name and a version. A version never changes once it is there.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate plugin push target/plugins/match.wasm --name match --version 0.1.0

Then attach it to a topic:
  tidegate topic alter flights -c tidegate.produce.chain=match \\
    -c tidegate.plugin.match.field=json:/dep_delay -c tidegate.plugin.match.op=gt \\
    -c tidegate.plugin.match.value=0")]
pub(crate) struct PushArgs {
    /// The component, as `tidegate plugin build` writes it.
    file: PathBuf,
    /// The name that chains use [default: the file's name without its ending].
    #[arg(long)]
    name: Option<String>,
    #[arg(long)]
    version: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// List the plugins the broker has.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  tidegate plugin list")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    output: OutputArgs,
}

/// Show one plugin: its versions, the configuration it takes, and where it is bound.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  tidegate plugin show match")]
pub(crate) struct ShowArgs {
    name: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// Remove a plugin or one version of it. Refused while a topic is bound to it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate plugin remove match@0.1.0
  tidegate plugin remove match          # every version")]
pub(crate) struct RemoveArgs {
    #[arg(value_name = "NAME[@VERSION]")]
    plugin: String,
}

pub(crate) fn push(args: PushArgs, global: &Global) -> Result<()> {
    let bytes =
        std::fs::read(&args.file).with_context(|| format!("reading {}", args.file.display()))?;
    let name = match args.name {
        Some(name) => name,
        None => args
            .file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
    };
    let version = args.version;
    let size = size_text(bytes.len() as u64);
    eprintln!(
        "pushing {} ({size}) as {name} {version}",
        args.file.display()
    );
    let admin = Admin::new(global);
    let mut answer = admin.put(&["v1", "plugins", &name, &version], &bytes)?;
    if answer["already"] == true {
        eprintln!("{name} {version} was there already, byte for byte");
    }
    // What the plugin says of itself is what comes next for whoever pushed it: how to configure it.
    answer["description"] = admin.get(&["v1", "plugins", &name])?["description"].take();
    if args.output.output == Output::Json {
        return print_json(&answer);
    }
    print_table(
        &["NAME", "VERSION", "WORLD", "SIZE", "SHA256"],
        vec![vec![
            text(&answer["name"]),
            text(&answer["version"]),
            text(&answer["description"]["world"]),
            size_text(answer["size"].as_u64().unwrap_or(0)),
            text(&answer["sha256"]),
        ]],
    )?;
    print_config(&answer["description"]["config"])
}

pub(crate) fn list(args: ListArgs, global: &Global) -> Result<()> {
    let answer = Admin::new(global).get(&["v1", "plugins"])?;
    if args.output.output == Output::Json {
        return print_json(&answer["plugins"]);
    }
    let rows: Vec<_> = items(&answer["plugins"]).iter().map(list_row).collect();
    if rows.is_empty() {
        eprintln!("the broker has no plugins; `tidegate plugin push FILE` brings one");
        return Ok(());
    }
    print_table(
        &[
            "NAME", "VERSION", "", "WORLD", "SIZE", "SHA256", "UPLOADED", "SUMMARY",
        ],
        rows,
    )
}

pub(crate) fn show(args: ShowArgs, global: &Global) -> Result<()> {
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
    let error = text(&answer["description_error"]);
    if !error.is_empty() {
        say!("  error     {error}")?;
    }
    print_config(&description["config"])?;
    print_bindings(&answer["bindings"])
}

pub(crate) fn remove(args: RemoveArgs, global: &Global) -> Result<()> {
    let (name, version) = match args.plugin.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (args.plugin.as_str(), None),
    };
    if name.is_empty() || version == Some("") {
        bail!(
            "name the plugin as NAME or NAME@VERSION, not `{}`",
            args.plugin
        );
    }
    let path: Vec<&str> = ["v1", "plugins", name].into_iter().chain(version).collect();
    Admin::new(global).delete(&path)?;
    eprintln!("removed {}", args.plugin);
    Ok(())
}

fn list_row(plugin: &Value) -> Vec<String> {
    let digest = text(&plugin["sha256"]);
    let latest = plugin["latest"].as_bool().unwrap_or(false);
    vec![
        text(&plugin["name"]),
        text(&plugin["version"]),
        if latest { "latest" } else { "" }.to_owned(),
        text(&plugin["world"]),
        size_text(plugin["size"].as_u64().unwrap_or(0)),
        digest.chars().take(12).collect(),
        time_text(plugin["uploaded_ms"].as_i64().unwrap_or(0)),
        text(&plugin["summary"]),
    ]
}

fn print_config(config: &Value) -> Result<()> {
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

/// Versions come as plain strings or as objects that have one.
fn version(entry: &Value) -> String {
    match &entry["version"] {
        Value::Null => text(entry),
        version => text(version),
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_survive_missing_fields() {
        assert_eq!(list_row(&json!({"name": "m"}))[0], "m");
        assert_eq!(config_row(&json!({}))[2], "");
        assert_eq!(binding_row(&json!({})).len(), 12);
        assert_eq!(version(&json!("0.1.0")), "0.1.0");
        assert_eq!(version(&json!({"version": "0.1.0"})), "0.1.0");
    }

    #[test]
    fn time_per_call_is_in_microseconds() {
        let row = binding_row(&json!({"stats": {"nanos": 9_000, "calls": 3}}));
        assert_eq!(row[10], "3");
    }
}
