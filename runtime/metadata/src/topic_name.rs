//! Topic names as Kafka takes them: 1 to 249 of `[a-zA-Z0-9._-]`, not `.` or `..`.

const MAX_NAME_LEN: usize = 249;

/// Why a topic name is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopicName {
    #[error("a topic name cannot be empty")]
    Empty,
    #[error("a topic name cannot be `.` or `..`")]
    Dots,
    #[error("a topic name has at most 249 characters, this one has {0}")]
    TooLong(usize),
    #[error("a topic name holds only letters, digits, `.`, `_` and `-`, not {0:?}")]
    Character(char),
}

/// Checks a topic name. The limit of 249 keeps `<topic>-<partition>` a legal file name everywhere.
pub fn validate_topic_name(name: &str) -> Result<(), InvalidTopicName> {
    if name.is_empty() {
        return Err(InvalidTopicName::Empty);
    }
    if name == "." || name == ".." {
        return Err(InvalidTopicName::Dots);
    }
    if let Some(bad) = name.chars().find(|c| !is_allowed(*c)) {
        return Err(InvalidTopicName::Character(bad));
    }
    if name.len() > MAX_NAME_LEN {
        return Err(InvalidTopicName::TooLong(name.len()));
    }
    Ok(())
}

/// Two topics with the same key differ only in `.` and `_`, which tools that build metric names
/// cannot tell apart. Worth a warning, not a refusal.
pub fn collision_key(name: &str) -> String {
    name.replace('.', "_")
}

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_kafka_takes_them() {
        for good in [
            "a",
            "orders.eu_1-x",
            "...",
            "__consumer_offsets",
            &"x".repeat(249),
        ] {
            assert_eq!(validate_topic_name(good), Ok(()), "{good}");
        }
        assert_eq!(validate_topic_name(""), Err(InvalidTopicName::Empty));
        assert_eq!(validate_topic_name("."), Err(InvalidTopicName::Dots));
        assert_eq!(validate_topic_name(".."), Err(InvalidTopicName::Dots));
        assert_eq!(
            validate_topic_name("a b"),
            Err(InvalidTopicName::Character(' '))
        );
        assert_eq!(
            validate_topic_name("é"),
            Err(InvalidTopicName::Character('é'))
        );
        assert_eq!(
            validate_topic_name(&"x".repeat(250)),
            Err(InvalidTopicName::TooLong(250))
        );
    }

    #[test]
    fn dots_and_underscores_collide() {
        assert_eq!(collision_key("a.b"), collision_key("a_b"));
        assert_ne!(collision_key("a-b"), collision_key("a_b"));
    }
}
