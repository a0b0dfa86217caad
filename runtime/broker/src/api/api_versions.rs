//! ApiVersions (key 18), versions 0 to 4 (KIP-511): what this broker serves, from the dispatch table.
//!
//! A version above ours is answered by hand with a version 0 body and UNSUPPORTED_VERSION, so that the client can ask
//! again. No finalized features: `transaction.version` comes with transactions.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use tidegate_protocol::error::ErrorCode;

use super::{KafkaApi, Refused, RequestContext};
use crate::broker::Broker;
use crate::dispatch;

pub(crate) struct ApiVersions;

impl KafkaApi for ApiVersions {
    const KEY: i16 = 18;
    const SERVED: RangeInclusive<i16> = 0..=4;
    type Request = ApiVersionsRequest;

    async fn handle(
        _broker: &Arc<Broker>,
        _context: &RequestContext,
        _request: ApiVersionsRequest,
    ) -> ApiVersionsResponse {
        response()
    }
}

/// The answer to a version of this API that we do not have.
pub(crate) fn too_new(correlation_id: i32) -> Result<Bytes, Refused> {
    let response = response().with_error_code(ErrorCode::UnsupportedVersion.code());
    Ok(tidegate_protocol::encode_response(
        ApiVersions::KEY,
        0,
        correlation_id,
        &response,
    )?)
}

fn response() -> ApiVersionsResponse {
    let api_keys = dispatch::advertised()
        .into_iter()
        .map(|(key, min, max)| {
            ApiVersion::default()
                .with_api_key(key)
                .with_min_version(min)
                .with_max_version(max)
        })
        .collect();
    ApiVersionsResponse::default().with_api_keys(api_keys)
}
