//! Golden files: what a plugin is shown, and what it answered when somebody looked.
//!
//! A plugin's directory `golden` has cases `NAME.jsonl` and, beside each, its snapshot `NAME.snap`.
//!
//! **A case** has one record a line: `{"key": "k", "value": {"any": "json"}, "headers": {"name": "value"}, "timestamp": 123}`.
//! Everything may be left out or null. A key or value that is a string stands for its characters; any other JSON stands for
//! its text, exactly as it is in the file. Headers may be a list of pairs, where names repeat. With `"base64": true` all the
//! strings are base64. A record without a timestamp has [`FIRST_TIMESTAMP_MS`](crate::FIRST_TIMESTAMP_MS) and its index.
//! Empty lines, and lines that start with `//`, are skipped.
//!
//! The first line may be the setting instead, all of it optional: `{"config": {"key": "value"}, "topic": "t", "partition": 0,
//! "side": "produce", "compacted": false, "on_error": "reject", "on_reject": "refuse",
//! "limits": {"deadline.ms": 1000}}`. A line `{"end": "appended"}` ends a batch (the end of the
//! file does, too), `{"end": "failed"}` one whose append failed: for plugins that keep state.
//!
//! **A snapshot** has one line for each record, in the order of the case:
//!
//! | line | the record |
//! | --- | --- |
//! | `keep`, `drop` | stays, goes |
//! | `reject: words` | makes the produce request fail |
//! | `-> a, b:3, c:same` | goes to topic `a` by its key, to partition 3 of `b`, to the same partition of `c`, and does not stay |
//! | `keep -> a` | stays, and a copy goes |
//! | `{"value": ...}` | stays with these parts replaced; bytes that are no text are `{"base64": "..."}` |
//! | `dead-letter: words` | the error policy sends it to the dead-letter topic |
//! | `failed` | is in a batch at which the plugin failed |
//!
//! then `failed: kind: words`, `log: level: words` and `counter: name n`, as they came. If the plugin refuses its
//! configuration, the snapshot is `refused: words`.
//!
//! [`assert`] compares; with `TIDEGATE_UPDATE_GOLDEN=1`, or `tidegate plugin test --update`, snapshots are written instead.

mod case;
mod snapshot;

use std::fmt::{Display, Formatter};
use std::path::{Path, PathBuf};

pub use case::{Case, CaseError};
pub(crate) use snapshot::lines;

use crate::{Harness, difference};

/// Set to `1`, it makes [`assert`] write what it would compare.
pub const UPDATE_VARIABLE: &str = "TIDEGATE_UPDATE_GOLDEN";

/// What to do about a snapshot that is missing or differs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    Compare,
    Update,
}

impl Mode {
    /// As the environment says.
    pub fn from_env() -> Mode {
        match std::env::var(UPDATE_VARIABLE) {
            Ok(value) if !value.is_empty() && value != "0" => Mode::Update,
            _ => Mode::Compare,
        }
    }
}

/// Why no cases were run.
#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    #[error("reading {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "{} has no case; write records into a file there that ends in .jsonl, one JSON object a line",
        .0.display()
    )]
    NoCase(PathBuf),
}

/// What came of the cases of a directory. Its `Display` tells all that is not as it should be.
#[derive(Debug)]
pub struct Report {
    /// In the order of their names.
    pub cases: Vec<CaseReport>,
}

#[derive(Debug)]
pub struct CaseReport {
    pub path: PathBuf,
    pub records: usize,
    pub status: Status,
}

#[derive(Debug, Eq, PartialEq)]
pub enum Status {
    /// The run is what the snapshot says.
    Same,
    /// The snapshot was written; it was missing or another.
    Written,
    /// With the lines that differ.
    Changed(String),
    /// There is no snapshot.
    Missing,
    /// There is a snapshot and no case.
    Orphan,
    /// A sentence: the case cannot be read, or its run has no outcome that could be kept.
    Broken(String),
}

/// Runs every case in `dir` and compares it with its snapshot, or writes it: [`Mode::from_env`].
///
/// ```
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/words.wasm");
/// # let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/golden");
/// tidegate_test::golden::assert(&tidegate_test::Harness::load(path)?, dir);
/// # Ok::<(), tidegate_test::HarnessError>(())
/// ```
///
/// # Panics
/// If a case differs, or there is none.
#[track_caller]
pub fn assert(harness: &Harness, dir: impl AsRef<Path>) {
    match run(harness, dir.as_ref(), Mode::from_env()) {
        Ok(report) if report.passed() => {}
        Ok(report) => panic!("{report}"),
        Err(error) => panic!("{error}"),
    }
}

/// Runs every case in `dir`.
///
/// # Errors
/// If the directory cannot be read or has no case. What is wrong with a single case stands in the report.
pub fn run(harness: &Harness, dir: &Path, mode: Mode) -> Result<Report, GoldenError> {
    let names = names(dir)?;
    let mut cases = Vec::new();
    for path in names.iter().filter(|path| has_ending(path, "jsonl")) {
        cases.push(run_case(harness, path, mode));
    }
    if cases.is_empty() {
        return Err(GoldenError::NoCase(dir.to_owned()));
    }
    let orphans = names.iter().filter(|path| has_ending(path, "snap"));
    for path in orphans.filter(|path| !names.contains(&path.with_extension("jsonl"))) {
        cases.push(CaseReport {
            path: path.clone(),
            records: 0,
            status: Status::Orphan,
        });
    }
    Ok(Report { cases })
}

fn run_case(harness: &Harness, path: &Path, mode: Mode) -> CaseReport {
    let mut records = 0;
    let status = match Case::read(path) {
        Ok(case) => {
            records = case.records().count();
            settle(&case, &case.snapshot(harness), path, mode)
        }
        Err(error) => Status::Broken(error.to_string()),
    };
    CaseReport {
        path: path.to_owned(),
        records,
        status,
    }
}

fn settle(case: &Case, found: &Result<String, String>, path: &Path, mode: Mode) -> Status {
    let found = match found {
        Ok(found) => found,
        Err(sentence) => return Status::Broken(sentence.clone()),
    };
    let snapshot = path.with_extension("snap");
    let expected = std::fs::read_to_string(&snapshot).ok();
    let shown: Vec<String> = case.records().map(ToString::to_string).collect();
    let changed = match &expected {
        Some(expected) => difference(&shown, expected, found),
        None => Some(String::new()),
    };
    match (changed, mode) {
        (None, _) => Status::Same,
        (Some(_), Mode::Update) => match std::fs::write(&snapshot, found) {
            Ok(()) => Status::Written,
            Err(error) => Status::Broken(format!("writing {}: {error}", snapshot.display())),
        },
        (Some(_), Mode::Compare) if expected.is_none() => Status::Missing,
        (Some(difference), Mode::Compare) => Status::Changed(difference),
    }
}

/// The files of a directory, sorted.
fn names(dir: &Path) -> Result<Vec<PathBuf>, GoldenError> {
    let failed = |source| GoldenError::Read {
        path: dir.to_owned(),
        source,
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        names.push(entry.map_err(failed)?.path());
    }
    names.sort();
    Ok(names)
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found == ending)
}

impl Report {
    /// Every case is as its snapshot says, or was just written.
    pub fn passed(&self) -> bool {
        self.cases.iter().all(CaseReport::passed)
    }
}

impl CaseReport {
    pub fn passed(&self) -> bool {
        matches!(self.status, Status::Same | Status::Written)
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let failed = self.cases.iter().filter(|case| !case.passed());
        failed
            .into_iter()
            .try_for_each(|case| writeln!(f, "{case}"))
    }
}

impl Display for CaseReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let path = self.path.display();
        let snapshot = self.path.with_extension("snap");
        let snapshot = snapshot.display();
        match &self.status {
            Status::Same => write!(f, "{path}: as its snapshot says"),
            Status::Written => write!(f, "{snapshot}: written; read it before you keep it"),
            Status::Changed(difference) => write!(
                f,
                "{path}: not what {snapshot} says (- there, + now):\n{difference}\n  if that is right, \
                 run `tidegate plugin test --update`, or the test with {UPDATE_VARIABLE}=1"
            ),
            Status::Missing => write!(
                f,
                "{path}: there is no {snapshot}; `tidegate plugin test --update`, or the test with \
                 {UPDATE_VARIABLE}=1, writes it"
            ),
            Status::Orphan => write!(f, "{path}: a snapshot without a case; remove it"),
            Status::Broken(sentence) => write!(f, "{path}: {sentence}"),
        }
    }
}
