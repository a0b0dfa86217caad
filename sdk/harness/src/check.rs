//! Assertions whose failure can be read.

use crate::{Outcome, Record};

/// Compares a run with what a snapshot would say of it, one line for each record, then logs and counters.
///
/// ```
/// # use tidegate_test::{Harness, assert_outcome, value};
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/words.wasm");
/// let records = [value("error: disk full"), value("debug: tick")];
/// let outcome = Harness::load(path)?.config("drop", "debug").run(&records)?;
/// assert_outcome(&records, &outcome, "keep\ndrop\ncounter: seen 2");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
/// If they differ, with the lines that do, and the records that these are about.
#[track_caller]
pub fn assert_outcome(records: &[Record], outcome: &Outcome, expected: &str) {
    let given: Vec<String> = records.iter().map(ToString::to_string).collect();
    if let Some(difference) = difference(&given, expected, &outcome.to_string()) {
        panic!("the outcome is not the expected one:\n{difference}");
    }
}

/// The lines in which two snapshots differ (`-` expected, `+` found), each with what stands for it in `records`; `None`
/// where they are the same. Line i of a snapshot is about record i as far as there are records; what follows is logs and
/// counters.
pub fn difference(records: &[String], expected: &str, found: &str) -> Option<String> {
    let expected: Vec<&str> = expected.trim_end().lines().map(str::trim_end).collect();
    let found: Vec<&str> = found.trim_end().lines().map(str::trim_end).collect();
    if expected == found {
        return None;
    }
    let mut lines = Vec::new();
    let mut more = 0;
    for (index, record) in records.iter().enumerate() {
        let (was, is) = (expected.get(index), found.get(index));
        if was == is {
            continue;
        }
        if lines.len() >= SHOWN {
            more += 1;
            continue;
        }
        lines.push(format!("  record {index}  {}", short(record)));
        push(&mut lines, '-', was.copied());
        push(&mut lines, '+', is.copied());
    }
    if more > 0 {
        lines.push(format!("  and {more} more records"));
    }
    let rest = |all: &[&'_ str]| -> Vec<String> {
        let rest = all.get(records.len()..).unwrap_or_default();
        rest.iter().map(|line| (*line).to_owned()).collect()
    };
    let (was, is) = (rest(&expected), rest(&found));
    let missing = was.iter().filter(|line| !is.contains(line));
    missing.for_each(|line| push(&mut lines, '-', Some(line)));
    let unexpected = is.iter().filter(|line| !was.contains(line));
    unexpected.for_each(|line| push(&mut lines, '+', Some(line)));
    if lines.is_empty() {
        lines.push("  the same lines after the records, in another order or number:".to_owned());
        was.iter()
            .for_each(|line| push(&mut lines, '-', Some(line)));
        is.iter().for_each(|line| push(&mut lines, '+', Some(line)));
    }
    Some(lines.join("\n"))
}

/// Lines about records that one difference shows; the rest is counted.
const SHOWN: usize = 60;
/// Characters of a record that are shown.
const SHORT: usize = 160;

fn push(lines: &mut Vec<String>, sign: char, line: Option<&str>) {
    if let Some(line) = line {
        lines.push(format!("    {sign} {line}"));
    }
}

fn short(record: &str) -> String {
    match record.char_indices().nth(SHORT) {
        Some((end, _)) => format!("{}...", record.get(..end).unwrap_or_default()),
        None => record.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(records: &[&str]) -> Vec<String> {
        records.iter().map(|r| (*r).to_owned()).collect()
    }

    #[test]
    fn the_same_is_no_difference() {
        assert_eq!(difference(&given(&["a"]), "keep\n", "keep"), None);
        assert_eq!(difference(&[], "", ""), None);
    }

    #[test]
    fn a_line_stands_beside_its_record() {
        let told = difference(
            &given(&["first", "second"]),
            "keep\nkeep\ncounter: a 1",
            "keep\ndrop\ncounter: a 2",
        );
        assert_eq!(
            told.unwrap(),
            "  record 1  second\n    - keep\n    + drop\n    - counter: a 1\n    + counter: a 2"
        );
    }

    #[test]
    fn missing_lines_and_another_order_are_told() {
        let told = difference(&given(&["first"]), "keep", "").unwrap();
        assert_eq!(told, "  record 0  first\n    - keep");
        let told = difference(
            &[],
            "log: info: a\nlog: info: b",
            "log: info: b\nlog: info: a",
        );
        assert!(told.unwrap().contains("another order"));
    }

    #[test]
    fn a_long_difference_is_cut() {
        let records: Vec<String> = (0..100).map(|i| "x".repeat(i * 10)).collect();
        let told = difference(&records, &"keep\n".repeat(100), &"drop\n".repeat(100)).unwrap();
        assert!(told.lines().count() < 70, "{told}");
        assert!(told.contains("more records"), "{told}");
    }
}
