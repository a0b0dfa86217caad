//! `/v1/plugins`: list, show, push, roll back, remove.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tidegate_plugin::Digest;

use super::{Refused, render, request};
use crate::broker::Broker;
use crate::plugins::{RemoveError, RollbackError, UploadError};

/// Bindings in one answer.
const MAX_BINDINGS: usize = 10_000;

pub(super) async fn list(State(broker): State<Arc<Broker>>) -> Json<Value> {
    let image = broker.image();
    let rows: Vec<Value> = image
        .plugins
        .iter()
        .flat_map(|(name, known)| {
            known
                .versions
                .iter()
                .map(move |(v, row)| (name, known, v, row))
        })
        .map(|(name, known, version, row)| {
            let mut value = render::version(version, row, known);
            // Only what is loaded here has told its summary; listing does not compile the rest.
            let loaded = broker.plugins.loaded(row.digest);
            value["name"] = json!(name);
            let said = loaded.as_deref().map(render::description);
            for field in ["summary", "state", "columns", "writes"] {
                value[field] = said
                    .as_ref()
                    .map_or(Value::Null, |said| said[field].clone());
            }
            value
        })
        .collect();
    Json(json!({ "plugins": rows }))
}

pub(super) async fn show(
    State(broker): State<Arc<Broker>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refused> {
    let image = broker.image();
    let known = image.plugins.get(&name).ok_or_else(|| unknown(&name))?;
    let versions: Vec<Value> = known
        .versions
        .iter()
        .map(|(version, row)| render::version(version, row, known))
        .collect();
    // A plugin that cannot be loaded here is still shown: that is when somebody looks.
    let (description, error) = match known.versions.get(&known.latest) {
        None => (Value::Null, Value::Null),
        Some(row) => match broker.plugins.load(&broker, row.digest).await {
            Ok(plugin) => (render::description(&plugin), Value::Null),
            Err(why) => (Value::Null, json!(why)),
        },
    };
    let bindings: Vec<Value> = broker
        .plugins
        .bindings(&broker, Some(&name), MAX_BINDINGS)
        .into_iter()
        .map(|report| render::binding(&report))
        .collect();
    Ok(Json(json!({
        "name": name,
        "latest": known.latest,
        "previous": image.previous_latest.get(&name),
        "versions": versions,
        "description": description,
        "description_error": error,
        "bindings": bindings,
    })))
}

/// The component as it was pushed.
pub(super) async fn component(
    State(broker): State<Arc<Broker>>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Response, Refused> {
    let image = broker.image();
    let known = image.plugins.get(&name).ok_or_else(|| unknown(&name))?;
    let row = known.versions.get(&version).ok_or_else(|| {
        let version: String = version.chars().take(64).collect();
        Refused::new(
            StatusCode::NOT_FOUND,
            format!("plugin `{name}` has no version `{version}`"),
        )
    })?;
    let bytes = broker
        .plugins
        .component(&broker, row.digest)
        .await
        .map_err(|why| Refused::new(StatusCode::SERVICE_UNAVAILABLE, why))?;
    Ok(([(CONTENT_TYPE, "application/wasm")], bytes).into_response())
}

pub(super) async fn push(
    State(broker): State<Arc<Broker>>,
    Path((name, version)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let max = broker.plugins.max_upload_bytes();
    let too_large = || {
        let sentence =
            format!("a plugin has at most {max} bytes (tidegate.plugins.max.upload.bytes)");
        Refused::new(StatusCode::PAYLOAD_TOO_LARGE, sentence)
    };
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|len| len.to_str().ok()?.parse().ok());
    if announced.is_some_and(|len: u64| len > max as u64) {
        return Err(too_large());
    }
    let wasm = to_bytes(body, max).await.map_err(|_| too_large())?;
    let size = wasm.len();
    let uploaded = broker
        .plugins
        .upload(&broker, &name, &version, wasm)
        .await?;
    let body = json!({
        "name": name,
        "version": version,
        "sha256": Digest(uploaded.digest).to_string(),
        "size": size,
        "already": uploaded.already,
    });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

pub(super) async fn rollback(
    State(broker): State<Arc<Broker>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Value>, Refused> {
    let version = request::text_field(body, "version").await?;
    let moved = broker
        .plugins
        .rollback(&broker, &name, version.as_deref())
        .await?;
    Ok(Json(json!({
        "name": name,
        "latest": moved.latest,
        "previous": moved.previous,
    })))
}

pub(super) async fn remove_all(
    State(broker): State<Arc<Broker>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Refused> {
    broker.plugins.remove(&broker, &name, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn remove_version(
    State(broker): State<Arc<Broker>>,
    Path((name, version)): Path<(String, String)>,
) -> Result<StatusCode, Refused> {
    broker
        .plugins
        .remove(&broker, &name, Some(&version))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<UploadError> for Refused {
    fn from(error: UploadError) -> Refused {
        let status = match error {
            UploadError::Invalid(_) => StatusCode::BAD_REQUEST,
            UploadError::Conflict(_) => StatusCode::CONFLICT,
            UploadError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Refused::new(status, error)
    }
}

impl From<RollbackError> for Refused {
    fn from(error: RollbackError) -> Refused {
        let status = match error {
            RollbackError::Unknown(_) => StatusCode::NOT_FOUND,
            RollbackError::Conflict(_) => StatusCode::CONFLICT,
            RollbackError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Refused::new(status, error)
    }
}

impl From<RemoveError> for Refused {
    fn from(error: RemoveError) -> Refused {
        let status = match error {
            RemoveError::Unknown(_) => StatusCode::NOT_FOUND,
            RemoveError::Bound(_) => StatusCode::CONFLICT,
            RemoveError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Refused::new(status, error)
    }
}

fn unknown(name: &str) -> Refused {
    Refused::new(
        StatusCode::NOT_FOUND,
        format!("plugin `{name}` is not uploaded"),
    )
}
