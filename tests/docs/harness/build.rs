//! Writes the Rust blocks of the documents to a file that tests/snippets.rs includes: those of the harness.

use std::path::{Path, PathBuf};

#[path = "../src/lib.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "a library's functions are not all for its build script"
)]
mod markdown;

fn main() {
    // Asked when it runs: the target directory outlives the checkout that compiled this, and another one finds it there.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    let root = Path::new(&here).join("../../..");
    markdown::write_modules(&root, |text| text.contains("tidegate_test"));
    // A reader stands in the repository's directory; Cargo runs a test in its crate's.
    let root = root.canonicalize().expect("the repository is there");
    let snippets = PathBuf::from(std::env::var("OUT_DIR").expect("Cargo says")).join("snippets.rs");
    let text = std::fs::read_to_string(&snippets).expect("it was just written");
    let text = text.replace("\"target/", &format!("\"{}/target/", root.display()));
    std::fs::write(&snippets, text).expect("the build directory is ours");
}
