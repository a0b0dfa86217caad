//! The harness on a real component, `fixtures/words.rs`.

use std::path::{Path, PathBuf};

use tidegate_test::golden::{self, Mode, Status};
use tidegate_test::{
    FailureKind, Harness, HarnessError, Limits, OnError, OnReject, Record, RunError, Verdict,
    assert_outcome, null, value,
};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn words() -> Harness {
    Harness::load(fixtures().join("words.wasm")).expect("the fixture is a plugin")
}

/// A component built against a released contract, which the host's tests keep.
fn released(world: &str) -> Harness {
    let file = format!("../../runtime/plugin/tests/fixtures/contract-0.1.0-{world}.wasm");
    Harness::load(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("it keeps loading")
}

fn lines(lines: &[&str]) -> Vec<Record> {
    lines.iter().map(value).collect()
}

#[test]
fn verdicts_come_record_by_record() {
    let records = [value("a"), value("drop it"), value(""), null()];
    let empty = || Verdict::Reject("an empty line".to_owned());
    let expected = [Verdict::Keep, Verdict::Drop, empty(), empty()];
    assert_eq!(words().filter(&records), expected);
}

#[test]
fn the_whole_outcome_can_be_asserted() {
    let records = lines(&["a", "drop it", "say so"]);
    let outcome = words().run(&records).unwrap();
    assert_eq!(outcome.kept(), [0, 2]);
    assert_eq!(outcome.stored(&records), lines(&["a", "say so"]));
    assert_eq!(outcome.counters["seen"], 3);
    assert!(outcome.wall.as_nanos() > 0);
}

#[test]
fn counters_are_of_the_run() {
    let harness = words();
    assert_eq!(
        harness.run(&lines(&["a", "b"])).unwrap().counters["seen"],
        2
    );
    assert_outcome(
        &lines(&["a"]),
        &harness.run(&lines(&["a"])).unwrap(),
        "keep\ncounter: seen 1",
    );
}

#[test]
fn on_the_fetch_path_a_rejection_is_a_drop() {
    assert_eq!(words().consume().filter(&lines(&[""])), [Verdict::Drop]);
}

#[test]
fn records_without_a_value_bypass_filters_of_compacted_topics() {
    assert_eq!(words().compacted().filter(&[null()]), [Verdict::Keep]);
}

#[test]
fn a_refused_configuration_is_a_sentence() {
    let error = words().config("drop", "").check().unwrap_err();
    assert!(matches!(&error, RunError::Refused(words) if words.contains("must not be empty")));
    let error = words().config("dorp", "x").check().unwrap_err().to_string();
    assert!(error.contains("no configuration key `dorp`"), "{error}");
}

#[test]
fn the_error_policy_decides_what_a_trap_means() {
    let records = lines(&["a", "trap", "b"]);
    let verdicts = words().filter(&records);
    assert_eq!(
        (&verdicts[0], &verdicts[2]),
        (&Verdict::Keep, &Verdict::Keep)
    );
    assert!(matches!(&verdicts[1], Verdict::Reject(words) if words.contains("trap")));
    let harness = words().on_error(OnError::Drop);
    assert_eq!(
        harness.filter(&records),
        [Verdict::Keep, Verdict::Drop, Verdict::Keep]
    );
    match words().on_error(OnError::Pause).run(&records).unwrap_err() {
        RunError::Failed { kind, record, .. } => {
            assert_eq!((kind, record), (FailureKind::Trap, Some(1)));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_rejected_record_can_go_alone() {
    let records = lines(&["a", ""]);
    let dead = words().on_reject(OnReject::DeadLetter).filter(&records);
    let letter = Verdict::DeadLetter("an empty line".to_owned());
    assert_eq!(dead, [Verdict::Keep, letter]);
    let dropped = words().on_reject(OnReject::Drop).filter(&records);
    assert_eq!(dropped, [Verdict::Keep, Verdict::Drop]);
}

#[test]
fn limits_are_the_brokers() {
    let limits = Limits {
        memory_bytes: 64 << 10,
        ..Limits::default()
    };
    let error = words().limits(limits).check().unwrap_err().to_string();
    assert!(error.contains("memory"), "{error}");
}

#[test]
fn a_limit_can_be_set_by_its_name() {
    let error = words().limit("memory.bytes", 64 << 10).unwrap().check();
    assert!(error.unwrap_err().to_string().contains("memory"));
    assert!(words().limit("memory", 1).is_err());
}

/// Routes every record to its first target, `out`, and keeps it.
#[test]
fn routes_are_destinations() {
    let router = released("router");
    let records = lines(&["a", "b"]);
    assert_eq!(router.route(&records), [["out"], ["out"]]);
    let outcome = router.run(&records).unwrap();
    assert_eq!(outcome.kept(), [0, 1]);
    assert_eq!(outcome.records[1].to_string(), "keep -> out");
}

/// Gives `E` to what begins with `e` and null to what begins with `n`; drops `d`.
#[test]
fn edits_are_what_the_topic_would_have() {
    let records = [value("e").key("k"), value("x"), value("d"), value("n")];
    let transform = released("transform");
    assert_eq!(
        transform.transform(&records),
        [value("E").key("k"), value("x"), null()]
    );
    let outcome = transform.run(&records).unwrap();
    let fates: Vec<String> = outcome.records.iter().map(ToString::to_string).collect();
    assert_eq!(
        fates,
        [r#"{"value":"E"}"#, "keep", "drop", r#"{"value":null}"#]
    );
    // On a compacted topic a null value is a deletion, which no transform is shown.
    let tombstone = [null().key("e")];
    assert_eq!(
        released("transform").compacted().transform(&tombstone),
        tombstone
    );
}

#[test]
fn state_that_is_not_owned_up_to_is_found() {
    let records = lines(&["a", "every second", "b"]);
    let error = words().run(&records).unwrap_err();
    assert!(matches!(error, RunError::NotRepeatable(_)), "{error}");
    assert!(error.to_string().contains("record 1"), "{error}");
    let once = words().once().run(&records).unwrap();
    assert_eq!(once.kept(), [0, 1, 2]);
}

#[test]
fn a_file_that_is_no_plugin_is_refused_as_the_broker_would() {
    assert!(matches!(
        Harness::load("/nowhere/x.wasm"),
        Err(HarnessError::Read { .. })
    ));
    assert!(matches!(
        Harness::from_bytes(b"\0asm\x01\0\0\0"),
        Err(HarnessError::Load(_))
    ));
}

#[test]
fn golden_cases_pass_as_they_stand() {
    golden::assert(&words(), fixtures().join("golden"));
}

#[test]
fn golden_cases_that_differ_are_told_and_written() {
    let dir = tempfile::tempdir().unwrap();
    let case = dir.path().join("a.jsonl");
    std::fs::write(&case, "{\"value\": \"x\"}\n{\"value\": \"drop\"}\n").unwrap();
    let statuses = |mode| {
        let report = golden::run(&words(), dir.path(), mode).unwrap();
        let told = report.to_string();
        let statuses: Vec<_> = report.cases.into_iter().map(|case| case.status).collect();
        (statuses, told)
    };
    let (found, told) = statuses(Mode::Compare);
    assert_eq!(found, [Status::Missing]);
    assert!(told.contains("--update"), "{told}");
    assert_eq!(statuses(Mode::Update).0, [Status::Written]);
    assert_eq!(statuses(Mode::Compare).0, [Status::Same]);

    std::fs::write(dir.path().join("a.snap"), "keep\nkeep\ncounter: seen 2\n").unwrap();
    let (found, told) = statuses(Mode::Compare);
    let difference = "  record 1  {\"value\":\"drop\"}\n    - keep\n    + drop";
    assert_eq!(found, [Status::Changed(difference.to_owned())]);
    assert!(told.contains(difference), "{told}");

    std::fs::rename(&case, dir.path().join("b.jsonl")).unwrap();
    assert_eq!(statuses(Mode::Compare).0, [Status::Missing, Status::Orphan]);
    assert!(golden::run(&words(), &fixtures().join("nothing"), Mode::Compare).is_err());
}

#[test]
fn a_golden_case_shows_how_a_plugin_failed() {
    let dir = tempfile::tempdir().unwrap();
    let case = "{\"on_error\": \"pause\"}\n{\"value\": \"x\"}\n{\"value\": \"trap\"}\n{\"end\": \"appended\"}\n{\"value\": \"y\"}\n";
    std::fs::write(dir.path().join("a.jsonl"), case).unwrap();
    golden::run(&words(), dir.path(), Mode::Update).unwrap();
    let snapshot = std::fs::read_to_string(dir.path().join("a.snap")).unwrap();
    let mut lines = snapshot.lines();
    // Paused is paused, for the batch after it too.
    assert_eq!(
        lines.by_ref().take(3).collect::<Vec<_>>(),
        ["failed", "failed", "failed"]
    );
    assert!(
        lines
            .next()
            .unwrap()
            .starts_with("failed: trap at record 1: "),
        "{snapshot}"
    );
}
