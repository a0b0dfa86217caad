//! `tidegate plugin remove`: a plugin goes, or one version of it.

use anyhow::{Result, bail};
use clap::Args;

use crate::admin::Admin;
use crate::args::Global;

/// Remove a plugin or one version of it.
///
/// Refused while a topic is bound to it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate plugin remove match@0.1.0
  tidegate plugin remove match          # every version")]
pub(crate) struct RemoveArgs {
    #[arg(value_name = "NAME[@VERSION]")]
    plugin: String,
}

pub(crate) fn run(args: RemoveArgs, global: &Global) -> Result<()> {
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
