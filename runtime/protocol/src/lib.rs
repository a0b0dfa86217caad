//! The Kafka wire, sans I/O: frames, headers, bounded decoding, versions, error codes.
//!
//! The messages are `kafka_protocol`'s; what is ours is everything that stands between a socket and
//! its decoder. That decoder reserves whatever the wire claims (`Vec::with_capacity(n)`), so eight
//! bytes from an unauthenticated client could abort the process, and honest counts grow forty
//! times when decoded. [`decode`] therefore walks the body against a schema first: every claimed
//! length must fit in what is left, and the decoded size must stay within a [`DecodeBudget`]. Only
//! then is `kafka_protocol` allowed to see the bytes.
//!
//! Deliberately absent: sockets, record batches (`tidegate-record`), and any opinion on which
//! versions a broker advertises beyond those it could decode ([`versions`]).
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

mod decode;
mod encode;
mod frame;
mod head;
mod schema;
mod shared;
#[cfg(test)]
mod tests;
pub mod versions;

pub use decode::{DecodeBudget, DecodeError, decode};
pub use encode::{EncodeError, ResponseError, decode_response, encode_request, encode_response};
pub use frame::{FrameError, PREFIX_LEN, check_len, take_frame};
pub use head::{RequestHead, parse_head};
pub use kafka_protocol::messages;
pub use kafka_protocol::protocol::{
    Decodable, Encodable, HeaderVersion, Message, Request, StrBytes,
};
pub use shared::{Frame, RecordSets, encode_fetch_response};

/// Kafka's error codes, under the names of Kafka's `Errors.java`.
pub mod error {
    pub use kafka_protocol::error::ResponseError as ErrorCode;
}
