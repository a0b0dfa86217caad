//! `tidegate cluster`: the broker as a whole.

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::Value;

use crate::admin::Admin;
use crate::args::Global;
use crate::output::{Output, OutputArgs, Tint, counted, print_json, say, text, tinted};

#[derive(Subcommand, Debug)]
pub(crate) enum ClusterCommand {
    Status(StatusArgs),
}

/// Whether the broker is up and takes writes, and what it holds.
#[derive(Args, Debug)]
#[command(
    after_help = "The exit code is 1 while the broker takes no writes: it is still starting, or its store is offline.

Example:
  tidegate cluster status"
)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) fn run(command: ClusterCommand, global: &Global) -> Result<()> {
    match command {
        ClusterCommand::Status(args) => status(&args, global),
    }
}

fn status(args: &StatusArgs, global: &Global) -> Result<()> {
    let status = Admin::new(global).get(&["v1", "status"])?;
    match args.output.output {
        Output::Json => print_json(&status)?,
        Output::Table => {
            for line in lines(&status) {
                say!("{line}")?;
            }
        }
    }
    let node = text(&status["node_id"]);
    if status["store"]["online"] != true {
        bail!("the store of broker {node} takes no writes");
    }
    if status["ready"] != true {
        bail!("broker {node} is still starting");
    }
    Ok(())
}

fn lines(status: &Value) -> Vec<String> {
    let count = |field: &str, noun| counted(status[field].as_u64().unwrap_or(0), noun);
    let store = match status["store"]["online"] == true {
        true => tinted("online", Tint::Good),
        false => format!(
            "{}: {}; reads go on, restart the broker when the disk is well again",
            tinted("OFFLINE", Tint::Bad),
            text(&status["store"]["error"])
        ),
    };
    let state = match status["ready"] == true {
        true => "ready",
        false => "starting",
    };
    vec![
        format!("cluster  {}", text(&status["cluster_id"])),
        format!(
            "broker   {}, version {}, {state}",
            text(&status["node_id"]),
            text(&status["version"])
        ),
        format!("store    {store}"),
        format!(
            "holds    {}, {}, {}",
            count("topics", "topic"),
            count("partitions", "partition"),
            count("plugins", "plugin")
        ),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_offline_store_is_told_with_its_cause() {
        let status = json!({
            "cluster_id": "c", "node_id": 1, "version": "0.1.0", "ready": true, "topics": 1, "partitions": 3,
            "plugins": 0, "store": {"online": false, "error": "sync failed: i/o: Input/output error"},
        });
        let lines = lines(&status);
        assert!(
            lines[2].starts_with("store    OFFLINE: sync failed: i/o"),
            "{lines:?}"
        );
        assert_eq!(lines[3], "holds    1 topic, 3 partitions, 0 plugins");
    }
}
