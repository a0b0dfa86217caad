//! Records and their places: Produce, Fetch, ListOffsets, Metadata and what belongs to them.

use kafka_protocol::messages::{
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    fetch_request::{FetchPartition, FetchTopic, ForgottenTopic},
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    metadata_request::MetadataRequestTopic,
    offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
    produce_request::{PartitionProduceData, TopicProduceData},
};

use super::{
    BOOL, Field, I8, I16, I32, I32_ARRAY, I64, Kind, NULLABLE_BYTES, NULLABLE_STRING, STRING,
    Schema, UUID, f, structs,
};

pub(super) const SCHEMAS: &[Schema] = &[
    Schema {
        api_key: 0,
        min: 3,
        max: 13,
        flexible_from: 9,
        fields: PRODUCE_REQUEST,
    },
    Schema {
        api_key: 1,
        min: 4,
        max: 18,
        flexible_from: 12,
        fields: FETCH_REQUEST,
    },
    Schema {
        api_key: 2,
        min: 1,
        max: 10,
        flexible_from: 6,
        fields: LIST_OFFSETS_REQUEST,
    },
    Schema {
        api_key: 3,
        min: 0,
        max: 13,
        flexible_from: 9,
        fields: METADATA_REQUEST,
    },
    Schema {
        api_key: 21,
        min: 0,
        max: 2,
        flexible_from: 2,
        fields: DELETE_RECORDS_REQUEST,
    },
    Schema {
        api_key: 22,
        min: 0,
        max: 5,
        flexible_from: 2,
        fields: INIT_PRODUCER_ID_REQUEST,
    },
    Schema {
        api_key: 23,
        min: 2,
        max: 4,
        flexible_from: 4,
        fields: OFFSET_FOR_LEADER_EPOCH_REQUEST,
    },
    Schema {
        api_key: 18,
        min: 0,
        max: 4,
        flexible_from: 3,
        fields: API_VERSIONS_REQUEST,
    },
];

const PARTITION_PRODUCE_DATA: &[Field] = &[f("index", I32), f("records", NULLABLE_BYTES)];

const TOPIC_PRODUCE_DATA: &[Field] = &[
    f("name", STRING).to(12),
    f("topic_id", UUID).from(13),
    f(
        "partition_data",
        structs!(PartitionProduceData, PARTITION_PRODUCE_DATA),
    ),
];

const PRODUCE_REQUEST: &[Field] = &[
    f("transactional_id", NULLABLE_STRING),
    f("acks", I16),
    f("timeout_ms", I32),
    f("topic_data", structs!(TopicProduceData, TOPIC_PRODUCE_DATA)),
];

const REPLICA_STATE: &[Field] = &[
    f("replica_id", I32).from(15),
    f("replica_epoch", I64).from(15),
];

const FETCH_PARTITION: &[Field] = &[
    f("partition", I32),
    f("current_leader_epoch", I32).from(9),
    f("fetch_offset", I64),
    f("last_fetched_epoch", I32).from(12),
    f("log_start_offset", I64).from(5),
    f("partition_max_bytes", I32),
    f("replica_directory_id", UUID).from(17).tag(0),
    f("high_watermark", I64).from(18).tag(1),
];

const FETCH_TOPIC: &[Field] = &[
    f("topic", STRING).to(12),
    f("topic_id", UUID).from(13),
    f("partitions", structs!(FetchPartition, FETCH_PARTITION)),
];

const FORGOTTEN_TOPIC: &[Field] = &[
    f("topic", STRING).from(7).to(12),
    f("topic_id", UUID).from(13),
    f("partitions", I32_ARRAY).from(7),
];

const FETCH_REQUEST: &[Field] = &[
    f("cluster_id", NULLABLE_STRING).from(12).tag(0),
    f("replica_id", I32).to(14),
    f("replica_state", Kind::Struct(REPLICA_STATE))
        .from(15)
        .tag(1),
    f("max_wait_ms", I32),
    f("min_bytes", I32),
    f("max_bytes", I32),
    f("isolation_level", I8),
    f("session_id", I32).from(7),
    f("session_epoch", I32).from(7),
    f("topics", structs!(FetchTopic, FETCH_TOPIC)),
    f(
        "forgotten_topics_data",
        structs!(ForgottenTopic, FORGOTTEN_TOPIC),
    )
    .from(7),
    f("rack_id", STRING).from(11),
];

const LIST_OFFSETS_PARTITION: &[Field] = &[
    f("partition_index", I32),
    f("current_leader_epoch", I32).from(4),
    f("timestamp", I64),
];

const LIST_OFFSETS_TOPIC: &[Field] = &[
    f("name", STRING),
    f(
        "partitions",
        structs!(ListOffsetsPartition, LIST_OFFSETS_PARTITION),
    ),
];

const LIST_OFFSETS_REQUEST: &[Field] = &[
    f("replica_id", I32),
    f("isolation_level", I8).from(2),
    f("topics", structs!(ListOffsetsTopic, LIST_OFFSETS_TOPIC)),
    f("timeout_ms", I32).from(10),
];

const METADATA_REQUEST_TOPIC: &[Field] =
    &[f("topic_id", UUID).from(10), f("name", NULLABLE_STRING)];

const METADATA_REQUEST: &[Field] = &[
    f(
        "topics",
        structs!(?MetadataRequestTopic, METADATA_REQUEST_TOPIC),
    ),
    f("allow_auto_topic_creation", BOOL).from(4),
    f("include_cluster_authorized_operations", BOOL)
        .from(8)
        .to(10),
    f("include_topic_authorized_operations", BOOL).from(8),
];

const DELETE_RECORDS_PARTITION: &[Field] = &[f("partition_index", I32), f("offset", I64)];

const DELETE_RECORDS_TOPIC: &[Field] = &[
    f("name", STRING),
    f(
        "partitions",
        structs!(DeleteRecordsPartition, DELETE_RECORDS_PARTITION),
    ),
];

const DELETE_RECORDS_REQUEST: &[Field] = &[
    f("topics", structs!(DeleteRecordsTopic, DELETE_RECORDS_TOPIC)),
    f("timeout_ms", I32),
];

const INIT_PRODUCER_ID_REQUEST: &[Field] = &[
    f("transactional_id", NULLABLE_STRING),
    f("transaction_timeout_ms", I32),
    f("producer_id", I64).from(3),
    f("producer_epoch", I16).from(3),
];

const OFFSET_FOR_LEADER_PARTITION: &[Field] = &[
    f("partition", I32),
    f("current_leader_epoch", I32),
    f("leader_epoch", I32),
];

const OFFSET_FOR_LEADER_TOPIC: &[Field] = &[
    f("topic", STRING),
    f(
        "partitions",
        structs!(OffsetForLeaderPartition, OFFSET_FOR_LEADER_PARTITION),
    ),
];

const OFFSET_FOR_LEADER_EPOCH_REQUEST: &[Field] = &[
    f("replica_id", I32).from(3),
    f(
        "topics",
        structs!(OffsetForLeaderTopic, OFFSET_FOR_LEADER_TOPIC),
    ),
];

const API_VERSIONS_REQUEST: &[Field] = &[
    f("client_software_name", STRING).from(3),
    f("client_software_version", STRING).from(3),
];
