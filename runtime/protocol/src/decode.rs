//! Bounded decoding: a walk over the body against its schema, then `kafka_protocol`'s decoder.

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::Request;

use crate::schema::{self, Field, Kind};

/// Tagged fields a client may add to one structure. Kafka's own clients add none that we do not
/// know; the decoder keeps unknown ones in a tree whose nodes are far larger than the bytes sent.
const MAX_TAGS: u32 = 64;

/// How much memory one decoded request may take.
///
/// Strings and byte fields are slices of the frame and cost nothing beyond it; what is counted is
/// the structures around them, at the size the compiler gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeBudget {
    pub max_decoded_bytes: usize,
}

impl DecodeBudget {
    /// 1 MiB, and for Produce as much as its frame: a partition with a batch in it decodes to less
    /// than its bytes on the wire, so an honest producer cannot meet this limit.
    pub fn for_request(api_key: i16, frame_len: usize) -> DecodeBudget {
        let default = DecodeBudget::default();
        match api_key {
            0 => DecodeBudget {
                max_decoded_bytes: frame_len.max(default.max_decoded_bytes),
            },
            _ => default,
        }
    }
}

impl Default for DecodeBudget {
    fn default() -> Self {
        DecodeBudget {
            max_decoded_bytes: 1 << 20,
        }
    }
}

/// Why a request was not decoded. Except for [`DecodeError::UnsupportedVersion`] the connection
/// should be closed, as Kafka does: what follows a frame like this cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("a request of {0} bytes is too short for a header")]
    NoHead(usize),
    #[error("{} version {version} is not served", api_name(*.api_key))]
    UnsupportedVersion { api_key: i16, version: i16 },
    #[error("{field} claims {claimed} where {left} bytes are left")]
    TooLong {
        field: &'static str,
        claimed: u64,
        left: usize,
    },
    #[error("{field} has a negative length ({claimed})")]
    Negative { field: &'static str, claimed: i64 },
    #[error("{field} must not be null")]
    Null { field: &'static str },
    #[error("{field} has a length or tag that is no varint of 32 bits, or 31 for a tag")]
    Varint { field: &'static str },
    #[error("{field} has {count} tagged fields, at most {MAX_TAGS} are taken")]
    Tags { field: &'static str, count: u32 },
    #[error("tagged field {field} says {claimed} bytes and has {used}")]
    TagSize {
        field: &'static str,
        claimed: usize,
        used: usize,
    },
    #[error("{field} would make the request decode to more than {budget} bytes")]
    OverBudget { field: &'static str, budget: usize },
    #[error("{} version {version} was not decoded: {reason}", api_name(*.api_key))]
    Message {
        api_key: i16,
        version: i16,
        reason: String,
    },
}

/// Decodes the body of one request within `budget`.
///
/// The schema walk is the gate: it allocates nothing, and refuses whatever claims more than the
/// body holds or decodes to more than the budget.
///
/// Bytes after the last field are let be, as Kafka does: librdkafka up to 2.16 sends three of them
/// when it asks for all topics (it reserves four bytes for a compact null array and uses one).
pub fn decode<R: Request>(
    api_key: i16,
    version: i16,
    mut body: Bytes,
    budget: DecodeBudget,
) -> Result<R, DecodeError> {
    if R::KEY != api_key {
        return Err(DecodeError::UnsupportedVersion { api_key, version });
    }
    let left = check(api_key, version, &body, budget)?;
    let refused = |reason: String| DecodeError::Message {
        api_key,
        version,
        reason,
    };
    let request = R::decode(&mut body, version).map_err(|error| refused(error.to_string()))?;
    // What the walk did not see, it did not bound.
    if body.len() != left {
        return Err(refused("its schema is not the decoder's".to_owned()));
    }
    Ok(request)
}

/// The pre-check alone: whether `body` starts with a well-formed request that decodes within
/// `budget`. Returns how many bytes follow it.
fn check(
    api_key: i16,
    version: i16,
    body: &[u8],
    budget: DecodeBudget,
) -> Result<usize, DecodeError> {
    let schema = schema::find(api_key)
        .filter(|schema| (schema.min..=schema.max).contains(&version))
        .ok_or(DecodeError::UnsupportedVersion { api_key, version })?;
    let mut walk = Walk::new(body, version, version >= schema.flexible_from, budget);
    walk.fields(schema.fields)?;
    Ok(walk.rest().len())
}

/// A cursor that follows a schema and adds up what the decoder is going to allocate.
pub(crate) struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    budget: DecodeBudget,
    spent: usize,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        bytes: &'a [u8],
        version: i16,
        flexible: bool,
        budget: DecodeBudget,
    ) -> Walk<'a> {
        Walk {
            rest: bytes,
            version,
            flexible,
            budget,
            spent: 0,
        }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// A structure: its fields in wire order, then its tagged fields where the version has them.
    fn fields(&mut self, fields: &'static [Field]) -> Result<(), DecodeError> {
        let version = self.version;
        for field in fields
            .iter()
            .filter(|f| f.tag.is_none() && f.is_in(version))
        {
            self.value(field.name, &field.kind)?;
        }
        if self.flexible {
            self.tags(fields)
        } else {
            Ok(())
        }
    }

    fn value(&mut self, name: &'static str, kind: &'static Kind) -> Result<(), DecodeError> {
        match kind {
            Kind::Fixed(size) => self.take(name, *size as u64).map(|_| ()),
            Kind::String { nullable } => self.string(name, *nullable).map(|_| ()),
            Kind::Bytes { nullable } => match self.long_len(name, *nullable)? {
                Some(len) => self.take(name, len.into()).map(|_| ()),
                None => Ok(()),
            },
            Kind::Struct(fields) => self.fields(fields),
            Kind::NullableStruct(fields) => match self.take(name, 1)? {
                [1] => self.fields(fields),
                _ => Ok(()),
            },
            Kind::Array {
                nullable,
                element,
                decoded_size,
            } => {
                let Some(count) = self.long_len(name, *nullable)? else {
                    return Ok(());
                };
                self.reserve(name, count, *decoded_size)?;
                (0..count).try_for_each(|_| self.value(name, element))
            }
        }
    }

    pub(crate) fn string(
        &mut self,
        name: &'static str,
        nullable: bool,
    ) -> Result<Option<&'a [u8]>, DecodeError> {
        let len = if self.flexible {
            self.compact_len(name, nullable)?
        } else {
            let len = i16::from_be_bytes(self.take_array(name)?);
            plain_len(name, nullable, len.into())?
        };
        len.map(|len| self.take(name, len.into())).transpose()
    }

    /// The tagged section: known tags are walked and must fill the size they claim (the decoder
    /// ignores that size), unknown ones are skipped and paid for.
    pub(crate) fn tags(&mut self, fields: &'static [Field]) -> Result<(), DecodeError> {
        const NAME: &str = "tagged fields";
        let count = self.varint(NAME)?;
        if count > MAX_TAGS {
            return Err(DecodeError::Tags { field: NAME, count });
        }
        let mut unknown = 0;
        for _ in 0..count {
            let tag = self.varint(NAME)?;
            // The decoder keeps tags as `i32`, and loses those that come out negative when it encodes.
            if i32::try_from(tag).is_err() {
                return Err(DecodeError::Varint { field: NAME });
            }
            let claimed = self.varint(NAME)?;
            match fields.iter().find(|f| f.tag == Some(tag)) {
                Some(field) => self.known_tag(field, claimed as usize)?,
                None => {
                    self.take(NAME, claimed.into())?;
                    unknown += 1;
                }
            }
        }
        self.spend(NAME, tag_map_bytes(unknown))
    }

    fn known_tag(&mut self, field: &'static Field, claimed: usize) -> Result<(), DecodeError> {
        let before = self.rest.len();
        self.value(field.name, &field.kind)?;
        let used = before - self.rest.len();
        if used != claimed {
            return Err(DecodeError::TagSize {
                field: field.name,
                claimed,
                used,
            });
        }
        Ok(())
    }

    /// Length of bytes or of an array.
    fn long_len(&mut self, name: &'static str, nullable: bool) -> Result<Option<u32>, DecodeError> {
        if self.flexible {
            return self.compact_len(name, nullable);
        }
        let len = i32::from_be_bytes(self.take_array(name)?);
        plain_len(name, nullable, len.into())
    }

    fn compact_len(
        &mut self,
        name: &'static str,
        nullable: bool,
    ) -> Result<Option<u32>, DecodeError> {
        match self.varint(name)?.checked_sub(1) {
            None if !nullable => Err(DecodeError::Null { field: name }),
            len => Ok(len),
        }
    }

    /// Stricter than the decoder, which accepts a sixth continuation and drops the high bits.
    fn varint(&mut self, name: &'static str) -> Result<u32, DecodeError> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take_array(name)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(value).map_err(|_| DecodeError::Varint { field: name });
            }
        }
        Err(DecodeError::Varint { field: name })
    }

    /// Every element takes a byte at least, so a count above the bytes left is a lie.
    fn reserve(
        &mut self,
        name: &'static str,
        count: u32,
        decoded_size: usize,
    ) -> Result<(), DecodeError> {
        if count as usize > self.rest.len() {
            let left = self.rest.len();
            return Err(DecodeError::TooLong {
                field: name,
                claimed: count.into(),
                left,
            });
        }
        self.spend(name, (count as usize).saturating_mul(decoded_size))
    }

    fn spend(&mut self, name: &'static str, bytes: usize) -> Result<(), DecodeError> {
        self.spent = self.spent.saturating_add(bytes);
        let budget = self.budget.max_decoded_bytes;
        if self.spent > budget {
            return Err(DecodeError::OverBudget {
                field: name,
                budget,
            });
        }
        Ok(())
    }

    fn take(&mut self, name: &'static str, len: u64) -> Result<&'a [u8], DecodeError> {
        let taken = usize::try_from(len)
            .ok()
            .and_then(|len| self.rest.split_at_checked(len));
        let left = self.rest.len();
        let (head, rest) = taken.ok_or(DecodeError::TooLong {
            field: name,
            claimed: len,
            left,
        })?;
        self.rest = rest;
        Ok(head)
    }

    fn take_array<const N: usize>(&mut self, name: &'static str) -> Result<[u8; N], DecodeError> {
        let left = self.rest.len();
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(DecodeError::TooLong {
                field: name,
                claimed: N as u64,
                left,
            })?;
        self.rest = rest;
        Ok(*head)
    }
}

fn plain_len(name: &'static str, nullable: bool, len: i64) -> Result<Option<u32>, DecodeError> {
    match u32::try_from(len) {
        Ok(len) => Ok(Some(len)),
        Err(_) if len == -1 && nullable => Ok(None),
        Err(_) if len == -1 => Err(DecodeError::Null { field: name }),
        Err(_) => Err(DecodeError::Negative {
            field: name,
            claimed: len,
        }),
    }
}

/// Upper bound of a `BTreeMap<i32, Bytes>`: nodes of 11 entries, about 420 bytes a leaf and 520 an
/// inner node, at least five entries in each but the root.
fn tag_map_bytes(entries: usize) -> usize {
    if entries == 0 { 0 } else { 512 + 128 * entries }
}

fn api_name(api_key: i16) -> String {
    match ApiKey::try_from(api_key) {
        Ok(key) => format!("{key:?}"),
        Err(()) => format!("API {api_key}"),
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{FetchRequest, MetadataRequest};

    use super::*;

    fn metadata(version: i16, body: &'static [u8]) -> Result<MetadataRequest, DecodeError> {
        decode(
            3,
            version,
            Bytes::from_static(body),
            DecodeBudget::default(),
        )
    }

    #[test]
    fn decodes_a_plain_and_a_flexible_body() {
        let request = metadata(1, b"\0\0\0\x01\0\x01t").unwrap();
        assert_eq!(request.topics.unwrap().len(), 1);
        assert_eq!(metadata(1, b"\xff\xff\xff\xff").unwrap().topics, None);
        let request = metadata(9, b"\x02\x02t\0\x01\0\0\0").unwrap();
        assert!(request.allow_auto_topic_creation);
    }

    #[test]
    fn refuses_a_count_that_cannot_be_there() {
        let error = metadata(1, b"\x7f\xff\xff\xff").unwrap_err();
        assert_eq!(
            error.to_string(),
            "topics claims 2147483647 where 0 bytes are left"
        );
        assert!(matches!(
            metadata(9, b"\xff\xff\xff\xff\x0f"),
            Err(DecodeError::TooLong { .. })
        ));
        assert!(matches!(
            metadata(9, b"\xff\xff\xff\xff\x1f"),
            Err(DecodeError::Varint { .. })
        ));
        assert!(matches!(
            metadata(1, b"\x80\0\0\0"),
            Err(DecodeError::Negative { .. })
        ));
    }

    #[test]
    fn lets_be_what_follows_the_last_field() {
        // As librdkafka 2.16 asks for all topics.
        let request = metadata(13, b"\0\0\0\0\x01\0\0").unwrap();
        assert!(request.topics.is_none() && !request.allow_auto_topic_creation);
        assert!(metadata(1, b"\0\0\0\0\0").is_ok());
    }

    #[test]
    fn refuses_what_is_not_served() {
        assert_eq!(
            metadata(99, b"").unwrap_err().to_string(),
            "Metadata version 99 is not served"
        );
        let other = decode::<FetchRequest>(3, 1, Bytes::new(), DecodeBudget::default());
        assert!(matches!(
            other,
            Err(DecodeError::UnsupportedVersion { api_key: 3, .. })
        ));
    }

    #[test]
    fn holds_a_known_tag_to_its_size() {
        // Fetch 12: cluster_id is tag 0, a string of two bytes in a section of three.
        let body = b"\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\x01\x01\0\x03\x03ab";
        let fetch = |body: &[u8]| {
            decode::<FetchRequest>(1, 12, Bytes::copy_from_slice(body), DecodeBudget::default())
        };
        assert_eq!(fetch(body).unwrap().cluster_id.unwrap().as_str(), "ab");
        let mut lying = body.to_vec();
        let at = lying.len() - 4;
        lying[at] = 4;
        assert!(matches!(
            fetch(&lying),
            Err(DecodeError::TagSize {
                claimed: 4,
                used: 3,
                ..
            })
        ));
    }

    #[test]
    fn bounds_unknown_tags() {
        let one = b"\x01\x01\0\0\x01\x07\x01x";
        assert_eq!(metadata(9, one).unwrap().unknown_tagged_fields.len(), 1);
        assert!(matches!(
            metadata(9, b"\x01\x01\0\0\x41"),
            Err(DecodeError::Tags { .. })
        ));
        // A tag of 2^31, which would be lost when the request is encoded again.
        assert!(matches!(
            metadata(9, b"\x01\x01\0\0\x01\x80\x80\x80\x80\x08\0"),
            Err(DecodeError::Varint { .. })
        ));
        // Forty topics with two empty unknown tags each: small on the wire, 30 KiB of tree.
        let topics: Vec<u8> = std::iter::once(41)
            .chain((0..40).flat_map(|_| *b"\x02t\x02\x05\0\x06\0"))
            .chain(*b"\x01\0\0\0")
            .collect();
        let small = DecodeBudget {
            max_decoded_bytes: 8192,
        };
        let refused = decode::<MetadataRequest>(3, 9, topics.clone().into(), small);
        assert!(
            matches!(refused, Err(DecodeError::OverBudget { .. })),
            "{refused:?}"
        );
        assert!(decode::<MetadataRequest>(3, 9, topics.into(), DecodeBudget::default()).is_ok());
    }
}
