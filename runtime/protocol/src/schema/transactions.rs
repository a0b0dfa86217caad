//! Transactions: their steps, their offsets, markers, and what is asked about them.

use kafka_protocol::messages::{
    add_partitions_to_txn_request::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction},
    txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic},
    write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic},
};

use super::{
    BOOL, Field, I16, I32, I32_ARRAY, I64, Kind, NULLABLE_STRING, STRING, STRING_ARRAY, Schema, f,
    structs,
};

pub(super) const SCHEMAS: &[Schema] = &[
    Schema {
        api_key: 24,
        min: 0,
        max: 5,
        flexible_from: 3,
        fields: ADD_PARTITIONS_TO_TXN_REQUEST,
    },
    Schema {
        api_key: 25,
        min: 0,
        max: 4,
        flexible_from: 3,
        fields: ADD_OFFSETS_TO_TXN_REQUEST,
    },
    Schema {
        api_key: 26,
        min: 0,
        max: 5,
        flexible_from: 3,
        fields: END_TXN_REQUEST,
    },
    Schema {
        api_key: 27,
        min: 1,
        max: 1,
        flexible_from: 1,
        fields: WRITE_TXN_MARKERS_REQUEST,
    },
    Schema {
        api_key: 28,
        min: 0,
        max: 5,
        flexible_from: 3,
        fields: TXN_OFFSET_COMMIT_REQUEST,
    },
    Schema {
        api_key: 65,
        min: 0,
        max: 0,
        flexible_from: 0,
        fields: DESCRIBE_TRANSACTIONS_REQUEST,
    },
    Schema {
        api_key: 66,
        min: 0,
        max: 2,
        flexible_from: 0,
        fields: LIST_TRANSACTIONS_REQUEST,
    },
];

const I64_ARRAY: Kind = Kind::Array {
    nullable: false,
    element: &I64,
    decoded_size: 8,
};

const ADD_PARTITIONS_TO_TXN_TOPIC: &[Field] = &[f("name", STRING), f("partitions", I32_ARRAY)];

const ADD_PARTITIONS_TO_TXN_TRANSACTION: &[Field] = &[
    f("transactional_id", STRING).from(4),
    f("producer_id", I64).from(4),
    f("producer_epoch", I16).from(4),
    f("verify_only", BOOL).from(4),
    f(
        "topics",
        structs!(AddPartitionsToTxnTopic, ADD_PARTITIONS_TO_TXN_TOPIC),
    )
    .from(4),
];

const ADD_PARTITIONS_TO_TXN_REQUEST: &[Field] = &[
    f(
        "transactions",
        structs!(
            AddPartitionsToTxnTransaction,
            ADD_PARTITIONS_TO_TXN_TRANSACTION
        ),
    )
    .from(4),
    f("v3_and_below_transactional_id", STRING).to(3),
    f("v3_and_below_producer_id", I64).to(3),
    f("v3_and_below_producer_epoch", I16).to(3),
    f(
        "v3_and_below_topics",
        structs!(AddPartitionsToTxnTopic, ADD_PARTITIONS_TO_TXN_TOPIC),
    )
    .to(3),
];

const ADD_OFFSETS_TO_TXN_REQUEST: &[Field] = &[
    f("transactional_id", STRING),
    f("producer_id", I64),
    f("producer_epoch", I16),
    f("group_id", STRING),
];

const END_TXN_REQUEST: &[Field] = &[
    f("transactional_id", STRING),
    f("producer_id", I64),
    f("producer_epoch", I16),
    f("committed", BOOL),
];

const WRITABLE_TXN_MARKER_TOPIC: &[Field] = &[f("name", STRING), f("partition_indexes", I32_ARRAY)];

const WRITABLE_TXN_MARKER: &[Field] = &[
    f("producer_id", I64),
    f("producer_epoch", I16),
    f("transaction_result", BOOL),
    f(
        "topics",
        structs!(WritableTxnMarkerTopic, WRITABLE_TXN_MARKER_TOPIC),
    ),
    f("coordinator_epoch", I32),
];

const WRITE_TXN_MARKERS_REQUEST: &[Field] = &[f(
    "markers",
    structs!(WritableTxnMarker, WRITABLE_TXN_MARKER),
)];

const TXN_OFFSET_COMMIT_PARTITION: &[Field] = &[
    f("partition_index", I32),
    f("committed_offset", I64),
    f("committed_leader_epoch", I32).from(2),
    f("committed_metadata", NULLABLE_STRING),
];

const TXN_OFFSET_COMMIT_TOPIC: &[Field] = &[
    f("name", STRING),
    f(
        "partitions",
        structs!(TxnOffsetCommitRequestPartition, TXN_OFFSET_COMMIT_PARTITION),
    ),
];

const TXN_OFFSET_COMMIT_REQUEST: &[Field] = &[
    f("transactional_id", STRING),
    f("group_id", STRING),
    f("producer_id", I64),
    f("producer_epoch", I16),
    f("generation_id", I32).from(3),
    f("member_id", STRING).from(3),
    f("group_instance_id", NULLABLE_STRING).from(3),
    f(
        "topics",
        structs!(TxnOffsetCommitRequestTopic, TXN_OFFSET_COMMIT_TOPIC),
    ),
];

const DESCRIBE_TRANSACTIONS_REQUEST: &[Field] = &[f("transactional_ids", STRING_ARRAY)];

const LIST_TRANSACTIONS_REQUEST: &[Field] = &[
    f("state_filters", STRING_ARRAY),
    f("producer_id_filters", I64_ARRAY),
    f("duration_filter", I64).from(1),
    f("transactional_id_pattern", NULLABLE_STRING).from(2),
];
