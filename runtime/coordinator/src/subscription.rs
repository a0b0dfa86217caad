//! What a consumer subscribes to, out of the bytes that it joins with. The broker does not otherwise look into them.

use crate::members::Member;

/// The protocol type of groups of consumers.
pub(crate) const CONSUMER: &str = "consumer";

/// Topics of the member's subscription; none where the bytes are not a subscription. The bytes are a version, then an
/// array of topic names (ConsumerProtocolSubscription, versions 0 to 3).
pub(crate) fn subscription(member: &Member) -> Vec<&str> {
    member
        .protocols
        .first()
        .and_then(|(_, metadata)| topics(metadata))
        .unwrap_or_default()
}

fn topics(bytes: &[u8]) -> Option<Vec<&str>> {
    let (_version, rest) = bytes.split_first_chunk::<2>()?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let mut topics = Vec::new();
    for _ in 0..i32::from_be_bytes(*count).max(0) {
        let (len, after) = rest.split_first_chunk::<2>()?;
        let len = usize::try_from(i16::from_be_bytes(*len)).ok()?;
        let (name, after) = after.split_at_checked(len)?;
        topics.push(std::str::from_utf8(name).ok()?);
        rest = after;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(names: &[String]) -> Vec<u8> {
        let mut bytes = vec![0, 1];
        bytes.extend((names.len() as i32).to_be_bytes());
        for name in names {
            bytes.extend((name.len() as i16).to_be_bytes());
            bytes.extend(name.as_bytes());
        }
        bytes
    }

    proptest! {
        #[test]
        fn names_are_read_back_whatever_follows(
            names in proptest::collection::vec("[a-z.]{0,20}", 0..8),
            tail in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut bytes = encode(&names);
            bytes.extend(tail);
            prop_assert_eq!(topics(&bytes), Some(names.iter().map(String::as_str).collect()));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = topics(&bytes);
        }
    }
}
