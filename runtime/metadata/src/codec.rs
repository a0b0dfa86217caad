//! Commands and images as bytes: one version byte, then postcard.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::command::Command;
use crate::image::Image;

const COMMAND_VERSION: u8 = 1;
/// Since 2 with `previous_latest` and `plugin_signatures` at the end, since 3 with `quotas` and `own_broker_configs`.
const IMAGE_VERSION: u8 = 3;
/// By version that is still read, how many maps the image has more by now. Each came at the end, and an empty map is one
/// zero byte.
const ADDED_SINCE: [(u8, usize); 2] = [(1, 4), (2, 2)];

/// Why stored metadata could not be read or made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("the stored {0} is empty")]
    Empty(&'static str),
    #[error("the stored {what} has version {found}, this program reads up to {known}")]
    Version {
        what: &'static str,
        found: u8,
        known: u8,
    },
    #[error("the stored {what} does not decode: {why}")]
    Malformed { what: &'static str, why: String },
    #[error("the stored {what} is followed by {bytes} bytes that do not belong to it")]
    Trailing { what: &'static str, bytes: usize },
}

pub fn encode_command(command: &Command) -> Result<Vec<u8>, CodecError> {
    encode("command", COMMAND_VERSION, command)
}

pub fn decode_command(bytes: &[u8]) -> Result<Command, CodecError> {
    decode("command", COMMAND_VERSION, bytes)
}

pub fn encode_image(image: &Image) -> Result<Vec<u8>, CodecError> {
    encode("image", IMAGE_VERSION, image)
}

pub fn decode_image(bytes: &[u8]) -> Result<Image, CodecError> {
    let mut image: Image = match bytes.split_first() {
        Some((version, body)) if added_since(*version) > 0 => {
            let mut current = vec![IMAGE_VERSION];
            current.extend_from_slice(body);
            current.extend(std::iter::repeat_n(0, added_since(*version)));
            decode("image", IMAGE_VERSION, &current)?
        }
        _ => decode("image", IMAGE_VERSION, bytes)?,
    };
    image.rebuild_indexes();
    Ok(image)
}

fn added_since(version: u8) -> usize {
    let row = ADDED_SINCE.iter().find(|(known, _)| *known == version);
    row.map_or(0, |(_, added)| *added)
}

fn encode<T: Serialize>(what: &'static str, version: u8, value: &T) -> Result<Vec<u8>, CodecError> {
    postcard::to_extend(value, vec![version]).map_err(|error| CodecError::Malformed {
        what,
        why: error.to_string(),
    })
}

fn decode<T: DeserializeOwned>(
    what: &'static str,
    known: u8,
    bytes: &[u8],
) -> Result<T, CodecError> {
    let (found, body) = bytes.split_first().ok_or(CodecError::Empty(what))?;
    if *found != known {
        return Err(CodecError::Version {
            what,
            found: *found,
            known,
        });
    }
    // postcard's sequences grow as elements decode (serde caps the first reservation), so a
    // corrupted length is an error at the end of the bytes, not an allocation.
    let (value, rest) = postcard::take_from_bytes(body).map_err(|error| CodecError::Malformed {
        what,
        why: error.to_string(),
    })?;
    if !rest.is_empty() {
        return Err(CodecError::Trailing {
            what,
            bytes: rest.len(),
        });
    }
    Ok(value)
}
