//! The types of JSON Schema.

use std::fmt;

use serde_json::Value;

use crate::number;

/// Their names with an article, in the order of their bits.
const NAMES: [(&str, &str); 7] = [
    ("null", "null"),
    ("boolean", "a boolean"),
    ("object", "an object"),
    ("array", "an array"),
    ("integer", "an integer"),
    ("number", "a number"),
    ("string", "a string"),
];

const INTEGER: u8 = 1 << 4;
const NUMBER: u8 = 1 << 5;

/// A set of types.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Kinds(u8);

impl Kinds {
    pub(super) const NONE: Self = Self(0);

    pub(super) fn parse(name: &str) -> Option<Self> {
        let at = NAMES.iter().position(|(known, _)| *known == name)?;
        Some(Self(1 << at))
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// A whole number is both an integer and a number.
    pub(super) fn has(self, value: &Value) -> bool {
        self.0 & Self::bits(value) != 0
    }

    fn bits(value: &Value) -> u8 {
        match value {
            Value::Null => 1,
            Value::Bool(_) => 1 << 1,
            Value::Object(_) => 1 << 2,
            Value::Array(_) => 1 << 3,
            Value::Number(number) if number::is_whole(number) => INTEGER | NUMBER,
            Value::Number(_) => NUMBER,
            Value::String(_) => 1 << 6,
        }
    }

    /// What a value is called.
    pub(super) fn of(value: &Value) -> &'static str {
        let at = Self::bits(value).trailing_zeros() as usize;
        NAMES.get(at).map_or("nothing", |(_, name)| name)
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = NAMES.iter().enumerate();
        let mut names = names.filter(|(at, _)| self.0 & (1 << at) != 0);
        if let Some((_, (_, name))) = names.next() {
            f.write_str(name)?;
        }
        for (_, (_, name)) in names {
            write!(f, " or {name}")?;
        }
        Ok(())
    }
}
