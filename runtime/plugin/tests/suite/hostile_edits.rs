//! Transforms that lie about what they replaced. None of it may be believed, or cost more than its own batch.

use tidegate_plugin::{FailureKind, Limits, OnError, Side};

use crate::guests::{EDIT_BY_VALUE, Guest};
use crate::{bind, done, engine, failed, records, run, run_on, with_policy};

fn tight() -> Limits {
    Limits {
        deadline_ms: 200,
        memory_bytes: 16 << 20,
        output_bytes: 64 << 10,
        output_records: 1000,
        ..Limits::default()
    }
}

/// `EDIT_BY_VALUE` with its answer patched. Of the three records of `batch` it replaces every value: rows 0, 1, 2,
/// offsets 0, 1, 1, 2, two bytes of data, one byte of null bits.
fn patched(patch: &str) -> Guest {
    let body = EDIT_BY_VALUE.rsplit_once("(i32.const 1024)").unwrap().0;
    Guest {
        pages: 64,
        ..Guest::transform(&format!("{body} {patch} (i32.const 1024)"))
    }
}

fn word(at: u32, value: i64) -> String {
    format!("(i32.store (i32.const {at}) (i32.const {value}))")
}

/// Entry `index` of one of the lists that the guest made.
fn entry(list: &str, index: u32, value: i64) -> String {
    format!(
        "(i32.store offset={} (local.get ${list}) (i32.const {value}))",
        4 * index
    )
}

/// Replaces all headers of record 0: `offsets` of the row, of the keys and of the values, and whether the key is null.
fn headers(offsets: [i64; 2], keys: &[i64], values: &[i64], null_key: bool) -> String {
    let mut patch = String::from("(i32.store8 (i32.const 1116) (i32.const 1))");
    let mut list = |at: u32, memory: u32, items: &[i64]| {
        for (index, item) in items.iter().enumerate() {
            patch += &word(memory + 4 * index as u32, *item);
        }
        patch += &word(at, memory.into());
        patch += &word(at + 4, items.len() as i64);
    };
    list(1120, 3000, &[0]);
    list(1128, 3100, &offsets);
    list(1136, 3200, keys);
    list(1160, 3300, values);
    // Four bytes of data for both.
    for at in [1144, 1168] {
        patch += &word(at, 740);
        patch += &word(at + 4, 4);
    }
    if null_key {
        patch += &word(3400, 1);
        patch += &word(1152, 3400);
        patch += &word(1156, 1);
    }
    patch
}

fn timestamp(values: i64, low: i64) -> String {
    let mut patch = String::from("(i32.store8 (i32.const 1184) (i32.const 1))");
    patch += &word(3000, 1);
    patch += &format!("(i64.store (i32.const 3008) (i64.const {low}))");
    for (at, value) in [(1188, 3000), (1192, 1), (1196, 3008), (1200, values)] {
        patch += &word(at, value);
    }
    patch
}

#[test]
fn no_shape_of_an_edit_is_believed() {
    use FailureKind::{BadOutput, OutputLimit};
    let huge = 0x4000_0000;
    let shapes = [
        ("rows that stand still", entry("rows", 1, 0), BadOutput),
        ("rows that fall", entry("rows", 0, 2), BadOutput),
        ("a row out of range", entry("rows", 2, 3), BadOutput),
        ("a row of 4 GiB", entry("rows", 2, -1), BadOutput),
        ("fewer rows than entries", word(1088, 2), BadOutput),
        (
            "no rows and two entries",
            word(1088, 0) + &word(1096, 3),
            BadOutput,
        ),
        ("more rows than may be", word(1088, 1001), OutputLimit),
        ("a flood of rows", word(1088, 100_000), OutputLimit),
        ("offsets that start late", entry("offsets", 0, 1), BadOutput),
        ("offsets that overlap", entry("offsets", 1, 2), BadOutput),
        ("offsets that fall", entry("offsets", 2, 0), BadOutput),
        ("offsets that end early", entry("offsets", 3, 1), BadOutput),
        ("offsets past the data", entry("offsets", 3, 3), BadOutput),
        ("an offset of 4 GiB", entry("offsets", 3, -1), BadOutput),
        ("too few offsets", word(1096, 3), BadOutput),
        ("too many offsets", word(1096, 5), BadOutput),
        ("no offsets", word(1096, 0), BadOutput),
        ("null bits for others", word(1112, 2), BadOutput),
        ("data out of bounds", word(1100, -8), BadOutput),
        ("offsets not aligned", word(1092, 1025), BadOutput),
        ("a flood of data", word(1104, 100_000), OutputLimit),
        ("an option that is not there", word(1044, 7), BadOutput),
        ("codes for other records", word(1032, 2), BadOutput),
        (
            "a code that is not there",
            "(i32.store8 (local.get $codes) (i32.const 9))".into(),
            BadOutput,
        ),
        (
            "header rows past the entries",
            headers([0, 2], &[0, 4], &[0, 4], false),
            BadOutput,
        ),
        (
            "headers that fall",
            headers([1, 0], &[0, 4], &[0, 4], false),
            BadOutput,
        ),
        (
            "more header values than keys",
            headers([0, 1], &[0, 4], &[0, 1, 4], false),
            BadOutput,
        ),
        (
            "header keys that overlap",
            headers([0, 2], &[0, 4, 2], &[0, 1, 4], false),
            BadOutput,
        ),
        (
            "a null header key",
            headers([0, 1], &[0, 4], &[0, 4], true),
            BadOutput,
        ),
        ("two timestamps for a row", timestamp(2, 5), BadOutput),
        ("no timestamp for a row", timestamp(0, 5), BadOutput),
        ("a time before 1970", timestamp(1, -2), BadOutput),
        ("the earliest time", timestamp(1, i64::MIN), BadOutput),
    ];
    let engine = engine();
    let batch = records(&["edit", "null", "edit"]);
    for (name, patch, kind) in &shapes {
        let hostile = bind(
            &engine,
            &patched(patch),
            with_policy(OnError::Reject, tight()),
        );
        let failure = failed(run_on(Side::Consume, &[&hostile], &batch));
        assert_eq!(failure.kind, *kind, "{name}: {failure:?}");
        assert_eq!(hostile.stats().instances, 0, "{name}: thrown away");
    }
    // Counts that no memory holds, in every list.
    for at in [1032, 1040, 1088, 1096, 1104, 1112] {
        let hostile = bind(
            &engine,
            &patched(&word(at, huge)),
            with_policy(OnError::Reject, tight()),
        );
        let failure = failed(run_on(Side::Consume, &[&hostile], &batch));
        assert!(
            matches!(failure.kind, BadOutput | OutputLimit),
            "{at}: {failure:?}"
        );
    }
    // What all of them were made of is good, and so are honest headers and timestamps.
    for honest in [
        String::new(),
        headers([0, 1], &[0, 4], &[0, 4], false),
        headers([0, 0], &[], &[], false)
            .replace(&word(1148, 4), &word(1148, 0))
            .replace(&word(1172, 4), &word(1172, 0)),
        timestamp(1, -1),
        timestamp(1, i64::MAX),
    ] {
        let honest = bind(
            &engine,
            &patched(&honest),
            with_policy(OnError::Reject, tight()),
        );
        let result = done(run(&[&honest], &batch));
        assert_eq!(result.edits.of(0, 1).unwrap().value, Some(Some(&b"E"[..])));
        assert_eq!(result.edits.of(1, 1).unwrap().value, Some(None));
    }
}

/// Each call gives less than it may; a batch of many calls must not add up to more than one of them could.
#[test]
fn the_calls_of_a_batch_share_one_allowance() {
    let limits = Limits {
        call_records: 1,
        output_bytes: 10_000,
        ..tight()
    };
    // Every value becomes 4,000 bytes.
    let big = patched(&(word(1104, 4000) + &entry("offsets", 1, 4000)));
    let hostile = bind(&engine(), &big, with_policy(OnError::Reject, limits));
    let edited = done(run(&[&hostile], &records(&["e", "e"])));
    assert!(edited.edits.bytes() > 8000);
    let failure = failed(run(&[&hostile], &records(&["e", "e", "e"])));
    assert_eq!(failure.kind, FailureKind::OutputLimit);
    assert!(
        failure.message.contains("(limit `output.bytes`: 10000)"),
        "{failure:?}"
    );
}
