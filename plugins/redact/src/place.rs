//! What of a record is hidden.

use serde::{Deserialize, Deserializer, de};
use tidegate::json::Pointer;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    Key,
    Value,
    /// Every header of this name.
    Header(String),
    /// A pointer, checked, in which `*` may stand.
    Json(String),
}

impl Place {
    fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "value" => Ok(Self::Value),
            None if text == "key" => Ok(Self::Key),
            Some(("header", "")) => Err("`header:` names no header".into()),
            Some(("header", name)) => Ok(Self::Header(name.into())),
            Some(("json", "")) => Err("`json:` is the whole value; write value".into()),
            Some(("json", pointer)) => {
                Pointer::parse(pointer)?;
                Ok(Self::Json(pointer.into()))
            }
            _ => Err(format!(
                "`{text}` is none of value, key, header:<name> and json:<pointer>"
            )),
        }
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
