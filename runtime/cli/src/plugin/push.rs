//! `tidegate plugin push`: a component becomes a version of a plugin.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use super::show::print_config;
use super::sign::SignatureArgs;
use crate::admin::Admin;
use crate::args::Global;
use crate::output::{Output, OutputArgs, print_json, print_table, size_text, text};

/// Upload a component under a name and a version.
///
/// A version never changes once it is there; the newest one pushed is what chains without a version run.
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
    signature: SignatureArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) fn run(args: PushArgs, global: &Global) -> Result<()> {
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
    let headers = args.signature.headers(&name, &version, &bytes)?;
    let admin = Admin::new(global);
    let mut answer = admin.put(&["v1", "plugins", &name, &version], &headers, &bytes)?;
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
