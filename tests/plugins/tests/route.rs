//! The table of `route`, its default and its modes, on every kind of field.

use tidegate_plugin::World;
use tidegate_tests_plugins::{Row, bind, null, plugin, routed, run, value};

const TABLE: (&str, &str) = ("table", "eu=orders-eu;us=orders-us;7=seven;uk=orders-eu");

fn rows() -> Vec<Row> {
    vec![
        value(r#"{"region": "eu", "n": 7}"#)
            .key("eu")
            .header("r", "us"),
        value(r#"{"region": "\u0075s"}"#)
            .key("us")
            .header("r", "us")
            .header("r", "eu"),
        value("uk").key("asia").null_header("r"),
        value(b"\xff\x00").key(b"\xff"),
        null(),
    ]
}

/// The single topic that each row goes to, or nothing; and which rows stay.
fn route(config: &[(&str, &str)]) -> (Vec<String>, Vec<bool>) {
    let result = run("route", config, &rows());
    assert!(result.rejected.is_empty());
    let topics = routed(&result)
        .iter()
        .map(|topics| topics.join("+"))
        .collect();
    (topics, result.keep)
}

#[track_caller]
fn sends(field: &str, expected: [&str; 5]) {
    let (topics, kept) = route(&[TABLE, ("field", field)]);
    assert_eq!(topics, expected, "{field}");
    let stays: Vec<bool> = expected.iter().map(|topic| topic.is_empty()).collect();
    assert_eq!(kept, stays, "{field}");
}

#[test]
fn fields() {
    sends("key", ["orders-eu", "orders-us", "", "", ""]);
    sends("value", ["", "", "orders-eu", "", ""]);
    sends("header:r", ["orders-us", "orders-eu", "", "", ""]);
    sends("json:/region", ["orders-eu", "orders-us", "", "", ""]);
    sends("json:/n", ["seven", "", "", "", ""]);
}

#[test]
fn key_is_the_default_field() {
    assert_eq!(route(&[TABLE]), route(&[TABLE, ("field", "key")]));
}

#[test]
fn copies_stay() {
    let (topics, kept) = route(&[TABLE, ("mode", "copy")]);
    assert_eq!(topics, ["orders-eu", "orders-us", "", "", ""]);
    assert_eq!(kept, [true; 5]);
}

#[test]
fn the_rest_is_dropped() {
    for (mode, stays) in [("move", false), ("copy", true)] {
        let (topics, kept) = route(&[TABLE, ("default", "drop"), ("mode", mode)]);
        assert_eq!(topics, ["orders-eu", "orders-us", "", "", ""]);
        assert_eq!(kept, [stays, stays, false, false, false]);
    }
}

#[test]
fn the_rest_goes_to_a_topic() {
    for (mode, stays) in [("move", false), ("copy", true)] {
        let (topics, kept) = route(&[TABLE, ("default", "topic:rest"), ("mode", mode)]);
        assert_eq!(topics, ["orders-eu", "orders-us", "rest", "rest", "rest"]);
        assert_eq!(kept, [stays; 5]);
    }
}

#[test]
fn targets_are_the_topics_of_the_table_and_the_default() {
    let binding = bind("route", &[TABLE, ("default", "topic:rest")]).unwrap();
    let targets: Vec<String> = binding.targets().iter().map(ToString::to_string).collect();
    assert_eq!(targets, ["orders-eu", "orders-us", "rest", "seven"]);
}

#[test]
fn wide_tables_and_large_batches() {
    let table: Vec<String> = (0..500).map(|i| format!("k{i}=t{}", i % 50)).collect();
    let rows: Vec<Row> = (0..20_000)
        .map(|i| value("v").key(format!("k{}", i % 700)))
        .collect();
    let result = run("route", &[("table", &table.join(";"))], &rows);
    for (index, topics) in routed(&result).into_iter().enumerate() {
        let key = index % 700;
        let expected = if key < 500 {
            vec![format!("t{}", key % 50)]
        } else {
            vec![]
        };
        assert_eq!(topics, expected, "row {index}");
        assert_eq!(result.keep[index], key >= 500, "row {index}");
    }
}

#[test]
fn bad_configurations_are_refused_with_a_sentence() {
    let refused = |config: &[(&str, &str)], words: &str| {
        let sentence = bind("route", config).expect_err("a refusal");
        assert!(sentence.contains(words), "{sentence}");
    };
    refused(&[], "table");
    refused(&[("table", "")], "there is no row of the form value=topic");
    refused(
        &[("table", "eu:orders")],
        "`eu:orders` is not of the form value=topic",
    );
    refused(&[("table", "a=t;a=u")], "`a` stands there twice");
    refused(&[("table", "a=t/u")], "`t/u` is not a topic name");
    refused(
        &[TABLE, ("default", "reject")],
        "`reject` is none of keep, drop and topic:<name>",
    );
    refused(&[TABLE, ("default", "topic:")], "is not a topic name");
    refused(
        &[TABLE, ("mode", "clone")],
        "`clone` is not one of move, copy",
    );
    refused(&[TABLE, ("field", "header:")], "`header:` names no header");
}

#[test]
fn describes_itself() {
    let plugin = plugin("route");
    assert_eq!(plugin.world(), World::Router);
    let description = plugin.description();
    assert_eq!(description.name, "route");
    let required: Vec<_> = description
        .config
        .iter()
        .map(|key| (key.name.as_str(), key.required))
        .collect();
    let expected = [
        ("field", false),
        ("table", true),
        ("default", false),
        ("mode", false),
    ];
    assert_eq!(required, expected);
}
