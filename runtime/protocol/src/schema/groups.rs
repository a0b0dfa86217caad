//! Consumer groups: coordinators, membership, committed offsets.

use kafka_protocol::messages::{
    consumer_group_heartbeat_request::TopicPartitions,
    join_group_request::JoinGroupRequestProtocol,
    leave_group_request::MemberIdentity,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
    offset_fetch_request::{
        OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    },
    sync_group_request::SyncGroupRequestAssignment,
};

use super::{
    BOOL, BYTES, Field, I8, I32, I32_ARRAY, I64, NULLABLE_STRING, NULLABLE_STRING_ARRAY, STRING,
    STRING_ARRAY, Schema, UUID, f, structs,
};

pub(super) const SCHEMAS: &[Schema] = &[
    Schema {
        api_key: 8,
        min: 2,
        max: 9,
        flexible_from: 8,
        fields: OFFSET_COMMIT_REQUEST,
    },
    Schema {
        api_key: 9,
        min: 1,
        max: 9,
        flexible_from: 6,
        fields: OFFSET_FETCH_REQUEST,
    },
    Schema {
        api_key: 10,
        min: 0,
        max: 6,
        flexible_from: 3,
        fields: FIND_COORDINATOR_REQUEST,
    },
    Schema {
        api_key: 11,
        min: 0,
        max: 9,
        flexible_from: 6,
        fields: JOIN_GROUP_REQUEST,
    },
    Schema {
        api_key: 12,
        min: 0,
        max: 4,
        flexible_from: 4,
        fields: HEARTBEAT_REQUEST,
    },
    Schema {
        api_key: 13,
        min: 0,
        max: 5,
        flexible_from: 4,
        fields: LEAVE_GROUP_REQUEST,
    },
    Schema {
        api_key: 14,
        min: 0,
        max: 5,
        flexible_from: 4,
        fields: SYNC_GROUP_REQUEST,
    },
    Schema {
        api_key: 15,
        min: 0,
        max: 6,
        flexible_from: 5,
        fields: DESCRIBE_GROUPS_REQUEST,
    },
    Schema {
        api_key: 16,
        min: 0,
        max: 5,
        flexible_from: 3,
        fields: LIST_GROUPS_REQUEST,
    },
    Schema {
        api_key: 42,
        min: 0,
        max: 2,
        flexible_from: 2,
        fields: DELETE_GROUPS_REQUEST,
    },
    Schema {
        api_key: 47,
        min: 0,
        max: 0,
        flexible_from: i16::MAX,
        fields: OFFSET_DELETE_REQUEST,
    },
    Schema {
        api_key: 68,
        min: 0,
        max: 1,
        flexible_from: 0,
        fields: CONSUMER_GROUP_HEARTBEAT_REQUEST,
    },
    Schema {
        api_key: 69,
        min: 0,
        max: 1,
        flexible_from: 0,
        fields: CONSUMER_GROUP_DESCRIBE_REQUEST,
    },
];

const OFFSET_COMMIT_REQUEST_PARTITION: &[Field] = &[
    f("partition_index", I32),
    f("committed_offset", I64),
    f("committed_leader_epoch", I32).from(6),
    f("committed_metadata", NULLABLE_STRING),
];

const OFFSET_COMMIT_REQUEST_TOPIC: &[Field] = &[
    f("name", STRING),
    f(
        "partitions",
        structs!(
            OffsetCommitRequestPartition,
            OFFSET_COMMIT_REQUEST_PARTITION
        ),
    ),
];

const OFFSET_COMMIT_REQUEST: &[Field] = &[
    f("group_id", STRING),
    f("generation_id_or_member_epoch", I32),
    f("member_id", STRING),
    f("group_instance_id", NULLABLE_STRING).from(7),
    f("retention_time_ms", I64).to(4),
    f(
        "topics",
        structs!(OffsetCommitRequestTopic, OFFSET_COMMIT_REQUEST_TOPIC),
    ),
];

const OFFSET_FETCH_REQUEST_TOPIC: &[Field] = &[
    f("name", STRING).to(7),
    f("partition_indexes", I32_ARRAY).to(7),
];

const OFFSET_FETCH_REQUEST_TOPICS: &[Field] = &[
    f("name", STRING).from(8),
    f("partition_indexes", I32_ARRAY).from(8),
];

const OFFSET_FETCH_REQUEST_GROUP: &[Field] = &[
    f("group_id", STRING).from(8),
    f("member_id", NULLABLE_STRING).from(9),
    f("member_epoch", I32).from(9),
    f(
        "topics",
        structs!(?OffsetFetchRequestTopics, OFFSET_FETCH_REQUEST_TOPICS),
    )
    .from(8),
];

const OFFSET_FETCH_REQUEST: &[Field] = &[
    f("group_id", STRING).to(7),
    f(
        "topics",
        structs!(?OffsetFetchRequestTopic, OFFSET_FETCH_REQUEST_TOPIC),
    )
    .to(7),
    f(
        "groups",
        structs!(OffsetFetchRequestGroup, OFFSET_FETCH_REQUEST_GROUP),
    )
    .from(8),
    f("require_stable", BOOL).from(7),
];

const FIND_COORDINATOR_REQUEST: &[Field] = &[
    f("key", STRING).to(3),
    f("key_type", I8).from(1),
    f("coordinator_keys", STRING_ARRAY).from(4),
];

const JOIN_GROUP_REQUEST_PROTOCOL: &[Field] = &[f("name", STRING), f("metadata", BYTES)];

const JOIN_GROUP_REQUEST: &[Field] = &[
    f("group_id", STRING),
    f("session_timeout_ms", I32),
    f("rebalance_timeout_ms", I32).from(1),
    f("member_id", STRING),
    f("group_instance_id", NULLABLE_STRING).from(5),
    f("protocol_type", STRING),
    f(
        "protocols",
        structs!(JoinGroupRequestProtocol, JOIN_GROUP_REQUEST_PROTOCOL),
    ),
    f("reason", NULLABLE_STRING).from(8),
];

const HEARTBEAT_REQUEST: &[Field] = &[
    f("group_id", STRING),
    f("generation_id", I32),
    f("member_id", STRING),
    f("group_instance_id", NULLABLE_STRING).from(3),
];

const MEMBER_IDENTITY: &[Field] = &[
    f("member_id", STRING).from(3),
    f("group_instance_id", NULLABLE_STRING).from(3),
    f("reason", NULLABLE_STRING).from(5),
];

const LEAVE_GROUP_REQUEST: &[Field] = &[
    f("group_id", STRING),
    f("member_id", STRING).to(2),
    f("members", structs!(MemberIdentity, MEMBER_IDENTITY)).from(3),
];

const SYNC_GROUP_REQUEST_ASSIGNMENT: &[Field] = &[f("member_id", STRING), f("assignment", BYTES)];

const SYNC_GROUP_REQUEST: &[Field] = &[
    f("group_id", STRING),
    f("generation_id", I32),
    f("member_id", STRING),
    f("group_instance_id", NULLABLE_STRING).from(3),
    f("protocol_type", NULLABLE_STRING).from(5),
    f("protocol_name", NULLABLE_STRING).from(5),
    f(
        "assignments",
        structs!(SyncGroupRequestAssignment, SYNC_GROUP_REQUEST_ASSIGNMENT),
    ),
];

const DESCRIBE_GROUPS_REQUEST: &[Field] = &[
    f("groups", STRING_ARRAY),
    f("include_authorized_operations", BOOL).from(3),
];

const LIST_GROUPS_REQUEST: &[Field] = &[
    f("states_filter", STRING_ARRAY).from(4),
    f("types_filter", STRING_ARRAY).from(5),
];

const DELETE_GROUPS_REQUEST: &[Field] = &[f("groups_names", STRING_ARRAY)];

const OFFSET_DELETE_PARTITION: &[Field] = &[f("partition_index", I32)];

const OFFSET_DELETE_TOPIC: &[Field] = &[
    f("name", STRING),
    f(
        "partitions",
        structs!(OffsetDeleteRequestPartition, OFFSET_DELETE_PARTITION),
    ),
];

const OFFSET_DELETE_REQUEST: &[Field] = &[
    f("group_id", STRING),
    f(
        "topics",
        structs!(OffsetDeleteRequestTopic, OFFSET_DELETE_TOPIC),
    ),
];

const OWNED_PARTITIONS: &[Field] = &[f("topic_id", UUID), f("partitions", I32_ARRAY)];

const CONSUMER_GROUP_HEARTBEAT_REQUEST: &[Field] = &[
    f("group_id", STRING),
    f("member_id", STRING),
    f("member_epoch", I32),
    f("instance_id", NULLABLE_STRING),
    f("rack_id", NULLABLE_STRING),
    f("rebalance_timeout_ms", I32),
    f("subscribed_topic_names", NULLABLE_STRING_ARRAY),
    f("subscribed_topic_regex", NULLABLE_STRING).from(1),
    f("server_assignor", NULLABLE_STRING),
    f(
        "topic_partitions",
        structs!(?TopicPartitions, OWNED_PARTITIONS),
    ),
];

const CONSUMER_GROUP_DESCRIBE_REQUEST: &[Field] = &[
    f("group_ids", STRING_ARRAY),
    f("include_authorized_operations", BOOL),
];
