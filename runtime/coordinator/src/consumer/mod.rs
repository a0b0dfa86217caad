//! Consumer groups whose coordinator assigns (KIP-848), in the semantics of Kafka 4.1.
//!
//! Members say what they subscribe to and what they hold, in heartbeats; the group computes a target assignment whenever
//! its epoch rises, and brings each member to it step by step: a member first gives up what it shall lose, and gets a
//! partition only when nobody else holds it. Members that still speak the classic protocol live in the same group
//! (`classic`), and a group changes its kind with its members (`migrate`).
//!
//! State changes at once and is answered when its records are in the log (`settle`). Where an append was lost, the next
//! one carries the whole group, and until then nothing is confirmed.
//!
//! Deliberately absent: racks in the assignment (Kafka's assignors ignore them too), and the topics themselves, which
//! the host hands in as [`Topics`].

pub(crate) mod assignor;
mod beat;
pub(crate) mod classic;
mod commit;
mod fence;
mod group;
mod heartbeat;
mod load;
mod member;
mod migrate;
mod query;
mod reconcile;
mod regexes;
mod target;
mod topics;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

pub use assignor::Assignor;
pub use beat::{
    BeatRefusal, Beaten, ConsumerHeartbeat, DescribedConsumerGroup, DescribedConsumerMember,
    NamedPartitions,
};
pub(crate) use group::ConsumerGroup;
pub(crate) use heartbeat::check_fields;
pub use topics::{TopicId, Topics};

/// Partitions by topic; a topic without any does not stand in it.
pub type Partitions = BTreeMap<TopicId, BTreeSet<i32>>;

/// One record of an append; a value of `None` is a tombstone.
pub(crate) type LogRecord = (Bytes, Option<Bytes>);

/// Longest text that Kafka's records hold.
pub(crate) const LONGEST_TEXT: usize = i16::MAX as usize;
