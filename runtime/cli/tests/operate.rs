//! Operating plugins with the commands alone: a real broker, the binary, and what it prints.

mod broker;

use broker::{Broker, fixture};

const WORDS: &str = "words.wasm";

/// A broker with the filter `words` in front of `lines`: it drops what begins with `drop` and rejects empty lines, which
/// become dead letters.
fn broker_with_words() -> Broker {
    let broker = Broker::start();
    broker.run(&[
        "plugin",
        "push",
        &fixture(WORDS),
        "--name",
        "words",
        "--version",
        "0.1.0",
    ]);
    broker.run(&["topic", "create", "lines", "--partitions", "1"]);
    broker.run(&[
        "topic",
        "alter",
        "lines",
        "-c",
        "tidegate.produce.chain=words",
        "-c",
        "tidegate.dead.letter.topic=lines-dead",
        "-c",
        "tidegate.on.reject=dead-letter",
    ]);
    broker.run_with(&["produce", "lines"], "first\ndrop this\n\nsay hello\n\n");
    broker
}

#[test]
fn a_plugin_is_pushed_shown_rolled_back_and_removed() {
    let broker = Broker::start();
    let push = [
        "plugin",
        "push",
        &fixture(WORDS),
        "--name",
        "words",
        "--version",
    ];
    let told = broker.run(&[&push[..], &["0.1.0"]].concat());
    assert!(told.contains("0.1.0    filter  28.4 KiB"), "{told}");
    assert!(
        told.contains("drop  text            drop     Lines that begin so are dropped."),
        "{told}"
    );
    broker.run(&[&push[..], &["0.2.0"]].concat());
    assert_eq!(broker.json(&["plugin", "show", "words"])["latest"], "0.2.0");

    let told = broker.run(&["plugin", "rollback", "words"]);
    assert_eq!(told, "words: the latest is 0.1.0, it was 0.2.0\n");
    let told = broker.fails(&["plugin", "rollback", "words", "--to", "9.9.9"]);
    assert!(told.contains("9.9.9"), "{told}");

    broker.run(&[
        "topic",
        "create",
        "lines",
        "-c",
        "tidegate.produce.chain=words",
    ]);
    let told = broker.fails(&["plugin", "remove", "words"]);
    assert!(told.contains("lines"), "{told}");
    broker.run(&["plugin", "remove", "words@0.2.0"]);
    assert_eq!(
        broker.json(&["plugin", "list"]).as_array().unwrap().len(),
        1
    );
}

#[test]
fn show_tells_how_bindings_do() {
    let broker = broker_with_words();
    let told = broker.run(&["plugin", "show", "words"]);
    let row = told
        .lines()
        .find(|line| line.starts_with("lines"))
        .unwrap_or_else(|| panic!("{told}"));
    let cells: Vec<&str> = row.split_whitespace().collect();
    // Topic, chain, alias, version, in, kept, edited, dropped.
    assert_eq!(
        cells[..8],
        ["lines", "produce", "words", "0.1.0", "5", "2", "0", "1"],
        "{told}"
    );
    assert!(row.ends_with("running"), "{told}");
    assert!(
        told.contains("on error reject, on reject dead-letter"),
        "{told}"
    );
    assert!(told.contains("deadline.ms 1000"), "{told}");
    let told = broker.run(&["plugin", "show", "--topic", "lines"]);
    assert!(told.contains("dead letters lines-dead"), "{told}");
    let told = broker.run(&["plugin", "resume", "--topic", "lines"]);
    assert!(told.starts_with("lines: "), "{told}");
}

#[test]
fn the_fate_of_an_offset_is_explained() {
    let broker = broker_with_words();
    let explain =
        |offset: &str| broker.run(&["plugin", "explain", "--topic", "lines", "--offset", offset]);
    let told = explain("0");
    assert!(
        told.starts_with("lines partition 0 offset 0: kept"),
        "{told}"
    );
    let told = explain("1");
    assert!(
        told.starts_with("lines partition 0 offset 1: dropped; it is not in the log"),
        "{told}"
    );
    assert!(told.contains("words (words 0.1.0) dropped"), "{told}");
    let told = explain("2");
    assert!(
        told.contains("dead-lettered") && told.contains("an empty line"),
        "{told}"
    );
}

#[test]
fn what_plugins_log_can_be_read_and_filtered() {
    let broker = broker_with_words();
    // Lines are stored a moment after they were logged.
    let logs = |arguments: &[&str]| broker.run(&[&["plugin", "logs"], arguments].concat());
    let mut told = String::new();
    for _ in 0..100 {
        told = logs(&["--topic", "lines"]);
        if !told.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(
        told.ends_with("info  lines/0 words (words 0.1.0): hello\n"),
        "{told}"
    );
    assert_eq!(logs(&["--level", "warn"]), "");
    assert_eq!(logs(&["--topic", "others"]), "");
}

#[test]
fn dead_letters_are_shown_and_go_back_once() {
    let broker = broker_with_words();
    assert_eq!(broker.values("lines"), ["first", "say hello"]);
    let told = broker.run(&["dlq", "show", "lines-dead"]);
    for words in [
        "lines/0/2",
        "lines/0/4",
        "words",
        "rejected",
        "an empty line",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let letters = broker.json(&["dlq", "show", "lines-dead", "--match", "error=empty"]);
    assert_eq!(letters.as_array().unwrap().len(), 2);
    assert_eq!(
        broker.json(&["dlq", "show", "lines-dead", "--match", "kind=trap"]),
        serde_json::json!([])
    );

    let sent = |arguments: &[&str]| {
        broker.json(&[&["dlq", "redrive", "lines-dead"], arguments].concat())["sent"].clone()
    };
    assert_eq!(sent(&["--dry-run"])["lines"], 2);
    // Another topic takes them; one at a time, since a run goes on where the last ended.
    assert_eq!(sent(&["--to", "repair", "--limit", "1"])["repair"], 1);
    assert_eq!(sent(&["--to", "repair"])["repair"], 1);
    assert_eq!(sent(&["--to", "repair"]), serde_json::json!({}));
    assert_eq!(broker.values("repair"), ["", ""]);
    let headers = broker.run(&[
        "consume",
        "repair",
        "--from-beginning",
        "--until-end",
        "-o",
        "json",
    ]);
    assert!(!headers.contains("tidegate."), "{headers}");

    // Where they came from, they are stored once the plugin takes them.
    broker.run(&["topic", "alter", "lines", "-c", "tidegate.produce.chain="]);
    assert_eq!(sent(&[])["lines"], 2);
    assert_eq!(broker.values("lines"), ["first", "say hello", "", ""]);
}

#[test]
fn letters_that_are_refused_again_are_told_and_kept() {
    let broker = broker_with_words();
    broker.run(&["topic", "alter", "lines", "-c", "tidegate.on.reject=refuse"]);
    let told = broker.fails(&["dlq", "redrive", "lines-dead"]);
    assert!(
        told.contains("2 letters refused again; mend the cause"),
        "{told}"
    );
    assert!(
        told.contains("from lines/0/2: ") && told.contains("an empty line"),
        "{told}"
    );
    // It begins at the same letters, until they are passed over.
    let told = broker.fails(&["dlq", "redrive", "lines-dead"]);
    assert!(told.contains("2 letters refused again"), "{told}");
    let passed = broker.json(&["dlq", "redrive", "lines-dead", "--skip-refused"]);
    assert_eq!(passed["refused"].as_array().unwrap().len(), 2);
    let passed = broker.json(&["dlq", "redrive", "lines-dead"]);
    assert_eq!(passed["refused"], serde_json::json!([]));
    assert_eq!(
        broker
            .json(&["dlq", "show", "lines-dead"])
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn stored_records_are_replayed_without_effect_or_into_a_topic() {
    let broker = Broker::start();
    broker.run(&["topic", "create", "lines", "--partitions", "1"]);
    broker.run_with(&["produce", "lines"], "first\ndrop this\n\nsay hello\n");
    let replay = [
        "plugin",
        "replay",
        "--topic",
        "lines",
        "--plugin",
        &fixture(WORDS),
    ];
    let told = broker.run(&replay);
    assert!(
        told.starts_with("lines partition 0, offsets 0 to 4: 4 records"),
        "{told}"
    );
    assert!(told.contains("log: info: hello"), "{told}");
    let found = broker.json(&replay);
    let fates = |found: &serde_json::Value| {
        ["kept", "dropped", "rejected"]
            .map(|fate| found["fates"][fate]["records"].as_u64().unwrap_or(0))
    };
    assert_eq!(fates(&found), [2, 1, 1]);
    assert_eq!(found["fates"]["dropped"]["samples"][0]["offset"], 1);
    let some = broker.json(
        &[
            &replay[..],
            &["--offsets", "0..1", "--config", "drop=first"],
        ]
        .concat(),
    );
    assert_eq!(fates(&some), [0, 1, 0]);

    // A backfill needs a yes, and then writes what stays.
    let to = [&replay[..], &["--to", "clean"]].concat();
    assert!(broker.fails(&to).contains("--yes"));
    broker.run(&[&to[..], &["--yes"]].concat());
    assert_eq!(broker.values("clean"), ["first", "say hello"]);

    // The broker's own, by name.
    broker.run(&[
        "plugin",
        "push",
        &fixture(WORDS),
        "--name",
        "words",
        "--version",
        "0.1.0",
    ]);
    for name in ["words", "words@0.1.0"] {
        let own = broker.json(&["plugin", "replay", "--topic", "lines", "--plugin", name]);
        assert_eq!(fates(&own), [2, 1, 1]);
    }
    assert_eq!(broker.values("lines").len(), 4);
    let told = broker.fails(&[
        "plugin",
        "replay",
        "--topic",
        "lines",
        "--offsets",
        "9..",
        "--plugin",
        "words",
    ]);
    assert!(told.contains("it has offsets 0 to 4"), "{told}");
}

#[test]
fn a_bench_measures_beside_a_filter_that_does_nothing() {
    let broker = Broker::start();
    let arguments = [
        "plugin",
        "bench",
        &fixture(WORDS),
        "--seconds",
        "0.01",
        "--sizes",
        "100,1000",
        "--batch",
        "50",
    ];
    let measured = broker.json(&arguments);
    assert_eq!(measured["rows"].as_array().unwrap().len(), 2);
    for row in measured["rows"].as_array().unwrap() {
        for figure in [
            "ns_per_record",
            "mb_per_second",
            "keep_all_ns_per_record",
            "memory_bytes",
        ] {
            assert!(row[figure].as_f64().unwrap() > 0.0, "{figure}: {row}");
        }
    }
    let told = broker.run(&arguments);
    assert!(
        told.starts_with("words 0.1.0, a filter; batches of 50 records"),
        "{told}"
    );
}
