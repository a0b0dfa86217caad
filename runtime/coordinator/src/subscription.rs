//! What a consumer subscribes to and what it was assigned, out of the bytes of the consumers' embedded protocol. Classic
//! groups look at the topics only; a consumer group (KIP-848) reads all of it of members that speak the classic protocol.

use std::collections::BTreeSet;

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

/// A subscription as a whole: the topics, then user data, then what came with later versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) topics: BTreeSet<String>,
    /// Version 1 and above.
    pub(crate) owned: Vec<(String, Vec<i32>)>,
    /// Version 3.
    pub(crate) rack: Option<String>,
}

/// What a leader handed to a member (ConsumerProtocolAssignment, versions 0 to 3, which are alike).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) partitions: Vec<(String, Vec<i32>)>,
    pub(crate) has_user_data: bool,
}

/// Newest version that is known; newer ones only append fields.
const NEWEST: i16 = 3;

/// The version that the bytes say they are, as far as it is known here.
pub(crate) fn version(bytes: &[u8]) -> Option<i16> {
    let version = Cursor(bytes).i16()?;
    (version >= 0).then_some(version.min(NEWEST))
}

/// `None` for bytes that are not a subscription.
pub(crate) fn parse(bytes: &[u8]) -> Option<Subscription> {
    let version = version(bytes)?;
    let mut rest = Cursor(bytes);
    rest.i16()?;
    let mut read = Subscription::default();
    for _ in 0..rest.count()? {
        read.topics.insert(rest.string()??.to_owned());
    }
    rest.bytes()?;
    if version >= 1 {
        read.owned = rest.partitions()?;
    }
    if version >= 2 {
        let _generation = rest.i32()?;
    }
    if version >= 3 {
        read.rack = rest.string()?.map(str::to_owned);
    }
    Some(read)
}

/// `None` for bytes that are not an assignment.
pub(crate) fn parse_assignment(bytes: &[u8]) -> Option<Assignment> {
    version(bytes)?;
    let mut rest = Cursor(bytes);
    rest.i16()?;
    Some(Assignment {
        partitions: rest.partitions()?,
        has_user_data: rest.bytes()?.is_some_and(|data| !data.is_empty()),
    })
}

fn topics(bytes: &[u8]) -> Option<Vec<&str>> {
    let mut rest = Cursor(bytes);
    rest.i16()?;
    let mut topics = Vec::new();
    for _ in 0..rest.count()? {
        topics.push(rest.string()??);
    }
    Some(topics)
}

/// What is left to read. Nothing is reserved by a count that was only claimed.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn i16(&mut self) -> Option<i16> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i16::from_be_bytes(*head))
    }

    fn i32(&mut self) -> Option<i32> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i32::from_be_bytes(*head))
    }

    /// Elements of an array; none where it is null.
    fn count(&mut self) -> Option<i32> {
        self.i32().map(|count| count.max(0))
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    /// The inner `None` is null.
    fn string(&mut self) -> Option<Option<&'a str>> {
        let len = self.i16()?;
        if len < 0 {
            return Some(None);
        }
        let bytes = self.take(usize::try_from(len).ok()?)?;
        std::str::from_utf8(bytes).ok().map(Some)
    }

    /// As `string`.
    fn bytes(&mut self) -> Option<Option<&'a [u8]>> {
        let len = self.i32()?;
        if len < 0 {
            return Some(None);
        }
        self.take(usize::try_from(len).ok()?).map(Some)
    }

    fn partitions(&mut self) -> Option<Vec<(String, Vec<i32>)>> {
        let mut topics = Vec::new();
        for _ in 0..self.count()? {
            let name = self.string()??.to_owned();
            let mut indexes = Vec::new();
            for _ in 0..self.count()? {
                indexes.push(self.i32()?);
            }
            topics.push((name, indexes));
        }
        Some(topics)
    }
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

    #[test]
    fn later_versions_say_more() {
        let mut bytes = encode(&["t".to_owned()]);
        bytes.extend((-1i32).to_be_bytes());
        bytes.extend([0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 5]);
        let owned = vec![("t".to_owned(), vec![5])];
        let subscription = Subscription {
            topics: ["t".to_owned()].into(),
            owned: owned.clone(),
            rack: None,
        };
        assert_eq!(parse(&bytes), Some(subscription.clone()));
        bytes[1] = 3;
        assert_eq!(parse(&bytes), None, "generation and rack are missing");
        bytes.extend([0, 0, 0, 9, 0, 1, b'r']);
        let with_rack = Subscription {
            rack: Some("r".to_owned()),
            ..subscription
        };
        assert_eq!(parse(&bytes), Some(with_rack));
        let mut assignment = vec![0, 9, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 5];
        assignment.extend((-1i32).to_be_bytes());
        let read = parse_assignment(&assignment).unwrap();
        assert_eq!((read.partitions, read.has_user_data), (owned, false));
        assert_eq!(version(&assignment), Some(3));
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
            let _ = parse(&bytes);
            let _ = parse_assignment(&bytes);
        }
    }
}
