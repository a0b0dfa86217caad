//! What holds for every plugin that ships, and what each does at the bounds of its instance.

use tidegate_plugin::{Columns, Limits, State, World};
use tidegate_test::{FailureKind, Record, RunError, Verdict, null, value};
use tidegate_tests_plugins::{bind, harness, plugin};

fn columns(names: &str) -> Columns {
    let has = |name| names.split(' ').any(|known| known == name);
    Columns {
        key: has("key"),
        value: has("value"),
        headers: has("headers"),
        timestamp: has("timestamp"),
    }
}

const SECRET: (&str, &str) = ("hash.key", "a secret for the tests");

#[test]
fn they_describe_themselves() {
    let expected = [
        ("match", World::Filter, State::None, columns("")),
        ("route", World::Router, State::None, columns("")),
        (
            "redact",
            World::Transform,
            State::None,
            columns("key value headers"),
        ),
        ("validate", World::Filter, State::None, columns("")),
        ("sample", World::Filter, State::None, columns("")),
        ("dedup", World::Filter, State::Partition, columns("")),
        ("enrich", World::Transform, State::None, columns("headers")),
    ];
    for (name, world, state, writes) in expected {
        let plugin = plugin(name);
        let description = plugin.description();
        assert_eq!(description.name, name);
        assert_eq!(plugin.world(), world, "{name}");
        assert_eq!(description.state, state, "{name}");
        assert_eq!(description.writes, writes, "{name}");
        assert!(description.summary.ends_with('.'), "{name}");
        for key in &description.config {
            assert!(key.doc.ends_with('.'), "{name}: {}: {}", key.name, key.doc);
            assert_eq!(key.secret, key.name == "hash.key", "{name}: {}", key.name);
            assert!(
                !(key.required && key.default.is_some()),
                "{name}: {}",
                key.name
            );
        }
    }
}

/// A column that is not needed under a configuration is never copied.
#[test]
fn they_read_what_their_configuration_needs() {
    let reads = |name, config: &[(&str, &str)]| bind(name, config).expect(name).columns();
    assert_eq!(reads("match", &[("value", "x")]), columns("value"));
    let on_header = [("field", "header:h"), ("op", "exists")];
    assert_eq!(reads("match", &on_header), columns("headers"));
    assert_eq!(reads("route", &[("table", "a=b")]), columns("key"));
    assert_eq!(reads("redact", &[("mask", "header:h")]), columns("headers"));
    assert_eq!(
        reads("redact", &[("hash", "key,json:/a"), SECRET]),
        columns("key value")
    );
    assert_eq!(reads("sample", &[("ppm", "1")]), columns("key"));
    assert_eq!(
        reads("sample", &[("ppm", "1"), ("missing", "value")]),
        columns("key value")
    );
    assert_eq!(
        reads("dedup", &[("field", "header:id")]),
        columns("headers")
    );
    assert_eq!(
        reads("enrich", &[("headers", "a=topic")]),
        columns("headers")
    );
    assert_eq!(
        reads("enrich", &[("headers", "a=json:/a")]),
        columns("value headers")
    );
    assert_eq!(reads("validate", &[("schema", "{}")]), columns("value"));
}

#[test]
fn bad_configurations_are_refused_with_a_sentence() {
    let refused = |name, config: &[(&str, &str)], words: &str| {
        let sentence = bind(name, config).expect_err("a refusal");
        assert!(sentence.contains(words), "{sentence}");
    };
    refused("redact", &[], "set `mask`, `hash` or `remove`");
    refused("redact", &[("mask", "json:a")], "does not begin with `/`");
    refused(
        "redact",
        &[("mask", "key"), ("on.invalid", "pass")],
        "is not one of reject, drop, keep",
    );
    refused("redact", &[("masks", "key")], "masks");
    refused("validate", &[], "schema");
    refused(
        "validate",
        &[("schema", "[]")],
        "a schema is an object, true or false",
    );
    refused(
        "validate",
        &[("schema", r#"{"pattern": "(?=a)"}"#)],
        "look-around",
    );
    refused(
        "validate",
        &[("schema", r##"{"$ref": "#/$defs/a"}"##)],
        "there is nothing at",
    );
    refused(
        "validate",
        &[("schema", r#"{"$ref": "http://a/b"}"#)],
        "only `#…` can be referred to",
    );
    refused("sample", &[], "ppm");
    refused("sample", &[("ppm", "-1")], "ppm");
    refused(
        "dedup",
        &[("window.bytes", "1")],
        "it may be 1024 to 1073741824",
    );
    refused("dedup", &[("window.ms", "soon")], "window.ms");
    refused("enrich", &[], "headers");
    refused("enrich", &[("headers", "a=now")], "`now` is none of");
}

#[test]
fn dedup_stays_within_its_memory() {
    let dedup = harness("dedup").config("window.bytes", 8 << 20);
    let keys = |from: usize| -> Vec<Record> {
        (from..from + 10_000)
            .map(|i| null().key(format!("a key of some thirty bytes {i:09}")))
            .collect()
    };
    for batch in 0..40 {
        let verdicts = dedup.filter(&keys(batch * 10_000));
        assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Keep));
    }
    // 8 MiB hold some 60,000 of them.
    let last = dedup.filter(&keys(390_000));
    assert!(last.iter().all(|verdict| *verdict == Verdict::Drop));
    let first = dedup.filter(&keys(0));
    assert!(first.iter().all(|verdict| *verdict == Verdict::Keep));
    let memory = dedup.chain().expect("a binding").bindings()[0]
        .stats()
        .memory_bytes;
    assert!(memory < 32 << 20, "{memory} bytes");
}

#[test]
fn a_limit_that_is_hit_names_itself() {
    let failed = |name, config: &[(&str, &str)], limits, records: &[Record]| {
        let mut harness = harness(name).limits(limits).once();
        for (key, value) in config {
            harness = harness.config(*key, *value);
        }
        match harness.run(records) {
            Err(RunError::Failed { kind, message, .. }) => (kind, message),
            other => panic!("{name}: {other:?}"),
        }
    };
    let large = value(format!(r#"{{"a": 1, "text": "{}"}}"#, "x".repeat(100_000)));
    let limits = Limits {
        output_bytes: 50_000,
        ..Limits::default()
    };
    let (kind, words) = failed("redact", &[("mask", "json:/a")], limits, &[large]);
    assert_eq!(kind, FailureKind::OutputLimit, "{words}");

    let limits = Limits {
        memory_bytes: 4 << 20,
        ..Limits::default()
    };
    let keys: Vec<Record> = (0..60_000)
        .map(|i| null().key(format!("key {i}")))
        .collect();
    let (kind, words) = failed("dedup", &[], limits, &keys);
    assert_eq!(kind, FailureKind::Memory, "{words}");
}

/// Neither a schema nor a value makes it run out of stack.
#[test]
fn validate_is_not_drawn_into_the_deep() {
    let endless = harness("validate").config("schema", r##"{"allOf": [{"$ref": "#"}]}"##);
    let verdicts = endless.filter(&[value("{}")]);
    let reason = "the schema refers to itself without an end";
    assert_eq!(verdicts, [Verdict::Reject(reason.into())]);

    let tree = r##"{"anyOf": [{"type": "integer"}, {"type": "array", "items": {"$ref": "#"}}]}"##;
    let trees = harness("validate").config("schema", tree);
    let nested =
        |depth, leaf: &str| value(format!("{}{leaf}{}", "[".repeat(depth), "]".repeat(depth)));
    let verdicts = trees.filter(&[nested(120, "1"), nested(120, "true"), nested(100_000, "1")]);
    assert_eq!(verdicts[0], Verdict::Keep);
    assert!(matches!(&verdicts[1], Verdict::Reject(reason) if reason.contains("anyOf")));
    assert!(matches!(&verdicts[2], Verdict::Reject(reason) if reason.contains("recursion limit")));

    let deep = format!("{}true{}", r#"{"not":"#.repeat(120), "}".repeat(120));
    let refusal = bind("validate", &[("schema", &deep)]).expect_err("a refusal");
    assert!(
        refusal.contains("nests deeper") || refusal.contains("recursion limit"),
        "{refusal}"
    );
}

#[test]
fn redact_bears_any_bytes() {
    let redact = harness("redact").config("mask", "json:/a,json:/*/b");
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let records = [
        value(b"\xff\xfe"),
        value(deep),
        value("{\"a\": \"\\ud800\"}"),
    ];
    let verdicts = redact.run(&records).expect("a run").verdicts();
    let rejected = |verdict: &Verdict| matches!(verdict, Verdict::Reject(_));
    assert!(rejected(&verdicts[0]) && rejected(&verdicts[1]));
    assert_eq!(verdicts[2], Verdict::Keep);
}
