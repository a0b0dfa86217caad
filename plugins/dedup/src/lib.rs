//! `dedup`: drops what was seen before, within a window. See `README.md`.

mod window;

use serde::Deserialize;
use tidegate::{Columns, Record, field::Field};

use crate::window::{Bounds, Window};

/// More would not fit an instance's memory, whatever its limit.
const MAX_BYTES: usize = 1 << 30;

#[derive(tidegate::Config)]
#[config(check = Config::sound, columns = Config::reads)]
pub struct Config {
    /// What makes a record a duplicate of another: key, value, header:<name> or json:<pointer>.
    #[config(default = "key")]
    field: Field,
    /// How many different fields are remembered, the last.
    #[config(default = 100_000)]
    window_records: usize,
    /// How many bytes of memory that may take, roughly; at most half of the binding's memory limit.
    #[config(default = 16_777_216)]
    window_bytes: usize,
    /// How long they are remembered, in milliseconds by the broker's clock; no limit if it is not set.
    window_ms: Option<i64>,
    /// What becomes of a record whose field is missing or null: keep or drop.
    #[config(default = "keep")]
    missing: Missing,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Missing {
    Keep,
    Drop,
}

impl Config {
    fn sound(&self) -> Result<(), String> {
        if self.window_records == 0 {
            return Err("`window.records` must be above 0".into());
        }
        if !(1024..=MAX_BYTES).contains(&self.window_bytes) {
            return Err(format!(
                "`window.bytes` is {}; it may be 1024 to {MAX_BYTES}",
                self.window_bytes
            ));
        }
        if self.window_ms.is_some_and(|ms| ms <= 0) {
            return Err("`window.ms` must be above 0".into());
        }
        Ok(())
    }

    fn reads(&self) -> Columns {
        self.field.columns()
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            records: self.window_records,
            bytes: self.window_bytes,
            ms: self.window_ms,
        }
    }
}

/// Drops records whose key or field was seen before, within a window.
#[tidegate::filter(columns(key, value, headers), state = partition)]
pub fn dedup(record: &Record<'_>, config: &Config, window: &mut Window) -> bool {
    match config.field.get(record) {
        Some(field) => {
            let now_ms = record.batch().append_time_ms();
            window.is_new(&field, now_ms, &config.bounds())
        }
        None => config.missing == Missing::Keep,
    }
}

#[cfg(test)]
mod tests {
    use tidegate::{
        Verdict,
        testing::{self, TestRecord, null, value},
    };

    use super::*;

    fn kept(config: &[(&str, &str)], records: &[TestRecord]) -> Vec<bool> {
        let verdicts = testing::filter::<dedup>(config, records).unwrap();
        verdicts.iter().map(|v| *v == Verdict::Keep).collect()
    }

    #[test]
    fn the_first_of_a_key_stays() {
        let records = ["a", "b", "a", "a", "c", "b"].map(|key| null().key(key));
        assert_eq!(kept(&[], &records), [true, true, false, false, true, false]);
    }

    #[test]
    fn any_field_will_do() {
        let ids = [r#"{"id": "x"}"#, r#"{"a": 1, "id": "\u0078"}"#, "{}", "{}"].map(value);
        let config = [("field", "json:/id")];
        assert_eq!(kept(&config, &ids), [true, false, true, true]);
        let config = [("field", "json:/id"), ("missing", "drop")];
        assert_eq!(kept(&config, &ids), [true, false, false, false]);
        let headers = [null().header("id", ""), null().header("id", ""), null()];
        assert_eq!(
            kept(&[("field", "header:id")], &headers),
            [true, false, true]
        );
    }

    #[test]
    fn the_window_forgets() {
        let records = ["a", "b", "a", "c", "a"].map(|key| null().key(key));
        let config = [("window.records", "2")];
        assert_eq!(kept(&config, &records), [true, true, false, true, true]);
    }

    #[test]
    fn bad_configurations_are_refused() {
        let refused = |key, value| testing::filter::<dedup>(&[(key, value)], &[]).unwrap_err();
        assert_eq!(
            refused("window.records", "0"),
            "`window.records` must be above 0"
        );
        assert_eq!(
            refused("window.bytes", "1023"),
            "`window.bytes` is 1023; it may be 1024 to 1073741824"
        );
        assert_eq!(refused("window.ms", "0"), "`window.ms` must be above 0");
    }
}
