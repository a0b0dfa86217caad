//! `tidegate plugin rollback`: the latest version is another one.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::admin::Admin;
use crate::args::Global;
use crate::output::{Output, OutputArgs, print_json, say, text};

/// Make an earlier version of a plugin the latest again.
///
/// Chains that name the plugin without a version run it from the next batch on. Refused if one of these bindings would not
/// take it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate plugin rollback match                 # to the version that was the latest before
  tidegate plugin rollback match --to 0.1.0")]
pub(crate) struct RollbackArgs {
    name: String,
    /// The version to be the latest [default: the one before].
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) fn run(args: RollbackArgs, global: &Global) -> Result<()> {
    let body = match &args.to {
        Some(version) => json!({ "version": version }),
        None => json!({}),
    };
    let answer = Admin::new(global).post(&["v1", "plugins", &args.name, "rollback"], &body)?;
    if args.output.output == Output::Json {
        return print_json(&answer);
    }
    say!(
        "{}: the latest is {}, it was {}",
        args.name,
        text(&answer["latest"]),
        text(&answer["previous"])
    )?;
    Ok(())
}
