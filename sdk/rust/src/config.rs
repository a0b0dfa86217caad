//! Reads a binding's configuration, pairs of strings, into a type of the plugin's own.
//!
//! Any struct that derives `Deserialize` will do: numbers, booleans, strings, `Option`s, enums
//! without data, comma-separated lists, and types that read themselves from a string. Errors are
//! sentences that name the key.
//!
//! ```
//! use serde::Deserialize;
//! use tidegate_sdk::config;
//!
//! #[derive(Deserialize)]
//! struct Config {
//!     limit: u32,
//!     regions: Vec<String>,
//! }
//!
//! let pairs = [("limit".to_string(), "5".to_string()), ("regions".into(), "eu, us".into())];
//! let config: Config = config::from_pairs(&pairs).unwrap();
//! assert_eq!(config.limit, 5);
//! assert_eq!(config.regions, ["eu", "us"]);
//!
//! let pairs = [("limit".to_string(), "many".to_string())];
//! let error = config::from_pairs::<Config>(&pairs).err().unwrap();
//! assert_eq!(error.to_string(), "config key `limit`: `many` is not a whole number from 0 to 4294967295");
//! ```

use std::{error, fmt, slice};

use serde::{
    de::{
        self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor, value::StrDeserializer,
    },
    forward_to_deserialize_any,
};

use crate::{Columns, ConfigKey};

/// A configuration that says which keys it has. Derived with [`Config`](derive@crate::Config).
pub trait Config: DeserializeOwned {
    fn keys() -> Vec<ConfigKey>;

    /// # Errors
    /// A sentence for whoever binds the plugin, if the keys do not suit each other.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// With this configuration no more than these of the described columns are read; `None` for
    /// all of them.
    fn columns(&self) -> Option<Columns> {
        None
    }
}

/// Of a plugin that has no configuration.
impl Config for () {
    fn keys() -> Vec<ConfigKey> {
        Vec::new()
    }
}

/// What is wrong with a configuration, as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for ConfigError {}

impl de::Error for ConfigError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self(format!("config key `{field}` is not set"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self(format!("`{variant}` is not one of {}", expected.join(", ")))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self(format!(
            "there is no config key `{field}`; there are {}",
            expected.join(", ")
        ))
    }
}

/// # Errors
/// A key is missing or its value is not of the type that `C` wants.
pub fn from_pairs<C: DeserializeOwned>(pairs: &[(String, String)]) -> Result<C, ConfigError> {
    C::deserialize(Pairs(pairs))
}

struct Pairs<'de>(&'de [(String, String)]);

impl<'de> de::Deserializer<'de> for Pairs<'de> {
    type Error = ConfigError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        visitor.visit_map(Entries {
            rest: self.0.iter(),
            current: None,
        })
    }

    /// The configuration of a plugin that has none.
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Entries<'de> {
    rest: slice::Iter<'de, (String, String)>,
    current: Option<&'de (String, String)>,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = ConfigError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ConfigError> {
        self.current = self.rest.next();
        match self.current {
            Some((key, _)) => seed.deserialize(key.as_str().into_deserializer()).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, ConfigError> {
        let Some((key, text)) = self.current else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        seed.deserialize(Text(text))
            .map_err(|error| ConfigError(format!("config key `{key}`: {error}")))
    }
}

/// One value. The type that is wanted decides how it is read.
struct Text<'de>(&'de str);

impl Text<'_> {
    fn integer<T: std::str::FromStr>(
        &self,
        lowest: impl fmt::Display,
        highest: impl fmt::Display,
    ) -> Result<T, ConfigError> {
        self.0.trim().parse().map_err(|_| {
            let text = self.0;
            ConfigError(format!(
                "`{text}` is not a whole number from {lowest} to {highest}"
            ))
        })
    }

    fn float(&self) -> Result<f64, ConfigError> {
        self.0
            .trim()
            .parse()
            .map_err(|_| ConfigError(format!("`{}` is not a number", self.0)))
    }

    fn boolean(&self) -> Result<bool, ConfigError> {
        match self.0.trim() {
            text if text.eq_ignore_ascii_case("true") => Ok(true),
            text if text.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(ConfigError(format!(
                "`{}` is neither `true` nor `false`",
                self.0
            ))),
        }
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
            visitor.$visit(self.integer(<$type>::MIN, <$type>::MAX)?)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Text<'de> {
    type Error = ConfigError;

    integers! {
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        visitor.visit_bool(self.boolean()?)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        visitor.visit_f64(self.float()?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        visitor.visit_f64(self.float()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        let variant: StrDeserializer<'_, ConfigError> = self.0.trim().into_deserializer();
        visitor.visit_enum(variant)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        let items = self
            .0
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty());
        visitor.visit_seq(Items(items))
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple tuple_struct map struct
        identifier ignored_any
    }
}

struct Items<I>(I);

impl<'de, I: Iterator<Item = &'de str>> de::SeqAccess<'de> for Items<I> {
    type Error = ConfigError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ConfigError> {
        self.0
            .next()
            .map(|item| seed.deserialize(Text(item)))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "kebab-case")]
    enum Mode {
        Fast,
        VerySlow,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Config {
        mode: Mode,
        count: Option<i8>,
        #[serde(default)]
        on: bool,
        ratio: Option<f64>,
    }

    fn read(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect();
        from_pairs(&pairs).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_every_kind() {
        let config = read(&[
            ("mode", "very-slow"),
            ("count", "-3"),
            ("on", "TRUE"),
            ("ratio", ".5"),
        ]);
        let expected = Config {
            mode: Mode::VerySlow,
            count: Some(-3),
            on: true,
            ratio: Some(0.5),
        };
        assert_eq!(config, Ok(expected));
    }

    #[test]
    fn refuses_with_a_sentence() {
        let refused = |pairs: &[(&str, &str)], sentence: &str| {
            assert_eq!(read(pairs), Err(sentence.to_string()));
        };
        refused(&[], "config key `mode` is not set");
        refused(
            &[("mode", "slow")],
            "config key `mode`: `slow` is not one of fast, very-slow",
        );
        refused(
            &[("mode", "fast"), ("count", "200")],
            "config key `count`: `200` is not a whole number from -128 to 127",
        );
        refused(
            &[("mode", "fast"), ("on", "yes")],
            "config key `on`: `yes` is neither `true` nor `false`",
        );
        refused(
            &[("mode", "fast"), ("ratio", "x")],
            "config key `ratio`: `x` is not a number",
        );
    }

    #[test]
    fn no_configuration_is_a_unit() {
        assert_eq!(from_pairs::<()>(&[]), Ok(()));
    }
}
