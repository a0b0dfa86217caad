//! One bit of one file at a time: what a reader is refused for, `verify` names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use tidegate_record::PartitionId;
use tidegate_storage::{
    AbortedTransaction, CommandLog, Log, LogOptions, LogStore, Placed, ProducerSnapshot,
    RocksCommandLog, RocksLog, RocksOptions, StoreError, StoreReader, Stored,
};

use super::common::{batch, batch_at, entry, placed};

const P0: PartitionId = PartitionId(0);
const IDS: [u32; 2] = [0, 1];
/// Every byte would be right and slow.
const FLIPS_PER_FILE: u64 = 8;

/// All that a store says of its partitions.
type Contents = Vec<(
    Vec<Stored>,
    Vec<Bytes>,
    usize,
    Option<ProducerSnapshot>,
    i64,
)>;

#[test]
fn verify_names_what_a_reader_is_refused_for() {
    let pristine = quick_dir();
    fill(pristine.path());
    let expected = everything(pristine.path()).unwrap();
    assert_eq!(problems(pristine.path()), Vec::<String>::new());

    let (mut refused, mut named) = (0, 0);
    for file in files(pristine.path(), &["sst", "blob"]) {
        let size = std::fs::metadata(&file).unwrap().len();
        for flip in 0..FLIPS_PER_FILE.min(size) {
            let dir = quick_dir();
            copy(pristine.path(), dir.path());
            let at = flip * size / FLIPS_PER_FILE.min(size);
            let name = file.file_name().unwrap();
            damage(&dir.path().join(name), at);
            let found = problems(dir.path());
            let read = everything(dir.path());
            let place = format!("byte {at} of {size} of {name:?}: {found:?}");
            named += usize::from(!found.is_empty());
            match read {
                Ok(contents) => assert_eq!(contents, expected, "{place}"),
                Err(error) => {
                    refused += 1;
                    assert!(!found.is_empty(), "{place}, but a reader gets {error}");
                }
            }
        }
    }
    // Most bytes count: else nothing was tried.
    assert!(refused > 25 && named >= refused, "{refused} {named}");
}

/// What cannot be read hides nothing behind it.
#[test]
fn verify_goes_on_behind_what_it_cannot_read() {
    let dir = quick_dir();
    let store = RocksLog::open(dir.path(), RocksOptions::default()).unwrap();
    store.create_partition(&entry(0)).unwrap();
    let large: Vec<_> = (0..40)
        .map(|i| placed(batch_at(&[i], 2000), i, 0))
        .collect();
    super::common::write(&store, 0, &large).unwrap();
    store.settle().unwrap();
    drop(store);
    let blob = files(dir.path(), &["blob"]).remove(0);
    let size = std::fs::metadata(&blob).unwrap().len();
    damage(&blob, size / 4);
    damage(&blob, size * 3 / 4);
    let reader = StoreReader::open(dir.path()).unwrap();
    let mut offsets = Vec::new();
    let done = reader.verify(&mut |problem| offsets.extend(problem.offset), &mut |_| ());
    assert_eq!((offsets.len(), done.batches), (2, 38), "{offsets:?}");
    assert!(offsets[0] < 20 && offsets[1] > 20, "{offsets:?}");
}

/// The rows tell what it told, so a partition does not stay shut for it. Whether it can be written depends on when a compaction
/// meets the damage, which makes RocksDB refuse writes.
#[test]
fn a_damaged_producer_snapshot_is_not_used() {
    let pristine = quick_dir();
    fill(pristine.path());
    let mut hit = 0;
    for file in files(pristine.path(), &["sst"]) {
        let dir = quick_dir();
        copy(pristine.path(), dir.path());
        damage(&dir.path().join(file.file_name().unwrap()), 100);
        let Ok(store) = RocksLog::open(dir.path(), RocksOptions::default()) else {
            continue;
        };
        let store = Arc::new(store);
        if !matches!(store.producers(P0), Err(StoreError::Corrupt(_))) {
            continue;
        }
        hit += 1;
        let log = Log::open(store, LogOptions::default()).unwrap();
        assert_eq!(log.producers(P0).unwrap(), None);
        assert_eq!(log.rows(P0, 0, 100).unwrap().len(), 31);
    }
    assert_eq!(hit, 1);
}

/// RocksDB takes a manifest that was cut at a record for the whole, and what it lost with it for something that never was.
#[test]
fn a_manifest_cut_anywhere_is_refused() {
    let pristine = quick_dir();
    let store = RocksLog::open(pristine.path(), RocksOptions::default()).unwrap();
    store.create_partition(&entry(0)).unwrap();
    super::common::write(&store, 0, &[placed(batch(3), 0, 0)]).unwrap();
    store.sync().unwrap();
    // Everything is in the write-ahead log, as after a kill, and the last floor is written when the store is closed.
    drop(store);
    let manifest = files_named(pristine.path(), "MANIFEST").remove(0);
    let size = std::fs::metadata(&manifest).unwrap().len();
    for length in (0..size).step_by(7) {
        let dir = quick_dir();
        copy(pristine.path(), dir.path());
        let cut = dir.path().join(manifest.file_name().unwrap());
        let file = std::fs::OpenOptions::new().write(true).open(cut).unwrap();
        file.set_len(length).unwrap();
        let opened = RocksLog::open(dir.path(), RocksOptions::default());
        assert!(opened.is_err(), "cut from {size} to {length} bytes");
        assert!(!problems(dir.path()).is_empty(), "{length} of {size}");
        assert_eq!(file.metadata().unwrap().len(), length, "it is left alone");
    }
    assert_eq!(problems(pristine.path()), Vec::<String>::new());
}

/// RocksDB would look for ever at a record of a recycled file in one that is not: a manifest, or the metadata's log.
#[test]
fn a_bit_that_makes_a_record_of_another_kind_of_log_file_is_refused() {
    let records = quick_dir();
    let store = RocksLog::open(records.path(), RocksOptions::default()).unwrap();
    store.create_partition(&entry(0)).unwrap();
    for offset in 0..3 {
        let stored = placed(batch(1), offset, 0);
        super::common::write(&store, 0, &[stored]).unwrap();
    }
    store.sync().unwrap();
    drop(store);
    let open = |dir: &Path| RocksLog::open(dir, RocksOptions::default()).map(drop);
    let tipped = tip_every_kind(records.path(), open);
    assert!(tipped > 5, "{tipped} records");

    let metadata = quick_dir();
    let log = RocksCommandLog::open(metadata.path()).unwrap();
    for _ in 0..3 {
        log.append(b"command").unwrap();
    }
    drop(log);
    let open = |dir: &Path| RocksCommandLog::open(dir).map(drop);
    let tipped = tip_every_kind(metadata.path(), open);
    assert!(tipped > 5, "{tipped} records");
}

/// Makes a recycled record of each that is not, and the other way round, one at a time; how many there are.
fn tip_every_kind(pristine: &Path, open: impl Fn(&Path) -> Result<(), StoreError>) -> usize {
    let mut tipped = 0;
    for file in [
        files_named(pristine, "MANIFEST").remove(0),
        files(pristine, &["log"]).remove(0),
    ] {
        let bytes = std::fs::read(&file).unwrap();
        let mut at = 0;
        while at + 7 <= bytes.len() {
            let dir = quick_dir();
            copy(pristine, dir.path());
            let mut damaged = bytes.clone();
            damaged[at + 6] ^= 4;
            std::fs::write(dir.path().join(file.file_name().unwrap()), damaged).unwrap();
            let opened = open(dir.path());
            let where_to = (&file, at, bytes[at + 6]);
            let refused = matches!(
                opened,
                Err(StoreError::Corrupt(_) | StoreError::Lost { .. })
            );
            assert!(refused, "{where_to:?}: {opened:?}");
            assert!(!problems(dir.path()).is_empty(), "{where_to:?}");
            // Its log's number is in the header of a recycled record.
            let header = if bytes[at + 6] > 4 { 11 } else { 7 };
            at += header + usize::from(u16::from_le_bytes([bytes[at + 4], bytes[at + 5]]));
            tipped += 1;
        }
    }
    tipped
}

fn files_named(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(dir)
        .unwrap()
        .map(|file| file.unwrap().path());
    all.filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(prefix)
    })
    .collect()
}

/// In memory where that is possible: hundreds of stores are opened, and every one syncs.
fn quick_dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn fill(dir: &Path) {
    let store = RocksLog::open(dir, RocksOptions::default()).unwrap();
    let note = Bytes::from_static(b"what its writer noted");
    for id in IDS {
        store.create_partition(&entry(id)).unwrap();
        for i in 0..30 {
            // Every third one is large enough for a blob file.
            let size = if i % 3 == 0 { 1500 } else { 10 };
            let stored = placed(batch_at(&[i], size), i, 0);
            let aborted = (i % 10 == 9).then_some(AbortedTransaction {
                producer_id: 7,
                first_offset: i - 3,
                last_offset: i,
                stable_offset: i - 3,
            });
            let write = Placed {
                id: PartitionId(id),
                row: stored.row,
                bytes: &stored.batch,
                note: (i % 2 == 0).then_some(&note),
                aborted,
            };
            store.write(&[write]).unwrap();
        }
        let state = Bytes::from(vec![id as u8; 300]);
        let snapshot = ProducerSnapshot { below: 20, state };
        store.put_producers(PartitionId(id), &snapshot).unwrap();
        let last = placed(batch(1), 30, 0);
        super::common::write(&store, id, &[last]).unwrap();
        store.compact(PartitionId(id), &[], 11).unwrap();
    }
    store.settle().unwrap();
}

/// What a broker reads of it, some of it only at a start.
fn everything(dir: &Path) -> Result<Contents, StoreError> {
    let store = RocksLog::open(dir, RocksOptions::default())?;
    let mut contents = Vec::new();
    for id in IDS.map(PartitionId) {
        let rows = store.rows(id, 0, 100)?;
        let batches = store.read(id, 0, i64::MAX, usize::MAX)?;
        if let Some(what) = batches.iter().find_map(|stored| stored.check().err()) {
            return Err(StoreError::Corrupt(what));
        }
        assert_eq!(rows.len(), batches.len());
        store.last_row(id)?;
        let mut notes = Vec::new();
        for row in &rows {
            notes.extend(store.note(id, row.base_offset)?.map(|note| note.1));
        }
        let aborted = store.aborted(id, 0, 100)?.len();
        contents.push((
            batches,
            notes,
            aborted,
            store.producers(id)?,
            store.cleaned(id)?,
        ));
    }
    Ok(contents)
}

/// What `verify` says, or why the store cannot be opened to be verified.
fn problems(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    match StoreReader::open(dir) {
        Ok(reader) => drop(reader.verify(&mut |problem| found.push(problem.what), &mut |_| ())),
        Err(error) => found.push(error.to_string()),
    }
    found
}

fn files(dir: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let all = std::fs::read_dir(dir)
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut files: Vec<_> = all
        .filter(|path| {
            path.extension()
                .is_some_and(|found| extensions.iter().any(|wanted| found == *wanted))
        })
        .collect();
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

fn damage(path: &Path, at: u64) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at as usize] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}
