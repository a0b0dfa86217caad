//! `tidegate plugin explain`: what became of the record at an offset, and why.

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use crate::admin::Admin;
use crate::args::Global;
use crate::output::{Output, OutputArgs, Tint, items, print_json, say, text, tinted};

/// Say why the record at an offset was dropped, routed, changed or kept.
///
/// Which plugin of the topic's chain did it, in which version, and with which words.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate plugin explain --topic orders --offset 4711
  tidegate plugin explain --topic orders --partition 2 --offset 4711 -o json")]
pub(crate) struct ExplainArgs {
    /// The topic that was produced to.
    #[arg(long)]
    topic: String,
    #[arg(long, default_value = "0")]
    partition: i32,
    /// As the producer was told it; also that of a record which is not there.
    #[arg(long)]
    offset: i64,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) fn run(args: ExplainArgs, global: &Global) -> Result<()> {
    let query = [
        ("partition", args.partition.to_string()),
        ("offset", args.offset.to_string()),
    ];
    let answer = Admin::new(global).query(&["v1", "topics", &args.topic, "explain"], &query)?;
    if args.output.output == Output::Json {
        return print_json(&answer);
    }
    for line in lines(&answer) {
        say!("{line}")?;
    }
    Ok(())
}

fn lines(answer: &Value) -> Vec<String> {
    let fate = text(&answer["fate"]);
    let tint = match fate.as_str() {
        "kept" => Tint::Good,
        "dropped" | "dead-lettered" => Tint::Bad,
        "unknown" => Tint::Quiet,
        _ => Tint::Warning,
    };
    let stored = match answer["stored"].as_bool() {
        Some(true) => "it is in the log",
        Some(false) => "it is not in the log",
        None => "",
    };
    let mut lines = vec![format!(
        "{} partition {} offset {}: {}; {stored}",
        text(&answer["topic"]),
        text(&answer["partition"]),
        text(&answer["offset"]),
        tinted(&fate, tint),
    )];
    for (what, steps) in [
        ("on produce", &answer["steps"]),
        ("on consume", &answer["consume"]),
    ] {
        lines.extend(
            items(steps)
                .iter()
                .map(|step| format!("  {what}: {}", sentence(step))),
        );
    }
    let note = text(&answer["note"]);
    if !note.is_empty() {
        lines.push(format!("  {note}"));
    }
    lines
}

/// `validate (validate 0.1.0): rejected: no id`
fn sentence(step: &Value) -> String {
    let mut sentence = format!(
        "{} ({} {})",
        text(&step["alias"]),
        text(&step["plugin"]),
        text(&step["version"])
    );
    for (before, field) in [(" ", "action"), (" to ", "to"), (": ", "reason")] {
        let words = text(&step[field]);
        if !words.is_empty() {
            sentence = format!("{sentence}{before}{words}");
        }
    }
    sentence
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_explanation_reads_as_sentences() {
        let answer = json!({
            "topic": "orders", "partition": 0, "offset": 7, "stored": false, "fate": "dropped",
            "steps": [
                {"alias": "m", "plugin": "match", "version": "0.1.0", "action": "edited"},
                {"alias": "r", "plugin": "route", "version": "0.2.0", "action": "routed", "to": "eu", "reason": null},
                {"alias": "v", "plugin": "validate", "version": "1.0.0", "action": "dead-lettered", "reason": "no id"},
            ],
            "consume": [], "note": "The plugin was replaced since.",
        });
        assert_eq!(
            lines(&answer),
            [
                "orders partition 0 offset 7: dropped; it is not in the log",
                "  on produce: m (match 0.1.0) edited",
                "  on produce: r (route 0.2.0) routed to eu",
                "  on produce: v (validate 1.0.0) dead-lettered: no id",
                "  The plugin was replaced since.",
            ]
        );
    }
}
