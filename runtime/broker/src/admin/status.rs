//! Is it alive, is it ready, what does it hold.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use tidegate_storage::StoreHealth;

use super::Refused;
use crate::broker::Broker;

/// The process serves.
pub(super) async fn healthy() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// It has started, and its store takes writes.
pub(super) async fn ready(State(broker): State<Arc<Broker>>) -> Result<Json<Value>, Refused> {
    let unavailable = |why: String| Refused::new(StatusCode::SERVICE_UNAVAILABLE, why);
    if !broker.plugins.recovered() {
        return Err(unavailable("the broker is still starting".to_owned()));
    }
    match broker.log.health() {
        StoreHealth::Online => Ok(Json(json!({ "status": "ready" }))),
        StoreHealth::Offline(why) => Err(unavailable(format!("the store is offline: {why}"))),
    }
}

pub(super) async fn status(State(broker): State<Arc<Broker>>) -> Json<Value> {
    let image = broker.image();
    let health = match broker.log.health() {
        StoreHealth::Online => json!({ "online": true }),
        StoreHealth::Offline(why) => json!({ "online": false, "error": why }),
    };
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "cluster_id": image.cluster_id,
        "node_id": broker.node_id(),
        "ready": broker.plugins.recovered(),
        "brokers": image.brokers.len(),
        "topics": image.topics.len(),
        "partitions": image.partition_count(),
        "plugins": image.plugins.len(),
        "store": health,
    }))
}
