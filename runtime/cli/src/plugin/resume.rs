//! `tidegate plugin resume`: what `pause` or an open breaker stopped runs again.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::admin::Admin;
use crate::args::Global;
use crate::output::{Output, OutputArgs, print_json, say, text};

/// Let a topic's plugins run again that an error stopped.
///
/// That is, those that the policy `pause` stopped, and those whose circuit breaker is open. What they failed at is shown to them again: mend the cause first, or they stop at the same record.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate plugin resume --topic orders                  # every binding of the topic
  tidegate plugin resume --topic orders --alias validate
  tidegate plugin explain --topic orders --offset 4711   # why it stopped there")]
pub(crate) struct ResumeArgs {
    /// The topic they are bound to.
    #[arg(long)]
    topic: String,
    /// Only this binding, by its name in the chain.
    #[arg(long)]
    alias: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) fn run(args: ResumeArgs, global: &Global) -> Result<()> {
    let body = match &args.alias {
        Some(alias) => json!({ "alias": alias }),
        None => json!({}),
    };
    let path = ["v1", "topics", &args.topic, "plugins", "resume"];
    let answer = Admin::new(global).post(&path, &body)?;
    if args.output.output == Output::Json {
        return print_json(&answer);
    }
    match text(&answer["resumed"]) {
        none if none.is_empty() => say!("{}: nothing was stopped", args.topic)?,
        resumed => say!("{}: resumed {resumed}", args.topic)?,
    }
    Ok(())
}
