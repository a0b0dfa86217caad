//! What can go wrong between this program and a broker, in words that say what to do next.

use std::fmt::Display;
use std::io;

use tidegate_protocol::StrBytes;
use tidegate_protocol::error::ErrorCode;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error(
        "no broker answers at {address}: {cause}\n  is one running? start one with `tidegate \
         serve`, or name another with --bootstrap HOST:PORT"
    )]
    Unreachable { address: String, cause: io::Error },
    #[error("`{0}` is no address; give --bootstrap as HOST:PORT")]
    Address(String),
    #[error("the connection to {address} broke: {cause}")]
    Broken { address: String, cause: io::Error },
    #[error("{address} does not speak Kafka as expected: {reason}")]
    Protocol { address: String, reason: String },
    #[error("{address} serves {api} {min} to {max}; this command needs {wanted} or below")]
    Version {
        address: String,
        api: String,
        min: i16,
        max: i16,
        wanted: i16,
    },
    #[error("{what}: {message}{}", hint(*.code))]
    Kafka {
        what: String,
        code: ErrorCode,
        message: String,
    },
}

impl ClientError {
    /// Whether the same request may succeed a moment later, as the protocol says.
    pub(crate) fn is_retriable(&self) -> bool {
        match self {
            ClientError::Kafka { code, .. } => code.is_retriable(),
            ClientError::Broken { .. } => true,
            _ => false,
        }
    }

    pub(crate) fn code(&self) -> Option<ErrorCode> {
        match self {
            ClientError::Kafka { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// An error code of a response, with the broker's own words where it sent some.
pub(crate) fn check(
    code: i16,
    message: Option<&StrBytes>,
    what: impl Display,
) -> Result<(), ClientError> {
    let Some(code) = ErrorCode::try_from_code(code) else {
        return Ok(());
    };
    let message = match message.map(|m| m.as_str()).filter(|m| !m.is_empty()) {
        Some(message) => message.to_owned(),
        None => words(code),
    };
    Err(ClientError::Kafka {
        what: what.to_string(),
        code,
        message,
    })
}

pub(crate) fn check_code(code: i16, what: impl Display) -> Result<(), ClientError> {
    check(code, None, what)
}

/// `UnknownTopicOrPartition` as a sentence would have it.
fn words(code: ErrorCode) -> String {
    let mut words = String::new();
    for letter in code.to_string().chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

fn hint(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::UnknownTopicOrPartition => {
            "\n  `tidegate topic list` shows what is there, `tidegate topic create` makes one"
        }
        ErrorCode::MessageTooLarge => {
            "\n  the topic's max.message.bytes says how large a batch may be"
        }
        ErrorCode::NotEnoughReplicas => {
            "\n  too few replicas are in sync, or a plugin of the topic cannot run just now; \
             `tidegate plugin show NAME` has its last error"
        }
        ErrorCode::OffsetOutOfRange => {
            "\n  that offset is not in the log any more, or not yet; try --offset beginning"
        }
        ErrorCode::UnknownMemberId => {
            "\n  the group has active members; commit under a group nobody else consumes with"
        }
        _ => "",
    }
}

/// What of the wire crate's errors concerns one connection.
pub(crate) fn protocol_error(address: &str, reason: impl Display) -> ClientError {
    ClientError::Protocol {
        address: address.to_owned(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brokers_words_come_before_ours() {
        let words = StrBytes::from_static_str("there is no plugin `match`");
        let error = check(44, Some(&words), "topic t").unwrap_err();
        assert_eq!(error.to_string(), "topic t: there is no plugin `match`");
        let error = check_code(3, "topic t").unwrap_err().to_string();
        assert!(
            error.starts_with("topic t: unknown topic or partition\n"),
            "{error}"
        );
        assert!(check_code(0, "x").is_ok());
    }

    #[test]
    fn retriable_is_what_kafka_says() {
        assert!(check_code(6, "p").unwrap_err().is_retriable());
        assert!(!check_code(87, "p").unwrap_err().is_retriable());
    }
}
