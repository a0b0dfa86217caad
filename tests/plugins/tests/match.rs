//! Every operation of `match` on every kind of field.

use tidegate_plugin::World;
use tidegate_tests_plugins::{Row, bind, null, plugin, run, value};

/// One record of each sort, in an order that the expectations below rely on.
fn rows() -> Vec<Row> {
    vec![
        value(r#"{"carrier": "UA", "delay": 12, "via": {"stops": ["ORD", "D/W"]}}"#)
            .key("EWR-1")
            .header("trace", "abc-123")
            .header("size", "10"),
        value(r#"{"delay": -3.5, "carrier": "\u0041A", "tail": null}"#)
            .key("JFK-2")
            .header("trace", "zzz")
            .header("trace", "abd"),
        value("EWR plain text 12").key("12"),
        value(b"\x00\xffbin\xfe")
            .key(b"\xff\x00")
            .header(b"\xffodd", "x")
            .null_header("trace"),
        value("").key(""),
        null(),
        null().key("EWR-tombstone"),
    ]
}

/// The indices of the rows that stay.
fn kept(config: &[(&str, &str)]) -> Vec<usize> {
    let result = run("match", config, &rows());
    assert!(result.rejected.is_empty() && result.routes.is_empty());
    result
        .keep
        .iter()
        .enumerate()
        .filter(|(_, keep)| **keep)
        .map(|(index, _)| index)
        .collect()
}

#[track_caller]
fn keeps(field: &str, op: &str, operand: &str, expected: &[usize]) {
    let config = [("field", field), ("op", op), ("value", operand)];
    assert_eq!(kept(&config), expected, "{field} {op} {operand}");

    let others: Vec<usize> = (0..rows().len())
        .filter(|row| !expected.contains(row))
        .collect();
    let negated = [
        ("field", field),
        ("op", op),
        ("value", operand),
        ("negate", "true"),
    ];
    assert_eq!(kept(&negated), others, "not: {field} {op} {operand}");
}

#[test]
fn value_field() {
    keeps("value", "contains", "12", &[0, 2]);
    keeps("value", "contains", "\0", &[3]);
    keeps("value", "equals", "EWR plain text 12", &[2]);
    keeps("value", "equals", "", &[4]);
    keeps("value", "prefix", "EWR", &[2]);
    keeps("value", "regex", r"^\w+ plain\b", &[2]);
    keeps("value", "regex", r"(?-u)\xff", &[3]);
    keeps("value", "regex", "^$", &[4]);
    keeps("value", "exists", "", &[0, 1, 2, 3, 4]);
    keeps("value", "gt", "0", &[]);
    keeps("value", "lt", "0", &[]);
}

#[test]
fn key_field() {
    keeps("key", "contains", "WR-", &[0, 6]);
    keeps("key", "equals", "EWR-1", &[0]);
    keeps("key", "equals", "", &[4]);
    keeps("key", "prefix", "EWR", &[0, 6]);
    keeps("key", "regex", r"-\d$", &[0, 1]);
    keeps("key", "exists", "", &[0, 1, 2, 3, 4, 6]);
    keeps("key", "gt", "11.9", &[2]);
    keeps("key", "lt", "12.1", &[2]);
    keeps("key", "lt", "12", &[]);
}

/// The last header of a name counts, and a null one is as good as none.
#[test]
fn header_field() {
    keeps("header:trace", "contains", "ab", &[0, 1]);
    keeps("header:trace", "contains", "zz", &[]);
    keeps("header:trace", "equals", "abd", &[1]);
    keeps("header:trace", "prefix", "abc", &[0]);
    keeps("header:trace", "regex", r"^abc-\d{3}$", &[0]);
    keeps("header:trace", "exists", "", &[0, 1]);
    keeps("header:size", "gt", "9", &[0]);
    keeps("header:size", "lt", "9", &[]);
    keeps("header:none", "exists", "", &[]);
}

#[test]
fn json_field() {
    keeps("json:/carrier", "contains", "A", &[0, 1]);
    keeps("json:/carrier", "equals", "AA", &[1]);
    keeps("json:/carrier", "prefix", "U", &[0]);
    keeps("json:/carrier", "regex", "(?i)^[au]a$", &[0, 1]);
    keeps("json:/via/stops/1", "equals", "D/W", &[0]);
    keeps("json:/via/stops", "contains", r#""ORD""#, &[0]);
    keeps("json:/tail", "exists", "", &[]);
    keeps("json:/via", "exists", "", &[0]);
    keeps("json:/delay", "gt", "-4", &[0, 1]);
    keeps("json:/delay", "gt", "11.999", &[0]);
    keeps("json:/delay", "lt", "0", &[1]);
    keeps("json:/delay", "equals", "12", &[0]);
}

#[test]
fn defaults_are_contains_in_the_value() {
    assert_eq!(kept(&[("value", "plain")]), [2]);
}

#[test]
fn large_batches_are_matched_throughout() {
    let rows: Vec<Row> = (0..25_000).map(|i| value(format!("row {i}"))).collect();
    let result = run("match", &[("value", "9")], &rows);
    for (index, keep) in result.keep.iter().enumerate() {
        assert_eq!(*keep, index.to_string().contains('9'), "row {index}");
    }
}

#[test]
fn bad_configurations_are_refused_with_a_sentence() {
    let refused = |config: &[(&str, &str)], words: &str| {
        let sentence = bind("match", config).expect_err("a refusal");
        assert!(sentence.contains(words), "{sentence}");
    };
    refused(&[], "`op = contains` needs a `value`");
    refused(
        &[("value", "")],
        "`op = contains` with an empty `value` would match everything",
    );
    refused(
        &[("value", "x"), ("op", "like")],
        "`like` is not one of contains, equals, prefix",
    );
    refused(
        &[("value", "x"), ("op", "gt")],
        "`op = gt` needs a number as its `value`",
    );
    refused(
        &[("value", "x"), ("field", "body")],
        "`body` is none of value, key, header:<name>",
    );
    refused(
        &[("value", "x"), ("field", "json:a")],
        "does not begin with `/`",
    );
    refused(&[("value", "x"), ("negate", "perhaps")], "negate");
    refused(&[("value", "x"), ("feild", "key")], "feild");
    refused(
        &[("value", "a(b"), ("op", "regex")],
        "regular expression: unclosed group",
    );
    refused(
        &[("value", r"\w{999}{999}"), ("op", "regex")],
        "more than 1048576 bytes",
    );
}

#[test]
fn describes_itself() {
    let plugin = plugin("match");
    let description = plugin.description();
    assert_eq!(plugin.world(), World::Filter);
    assert_eq!(description.name, "match");
    assert!(description.summary.ends_with('.'));
    let keys: Vec<_> = description
        .config
        .iter()
        .map(|key| (key.name.as_str(), key.default.as_deref()))
        .collect();
    let expected = [
        ("field", Some("value")),
        ("op", Some("contains")),
        ("value", None),
        ("negate", Some("false")),
    ];
    assert_eq!(keys, expected);
    assert!(description.config.iter().all(|key| key.doc.ends_with('.')));
}
