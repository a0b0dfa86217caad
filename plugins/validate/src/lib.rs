//! `validate`: rejects values that do not fit a JSON Schema. See `README.md`.

mod number;
mod schema;

use serde::Deserialize;
use serde_json::Value;
use tidegate::{Batch, Columns, Config as _, Description, Filter, Record, Verdict, Verdicts};

use crate::schema::Schema;

#[derive(tidegate::Config)]
pub struct Config {
    /// The schema that values must fit, as JSON: a part of JSON Schema 2020-12 that the README lists.
    schema: String,
    /// What becomes of a record without a value (a tombstone): keep or reject.
    #[config(default = "keep")]
    on_null: OnNull,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum OnNull {
    Keep,
    Reject,
}

/// Rejects values that do not fit a schema.
pub struct Validate {
    schema: Schema,
    on_null: OnNull,
}

#[tidegate::filter]
impl Filter for Validate {
    type Config = Config;

    fn describe() -> Description {
        let description = Description::new("validate", env!("CARGO_PKG_VERSION"))
            .summary("Rejects values that do not fit a JSON Schema.")
            .columns(Columns::VALUE);
        Config::keys()
            .into_iter()
            .fold(description, Description::config)
    }

    fn configure(config: Config) -> Result<Self, String> {
        let schema: Value = serde_json::from_str(&config.schema)
            .map_err(|error| format!("`schema` is not JSON: {error}"))?;
        Ok(Self {
            schema: Schema::compile(&schema).map_err(|error| format!("`schema`{error}"))?,
            on_null: config.on_null,
        })
    }

    fn filter(&mut self, record: &Record<'_>) -> Verdict {
        match self.check(record.value()) {
            Ok(()) => Verdict::Keep,
            Err(reason) => Verdict::Reject(reason),
        }
    }

    fn filter_batch(&mut self, batch: &Batch, verdicts: &mut Verdicts) -> Result<(), String> {
        for record in batch.records() {
            if let Err(reason) = self.check(record.value()) {
                verdicts.reject(record.index(), reason);
            }
        }
        Ok(())
    }
}

impl Validate {
    fn check(&self, value: Option<&[u8]>) -> Result<(), String> {
        match (value, self.on_null) {
            (Some(value), _) => {
                let value: Value = serde_json::from_slice(value)
                    .map_err(|error| format!("the value is not JSON: {error}"))?;
                self.schema.check(&value).map_err(|error| error.to_string())
            }
            (None, OnNull::Keep) => Ok(()),
            (None, OnNull::Reject) => Err("there is no value".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate::testing::{self, null, value};

    use super::*;

    const ORDER: &str = r##"{
        "type": "object",
        "required": ["id", "lines"],
        "properties": {
            "id": {"type": "integer", "minimum": 1},
            "lines": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/line"}}
        },
        "$defs": {"line": {"required": ["sku"], "properties": {"sku": {"type": "string"}}}}
    }"##;

    fn reasons(config: &[(&str, &str)], values: &[&str]) -> Vec<Option<String>> {
        let records: Vec<_> = values.iter().map(value).collect();
        let verdicts = testing::filter::<Validate>(config, &records).unwrap();
        verdicts
            .into_iter()
            .map(|verdict| match verdict {
                Verdict::Keep => None,
                Verdict::Reject(reason) => Some(reason),
                Verdict::Drop => panic!("dropped"),
            })
            .collect()
    }

    #[test]
    fn the_reason_says_where() {
        let values = [
            r#"{"id": 7, "lines": [{"sku": "a"}]}"#,
            r#"{"id": 0, "lines": [{"sku": "a"}]}"#,
            r#"{"id": 7, "lines": [{"sku": "a"}, {"sku": 5}]}"#,
            r#"{"id": 7}"#,
            r#"{"id": 7"#,
        ];
        let reasons = reasons(&[("schema", ORDER)], &values);
        let reasons: Vec<_> = reasons.iter().map(Option::as_deref).collect();
        let expected = [
            None,
            Some("/id: 0 is below 1"),
            Some("/lines/1/sku: it is an integer, not a string"),
            Some("`lines` is missing"),
            Some("the value is not JSON: EOF while parsing an object at line 1 column 8"),
        ];
        assert_eq!(reasons, expected);
    }

    #[test]
    fn tombstones_meet_the_policy() {
        let with = |policy| {
            let config = [("schema", "false"), ("on.null", policy)];
            testing::filter::<Validate>(&config, &[null()]).unwrap()
        };
        assert_eq!(with("keep"), [Verdict::Keep]);
        assert_eq!(with("reject"), [Verdict::reject("there is no value")]);
    }

    #[test]
    fn bad_schemas_are_refused() {
        let refused = |schema| testing::filter::<Validate>(&[("schema", schema)], &[]).unwrap_err();
        assert_eq!(
            refused("{"),
            "`schema` is not JSON: EOF while parsing an object at line 1 column 1"
        );
        assert_eq!(
            refused(r#"{"properties": {"a": {"requried": ["b"]}}}"#),
            "`schema` at /properties/a: there is no keyword `requried` here; what is only a note \
             begins with `x-`"
        );
        assert_eq!(
            refused(r#"{"unevaluatedItems": false}"#),
            "`schema`: the keyword `unevaluatedItems` is not supported"
        );
    }
}
