//! Bytes that mean harm: lying lengths at every position, and honest ones that balloon.

use bytes::Bytes;

use super::allocator::peak_bytes;
use super::sample::{Draw, balloon, body};
use super::{DecodeBudget, DecodeError, every_version};

/// Any request decoded here is a few hundred bytes; what an error message and the structures of a
/// valid prefix may take is far below this, and far below any lie told.
const SMALL: usize = 128 * 1024;

/// A fixed sequence that makes most arrays and optional fields present.
struct Full(u32);

impl Draw for Full {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // The high end: present, non-null, several elements.
        bound - 1 - (self.0 >> 24) % bound.min(2)
    }
}

/// Lengths no frame can hold, in every form a length takes on the wire.
const LIES: &[&[u8]] = &[
    &[0x7f, 0xff, 0xff, 0xff],
    &[0x80, 0, 0, 0],
    &[0xff, 0xff, 0xff, 0xff],
    &[0x7f, 0xff],
    &[0x80, 0],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0x07],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x00, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0x7f],
];

#[test]
fn a_lie_at_any_position_allocates_next_to_nothing() {
    for (key, version, _, discard) in every_version() {
        let honest = body(key, version, &mut Full(7));
        for at in 0..honest.len() {
            for lie in LIES {
                let mut bytes = honest.clone();
                bytes.truncate(at + lie.len());
                bytes.resize(at + lie.len(), 0);
                bytes[at..].copy_from_slice(lie);
                bytes.extend_from_slice(honest.get(at + lie.len()..).unwrap_or_default());
                let bytes = Bytes::from(bytes);
                let (_, peak) =
                    peak_bytes(|| discard(key, version, bytes, DecodeBudget::default()));
                assert!(
                    peak < SMALL,
                    "API {key} v{version} at {at} {lie:?}: {peak} bytes"
                );
            }
        }
    }
}

#[test]
fn every_prefix_of_a_body_is_refused() {
    for (key, version, _, discard) in every_version() {
        let honest = Bytes::from(body(key, version, &mut Full(11)));
        assert_eq!(
            discard(key, version, honest.clone(), DecodeBudget::default()),
            Ok(())
        );
        for len in 0..honest.len() {
            let result = discard(key, version, honest.slice(..len), DecodeBudget::default());
            assert!(
                result.is_err(),
                "API {key} v{version}: {len} of {}",
                honest.len()
            );
        }
    }
}

/// What a message takes beside the one long list in it, bytes.
const SMALL_PARTS: usize = 16 << 10;

#[test]
fn honest_balloons_are_refused_before_they_grow() {
    for mib in [1, 4, 16] {
        for (key, version, _, discard) in every_version() {
            for made in balloon(key, version, mib << 20) {
                let frame = made.body.len();
                let budget = DecodeBudget::for_request(key, frame);
                let bytes = Bytes::from(made.body);
                let (result, peak) = peak_bytes(|| discard(key, version, bytes, budget));
                let told = format!("API {key} v{version} {} x {}", made.field, made.count);
                // What is as large decoded as on the wire, as numbers are, is no balloon.
                assert!(
                    matches!(result, Ok(()) | Err(DecodeError::OverBudget { .. })),
                    "{told}: {result:?}"
                );
                let bound = frame + SMALL_PARTS;
                assert!(peak <= bound, "{told}: {peak} bytes for a frame of {frame}");
            }
        }
    }
}

/// What just fits the budget decodes, and takes no more than the budget said: the estimate is real.
#[test]
fn an_accepted_request_stays_within_its_budget() {
    let budget = DecodeBudget {
        max_decoded_bytes: 256 * 1024,
    };
    let mut accepted = 0;
    for (key, version, _, discard) in every_version() {
        for bytes in [512, 2 << 10, 8 << 10, 32 << 10, 128 << 10] {
            for made in balloon(key, version, bytes) {
                let body = Bytes::from(made.body);
                let (result, peak) = peak_bytes(|| discard(key, version, body, budget));
                accepted += usize::from(result.is_ok());
                // Bytes::from(Vec) makes its shared header on the first slice.
                let limit = budget.max_decoded_bytes + 1024;
                assert!(peak <= limit, "API {key} v{version} {}: {peak}", made.field);
            }
        }
    }
    assert!(
        accepted > 100,
        "only {accepted} were small enough to be measured"
    );
}
