//! Numbers as they stand in records: text.

use std::{cmp::Ordering, str};

/// A number read from text. Whole numbers of 64 bits stay exact; everything else is an `f64`.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    Integer(i64),
    Float(f64),
}

impl Number {
    /// `None` if the text, but for space around it, is not a decimal number. `inf` and `nan` are
    /// not.
    ///
    /// ```
    /// use tidegate_sdk::Number;
    ///
    /// assert!(Number::parse(b"10").unwrap() > Number::parse(b" 9.5 ").unwrap());
    /// assert!(Number::parse(b"nan").is_none());
    /// ```
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        if let Some(integer) = small_integer(text) {
            return Some(Self::Integer(integer));
        }
        if !text.iter().any(u8::is_ascii_digit) {
            return None;
        }
        let text = str::from_utf8(text).ok()?;
        match text.parse() {
            Ok(integer) => Some(Self::Integer(integer)),
            Err(_) => text.parse().ok().map(Self::Float),
        }
    }

    fn as_f64(self) -> f64 {
        match self {
            Self::Integer(integer) => integer as f64,
            Self::Float(float) => float,
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (*self, *other) {
            (Self::Integer(one), Self::Integer(two)) => Some(one.cmp(&two)),
            (one, two) => one.as_f64().partial_cmp(&two.as_f64()),
        }
    }
}

/// The common case, without the checks for overflow: at most 18 digits.
fn small_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut integer = 0i64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        integer = integer * 10 + i64::from(digit - b'0');
    }
    Some(if negative { -integer } else { integer })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn large_integers_stay_exact() {
        assert!(number("9007199254740993") > number("9007199254740992"));
        assert!(number("9223372036854775807") > number("9223372036854775806"));
        assert!(number("-9223372036854775808") < number("0"));
        assert!(number("18446744073709551615") > number("9223372036854775807"));
    }

    #[test]
    fn only_numbers_are_numbers() {
        for text in [
            "",
            " ",
            "-",
            "abc",
            "nan",
            "NaN",
            "inf",
            "-infinity",
            "0x1f",
            "1 2",
            "1,5",
        ] {
            assert!(Number::parse(text.as_bytes()).is_none(), "{text}");
        }
        assert!(Number::parse(b"\xff1").is_none());
        assert_eq!(number("1e3"), number("1000"));
        assert_eq!(number("\t-1.50\n"), number("-1.5"));
    }

    proptest! {
        #[test]
        fn orders_as_integers_do(one: i64, two: i64) {
            let (a, b) = (number(&one.to_string()), number(&two.to_string()));
            prop_assert_eq!(a.partial_cmp(&b), Some(one.cmp(&two)));
        }

        #[test]
        fn orders_as_floats_do(one in -1e300f64..1e300, two in -1e300f64..1e300) {
            let (a, b) = (number(&format!("{one:e}")), number(&format!("{two:e}")));
            prop_assert_eq!(a.partial_cmp(&b), one.partial_cmp(&two));
        }

        #[test]
        fn never_panics(text: Vec<u8>) {
            let _ = Number::parse(&text);
        }
    }
}
