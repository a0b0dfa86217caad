//! Opening a database, or refusing to: with less in it than was synced, or beside another process.

use std::path::Path;

use rocksdb::{ColumnFamilyDescriptor, DB, Options};

use super::floor::{self, Floor, FloorFile};
use super::{log_files, options, store_error};
use crate::StoreError;

/// Opens the database in `dir` for reading and writing, creating it if there is none.
pub(super) fn open(
    dir: &Path,
    database: &Options,
    families: Vec<ColumnFamilyDescriptor>,
) -> Result<(DB, Floor), StoreError> {
    std::fs::create_dir_all(dir)
        .map_err(|error| StoreError::Io(format!("create {}: {error}", dir.display())))?;
    let (mut file, floor) = FloorFile::lock(dir)?;
    log_files::check(dir)?;
    if floor.is_some() {
        check_there(dir)?;
        floor::check_manifest(dir, floor)?;
        check_families(dir, database, &families)?;
        // RocksDB throws away what it does not recover, and with it what somebody might still save. So a store whose log
        // has to be replayed is looked at without touching it first.
        if has_log(dir) {
            let peeked = open_checked_to_read(dir)?;
            floor::check(dir, floor, peeked.latest_sequence_number())?;
        }
    }
    let db = DB::open_cf_descriptors(database, dir, families).map_err(store_error)?;
    floor::check(dir, floor, db.latest_sequence_number())?;
    if floor.is_none() {
        file.begin(dir, db.latest_sequence_number())?;
    }
    Ok((db, Floor::start(dir, file)?))
}

/// Opens the database in `dir` as it is, with the column families that it has. Nothing in the directory changes.
pub(super) fn open_to_read(dir: &Path) -> Result<DB, StoreError> {
    log_files::check(dir)?;
    open_checked_to_read(dir)
}

fn open_checked_to_read(dir: &Path) -> Result<DB, StoreError> {
    let mut database = options::database();
    database.create_if_missing(false);
    database.create_missing_column_families(false);
    let families = DB::list_cf(&database, dir).map_err(store_error)?;
    DB::open_cf_for_read_only(&database, dir, families, false).map_err(store_error)
}

/// Without `CURRENT` RocksDB would take the directory for an empty one, and clear it.
pub(super) fn check_there(dir: &Path) -> Result<(), StoreError> {
    match dir.join(floor::CURRENT).exists() {
        true => Ok(()),
        false => Err(StoreError::Corrupt(format!(
            "{}: the file CURRENT is missing; restore the directory from a backup",
            dir.display()
        ))),
    }
}

/// That nothing would be created anew which the store had: a store with a floor has every family that we know of.
fn check_families(
    dir: &Path,
    database: &Options,
    wanted: &[ColumnFamilyDescriptor],
) -> Result<(), StoreError> {
    let found = DB::list_cf(database, dir).map_err(store_error)?;
    match wanted
        .iter()
        .find(|family| !found.iter().any(|name| name == family.name()))
    {
        Some(family) => Err(StoreError::Corrupt(format!(
            "{}: column family {} is missing; restore the directory from a backup",
            dir.display(),
            family.name()
        ))),
        None => Ok(()),
    }
}

/// Whether a start has something to replay.
fn has_log(dir: &Path) -> bool {
    let Ok(files) = std::fs::read_dir(dir) else {
        return true;
    };
    files.flatten().any(|file| {
        let is_log = file.path().extension().is_some_and(|ext| ext == "log");
        is_log && file.metadata().is_ok_and(|metadata| metadata.len() > 0)
    })
}
