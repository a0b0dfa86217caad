//! Guests for the tests of the binary.
// Each test binary compiles this file for itself.
#![allow(unreachable_pub, dead_code)]

use std::fmt::Write;

#[path = "../../../plugin/tests/suite/guests.rs"]
pub mod guests;

use guests::{Guest, KEEP_ALL};

/// A plugin with one function that is so long and tangled that its compilation takes seconds and hundreds of MiB.
pub fn bomb() -> Vec<u8> {
    const STATEMENTS: usize = 100_000;
    let mut body = String::with_capacity(STATEMENTS * 100);
    for number in 0..STATEMENTS {
        let (to, from) = (number % 50, (number * 7 + 1) % 50);
        let _ = writeln!(
            body,
            "(local.set {to} (i32.add (local.get {from}) (i32.load offset={number} (local.get {to}))))"
        );
        if number % 3 == 0 {
            let _ = writeln!(body, "(br_if 0 (local.get {to}))");
        }
    }
    let locals = "i32 ".repeat(50);
    Guest {
        extra: format!("(func (export \"bomb\") (local {locals}) (block {body}))"),
        ..Guest::filter(KEEP_ALL)
    }
    .build()
}
