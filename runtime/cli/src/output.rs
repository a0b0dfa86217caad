//! How results are shown: tables for people, JSON for scripts.

use std::io::{IsTerminal, Write};

use anyhow::Result;
use clap::{Args, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For scripts.
    Json,
}

#[derive(Args, Debug)]
pub(crate) struct OutputArgs {
    /// How to print the result.
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Output,
}

/// `println!` that gives the error back instead of panicking, because `| head` closes the pipe.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout().lock(), $($text)*)
    }};
}
pub(crate) use say;

/// What a piece of text is, as a colour says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tint {
    Good,
    Bad,
    Warning,
    Quiet,
}

/// The text in its colour, if standard output is a terminal and `NO_COLOR` is not set (no-color.org).
pub(crate) fn tinted(text: &str, tint: Tint) -> String {
    use std::sync::OnceLock;
    static COLOURED: OnceLock<bool> = OnceLock::new();
    let coloured = COLOURED.get_or_init(|| {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        std::io::stdout().is_terminal() && !refused && !dumb
    });
    match coloured {
        true => colour(text, tint),
        false => text.to_owned(),
    }
}

fn colour(text: &str, tint: Tint) -> String {
    let code = match tint {
        Tint::Good => 32,
        Tint::Bad => 31,
        Tint::Warning => 33,
        Tint::Quiet => 2,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// `1 record`, `2 records`.
pub(crate) fn counted(n: u64, noun: &str) -> String {
    match n {
        1 => format!("1 {noun}"),
        n => format!("{n} {noun}s"),
    }
}

pub(crate) fn print_table(header: &[&str], rows: Vec<Vec<String>>) -> Result<()> {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header.iter().copied());
    table.add_rows(rows);
    // Lines padded to the table's width are noise in a pipe.
    let mut out = std::io::stdout().lock();
    for line in table.lines() {
        writeln!(
            out,
            "{}",
            line.strip_prefix(' ').unwrap_or(&line).trim_end()
        )?;
    }
    Ok(())
}

pub(crate) fn print_json(value: &Value) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{value:#}")?;
    Ok(())
}

/// A JSON value as a person reads it: no quotes, nothing for null, commas between items.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// The items of a JSON list; none where there is no list.
pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(crate) fn size_text(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// Milliseconds since the epoch as UTC, to the second; empty for an unknown time.
pub(crate) fn time_text(unix_ms: i64) -> String {
    if unix_ms <= 0 {
        return String::new();
    }
    let seconds = unix_ms / 1000;
    let (year, month, day) = civil_date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The Gregorian date of a day counted from 1970-01-01, for days after it. Years are counted from
/// March, so that the leap day comes last and month lengths repeat every five months.
fn civil_date(days: i64) -> (i64, i64, i64) {
    let since_march = days + 719_468;
    let era = since_march / 146_097;
    let day_of_era = since_march % 146_097;
    let leaps = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leaps) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_dates() {
        assert_eq!(time_text(0), "");
        assert_eq!(time_text(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(time_text(1_735_689_599_999), "2024-12-31T23:59:59Z");
        assert_eq!(time_text(4_107_542_400_000), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn colours_end_where_they_began() {
        assert_eq!(colour("x", Tint::Bad), "\x1b[31mx\x1b[0m");
        assert_eq!(counted(1, "record"), "1 record");
        assert_eq!(counted(0, "record"), "0 records");
    }

    #[test]
    fn values_are_words() {
        assert_eq!(text(&json!(null)), "");
        assert_eq!(text(&json!(["key", "value"])), "key, value");
        assert_eq!(text(&json!(3)), "3");
        assert_eq!(size_text(24_882), "24.3 KiB");
    }
}
