//! The broker's admin HTTP, from the client's side.

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body};

use crate::args::Global;

/// No answer of the admin API is near this; it bounds what a wrong port may send.
const MAX_ANSWER_BYTES: u64 = 16 << 20;

/// One broker's admin API.
pub(crate) struct Admin {
    agent: Agent,
    base: String,
    bearer: Option<String>,
}

impl Admin {
    pub(crate) fn new(global: &Global) -> Admin {
        let config = Agent::config_builder().http_status_as_error(false).build();
        Admin {
            agent: config.into(),
            base: global.admin_url.trim_end_matches('/').to_owned(),
            bearer: global
                .admin_token
                .as_ref()
                .map(|token| format!("Bearer {token}")),
        }
    }

    pub(crate) fn get(&self, path: &[&str]) -> Result<Value> {
        let request = self.agent.get(self.url(path));
        self.answer(self.with_token(request).call())
    }

    /// As `get`, with a query.
    pub(crate) fn query(&self, path: &[&str], query: &[(&str, String)]) -> Result<Value> {
        let mut request = self.agent.get(self.url(path));
        for (name, value) in query {
            request = request.query(name, value);
        }
        self.answer(self.with_token(request).call())
    }

    /// A body that is no JSON, of at most this many bytes.
    pub(crate) fn download(&self, path: &[&str], max_bytes: u64) -> Result<Vec<u8>> {
        let request = self.with_token(self.agent.get(self.url(path)));
        let mut response = request.call().map_err(|error| self.unreachable(error))?;
        if !response.status().is_success() {
            return self.answer(Ok(response)).map(|_| Vec::new());
        }
        let body = response.body_mut().with_config().limit(max_bytes);
        let body = body.read_to_vec();
        body.with_context(|| format!("reading the answer of {}", self.base))
    }

    pub(crate) fn post(&self, path: &[&str], body: &Value) -> Result<Value> {
        let request = self.with_token(self.agent.post(self.url(path)));
        let request = request.content_type("application/json");
        self.answer(request.send(body.to_string()))
    }

    pub(crate) fn put(
        &self,
        path: &[&str],
        headers: &[(&str, String)],
        body: &[u8],
    ) -> Result<Value> {
        let mut request = self.with_token(self.agent.put(self.url(path)));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        self.answer(request.content_type("application/wasm").send(body))
    }

    pub(crate) fn delete(&self, path: &[&str]) -> Result<Value> {
        let request = self.agent.delete(self.url(path));
        self.answer(self.with_token(request).call())
    }

    fn url(&self, path: &[&str]) -> String {
        let path: Vec<String> = path.iter().map(|part| percent_encode(part)).collect();
        format!("{}/{}", self.base, path.join("/"))
    }

    fn with_token<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.bearer {
            Some(bearer) => request.header("Authorization", bearer),
            None => request,
        }
    }

    fn answer(&self, result: Result<Response<Body>, ureq::Error>) -> Result<Value> {
        let mut response = result.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        let body = response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER_BYTES)
            .read_to_vec();
        let body = body.with_context(|| format!("reading the answer of {}", self.base))?;
        let value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(value);
        }
        let said = value["error"]
            .as_str()
            .map(str::to_owned)
            .unwrap_or_else(|| {
                format!(
                    "{} answered {status}; is this the admin address?",
                    self.base
                )
            });
        match status.as_u16() {
            401 => {
                bail!("{said}\n  give the token with --admin-token or TIDEGATE_ADMIN_TOKEN")
            }
            _ => bail!(said),
        }
    }

    fn unreachable(&self, error: ureq::Error) -> anyhow::Error {
        anyhow!(
            "no admin endpoint answers at {}: {error}\n  is a broker running? start one with \
             `tidegate serve`, or name another with --admin-url",
            self.base
        )
    }
}

/// Names and versions are plain in practice; what is not must not change the path.
fn percent_encode(part: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~+".contains(&b);
    part.bytes()
        .map(|b| {
            if plain(b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_path_segment() {
        assert_eq!(percent_encode("match-1.0_x"), "match-1.0_x");
        assert_eq!(percent_encode("../a b"), "..%2Fa%20b");
    }
}
