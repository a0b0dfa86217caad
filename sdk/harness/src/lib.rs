//! Runs a plugin on records in the broker's own engine, with the broker's own limits.
//!
//! ```
//! use tidegate_test::{Harness, Verdict, value};
//!
//! # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/words.wasm");
//! let harness = Harness::load(path)?.config("drop", "debug");
//! let verdicts = harness.filter(&[value("error: disk full"), value("debug: tick"), value("")]);
//! assert_eq!(verdicts, [Verdict::Keep, Verdict::Drop, Verdict::Reject("an empty line".into())]);
//! # Ok::<(), tidegate_test::HarnessError>(())
//! ```
//!
//! [`Harness::build`] compiles the plugin's project first. [`Harness::run`] gives all there is to know of a run: an
//! [`Outcome`] with a fate for each record, log lines, counters and times. [`golden`] compares runs with files beside the
//! plugin, which is what `tidegate plugin test` does.
//!
//! A plugin that says it keeps no state is held to it: everything it is shown, it is shown again in fresh instances, as
//! one batch and record by record, and an answer that differs is an error ([`RunError::NotRepeatable`]).

pub mod bench;
mod build;
mod check;
pub mod golden;
mod harness;
mod limit;
mod outcome;
mod record;
mod repeat;

pub use build::{BuildError, Component, Kind, Manifest, ManifestError, Project};
pub use check::{assert_outcome, difference};
pub use harness::{Harness, HarnessError, RunError, engine};
pub use outcome::{Destination, Edit, Fate, Log, Outcome, Verdict};
pub use record::{FIRST_TIMESTAMP_MS, Headers, Record, null, value};

/// What the harness speaks in: the types of the broker's plugin host.
pub use tidegate_plugin::{
    Columns, Description, FailureKind, Limits, LogLevel, OnError, OnReject, PartitionChoice, State,
    World,
};
