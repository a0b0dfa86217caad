//! Writes the Rust blocks of the documents to a file that tests/snippets.rs includes: those of the harness.

use std::path::Path;

#[path = "../src/lib.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "a library's functions are not all for its build script"
)]
mod markdown;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    markdown::write_modules(&root, |text| text.contains("tidegate_test"));
}
