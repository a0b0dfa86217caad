//! What the cluster knows, as one value that is cheap to clone and to share.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_record::PartitionId;

use crate::binding::{ChainSpec, Pin, PluginRef};
use crate::config;
use crate::quota::QuotaRows;

/// The cluster's state after some prefix of the command log.
///
/// The large tables sit behind `Arc`, so that a clone copies a few pointers and a command copies
/// only the table it changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Empty until `SetClusterId`; never changes afterwards.
    pub cluster_id: String,
    pub topics: Arc<BTreeMap<String, Arc<Topic>>>,
    pub brokers: BTreeMap<i32, Broker>,
    /// Dynamic cluster-wide broker configs (the admin API's default broker resource).
    pub broker_configs: BTreeMap<String, String>,
    pub plugins: Arc<BTreeMap<String, PluginName>>,
    /// The next partition's store-wide id; ids are never reused, so that a store can tell a
    /// recreated topic's partition from the deleted one's leftovers.
    pub next_partition_id: u32,
    pub next_producer_id: i64,
    pub next_broker_epoch: i64,
    /// Orders plugin registrations, so that `latest` survives the removal of a version.
    pub next_plugin_order: u64,
    /// By plugin, the version that was the latest before the latest now; a version that exists.
    pub previous_latest: BTreeMap<String, String>,
    /// By plugin and version; a version without one is unsigned.
    pub plugin_signatures: BTreeMap<String, BTreeMap<String, PluginSignature>>,
    /// Client quotas by entity; an entity without a limit is no row.
    pub quotas: Arc<QuotaRows>,
    /// Dynamic configs of single brokers, by id; a broker without any is no row.
    pub own_broker_configs: BTreeMap<i32, BTreeMap<String, String>>,
    /// Names by topic id: derived, rebuilt when an image is decoded.
    #[serde(skip)]
    pub(crate) names_by_id: Arc<BTreeMap<[u8; 16], String>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Topic {
    /// Never all zero, and new whenever a topic of the same name is created again.
    pub id: [u8; 16],
    pub name: String,
    pub internal: bool,
    /// Only what was set on this topic; defaults come from the broker and the table in `config`.
    pub configs: BTreeMap<String, String>,
    /// Indexed by partition number.
    pub partitions: Vec<Partition>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Partition {
    #[serde(with = "partition_id")]
    pub id: PartitionId,
    /// Preferred leader first.
    pub replicas: Vec<i32>,
    /// Never empty: a partition whose whole ISR is gone keeps its last member.
    pub isr: Vec<i32>,
    /// -1 while nobody leads.
    pub leader: i32,
    pub leader_epoch: i32,
    /// Counts every change to this row, so that a stale proposal can be told.
    pub partition_epoch: i32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Broker {
    pub id: i32,
    pub listeners: Vec<Listener>,
    pub rack: Option<String>,
    /// New with each process start, so that two processes with one id can be told apart.
    pub incarnation: [u8; 16],
    pub epoch: i64,
    pub fenced: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    pub name: String,
    pub host: String,
    pub port: u16,
}

/// All versions pushed under one name. Versions are immutable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PluginName {
    pub versions: BTreeMap<String, PluginVersion>,
    /// What the bare name means: the most recently registered version, unless `latest` was moved.
    pub latest: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PluginVersion {
    /// SHA-256 of the component's bytes.
    pub digest: [u8; 32],
    /// Bytes.
    pub size: u64,
    /// `filter`, `router` or `transform`, as the plugin's component says.
    pub world: String,
    pub uploaded_ms: i64,
    /// Rises with each registration in the cluster.
    pub order: u64,
}

/// Who vouches for a version. Whether the signature is right, and whether that key is trusted, is for the broker that
/// loads the plugin: this crate keeps what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PluginSignature {
    /// An Ed25519 public key.
    pub key: [u8; 32],
    /// The two halves of the signature (RFC 8032).
    pub r: [u8; 32],
    pub s: [u8; 32],
}

impl PluginSignature {
    pub fn new(key: [u8; 32], signature: [u8; 64]) -> PluginSignature {
        let (mut r, mut s) = ([0; 32], [0; 32]);
        r.copy_from_slice(&signature[..32]);
        s.copy_from_slice(&signature[32..]);
        PluginSignature { key, r, s }
    }

    pub fn signature(&self) -> [u8; 64] {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&self.r);
        signature[32..].copy_from_slice(&self.s);
        signature
    }
}

/// What a chain entry's reference means in one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResolvedPlugin<'a> {
    pub name: &'a str,
    pub version: &'a str,
    pub plugin: &'a PluginVersion,
}

impl Image {
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    pub fn topic_by_id(&self, id: &[u8; 16]) -> Option<&Arc<Topic>> {
        self.topics.get(self.names_by_id.get(id)?)
    }

    pub fn partition(&self, topic: &str, index: i32) -> Option<&Partition> {
        self.topics.get(topic)?.partition(index)
    }

    pub fn partition_count(&self) -> usize {
        self.topics
            .values()
            .map(|topic| topic.partitions.len())
            .sum()
    }

    pub fn plugin_signature(&self, name: &str, version: &str) -> Option<&PluginSignature> {
        self.plugin_signatures.get(name)?.get(version)
    }

    /// The broker configs that topics of a broker follow: its file, with what was set while it runs laid over it.
    pub fn broker_defaults(
        &self,
        broker: i32,
        file: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let mut all = file.clone();
        let own = self.own_broker_configs.get(&broker).into_iter().flatten();
        for (name, value) in self.broker_configs.iter().chain(own) {
            all.insert(name.clone(), value.clone());
        }
        all
    }

    /// Finds what a reference names now: the pinned version or digest, else the latest.
    pub fn resolve_plugin(&self, reference: &PluginRef) -> Option<ResolvedPlugin<'_>> {
        let (name, versions) = self.plugins.get_key_value(&reference.name)?;
        let (version, plugin) = match &reference.pin {
            Pin::Latest => versions.versions.get_key_value(&versions.latest)?,
            Pin::Version(version) => versions.versions.get_key_value(version)?,
            Pin::Digest(digest) => versions
                .versions
                .iter()
                .filter(|(_, v)| hex(&v.digest) == *digest)
                .max_by_key(|(_, v)| v.order)?,
        };
        Some(ResolvedPlugin {
            name,
            version,
            plugin,
        })
    }

    /// Every (topic, chain) in which a plugin of this name stands, with topics inheriting the
    /// dynamic broker-wide chain. Chains from a configuration file are not in the image.
    pub fn chains_naming(&self, plugin: &str) -> Vec<(String, ChainSpec)> {
        let mut found = Vec::new();
        for topic in self.topics.values().filter(|topic| !topic.internal) {
            for name in config::CHAINS {
                let Some(value) = topic
                    .configs
                    .get(name)
                    .or_else(|| self.broker_configs.get(name))
                else {
                    continue;
                };
                if let Ok(chain) = crate::binding::parse_chain(value)
                    && chain.0.iter().any(|entry| entry.plugin.name == plugin)
                {
                    found.push((topic.name.clone(), chain));
                }
            }
        }
        found
    }

    pub(crate) fn rebuild_indexes(&mut self) {
        let names = self
            .topics
            .values()
            .map(|topic| (topic.id, topic.name.clone()))
            .collect();
        self.names_by_id = Arc::new(names);
    }
}

impl Topic {
    pub fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }
}

/// Lower-case hexadecimal, as digests are written in chains and by the admin API.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

mod partition_id {
    use serde::{Deserialize, Deserializer, Serializer};
    use tidegate_record::PartitionId;

    pub(super) fn serialize<S: Serializer>(id: &PartitionId, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_u32(id.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PartitionId, D::Error> {
        u32::deserialize(from).map(PartitionId)
    }
}
