//! `/v1/plugins`: list, show, roll back, remove. Pushing is in `push`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Refused, render, request};
use crate::broker::Broker;
use crate::plugins::{RemoveError, RollbackError};

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
            let signature = image.plugin_signature(name, version);
            let mut value = render::version(version, row, known, signature);
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
        .map(|(version, row)| {
            let signature = image.plugin_signature(&name, version);
            render::version(version, row, known, signature)
        })
        .collect();
    // A plugin that cannot be loaded here is still shown: that is when somebody looks.
    let (description, error) = match known.versions.get(&known.latest) {
        None => (Value::Null, Value::Null),
        Some(row) => match broker
            .plugins
            .load(&broker, &name, &known.latest, row.digest)
            .await
        {
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
