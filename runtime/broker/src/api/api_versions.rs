//! ApiVersions (key 18), versions 0 to 4 (KIP-511): what this broker serves, from the dispatch table.
//!
//! A version above ours is answered by hand with a version 0 body and UNSUPPORTED_VERSION, so that the client can ask
//! again. From version 3 on it also says which features are switched on (KIP-584).

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::StrBytes;
use tidegate_protocol::error::ErrorCode;

use super::{KafkaApi, Refused, RequestContext};
use crate::broker::Broker;
use crate::dispatch;

pub(crate) struct ApiVersions;

/// Name and highest level of each feature; the lowest is 0, which means off. All are on at their highest.
const FEATURES: &[(&str, i16)] = &[
    // Groups whose coordinator assigns (KIP-848).
    ("group.version", 1),
    // Epochs that each transaction bumps, and partitions that a produce adds (KIP-890).
    ("transaction.version", 2),
    // Consumer groups that the broker assigns (KIP-848).
    ("group.version", 1),
];
/// First version that has features.
const HAS_FEATURES: i16 = 3;
/// First version whose clients read a feature that may be at level 0 (KAFKA-17492).
const LEVEL_ZERO: i16 = 4;
/// Features change with the program only, so there is one epoch of them.
const FEATURES_EPOCH: i64 = 0;

impl KafkaApi for ApiVersions {
    const KEY: i16 = 18;
    const SERVED: RangeInclusive<i16> = 0..=4;
    type Request = ApiVersionsRequest;

    async fn handle(
        _broker: &Arc<Broker>,
        context: &RequestContext,
        _request: ApiVersionsRequest,
    ) -> ApiVersionsResponse {
        with_features(response(), context.head.api_version)
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

fn with_features(response: ApiVersionsResponse, version: i16) -> ApiVersionsResponse {
    if version < HAS_FEATURES {
        return response;
    }
    let supported = FEATURES.iter().map(|(name, max)| {
        SupportedFeatureKey::default()
            .with_name(StrBytes::from_static_str(name))
            .with_min_version(0)
            .with_max_version(*max)
    });
    let finalized = FEATURES.iter().map(|(name, max)| {
        FinalizedFeatureKey::default()
            .with_name(StrBytes::from_static_str(name))
            .with_max_version_level(*max)
            .with_min_version_level(*max)
    });
    let supported = match version >= LEVEL_ZERO {
        true => supported.collect(),
        false => Vec::new(),
    };
    response
        .with_supported_features(supported)
        .with_finalized_features_epoch(FEATURES_EPOCH)
        .with_finalized_features(finalized.collect())
}
