//! Topics, partitions, configurations, the cluster.

use kafka_protocol::messages::{
    alter_configs_request::{AlterConfigsResource, AlterableConfig},
    alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
    alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic},
    create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic},
    create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
    delete_topics_request::DeleteTopicState,
    describe_configs_request::DescribeConfigsResource,
    describe_log_dirs_request::DescribableLogDirTopic,
    describe_producers_request, describe_topic_partitions_request, elect_leaders_request,
    incremental_alter_configs_request,
    list_partition_reassignments_request::ListPartitionReassignmentsTopics,
};

use super::{
    BOOL, Field, I8, I16, I32, I32_ARRAY, Kind, NULLABLE_I32_ARRAY, NULLABLE_STRING,
    NULLABLE_STRING_ARRAY, STRING, STRING_ARRAY, Schema, UUID, f, structs,
};

pub(super) const SCHEMAS: &[Schema] = &[
    Schema {
        api_key: 19,
        min: 2,
        max: 7,
        flexible_from: 5,
        fields: CREATE_TOPICS_REQUEST,
    },
    Schema {
        api_key: 20,
        min: 1,
        max: 6,
        flexible_from: 4,
        fields: DELETE_TOPICS_REQUEST,
    },
    Schema {
        api_key: 32,
        min: 1,
        max: 4,
        flexible_from: 4,
        fields: DESCRIBE_CONFIGS_REQUEST,
    },
    Schema {
        api_key: 33,
        min: 0,
        max: 2,
        flexible_from: 2,
        fields: ALTER_CONFIGS_REQUEST,
    },
    Schema {
        api_key: 35,
        min: 1,
        max: 4,
        flexible_from: 2,
        fields: DESCRIBE_LOG_DIRS_REQUEST,
    },
    Schema {
        api_key: 37,
        min: 0,
        max: 3,
        flexible_from: 2,
        fields: CREATE_PARTITIONS_REQUEST,
    },
    Schema {
        api_key: 43,
        min: 0,
        max: 2,
        flexible_from: 2,
        fields: ELECT_LEADERS_REQUEST,
    },
    Schema {
        api_key: 44,
        min: 0,
        max: 1,
        flexible_from: 1,
        fields: INCREMENTAL_ALTER_CONFIGS_REQUEST,
    },
    Schema {
        api_key: 45,
        min: 0,
        max: 1,
        flexible_from: 0,
        fields: ALTER_PARTITION_REASSIGNMENTS_REQUEST,
    },
    Schema {
        api_key: 46,
        min: 0,
        max: 0,
        flexible_from: 0,
        fields: LIST_PARTITION_REASSIGNMENTS_REQUEST,
    },
    Schema {
        api_key: 60,
        min: 0,
        max: 2,
        flexible_from: 0,
        fields: DESCRIBE_CLUSTER_REQUEST,
    },
    Schema {
        api_key: 61,
        min: 0,
        max: 0,
        flexible_from: 0,
        fields: DESCRIBE_PRODUCERS_REQUEST,
    },
    Schema {
        api_key: 34,
        min: 1,
        max: 2,
        flexible_from: 2,
        fields: ALTER_REPLICA_LOG_DIRS_REQUEST,
    },
    Schema {
        api_key: 74,
        min: 0,
        max: 1,
        flexible_from: 0,
        fields: LIST_CONFIG_RESOURCES_REQUEST,
    },
    Schema {
        api_key: 75,
        min: 0,
        max: 0,
        flexible_from: 0,
        fields: DESCRIBE_TOPIC_PARTITIONS_REQUEST,
    },
];

const DESCRIBABLE_LOG_DIR_TOPIC: &[Field] = &[f("topic", STRING), f("partitions", I32_ARRAY)];

const DESCRIBE_LOG_DIRS_REQUEST: &[Field] = &[f(
    "topics",
    structs!(?DescribableLogDirTopic, DESCRIBABLE_LOG_DIR_TOPIC),
)];

const ALTER_REPLICA_LOG_DIR_TOPIC: &[Field] = &[f("name", STRING), f("partitions", I32_ARRAY)];

const ALTER_REPLICA_LOG_DIR: &[Field] = &[
    f("path", STRING),
    f(
        "topics",
        structs!(AlterReplicaLogDirTopic, ALTER_REPLICA_LOG_DIR_TOPIC),
    ),
];

const ALTER_REPLICA_LOG_DIRS_REQUEST: &[Field] = &[f(
    "dirs",
    structs!(AlterReplicaLogDir, ALTER_REPLICA_LOG_DIR),
)];

const LIST_CONFIG_RESOURCES_REQUEST: &[Field] = &[f(
    "resource_types",
    Kind::Array {
        nullable: false,
        element: &I8,
        decoded_size: 1,
    },
)
.from(1)];

const TOPIC_PARTITIONS_CURSOR: &[Field] = &[f("topic_name", STRING), f("partition_index", I32)];

const DESCRIBE_TOPIC_PARTITIONS_TOPIC: &[Field] = &[f("name", STRING)];

const DESCRIBE_TOPIC_PARTITIONS_REQUEST: &[Field] = &[
    f(
        "topics",
        structs!(
            describe_topic_partitions_request::TopicRequest,
            DESCRIBE_TOPIC_PARTITIONS_TOPIC
        ),
    ),
    f("response_partition_limit", I32),
    f("cursor", Kind::NullableStruct(TOPIC_PARTITIONS_CURSOR)),
];

const ELECT_LEADERS_TOPIC: &[Field] = &[f("topic", STRING), f("partitions", I32_ARRAY)];

const ELECT_LEADERS_REQUEST: &[Field] = &[
    f("election_type", I8).from(1),
    f(
        "topic_partitions",
        structs!(?elect_leaders_request::TopicPartitions, ELECT_LEADERS_TOPIC),
    ),
    f("timeout_ms", I32),
];

const REASSIGNABLE_PARTITION: &[Field] =
    &[f("partition_index", I32), f("replicas", NULLABLE_I32_ARRAY)];

const REASSIGNABLE_TOPIC: &[Field] = &[
    f("name", STRING),
    f(
        "partitions",
        structs!(ReassignablePartition, REASSIGNABLE_PARTITION),
    ),
];

const ALTER_PARTITION_REASSIGNMENTS_REQUEST: &[Field] = &[
    f("timeout_ms", I32),
    f("allow_replication_factor_change", BOOL).from(1),
    f("topics", structs!(ReassignableTopic, REASSIGNABLE_TOPIC)),
];

const LIST_REASSIGNMENTS_TOPIC: &[Field] = &[f("name", STRING), f("partition_indexes", I32_ARRAY)];

const LIST_PARTITION_REASSIGNMENTS_REQUEST: &[Field] = &[
    f("timeout_ms", I32),
    f(
        "topics",
        structs!(?ListPartitionReassignmentsTopics, LIST_REASSIGNMENTS_TOPIC),
    ),
];

const DESCRIBE_PRODUCERS_TOPIC: &[Field] = &[f("name", STRING), f("partition_indexes", I32_ARRAY)];

const DESCRIBE_PRODUCERS_REQUEST: &[Field] = &[f(
    "topics",
    structs!(
        describe_producers_request::TopicRequest,
        DESCRIBE_PRODUCERS_TOPIC
    ),
)];

const CREATABLE_REPLICA_ASSIGNMENT: &[Field] =
    &[f("partition_index", I32), f("broker_ids", I32_ARRAY)];

const CREATABLE_TOPIC_CONFIG: &[Field] = &[f("name", STRING), f("value", NULLABLE_STRING)];

const CREATABLE_TOPIC: &[Field] = &[
    f("name", STRING),
    f("num_partitions", I32),
    f("replication_factor", I16),
    f(
        "assignments",
        structs!(CreatableReplicaAssignment, CREATABLE_REPLICA_ASSIGNMENT),
    ),
    f(
        "configs",
        structs!(CreatableTopicConfig, CREATABLE_TOPIC_CONFIG),
    ),
];

const CREATE_TOPICS_REQUEST: &[Field] = &[
    f("topics", structs!(CreatableTopic, CREATABLE_TOPIC)),
    f("timeout_ms", I32),
    f("validate_only", BOOL),
];

const DELETE_TOPIC_STATE: &[Field] = &[
    f("name", NULLABLE_STRING).from(6),
    f("topic_id", UUID).from(6),
];

const DELETE_TOPICS_REQUEST: &[Field] = &[
    f("topics", structs!(DeleteTopicState, DELETE_TOPIC_STATE)).from(6),
    f("topic_names", STRING_ARRAY).to(5),
    f("timeout_ms", I32),
];

const DESCRIBE_CONFIGS_RESOURCE: &[Field] = &[
    f("resource_type", I8),
    f("resource_name", STRING),
    f("configuration_keys", NULLABLE_STRING_ARRAY),
];

const DESCRIBE_CONFIGS_REQUEST: &[Field] = &[
    f(
        "resources",
        structs!(DescribeConfigsResource, DESCRIBE_CONFIGS_RESOURCE),
    ),
    f("include_synonyms", BOOL),
    f("include_documentation", BOOL).from(3),
];

const ALTERABLE_CONFIG: &[Field] = &[f("name", STRING), f("value", NULLABLE_STRING)];

const ALTER_CONFIGS_RESOURCE: &[Field] = &[
    f("resource_type", I8),
    f("resource_name", STRING),
    f("configs", structs!(AlterableConfig, ALTERABLE_CONFIG)),
];

const ALTER_CONFIGS_REQUEST: &[Field] = &[
    f(
        "resources",
        structs!(AlterConfigsResource, ALTER_CONFIGS_RESOURCE),
    ),
    f("validate_only", BOOL),
];

const CREATE_PARTITIONS_ASSIGNMENT: &[Field] = &[f("broker_ids", I32_ARRAY)];

const CREATE_PARTITIONS_TOPIC: &[Field] = &[
    f("name", STRING),
    f("count", I32),
    f(
        "assignments",
        structs!(?CreatePartitionsAssignment, CREATE_PARTITIONS_ASSIGNMENT),
    ),
];

const CREATE_PARTITIONS_REQUEST: &[Field] = &[
    f(
        "topics",
        structs!(CreatePartitionsTopic, CREATE_PARTITIONS_TOPIC),
    ),
    f("timeout_ms", I32),
    f("validate_only", BOOL),
];

const INCREMENTAL_CONFIG: &[Field] = &[
    f("name", STRING),
    f("config_operation", I8),
    f("value", NULLABLE_STRING),
];

const INCREMENTAL_RESOURCE: &[Field] = &[
    f("resource_type", I8),
    f("resource_name", STRING),
    f(
        "configs",
        structs!(
            incremental_alter_configs_request::AlterableConfig,
            INCREMENTAL_CONFIG
        ),
    ),
];

const INCREMENTAL_ALTER_CONFIGS_REQUEST: &[Field] = &[
    f(
        "resources",
        structs!(
            incremental_alter_configs_request::AlterConfigsResource,
            INCREMENTAL_RESOURCE
        ),
    ),
    f("validate_only", BOOL),
];

const DESCRIBE_CLUSTER_REQUEST: &[Field] = &[
    f("include_cluster_authorized_operations", BOOL),
    f("endpoint_type", I8).from(1),
    f("include_fenced_brokers", BOOL).from(2),
];
