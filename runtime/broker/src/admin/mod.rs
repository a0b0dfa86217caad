//! The admin port: health, metrics, plugins, and what they do to topics. HTTP with JSON; every error is `{"error": "<sentence>"}`.

mod auth;
mod explain;
mod plugins;
mod push;
mod records;
mod render;
mod request;
mod scrape;
mod status;
#[cfg(test)]
mod tests;
mod topics;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;

use crate::broker::Broker;

use self::auth::Guard;

/// Everything under the admin port.
pub(crate) fn router(broker: Arc<Broker>) -> Router {
    let guard = Guard::new(broker.config.admin_token.as_deref());
    Router::new()
        .route("/metrics", get(scrape::metrics))
        .route("/v1/status", get(status::status))
        .route("/v1/plugins", get(plugins::list))
        .route(
            "/v1/plugins/{name}",
            get(plugins::show).delete(plugins::remove_all),
        )
        .route(
            "/v1/plugins/{name}/{version}",
            get(plugins::component)
                .put(push::push)
                .delete(plugins::remove_version),
        )
        .route("/v1/plugins/{name}/rollback", post(plugins::rollback))
        .route("/v1/topics/{topic}/plugins", get(topics::plugins))
        .route("/v1/topics/{topic}/plugins/resume", post(topics::resume))
        .route("/v1/topics/{topic}/explain", get(explain::explain))
        .route("/v1/topics/{topic}/records", get(records::read))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(middleware::from_fn_with_state(guard, auth::check))
        // After the layer: these two are asked by things that have no token.
        .route("/healthz", get(status::healthy))
        .route("/readyz", get(status::ready))
        .with_state(broker)
}

/// An answer that is not a success.
struct Refused {
    status: StatusCode,
    sentence: String,
}

impl Refused {
    fn new(status: StatusCode, sentence: impl ToString) -> Refused {
        Refused {
            status,
            sentence: sentence.to_string(),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.sentence }))).into_response()
    }
}

async fn not_found() -> Refused {
    Refused::new(
        StatusCode::NOT_FOUND,
        "there is nothing here: try /healthz, /readyz, /metrics, /v1/status, /v1/plugins or /v1/topics/T/plugins",
    )
}

async fn not_allowed() -> Refused {
    Refused::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this path does not take that method",
    )
}
