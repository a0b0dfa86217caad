//! The repository as it stands, held to every check.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate_tests_tidy::{Complaint, crates, source, words};

/// What is searched; the rest is generated, or somebody else's.
const TREES: &[&str] = &["runtime", "sdk", "plugins", "tests", "examples"];
const SKIPPED: &[&str] = &["target", "node_modules", "__pycache__"];
const WRITTEN: &[&str] = &["rs", "py", "js", "sh", "wit"];

#[test]
fn crates_depend_only_on_whom_they_may() {
    let manifests = manifests();
    assert!(
        manifests.len() > 1,
        "the plugins have a workspace of their own"
    );
    let crates: Vec<_> = manifests
        .iter()
        .flat_map(|manifest| metadata(manifest))
        .collect();
    assert!(crates.len() > 10, "only {} crates were found", crates.len());
    report(crates.iter().flat_map(crates::forbidden_edges).collect());
}

#[test]
fn sources_name_only_what_they_may() {
    let files = files(&["rs"]);
    assert!(files.len() > 150, "only {} files were found", files.len());
    let only_tests = test_files(&files);
    let complaints = files
        .iter()
        .flat_map(|(path, text)| words::complaints(path, text, is_test(path, &only_tests)));
    report(complaints.collect());
}

#[test]
fn files_are_chapters() {
    report(
        files(WRITTEN)
            .iter()
            .filter_map(|(path, text)| words::too_long(path, text))
            .collect(),
    );
}

#[track_caller]
fn report(complaints: Vec<Complaint>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize()
        .expect("the repository is where its tests were built")
}

/// One manifest for each workspace: the root's, and those of whatever builds for wasm32 beside it.
fn manifests() -> Vec<PathBuf> {
    let root = root();
    let mut found = vec![root.join("Cargo.toml")];
    for (path, text) in files(&["toml"]) {
        if path.ends_with("Cargo.toml") && text.lines().any(|line| line.trim() == "[workspace]") {
            found.push(root.join(path));
        }
    }
    found
}

fn metadata(manifest: &Path) -> Vec<crates::Crate> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
            "--manifest-path",
        ])
        .arg(manifest)
        .output()
        .expect("cargo runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "cargo metadata of {}: {errors}",
        manifest.display()
    );
    crates::parse(&String::from_utf8_lossy(&output.stdout)).expect("metadata is as cargo writes it")
}

/// (path from the root, text) of every file with one of these extensions.
fn files(extensions: &[&str]) -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut left: Vec<PathBuf> = TREES.iter().map(|tree| root.join(tree)).collect();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let skipped = |path: &Path| {
                let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
                SKIPPED.contains(&name) || name.starts_with('.')
            };
            let entries = fs::read_dir(&path).expect("a directory of the repository can be read");
            left.extend(
                entries
                    .flatten()
                    .map(|entry| entry.path())
                    .filter(|path| !skipped(path)),
            );
        } else if path
            .extension()
            .and_then(OsStr::to_str)
            .is_some_and(|e| extensions.contains(&e))
        {
            let text = fs::read_to_string(&path).expect("a file of the repository is text");
            let name = path
                .strip_prefix(&root)
                .expect("it was found below the root");
            found.push((name.to_string_lossy().into_owned(), text));
        }
    }
    found.sort();
    found
}

/// Paths, without `.rs`, of modules that only tests compile.
fn test_files(files: &[(String, String)]) -> HashSet<String> {
    let mut found = HashSet::new();
    for (path, text) in files {
        let (parent, file) = path.rsplit_once('/').unwrap_or(("", path));
        let home = match file {
            "lib.rs" | "main.rs" | "mod.rs" => parent.to_owned(),
            _ => path.trim_end_matches(".rs").to_owned(),
        };
        let code = source::code_of(text);
        found.extend(
            source::test_modules(&code)
                .iter()
                .map(|name| format!("{home}/{name}")),
        );
    }
    found
}

fn is_test(path: &str, test_modules: &HashSet<String>) -> bool {
    let path = path.trim_end_matches(".rs");
    let ancestors = std::iter::successors(Some(path), |path| path.rsplit_once('/').map(|p| p.0));
    ancestors
        .into_iter()
        .any(|path| test_modules.contains(path))
}
