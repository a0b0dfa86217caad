//! What `--help` says, word by word: `tests/help/*.txt`. A change of it is a change of the product, and is to be read.
//! `TIDEGATE_UPDATE_HELP=1` writes the files.

use std::path::PathBuf;
use std::process::Command;

/// The commands whose pages people work from.
const PAGES: [&[&str]; 20] = [
    &[],
    &["plugin"],
    &["plugin", "new"],
    &["plugin", "build"],
    &["plugin", "test"],
    &["plugin", "bench"],
    &["plugin", "replay"],
    &["plugin", "push"],
    &["plugin", "list"],
    &["plugin", "show"],
    &["plugin", "rollback"],
    &["plugin", "remove"],
    &["plugin", "resume"],
    &["plugin", "explain"],
    &["plugin", "logs"],
    &["dlq"],
    &["dlq", "show"],
    &["dlq", "redrive"],
    &["completions"],
    &["topic", "alter"],
];

fn help(page: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(page)
        .arg("--help")
        .env_remove("TIDEGATE_BOOTSTRAP")
        .env_remove("TIDEGATE_ADMIN")
        .output()
        .expect("the binary starts");
    assert!(output.status.success(), "{page:?}");
    String::from_utf8(output.stdout).expect("help is text")
}

fn file(page: &[&str]) -> PathBuf {
    let name = match page {
        [] => "tidegate".to_owned(),
        words => words.join("-"),
    };
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/help/{name}.txt"))
}

#[test]
fn pages_are_as_they_were_read() {
    let update = std::env::var_os("TIDEGATE_UPDATE_HELP").is_some();
    let mut changed = Vec::new();
    for page in PAGES {
        let (found, file) = (help(page), file(page));
        if update {
            std::fs::write(&file, &found).expect("tests/help can be written");
        }
        if std::fs::read_to_string(&file).unwrap_or_default() != found {
            changed.push(format!("{}:\n{found}", file.display()));
        }
    }
    assert!(
        changed.is_empty(),
        "other than what is in the files; if that is right, run this with TIDEGATE_UPDATE_HELP=1:\n{}",
        changed.join("\n")
    );
}

#[test]
fn every_command_of_ours_teaches_by_example() {
    let groups: [&[&str]; 4] = [&[], &["plugin"], &["dlq"], &["topic", "alter"]];
    for page in PAGES.iter().filter(|page| !groups.contains(page)) {
        assert!(help(page).contains("Example"), "{page:?} has no example");
    }
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["completions", shell])
            .output()
            .expect("the binary starts");
        let script = String::from_utf8_lossy(&output.stdout);
        assert!(
            script.contains("redrive") && script.contains("replay"),
            "{shell}"
        );
    }
}
