//! What parent and child say to each other, over the child's standard input and output. All numbers are big-endian.
//!
//! Request: magic `tgcompl1` (8 bytes), the engine's compatibility (32), memory in bytes (u64), time in milliseconds
//! (u64), length of the component (u64), the component.
//! Answer: the same magic, a byte (0 code, 1 the component is invalid, 2 the engines differ), length (u64), the code or
//! a sentence.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

const MAGIC: &[u8; 8] = b"tgcompl1";
const CODE: u8 = 0;
const INVALID: u8 = 1;
const STRANGER: u8 = 2;
/// Of a sentence.
const MAX_SENTENCE: u64 = 64 << 10;

#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) compatibility: [u8; 32],
    pub(super) memory_bytes: u64,
    pub(super) timeout: Duration,
    pub(super) wasm: &'a [u8],
}

/// All of a request but the component, which is to be read after the limits are lowered.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Head {
    pub(super) compatibility: [u8; 32],
    pub(super) memory_bytes: u64,
    pub(super) timeout: Duration,
    pub(super) length: u64,
}

#[derive(Debug, Eq, PartialEq)]
pub(super) enum Answer {
    Code(Vec<u8>),
    /// A sentence for whoever uploaded.
    Invalid(String),
    /// The child is of another version than its parent.
    Stranger,
}

impl Request<'_> {
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(MAGIC)?;
        to.write_all(&self.compatibility)?;
        to.write_all(&self.memory_bytes.to_be_bytes())?;
        let timeout = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        to.write_all(&timeout.to_be_bytes())?;
        to.write_all(&(self.wasm.len() as u64).to_be_bytes())?;
        to.write_all(self.wasm)?;
        to.flush()
    }
}

impl Head {
    pub(super) fn read(from: &mut impl Read) -> io::Result<Head> {
        expect_magic(from)?;
        Ok(Head {
            compatibility: array(from)?,
            memory_bytes: number(from)?,
            timeout: Duration::from_millis(number(from)?),
            length: number(from)?,
        })
    }
}

impl Answer {
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let (kind, bytes) = match self {
            Answer::Code(code) => (CODE, code.as_slice()),
            Answer::Invalid(sentence) => (INVALID, sentence.as_bytes()),
            Answer::Stranger => (STRANGER, &[][..]),
        };
        to.write_all(MAGIC)?;
        to.write_all(&[kind])?;
        to.write_all(&(bytes.len() as u64).to_be_bytes())?;
        to.write_all(bytes)?;
        to.flush()
    }

    pub(super) fn read(mut from: impl Read, max_code: u64) -> io::Result<Answer> {
        expect_magic(&mut from)?;
        let [kind] = array(&mut from)?;
        let length = number(&mut from)?;
        match kind {
            CODE if length > max_code => Ok(Answer::Invalid(format!(
                "the plugin compiles to {length} bytes of code, more than the {max_code} that it may"
            ))),
            CODE => exactly(&mut from, length).map(Answer::Code),
            INVALID => {
                let sentence = exactly(&mut from, length.min(MAX_SENTENCE))?;
                let sentence = String::from_utf8_lossy(&sentence).into_owned();
                Ok(Answer::Invalid(sentence))
            }
            STRANGER => Ok(Answer::Stranger),
            _ => Err(ErrorKind::InvalidData.into()),
        }
    }
}

/// This many bytes, the buffer growing as they come.
pub(super) fn exactly(from: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes)?;
    match bytes.len() as u64 == length {
        true => Ok(bytes),
        false => Err(ErrorKind::UnexpectedEof.into()),
    }
}

fn expect_magic(from: &mut impl Read) -> io::Result<()> {
    match &array(from)? == MAGIC {
        true => Ok(()),
        false => Err(ErrorKind::InvalidData.into()),
    }
}

fn number(from: &mut impl Read) -> io::Result<u64> {
    array(from).map(u64::from_be_bytes)
}

fn array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_back() {
        let request = Request {
            compatibility: [3; 32],
            memory_bytes: 1 << 30,
            timeout: Duration::from_millis(60_000),
            wasm: b"\0asm",
        };
        let mut bytes = Vec::new();
        request.write(&mut bytes).unwrap();
        let mut rest = bytes.as_slice();
        let head = Head::read(&mut rest).unwrap();
        let expected = Head {
            compatibility: [3; 32],
            memory_bytes: 1 << 30,
            timeout: Duration::from_secs(60),
            length: 4,
        };
        assert_eq!((head, rest), (expected, &b"\0asm"[..]));
        for cut in 0..bytes.len() - 4 {
            assert!(Head::read(&mut &bytes[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn answers_come_back_whole_or_not_at_all() {
        let answers = [
            Answer::Code(b"code".to_vec()),
            Answer::Invalid("A sentence.".to_owned()),
            Answer::Stranger,
        ];
        for answer in answers {
            let mut bytes = Vec::new();
            answer.write(&mut bytes).unwrap();
            assert_eq!(Answer::read(bytes.as_slice(), 4).unwrap(), answer);
            for cut in 0..bytes.len() {
                assert!(Answer::read(&bytes[..cut], 4).is_err(), "{cut}");
            }
        }
    }

    #[test]
    fn code_beyond_the_bound_is_not_read() {
        let mut bytes = Vec::new();
        Answer::Code(vec![0; 10]).write(&mut bytes).unwrap();
        let answer = Answer::read(bytes.as_slice(), 9).unwrap();
        assert!(matches!(answer, Answer::Invalid(why) if why.contains("10 bytes of code")));
        // A length that nobody could hold is believed no more than others.
        let at = 9..17;
        bytes[at].copy_from_slice(&u64::MAX.to_be_bytes());
        assert!(Answer::read(bytes.as_slice(), u64::MAX).is_err());
    }
}
