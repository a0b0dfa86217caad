//! A look at RocksDB's log files, the write-ahead logs and the manifest, before RocksDB reads them.
//!
//! Its reader does not come back from a record of the kind that recycled log files hold in a file that is not recycled (11.8,
//! `log_reader.cc`: `kBadRecord` is returned and nothing consumed). None of ours are recycled, but one bit that tips over makes
//! 5 of 1. The format is RocksDB's `log_format.h`: blocks of 32 KiB, in them records of a masked CRC-32C of 4 bytes, a length
//! of 2, a type of 1, and the payload.

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
    let mut at = 0;
    loop {
        block.clear();
        let mut rest = file.by_ref().take(BLOCK_BYTES as u64);
        if rest.read_to_end(&mut block).map_err(failed)? == 0 {
            return Ok(());
        }
        if let Some(inside) = recycled(&block) {
            return Err(StoreError::Corrupt(format!(
                "{}: the record at byte {} is of a kind that is never written here; the file is damaged: restore the directory \
                 from a backup",
                path.display(),
                at + inside
            )));
        }
        at += block.len();
    }
}

/// Where a reader would come to a record of a recycled file.
fn recycled(block: &[u8]) -> Option<usize> {
    let found = first_recycled(block, |_| true)?;
    // Such a type may be part of what a reader passes over because something before it is broken. Checked only now: it is rare.
    first_recycled(block, crc_holds).filter(|checked| *checked == found)
}

fn first_recycled(block: &[u8], goes_on: impl Fn(&[u8]) -> bool) -> Option<usize> {
    let mut at = 0;
    while let Some([_, _, _, _, low, high, kind]) = block.get(at..at + HEADER_BYTES) {
        if RECYCLED.contains(kind) {
            return Some(at);
        }
        let length = u16::from_le_bytes([*low, *high]);
        let record = block.get(at..at + HEADER_BYTES + usize::from(length))?;
        if (*kind, length) == (0, 0) || !goes_on(record) {
            return None;
        }
        at += record.len();
    }
    None
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
}
