//! A data directory that no broker runs on: what is in it, and whether it is whole. For `tidegate store`.

mod dump;
mod verify;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tidegate_metadata::Image;
use tidegate_record::{Offset, PartitionId};
use tidegate_storage::{PartitionEntry, RocksCommandLog, StoreError, StoreReader};

use crate::metadata_log::LocalMetadata;

pub use self::dump::{DumpedBatch, DumpedRecord};
pub use self::verify::{Checked, Finding};

/// The stores of one data directory, opened to be read. Brokers cannot start on it meanwhile.
pub struct DataDir {
    records: StoreReader,
    names: HashMap<PartitionId, (String, i32)>,
    /// Why the names of topics are not known.
    pub metadata: Result<(), String>,
}

/// Why a data directory cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    #[error("{0} is in use; stop the broker that runs on it first")]
    InUse(PathBuf),
    #[error("{0} holds no data of a broker")]
    NoData(PathBuf),
    #[error("cannot open {path}: {source}")]
    Open { path: PathBuf, source: StoreError },
    #[error("{0}")]
    Read(#[from] StoreError),
    #[error("there is no partition {0}")]
    UnknownPartition(String),
}

/// One partition of a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPartition {
    pub id: u32,
    /// `None`: no topic has it, or the metadata cannot be read.
    pub topic: Option<String>,
    pub index: i32,
    pub log_start: Offset,
}

impl DataDir {
    /// Opens what `log.dirs` or `--data-dir` of a broker named. Where only the metadata cannot be read, partitions have
    /// no names.
    pub fn open(dir: &Path) -> Result<DataDir, OfflineError> {
        let log = dir.join("log");
        if !log.is_dir() {
            return Err(OfflineError::NoData(dir.to_owned()));
        }
        let records = StoreReader::open(&log).map_err(|source| refused(dir, log, source))?;
        let image = read_image(&dir.join("metadata"));
        let names = image.as_ref().map(names).unwrap_or_default();
        Ok(DataDir {
            records,
            names,
            metadata: image.map(drop),
        })
    }

    /// Every partition, by ascending id.
    pub fn partitions(&self) -> Result<Vec<StoredPartition>, OfflineError> {
        let entries = self.records.partitions()?;
        Ok(entries.iter().map(|entry| self.named(entry)).collect())
    }

    /// The partition of a topic.
    pub fn find(&self, topic: &str, index: i32) -> Result<StoredPartition, OfflineError> {
        let found = self.partitions()?.into_iter().find(|partition| {
            partition.topic.as_deref() == Some(topic) && partition.index == index
        });
        found.ok_or_else(|| OfflineError::UnknownPartition(format!("{index} of a topic {topic}")))
    }

    /// The partition that has this id in the store.
    pub fn find_id(&self, id: u32) -> Result<StoredPartition, OfflineError> {
        let found = self.partitions()?.into_iter().find(|p| p.id == id);
        found.ok_or_else(|| OfflineError::UnknownPartition(format!("with id {id}")))
    }

    fn named(&self, entry: &PartitionEntry) -> StoredPartition {
        StoredPartition {
            id: entry.id.0,
            topic: self.names.get(&entry.id).map(|(topic, _)| topic.clone()),
            index: entry.index,
            log_start: entry.log_start,
        }
    }
}

fn refused(dir: &Path, path: PathBuf, source: StoreError) -> OfflineError {
    match source {
        StoreError::InUse(_) => OfflineError::InUse(dir.to_owned()),
        source => OfflineError::Open { path, source },
    }
}

fn read_image(dir: &Path) -> Result<Image, String> {
    RocksCommandLog::open_to_read(dir)
        .and_then(|log| LocalMetadata::read(&log))
        .map_err(|error| error.to_string())
}

fn names(image: &Image) -> HashMap<PartitionId, (String, i32)> {
    let mut names = HashMap::new();
    for topic in image.topics.values() {
        for (index, partition) in (0..).zip(&topic.partitions) {
            names.insert(partition.id, (topic.name.clone(), index));
        }
    }
    names
}
