//! Subscriptions by regex (KIP-848, version 1 of the heartbeat): which topics they match.
//!
//! Kafka's syntax is RE2's, and so is the `regex` crate's, nearly: without look-around and backreferences, in linear time.
//! A topic must match as a whole. Topic names are ASCII, so classes such as `\w` are too, as in RE2.

use std::collections::BTreeSet;

use regex::bytes::{Regex, RegexBuilder};

use crate::consumer::beat::BeatRefusal;
use crate::consumer::group::ConsumerGroup;
use crate::consumer::{LONGEST_TEXT, LogRecord, Topics};
use crate::error::GroupError;
use crate::records::{ResolvedRegex, consumer_regex_key};

/// Most memory that one compiled regex may take; a client can ask for huge ones with few bytes.
const MAX_COMPILED_BYTES: usize = 1 << 20;

pub(crate) fn check_regex(regex: &str) -> Result<(), BeatRefusal> {
    compile(regex).map(drop).map_err(|why| {
        let message = format!("SubscribedTopicRegex is not a valid regular expression: {why}");
        BeatRefusal::new(GroupError::InvalidRegularExpression, message)
    })
}

impl ConsumerGroup {
    /// Matches the topics that there are, if they or the regexes changed; says whether a regex now matches others.
    pub(crate) fn refresh_regexes(
        &mut self,
        name: &str,
        topics: &Topics,
        now_ms: i64,
        records: &mut Vec<LogRecord>,
    ) -> bool {
        let mut changed = false;
        let topics_changed = self.regexes_version != topics.version;
        self.regexes_version = topics.version;
        let used: BTreeSet<String> = self
            .members
            .values()
            .filter_map(|member| member.regex().map(str::to_owned))
            .collect();
        for regex in used {
            let known = self.regexes.get(&regex);
            if known.is_some() && !topics_changed {
                continue;
            }
            let matched = matching(&regex, topics);
            if known.is_some_and(|known| known.topics == matched) {
                continue;
            }
            let resolved = ResolvedRegex {
                topics: matched,
                version: topics.version,
                timestamp: now_ms,
            };
            let key = consumer_regex_key(name, &regex);
            records.push((key, Some(resolved.encode())));
            self.regexes.insert(regex, resolved);
            changed = true;
        }
        changed
    }

    /// Forgets regexes that nobody subscribes to any more.
    pub(crate) fn drop_unused_regexes(&mut self, name: &str, records: &mut Vec<LogRecord>) {
        let known = self.regexes.keys();
        let unused: Vec<String> = known.filter(|r| !self.uses_regex(r)).cloned().collect();
        for regex in unused {
            records.push((consumer_regex_key(name, &regex), None));
            self.regexes.remove(&regex);
        }
    }
}

fn matching(regex: &str, topics: &Topics) -> BTreeSet<String> {
    // It was checked when it came; one that a newer version of the crate refuses matches nothing.
    let Ok(regex) = compile(regex) else {
        return BTreeSet::new();
    };
    topics
        .names()
        .filter(|name| regex.is_match(name.as_bytes()))
        .map(str::to_owned)
        .collect()
}

fn compile(regex: &str) -> Result<Regex, String> {
    if regex.len() > LONGEST_TEXT {
        return Err(format!("it is longer than {LONGEST_TEXT} bytes"));
    }
    // By itself first, so that its parentheses are its own.
    build(regex)?;
    build(&format!(r"\A(?:{regex})\z"))
}

fn build(regex: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(regex)
        .unicode(false)
        .size_limit(MAX_COMPILED_BYTES)
        .dfa_size_limit(MAX_COMPILED_BYTES)
        .nest_limit(100)
        .build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "it is too large when compiled".to_owned(),
        // The last line says what is wrong; those before show where, in many lines.
        other => {
            let text = other.to_string();
            text.lines().last().unwrap_or_default().trim().to_owned()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(regex: &str) -> Vec<String> {
        let names = ["ab", "abc", "xab", "a.b", "a1"];
        let topics = names.map(|name| (name.to_owned(), [1; 16], 1));
        matching(regex, &Topics::new(1, topics))
            .into_iter()
            .collect()
    }

    #[test]
    fn a_topic_matches_as_a_whole() {
        assert_eq!(matched("ab"), ["ab"]);
        assert_eq!(matched("ab|abc"), ["ab", "abc"]);
        assert_eq!(matched(r"a\.b"), ["a.b"]);
        assert_eq!(matched(r"a\d"), ["a1"]);
        assert_eq!(matched(".*").len(), 5);
        assert_eq!(matched("(?i)AB"), ["ab"]);
    }

    #[test]
    fn what_is_no_regex_or_too_large_is_refused() {
        for wrong in ["(", "a)|(b", "[", "*", r"(a)\1", "(?=a)", "(?x)a #"] {
            let refusal = check_regex(wrong).unwrap_err();
            assert_eq!(refusal.error.code(), 128, "{wrong}");
        }
        assert!(check_regex("((a{900}){900}){900}").is_err());
        assert!(check_regex(&"(".repeat(5_000)).is_err());
        assert!(check_regex(&"a".repeat(40_000)).is_err());
        assert!(check_regex("[a-c]+-(x|y)?").is_ok());
    }
}
