//! What may be asked of the image, what comes back, and why it may be refused.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::image::{Listener, PluginSignature, Topic};
use crate::quota::QuotaEntity;
use crate::topic_name::InvalidTopicName;

/// One entry of the metadata log.
///
/// Stored by position (postcard): variants and fields are only ever appended, and the version byte
/// in `codec` rises when that is not enough.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Once, at the first start. Repeating the same id does nothing.
    SetClusterId {
        id: String,
    },
    /// A broker process says that it is there. A new incarnation gets a new broker epoch, and each
    /// partition it leads a new leader epoch: what its predecessor had in flight is fenced.
    RegisterBroker(BrokerSpec),
    CreateTopic {
        name: String,
        /// Random, from the host; not all zero.
        id: [u8; 16],
        /// Ignored when `assignments` is given.
        partitions: i32,
        replication_factor: i16,
        /// Replicas of each partition, preferred leader first; empty lets the image place them.
        assignments: Vec<Vec<i32>>,
        configs: BTreeMap<String, String>,
        internal: bool,
    },
    DeleteTopic {
        name: String,
    },
    /// Raises the number of partitions to `count`; `assignments` as in `CreateTopic`, for the new
    /// partitions only.
    CreatePartitions {
        name: String,
        count: i32,
        assignments: Vec<Vec<i32>>,
    },
    /// `None` removes a key, which then follows the default again.
    SetTopicConfigs {
        name: String,
        set: BTreeMap<String, Option<String>>,
    },
    /// Cluster-wide dynamic broker configs.
    SetBrokerConfigs {
        set: BTreeMap<String, Option<String>>,
    },
    RegisterPlugin {
        name: String,
        version: String,
        digest: [u8; 32],
        size: u64,
        world: String,
        now_ms: i64,
    },
    /// `None` removes every version.
    RemovePlugin {
        name: String,
        version: Option<String>,
    },
    AllocateProducerIds {
        count: u32,
    },
    /// The leader's proposal of a new in-sync set, fenced by the epochs it knew.
    SetIsr {
        topic: String,
        partition: i32,
        leader_epoch: i32,
        partition_epoch: i32,
        isr: Vec<i32>,
    },
    /// Moves leadership to a member of the ISR, with a new leader epoch.
    ElectLeader {
        topic: String,
        partition: i32,
        leader: i32,
    },
    /// Repoints `latest` to a version that exists (`plugin rollback`).
    SetLatestPlugin {
        name: String,
        version: String,
    },
    /// As `RegisterPlugin`, for bytes that come with a signature. Gives the signature to a version that is there.
    RegisterSignedPlugin {
        name: String,
        version: String,
        digest: [u8; 32],
        size: u64,
        world: String,
        now_ms: i64,
        signature: PluginSignature,
    },
    /// Limits of one entity, by the names of their keys; `None` removes one (KIP-546).
    SetQuotas {
        entity: QuotaEntity,
        set: BTreeMap<String, Option<f64>>,
    },
    /// Dynamic configs of one broker, stronger there than those of all (KIP-226).
    SetOneBrokerConfigs {
        broker: i32,
        set: BTreeMap<String, Option<String>>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BrokerSpec {
    pub id: i32,
    pub listeners: Vec<Listener>,
    pub rack: Option<String>,
    /// Random, new with each process start.
    pub incarnation: [u8; 16],
}

/// What an accepted command did.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The image changed in the way that the command says.
    Done,
    /// The image already was so; nothing needs to be logged.
    Unchanged,
    /// The topic as it is now.
    Topic(Arc<Topic>),
    /// The topic as it was: its partitions' bytes may go.
    Deleted(Arc<Topic>),
    ProducerIds(Range<i64>),
    BrokerEpoch(i64),
}

/// Why a command was not accepted. The text is a sentence for the person who asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("topic `{0}` already exists")]
    TopicExists(String),
    #[error("topic `{0}` does not exist")]
    UnknownTopic(String),
    #[error("topic `{topic}` has no partition {partition}")]
    UnknownPartition { topic: String, partition: i32 },
    #[error("`{name}` is not a topic name: {why}")]
    InvalidTopic { name: String, why: InvalidTopicName },
    #[error("`{0}` is an internal topic, which only the broker may change")]
    InternalTopic(String),
    #[error("{0}")]
    InvalidPartitions(String),
    #[error("{0}")]
    InvalidReplicationFactor(String),
    #[error("{0}")]
    InvalidAssignment(String),
    #[error("{name}: {why}")]
    InvalidConfig { name: String, why: String },
    #[error(
        "plugin `{name}` version `{version}` already exists with other bytes; versions are \
         immutable, push the new file under a new version"
    )]
    VersionExists { name: String, version: String },
    #[error("{0}")]
    InvalidPlugin(String),
    #[error("{0}")]
    UnknownPlugin(String),
    #[error("plugin `{plugin}` is bound to topic `{topic}`; unbind it there first")]
    PluginBound { plugin: String, topic: String },
    #[error("{0}")]
    InvalidRequest(String),
    #[error("the proposal is older than the partition's state: {0}")]
    StaleEpoch(String),
}
