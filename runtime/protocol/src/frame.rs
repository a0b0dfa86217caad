//! Frames: a big-endian `i32` length, then that many bytes. The same in both directions.

use bytes::{Buf, Bytes, BytesMut};

/// Bytes of the length before each frame.
pub const PREFIX_LEN: usize = 4;

/// A length prefix that cannot start a frame. The connection is beyond repair: close it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("the frame claims a negative length ({0})")]
    Negative(i32),
    #[error("the frame claims {claimed} bytes, at most {max} are taken{}", hint(*.claimed))]
    TooLarge { claimed: usize, max: usize },
}

/// The checked length of the frame that begins with `prefix`, without the prefix itself.
pub fn check_len(prefix: [u8; PREFIX_LEN], max_bytes: usize) -> Result<usize, FrameError> {
    let claimed = i32::from_be_bytes(prefix);
    let len = usize::try_from(claimed).map_err(|_| FrameError::Negative(claimed))?;
    if len > max_bytes {
        return Err(FrameError::TooLarge {
            claimed: len,
            max: max_bytes,
        });
    }
    Ok(len)
}

/// Takes one whole frame (without its prefix) off the front of `buf`; `None` while it is incomplete.
///
/// The prefix is judged as soon as its four bytes are there, so an oversized frame is refused
/// before any of it is buffered, and nothing is ever reserved for a length that was only claimed.
/// The frame shares `buf`'s memory: keeping it (or a slice of it) keeps the whole read alive.
pub fn take_frame(buf: &mut BytesMut, max_bytes: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(prefix) = buf.first_chunk::<PREFIX_LEN>() else {
        return Ok(None);
    };
    let len = check_len(*prefix, max_bytes)?;
    if buf.len() - PREFIX_LEN < len {
        return Ok(None);
    }
    buf.advance(PREFIX_LEN);
    Ok(Some(buf.split_to(len).freeze()))
}

/// Other protocols read as absurd lengths; naming them saves the reader an hour.
fn hint(claimed: usize) -> &'static str {
    match u32::try_from(claimed).map(u32::to_be_bytes) {
        Ok(word) if [*b"GET ", *b"POST", *b"HEAD", *b"PUT "].contains(&word) => {
            " (this looks like HTTP: the admin address is another port)"
        }
        Ok([0x16, 0x03, ..]) => " (this looks like TLS on a plaintext listener)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_frames_one_by_one() {
        let mut buf = BytesMut::from(&b"\0\0\0\x02ab\0\0\0\0\0\0\0\x05he"[..]);
        assert_eq!(take_frame(&mut buf, 10).unwrap().unwrap(), "ab");
        assert_eq!(take_frame(&mut buf, 10).unwrap().unwrap(), "");
        assert_eq!(take_frame(&mut buf, 10).unwrap(), None);
        buf.extend_from_slice(b"llo");
        assert_eq!(take_frame(&mut buf, 10).unwrap().unwrap(), "hello");
        assert_eq!(take_frame(&mut buf, 10).unwrap(), None);
    }

    #[test]
    fn refuses_a_bad_length_at_its_fourth_byte() {
        let mut buf = BytesMut::from(&b"\xff\xff\xff"[..]);
        assert_eq!(take_frame(&mut buf, 10).unwrap(), None);
        buf.extend_from_slice(b"\xff");
        assert_eq!(take_frame(&mut buf, 10), Err(FrameError::Negative(-1)));
        let mut buf = BytesMut::from(&b"\0\0\0\x0b"[..]);
        assert_eq!(
            take_frame(&mut buf, 10),
            Err(FrameError::TooLarge {
                claimed: 11,
                max: 10
            })
        );
    }

    #[test]
    fn names_a_stray_http_client() {
        let error = take_frame(&mut BytesMut::from(&b"GET / HTTP/1.1"[..]), 100).unwrap_err();
        assert!(error.to_string().contains("HTTP"), "{error}");
    }
}
