//! Guests that go to the edge of what they may do, and not beyond.

use crate::Shape;
use crate::guests::{BY_VALUE, Guest, KEEP_ALL};

pub(crate) fn shapes() -> Vec<Shape> {
    vec![
        ("plain", Guest::filter(BY_VALUE).build()),
        ("grow-to-the-limit", grow_to_the_limit()),
        ("slow-start", slow_start()),
        ("large-data", large_data()),
        ("large-table", large_table()),
        ("log-flood", log_flood()),
        ("long-log-line", long_log_line()),
        ("control-characters-in-log", control_characters_in_log()),
        ("counter-name-flood", counter_name_flood()),
        ("counter-name-injection", counter_name_injection()),
        ("secret-in-log", secret_in_log()),
        ("one-route-for-each-record", one_route()),
    ]
}

/// Takes page after page until it is told no, writes to each, and answers.
fn grow_to_the_limit() -> Vec<u8> {
    Guest::filter(&format!(
        "(loop $more
            (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1))
                (then
                    (i32.store
                        (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 4)) (i32.const 1))
                    (br $more))))
        {KEEP_ALL}"
    ))
    .build()
}

/// Burns some ten milliseconds before it is even asked, and again when it is configured.
fn slow_start() -> Vec<u8> {
    Guest {
        extra: "(start $burn)
            (func $burn (local $i i32)
                (loop $turn
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $turn (i32.lt_u (local.get $i) (i32.const 10000000)))))"
            .into(),
        configure: format!("(call $burn) {KEEP_ALL}"),
        ..Guest::filter(BY_VALUE)
    }
    .build()
}

/// Eight MiB of data that every instance begins with.
fn large_data() -> Vec<u8> {
    let data = "x".repeat(8 << 20);
    Guest {
        pages: 130,
        extra: format!("(data (i32.const 131072) \"{data}\")"),
        ..Guest::filter(BY_VALUE)
    }
    .build()
}

/// Begins with more elements than a table may be grown to.
fn large_table() -> Vec<u8> {
    Guest {
        extra: "(table 15000 funcref)".into(),
        ..Guest::filter(BY_VALUE)
    }
    .build()
}

fn log_flood() -> Vec<u8> {
    repeated(
        200_000,
        "(call $log (i32.const 4) (i32.const 740) (i32.const 11))",
    )
}

fn long_log_line() -> Vec<u8> {
    log_line_of(500 << 10)
}

/// One line of so many bytes.
pub(crate) fn log_line_of(bytes: u32) -> Vec<u8> {
    Guest {
        pages: 130,
        ..Guest::filter(&format!(
            "(memory.fill (i32.const 131072) (i32.const 97) (i32.const {bytes}))
             (call $log (i32.const 4) (i32.const 131072) (i32.const {bytes})) {KEEP_ALL}"
        ))
    }
    .build()
}

/// A line that tries to look like two, the second of them the broker's own.
fn control_characters_in_log() -> Vec<u8> {
    Guest {
        extra: "(data (i32.const 920) \"harmless\\0d\\0a\\1b[2JERROR forged: the disk is gone\")"
            .into(),
        ..Guest::filter(&format!(
            "(call $log (i32.const 4) (i32.const 920) (i32.const 43)) {KEEP_ALL}"
        ))
    }
    .build()
}

/// A hundred thousand counters of different names.
fn counter_name_flood() -> Vec<u8> {
    let digit = |place: u32| {
        format!(
            "(i32.store8 (i32.const {}) (i32.add (i32.const 97)
                (i32.and (i32.shr_u (local.get $i) (i32.const {})) (i32.const 15))))",
            920 + place,
            4 * place
        )
    };
    let name: String = (0..5).map(digit).collect();
    repeated(
        100_000,
        &format!("{name} (call $counter (i32.const 920) (i32.const 5) (i64.const 1))"),
    )
}

/// A name that would end its label and add a line of its own to the metrics.
fn counter_name_injection() -> Vec<u8> {
    Guest {
        extra: "(data (i32.const 920) \"a\\22} 1\\0atidegate_forged 7\\0a\")".into(),
        ..Guest::filter(&format!(
            "(call $counter (i32.const 920) (i32.const 24) (i64.const 1)) {KEEP_ALL}"
        ))
    }
    .build()
}

/// Logs the value of a key that it calls secret.
fn secret_in_log() -> Vec<u8> {
    Guest {
        describe: SECRET_MODE.into(),
        ..Guest::filter(&format!(
            "(call $config (i32.const 720) (i32.const 4) (i32.const 920))
             (call $log (i32.const 4) (i32.load (i32.const 924)) (i32.load (i32.const 928))) {KEEP_ALL}"
        ))
    }
    .build()
}

fn one_route() -> Vec<u8> {
    Guest::router(crate::guests::ROUTE_ALL).build()
}

/// A description whose key `mode` is secret.
pub(crate) const SECRET_MODE: &str =
    "(drop (call $description)) (i32.store8 (i32.const 864) (i32.const 1)) (i32.const 768)";

/// Does something so many times, then keeps everything.
fn repeated(times: u32, what: &str) -> Vec<u8> {
    Guest::filter(&format!(
        "(local $i i32)
        (loop $turn
            {what}
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $turn (i32.lt_u (local.get $i) (i32.const {times}))))
        {KEEP_ALL}"
    ))
    .build()
}
