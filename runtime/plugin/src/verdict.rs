//! The checks on what a guest gave back. Everything here is data from a stranger.

use crate::contract::wire;
use crate::edits::EditColumns;
use crate::failure::CallError;
use crate::{Columns, FailureKind, Limits, PartitionChoice, TargetPattern};

/// Longest reason kept, in bytes; the rest is cut.
const MAX_REASON: usize = 512;

pub(crate) const KEEP: u8 = 0;
pub(crate) const DROP: u8 = 1;
pub(crate) const REJECT: u8 = 2;

/// What an answer must keep to.
pub(crate) struct Terms<'a> {
    pub(crate) limits: &'a Limits,
    /// What a router may name.
    pub(crate) targets: &'a [TargetPattern],
    /// What a transform may replace.
    pub(crate) writes: Columns,
    /// Keys may not be replaced in this topic, whatever `writes` says.
    pub(crate) fixed_keys: bool,
}

/// A checked answer about the records of one call; indices are those of the call.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// One code for each record, or none at all: keep everything.
    pub(crate) codes: Vec<u8>,
    /// (rejected record, sentence), ascending, exactly one for each code 2.
    pub(crate) rejections: Vec<(u32, String)>,
    /// In order.
    pub(crate) routes: Vec<(u32, String, PartitionChoice)>,
    pub(crate) edits: EditColumns,
}

/// Checks a filter's answer about `count` records.
pub(crate) fn check_verdicts(
    given: wire::Verdicts,
    count: usize,
    terms: &Terms<'_>,
) -> Result<Answer, CallError> {
    let rejections = check_codes(&given.codes, given.reasons, count, terms)?;
    Ok(Answer {
        codes: given.codes,
        rejections,
        ..Answer::default()
    })
}

/// Checks a router's answer about `count` records.
pub(crate) fn check_routes(
    given: wire::Routes,
    count: usize,
    terms: &Terms<'_>,
) -> Result<Answer, CallError> {
    // How many there are must be known before the checked ones are allocated.
    within_records("routes", given.records.len(), terms)?;
    within_records("topics", given.topics.len(), terms)?;
    let rejections = check_codes(&given.codes, given.reasons, count, terms)?;
    for topic in &given.topics {
        if !terms.targets.iter().any(|pattern| pattern.matches(topic)) || !valid_topic_name(topic) {
            return Err(CallError::bad(format!(
                "it named the topic `{}`, which its targets do not cover",
                excerpt(topic)
            )));
        }
    }
    let routes = given.records.len();
    if routes != given.targets.len() || routes != given.partitions.len() {
        return Err(CallError::bad(format!(
            "it gave {routes} routed records, {} targets and {} partitions",
            given.targets.len(),
            given.partitions.len()
        )));
    }
    let mut checked = Vec::with_capacity(routes);
    let mut last = 0;
    for ((&record, &target), &partition) in given
        .records
        .iter()
        .zip(&given.targets)
        .zip(&given.partitions)
    {
        if record < last || record as usize >= count {
            return Err(CallError::bad(format!(
                "it routed record {record} of {count} after record {last}; indices never decrease"
            )));
        }
        last = record;
        let topic = given.topics.get(target as usize).ok_or_else(|| {
            CallError::bad(format!("it used target {target} of {}", given.topics.len()))
        })?;
        checked.push((record, topic.clone(), partition_choice(partition)?));
    }
    Ok(Answer {
        codes: given.codes,
        rejections,
        routes: checked,
        ..Answer::default()
    })
}

/// The limit on how many of something one call may give.
pub(crate) fn within_records(what: &str, given: usize, terms: &Terms<'_>) -> Result<(), CallError> {
    let max = terms.limits.output_records;
    if given <= max {
        return Ok(());
    }
    Err(CallError::limit(
        FailureKind::OutputLimit,
        "output.records",
        format!("it gave {given} {what} (limit `output.records`: {max})"),
    ))
}

/// Kafka's rule: 1 to 249 of letters, digits, dot, underscore and hyphen, and neither `.` nor `..`.
pub(crate) fn valid_topic_name(name: &str) -> bool {
    (1..=249).contains(&name.len()) && name != "." && name != ".." && valid_topic_chars(name)
}

pub(crate) fn valid_topic_chars(name: &str) -> bool {
    name.bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// The start of a guest's text, for a sentence of ours: no control characters, of bounded length.
pub(crate) fn excerpt(text: &str) -> String {
    let mut end = text.len().min(MAX_REASON);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let (kept, _) = text.split_at(end);
    kept.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

pub(crate) fn check_codes(
    codes: &[u8],
    reasons: Vec<(u32, String)>,
    count: usize,
    terms: &Terms<'_>,
) -> Result<Vec<(u32, String)>, CallError> {
    if !codes.is_empty() && codes.len() != count {
        let message = format!("it gave {} codes for {count} records", codes.len());
        return Err(CallError::bad(message));
    }
    // A fold instead of `find`: this is the hot loop, and a fold is vectorized.
    let worst = codes.iter().fold(0, |worst, &code| worst.max(code));
    if worst > REJECT {
        let message = format!("it gave the code {worst}; 0, 1 and 2 are known");
        return Err(CallError::bad(message));
    }
    within_records("reasons", reasons.len(), terms)?;
    if reasons.len() > count {
        let message = format!("it gave {} reasons for {count} records", reasons.len());
        return Err(CallError::bad(message));
    }
    if worst < REJECT && reasons.is_empty() {
        return Ok(Vec::new());
    }
    pair_reasons(codes, reasons).map_err(CallError::bad)
}

fn pair_reasons(codes: &[u8], reasons: Vec<(u32, String)>) -> Result<Vec<(u32, String)>, String> {
    let mut said = std::collections::BTreeMap::new();
    for (record, reason) in reasons {
        if codes.get(record as usize) != Some(&REJECT) {
            return Err(format!(
                "it gave a reason for record {record}, which it did not reject"
            ));
        }
        said.entry(record).or_insert(reason);
    }
    let rejected = codes
        .iter()
        .enumerate()
        .filter(|(_, code)| **code == REJECT);
    Ok(rejected
        .map(|(record, _)| {
            let record = record as u32;
            let reason = said.get(&record).map_or_else(
                || "the plugin rejected the record".to_owned(),
                |reason| excerpt(reason),
            );
            (record, reason)
        })
        .collect())
}

fn partition_choice(partition: i32) -> Result<PartitionChoice, CallError> {
    match partition {
        -1 => Ok(PartitionChoice::ByKey),
        -2 => Ok(PartitionChoice::SameIndex),
        index if index >= 0 => Ok(PartitionChoice::Explicit(index)),
        other => Err(CallError::bad(format!(
            "it chose the partition {other}; -1 and -2 are the only such choices"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(records: &[u32], targets: &[u32], partitions: &[i32]) -> wire::Routes {
        wire::Routes {
            topics: vec!["out".into(), "logs-eu".into()],
            records: records.to_vec(),
            targets: targets.to_vec(),
            partitions: partitions.to_vec(),
            ..wire::Routes::default()
        }
    }

    fn check(given: wire::Routes) -> Result<Answer, CallError> {
        let targets = [
            TargetPattern::Exact("out".into()),
            TargetPattern::Prefix("logs-".into()),
        ];
        let limits = Limits {
            output_records: 100,
            ..Limits::default()
        };
        check_routes(
            given,
            3,
            &Terms {
                limits: &limits,
                targets: &targets,
                writes: Columns::default(),
                fixed_keys: false,
            },
        )
    }

    fn refused(given: wire::Routes) -> String {
        check(given).expect_err("must be refused").message
    }

    #[test]
    fn verdicts_are_counted_and_bounded() {
        let check = |codes: &[u8], reasons: &[(u32, &str)]| {
            let reasons = reasons.iter().map(|(i, r)| (*i, (*r).to_owned())).collect();
            check_verdicts(
                wire::Verdicts {
                    codes: codes.to_vec(),
                    reasons,
                },
                3,
                &Terms {
                    limits: &Limits::default(),
                    targets: &[],
                    writes: Columns::default(),
                    fixed_keys: false,
                },
            )
        };
        assert!(check(&[], &[]).is_ok());
        assert!(check(&[0, 1, 0], &[]).is_ok());
        assert!(check(&[0, 1], &[]).is_err());
        assert!(check(&[0, 1, 3], &[]).is_err());
        assert!(check(&[0, 1, 2], &[(1, "no")]).is_err());
        assert!(check(&[0, 1, 2], &[(7, "no")]).is_err());
        assert!(check(&[], &[(0, "no")]).is_err());
        let answer = check(&[2, 0, 2], &[(2, "too\nold")]).unwrap();
        assert_eq!(
            answer.rejections,
            [
                (0, "the plugin rejected the record".to_owned()),
                (2, "too old".to_owned())
            ]
        );
    }

    #[test]
    fn routes_must_rise_and_stay_in_bounds() {
        let answer = check(routes(&[0, 0, 2], &[0, 1, 1], &[-1, -2, 7])).unwrap();
        assert_eq!(
            answer.routes[2],
            (2, "logs-eu".to_owned(), PartitionChoice::Explicit(7))
        );
        assert!(refused(routes(&[1, 0], &[0, 0], &[-1, -1])).contains("never decrease"));
        assert!(refused(routes(&[3], &[0], &[-1])).contains("record 3"));
        assert!(refused(routes(&[0], &[2], &[-1])).contains("target 2"));
        assert!(refused(routes(&[0], &[0], &[-3])).contains("-3"));
        assert!(refused(routes(&[0], &[0, 0], &[-1])).contains("2 targets"));
        let many = check(routes(&[0; 101], &[0; 101], &[-1; 101])).unwrap_err();
        assert_eq!(many.kind, FailureKind::OutputLimit);
        assert_eq!(
            many.message,
            "it gave 101 routes (limit `output.records`: 100)"
        );
    }

    #[test]
    fn routes_name_only_their_targets() {
        for topic in ["other", "logs-", "logs-\u{e9}", "", "logs-/x"] {
            let given = wire::Routes {
                topics: vec![topic.into()],
                ..wire::Routes::default()
            };
            assert!(refused(given).contains("targets"), "{topic}");
        }
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let text = "\u{20ac}".repeat(400);
        assert!(excerpt(&text).len() <= MAX_REASON);
    }
}
