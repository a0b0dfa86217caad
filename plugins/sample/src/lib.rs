//! `sample`: keeps a stable share of the records. See `README.md`.

use serde::Deserialize;
use tidegate::{Columns, Record, field::Field};

/// A share is counted in these.
const MILLION: u32 = 1_000_000;

#[derive(tidegate::Config)]
#[config(check = Config::sound, columns = Config::reads)]
pub struct Config {
    /// How many of a million records are kept, roughly: 10000 is one in a hundred.
    ppm: u32,
    /// What decides, so that all records that have it in common are kept or dropped together: key,
    /// value, header:<name> or json:<pointer>.
    #[config(default = "key")]
    field: Field,
    /// What becomes of a record whose field is missing or null: drop, keep, or value (then the value
    /// decides).
    #[config(default = "drop")]
    missing: Missing,
    /// Two samples with the same salt choose the same records; with different ones they are
    /// independent.
    #[config(default = "")]
    salt: String,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Missing {
    Drop,
    Keep,
    Value,
}

impl Config {
    fn sound(&self) -> Result<(), String> {
        if self.ppm > MILLION {
            return Err(format!(
                "`ppm` is {}; at most all are kept, {MILLION}",
                self.ppm
            ));
        }
        Ok(())
    }

    fn reads(&self) -> Columns {
        let value = match self.missing {
            Missing::Value => Columns::VALUE,
            Missing::Drop | Missing::Keep => Columns::empty(),
        };
        self.field.columns() | value
    }
}

/// Keeps a stable share of the records.
#[tidegate::filter(columns(key, value, headers))]
pub fn sample(record: &Record<'_>, config: &Config) -> bool {
    if let Some(bytes) = config.field.get(record) {
        return is_chosen(&bytes, config);
    }
    match (config.missing, record.value()) {
        (Missing::Keep, _) => true,
        (Missing::Value, Some(value)) => is_chosen(value, config),
        (Missing::Drop, _) | (Missing::Value, None) => false,
    }
}

/// A larger share has all that a smaller one has.
#[inline]
fn is_chosen(bytes: &[u8], config: &Config) -> bool {
    let place = u128::from(hash(config.salt.as_bytes(), bytes)) * u128::from(MILLION);
    place >> 64 < u128::from(config.ppm)
}

/// FNV-1a of 64 bits, whose upper bits are too even on short texts, behind the finalizer of
/// MurmurHash3. What it gives must never change: samples are compared over years.
#[inline]
fn hash(salt: &[u8], bytes: &[u8]) -> u64 {
    // A byte that UTF-8 has not parts the salt from what is hashed.
    let all = salt.iter().chain([&0xff]).chain(bytes);
    let mut hash = all.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate::{
        Verdict,
        testing::{self, TestRecord, null, value},
    };

    use super::*;

    fn kept(config: &[(&str, &str)], records: &[TestRecord]) -> Vec<bool> {
        let verdicts = testing::filter::<sample>(config, records).unwrap();
        verdicts.iter().map(|v| *v == Verdict::Keep).collect()
    }

    fn keys(count: usize) -> Vec<TestRecord> {
        (0..count)
            .map(|i| null().key(format!("user-{i}")))
            .collect()
    }

    fn share(config: &[(&str, &str)], count: usize) -> usize {
        kept(config, &keys(count))
            .iter()
            .filter(|kept| **kept)
            .count()
    }

    #[test]
    fn is_as_large_as_it_should_be() {
        // Within four standard deviations of a binomial distribution.
        for (ppm, expected, spread) in [("10000", 1_000, 126), ("500000", 50_000, 633)] {
            let found = share(&[("ppm", ppm)], 100_000);
            assert!(found.abs_diff(expected) < spread, "{ppm}: {found}");
        }
        assert_eq!(share(&[("ppm", "0")], 1_000), 0);
        assert_eq!(share(&[("ppm", "1000000")], 1_000), 1_000);
        assert!(share(&[("ppm", "100")], 1_000_000).abs_diff(100) < 40);
    }

    #[test]
    fn salts_are_independent() {
        let one = kept(&[("ppm", "100000"), ("salt", "a")], &keys(100_000));
        let two = kept(&[("ppm", "100000"), ("salt", "b")], &keys(100_000));
        let both = one.iter().zip(&two).filter(|(a, b)| **a && **b).count();
        assert!(both.abs_diff(1_000) < 126, "{both}");
    }

    /// If this fails, every sample that is out there changed.
    #[test]
    fn the_hash_is_for_ever() {
        assert_eq!(hash(b"", b""), 0x1bbd_5c81_3c69_a8d7);
        assert_eq!(hash(b"", b"user-1"), 0xaea7_d55b_6dbd_44ff);
        assert_eq!(hash(b"salt", b"user-1"), 0x3f30_8be4_06a9_e565);
    }

    #[test]
    fn what_is_missing_meets_the_policy() {
        let records = [null(), value("a"), value("b"), null().key("")];
        let with = |missing| kept(&[("ppm", "1000000"), ("missing", missing)], &records);
        assert_eq!(with("drop"), [false, false, false, true]);
        assert_eq!(with("keep"), [true; 4]);
        assert_eq!(with("value"), [false, true, true, true]);
        let none = [("ppm", "0"), ("missing", "keep")];
        assert_eq!(kept(&none, &records), [true, true, true, false]);
    }

    #[test]
    fn bad_configurations_are_refused() {
        let refused = |config: &[(&str, &str)]| testing::filter::<sample>(config, &[]).unwrap_err();
        assert_eq!(refused(&[]), "config key `ppm` is not set");
        assert_eq!(
            refused(&[("ppm", "1000001")]),
            "`ppm` is 1000001; at most all are kept, 1000000"
        );
        assert_eq!(
            refused(&[("ppm", "1"), ("missing", "reject")]),
            "config key `missing`: `reject` is not one of drop, keep, value"
        );
    }

    proptest! {
        #[test]
        fn a_larger_share_has_the_smaller(key: Vec<u8>, small in 0u32..=MILLION, large in 0u32..=MILLION) {
            let (small, large) = (small.min(large).to_string(), small.max(large).to_string());
            let record = [null().key(key)];
            let small = kept(&[("ppm", &small)], &record)[0];
            prop_assert!(!small || kept(&[("ppm", &large)], &record)[0]);
        }
    }
}
