//! `/v1/topics/T/explain`: why an offset holds what it holds.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};
use tidegate_record::Offset;

use super::request::Fields;
use super::{Refused, topics};
use crate::broker::Broker;
use crate::partition::{ReadFailure, Step};

pub(super) async fn explain(
    State(broker): State<Arc<Broker>>,
    Path(topic): Path<String>,
    fields: Fields,
) -> Result<Json<Value>, Refused> {
    fields.only(&["partition", "offset"])?;
    let index = fields.number("partition")?.unwrap_or(0);
    let offset: Offset = fields.needed("offset")?;
    if offset < 0 {
        return Err(Refused::new(StatusCode::BAD_REQUEST, "offsets start at 0"));
    }
    let partition = topics::partition(&broker, &topic, index)?;
    let explanation = partition.explain(offset).await.map_err(|error| {
        let status = match error {
            ReadFailure::OutOfRange => StatusCode::NOT_FOUND,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Refused::new(status, error)
    })?;
    let steps = |steps: &[Step]| -> Vec<Value> { steps.iter().map(step).collect() };
    Ok(Json(json!({
        "topic": topic,
        "partition": index,
        "offset": offset,
        "stored": explanation.stored,
        "fate": explanation.fate.as_str(),
        "steps": steps(&explanation.steps),
        "consume": steps(&explanation.consume),
        "note": explanation.note,
    })))
}

fn step(step: &Step) -> Value {
    json!({
        "alias": step.alias,
        "plugin": step.plugin,
        "version": step.version,
        "digest": step.digest,
        "action": step.action,
        "reason": step.reason,
        "to": step.to,
    })
}
