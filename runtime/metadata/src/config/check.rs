//! What a config's value must look like.

use std::net::IpAddr;

use super::ConfigType;
use crate::binding::parse_chain;
use crate::topic_name::validate_topic_name;

/// A condition beyond the type.
#[derive(Clone, Copy, Debug)]
pub enum Check {
    Any,
    AtLeast(i64),
    Between(i64, i64),
    /// A number from 0 to 1.
    Fraction,
    OneOf(&'static [&'static str]),
    /// Each element of a list, which may be empty.
    AnyOf(&'static [&'static str]),
    /// Each element of a list, which has some.
    EachOf(&'static [&'static str]),
    /// A plugin chain.
    Chain,
    /// A topic's name, or nothing.
    TopicName,
    /// `address:number`, comma-separated.
    Overrides,
    /// What is not there, so it can only be off.
    Off,
}

impl Check {
    /// The error is a sentence that tells what would be right.
    pub fn validate(self, kind: ConfigType, value: &str) -> Result<(), String> {
        let value = value.trim();
        match kind {
            ConfigType::Boolean => match (boolean(value)?, self) {
                (true, Check::Off) => Err(
                    "there is no tiered storage here, so the value can only be false".to_owned(),
                ),
                _ => Ok(()),
            },
            ConfigType::Int => i64::from(number::<i32>(value, "a whole number")?).check(self),
            ConfigType::Long => number::<i64>(value, "a whole number")?.check(self),
            ConfigType::Double => fraction(value, self),
            ConfigType::List | ConfigType::String | ConfigType::Password => self.text(value),
        }
    }

    fn text(self, value: &str) -> Result<(), String> {
        match self {
            Check::OneOf(allowed) => one_of(value, allowed),
            Check::AnyOf(_) if value.trim().is_empty() => Ok(()),
            Check::AnyOf(allowed) | Check::EachOf(allowed) => value
                .split(',')
                .try_for_each(|element| one_of(element.trim(), allowed)),
            Check::Chain => parse_chain(value).map(|_| ()),
            Check::TopicName if value.is_empty() => Ok(()),
            Check::TopicName => validate_topic_name(value)
                .map_err(|why| format!("`{}` is not a topic's name: {why}", shorten(value))),
            Check::Overrides => overrides(value).map(drop),
            Check::Any | Check::AtLeast(_) | Check::Between(..) | Check::Fraction | Check::Off => {
                Ok(())
            }
        }
    }
}

/// The entries of `max.connections.per.ip.overrides`. The error is a sentence.
pub fn overrides(value: &str) -> Result<Vec<(IpAddr, usize)>, String> {
    let entry = |text: &str| {
        let expected = || {
            format!(
                "expected address:number, comma-separated, not `{}`",
                shorten(text)
            )
        };
        let (address, number) = text.rsplit_once(':').ok_or_else(expected)?;
        let address = address.trim().parse().map_err(|_| expected())?;
        let number = number.trim().parse().map_err(|_| expected())?;
        Ok((address, number))
    };
    value
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(entry)
        .collect()
}

/// Kafka takes `true` and `false` in any case and nothing else.
pub(super) fn boolean(value: &str) -> Result<bool, String> {
    if value.eq_ignore_ascii_case("true") {
        Ok(true)
    } else if value.eq_ignore_ascii_case("false") {
        Ok(false)
    } else {
        Err(format!(
            "the value must be true or false, not `{}`",
            shorten(value)
        ))
    }
}

trait Bounded {
    fn check(self, check: Check) -> Result<(), String>;
}

impl Bounded for i64 {
    fn check(self, check: Check) -> Result<(), String> {
        match check {
            Check::AtLeast(min) if self < min => {
                Err(format!("the value must be at least {min}, not {self}"))
            }
            Check::Between(min, max) if !(min..=max).contains(&self) => Err(format!(
                "the value must be between {min} and {max}, not {self}"
            )),
            _ => Ok(()),
        }
    }
}

fn number<T: std::str::FromStr>(value: &str, what: &str) -> Result<T, String> {
    value.parse().map_err(|_| {
        format!(
            "the value must be {what} in range, not `{}`",
            shorten(value)
        )
    })
}

fn fraction(value: &str, check: Check) -> Result<(), String> {
    let number: f64 = number(value, "a number")?;
    match check {
        Check::Fraction if !(0.0..=1.0).contains(&number) => {
            Err(format!("the value must be between 0 and 1, not {number}"))
        }
        _ if !number.is_finite() => Err("the value must be a finite number".to_owned()),
        _ => Ok(()),
    }
}

fn one_of(value: &str, allowed: &[&str]) -> Result<(), String> {
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(format!(
        "the value must be one of {}, not `{}`",
        allowed.join(", "),
        shorten(value)
    ))
}

/// A value as an error message may repeat it: a client's megabyte does not go into a log line.
fn shorten(value: &str) -> String {
    const KEEP: usize = 64;
    match value.char_indices().nth(KEEP) {
        Some((end, _)) => format!("{}...", value.get(..end).unwrap_or_default()),
        None => value.to_owned(),
    }
}
