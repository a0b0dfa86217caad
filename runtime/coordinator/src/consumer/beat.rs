//! What ConsumerGroupHeartbeat and ConsumerGroupDescribe ask and tell.

use std::collections::BTreeSet;

use crate::consumer::{Partitions, TopicId};
use crate::error::GroupError;
use crate::request::GroupState;

/// A member's heartbeat. What is `None` (or -1, for the timeout) has not changed since the last one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerHeartbeat {
    pub group: String,
    /// Made by the member from version 1 of the API on; before, empty in the first heartbeat.
    pub member_id: String,
    /// 0 joins, -1 leaves, -2 leaves for a while (static members).
    pub epoch: i32,
    pub instance_id: Option<String>,
    pub rack_id: Option<String>,
    pub rebalance_timeout_ms: i32,
    pub subscribed_names: Option<BTreeSet<String>>,
    pub subscribed_regex: Option<String>,
    pub server_assignor: Option<String>,
    /// What the member holds.
    pub owned: Option<Partitions>,
    pub client_id: String,
    pub client_host: String,
    /// Version 1 and above: the member makes its id.
    pub makes_own_id: bool,
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beaten {
    pub member_id: String,
    pub epoch: i32,
    pub heartbeat_interval_ms: i32,
    /// `None`: as before.
    pub assignment: Option<Partitions>,
}

/// Why a heartbeat is refused; the message is a sentence for whoever runs the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeatRefusal {
    pub error: GroupError,
    pub message: String,
}

impl BeatRefusal {
    pub(crate) fn new(error: GroupError, message: impl Into<String>) -> BeatRefusal {
        BeatRefusal {
            error,
            message: message.into(),
        }
    }
}

impl From<GroupError> for BeatRefusal {
    fn from(error: GroupError) -> BeatRefusal {
        BeatRefusal::new(error, error.to_string())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedConsumerGroup {
    pub group: String,
    pub state: GroupState,
    pub epoch: i32,
    pub assignment_epoch: i32,
    pub assignor: String,
    pub members: Vec<DescribedConsumerMember>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedConsumerMember {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub rack_id: Option<String>,
    pub epoch: i32,
    pub client_id: String,
    pub client_host: String,
    pub subscribed_names: Vec<String>,
    pub subscribed_regex: Option<String>,
    pub assignment: Vec<NamedPartitions>,
    pub target: Vec<NamedPartitions>,
    /// Speaks the classic protocol.
    pub is_classic: bool,
}

/// Partitions of a topic that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPartitions {
    pub id: TopicId,
    pub name: String,
    pub partitions: Vec<i32>,
}
