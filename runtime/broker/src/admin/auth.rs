//! Who may use the admin port.

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::Refused;

/// Holds the token's hash: comparing hashes takes the same time wherever two tokens differ.
#[derive(Clone)]
pub(super) struct Guard {
    token: Option<[u8; 32]>,
}

impl Guard {
    pub(super) fn new(token: Option<&str>) -> Guard {
        Guard {
            token: token.map(hash),
        }
    }

    fn admits(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let Some(token) = self.token else {
            return same_origin(headers);
        };
        let given = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .map(|token| hash(token.trim()));
        let different = given.is_none_or(|given| {
            given
                .iter()
                .zip(&token)
                .fold(0, |bits, (a, b)| bits | (a ^ b))
                != 0
        });
        match different {
            true => Err(Refused::new(
                StatusCode::UNAUTHORIZED,
                "this broker's admin port takes requests with `Authorization: Bearer <admin.token>` only",
            )),
            false => Ok(()),
        }
    }
}

pub(super) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.admits(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

/// Without a token the port is open to this machine, and so to every page in a browser on it: a page of another site
/// must not push code. Programs send no Origin.
fn same_origin(headers: &HeaderMap) -> Result<(), Refused> {
    let Some(origin) = headers.get(ORIGIN) else {
        return Ok(());
    };
    let local = |authority: &str| {
        let host = authority
            .rsplit_once(':')
            .map_or(authority, |(host, _)| host);
        matches!(host, "localhost" | "127.0.0.1" | "[::1]")
    };
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let origin = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
        .map(|(_, a)| a);
    match origin == Some(host) && local(host) {
        true => Ok(()),
        false => Err(Refused::new(
            StatusCode::FORBIDDEN,
            "web pages may use the admin port only with a token (admin.token)",
        )),
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(of: &[(axum::http::HeaderName, &'static str)]) -> HeaderMap {
        of.iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect()
    }

    fn admitted(guard: &Guard, of: &[(axum::http::HeaderName, &'static str)]) -> bool {
        guard.admits(&headers(of)).is_ok()
    }

    #[test]
    fn only_the_whole_token_opens() {
        let guard = Guard::new(Some("secret"));
        assert!(admitted(&guard, &[(AUTHORIZATION, "Bearer secret")]));
        for wrong in [
            "Bearer secre",
            "Bearer secrets",
            "Bearer ",
            "Basic secret",
            "secret",
        ] {
            assert!(!admitted(&guard, &[(AUTHORIZATION, wrong)]), "{wrong}");
        }
        assert!(!admitted(&guard, &[]));
    }

    #[test]
    fn without_a_token_pages_of_other_sites_are_kept_out() {
        let guard = Guard::new(None);
        assert!(admitted(&guard, &[(HOST, "127.0.0.1:9644")]));
        assert!(admitted(
            &guard,
            &[(HOST, "localhost:9644"), (ORIGIN, "http://localhost:9644")]
        ));
        assert!(!admitted(
            &guard,
            &[(HOST, "localhost:9644"), (ORIGIN, "http://evil.example")]
        ));
        // A name that was pointed at this machine.
        assert!(!admitted(
            &guard,
            &[(HOST, "evil.example"), (ORIGIN, "http://evil.example")]
        ));
        assert!(!admitted(
            &guard,
            &[(HOST, "localhost:9644"), (ORIGIN, "null")]
        ));
    }
}
