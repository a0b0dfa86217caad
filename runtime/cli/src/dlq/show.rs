//! `tidegate dlq show`: what was given up, by whom, and why.

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use super::letter::Letter;
use super::select::Select;
use crate::args::Global;
use crate::client::{Client, Reader};
use crate::output::{Output, OutputArgs, counted, print_json, print_table, time_text};

/// Characters of a key, a value and an error that a table shows.
const SHOWN: usize = 60;

/// Show the newest dead letters of a topic.
///
/// Where each came from, which plugin gave it up, and its words.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate dlq show orders-dead
  tidegate dlq show orders-dead --match plugin=validate --match kind=rejected --last 1000
  tidegate dlq show orders-dead -o json")]
pub(crate) struct ShowArgs {
    /// The dead-letter topic.
    topic: String,
    /// Look at the last N records of each partition.
    #[arg(long, value_name = "N", default_value = "50")]
    last: u32,
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) fn run(args: ShowArgs, global: &Global) -> Result<()> {
    let client = Client::connect(&global.bootstrap)?;
    let mut reader = Reader::open(client, &args.topic, &[])?;
    reader.seek_before_end(i64::from(args.last))?;
    reader.until_end()?;
    let mut letters = Vec::new();
    while !reader.is_done() {
        reader.poll(&mut |partition, offset, record| {
            let letter = Letter::read(partition, offset, record);
            if args.select.takes(&letter) {
                letters.push(letter);
            }
            Ok(true)
        })?;
    }
    letters.sort_by_key(|letter| (letter.partition, letter.offset));
    if args.output.output == Output::Json {
        return print_json(&Value::Array(letters.iter().map(Letter::json).collect()));
    }
    if letters.is_empty() {
        eprintln!("no dead letters there");
        return Ok(());
    }
    print_table(
        &[
            "AT", "TIME", "FROM", "PLUGIN", "KIND", "ERROR", "KEY", "VALUE",
        ],
        letters.iter().map(row).collect(),
    )?;
    let orphans = letters
        .iter()
        .filter(|letter| letter.source.is_none())
        .count() as u64;
    if orphans > 0 {
        eprintln!(
            "{} without tidegate.source.topic: no dead letters",
            counted(orphans, "record")
        );
    }
    eprintln!("next: tidegate dlq redrive {} --dry-run", args.topic);
    Ok(())
}

fn row(letter: &Letter) -> Vec<String> {
    let part = |part: &Option<Vec<u8>>| match part {
        Some(bytes) => short(&String::from_utf8_lossy(bytes)),
        None => String::new(),
    };
    vec![
        format!("{}/{}", letter.partition, letter.offset),
        time_text(letter.timestamp),
        letter.source_text(),
        letter.plugin.clone(),
        letter.kind.clone(),
        short(&letter.error),
        part(&letter.key),
        part(&letter.value),
    ]
}

/// On one line, and not all of it.
fn short(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::super::letter::tests::{OF_ORDERS, letter};
    use super::*;

    #[test]
    fn a_letter_is_a_row() {
        let expected = [
            "1/42",
            "1970-01-01T00:00:00Z",
            "orders/0/4711",
            "validate",
            "rejected",
            "no id in it",
            "k",
            "{\"id\": 7}",
        ];
        assert_eq!(row(&letter(OF_ORDERS)), expected);
        assert_eq!(short("a\nb"), "a b");
        assert_eq!(short(&"x".repeat(100)).len(), SHOWN + 3);
    }
}
