//! The admin port: health, metrics, plugins.

use std::sync::Arc;

use axum::Router;

use crate::broker::Broker;

pub(crate) fn router(_broker: Arc<Broker>) -> Router {
    Router::new()
}
