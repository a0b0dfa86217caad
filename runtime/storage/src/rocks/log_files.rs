//! A look at RocksDB's log files, the write-ahead logs and the manifest, before RocksDB reads them.
//!
//! Its reader does not come back from a record of the kind that recycled log files hold behind one of the other kind (11.8,
//! `log_reader.cc`: `kBadRecord` is returned and nothing consumed). Write-ahead logs are recycled here and hold that kind
//! throughout; manifests, and write-ahead logs of older stores, hold the other, of which one tipped bit makes it (a 5 of a 1).
//! The format is RocksDB's `log_format.h`: blocks of 32 KiB, in them records of a masked CRC-32C of 4 bytes, a length of 2,
//! a type of 1, and the payload.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::floor;
use crate::StoreError;

const BLOCK_BYTES: usize = 32 << 10;
const HEADER_BYTES: usize = 7;
/// Types of records in recycled files.
const RECYCLED: [u8; 6] = [5, 6, 7, 8, 11, 131];

/// [`StoreError::Corrupt`] where RocksDB would not come back from reading the directory's log files. Other damage is its own
/// to find.
pub(super) fn check(dir: &Path) -> Result<(), StoreError> {
    let failed =
        |error: &std::io::Error| StoreError::Io(format!("read {}: {error}", dir.display()));
    // Without a manifest that can be named there is nothing that RocksDB would read.
    if let Ok((manifest, _)) = floor::current(dir) {
        check_file(&manifest)?;
    }
    for entry in std::fs::read_dir(dir).map_err(|error| failed(&error))? {
        let path = entry.map_err(|error| failed(&error))?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            check_file(&path)?;
        }
    }
    Ok(())
}

fn check_file(path: &Path) -> Result<(), StoreError> {
    let failed =
        |error: std::io::Error| StoreError::Io(format!("read {}: {error}", path.display()));
    let mut file = match File::open(path) {
        Ok(file) => file,
        // RocksDB says it better.
        Err(_) => return Ok(()),
    };
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let (mut at, mut kind) = (0, None);
    while kind != Some(Kind::Recycled) {
        block.clear();
        let mut rest = file.by_ref().take(BLOCK_BYTES as u64);
        if rest.read_to_end(&mut block).map_err(failed)? == 0 {
            break;
        }
        if kind.is_none() {
            kind = first_kind(&block);
        }
        if kind == Some(Kind::Plain)
            && let Some(inside) = recycled(&block)
        {
            return Err(StoreError::Corrupt(format!(
                "{}: the record at byte {} is of a kind that is never written into this file; it is damaged: restore the directory \
                 from a backup",
                path.display(),
                at + inside
            )));
        }
        at += block.len();
    }
    Ok(())
}

/// What a reader takes a file for, by the first record that it believes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Plain,
    Recycled,
}

/// `None` where the block has no such record.
fn first_kind(block: &[u8]) -> Option<Kind> {
    let kind = *block.get(HEADER_BYTES - 1)?;
    if RECYCLED.contains(&kind) {
        return Some(Kind::Recycled);
    }
    // What follows a record that is not believed is passed over.
    crc_holds(record_at(block, 0)?).then_some(Kind::Plain)
}

/// Where a reader of a plain file would come to a record of a recycled one.
fn recycled(block: &[u8]) -> Option<usize> {
    let found = first_recycled(block, |_| true)?;
    // Such a type may be part of what a reader passes over because something before it is broken. Checked only now: it is rare.
    first_recycled(block, crc_holds).filter(|checked| *checked == found)
}

fn first_recycled(block: &[u8], goes_on: impl Fn(&[u8]) -> bool) -> Option<usize> {
    let mut at = 0;
    while let Some(kind) = block.get(at + HEADER_BYTES - 1) {
        if RECYCLED.contains(kind) {
            return Some(at);
        }
        let record = record_at(block, at).filter(|record| goes_on(record))?;
        at += record.len();
    }
    None
}

/// The whole record there; `None` where it leads out of the block, or there is none.
fn record_at(block: &[u8], at: usize) -> Option<&[u8]> {
    let rest = block.get(at..)?;
    let ([_, _, _, _, low, high, kind], _) = rest.split_first_chunk::<HEADER_BYTES>()?;
    let length = usize::from(u16::from_le_bytes([*low, *high]));
    let record = rest.get(..HEADER_BYTES + length)?;
    (*kind != 0 || length != 0).then_some(record)
}

fn crc_holds(record: &[u8]) -> bool {
    let Some((masked, [_, _, covered @ ..])) = record.split_first_chunk::<4>() else {
        return false;
    };
    let stored = u32::from_le_bytes(*masked).wrapping_sub(0xa282_ead8);
    crc32c::crc32c(covered) == stored.rotate_left(15)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
        let body = [&[kind], payload].concat();
        let masked = crc32c::crc32c(&body)
            .rotate_right(15)
            .wrapping_add(0xa282_ead8);
        let length = u16::try_from(payload.len()).unwrap();
        [&masked.to_le_bytes()[..], &length.to_le_bytes(), &body].concat()
    }

    #[test]
    fn only_what_a_reader_comes_to_counts() {
        let sound = [record(1, b"one"), record(1, b"two"), record(1, b"three")].concat();
        assert_eq!(recycled(&sound), None);
        let second = record(1, b"one").len();
        let mut tipped = sound.clone();
        tipped[second + 6] ^= 4;
        assert_eq!(recycled(&tipped), Some(second));
        // Behind a record whose sum does not hold, a length that leads out of the block, or nothing, nobody looks.
        for broken in [second - 1, 4, 5] {
            let mut broken_too = tipped.clone();
            broken_too[broken] ^= 0x40;
            assert_eq!(recycled(&broken_too), None, "{broken}");
        }
        let padded = [vec![0; HEADER_BYTES], record(5, b"")].concat();
        assert_eq!(recycled(&padded), None);
        assert_eq!(recycled(&tipped[..second + 3]), None);
    }

    #[test]
    fn a_file_is_what_its_first_sound_record_is() {
        let nothing = vec![0; BLOCK_BYTES];
        let (plain, other) = (record(1, b"one"), record(5, b"one"));
        let tipped = [plain.as_slice(), &other].concat();
        let mut broken = plain.clone();
        broken[0] ^= 1;
        broken.resize(BLOCK_BYTES, 0);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("000001.log");
        for (blocks, is_sound) in [
            (vec![&plain], true),
            (vec![&tipped], false),
            (vec![&other, &tipped], true),
            // As a power cut may leave a new file.
            (vec![&nothing, &other], true),
            (vec![&broken, &other], true),
            (vec![&nothing, &tipped], false),
            (vec![&broken, &tipped], false),
            (vec![&nothing], true),
            (vec![], true),
        ] {
            let mut file = Vec::new();
            for block in &blocks {
                file.resize(file.len().next_multiple_of(BLOCK_BYTES), 0);
                file.extend_from_slice(block);
            }
            std::fs::write(&path, file).unwrap();
            assert_eq!(check(dir.path()).is_ok(), is_sound, "{}", blocks.len());
        }
    }
}
