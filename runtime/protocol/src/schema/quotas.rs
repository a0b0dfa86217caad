//! Client quotas.

use kafka_protocol::messages::{
    alter_client_quotas_request::{EntityData, EntryData, OpData},
    describe_client_quotas_request::ComponentData,
};

use super::{BOOL, F64, Field, I8, NULLABLE_STRING, STRING, Schema, f, structs};

pub(super) const SCHEMAS: &[Schema] = &[
    Schema {
        api_key: 48,
        min: 0,
        max: 1,
        flexible_from: 1,
        fields: DESCRIBE_CLIENT_QUOTAS_REQUEST,
    },
    Schema {
        api_key: 49,
        min: 0,
        max: 1,
        flexible_from: 1,
        fields: ALTER_CLIENT_QUOTAS_REQUEST,
    },
];

const COMPONENT: &[Field] = &[
    f("entity_type", STRING),
    f("match_type", I8),
    f("match", NULLABLE_STRING),
];

const DESCRIBE_CLIENT_QUOTAS_REQUEST: &[Field] = &[
    f("components", structs!(ComponentData, COMPONENT)),
    f("strict", BOOL),
];

const ENTITY: &[Field] = &[f("entity_type", STRING), f("entity_name", NULLABLE_STRING)];

const OPERATION: &[Field] = &[f("key", STRING), f("value", F64), f("remove", BOOL)];

const ENTRY: &[Field] = &[
    f("entity", structs!(EntityData, ENTITY)),
    f("ops", structs!(OpData, OPERATION)),
];

const ALTER_CLIENT_QUOTAS_REQUEST: &[Field] = &[
    f("entries", structs!(EntryData, ENTRY)),
    f("validate_only", BOOL),
];
