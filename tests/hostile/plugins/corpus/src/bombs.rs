//! Files that are small to send and large to compile.

use std::fmt::Write as _;

use crate::Shape;
use crate::guests::{Guest, KEEP_ALL};

pub(crate) fn shapes() -> Vec<Shape> {
    vec![
        ("bomb-of-functions", module(&functions(60_000))),
        ("bomb-of-locals", module(&locals(400))),
        ("bomb-of-one-function", module(&one_function(250_000))),
        ("bomb-of-branches", module(&branches(60))),
        ("bomb-of-nesting", module(&nesting(20_000))),
        ("bomb-of-types", types(40)),
    ]
}

fn module(extra: &str) -> Vec<u8> {
    Guest {
        extra: extra.to_owned(),
        ..Guest::filter(KEEP_ALL)
    }
    .build()
}

/// Many functions, each short.
fn functions(count: u32) -> String {
    let mut text = String::new();
    for n in 0..count {
        let _ = write!(
            text,
            "(func (param i32) (result i32) (i32.add (i32.mul (local.get 0) (i32.const {n})) (i32.const 1)))"
        );
    }
    text
}

/// The most locals that a function may have cost four bytes to declare.
fn locals(count: u32) -> String {
    let many = " i64".repeat(49_000);
    let mut text = String::new();
    for n in 0..count {
        let _ = write!(
            text,
            "(func (result i64) (local{many}) (local.set {} (i64.const 1)) (local.get {n}))",
            n + 1
        );
    }
    text
}

/// One function in which everything depends on everything before.
fn one_function(steps: u32) -> String {
    let mut text = String::from("(func (param i64 i64 i64 i64) (result i64)");
    for n in 0..steps {
        let (to, a, b) = (n % 4, (n + 1) % 4, (n * 7 + 3) % 4);
        let _ = write!(
            text,
            "(local.set {to} (i64.xor (i64.mul (local.get {a}) (local.get {b})) (i64.const {n})))"
        );
    }
    text + "(local.get 0))"
}

/// Tables of branches, each as long as a table may be.
fn branches(count: u32) -> String {
    let arms = " 0 1".repeat(30_000);
    let one = format!("(func (param i32) (block (block (br_table{arms} 0 (local.get 0)))))");
    one.repeat(count as usize)
}

/// Blocks within blocks.
fn nesting(depth: usize) -> String {
    format!(
        "(func (param i32) {} {})",
        "block local.get 0 br_if 0 ".repeat(depth),
        "end ".repeat(depth)
    )
}

/// Each type is twice the one before.
fn types(doublings: u32) -> Vec<u8> {
    let mut text = String::from("(component (type $t0 (tuple u64 u64))");
    for n in 1..=doublings {
        let _ = write!(text, "(type $t{n} (tuple $t{0} $t{0}))", n - 1);
    }
    let _ = write!(
        text,
        "(import \"tidegate:plugin/host@0.1.0\" (instance (export \"f\" (func (param \"x\" $t{doublings}))))))"
    );
    wat::parse_str(&text).expect("WAT parses")
}
