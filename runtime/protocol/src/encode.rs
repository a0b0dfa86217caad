//! Responses out of the broker; requests and responses of a client.
//!
//! A frame is sized first and written once into a buffer of exactly that size: the records of a Fetch
//! response are copied one time, which is as few as the message crate allows.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

use crate::frame::PREFIX_LEN;

/// A message that cannot be put on the wire: a bug of its author (a field set that the version does
/// not have), or more than a frame can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("API key {0} is not known")]
    UnknownApi(i16),
    #[error("API {api_key} version {version}: {reason}")]
    Message {
        api_key: i16,
        version: i16,
        reason: String,
    },
    #[error(
        "API {api_key} version {version} makes a frame of {size} bytes, more than Kafka allows"
    )]
    TooLarge {
        api_key: i16,
        version: i16,
        size: usize,
    },
}

/// A response that a client cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    #[error("a response of {0} bytes is too short for a header")]
    NoHead(usize),
    #[error("the response of API {api_key} version {version} was not decoded: {reason}")]
    Message {
        api_key: i16,
        version: i16,
        reason: String,
    },
}

/// One response frame, with its length prefix.
///
/// The header is v1 (tagged) where the response is flexible, except ApiVersions, whose header stays
/// v0 so that a client can read the answer to a version it only guessed (KIP-511).
pub fn encode_response<T: Encodable>(
    api_key: i16,
    version: i16,
    correlation_id: i32,
    response: &T,
) -> Result<Bytes, EncodeError> {
    let api = ApiKey::try_from(api_key).map_err(|()| EncodeError::UnknownApi(api_key))?;
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    let header_version = api.response_header_version(version);
    frame(api_key, version, &header, header_version, response)
}

/// One request frame, with its length prefix.
pub fn encode_request<R: Request>(
    version: i16,
    correlation_id: i32,
    client_id: &str,
    request: &R,
) -> Result<Bytes, EncodeError> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_string(client_id.to_owned())));
    frame(
        R::KEY,
        version,
        &header,
        R::header_version(version),
        request,
    )
}

/// The correlation id and body of a response frame (without its length prefix).
///
/// For a client that chose its broker: sizes inside the frame are believed as far as the message
/// crate does. The frame itself must have been bounded by [`crate::take_frame`].
pub fn decode_response<R: Request>(
    version: i16,
    mut frame: Bytes,
) -> Result<(i32, R::Response), ResponseError> {
    let len = frame.len();
    if len < 4 {
        return Err(ResponseError::NoHead(len));
    }
    let refused = |reason: String| ResponseError::Message {
        api_key: R::KEY,
        version,
        reason,
    };
    let header = ResponseHeader::decode(&mut frame, R::Response::header_version(version))
        .map_err(|error| refused(error.to_string()))?;
    let response =
        R::Response::decode(&mut frame, version).map_err(|error| refused(error.to_string()))?;
    if frame.has_remaining() {
        return Err(refused(format!("{} bytes follow it", frame.len())));
    }
    Ok((header.correlation_id, response))
}

fn frame<H: Encodable, T: Encodable>(
    api_key: i16,
    version: i16,
    header: &H,
    header_version: i16,
    message: &T,
) -> Result<Bytes, EncodeError> {
    let refused = |reason: String| EncodeError::Message {
        api_key,
        version,
        reason,
    };
    let header_len = header
        .compute_size(header_version)
        .map_err(|e| refused(e.to_string()))?;
    let message_len = message
        .compute_size(version)
        .map_err(|e| refused(e.to_string()))?;
    let size = header_len + message_len;
    let prefix = i32::try_from(size).map_err(|_| EncodeError::TooLarge {
        api_key,
        version,
        size,
    })?;
    let mut buf = BytesMut::with_capacity(PREFIX_LEN + size);
    buf.put_i32(prefix);
    header
        .encode(&mut buf, header_version)
        .map_err(|e| refused(e.to_string()))?;
    message
        .encode(&mut buf, version)
        .map_err(|e| refused(e.to_string()))?;
    // A size that does not match would desynchronize the connection for good.
    match buf.len() == PREFIX_LEN + size {
        true => Ok(buf.freeze()),
        false => Err(refused(format!(
            "{size} bytes computed, {} written",
            buf.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{
        ApiVersionsRequest, ApiVersionsResponse, FetchRequest, FetchResponse, MetadataRequest,
        MetadataResponse,
        fetch_response::{FetchableTopicResponse, PartitionData},
    };

    use super::*;
    use crate::{DecodeBudget, decode, parse_head, take_frame};

    fn unframe(bytes: Bytes) -> Bytes {
        let mut buf = BytesMut::from(&bytes[..]);
        let frame = take_frame(&mut buf, 1 << 20).unwrap().unwrap();
        assert!(buf.is_empty());
        frame
    }

    #[test]
    fn a_request_reads_back() {
        for version in 4..=18 {
            let request = FetchRequest::default().with_max_wait_ms(7);
            let bytes = encode_request(version, 9, "me", &request).unwrap();
            let (head, body) = parse_head(&unframe(bytes)).unwrap();
            assert_eq!(
                (head.api_key, head.api_version, head.correlation_id),
                (1, version, 9)
            );
            assert_eq!(head.client_id.as_deref(), Some("me"));
            let back: FetchRequest = decode(1, version, body, DecodeBudget::default()).unwrap();
            assert_eq!(back, request);
        }
    }

    #[test]
    fn api_versions_answers_with_an_old_header() {
        let response = ApiVersionsResponse::default().with_error_code(35);
        for version in 0..=4 {
            let bytes = encode_response(18, version, 5, &response).unwrap();
            assert_eq!(&bytes[4..10], b"\0\0\0\x05\0\x23", "no tag byte in between");
            let frame = unframe(bytes);
            let (id, back) = decode_response::<ApiVersionsRequest>(version, frame).unwrap();
            assert_eq!((id, back.error_code), (5, 35));
        }
    }

    #[test]
    fn the_response_header_follows_the_version() {
        let response = MetadataResponse::default();
        let plain = encode_response(3, 8, 5, &response).unwrap();
        let flexible = encode_response(3, 9, 5, &response).unwrap();
        assert_eq!(&plain[4..9], b"\0\0\0\x05\0");
        assert_eq!(
            decode_response::<MetadataRequest>(8, unframe(plain))
                .unwrap()
                .0,
            5
        );
        assert_eq!(
            decode_response::<MetadataRequest>(9, unframe(flexible))
                .unwrap()
                .0,
            5
        );
    }

    #[test]
    fn records_travel_as_they_are() {
        let records = Bytes::from(vec![7u8; 5000]);
        let partition = PartitionData::default().with_records(Some(records.clone()));
        let topic = FetchableTopicResponse::default().with_partitions(vec![partition]);
        let response = FetchResponse::default().with_responses(vec![topic]);
        let frame = unframe(encode_response(1, 12, 1, &response).unwrap());
        let (_, back) = decode_response::<FetchRequest>(12, frame).unwrap();
        assert_eq!(
            back.responses[0].partitions[0].records.as_ref(),
            Some(&records)
        );
    }

    #[test]
    fn a_field_the_version_lacks_is_an_error() {
        let request = MetadataRequest::default().with_allow_auto_topic_creation(false);
        assert!(matches!(
            encode_request(3, 1, "me", &request),
            Err(EncodeError::Message {
                api_key: 3,
                version: 3,
                ..
            })
        ));
        assert_eq!(
            encode_response(999, 0, 1, &MetadataResponse::default()),
            Err(EncodeError::UnknownApi(999))
        );
    }
}
