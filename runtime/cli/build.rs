//! Packs the contract, the SDKs and the templates of `plugin new` into the binary: see `src/plugin/template.rs`.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What is packed, as far as it is there. Paths in the repository.
const ROOTS: [&str; 7] = [
    "wit",
    "sdk/c",
    "sdk/go",
    "sdk/js",
    "sdk/macros",
    "sdk/python",
    "sdk/rust",
];
/// What building or testing an SDK leaves or needs, and a plugin does not.
const LEFT_OUT: [&str; 9] = [
    "Cargo.lock",
    "__pycache__",
    "benches",
    "example",
    "examples",
    "node_modules",
    "target",
    "tests",
    "venv",
];
/// Hidden files that belong to a project.
const HIDDEN: [&str; 2] = [".cargo", ".gitignore"];

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let repository = here.join("../..");
    let mut files = Vec::new();
    for root in ROOTS {
        let path = repository.join(root);
        // Said of what is missing too, so that it is found when it comes.
        println!("cargo::rerun-if-changed={}", path.display());
        if path.is_dir() {
            walk(&path, root, &mut files)?;
        }
    }
    files.sort();
    let mut list = String::from("&[\n");
    for (name, path) in files {
        let path = path.canonicalize()?;
        writeln!(list, "    ({name:?}, include_bytes!({path:?})),").map_err(io::Error::other)?;
    }
    list.push(']');
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("packed.rs"), list)
}

fn walk(dir: &Path, name: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let hidden = file.starts_with('.') && !HIDDEN.contains(&file.as_str());
        if hidden || LEFT_OUT.contains(&file.as_str()) {
            continue;
        }
        let name = format!("{name}/{file}");
        match entry.file_type()?.is_dir() {
            true => walk(&entry.path(), &name, files)?,
            false => files.push((name, entry.path())),
        }
    }
    Ok(())
}
