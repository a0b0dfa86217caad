//! Plugin bytes in `__tidegate_plugins`: written in chunks, read back whole and checked against their digest.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tidegate_metadata::Command;
use tidegate_record::{Batch, BatchBuilder, Codec, RecordParts};

use super::PLUGINS_TOPIC;
use super::chunk::{self, CHUNK_BYTES, ChunkKey};
use crate::broker::Broker;
use crate::clock::now_ms;
use crate::partition::Partition;

pub(super) type Sha = [u8; 32];

/// Writes a file, synced, and creates the topic the first time. The error is a sentence.
pub(super) async fn write(broker: &Arc<Broker>, digest: Sha, wasm: &Bytes) -> Result<(), String> {
    let partition = open_topic(broker).await?;
    let count = chunk::count_of(wasm.len());
    for (index, bytes) in (0..count).zip(wasm.chunks(CHUNK_BYTES)) {
        let key = ChunkKey {
            digest,
            index,
            count,
        };
        append(&partition, key, Some(&chunk::encode_value(bytes))).await?;
    }
    Ok(())
}

/// Marks a file's chunks as removed, for compaction.
pub(super) async fn remove(broker: &Arc<Broker>, digest: Sha, size: u64) -> Result<(), String> {
    let Some(partition) = partition(broker) else {
        return Ok(());
    };
    let count = chunk::count_of(usize::try_from(size).unwrap_or(usize::MAX));
    for index in 0..count {
        append(
            &partition,
            ChunkKey {
                digest,
                index,
                count,
            },
            None,
        )
        .await?;
    }
    Ok(())
}

/// The digests whose bytes are there whole. Blocks on the disk.
pub(super) fn complete(broker: &Broker) -> Result<HashSet<Sha>, String> {
    let mut chunks: HashMap<Sha, HashSet<u32>> = HashMap::new();
    let mut counts: HashMap<Sha, u32> = HashMap::new();
    scan(broker, &mut |key, value| {
        let seen = chunks.entry(key.digest).or_default();
        match value {
            Some(_) => seen.insert(key.index),
            None => seen.remove(&key.index),
        };
        counts.insert(key.digest, key.count);
    })?;
    let whole = |digest: &Sha, seen: &HashSet<u32>| {
        counts
            .get(digest)
            .is_some_and(|count| seen.len() as u64 == u64::from(*count))
    };
    Ok(chunks
        .into_iter()
        .filter(|(sha, seen)| whole(sha, seen))
        .map(|(sha, _)| sha)
        .collect())
}

/// Reads one file; `None` if it is not there whole. Blocks on the disk.
pub(super) fn read(broker: &Broker, digest: Sha, max: usize) -> Result<Option<Vec<u8>>, String> {
    let mut chunks: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    let (mut expected, mut size) = (0, 0);
    scan(broker, &mut |key, value| {
        if key.digest != digest {
            return;
        }
        expected = key.count;
        let replaced = match value {
            // What was stored was bounded when it was uploaded; a smaller limit since then bounds it again.
            Some(chunk) if size + chunk.len() <= max => {
                size += chunk.len();
                chunks.insert(key.index, chunk.to_vec())
            }
            Some(_) => None,
            None => chunks.remove(&key.index),
        };
        size -= replaced.map_or(0, |chunk| chunk.len());
    })?;
    let whole = chunks.len() as u64 == u64::from(expected) && expected > 0;
    let bytes: Vec<u8> = chunks.into_values().flatten().collect();
    let honest = whole && Sha::from(Sha256::digest(&bytes)) == digest;
    Ok(honest.then_some(bytes))
}

fn scan(broker: &Broker, each: &mut dyn FnMut(ChunkKey, Option<&[u8]>)) -> Result<(), String> {
    let Some(partition) = partition(broker) else {
        return Ok(());
    };
    let read = partition.read_all(&mut |_, record| {
        let Some(key) = record.key.and_then(ChunkKey::decode) else {
            return;
        };
        match record.value {
            None => each(key, None),
            Some(value) => {
                if let Some(chunk) = chunk::decode_value(value) {
                    each(key, Some(chunk));
                }
            }
        }
    });
    read.map_err(|error| format!("{PLUGINS_TOPIC} cannot be read: {error}"))
}

fn partition(broker: &Broker) -> Option<Arc<Partition>> {
    broker.topics.get(PLUGINS_TOPIC)?.partition(0)
}

async fn open_topic(broker: &Arc<Broker>) -> Result<Arc<Partition>, String> {
    if let Some(partition) = partition(broker) {
        return Ok(partition);
    }
    let create = Command::CreateTopic {
        name: PLUGINS_TOPIC.to_owned(),
        id: uuid::Uuid::new_v4().into_bytes(),
        partitions: 1,
        replication_factor: 1,
        assignments: Vec::new(),
        configs: BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]),
        internal: true,
    };
    let created = broker.metadata.propose(create).await;
    partition(broker).ok_or_else(|| match created {
        Err(error) => format!("{PLUGINS_TOPIC} cannot be created: {error}"),
        Ok(_) => format!("{PLUGINS_TOPIC} cannot be opened; see the broker's log"),
    })
}

async fn append(
    partition: &Arc<Partition>,
    key: ChunkKey,
    value: Option<&[u8]>,
) -> Result<(), String> {
    let failed = |why: String| format!("{PLUGINS_TOPIC} cannot be written: {why}");
    let batch = record(&key.encode(), value).map_err(|error| failed(error.to_string()))?;
    match partition.append_internal(batch, None).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(failure)) => Err(failed(failure.message)),
        Err(_) => Err(failed("the broker is shutting down".to_owned())),
    }
}

fn record(key: &[u8], value: Option<&[u8]>) -> Result<Batch, tidegate_record::BuildError> {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(RecordParts {
        timestamp: now_ms(),
        key: Some(key),
        value,
        ..RecordParts::default()
    })?;
    builder.build()
}
