//! What the host asks, what it is told, and what it must do.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::consumer::{Assignor, BeatRefusal, Beaten, ConsumerHeartbeat, DescribedConsumerGroup};
use crate::error::GroupError;

/// The host's handle of one waiting request; unique among those that wait.
pub type Token = u64;

/// Names one append until its outcome is told.
pub type AppendId = u64;

/// Bounds and delays, from the broker's configuration.
#[derive(Clone, Debug)]
pub struct GroupOptions {
    /// How long an empty group waits for more members (`group.initial.rebalance.delay.ms`).
    pub initial_rebalance_delay_ms: i64,
    pub session_min_ms: i32,
    pub session_max_ms: i32,
    /// Longest note of a committed offset, in bytes.
    pub offset_metadata_max: usize,
    pub max_group_size: usize,
    /// How long the offsets of a group without members are kept, in milliseconds.
    pub offsets_retention_ms: i64,
    pub consumer: ConsumerOptions,
}

/// What concerns consumer groups (KIP-848): `group.consumer.*`.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    pub timeouts: ConsumerTimeouts,
    /// Of groups that have their own (resource type GROUP of the config APIs).
    pub timeouts_of: BTreeMap<String, ConsumerTimeouts>,
    pub max_size: usize,
    /// The first is used where members ask for none.
    pub assignors: Vec<Assignor>,
    pub migration: MigrationPolicy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerTimeouts {
    pub session_timeout_ms: i32,
    pub heartbeat_interval_ms: i32,
}

/// Whether groups change their kind while they have members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationPolicy {
    Bidirectional,
    Upgrade,
    Downgrade,
    Disabled,
}

impl MigrationPolicy {
    /// As `group.consumer.migration.policy` names it.
    pub fn by_name(name: &str) -> Option<MigrationPolicy> {
        match name.to_ascii_lowercase().as_str() {
            "bidirectional" => Some(MigrationPolicy::Bidirectional),
            "upgrade" => Some(MigrationPolicy::Upgrade),
            "downgrade" => Some(MigrationPolicy::Downgrade),
            "disabled" => Some(MigrationPolicy::Disabled),
            _ => None,
        }
    }

    pub(crate) fn allows_upgrade(self) -> bool {
        matches!(
            self,
            MigrationPolicy::Bidirectional | MigrationPolicy::Upgrade
        )
    }

    pub(crate) fn allows_downgrade(self) -> bool {
        matches!(
            self,
            MigrationPolicy::Bidirectional | MigrationPolicy::Downgrade
        )
    }
}

impl ConsumerOptions {
    pub(crate) fn timeouts(&self, group: &str) -> ConsumerTimeouts {
        self.timeouts_of
            .get(group)
            .copied()
            .unwrap_or(self.timeouts)
    }
}

impl Default for ConsumerOptions {
    fn default() -> ConsumerOptions {
        ConsumerOptions {
            timeouts: ConsumerTimeouts {
                session_timeout_ms: 45_000,
                heartbeat_interval_ms: 5_000,
            },
            timeouts_of: BTreeMap::new(),
            max_size: i32::MAX as usize,
            assignors: vec![Assignor::Uniform, Assignor::Range],
            migration: MigrationPolicy::Bidirectional,
        }
    }
}

impl Default for GroupOptions {
    fn default() -> GroupOptions {
        GroupOptions {
            initial_rebalance_delay_ms: 3_000,
            session_min_ms: 6_000,
            session_max_ms: 1_800_000,
            offset_metadata_max: 4096,
            max_group_size: i32::MAX as usize,
            offsets_retention_ms: 7 * 24 * 3_600_000,
            consumer: ConsumerOptions::default(),
        }
    }
}

#[derive(Clone, Debug)]
pub enum Request {
    Join(JoinRequest),
    Sync(SyncRequest),
    Heartbeat {
        group: String,
        generation: i32,
        member_id: String,
        group_instance_id: Option<String>,
    },
    Leave {
        group: String,
        members: Vec<LeavingMember>,
    },
    /// Generation -1 with an empty member id is a consumer that only stores offsets.
    CommitOffsets {
        group: String,
        generation: i32,
        member_id: String,
        group_instance_id: Option<String>,
        /// Version 9 and above: the generation may be a member epoch (KIP-848).
        knows_epochs: bool,
        offsets: Vec<(String, i32, OffsetAndMetadata)>,
    },
    /// As `CommitOffsets`, seen when the producer's transaction is committed. The caller has made sure that the group's
    /// partition is in that transaction.
    CommitInTransaction {
        group: String,
        producer_id: i64,
        producer_epoch: i16,
        generation: i32,
        member_id: String,
        group_instance_id: Option<String>,
        offsets: Vec<(String, i32, OffsetAndMetadata)>,
    },
    /// `None` asks for all offsets of the group.
    FetchOffsets {
        group: String,
        /// Version 9 and above: the member of a consumer group that asks, and its epoch, else -1.
        member_id: Option<String>,
        member_epoch: i32,
        topics: Option<Vec<(String, Vec<i32>)>>,
        /// Refuse those that an open transaction may still change (KIP-447).
        require_stable: bool,
    },
    ConsumerHeartbeat(ConsumerHeartbeat),
    Describe {
        group: String,
    },
    DescribeConsumer {
        group: String,
    },
    /// Empty filters let everything through; names compare without case.
    List {
        states_filter: Vec<String>,
        types_filter: Vec<String>,
    },
    DeleteGroups {
        groups: Vec<String>,
    },
    /// Forgets committed offsets (KIP-496).
    DeleteOffsets {
        group: String,
        partitions: Vec<(String, i32)>,
    },
}

#[derive(Clone, Debug, Default)]
pub struct JoinRequest {
    pub group: String,
    /// Empty for a member that has no id yet.
    pub member_id: String,
    pub group_instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout_ms: i32,
    /// Not positive (version 0 has none): the session timeout stands in.
    pub rebalance_timeout_ms: i32,
    pub protocol_type: String,
    /// In the member's order of preference.
    pub protocols: Vec<(String, Bytes)>,
    /// Version 4 and above: a new dynamic member must come back with the id it is given.
    pub require_known_member: bool,
    /// Version 9 and above: the leader understands `skip_assignment`.
    pub supports_skip_assignment: bool,
    pub reason: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct SyncRequest {
    pub group: String,
    pub generation: i32,
    pub member_id: String,
    pub group_instance_id: Option<String>,
    /// Version 5 and above.
    pub protocol_type: Option<String>,
    pub protocol_name: Option<String>,
    /// From the leader: what each member gets.
    pub assignments: Vec<(String, Bytes)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeavingMember {
    /// May be empty when the instance id is given.
    pub member_id: String,
    pub group_instance_id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetAndMetadata {
    pub offset: i64,
    /// -1 when the consumer does not know it.
    pub leader_epoch: i32,
    pub metadata: String,
    pub commit_timestamp: i64,
    /// Only of records written by old brokers.
    pub expire_timestamp: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Reply(Token, Reply),
    /// Append these (key, value) records to the partition, all or none, then tell the outcome to
    /// [`crate::Coordinator::appended`]. Where one is refused, those behind it must be too, until that is told. A value of
    /// `None` is a tombstone.
    Append {
        id: AppendId,
        records: Vec<(Bytes, Option<Bytes>)>,
    },
    /// The same in a transactional batch of this producer, whose refusal concerns no other.
    AppendInTransaction {
        id: AppendId,
        producer_id: i64,
        producer_epoch: i16,
        records: Vec<(Bytes, Option<Bytes>)>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Join(Result<Joined, JoinRefusal>),
    Sync(Result<Synced, GroupError>),
    Heartbeat(Result<(), GroupError>),
    /// The outer error is the whole request's. Versions 0 to 2 show the one member's error there.
    Leave(Result<Vec<LeftMember>, GroupError>),
    /// One entry per entry of the request, in its order.
    CommitOffsets(Vec<(String, i32, Result<(), GroupError>)>),
    /// `None`: nothing is committed there (offset -1 on the wire). An inner error is one partition's.
    FetchOffsets(Result<TopicOffsets, GroupError>),
    /// `GroupIdNotFound` is state `Dead` without an error before version 6.
    Describe(Result<DescribedGroup, GroupError>),
    ConsumerHeartbeat(Result<Beaten, BeatRefusal>),
    DescribeConsumer(Result<DescribedConsumerGroup, BeatRefusal>),
    List(Result<Vec<ListedGroup>, GroupError>),
    DeleteGroups(Vec<(String, Result<(), GroupError>)>),
    /// One entry per partition of the request, in its order; the outer error is the whole request's.
    DeleteOffsets(Result<Vec<DeletedOffset>, GroupError>),
}

/// A partition whose offset was to be forgotten, and whether it is.
pub type DeletedOffset = (String, i32, Result<(), GroupError>);

/// Offsets by topic, then partition.
pub type TopicOffsets = Vec<(String, Vec<(i32, FoundOffset)>)>;

/// What is committed for a partition, if anything is.
pub type FoundOffset = Result<Option<OffsetAndMetadata>, GroupError>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    pub generation: i32,
    pub protocol_type: String,
    pub protocol_name: String,
    pub leader: String,
    pub member_id: String,
    /// Everyone's metadata for the chosen protocol, to the leader only.
    pub members: Vec<JoinedMember>,
    /// The leader need not assign: the group keeps what it has.
    pub skip_assignment: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    pub member_id: String,
    pub group_instance_id: Option<String>,
    pub metadata: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRefusal {
    pub error: GroupError,
    /// The id to come back with on `MemberIdRequired`; else the request's own.
    pub member_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    pub protocol_type: String,
    pub protocol_name: String,
    pub assignment: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftMember {
    pub member_id: String,
    pub group_instance_id: Option<String>,
    pub result: Result<(), GroupError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
    Dead,
    /// Of consumer groups: the epoch has risen, the target has not followed yet.
    Assigning,
    /// Of consumer groups: members are on their way to the target.
    Reconciling,
}

impl GroupState {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
            GroupState::Assigning => "Assigning",
            GroupState::Reconciling => "Reconciling",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedGroup {
    pub group: String,
    pub state: GroupState,
    pub generation: i32,
    pub protocol_type: String,
    /// Empty unless stable.
    pub protocol: String,
    pub members: Vec<DescribedMember>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    pub member_id: String,
    pub group_instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    /// Empty unless stable, like the assignment.
    pub metadata: Bytes,
    pub assignment: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    pub group: String,
    pub protocol_type: String,
    pub state: GroupState,
    /// `classic` or `consumer`.
    pub group_type: &'static str,
}
