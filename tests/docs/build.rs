//! Writes the Rust blocks of the documents to a file that tests/snippets.rs includes: those of the SDK.

use std::path::Path;

#[path = "src/lib.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "a library's functions are not all for its build script"
)]
mod markdown;

fn main() {
    // Asked when it runs: the target directory outlives the checkout that compiled this, and another one finds it there.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    let root = Path::new(&here).join("../..");
    markdown::write_modules(&root, |text| !text.contains("tidegate_test"));
}
