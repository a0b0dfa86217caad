//! Picks one value out of a record, as a configuration says: `value`, `key`, `header:<name>` or
//! `json:<pointer>`.
//!
//! ```
//! use tidegate_sdk::{field::Field, testing};
//!
//! let field: Field = "json:/carrier".parse().unwrap();
//! let batch = testing::batch(&[testing::value(r#"{"carrier": "UA"}"#), testing::value("{}")]);
//! assert_eq!(field.get(&batch.record(0)).as_deref(), Some(&b"UA"[..]));
//! assert_eq!(field.get(&batch.record(1)), None);
//! ```

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de};

use crate::{Columns, Record, json::Pointer};

/// Where in a record to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    Value,
    Key,
    /// The last header of this name.
    Header(String),
    /// A place in the value, read as JSON.
    Json(Pointer),
}

impl Field {
    /// The columns that any field may need. A description is given before the configuration is
    /// known, so a plugin that is told its field describes all of them, and narrows them down with
    /// [`columns`](Self::columns).
    pub const COLUMNS: Columns = Columns::KEY.union(Columns::VALUE).union(Columns::HEADERS);

    /// The column it is in, to give to `columns` of a plugin that looks at nothing else.
    pub fn columns(&self) -> Columns {
        match self {
            Self::Value | Self::Json(_) => Columns::VALUE,
            Self::Key => Columns::KEY,
            Self::Header(_) => Columns::HEADERS,
        }
    }

    /// The field's bytes: of a JSON string its contents, of other JSON how it is written. `None`
    /// if the field is not there or null, JSON's null included.
    #[inline]
    pub fn get<'a>(&self, record: &Record<'a>) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Value => record.value().map(Cow::Borrowed),
            Self::Key => record.key().map(Cow::Borrowed),
            Self::Header(name) => record.header(name).map(Cow::Borrowed),
            Self::Json(pointer) => {
                let found = pointer.find(record.value()?)?;
                if found.is_null() { None } else { found.text() }
            }
        }
    }
}

/// Why a text is not a field, as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError(String);

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FieldError {}

impl FromStr for Field {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        match text.split_once(':') {
            None if text == "value" => Ok(Self::Value),
            None if text == "key" => Ok(Self::Key),
            Some(("header", "")) => Err(FieldError("`header:` names no header".into())),
            Some(("header", name)) => Ok(Self::Header(name.into())),
            Some(("json", pointer)) => Pointer::parse(pointer).map(Self::Json).map_err(FieldError),
            _ => Err(FieldError(format!(
                "`{text}` is none of value, key, header:<name> and json:<pointer>"
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, null, value};

    fn get(field: &str, record: testing::TestRecord) -> Option<Vec<u8>> {
        let field: Field = field.parse().unwrap();
        field
            .get(&testing::batch(&[record]).record(0))
            .map(Cow::into_owned)
    }

    #[test]
    fn reads_each_kind() {
        let record = || {
            value(r#"{"a": "x\ty", "n": 1.50, "z": null}"#)
                .key("k")
                .header("h", "1")
        };
        assert_eq!(get("key", record()), Some(b"k".to_vec()));
        assert_eq!(
            get("header:h", record().header("h", "2")),
            Some(b"2".to_vec())
        );
        assert_eq!(get("header:h", record().null_header("h")), None);
        assert_eq!(get("header:x", record()), None);
        assert_eq!(get("json:/a", record()), Some(b"x\ty".to_vec()));
        assert_eq!(get("json:/n", record()), Some(b"1.50".to_vec()));
        assert_eq!(get("json:/z", record()), None);
        assert_eq!(get("value", null()), None);
        assert_eq!(get("json:", null()), None);
    }

    #[test]
    fn refuses_with_a_sentence() {
        let error = |text: &str| text.parse::<Field>().unwrap_err().to_string();
        assert_eq!(
            error("values"),
            "`values` is none of value, key, header:<name> and json:<pointer>"
        );
        assert_eq!(error("header:"), "`header:` names no header");
        assert_eq!(
            error("json:a"),
            "the JSON pointer `a` does not begin with `/`"
        );
    }
}
