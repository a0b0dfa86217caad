//! One plugin, `pick`, in every language that plugins can be written in.

use std::path::{Path, PathBuf};

/// A language: its name, and the directory below `sdk/`.
pub const LANGUAGES: &[(&str, &str)] = &[
    ("Rust", "rust"),
    ("C", "c"),
    ("Go", "go"),
    ("JavaScript", "js"),
    ("Python", "python"),
];

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where `make languages` puts the component of one language.
pub fn component(language: &str) -> PathBuf {
    root().join(format!("target/languages/pick-{language}.wasm"))
}
