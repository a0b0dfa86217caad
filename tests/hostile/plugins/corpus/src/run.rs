//! Guests that do harm with the records they are given.

use crate::Shape;
use crate::guests::{BY_VALUE, Guest, ROUTE_ALL};
use crate::works::log_line_of;

pub(crate) fn shapes() -> Vec<Shape> {
    [filters(), routers(), transforms()].concat()
}

fn filters() -> Vec<Shape> {
    let filter = |body: &str| {
        Guest {
            pages: 64,
            extra: "(table $t 10 funcref)
                (func $deep (param i32) (result i32)
                    (i32.add (call $deep (local.get 0)) (call $deep (local.get 0))))"
                .into(),
            ..Guest::filter(body)
        }
        .build()
    };
    vec![
        ("loop", filter("(loop $ever (br $ever)) (unreachable)")),
        ("recursion", filter("(call $deep (i32.const 0))")),
        ("memory-bomb", filter(&bomb("(memory.grow (i32.const 16))"))),
        (
            "table-bomb",
            filter(&bomb("(table.grow $t (ref.null func) (i32.const 1000))")),
        ),
        ("trap-on-a-record", filter(BY_VALUE)),
        (
            "division-by-zero",
            filter("(i32.div_u (i32.const 1) (i32.const 0))"),
        ),
        ("load-out-of-bounds", filter("(i32.load (i32.const -8))")),
        (
            "call-of-nothing",
            filter("(call_indirect $t (result i32) (i32.const 0))"),
        ),
        ("answer-out-of-bounds", filter("(i32.const -16)")),
        ("answer-not-aligned", filter("(i32.const 513)")),
        (
            "answer-of-no-kind",
            filter("(i32.store8 (i32.const 512) (i32.const 7)) (i32.const 512)"),
        ),
        (
            "too-few-verdicts",
            filter("(call $ok (i32.const 0) (i32.const 1))"),
        ),
        (
            "too-many-verdicts",
            filter("(call $ok (i32.const 0) (i32.const 40))"),
        ),
        (
            "unknown-verdict",
            filter("(call $all (local.get $batch) (i32.const 3))"),
        ),
        (
            "three-megabytes-of-verdicts",
            filter("(call $ok (i32.const 0) (i32.const 3000000))"),
        ),
        (
            "verdicts-out-of-bounds",
            filter("(call $ok (i32.const 0) (i32.const -1))"),
        ),
        ("reason-for-no-record", filter(&reasons(1, 99))),
        ("a-million-reasons", filter(&reasons(300_000, 0))),
        (
            "error-that-is-not-utf8",
            filter("(call $fail (i32.const 640) (i32.const 4))"),
        ),
        (
            "error-of-three-megabytes",
            filter("(call $fail (i32.const 0) (i32.const 3000000))"),
        ),
        (
            "its-own-error",
            filter("(call $fail (i32.const 740) (i32.const 11))"),
        ),
        (
            "endless-log",
            filter(&ever(
                "(call $log (i32.const 2) (i32.const 740) (i32.const 11))",
            )),
        ),
        ("huge-log-line", log_line_of(8 << 20)),
        (
            "log-out-of-bounds",
            filter("(call $log (i32.const 2) (i32.const -8) (i32.const 100)) (unreachable)"),
        ),
        (
            "log-that-is-not-utf8",
            filter("(call $log (i32.const 2) (i32.const 640) (i32.const 4)) (unreachable)"),
        ),
        (
            "endless-counter",
            filter(&ever(
                "(call $counter (i32.const 720) (i32.const 4) (i64.const -1))",
            )),
        ),
        (
            "counter-that-is-not-utf8",
            filter("(call $counter (i32.const 640) (i32.const 4) (i64.const 1)) (unreachable)"),
        ),
        ("lying-allocator", lying_allocator()),
    ]
}

fn routers() -> Vec<Shape> {
    let body = ROUTE_ALL
        .rsplit_once("(i32.const 512)")
        .map_or("", |(body, _)| body);
    let router = |patch: &str| {
        Guest {
            pages: 300,
            ..Guest::router(&format!("{body} {patch} (i32.const 512)"))
        }
        .build()
    };
    let word = |at: u32, value: &str| format!("(i32.store (i32.const {at}) (i32.const {value}))");
    let first =
        |list: &str, value: &str| format!("(i32.store (local.get ${list}) (i32.const {value}))");
    // The lists are read from where zeros are: record 0 to topic 0 in partition 0, a million times.
    let million = [
        ("540", "131072"),
        ("544", "1000000"),
        ("548", "131072"),
        ("552", "1000000"),
        ("556", "131072"),
        ("560", "1000000"),
    ]
    .map(|(at, value)| format!("(i32.store (i32.const {at}) (i32.const {value}))"))
    .concat();
    vec![
        ("a-million-routes", router(&million)),
        ("route-of-no-record", router(&first("records", "99"))),
        ("routes-that-run-backwards", router(&first("records", "2"))),
        ("route-to-no-target", router(&first("targets", "7"))),
        (
            "route-to-an-unknown-partition-choice",
            router(&first("partitions", "-3")),
        ),
        (
            "route-to-a-partition-that-is-not-there",
            router(&first("partitions", "1000000")),
        ),
        (
            "route-to-another-topic",
            router(&(word(640, "700") + &word(644, "5"))),
        ),
        (
            "topic-that-is-not-utf8",
            router(&(word(640, "640") + &word(644, "4"))),
        ),
        ("fewer-targets-than-routes", router(&word(552, "1"))),
    ]
}

/// Fields of the answer, from wit/plugin.wit by the canonical ABI: values' option 568, rows 572, offsets 580, data 588, nulls 596.
fn transforms() -> Vec<Shape> {
    // At 1024, the lists that a shape begins with: rows 0 and 1; offsets 0, 4, 8; eight bytes of data.
    let honest = "(drop (call $untouched))
        (i32.store8 (i32.const 568) (i32.const 1))
        (i32.store (i32.const 572) (i32.const 1024)) (i32.store (i32.const 576) (i32.const 2))
        (i32.store (i32.const 580) (i32.const 1040)) (i32.store (i32.const 584) (i32.const 3))
        (i32.store (i32.const 588) (i32.const 1056)) (i32.store (i32.const 592) (i32.const 8))
        (i32.store (i32.const 1028) (i32.const 1))
        (i32.store (i32.const 1044) (i32.const 4)) (i32.store (i32.const 1048) (i32.const 8))";
    let word = |at: u32, value: i64| format!("(i32.store (i32.const {at}) (i32.const {value}))");
    let transform = |patch: &str| {
        Guest {
            pages: 64,
            extra: "(data (i32.const 1056) \"aaaabbbb\")".into(),
            ..Guest::transform(&format!("{honest} {patch} (i32.const 512)"))
        }
        .build()
    };
    let forbidden = Guest {
        writes: 1,
        extra: "(data (i32.const 1056) \"aaaabbbb\")".into(),
        ..Guest::transform(&format!("{honest} (i32.const 512)"))
    };
    vec![
        ("edit-offsets-that-run-backwards", transform(&word(1044, 9))),
        (
            "edit-offsets-that-do-not-begin-at-zero",
            transform(&word(1040, 4)),
        ),
        ("edit-offsets-past-the-data", transform(&word(1048, 9))),
        ("edit-offsets-too-few", transform(&word(584, 2))),
        ("edit-rows-out-of-range", transform(&word(1028, 99))),
        ("edit-rows-twice", transform(&word(1028, 0))),
        ("edit-data-out-of-bounds", transform(&word(588, -4))),
        (
            "edit-nulls-too-many",
            transform(&(word(596, 1056) + &word(600, 8))),
        ),
        (
            "edit-of-three-megabytes",
            transform(&(word(588, 131_072) + &word(592, 3_000_000) + &word(1048, 3_000_000))),
        ),
        ("edit-of-a-column-it-may-not-write", forbidden.build()),
        (
            "edit-and-too-many-verdicts",
            transform(&(word(516, 1056) + &word(520, 99))),
        ),
    ]
}

/// Takes more until it is told no, then dies of it.
fn bomb(grow: &str) -> String {
    format!("(loop $more (br_if $more (i32.ne {grow} (i32.const -1)))) (unreachable)")
}

fn ever(what: &str) -> String {
    format!("(loop $ever {what} (br $ever)) (unreachable)")
}

/// Rejects everything, with so many empty reasons for one record.
fn reasons(count: u32, record: u32) -> String {
    format!(
        "(drop (call $all (local.get $batch) (i32.const 2)))
        (i32.store (i32.const 131072) (i32.const {record}))
        (i32.store (i32.const 524) (i32.const 131072)) (i32.store (i32.const 528) (i32.const {count}))
        (i32.const 512)"
    )
}

/// Tells the truth while it is configured, and then gives memory that is not there.
fn lying_allocator() -> Vec<u8> {
    Guest {
        realloc: "(if (global.get $calls) (then (return (i32.const -64))))
            (global.set $free (i32.add (global.get $free) (i32.const 1024)))
            (i32.sub (global.get $free) (i32.const 1024))"
            .into(),
        configure: "(global.set $calls (i32.const 1)) (call $ok (i32.const 0) (i32.const 0))"
            .into(),
        ..Guest::filter("(call $ok (i32.const 0) (i32.const 0))")
    }
    .build()
}
