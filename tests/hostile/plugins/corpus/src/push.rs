//! Guests that do harm while they are validated and described, and files that are no plugins.

use crate::Shape;
use crate::guests::{Guest, KEEP_ALL};

pub(crate) fn shapes() -> Vec<Shape> {
    vec![
        ("trap-in-describe", described("(unreachable)")),
        (
            "loop-in-describe",
            described("(loop $ever (br $ever)) (unreachable)"),
        ),
        (
            "description-of-two-megabytes",
            described(&changed("(i32.store (i32.const 772) (i32.const 2000000))")),
        ),
        ("description-out-of-bounds", described("(i32.const -4)")),
        (
            "name-that-is-not-utf8",
            described(&changed(
                "(i32.store (i32.const 768) (i32.const 640)) (i32.store (i32.const 772) (i32.const 4))",
            )),
        ),
        (
            "no-name",
            described(&changed("(i32.store (i32.const 772) (i32.const 0))")),
        ),
        (
            "state-that-is-not-there",
            described(&changed("(i32.store8 (i32.const 793) (i32.const 9))")),
        ),
        (
            "trap-in-start",
            started("(start $s) (func $s (unreachable))", 2),
        ),
        (
            "loop-in-start",
            started("(start $s) (func $s (loop $ever (br $ever)))", 2),
        ),
        ("memory-above-the-limit", started("", 1100)),
        (
            "table-above-any-limit",
            started("(table 1000000 funcref)", 2),
        ),
        (
            "wasi",
            component("(component (import \"wasi:clocks/monotonic-clock@0.2.0\" (instance)))"),
        ),
        (
            "unknown-import",
            component("(component (import \"exit\" (func)))"),
        ),
        ("unknown-host-function", unknown_host_function()),
        (
            "host-function-of-another-type",
            host_function_of_another_type(),
        ),
        (
            "core-module",
            component("(module (func (export \"filter\")))"),
        ),
        ("no-world", component("(component)")),
        ("exports-of-another-type", exports_of_another_type()),
        ("empty", Vec::new()),
        ("text", b"#!/bin/sh\nexit 0\n".to_vec()),
        ("only-a-header", b"\0asm\x0d\0\x01\0".to_vec()),
        // How an artifact of the compiler begins: an ELF file of its own kind.
        (
            "compiled-artifact",
            [b"\x7fELF\x02\x01\x01\xc8".as_slice(), &[0; 4096]].concat(),
        ),
        ("thirty-three-mebibytes", thirty_three_mebibytes()),
    ]
}

fn described(describe: &str) -> Vec<u8> {
    Guest {
        describe: describe.into(),
        pages: 64,
        ..Guest::filter(KEEP_ALL)
    }
    .build()
}

/// The usual description with something overwritten.
fn changed(stores: &str) -> String {
    format!("(drop (call $description)) {stores} (i32.const 768)")
}

fn started(extra: &str, pages: u32) -> Vec<u8> {
    Guest {
        extra: extra.into(),
        pages,
        ..Guest::filter(KEEP_ALL)
    }
    .build()
}

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("WAT parses")
}

fn unknown_host_function() -> Vec<u8> {
    let mut guest = Guest::filter(KEEP_ALL);
    guest.wit = guest.wit.replace(
        "interface host {",
        "interface host {\n    open-file: func(path: string) -> bool;\n",
    );
    guest.imports = "(import \"tidegate:plugin/host@0.1.0\" \"open-file\"
        (func $open (param i32 i32) (result i32)))"
        .into();
    guest.build()
}

/// A list of bytes and a string look the same to a core module, not to a component.
fn host_function_of_another_type() -> Vec<u8> {
    let mut guest = Guest::filter(KEEP_ALL);
    guest.wit = guest.wit.replace(
        "log: func(level: level, message: string)",
        "log: func(level: level, message: list<u8>)",
    );
    guest.build()
}

fn exports_of_another_type() -> Vec<u8> {
    component(
        "(component
            (core module $m (func (export \"f\")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i \"f\")))
            (export \"filter\" (func $f)) (export \"describe\" (func $f)) (export \"configure\" (func $f)))",
    )
}

/// A good plugin, and behind it a custom section that makes it a mebibyte larger than may be.
fn thirty_three_mebibytes() -> Vec<u8> {
    let mut wasm = Guest::filter(KEEP_ALL).build();
    let name = b"padding";
    let size = (33 << 20) - wasm.len() - 6;
    wasm.push(0);
    // Five bytes of LEB128, whatever the size.
    wasm.extend((0..5).map(|i| ((size >> (7 * i)) & 0x7f) as u8 | if i < 4 { 0x80 } else { 0 }));
    let end = wasm.len() + size;
    wasm.push(name.len() as u8);
    wasm.extend(name);
    wasm.resize(end, 0);
    wasm
}
