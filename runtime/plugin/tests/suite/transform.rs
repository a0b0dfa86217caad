//! What transforms make of records, and what the rest of the chain sees of it.

use std::sync::Arc;

use tidegate_plugin::{
    Binding, Chain, ChainInput, ChainResult, FailureKind, Limits, OnError, RecordEdit,
};
use tidegate_record::Records;

use crate::guests::{BY_VALUE, EDIT_BY_VALUE, Guest, KEEP_ALL, MARK_ALL, ROUTE_ALL};
use crate::{bind, done, engine, failed, records, records_of, run, spec, with_policy};

/// The value that a record has after the first `layers` layers; `None` = it came with that.
fn value(result: &ChainResult, record: usize, layers: usize) -> Option<Option<&[u8]>> {
    result.edits.of(record, layers).and_then(|edit| edit.value)
}

#[test]
fn replaced_values_are_told_apart_from_kept_ones() {
    let engine = engine();
    let transform = bind(&engine, &Guest::transform(EDIT_BY_VALUE), spec("t"));
    let batch = records(&["a", "edit", "drop", "null", "b"]);
    let result = done(run(&[&transform], &batch));
    assert_eq!(result.keep, [true, true, false, true, true]);
    assert!(!result.all_kept);
    assert_eq!(result.edits.layers(), 1);
    let seen: Vec<_> = (0..5).map(|record| value(&result, record, 1)).collect();
    assert_eq!(seen, [None, Some(Some(&b"E"[..])), None, Some(None), None]);
    let edit = result.edits.of(1, 1).unwrap();
    assert_eq!(
        edit,
        RecordEdit {
            value: Some(Some(b"E")),
            ..RecordEdit::default()
        },
        "key, headers and timestamp are what the record came with"
    );
    assert_eq!(result.edits.of(1, 0), None, "before the first layer");
    let stats = transform.stats();
    assert_eq!(
        (stats.records_in, stats.kept, stats.edited, stats.dropped),
        (5, 4, 2, 1)
    );
    assert_eq!(result.taken_by, [0, 0, 1, 0, 0]);
}

#[test]
fn a_transform_that_replaces_nothing_leaves_the_batch_as_it_is() {
    let engine = engine();
    let quiet = bind(&engine, &Guest::transform("(call $untouched)"), spec("q"));
    let result = done(run(&[&quiet], &records(&["a", "b"])));
    assert!(result.all_kept && result.edits.is_empty());
    // An edit without a row and without an entry.
    let empty =
        "(drop (call $untouched)) (i32.store8 (i32.const 1080) (i32.const 1)) (i32.const 1024)";
    let empty = bind(&engine, &Guest::transform(empty), spec("e"));
    let result = done(run(&[&empty], &records(&["a", "b"])));
    assert!(result.all_kept && result.edits.is_empty());
    // A real one that finds nothing to do.
    let transform = bind(&engine, &Guest::transform(EDIT_BY_VALUE), spec("t"));
    assert!(done(run(&[&transform], &records(&["a", "b"]))).all_kept);
}

#[test]
fn an_edit_of_a_dropped_record_is_ignored() {
    let engine = engine();
    // Replaces every value and drops the first record.
    let body = MARK_ALL.replace(
        "(drop (call $untouched))",
        "(local.set $at (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $n)))
         (memory.fill (local.get $at) (i32.const 0) (local.get $n))
         (i32.store8 (local.get $at) (i32.const 1))
         (drop (call $untouched))
         (i32.store (i32.const 1028) (local.get $at)) (i32.store (i32.const 1032) (local.get $n))",
    );
    let transform = bind(&engine, &Guest::transform(&body), spec("t"));
    let result = done(run(&[&transform], &records(&["one", "two"])));
    assert_eq!(result.keep, [false, true]);
    assert_eq!(value(&result, 0, 1), None);
    assert_eq!(value(&result, 1, 1), Some(Some(&b"!wo"[..])));
    // Where all that was edited is dropped, nothing was edited.
    let result = done(run(&[&transform], &records(&["one"])));
    assert!(result.edits.is_empty());
    assert_eq!(transform.stats().edited, 1);
}

#[test]
fn later_plugins_see_the_edited_records() {
    let engine = engine();
    let transform = bind(&engine, &Guest::transform(EDIT_BY_VALUE), spec("t"));
    let mark = bind(&engine, &Guest::transform(MARK_ALL), spec("m"));
    // Drops what starts with `E`, the value that the transform gives.
    let filter = bind(
        &engine,
        &Guest::filter(&BY_VALUE.replace("(i32.const 100)", "(i32.const 69)")),
        spec("f"),
    );
    let batch = records(&["a", "edit", "drop", "null", "b"]);
    let result = done(run(&[&transform, &filter], &batch));
    assert_eq!(result.keep, [true, false, false, true, true]);
    assert_eq!(result.taken_by, [0, 2, 1, 0, 0]);
    let result = done(run(&[&filter, &transform], &batch));
    assert_eq!(result.keep, [true, true, false, true, true]);
    // Behind a drop the second transform works on a selection; layers add up.
    let result = done(run(&[&transform, &mark], &batch));
    let seen: Vec<_> = (0..5).map(|record| value(&result, record, 2)).collect();
    let some = |text: &'static [u8]| Some(Some(text));
    assert_eq!(seen, [some(b"!"), some(b"!"), None, Some(None), some(b"!")]);
    assert_eq!(value(&result, 1, 1), some(b"E"));
    assert_eq!(
        (result.edits.binding(0), result.edits.binding(1)),
        (Some(0), Some(1))
    );
    assert!(result.edits.touches(1, 0) && !result.edits.touches(0, 0));
    // Patched columns behind a dense edit of the whole batch.
    let not_marked = BY_VALUE.replace("(i32.const 116)", "(i32.const 97)");
    let not_marked = bind(&engine, &Guest::filter(&not_marked), spec("n"));
    let result = done(run(&[&mark, &not_marked], &records(&["a", "a"])));
    assert_eq!(result.keep, [true, true], "an `a` would have trapped");
}

#[test]
fn routes_carry_the_edits_made_before_them() {
    let engine = engine();
    let transform = bind(&engine, &Guest::transform(EDIT_BY_VALUE), spec("t"));
    let mark = bind(&engine, &Guest::transform(MARK_ALL), spec("m"));
    let router = bind(&engine, &Guest::router(ROUTE_ALL), spec("r"));
    let batch = records(&["edit", "b"]);
    let layers = |bindings: &[&Arc<Binding>]| {
        let result = done(run(bindings, &batch));
        let layers: Vec<usize> = result.routes.iter().map(|route| route.layers).collect();
        (layers, result)
    };
    assert_eq!(layers(&[&router, &transform]).0, [0, 0]);
    let (seen, result) = layers(&[&transform, &router, &mark]);
    assert_eq!(seen, [1, 1]);
    assert_eq!(value(&result, 0, 1), Some(Some(&b"E"[..])));
    assert_eq!(value(&result, 0, 2), Some(Some(&b"!"[..])));
}

#[test]
fn split_batches_are_edited_like_whole_ones() {
    let engine = engine();
    let values: Vec<String> = (0..100)
        .map(|n| match n % 5 {
            0 => "drop".into(),
            1 | 2 => format!("edit {n}"),
            3 => "null".into(),
            _ => "keep".into(),
        })
        .collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let batch = records(&values);
    let whole = bind(&engine, &Guest::transform(EDIT_BY_VALUE), spec("t"));
    let limits = Limits {
        call_records: 7,
        ..Limits::default()
    };
    let split = bind(
        &engine,
        &Guest::transform(EDIT_BY_VALUE),
        with_policy(OnError::Reject, limits),
    );
    let first = bind(&engine, &Guest::filter(BY_VALUE), spec("first"));
    let of = |bindings: &[&Arc<Binding>]| {
        let result = done(run(bindings, &batch));
        let edits: Vec<Option<Option<Vec<u8>>>> = (0..100)
            .map(|record| value(&result, record, 1).map(|v| v.map(<[u8]>::to_vec)))
            .collect();
        (result.keep, edits)
    };
    let expected = of(&[&whole]);
    assert_eq!(expected.1.iter().flatten().count(), 60);
    assert_eq!(of(&[&split]), expected);
    assert_eq!(of(&[&first, &split]), expected);
    assert!(split.stats().calls > 15);
}

#[test]
fn tombstones_bypass_transforms_and_one_made_on_the_way_is_one() {
    let engine = engine();
    let mark_null = "
        (drop (call $untouched))
        (i32.store8 (i32.const 1080) (i32.const 1))
        (i32.store (i32.const 1084) (i32.const 3000)) (i32.store (i32.const 1088) (i32.const 1))
        (i32.store (i32.const 3000) (i32.const 0))
        (i32.store (i32.const 1092) (i32.const 3008)) (i32.store (i32.const 1096) (i32.const 2))
        (i32.store (i32.const 1108) (i32.const 3016)) (i32.store (i32.const 1112) (i32.const 1))
        (i32.store8 (i32.const 3016) (i32.const 1))
        (i32.const 1024)";
    let nulls_first = bind(&engine, &Guest::transform(mark_null), spec("n"));
    let drop_all = bind(
        &engine,
        &Guest::filter("(call $all (local.get $batch) (i32.const 1))"),
        spec("f"),
    );
    let batch = records_of(&[None, Some(b"a"), Some(b"b")]);
    let chain = Chain::new(vec![Arc::clone(&nulls_first), drop_all]);
    let input = ChainInput {
        keep_tombstones: true,
        ..ChainInput::new("orders", 0, 0, &batch)
    };
    let result = done(chain.run(&input));
    assert_eq!(nulls_first.stats().records_in, 2);
    assert_eq!(value(&result, 0, 1), None, "the tombstone was not shown");
    assert_eq!(value(&result, 1, 1), Some(None));
    assert_eq!(result.keep, [true, true, false]);
    let result = done(chain.run(&ChainInput {
        keep_tombstones: false,
        ..input
    }));
    assert_eq!(result.keep, [false; 3]);
}

/// A transform that gives every key back as it came.
fn same_keys(writes: u8) -> Guest {
    Guest {
        columns: 1,
        writes,
        ..Guest::transform(
            "(drop (call $untouched))
             (i32.store8 (i32.const 1044) (i32.const 1))
             (memory.copy (i32.const 1056) (i32.add (local.get $batch) (i32.const 72)) (i32.const 24))
             (i32.const 1024)",
        )
    }
}

#[test]
fn only_what_is_declared_may_be_replaced_and_keys_not_everywhere() {
    let engine = engine();
    let batch = records(&["a", "b"]);
    let sneaky = bind(&engine, &same_keys(2), spec("s"));
    let failure = failed(run(&[&sneaky], &batch));
    assert_eq!(failure.kind, FailureKind::BadOutput);
    assert!(failure.message.contains("replaced keys"), "{failure:?}");

    let keys = bind(&engine, &same_keys(1), spec("k"));
    let result = done(run(&[&keys], &batch));
    assert_eq!(result.edits.of(1, 1).unwrap().key, Some(Some(&b"k1"[..])));
    let chain = Chain::new(vec![keys]);
    let failure = failed(chain.run(&ChainInput {
        fixed_keys: true,
        ..ChainInput::new("orders", 0, 0, &batch)
    }));
    assert_eq!(failure.kind, FailureKind::BadOutput);
    assert!(failure.message.contains("compacted"), "{failure:?}");
}

#[test]
fn headers_and_timestamps_are_replaced_too() {
    // Record 1 of two gets the headers that the batch has, and the timestamp 5.
    let body = "
        (drop (call $untouched))
        (i32.store (i32.const 3000) (i32.const 1))
        (i32.store8 (i32.const 1116) (i32.const 1))
        (i32.store (i32.const 1120) (i32.const 3000)) (i32.store (i32.const 1124) (i32.const 1))
        (i32.store (i32.const 3004) (i32.const 0)) (i32.store (i32.const 3008) (i32.const 2))
        (i32.store (i32.const 1128) (i32.const 3004)) (i32.store (i32.const 1132) (i32.const 2))
        (memory.copy (i32.const 1136) (i32.add (local.get $batch) (i32.const 136)) (i32.const 48))
        (i64.store (i32.const 3016) (i64.const 5))
        (i32.store8 (i32.const 1184) (i32.const 1))
        (i32.store (i32.const 1188) (i32.const 3000)) (i32.store (i32.const 1192) (i32.const 1))
        (i32.store (i32.const 1196) (i32.const 3016)) (i32.store (i32.const 1200) (i32.const 1))
        (i32.const 1024)";
    let guest = Guest {
        columns: 4,
        writes: 12,
        ..Guest::transform(body)
    };
    // Fails unless record 1 has two headers and the timestamp 5.
    let check = "
        (if (i32.ne (i32.load offset=8 (i32.load offset=128 (local.get $batch))) (i32.const 3))
            (then (unreachable)))
        (if (i64.ne (i64.load offset=8 (i32.load offset=60 (local.get $batch))) (i64.const 5))
            (then (unreachable)))";
    let checker = Guest {
        columns: 12,
        ..Guest::filter(&format!("{check} {KEEP_ALL}"))
    };
    let engine = engine();
    let transform = bind(&engine, &guest, spec("t"));
    let checker = bind(&engine, &checker, spec("c"));
    let batch: Records = records(&["a", "b"]);
    let result = done(run(&[&transform, &checker], &batch));
    assert_eq!(result.edits.of(0, 1), None);
    let edit = result.edits.of(1, 1).unwrap();
    let header = (&b"h"[..], Some(&b"v"[..]));
    assert_eq!(edit.headers, Some(vec![header, header]));
    assert_eq!(edit.timestamp, Some(5));
    assert_eq!(edit.value, None);
}

#[test]
fn a_poison_record_of_a_transform_stands_alone() {
    let engine = engine();
    let values: Vec<&str> = (0..32)
        .map(|n| match n {
            9 => "trap",
            20 => "edit",
            _ => "keep",
        })
        .collect();
    let transform = bind(
        &engine,
        &Guest::transform(EDIT_BY_VALUE),
        with_policy(OnError::Pass, Limits::default()),
    );
    let result = done(run(&[&transform], &records(&values)));
    assert!(result.keep.iter().all(|keep| *keep));
    assert_eq!(value(&result, 20, 1), Some(Some(&b"E"[..])));
    assert_eq!(result.failures.len(), 1);
    assert_eq!(result.failures[0].records, [9]);
}
