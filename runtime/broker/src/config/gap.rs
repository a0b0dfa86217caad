//! How a consumer is told of offsets that have no records (stream-semantics.md, "The gap marker").

use std::str::FromStr;

/// What a fetch does about such offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapMode {
    /// One commit marker at the last scanned offset.
    Marker,
    /// A control batch whose one record stands before the fetch offset.
    Before,
    /// No bytes; the position is kept for the connection.
    Cursor,
}

/// What the configuration says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GapChoice {
    /// By client id: `Before` for the clients known to show control records to the application.
    #[default]
    Auto,
    Fixed(GapMode),
}

/// The default and the client ids that differ from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumeGap {
    pub default: GapChoice,
    /// The first pattern that matches counts; `*` stands for any characters.
    pub clients: Vec<(String, GapChoice)>,
}

impl ConsumeGap {
    pub fn mode(&self, client_id: &str) -> GapMode {
        let chosen = self
            .clients
            .iter()
            .find(|(pattern, _)| matches(pattern, client_id));
        match chosen.map_or(self.default, |(_, choice)| *choice) {
            GapChoice::Auto => automatic(client_id),
            GapChoice::Fixed(mode) => mode,
        }
    }

    /// Reads `pattern=mode,pattern=mode`. The error is a sentence.
    pub(super) fn parse_clients(text: &str) -> Result<Vec<(String, GapChoice)>, String> {
        text.split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(client)
            .collect()
    }
}

impl FromStr for GapChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<GapChoice, String> {
        match text.trim() {
            "auto" => Ok(GapChoice::Auto),
            "marker" => Ok(GapChoice::Fixed(GapMode::Marker)),
            "before" => Ok(GapChoice::Fixed(GapMode::Before)),
            "cursor" => Ok(GapChoice::Fixed(GapMode::Cursor)),
            _ => Err("expected auto, marker, before or cursor".to_owned()),
        }
    }
}

fn client(entry: &str) -> Result<(String, GapChoice), String> {
    let (pattern, mode) = entry
        .rsplit_once('=')
        .filter(|(pattern, _)| !pattern.trim().is_empty())
        .ok_or("expected client-id-pattern=mode, comma-separated, for example my-app-*=before")?;
    Ok((pattern.trim().to_owned(), mode.parse()?))
}

/// kafka-go and kafka-python up to 2.0 hand control records to the application; rskafka, under its default id, fails on them.
fn automatic(client_id: &str) -> GapMode {
    if client_id == "rskafka" {
        return GapMode::Cursor;
    }
    let before = client_id.ends_with("(github.com/segmentio/kafka-go)")
        || client_id.starts_with("kafka-python-2.0.")
        || client_id.starts_with("kafka-python-1.");
    if before {
        GapMode::Before
    } else {
        GapMode::Marker
    }
}

/// Greedy match with one point to return to: linear in practice, and the client id is bounded by its frame.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_knows_the_clients_that_cannot_read_markers() {
        let gap = ConsumeGap::default();
        assert_eq!(gap.mode("rdkafka"), GapMode::Marker);
        assert_eq!(gap.mode("kafka-python-2.0.6"), GapMode::Before);
        assert_eq!(gap.mode("kafka-python-2.2.1"), GapMode::Marker);
        assert_eq!(
            gap.mode("app@host (github.com/segmentio/kafka-go)"),
            GapMode::Before
        );
        assert_eq!(gap.mode("rskafka"), GapMode::Cursor);
        assert_eq!(gap.mode("rskafka-of-mine"), GapMode::Marker);
    }

    #[test]
    fn the_first_matching_pattern_wins() {
        let clients = ConsumeGap::parse_clients("a-*=cursor, *-b=before,a-b=marker").unwrap();
        let gap = ConsumeGap {
            default: GapChoice::Fixed(GapMode::Marker),
            clients,
        };
        assert_eq!(gap.mode("a-b"), GapMode::Cursor);
        assert_eq!(gap.mode("x-b"), GapMode::Before);
        assert_eq!(gap.mode("x"), GapMode::Marker);
        assert!(ConsumeGap::parse_clients("nope").is_err());
        assert!(ConsumeGap::parse_clients("a=sometimes").is_err());
        assert_eq!(ConsumeGap::parse_clients(" ").unwrap(), []);
    }

    #[test]
    fn stars_match_any_run() {
        for (pattern, text, wanted) in [
            ("*", "", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcd", false),
            ("a", "ab", false),
            ("*ab", "aab", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, text), wanted, "{pattern} {text}");
        }
    }
}
