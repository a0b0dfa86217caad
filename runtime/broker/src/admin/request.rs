//! What requests to the admin port carry beside their path: a small JSON body, a query.

use std::collections::BTreeMap;
use std::str::FromStr;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde_json::Value;

use super::Refused;

/// Bodies other than plugins are a few fields.
const MAX_BODY: usize = 64 << 10;

/// The text of one field of a JSON object; no body is an empty object, and null is no text.
pub(super) async fn text_field(body: Body, field: &str) -> Result<Option<String>, Refused> {
    let bytes = to_bytes(body, MAX_BODY).await.map_err(|_| {
        Refused::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body has at most {MAX_BODY} bytes"),
        )
    })?;
    if bytes.trim_ascii().is_empty() {
        return Ok(None);
    }
    let bad = |what: String| Refused::new(StatusCode::BAD_REQUEST, what);
    let body: Value = serde_json::from_slice(&bytes)
        .map_err(|error| bad(format!("the body is no JSON: {error}")))?;
    let Some(object) = body.as_object() else {
        return Err(bad(format!(
            "the body is an object: {{\"{field}\": \"...\"}}"
        )));
    };
    if let Some(other) = object.keys().find(|key| *key != field) {
        let other: String = other.chars().take(64).collect();
        return Err(bad(format!("the body takes `{field}`, not `{other}`")));
    }
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(bad(format!("`{field}` is a text"))),
    }
}

/// The fields of a query.
pub(super) struct Fields(BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Fields {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Fields, Refused> {
        let query = Query::from_request_parts(parts, state).await;
        query
            .map(|Query(fields)| Fields(fields))
            .map_err(|error| Refused::new(StatusCode::BAD_REQUEST, error.body_text()))
    }
}

impl Fields {
    /// Refuses fields that are not among these.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Refused> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(Refused::new(
                StatusCode::BAD_REQUEST,
                format!(
                    "`{}` is not asked for here; there is {}",
                    key.chars().take(64).collect::<String>(),
                    known.join(", ")
                ),
            )),
        }
    }

    /// A number that may be left out.
    pub(super) fn number<T: FromStr>(&self, field: &str) -> Result<Option<T>, Refused> {
        let Some(text) = self.0.get(field) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| {
            let text: String = text.chars().take(64).collect();
            let sentence = format!("`{field}` is a whole number in range, not `{text}`");
            Refused::new(StatusCode::BAD_REQUEST, sentence)
        })
    }

    /// A number that must be there.
    pub(super) fn needed<T: FromStr>(&self, field: &str) -> Result<T, Refused> {
        self.number(field)?.ok_or_else(|| {
            Refused::new(
                StatusCode::BAD_REQUEST,
                format!("the query needs `{field}=...`"),
            )
        })
    }
}
