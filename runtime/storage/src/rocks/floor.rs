//! The floor: what is known to be on disk, kept where damage to the write-ahead log cannot reach it.
//!
//! RocksDB's recovery ends at the first damage in the log and drops the rest without an error. For the unsynced tail that
//! a power cut tears this is right; below the last sync it would be silent loss. So the sequence of the last synced entry
//! is written to a file of its own, once a second, and a store that recovers less than that is refused.
//!
//! Of the manifest, which says what else there is, RocksDB takes a part for the whole just so: cut short, it has fewer tables
//! or column families, and what the log holds of the missing ones is skipped. So the manifest's length is kept too.
//!
//! ```text
//! FLOOR: two slots, at 0 and at 4096, written in turn, so that a torn write leaves the other
//!  0  4  "TGFL"
//!  4  4  layout, u32, 2
//!  8  8  generation, u64: the larger of the two counts
//! 16  8  sequence, u64
//! 24  8  number of the manifest, u64
//! 32  8  its length, u64
//! 40  4  CRC-32C of the bytes before it
//! ```
//! Layout 1 had no manifest.
//!
//! The file is also the lock by which a store is open once: RocksDB's own is not asked for by who only reads.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::StoreError;
use crate::keys::Fields;

/// Its name in the database's directory.
pub(crate) const FLOOR_FILE: &str = "FLOOR";

/// RocksDB's file that names the manifest.
pub(super) const CURRENT: &str = "CURRENT";

/// How old the floor gets while the store is written to.
const PERIOD: Duration = Duration::from_secs(1);
const MAGIC: [u8; 4] = *b"TGFL";
const LAYOUT: u32 = 2;
const SLOT_LEN: usize = 44;
/// Of layout 1.
const OLD_SLOT_LEN: usize = 28;
const SLOT_STEP: u64 = 4096;

/// The file of a store that is open, locked.
pub(super) struct FloorFile {
    file: File,
    generation: u64,
    known: Known,
}

/// What is known to be on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Known {
    /// Of the last synced entry.
    sequence: u64,
    /// `None` in a file of layout 1.
    manifest: Option<Manifest>,
}

/// RocksDB's list of what there is: it grows, until one of a higher number takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Manifest {
    number: u64,
    length: u64,
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
    pub(super) fn lock(dir: &Path) -> Result<(FloorFile, Option<Known>), StoreError> {
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
        let (generation, known) = found.unwrap_or_default();
        let floor = FloorFile {
            file,
            generation,
            known,
        };
        Ok((floor, found.map(|(_, known)| known)))
    }

    /// The same for who must not write; a store from before there were floors cannot be locked.
    pub(super) fn lock_to_read(dir: &Path) -> Result<(Option<File>, Option<Known>), StoreError> {
        let path = dir.join(FLOOR_FILE);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((None, None)),
            Err(error) => return Err(io("open", &path, &error)),
        };
        take(&file, dir)?;
        let found = read(&file, &path)?;
        Ok((Some(file), found.map(|(_, known)| known)))
    }

    /// The first floor of a store, in both slots; the file and its name are on disk when it returns.
    pub(super) fn begin(&mut self, dir: &Path, sequence: u64) -> Result<(), StoreError> {
        let fail = |error: std::io::Error| io("write", &dir.join(FLOOR_FILE), &error);
        let known = Known {
            sequence,
            manifest: synced_manifest(dir, None).map_err(fail)?,
        };
        let mut both = vec![0; SLOT_STEP as usize + SLOT_LEN];
        if let Some(slot) = both.first_chunk_mut::<SLOT_LEN>() {
            *slot = encode(0, known);
        }
        if let Some(slot) = both.last_chunk_mut::<SLOT_LEN>() {
            *slot = encode(1, known);
        }
        self.file.write_all_at(&both, 0).map_err(fail)?;
        self.file.sync_all().map_err(fail)?;
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(fail)?;
        (self.generation, self.known) = (1, known);
        Ok(())
    }

    fn raise(&mut self, dir: &Path, sequence: u64) -> std::io::Result<()> {
        let known = Known {
            sequence: sequence.max(self.known.sequence),
            manifest: synced_manifest(dir, self.known.manifest)?,
        };
        if known == self.known {
            return Ok(());
        }
        let generation = self.generation.wrapping_add(1);
        let at = (generation % 2) * SLOT_STEP;
        self.file.write_all_at(&encode(generation, known), at)?;
        self.file.sync_data()?;
        (self.generation, self.known) = (generation, known);
        Ok(())
    }
}

impl Floor {
    pub(super) fn start(dir: &Path, mut file: FloorFile) -> Result<Floor, StoreError> {
        let (running, ending) = channel();
        let synced = Arc::new(AtomicU64::new(file.known.sequence));
        let (latest, dir) = (synced.clone(), dir.to_owned());
        let thread = std::thread::Builder::new()
            .name("log-floor".into())
            .spawn(move || run(&dir, &mut file, &latest, &ending))
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
pub(super) fn check(dir: &Path, floor: Option<Known>, found: u64) -> Result<(), StoreError> {
    match floor.filter(|floor| found < floor.sequence) {
        Some(floor) => Err(StoreError::Lost {
            path: dir.display().to_string(),
            found,
            floor: floor.sequence,
        }),
        None => Ok(()),
    }
}

/// That the manifest is as long as it was. To be asked before the database is opened, which begins another one.
pub(super) fn check_manifest(dir: &Path, floor: Option<Known>) -> Result<(), StoreError> {
    let Some(known) = floor.and_then(|floor| floor.manifest) else {
        return Ok(());
    };
    let (path, number) = current(dir).map_err(|error| io("read", &dir.join(CURRENT), &error))?;
    let length = std::fs::metadata(&path)
        .map_err(|error| io("open", &path, &error))?
        .len();
    let found = Manifest { number, length };
    // Only the number counts when there is a newer one, which begins with all that the older one had.
    if found.number > known.number || found >= known {
        return Ok(());
    }
    Err(StoreError::Corrupt(format!(
        "{} has {length} bytes, but {} of manifest {} were synced: it was cut, and what it said of the store is lost; restore the \
         directory from a backup",
        path.display(),
        known.length,
        known.number
    )))
}

/// The present manifest, as much of it as is on disk for certain. Costs syncs where it is another one than `last`.
fn synced_manifest(dir: &Path, last: Option<Manifest>) -> std::io::Result<Option<Manifest>> {
    let opened = current(dir).and_then(|(path, number)| Ok((File::open(path)?, number)));
    let (file, number) = match opened {
        Ok(opened) => opened,
        // Another one is taking its place.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(last),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let present = Some(Manifest { number, length });
    if present != last {
        file.sync_data()?;
    }
    // The file that names it was renamed, and RocksDB may not have synced that yet.
    if last.is_none_or(|last| last.number != number) {
        File::open(dir)?.sync_all()?;
    }
    Ok(present)
}

/// Path and number of the manifest that `CURRENT` names.
pub(super) fn current(dir: &Path) -> std::io::Result<(PathBuf, u64)> {
    let name = std::fs::read_to_string(dir.join(CURRENT))?;
    let name = name.trim_end();
    let number = name.strip_prefix("MANIFEST-").and_then(|n| n.parse().ok());
    let number = number.ok_or_else(|| std::io::Error::other(format!("{CURRENT}: {name:?}")))?;
    Ok((dir.join(name), number))
}

fn run(dir: &Path, file: &mut FloorFile, synced: &AtomicU64, ending: &Receiver<()>) {
    let mut failed = false;
    loop {
        let ended = ending.recv_timeout(PERIOD) == Err(RecvTimeoutError::Disconnected);
        let raised = file.raise(dir, synced.load(Ordering::Acquire));
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

/// Generation and content of the newer good slot; `None` for a file in which nothing was written yet.
fn read(file: &File, path: &Path) -> Result<Option<(u64, Known)>, StoreError> {
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

fn encode(generation: u64, known: Known) -> [u8; SLOT_LEN] {
    // No manifest is number 0, which RocksDB gives to none.
    let manifest = known.manifest.map_or((0, 0), |m| (m.number, m.length));
    let mut body = Vec::with_capacity(SLOT_LEN);
    body.extend_from_slice(&MAGIC);
    body.extend_from_slice(&LAYOUT.to_be_bytes());
    for field in [generation, known.sequence, manifest.0, manifest.1] {
        body.extend_from_slice(&field.to_be_bytes());
    }
    let crc = crc32c::crc32c(&body);
    body.extend_from_slice(&crc.to_be_bytes());
    let mut slot = [0; SLOT_LEN];
    slot.iter_mut().zip(body).for_each(|(to, from)| *to = from);
    slot
}

/// `None`: torn, or never written.
fn decode(slot: &[u8; SLOT_LEN]) -> Option<(u64, Known)> {
    let mut fields = Fields::new("floor", slot);
    let magic: [u8; 4] = fields.take().ok()?;
    let layout = u32::from_be_bytes(fields.take().ok()?);
    let generation = u64::from_be_bytes(fields.take().ok()?);
    let sequence = u64::from_be_bytes(fields.take().ok()?);
    let (length, manifest) = match layout {
        1 => (OLD_SLOT_LEN, None),
        LAYOUT => {
            let number = u64::from_be_bytes(fields.take().ok()?);
            let length = u64::from_be_bytes(fields.take().ok()?);
            (SLOT_LEN, Some(Manifest { number, length }))
        }
        _ => return None,
    };
    let crc = u32::from_be_bytes(fields.take().ok()?);
    let good = magic == MAGIC && crc32c::crc32c(slot.get(..length - 4)?) == crc;
    let manifest = manifest.filter(|manifest| manifest.number > 0);
    good.then_some((generation, Known { sequence, manifest }))
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

    fn sequence(found: Option<Known>) -> Option<u64> {
        found.map(|known| known.sequence)
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
            file.raise(dir.path(), sequence).unwrap();
        }
        drop(file);
        let (_, found) = FloorFile::lock_to_read(dir.path()).unwrap();
        assert_eq!(sequence(found), Some(9));
        let floor = Floor::start(dir.path(), FloorFile::lock(dir.path()).unwrap().0).unwrap();
        floor.raise(12);
        drop(floor);
        assert_eq!(sequence(FloorFile::lock(dir.path()).unwrap().1), Some(12));
    }

    #[test]
    fn a_torn_slot_leaves_the_one_before() {
        for at in 0..SLOT_LEN as u64 {
            let dir = tempfile::tempdir().unwrap();
            let (mut file, _) = FloorFile::lock(dir.path()).unwrap();
            file.begin(dir.path(), 3).unwrap();
            file.raise(dir.path(), 7).unwrap();
            drop(file);
            flip(dir.path(), at);
            let found = FloorFile::lock(dir.path()).unwrap().1;
            assert_eq!(sequence(found), Some(3), "byte {at}");
            flip(dir.path(), SLOT_STEP + at);
            assert!(matches!(
                FloorFile::lock(dir.path()),
                Err(StoreError::Corrupt(_))
            ));
        }
    }

    #[test]
    fn a_manifest_that_is_shorter_or_older_than_it_was_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let write = |number: u64, bytes: &str| {
            let name = format!("MANIFEST-{number:06}");
            std::fs::write(dir.path().join(&name), bytes).unwrap();
            std::fs::write(dir.path().join(CURRENT), name + "\n").unwrap();
        };
        let check = |known| check_manifest(dir.path(), known);
        write(5, "1234");
        let (mut file, _) = FloorFile::lock(dir.path()).unwrap();
        file.begin(dir.path(), 3).unwrap();
        write(5, "12345678");
        // It grew, while no entry was written.
        file.raise(dir.path(), 3).unwrap();
        drop(file);
        let (file, known) = FloorFile::lock(dir.path()).unwrap();
        let manifest = Manifest {
            number: 5,
            length: 8,
        };
        assert_eq!(known.unwrap().manifest, Some(manifest));
        assert!(check(known).is_ok());
        for (number, bytes, is_good) in [
            (5, "1234567", false),
            (5, "", false),
            (4, "123456789", false),
            (5, "123456789", true),
            (6, "1", true),
        ] {
            write(number, bytes);
            assert_eq!(check(known).is_ok(), is_good, "{number} {bytes}");
        }
        drop(file);
    }

    /// Stores from before manifests were watched.
    #[test]
    fn the_first_layout_is_read() {
        let mut slot = [0; SLOT_LEN];
        let mut body = [MAGIC.as_slice(), &1u32.to_be_bytes()].concat();
        body.extend([7u64, 9].iter().flat_map(|field| field.to_be_bytes()));
        body.extend(crc32c::crc32c(&body).to_be_bytes());
        assert_eq!(body.len(), OLD_SLOT_LEN);
        slot[..OLD_SLOT_LEN].copy_from_slice(&body);
        let known = Known {
            sequence: 9,
            manifest: None,
        };
        assert_eq!(decode(&slot), Some((7, known)));
    }
}
