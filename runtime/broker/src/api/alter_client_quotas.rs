//! AlterClientQuotas (key 49), versions 0 to 1 (KIP-546): limits of users, client ids and addresses, set and removed.
//!
//! Each entry is a change by itself: one that is refused leaves the others alone.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::alter_client_quotas_request::EntryData;
use kafka_protocol::messages::alter_client_quotas_response::{
    EntityData, EntryData as AlteredEntry,
};
use kafka_protocol::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};
use tidegate_metadata::Command;
use tidegate_metadata::quota::QuotaEntity;

use super::quota_entities;
use super::topic_admin::{AdminError, change, duplicates};
use super::{KafkaApi, RequestContext};
use crate::broker::Broker;

pub(crate) struct AlterClientQuotas;

impl KafkaApi for AlterClientQuotas {
    const KEY: i16 = 49;
    const SERVED: RangeInclusive<i16> = 0..=1;
    type Request = AlterClientQuotasRequest;

    async fn handle(
        broker: &Arc<Broker>,
        _context: &RequestContext,
        request: AlterClientQuotasRequest,
    ) -> AlterClientQuotasResponse {
        let entities: Vec<_> = request.entries.iter().map(entity).collect();
        let twice = duplicates(entities.iter().flatten().cloned());
        let mut entries = Vec::with_capacity(entities.len());
        for (entry, entity) in request.entries.iter().zip(entities) {
            let altered = match entity {
                Err(error) => Err(error),
                Ok(entity) if twice.contains(&entity) => Err(AdminError::invalid_request(
                    "the entity stands more than once in the request",
                )),
                Ok(entity) => alter(broker, entity, entry, request.validate_only).await,
            };
            entries.push(respond(entry, altered));
        }
        AlterClientQuotasResponse::default().with_entries(entries)
    }
}

fn entity(entry: &EntryData) -> Result<QuotaEntity, AdminError> {
    let parts = entry.entity.iter();
    quota_entities::read(parts.map(|part| {
        let name = part.entity_name.as_ref().map(|name| name.as_str());
        (part.entity_type.as_str(), name)
    }))
}

async fn alter(
    broker: &Arc<Broker>,
    entity: QuotaEntity,
    entry: &EntryData,
    validate_only: bool,
) -> Result<(), AdminError> {
    let mut set = BTreeMap::new();
    for op in &entry.ops {
        let limit = (!op.remove).then_some(op.value);
        if set.insert(op.key.to_string(), limit).is_some() {
            let key: String = op.key.chars().take(64).collect();
            let why = format!("the key {key} stands more than once for one entity");
            return Err(AdminError::invalid_request(why));
        }
    }
    let command = Command::SetQuotas { entity, set };
    change(broker, validate_only, |_| Ok(command))
        .await
        .map(drop)
}

fn respond(entry: &EntryData, altered: Result<(), AdminError>) -> AlteredEntry {
    // As it was sent, so that a client finds its entity again.
    let parts = entry.entity.iter().map(|part| {
        EntityData::default()
            .with_entity_type(part.entity_type.clone())
            .with_entity_name(part.entity_name.clone())
    });
    let told = AlteredEntry::default()
        .with_error_message(None)
        .with_entity(parts.collect());
    match altered {
        Ok(()) => told,
        Err(error) => told
            .with_error_code(error.code.code())
            .with_error_message(error.text()),
    }
}
