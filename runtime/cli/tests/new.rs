//! `plugin new` makes projects that build, and whose golden cases pass: without this repository, only with what the binary
//! carries. Needs a Rust toolchain for Wasm; the first build of a target directory takes a minute or two.

use std::path::Path;
use std::process::{Command, Output};

/// Runs the binary; its projects share one target directory, so that the standard library is built once.
fn tidegate(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.current_dir(dir).args(arguments);
    if std::env::var_os("CARGO_TARGET_DIR").is_none() {
        command.env("CARGO_TARGET_DIR", env!("CARGO_TARGET_TMPDIR"));
    }
    command.output().expect("the binary starts")
}

#[track_caller]
fn succeeds(dir: &Path, arguments: &[&str]) -> String {
    let output = tidegate(dir, arguments);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}:\n{told}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn fails(dir: &Path, arguments: &[&str]) -> String {
    let output = tidegate(dir, arguments);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    let both = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[test]
fn a_new_rust_project_builds_and_passes() {
    for kind in ["filter", "router", "transform"] {
        let home = tempfile::tempdir().unwrap();
        let name = format!("my-{kind}");
        succeeds(home.path(), &["plugin", "new", &name, "--kind", kind]);
        let project = home.path().join(&name);
        let told = succeeds(&project, &["plugin", "test"]);
        assert!(told.contains("as they should be"), "{told}");

        let built = succeeds(&project, &["plugin", "build", "--out", "plugin.wasm"]);
        assert!(built.starts_with("plugin.wasm"), "{built}");
        // The file alone, without the project.
        succeeds(&project, &["plugin", "test", "plugin.wasm"]);
    }
}

#[test]
fn a_snapshot_that_differs_fails_until_it_is_updated() {
    let home = tempfile::tempdir().unwrap();
    succeeds(home.path(), &["plugin", "new", "my-filter"]);
    let project = home.path().join("my-filter");
    succeeds(&project, &["plugin", "build", "--out", "plugin.wasm"]);
    let snapshot = project.join("golden/prefix.snap");
    let right = std::fs::read_to_string(&snapshot).unwrap();
    std::fs::write(&snapshot, right.replacen("drop", "keep", 1)).unwrap();

    let told = fails(&project, &["plugin", "test", "plugin.wasm"]);
    assert!(told.contains("    - keep\n    + drop"), "{told}");
    assert!(told.contains("error: 1 of 1 case did not pass"), "{told}");
    succeeds(&project, &["plugin", "test", "plugin.wasm", "--update"]);
    assert_eq!(std::fs::read_to_string(&snapshot).unwrap(), right);
}

#[test]
fn nothing_is_written_over_and_what_there_is_not_is_told() {
    let home = tempfile::tempdir().unwrap();
    succeeds(home.path(), &["plugin", "new", "mine"]);
    let told = fails(home.path(), &["plugin", "new", "mine"]);
    assert!(
        told.contains("is not empty; name another with --dir"),
        "{told}"
    );
    let told = fails(home.path(), &["plugin", "test", "nowhere"]);
    assert!(told.contains("nowhere"), "{told}");
    let told = fails(home.path(), &["plugin", "build", "."]);
    assert!(told.contains("tidegate plugin new NAME"), "{told}");
}
