//! `PUT /v1/plugins/N/V`: receiving a plugin, in bounded time and memory.

use std::future::poll_fn;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{Path, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tidegate_plugin::{Digest, KeyError};
use tokio::time::{Instant, timeout_at};

use super::{Refused, render};
use crate::broker::Broker;
use crate::plugins::{Offered, UploadError};

/// Base64 of 64 bytes.
const SIGNATURE: &str = "x-tidegate-signature";
/// Base64 of an Ed25519 public key, the one that made the signature.
const KEY: &str = "x-tidegate-key";
/// How much of an upload that is too large is read and thrown away.
const DISCARDED_BYTES: usize = 256 << 20;

pub(super) async fn push(
    State(broker): State<Arc<Broker>>,
    Path((name, version)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let offered = Offered {
        signature: header(&headers, SIGNATURE)?,
        key: header(&headers, KEY)?,
    };
    let by = Instant::now() + broker.plugins.upload_timeout();
    // Held until the plugin is stored: it bounds what uploads take of the memory, not only while they arrive.
    let _place = timeout_at(by, broker.plugins.upload_place())
        .await
        .map_err(|_| busy())?;
    let wasm = receive(&broker, &headers, body, by).await?;
    let size = wasm.len();
    let uploaded = broker
        .plugins
        .upload_signed(&broker, &name, &version, wasm, offered)
        .await?;
    let image = broker.image();
    let signature = image.plugin_signature(&name, &version);
    let body = json!({
        "name": name,
        "version": version,
        "sha256": Digest(uploaded.digest).to_string(),
        "size": size,
        "already": uploaded.already,
        "signed_by": signature.map(render::signed_by),
    });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

async fn receive(
    broker: &Broker,
    headers: &HeaderMap,
    body: Body,
    by: Instant,
) -> Result<Bytes, Refused> {
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
        discard(body, by).await;
        return Err(too_large());
    }
    match timeout_at(by, to_bytes(body, max)).await {
        Ok(Ok(wasm)) => Ok(wasm),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(Refused::new(
            StatusCode::REQUEST_TIMEOUT,
            format!(
                "the plugin did not arrive within {} ms (tidegate.plugins.upload.timeout.ms)",
                broker.plugins.upload_timeout().as_millis()
            ),
        )),
    }
}

/// Many clients send all of a request before they look at the answer: closing the connection first would cost them the
/// sentence.
async fn discard(mut body: Body, by: Instant) {
    let mut left = DISCARDED_BYTES;
    while let Ok(Some(Ok(frame))) =
        timeout_at(by, poll_fn(|cx| Pin::new(&mut body).poll_frame(cx))).await
    {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

fn header<T: FromStr<Err = KeyError>>(
    headers: &HeaderMap,
    name: &'static str,
) -> Result<Option<T>, Refused> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let wrong = |why: &str| Refused::new(StatusCode::BAD_REQUEST, format!("{name}: {why}"));
    let text = value.to_str().map_err(|_| wrong("it is not Base64"))?;
    text.parse()
        .map(Some)
        .map_err(|error: KeyError| wrong(&error.to_string()))
}

fn busy() -> Refused {
    Refused::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "other plugins are being uploaded; try again in a while",
    )
}

impl From<UploadError> for Refused {
    fn from(error: UploadError) -> Refused {
        let status = match error {
            UploadError::Invalid(_) => StatusCode::BAD_REQUEST,
            UploadError::Untrusted(_) => StatusCode::FORBIDDEN,
            UploadError::Conflict(_) => StatusCode::CONFLICT,
            UploadError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Refused::new(status, error)
    }
}
