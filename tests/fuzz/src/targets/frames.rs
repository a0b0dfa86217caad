//! Bytes of a connection.
//!
//! Frames are the same however the bytes arrive, each as long as its prefix says, and nothing is lost between them. A
//! head costs no more than its frame does a few times. Each body is one of [`super::requests`].

use bytes::{Bytes, BytesMut};
use tidegate_protocol::{PREFIX_LEN, parse_head, take_frame, versions};

use crate::apis;
use crate::corpus::Seed;
use crate::input::Fixed;
use crate::memory::{SLACK, within};
use crate::sample;

const MAX_FRAME: usize = 1 << 16;

pub(super) fn run(data: &[u8]) {
    let frames = frames_of(&[data]);
    let (one, other) = data.split_at(data.len() / 2);
    assert_eq!(
        frames_of(&[one, other]),
        frames,
        "as it arrives in two parts"
    );
    let mut rest = data;
    for frame in &frames {
        assert_eq!(rest[..PREFIX_LEN], (frame.len() as u32).to_be_bytes());
        assert_eq!(rest[PREFIX_LEN..][..frame.len()], frame[..]);
        rest = &rest[PREFIX_LEN + frame.len()..];
        // A client id that is no text grows to three times its bytes when it is made text.
        let head = within(4 * frame.len() + SLACK, || parse_head(frame));
        if let Ok((head, body)) = head {
            apis::check(head.api_key, head.api_version, body);
        }
    }
}

fn frames_of(parts: &[&[u8]]) -> Vec<Bytes> {
    let mut buf = BytesMut::new();
    let mut frames = Vec::new();
    for part in parts {
        buf.extend_from_slice(part);
        while let Ok(Some(frame)) = take_frame(&mut buf, MAX_FRAME) {
            frames.push(frame);
        }
    }
    frames
}

pub(super) fn seeds() -> Vec<Seed> {
    let framed = |(key, lowest, highest): (i16, i16, i16)| {
        let of = |version| frame(key, version, &sample::body(key, version, &mut Fixed(3)));
        Seed::made(format!("{key}"), [of(lowest), of(highest)].concat())
    };
    versions::all().into_iter().map(framed).collect()
}

fn frame(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; PREFIX_LEN];
    frame.extend_from_slice(&key.to_be_bytes());
    frame.extend_from_slice(&version.to_be_bytes());
    frame.extend_from_slice(b"\0\0\0\x01\0\x02id");
    if versions::is_flexible(key, version) {
        frame.push(0);
    }
    frame.extend_from_slice(body);
    let length = (frame.len() - PREFIX_LEN) as u32;
    frame[..PREFIX_LEN].copy_from_slice(&length.to_be_bytes());
    frame
}
