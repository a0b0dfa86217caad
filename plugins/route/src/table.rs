//! The table of values and topics, and what stands in for it.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

/// Which topic each value goes to. Topics are kept once, and named by their place.
pub(crate) struct Table {
    /// Sorted by value.
    rows: Vec<(Vec<u8>, usize)>,
    topics: Vec<String>,
}

impl Table {
    #[inline]
    pub(crate) fn get(&self, value: &[u8]) -> Option<usize> {
        let row = self
            .rows
            .binary_search_by(|(known, _)| known.as_slice().cmp(value))
            .ok()?;
        Some(self.rows[row].1)
    }

    /// The place of a topic, which is new or known.
    pub(crate) fn add_topic(&mut self, topic: String) -> usize {
        let known = self.topics.iter().position(|known| *known == topic);
        known.unwrap_or_else(|| {
            self.topics.push(topic);
            self.topics.len() - 1
        })
    }

    pub(crate) fn take_topics(&mut self) -> Vec<String> {
        std::mem::take(&mut self.topics)
    }
}

impl FromStr for Table {
    type Err = String;

    /// Rows are `value=topic`, with `;` between them; space around either is not part of it. A
    /// value may hold `=`, which no topic can.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut table = Self {
            rows: Vec::new(),
            topics: Vec::new(),
        };
        for row in text.split(';').map(str::trim).filter(|row| !row.is_empty()) {
            let (value, topic) = row
                .rsplit_once('=')
                .ok_or_else(|| format!("`{row}` is not of the form value=topic"))?;
            let topic = table.add_topic(topic_name(topic)?);
            table.rows.push((value.trim().into(), topic));
        }
        if table.rows.is_empty() {
            return Err("there is no row of the form value=topic".into());
        }
        table.rows.sort();
        match table.rows.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => {
                let value = String::from_utf8_lossy(&pair[0].0);
                Err(format!("`{value}` stands there twice"))
            }
            None => Ok(table),
        }
    }
}

/// What becomes of a record that is not in the table.
pub(crate) enum Fallback {
    Keep,
    Drop,
    Topic(String),
}

impl FromStr for Fallback {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("topic:")) {
            ("keep", _) => Ok(Self::Keep),
            ("drop", _) => Ok(Self::Drop),
            (_, Some(topic)) => topic_name(topic).map(Self::Topic),
            _ => Err(format!("`{text}` is none of keep, drop and topic:<name>")),
        }
    }
}

/// Kafka's rule for the names of topics.
fn topic_name(text: &str) -> Result<String, String> {
    let text = text.trim();
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let sound = (1..=249).contains(&text.len()) && text.bytes().all(legal);
    if !sound || text == "." || text == ".." {
        return Err(format!(
            "`{text}` is not a topic name: 1 to 249 of the characters a-z, A-Z, 0-9, `.`, `_`, `-`"
        ));
    }
    Ok(text.into())
}

macro_rules! deserialize_from_text {
    ($($type:ty)*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

deserialize_from_text!(Table Fallback);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_rows() {
        let mut table: Table = " b = t1; a=t2 ;c=d=t1;; =t3 ".parse().unwrap();
        assert_eq!(table.get(b"b"), Some(0));
        assert_eq!(table.get(b"a"), Some(1));
        assert_eq!(table.get(b"c=d"), Some(0));
        assert_eq!(table.get(b""), Some(2));
        assert_eq!(table.get(b"x"), None);
        assert_eq!(table.take_topics(), ["t1", "t2", "t3"]);
    }

    #[test]
    fn refuses_with_a_sentence() {
        let error = |text: &str| text.parse::<Table>().err().unwrap();
        assert_eq!(error(""), "there is no row of the form value=topic");
        assert_eq!(error("a=t;a=u"), "`a` stands there twice");
        assert!(error("a=").starts_with("`` is not a topic name"));
        assert!(error("a=t/u").starts_with("`t/u` is not a topic name"));
        assert!("topic:..".parse::<Fallback>().is_err());
    }
}
