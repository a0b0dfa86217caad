//! Request headers: api key, api version, correlation id, client id, and tagged fields where the
//! version is flexible (KIP-482).

use bytes::{Buf, Bytes};

use crate::decode::{DecodeBudget, DecodeError, Walk};
use crate::versions;

/// What every request says before its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    pub api_key: i16,
    pub api_version: i16,
    pub correlation_id: i32,
    /// Names the client in logs and metrics; invalid UTF-8 in it is replaced, never fatal.
    pub client_id: Option<String>,
}

/// Splits a frame (without its length prefix) into its head and its body.
///
/// An API or version we do not have still yields its head, because the answer needs the correlation
/// id: ApiVersions above our maximum is answered with version 0 and UNSUPPORTED_VERSION (KIP-511).
/// The body is then what follows the client id, unread: where such a header ends is not known.
pub fn parse_head(frame: &Bytes) -> Result<(RequestHead, Bytes), DecodeError> {
    let mut fixed = frame.clone();
    let (Ok(api_key), Ok(api_version), Ok(correlation_id)) = (
        fixed.try_get_i16(),
        fixed.try_get_i16(),
        fixed.try_get_i32(),
    ) else {
        return Err(DecodeError::NoHead(frame.len()));
    };
    // The client id keeps its old 16-bit length even in flexible headers.
    let mut walk = Walk::new(&fixed, api_version, false, DecodeBudget::default());
    let client_id = walk
        .string("client_id", true)?
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let known =
        versions::supported(api_key).is_some_and(|(min, max)| (min..=max).contains(&api_version));
    if known && versions::is_flexible(api_key, api_version) {
        walk.tags(&[])?;
    }
    let body = fixed.slice_ref(walk.rest());
    Ok((
        RequestHead {
            api_key,
            api_version,
            correlation_id,
            client_id,
        },
        body,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(bytes: &[u8]) -> Result<(RequestHead, Bytes), DecodeError> {
        parse_head(&Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn reads_both_header_versions() {
        let (old, body) = head(b"\0\x03\0\x01\0\0\0\x07\0\x02mebody").unwrap();
        assert_eq!(
            (old.api_key, old.api_version, old.correlation_id),
            (3, 1, 7)
        );
        assert_eq!(old.client_id.as_deref(), Some("me"));
        assert_eq!(body, "body");
        let (new, body) = head(b"\0\x03\0\x09\0\0\0\x07\xff\xff\x01\x05\x02xxbody").unwrap();
        assert_eq!((new.api_version, new.client_id), (9, None));
        assert_eq!(body, "body");
    }

    #[test]
    fn yields_the_head_of_an_unknown_version_and_of_an_unknown_api() {
        let (head_, _) = head(b"\0\x12\0\x63\0\0\0\x07\0\x02me\xff\xff").unwrap();
        assert_eq!(
            (head_.api_key, head_.api_version, head_.correlation_id),
            (18, 99, 7)
        );
        let (head_, _) = head(b"\x03\xe7\0\0\0\0\0\x08\xff\xff").unwrap();
        assert_eq!((head_.api_key, head_.correlation_id), (999, 8));
    }

    #[test]
    fn refuses_what_does_not_fit() {
        assert!(matches!(
            head(b"\0\x03\0\x09\0\0\0"),
            Err(DecodeError::NoHead(7))
        ));
        assert!(head(b"\0\x03\0\x01\0\0\0\x07\x7f\xffme").is_err());
        assert!(head(b"\0\x03\0\x01\0\0\0\x07\xff\xfeme").is_err());
        assert!(head(b"\0\x03\0\x09\0\0\0\x07\xff\xff\xff\xff\xff\xff\x0f").is_err());
    }
}
