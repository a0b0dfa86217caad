//! `/v1/topics/T/plugins`: what stands in a topic's chains, and letting it run again.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Refused, render, request};
use crate::broker::Broker;
use crate::partition::Partition;
use crate::plugins::ResumeError;

pub(super) async fn plugins(
    State(broker): State<Arc<Broker>>,
    Path(topic): Path<String>,
) -> Result<Json<Value>, Refused> {
    let image = broker.image();
    let report = broker
        .plugins
        .topic_report(&image, &topic)
        .ok_or_else(|| unknown(&topic))?
        .map_err(|why| Refused::new(StatusCode::CONFLICT, why))?;
    let [produce, consume, shadow] = &report.chains;
    let bindings: Vec<Value> = report.bindings.iter().map(render::binding).collect();
    Ok(Json(json!({
        "topic": topic,
        "produce_chain": produce,
        "consume_chain": consume,
        "shadow_chain": shadow,
        "dead_letter_topic": report.dead_letter_topic,
        "bindings": bindings,
        "shadow": report.shadow.as_ref().map(render::shadow),
    })))
}

pub(super) async fn resume(
    State(broker): State<Arc<Broker>>,
    Path(topic): Path<String>,
    body: Body,
) -> Result<Json<Value>, Refused> {
    let alias = request::text_field(body, "alias").await?;
    let resumed = broker.plugins.resume(&broker, &topic, alias.as_deref())?;
    Ok(Json(json!({ "resumed": resumed })))
}

impl From<ResumeError> for Refused {
    fn from(error: ResumeError) -> Refused {
        let status = match error {
            ResumeError::Unknown(_) => StatusCode::NOT_FOUND,
            ResumeError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Refused::new(status, error)
    }
}

/// A partition that this broker has.
pub(super) fn partition(
    broker: &Broker,
    topic: &str,
    index: i32,
) -> Result<Arc<Partition>, Refused> {
    let live = broker.topics.get(topic).ok_or_else(|| unknown(topic))?;
    live.partition(index).ok_or_else(|| {
        let count = live.partition_count();
        Refused::new(
            StatusCode::NOT_FOUND,
            format!("topic `{topic}` has no partition {index}; it has {count}"),
        )
    })
}

fn unknown(topic: &str) -> Refused {
    let topic: String = topic.chars().take(255).collect();
    Refused::new(
        StatusCode::NOT_FOUND,
        format!("topic `{topic}` does not exist"),
    )
}
