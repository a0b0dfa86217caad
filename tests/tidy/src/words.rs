//! What a source file may name, by where it stands.

use crate::Complaint;
use crate::source::{code_of, lines_naming, without_tests};

/// A file is a chapter; beyond this it is a book.
const MAX_LINES: usize = 1_500;

/// Files that may say `unsafe`, each with its reason beside the word.
const UNSAFE: &[&str] = &[
    // A test's counting allocator: GlobalAlloc is an unsafe trait.
    "runtime/protocol/src/tests/allocator.rs",
    // Loads compiled code from the cache, which wasmtime has no safe function for.
    "runtime/plugin/src/artifact.rs",
];

/// A word, and the only places that may name it.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("rocksdb", &["runtime/storage/src/rocks/"]),
    ("wasmtime", &["runtime/plugin/"]),
    (
        "tokio",
        &[
            "runtime/broker/",
            "runtime/cli/",
            "tests/clients/adapters/rust_driver/",
        ],
    ),
    ("openraft", &["runtime/broker/src/raft.rs"]),
];

/// A place, what may not be named there, and why.
const NEVER_IN: &[(&str, &[&str], &str)] = &[
    (
        "runtime/broker/src/api/",
        &["tidegate_storage", "broker.log"],
        "api/* touches storage only through a partition handle",
    ),
    (
        "runtime/broker/src/api/",
        &[
            "TcpStream",
            "AsyncWrite",
            "AsyncWriteExt",
            "OwnedWriteHalf",
            "tokio::net",
            "tokio::io",
        ],
        "api/* gives responses to the connection and never writes to a socket",
    ),
    (
        "sdk/macros/",
        RUNTIME,
        "the SDK knows the WIT package and nothing of the runtime",
    ),
    (
        "sdk/rust/",
        RUNTIME,
        "the SDK knows the WIT package and nothing of the runtime",
    ),
    (
        "plugins/",
        RUNTIME,
        "a plugin knows the SDK and nothing of the runtime",
    ),
];

const RUNTIME: &[&str] = &[
    "tidegate_record",
    "tidegate_protocol",
    "tidegate_storage",
    "tidegate_plugin",
    "tidegate_replication",
    "tidegate_metadata",
    "tidegate_coordinator",
    "tidegate_broker",
];

/// Crates whose results follow from their arguments alone: the seam of deterministic simulation.
const PURE: &[&str] = &[
    "runtime/record/src/",
    "runtime/protocol/src/",
    "runtime/replication/src/",
    "runtime/metadata/src/",
    "runtime/coordinator/src/",
    "runtime/storage/src/",
];

/// Where a crate that is otherwise pure meets the world.
const IMPURE: &[&str] = &[
    // Times syncs and their deadline; what is stored carries the `now_ms` that callers pass in.
    "runtime/storage/src/log/syncer.rs",
    "runtime/storage/src/log/writer.rs",
    // RocksDB is the disk.
    "runtime/storage/src/rocks/",
];

const CLOCKS: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "UNIX_EPOCH",
    "thread::sleep",
    "std::env",
    "env::var",
    "rand",
    "thread_rng",
    "RandomState",
    "getrandom",
];

/// Complaints about one Rust file; `path` is from the repository's root, `only_tests` says that only tests compile it.
pub fn complaints(path: &str, text: &str, only_tests: bool) -> Vec<Complaint> {
    let code = code_of(text);
    let shipped = if only_tests {
        String::new()
    } else {
        without_tests(&code)
    };
    [
        only_in(path, &code),
        never_in(path, &shipped),
        pure(path, &shipped),
    ]
    .into_iter()
    .chain([not_safe(path, &code), ignored(path, text, &code)])
    .flatten()
    .collect()
}

pub fn too_long(path: &str, text: &str) -> Option<Complaint> {
    let lines = text.lines().count();
    (lines > MAX_LINES).then(|| {
        format!("{path} has {lines} lines; beyond {MAX_LINES} a file is looking for a split")
    })
}

fn only_in(path: &str, code: &str) -> Vec<Complaint> {
    let elsewhere = ONLY_IN.iter().filter(|(_, places)| !within(path, places));
    elsewhere
        .flat_map(|(word, places)| {
            lines_naming(code, word).into_iter().map(move |line| {
                format!("{path}:{line} names {word}: only {} may", places.join(", "))
            })
        })
        .collect()
}

fn never_in(path: &str, code: &str) -> Vec<Complaint> {
    let here = NEVER_IN
        .iter()
        .filter(|(place, _, _)| path.starts_with(place));
    here.flat_map(|(_, words, why)| words.iter().map(move |word| (word, why)))
        .flat_map(|(word, why)| {
            lines_naming(code, word)
                .into_iter()
                .map(move |line| format!("{path}:{line} names {word}: {why}"))
        })
        .collect()
}

fn pure(path: &str, code: &str) -> Vec<Complaint> {
    if !within(path, PURE) || within(path, IMPURE) {
        return Vec::new();
    }
    CLOCKS
        .iter()
        .flat_map(|word| {
            lines_naming(code, word)
                .into_iter()
                .map(move |line| (word, line))
        })
        .map(|(word, line)| {
            format!(
                "{path}:{line} names {word}: pure code reads no clock, randomness or environment"
            )
        })
        .collect()
}

fn not_safe(path: &str, code: &str) -> Vec<Complaint> {
    if within(path, UNSAFE) {
        return Vec::new();
    }
    let named = lines_naming(code, "unsafe").into_iter();
    named
        .map(|line| format!("{path}:{line} says unsafe and is not in tests/tidy's list of who may"))
        .collect()
}

/// The attribute is found in the code and its reason in the text, since the code has its literals blanked.
fn ignored(path: &str, text: &str, code: &str) -> Vec<Complaint> {
    let bare = |line: &str| {
        let reason = line.split("ignore").nth(1).unwrap_or_default().trim_start();
        reason
            .strip_prefix('=')
            .is_none_or(|reason| reason.trim().len() <= r#"""]"#.len())
    };
    code.lines()
        .zip(text.lines())
        .enumerate()
        .filter(|(_, (code, line))| code.contains("#[ignore") && bare(line))
        .map(|(at, _)| format!("{path}:{} ignores a test without saying why", at + 1))
        .collect()
}

fn within(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| path.starts_with(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(path: &str, text: &str) {
        let complaints = complaints(path, text, false);
        assert_eq!(complaints.len(), 1, "{path}: {complaints:?}");
        assert!(complaints[0].starts_with(path), "{complaints:?}");
    }

    #[track_caller]
    fn accepted(path: &str, text: &str) {
        assert_eq!(complaints(path, text, false), Vec::<String>::new());
    }

    #[test]
    fn libraries_are_named_where_they_are_used() {
        refused("runtime/storage/src/log/mod.rs", "use rocksdb::DB;");
        accepted("runtime/storage/src/rocks/mod.rs", "use rocksdb::DB;");
        refused("runtime/broker/src/server.rs", "use wasmtime::Engine;");
        accepted("runtime/plugin/src/engine.rs", "use wasmtime::Engine;");
        refused("runtime/plugin/src/pool.rs", "tokio::spawn(async {});");
        accepted("runtime/plugin/src/pool.rs", "// never on tokio's workers");
        refused("runtime/broker/src/server.rs", "use openraft::Raft;");
        accepted("runtime/broker/src/raft.rs", "use openraft::Raft;");
    }

    #[test]
    fn handlers_keep_off_the_log_and_the_socket() {
        refused(
            "runtime/broker/src/api/fetch.rs",
            "use tidegate_storage::Log;",
        );
        refused("runtime/broker/src/api/fetch.rs", "broker.log.read();");
        refused("runtime/broker/src/api/fetch.rs", "fn f(s: TcpStream) {}");
        refused("runtime/broker/src/api/fetch.rs", "use tokio::io::copy;");
        accepted(
            "runtime/broker/src/partition/read.rs",
            "use tidegate_storage::Log;",
        );
        accepted(
            "runtime/broker/src/api/fetch.rs",
            "use tokio::time::Instant; partition.read();",
        );
    }

    #[test]
    fn guests_know_nothing_of_the_runtime() {
        refused("sdk/rust/src/lib.rs", "use tidegate_record::Batch;");
        refused("plugins/match/src/lib.rs", "use tidegate_plugin::Engine;");
        accepted("plugins/match/src/lib.rs", "use tidegate_sdk::Filter;");
    }

    #[test]
    fn pure_code_is_told_the_time() {
        refused(
            "runtime/coordinator/src/group.rs",
            "let now = Instant::now();",
        );
        refused(
            "runtime/metadata/src/apply.rs",
            "let now = std::time::SystemTime::now();",
        );
        refused(
            "runtime/record/src/batch.rs",
            "let home = std::env::home_dir();",
        );
        refused(
            "runtime/replication/src/lib.rs",
            "let dice: u8 = rand::random();",
        );
        refused(
            "runtime/storage/src/log/plan.rs",
            "std::thread::sleep(tick);",
        );
        accepted(
            "runtime/storage/src/log/writer.rs",
            "let now = Instant::now();",
        );
        accepted(
            "runtime/coordinator/src/group.rs",
            "#[cfg(test)]\nmod tests { fn f() { Instant::now() } }",
        );
        accepted("runtime/coordinator/tests/sim.rs", "Instant::now();");
    }

    #[test]
    fn a_file_only_tests_compile_may_read_a_clock_but_not_the_disk() {
        let path = "runtime/coordinator/src/tests.rs";
        assert!(complaints(path, "Instant::now();", true).is_empty());
        assert_eq!(complaints(path, "rocksdb::DB", true).len(), 1);
    }

    #[test]
    fn unsafe_is_where_the_list_says() {
        refused("runtime/record/src/batch.rs", "unsafe { x() }");
        accepted(
            "runtime/record/src/batch.rs",
            "#![forbid(unsafe_code)] // unsafe",
        );
        accepted("runtime/protocol/src/tests/allocator.rs", "unsafe { x() }");
    }

    #[test]
    fn an_ignored_test_says_why() {
        refused("tests/x.rs", "#[ignore]\nfn f() {}");
        refused("tests/x.rs", "#[ignore = \"\"]\nfn f() {}");
        accepted(
            "tests/x.rs",
            "#[ignore = \"needs a small file system\"]\nfn f() {}",
        );
        accepted("tests/x.rs", "// #[ignore]\nfn f() {}");
    }

    #[test]
    fn long_files_are_counted() {
        assert!(too_long("a.rs", &"x\n".repeat(MAX_LINES)).is_none());
        assert!(
            too_long("a.rs", &"x\n".repeat(MAX_LINES + 1)).is_some_and(|why| why.contains("1501"))
        );
    }
}
