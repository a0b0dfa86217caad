//! The APIs and versions this crate has a schema for, and so can decode safely.
//!
//! A broker serves a subset and may advertise more (Produce 0 to 2 are advertised for old
//! librdkafka, which tests exact versions, but never decoded).

use crate::schema::{self, Schema};

/// Lowest and highest version of `api_key` that [`crate::decode`] takes.
pub fn supported(api_key: i16) -> Option<(i16, i16)> {
    schema::find(api_key).map(|schema| (schema.min, schema.max))
}

/// Every API: key, lowest and highest version, ordered by key.
pub fn all() -> Vec<(i16, i16, i16)> {
    let mut rows: Vec<_> = schema::all()
        .map(|s: &Schema| (s.api_key, s.min, s.max))
        .collect();
    rows.sort_unstable();
    rows
}

/// Whether this version uses compact lengths and tagged fields (KIP-482).
pub fn is_flexible(api_key: i16, version: i16) -> bool {
    schema::find(api_key).is_some_and(|schema| version >= schema.flexible_from)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::ApiKey;

    use super::*;

    #[test]
    fn stays_within_the_decoder_and_agrees_on_flexible_versions() {
        for (key, min, max) in all() {
            let api = ApiKey::try_from(key).unwrap();
            let valid = api.valid_versions();
            assert!(valid.min <= min && max <= valid.max, "{api:?}");
            for version in min..=max {
                let flexible = api.request_header_version(version) == 2;
                assert_eq!(is_flexible(key, version), flexible, "{api:?} v{version}");
            }
        }
    }

    #[test]
    fn leaves_out_versions_that_are_unstable_in_kafka_4_1() {
        assert_eq!(supported(8), Some((2, 9)));
        assert_eq!(supported(9), Some((1, 9)));
        assert_eq!(supported(22), Some((0, 5)));
        assert_eq!(supported(71), None);
    }
}
