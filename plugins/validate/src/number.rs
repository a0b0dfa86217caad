//! JSON's numbers: whole ones of 64 bits exactly, all others as 64-bit floats.

use std::cmp::Ordering;

use serde_json::{Number, Value};

pub(crate) fn compare(one: &Number, two: &Number) -> Ordering {
    match (whole(one), whole(two)) {
        (Some(one), Some(two)) => one.cmp(&two),
        _ => float(one).total_cmp(&float(two)),
    }
}

/// As JSON Schema has it: 1 and 1.0 are the same number, and the order of members is nothing.
pub(crate) fn equal(one: &Value, two: &Value) -> bool {
    match (one, two) {
        (Value::Number(one), Value::Number(two)) => compare(one, two) == Ordering::Equal,
        (Value::Array(one), Value::Array(two)) => {
            one.len() == two.len() && one.iter().zip(two).all(|(one, two)| equal(one, two))
        }
        (Value::Object(one), Value::Object(two)) => {
            let same = |(name, one)| two.get(name).is_some_and(|two| equal(one, two));
            one.len() == two.len() && one.iter().all(same)
        }
        _ => one == two,
    }
}

/// A text that is the same for equal values, and for no others.
pub(crate) fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(&mut text, value);
    text
}

/// Members come in the order of their names: that is how `Map` keeps them.
fn write_canonical(text: &mut String, value: &Value) {
    match value {
        Value::Number(number) => match whole(number) {
            Some(whole) => text.push_str(&whole.to_string()),
            None => text.push_str(&number.to_string()),
        },
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write_canonical(text, item);
                text.push(',');
            }
            text.push(']');
        }
        Value::Object(members) => {
            text.push('{');
            for (name, value) in members {
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write_canonical(text, value);
                text.push(',');
            }
            text.push('}');
        }
        _ => text.push_str(&value.to_string()),
    }
}

pub(crate) fn is_whole(number: &Number) -> bool {
    whole(number).is_some() || float(number).fract() == 0.0
}

/// Divisors that are no whole numbers are decimals in the mind of whoever wrote them, so that 0.3 is
/// a multiple of 0.1 although its float is not.
pub(crate) fn is_multiple(number: &Number, of: &Number) -> bool {
    if let (Some(number), Some(of)) = (whole(number), whole(of)) {
        return number % of == 0;
    }
    let times = float(number) / float(of);
    (times - times.round()).abs() <= f64::EPSILON * times.abs().max(1.0)
}

/// As wide as both signed and unsigned numbers need.
fn whole(number: &Number) -> Option<i128> {
    let signed = number.as_i64().map(i128::from);
    let whole = signed.or_else(|| number.as_u64().map(i128::from));
    whole.or_else(|| {
        let float = number.as_f64()?;
        (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i128)
    })
}

fn float(number: &Number) -> f64 {
    // Without the feature for longer ones, every number is also a float.
    number.as_f64().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn number(value: Value) -> Number {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn large_numbers_stay_exact() {
        let (one, two) = (number(json!(u64::MAX)), number(json!(u64::MAX - 1)));
        assert_eq!(compare(&one, &two), Ordering::Greater);
        assert_eq!(compare(&number(json!(-1)), &two), Ordering::Less);
        assert_eq!(
            compare(&number(json!(0.5)), &number(json!(0))),
            Ordering::Greater
        );
    }

    #[test]
    fn multiples() {
        let multiple = |number_, of| is_multiple(&number(number_), &number(of));
        assert!(multiple(json!(0.3), json!(0.1)) && multiple(json!(4.5), json!(1.5)));
        assert!(!multiple(json!(0.35), json!(0.1)) && !multiple(json!(7), json!(2)));
        assert!(multiple(json!(0), json!(3)) && multiple(json!(6.0), json!(3)));
    }

    #[test]
    fn equality_is_that_of_json() {
        assert!(equal(
            &json!({"a": [1.0, "x"], "b": 2}),
            &json!({"b": 2, "a": [1, "x"]})
        ));
        assert!(!equal(&json!([1, 2]), &json!([2, 1])));
        assert!(!equal(&json!(false), &json!(0)));
    }

    #[test]
    fn canonical_texts_are_equal_where_values_are() {
        let values = [
            json!(1),
            json!(1.0),
            json!("1"),
            json!([1, 2]),
            json!([1.0, 2]),
            json!([12]),
            json!({"a": 1, "b": []}),
            json!({"b": [], "a": 1.0}),
            json!({"a": {"b": 1}}),
            json!(null),
            json!(1e300),
            json!(0.5),
        ];
        for one in &values {
            for two in &values {
                assert_eq!(
                    canonical(one) == canonical(two),
                    equal(one, two),
                    "{one} {two}"
                );
            }
        }
    }
}
