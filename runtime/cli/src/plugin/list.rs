//! `tidegate plugin list`: every version of every plugin.

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use crate::admin::Admin;
use crate::args::Global;
use crate::output::{
    Output, OutputArgs, items, print_json, print_table, size_text, text, time_text,
};

/// List the plugins the broker has.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  tidegate plugin list")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) fn run(args: ListArgs, global: &Global) -> Result<()> {
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
            "NAME",
            "VERSION",
            "",
            "WORLD",
            "SIZE",
            "SHA256",
            "SIGNED BY",
            "UPLOADED",
            "SUMMARY",
        ],
        rows,
    )
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
        text(&plugin["signed_by"]).chars().take(12).collect(),
        time_text(plugin["uploaded_ms"].as_i64().unwrap_or(0)),
        text(&plugin["summary"]),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_survive_missing_fields() {
        assert_eq!(list_row(&json!({"name": "m"}))[0], "m");
    }
}
