//! The floor: what is known to be on disk, kept where damage to the write-ahead log cannot reach it.
//!
//! RocksDB's recovery ends at the first damage in the log and drops the rest without an error. For the unsynced tail that
//! a power cut tears this is right; below the last sync it would be silent loss. So the sequence of the last synced entry
//! is written to a file of its own, once a second, and a store that recovers less than that is refused.
//!
//! ```text
//! FLOOR: two slots, at 0 and at 4096, written in turn, so that a torn write leaves the other
//!  0  4  "TGFL"
//!  4  4  layout, u32, 1
//!  8  8  generation, u64: the larger of the two counts
//! 16  8  sequence, u64
//! 24  4  CRC-32C of the bytes before it
//! ```
//!
//! The file is also the lock by which a store is open once: RocksDB's own is not asked for by who only reads.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::StoreError;
use crate::keys::Fields;

/// Its name in the database's directory.
pub(crate) const FLOOR_FILE: &str = "FLOOR";

/// How old the floor gets while the store is written to.
const PERIOD: Duration = Duration::from_secs(1);
const MAGIC: [u8; 4] = *b"TGFL";
const LAYOUT: u32 = 1;
const SLOT_LEN: usize = 28;
const SLOT_STEP: u64 = 4096;

/// The file of a store that is open, locked.
pub(super) struct FloorFile {
    file: File,
    generation: u64,
    sequence: u64,
}

/// Keeps the floor file of a running store at most a second old.
pub(super) struct Floor {
    synced: Arc<AtomicU64>,
    /// Dropped to end the thread.
    running: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FloorFile {
    /// Locks the store in `dir`, which is there, and reads its floor: `None` for a store that has none yet.
    pub(super) fn lock(dir: &Path) -> Result<(FloorFile, Option<u64>), StoreError> {
        let path = dir.join(FLOOR_FILE);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| io("open", &path, &error))?;
        take(&file, dir)?;
        let found = read(&file, &path)?;
        let (generation, sequence) = found.unwrap_or_default();
        let floor = FloorFile {
            file,
            generation,
            sequence,
        };
        Ok((floor, found.map(|(_, sequence)| sequence)))
    }

    /// The same for who must not write; a store from before there were floors cannot be locked.
    pub(super) fn lock_to_read(dir: &Path) -> Result<(Option<File>, Option<u64>), StoreError> {
        let path = dir.join(FLOOR_FILE);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((None, None)),
            Err(error) => return Err(io("open", &path, &error)),
        };
        take(&file, dir)?;
        let found = read(&file, &path)?;
        Ok((Some(file), found.map(|(_, sequence)| sequence)))
    }

    /// The first floor of a store, in both slots; the file and its name are on disk when it returns.
    pub(super) fn begin(&mut self, dir: &Path, sequence: u64) -> Result<(), StoreError> {
        let fail = |error: std::io::Error| io("write", &dir.join(FLOOR_FILE), &error);
        let mut both = vec![0; SLOT_STEP as usize + SLOT_LEN];
        if let Some(slot) = both.first_chunk_mut::<SLOT_LEN>() {
            *slot = encode(0, sequence);
        }
        if let Some(slot) = both.last_chunk_mut::<SLOT_LEN>() {
            *slot = encode(1, sequence);
        }
        self.file.write_all_at(&both, 0).map_err(fail)?;
        self.file.sync_all().map_err(fail)?;
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(fail)?;
        (self.generation, self.sequence) = (1, sequence);
        Ok(())
    }

    fn raise(&mut self, sequence: u64) -> std::io::Result<()> {
        if sequence <= self.sequence {
            return Ok(());
        }
        let generation = self.generation.wrapping_add(1);
        let at = (generation % 2) * SLOT_STEP;
        self.file.write_all_at(&encode(generation, sequence), at)?;
        self.file.sync_data()?;
        (self.generation, self.sequence) = (generation, sequence);
        Ok(())
    }
}

impl Floor {
    pub(super) fn start(mut file: FloorFile) -> Result<Floor, StoreError> {
        let (running, ending) = channel();
        let synced = Arc::new(AtomicU64::new(file.sequence));
        let latest = synced.clone();
        let thread = std::thread::Builder::new()
            .name("log-floor".into())
            .spawn(move || run(&mut file, &latest, &ending))
            .map_err(|error| StoreError::Io(format!("start the floor thread: {error}")))?;
        Ok(Floor {
            synced,
            running: Some(running),
            thread: Some(thread),
        })
    }

    /// Everything up to this sequence is on disk. Returns at once.
    pub(super) fn raise(&self, sequence: u64) {
        self.synced.fetch_max(sequence, Ordering::AcqRel);
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.running = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the floor thread panicked");
        }
    }
}

/// That what was recovered reaches the floor.
pub(super) fn check(dir: &Path, floor: Option<u64>, found: u64) -> Result<(), StoreError> {
    match floor.filter(|floor| found < *floor) {
        Some(floor) => Err(StoreError::Lost {
            path: dir.display().to_string(),
            found,
            floor,
        }),
        None => Ok(()),
    }
}

fn run(file: &mut FloorFile, synced: &AtomicU64, ending: &Receiver<()>) {
    let mut failed = false;
    loop {
        let ended = ending.recv_timeout(PERIOD) == Err(RecvTimeoutError::Disconnected);
        let raised = file.raise(synced.load(Ordering::Acquire));
        // An old floor is no lie, it only tells less: the store goes on, and its own syncs say what the disk is worth.
        if let Err(error) = &raised
            && !failed
        {
            tracing::warn!(%error, "the floor cannot be written; damage would be told from a torn tail less well");
        }
        failed = raised.is_err();
        if ended {
            return;
        }
    }
}

fn take(file: &File, dir: &Path) -> Result<(), StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(dir.display().to_string())),
        Err(TryLockError::Error(error)) => Err(io("lock", &dir.join(FLOOR_FILE), &error)),
    }
}

/// Generation and sequence of the newer good slot; `None` for a file in which nothing was written yet.
fn read(file: &File, path: &Path) -> Result<Option<(u64, u64)>, StoreError> {
    let mut bytes = Vec::with_capacity(2 * SLOT_STEP as usize);
    let mut slot = [0; SLOT_LEN];
    let mut best = None;
    for at in [0, SLOT_STEP] {
        slot.fill(0);
        let mut filled = 0;
        while let Some(rest) = slot.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, at + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) => return Err(io("read", path, &error)),
            }
        }
        bytes.extend_from_slice(&slot);
        best = best.max(decode(&slot));
    }
    if best.is_none() && bytes.iter().any(|byte| *byte != 0) {
        return Err(StoreError::Corrupt(format!(
            "{}: neither of its slots is whole; remove it to go on without knowing how much had been synced",
            path.display()
        )));
    }
    Ok(best)
}

fn encode(generation: u64, sequence: u64) -> [u8; SLOT_LEN] {
    let mut body = Vec::with_capacity(SLOT_LEN);
    body.extend_from_slice(&MAGIC);
    body.extend_from_slice(&LAYOUT.to_be_bytes());
    body.extend_from_slice(&generation.to_be_bytes());
    body.extend_from_slice(&sequence.to_be_bytes());
    let crc = crc32c::crc32c(&body);
    body.extend_from_slice(&crc.to_be_bytes());
    let mut slot = [0; SLOT_LEN];
    slot.iter_mut().zip(body).for_each(|(to, from)| *to = from);
    slot
}

/// `None`: torn, or never written.
fn decode(slot: &[u8; SLOT_LEN]) -> Option<(u64, u64)> {
    let mut fields = Fields::new("floor", slot);
    let magic: [u8; 4] = fields.take().ok()?;
    let layout = u32::from_be_bytes(fields.take().ok()?);
    let generation = u64::from_be_bytes(fields.take().ok()?);
    let sequence = u64::from_be_bytes(fields.take().ok()?);
    let crc = u32::from_be_bytes(fields.take().ok()?);
    let body = slot.get(..SLOT_LEN - 4)?;
    let good = magic == MAGIC && layout == LAYOUT && crc32c::crc32c(body) == crc;
    good.then_some((generation, sequence))
}

fn io(what: &str, path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Io(format!("{what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flip(dir: &Path, at: u64) {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(dir.join(FLOOR_FILE))
            .unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 4], at).unwrap();
    }

    #[test]
    fn the_floor_is_read_as_it_was_raised() {
        let dir = tempfile::tempdir().unwrap();
        let (mut file, found) = FloorFile::lock(dir.path()).unwrap();
        assert_eq!(found, None);
        assert!(matches!(
            FloorFile::lock_to_read(dir.path()),
            Err(StoreError::InUse(_))
        ));
        file.begin(dir.path(), 3).unwrap();
        for sequence in [5, 4, 9] {
            file.raise(sequence).unwrap();
        }
        drop(file);
        let (_, found) = FloorFile::lock_to_read(dir.path()).unwrap();
        assert_eq!(found, Some(9));
        let floor = Floor::start(FloorFile::lock(dir.path()).unwrap().0).unwrap();
        floor.raise(12);
        drop(floor);
        assert_eq!(FloorFile::lock(dir.path()).unwrap().1, Some(12));
    }

    #[test]
    fn a_torn_slot_leaves_the_one_before() {
        for at in 0..SLOT_LEN as u64 {
            let dir = tempfile::tempdir().unwrap();
            let (mut file, _) = FloorFile::lock(dir.path()).unwrap();
            file.begin(dir.path(), 3).unwrap();
            file.raise(7).unwrap();
            drop(file);
            flip(dir.path(), at);
            assert_eq!(FloorFile::lock(dir.path()).unwrap().1, Some(3), "byte {at}");
            flip(dir.path(), SLOT_STEP + at);
            assert!(matches!(
                FloorFile::lock(dir.path()),
                Err(StoreError::Corrupt(_))
            ));
        }
    }
}
