//! `tidegate plugin logs`: what plugins logged, from the broker's topic of it.

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::args::Global;
use crate::client::{Client, Reader, Start};
use crate::output::{Output, OutputArgs, Tint, say, text, time_text, tinted};

const TOPIC: &str = "__tidegate_plugin_logs";

/// Show what plugins logged.
///
/// The broker keeps it for seven days, within each binding's rate.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate plugin logs                                    # the last lines
  tidegate plugin logs -f --topic orders                  # and what comes
  tidegate plugin logs --alias validate --level warn -n 1000
  tidegate plugin logs -o json                            # one object a line")]
pub(crate) struct LogsArgs {
    /// Go on with what comes.
    #[arg(short, long)]
    follow: bool,
    /// Look through the last N lines.
    #[arg(short = 'n', long, value_name = "N", default_value = "100")]
    lines: u32,
    /// Only lines about batches of this topic.
    #[arg(long)]
    topic: Option<String>,
    /// Only this binding, by its name in the chain.
    #[arg(long)]
    alias: Option<String>,
    /// Only bindings of this plugin.
    #[arg(long)]
    plugin: Option<String>,
    /// Only lines that matter at least so much.
    #[arg(long, value_enum, default_value = "trace")]
    level: Level,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

pub(crate) fn run(args: LogsArgs, global: &Global) -> Result<()> {
    let mut client = Client::connect(&global.bootstrap)?;
    // Asking for its partitions would wait for a topic that comes with the first line.
    let known = client.metadata(Some(&[TOPIC]))?;
    let missing = known.topics.iter().all(|topic| topic.error_code != 0);
    if missing && !args.follow {
        eprintln!("no plugin has logged anything yet; is one bound to a topic?");
        return Ok(());
    }
    while args.follow
        && client
            .metadata(Some(&[TOPIC]))?
            .topics
            .iter()
            .all(|t| t.error_code != 0)
    {
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    let mut reader = Reader::open(client, TOPIC, &[])?;
    match missing {
        true => reader.seek(Start::Beginning)?,
        false => reader.seek_before_end(i64::from(args.lines))?,
    }
    if !args.follow {
        reader.until_end()?;
    }
    while !reader.is_done() {
        reader.poll(&mut |_, _, record| {
            let line: Value =
                serde_json::from_slice(record.value.unwrap_or_default()).unwrap_or_default();
            if args.wants(&line) {
                match args.output.output {
                    Output::Json => say!("{line}")?,
                    Output::Table => say!("{}", sentence(&line))?,
                }
            }
            Ok(true)
        })?;
    }
    Ok(())
}

impl LogsArgs {
    fn wants(&self, line: &Value) -> bool {
        let is = |field: &str, wanted: &Option<String>| {
            wanted
                .as_ref()
                .is_none_or(|wanted| line[field] == wanted.as_str())
        };
        let level = Level::from_str(&text(&line["level"]), true).unwrap_or(Level::Error);
        level >= self.level
            && is("topic", &self.topic)
            && is("alias", &self.alias)
            && is("plugin", &self.plugin)
    }
}

/// `2026-01-02T03:04:05Z warn  orders/0 validate (validate 0.1.0): no id`
fn sentence(line: &Value) -> String {
    let level = text(&line["level"]);
    let tint = match level.as_str() {
        "error" => Tint::Bad,
        "warn" => Tint::Warning,
        "info" => Tint::Good,
        _ => Tint::Quiet,
    };
    let place = match line["partition"].as_i64() {
        Some(partition) => format!("{}/{partition}", text(&line["topic"])),
        None => text(&line["topic"]),
    };
    format!(
        "{} {} {place} {} ({} {}): {}",
        time_text(line["time_ms"].as_i64().unwrap_or(0)),
        tinted(&format!("{level:<5}"), tint),
        text(&line["alias"]),
        text(&line["plugin"]),
        text(&line["version"]),
        text(&line["message"]),
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Whole {
        #[command(flatten)]
        args: LogsArgs,
    }

    #[test]
    fn a_line_is_filtered_and_told() {
        let line = json!({
            "time_ms": 1_735_689_599_000_i64, "topic": "orders", "partition": 0, "alias": "v", "plugin": "validate",
            "version": "0.1.0", "level": "warn", "message": "no id",
        });
        assert_eq!(
            sentence(&line),
            "2024-12-31T23:59:59Z warn  orders/0 v (validate 0.1.0): no id"
        );
        let wants = |words: &[&str]| {
            let words = ["logs"].iter().chain(words);
            Whole::try_parse_from(words).unwrap().args.wants(&line)
        };
        assert!(wants(&[]));
        assert!(wants(&[
            "--level", "warn", "--topic", "orders", "--plugin", "validate"
        ]));
        assert!(!wants(&["--level", "error"]));
        assert!(!wants(&["--alias", "other"]));
    }
}
