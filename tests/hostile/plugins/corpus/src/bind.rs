//! Guests that do harm while their configuration is tried.

use crate::Shape;
use crate::guests::{BY_VALUE, Guest, KEEP_ALL, ROUTE_ALL};
use crate::works::SECRET_MODE;

const LOOP: &str = "(loop $ever (br $ever)) (unreachable)";
/// Four bytes that are not UTF-8 begin at 640.
const NOT_UTF8: (u32, u32) = (640, 4);

pub(crate) fn shapes() -> Vec<Shape> {
    let configure = |body: &str| {
        let body = body.to_owned();
        Guest {
            configure: body,
            pages: 40,
            ..Guest::filter(BY_VALUE)
        }
        .build()
    };
    let targets = |body: &str| {
        let body = body.to_owned();
        Guest {
            targets: body,
            pages: 40,
            ..Guest::router(ROUTE_ALL)
        }
        .build()
    };
    vec![
        ("trap-in-configure", configure("(unreachable)")),
        ("loop-in-configure", configure(LOOP)),
        ("memory-bomb-in-configure", configure(MEMORY_BOMB)),
        (
            "error-of-two-megabytes",
            configure("(call $fail (i32.const 0) (i32.const 2000000))"),
        ),
        ("error-that-is-not-utf8", configure(&fail_with(NOT_UTF8))),
        ("secret-in-error", secret_in_error()),
        (
            "state-on-a-consume-chain",
            Guest {
                state: 1,
                ..Guest::filter(BY_VALUE)
            }
            .build(),
        ),
        ("trap-in-targets", targets("(unreachable)")),
        ("loop-in-targets", targets(LOOP)),
        ("no-targets", targets(&list_of_targets(0))),
        (
            "a-hundred-thousand-targets",
            targets(&list_of_targets(100_000)),
        ),
        ("target-that-is-not-utf8", targets(&target(NOT_UTF8))),
        (
            "target-that-is-internal",
            target_named("__consumer_offsets"),
        ),
        ("target-that-is-everything", target_named("*")),
        ("target-that-is-a-path", target_named("../out")),
    ]
}

const MEMORY_BOMB: &str =
    "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
    (unreachable)";

fn fail_with((at, length): (u32, u32)) -> String {
    format!("(call $fail (i32.const {at}) (i32.const {length}))")
}

/// Refuses with the value of a key that it calls secret.
fn secret_in_error() -> Vec<u8> {
    Guest {
        describe: SECRET_MODE.into(),
        configure: "(call $config (i32.const 720) (i32.const 4) (i32.const 920))
            (call $fail (i32.load (i32.const 924)) (i32.load (i32.const 928)))"
            .into(),
        ..Guest::filter(KEEP_ALL)
    }
    .build()
}

/// A list of so many empty names, which memory is full of.
fn list_of_targets(count: u32) -> String {
    format!(
        "(i32.store8 (i32.const 512) (i32.const 0))
         (i32.store (i32.const 516) (i32.const 131072)) (i32.store (i32.const 520) (i32.const {count}))
         (i32.const 512)"
    )
}

/// One name, at an address.
fn target((at, length): (u32, u32)) -> String {
    format!(
        "(i32.store (i32.const 920) (i32.const {at})) (i32.store (i32.const 924) (i32.const {length}))
         (i32.store8 (i32.const 512) (i32.const 0))
         (i32.store (i32.const 516) (i32.const 920)) (i32.store (i32.const 520) (i32.const 1))
         (i32.const 512)"
    )
}

fn target_named(name: &str) -> Vec<u8> {
    Guest {
        targets: target((940, name.len() as u32)),
        extra: format!("(data (i32.const 940) \"{name}\")"),
        ..Guest::router(ROUTE_ALL)
    }
    .build()
}
