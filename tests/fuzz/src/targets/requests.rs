//! The body of a request: a byte for the API, one for the version, then the body.
//!
//! It is refused, or decodes within its budget to what encodes to the same request again.

use bytes::Bytes;
use tidegate_protocol::versions;

use crate::apis;
use crate::corpus::Seed;
use crate::input::Fixed;
use crate::sample;

pub(super) fn run(data: &[u8]) {
    if let [api_key, version, body @ ..] = data {
        apis::check(
            i16::from(*api_key),
            i16::from(*version),
            Bytes::copy_from_slice(body),
        );
    }
}

pub(super) fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (key, lowest, highest) in versions::all() {
        for version in lowest..=highest {
            let mut bytes = vec![key as u8, version as u8];
            bytes.extend(sample::body(key, version, &mut Fixed(7)));
            seeds.push(Seed::made(format!("{key}-v{version}"), bytes));
        }
    }
    seeds
}
