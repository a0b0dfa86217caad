//! Edges between crates, as `cargo metadata` tells them. Development and build dependencies count: a test that needs a
//! forbidden crate belongs in `tests/`.

use serde_json::Value;

use crate::Complaint;

/// The crates of the runtime that every other one of them may build on.
const RECORD: &str = "tidegate-record";

/// Who may depend on which crates of this repository. A crate that is not named here may not exist: whoever adds one
/// says here what it may import.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    (RECORD, &[]),
    ("tidegate-protocol", &[RECORD]),
    ("tidegate-storage", &[RECORD]),
    ("tidegate-plugin", &[RECORD]),
    ("tidegate-replication", &[RECORD]),
    ("tidegate-metadata", &[RECORD]),
    ("tidegate-coordinator", &[RECORD]),
    (
        "tidegate-broker",
        &[
            RECORD,
            "tidegate-protocol",
            "tidegate-storage",
            "tidegate-plugin",
            "tidegate-replication",
            "tidegate-metadata",
            "tidegate-coordinator",
        ],
    ),
    (
        "tidegate-cli",
        &[
            "tidegate-broker",
            "tidegate-plugin",
            "tidegate-protocol",
            RECORD,
            "tidegate-test",
        ],
    ),
    ("tidegate-test", &["tidegate-plugin", RECORD]),
    ("tidegate-sdk", &["tidegate-sdk-macros"]),
    ("tidegate-sdk-macros", &[]),
    ("match", &["tidegate-sdk"]),
    ("route", &["tidegate-sdk"]),
    ("redact", &["tidegate-sdk"]),
    ("validate", &["tidegate-sdk"]),
    ("sample", &["tidegate-sdk"]),
    ("dedup", &["tidegate-sdk"]),
    ("enrich", &["tidegate-sdk"]),
    (
        "native",
        &[
            "tidegate-sdk",
            "match",
            "route",
            "redact",
            "validate",
            "sample",
            "dedup",
            "enrich",
        ],
    ),
    ("hostile", &["tidegate-sdk"]),
    ("pick", &["tidegate-sdk"]),
    // The Kafka clients of crates.io, for the compatibility matrix.
    ("rust-driver", &[]),
    ("tidegate-bench", &["tidegate-protocol", RECORD]),
    ("tidegate-tests-languages", &["tidegate-plugin", RECORD]),
    (
        "tidegate-tests-plugins",
        &["tidegate-plugin", RECORD, "tidegate-test"],
    ),
    ("tidegate-tests-docs", &["tidegate-sdk"]),
    ("tidegate-tests-docs-harness", &["tidegate-test"]),
    (
        "tidegate-tests-fuzz",
        &[
            "tidegate-coordinator",
            "tidegate-metadata",
            "tidegate-protocol",
            RECORD,
        ],
    ),
    ("tidegate-tests-hostile", &[]),
    ("tidegate-tests-tidy", &[]),
];

/// Outside crates that only some may depend on.
const ONLY_FOR: &[(&str, &[&str])] = &[
    ("tokio", &["tidegate-broker", "tidegate-cli", "rust-driver"]),
    ("axum", &["tidegate-broker"]),
    ("rocksdb", &["tidegate-storage"]),
    ("wasmtime", &["tidegate-plugin"]),
    ("openraft", &["tidegate-broker"]),
];

/// Crates whose results follow from their arguments alone.
pub const PURE: &[&str] = &[
    RECORD,
    "tidegate-protocol",
    "tidegate-replication",
    "tidegate-metadata",
    "tidegate-coordinator",
];

/// What would bring a pure crate randomness, a clock or a socket.
const IMPURE: &[&str] = &[
    "rand",
    "getrandom",
    "fastrand",
    "uuid",
    "chrono",
    "time",
    "jiff",
    "mio",
    "socket2",
];

pub struct Crate {
    pub name: String,
    pub dependencies: Vec<Dependency>,
}

pub struct Dependency {
    pub name: String,
    /// A path dependency, so a crate of this repository.
    pub ours: bool,
    pub dev: bool,
}

/// The packages of one workspace from the output of `cargo metadata --no-deps`.
pub fn parse(metadata: &str) -> Result<Vec<Crate>, String> {
    let root: Value = serde_json::from_str(metadata).map_err(|error| error.to_string())?;
    let packages = root["packages"]
        .as_array()
        .ok_or("`cargo metadata` names no packages")?;
    packages.iter().map(package).collect()
}

fn package(value: &Value) -> Result<Crate, String> {
    let name = |value: &Value| {
        value["name"]
            .as_str()
            .map(str::to_owned)
            .ok_or("a nameless crate")
    };
    let dependencies = value["dependencies"]
        .as_array()
        .ok_or("a crate without dependencies")?;
    let dependencies = dependencies.iter().map(|dependency| {
        Ok(Dependency {
            name: name(dependency)?,
            ours: dependency["path"].is_string(),
            dev: dependency["kind"] == "dev",
        })
    });
    Ok(Crate {
        name: name(value)?,
        dependencies: dependencies.collect::<Result<_, String>>()?,
    })
}

pub fn forbidden_edges(krate: &Crate) -> Vec<Complaint> {
    let name = krate.name.as_str();
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(known, _)| *known == name) else {
        return vec![format!(
            "crate {name} is not in the table of tests/tidy/src/crates.rs: say there whom it may import"
        )];
    };
    let mut complaints = Vec::new();
    for dependency in &krate.dependencies {
        let to = dependency.name.as_str();
        if dependency.ours && !allowed.contains(&to) {
            complaints.push(format!(
                "crate {name} may not depend on {to} (\"Who may import whom\")"
            ));
        }
        if let Some((_, only)) = ONLY_FOR.iter().find(|(outside, _)| *outside == to)
            && !only.contains(&name)
        {
            complaints.push(format!(
                "crate {name} may not depend on {to}: only {} may",
                only.join(", ")
            ));
        }
        if PURE.contains(&name) && !dependency.dev && IMPURE.contains(&to) {
            complaints.push(format!(
                "crate {name} is pure and may not depend on {to}: pass `now` and seeds in"
            ));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(metadata: &str) -> Vec<Complaint> {
        parse(metadata)
            .unwrap()
            .iter()
            .flat_map(forbidden_edges)
            .collect()
    }

    fn one(name: &str, to: &str, path: &str, kind: &str) -> String {
        format!(
            r#"{{"packages":[{{"name":"{name}","dependencies":[
                {{"name":"{to}","kind":{kind},"path":{path}}}]}}]}}"#
        )
    }

    #[test]
    fn what_the_design_draws_is_allowed() {
        for (name, to) in [
            ("tidegate-storage", RECORD),
            ("tidegate-broker", "tidegate-coordinator"),
            ("tidegate-cli", "tidegate-protocol"),
            ("match", "tidegate-sdk"),
        ] {
            assert_eq!(
                complaints(&one(name, to, "\"/x\"", "null")),
                Vec::<String>::new()
            );
        }
        assert!(complaints(&one("tidegate-storage", "rocksdb", "null", "null")).is_empty());
    }

    #[test]
    fn a_forbidden_edge_is_named() {
        for (name, to) in [
            ("tidegate-storage", "tidegate-protocol"),
            ("tidegate-metadata", "tidegate-coordinator"),
            ("tidegate-record", "tidegate-storage"),
            ("tidegate-broker", "tidegate-cli"),
            ("tidegate-cli", "tidegate-storage"),
            ("tidegate-sdk", RECORD),
            ("match", "tidegate-plugin"),
        ] {
            let complaints = complaints(&one(name, to, "\"/x\"", "null"));
            assert_eq!(complaints.len(), 1, "{name} -> {to}");
            assert!(
                complaints[0].contains(name) && complaints[0].contains(to),
                "{complaints:?}"
            );
        }
    }

    #[test]
    fn a_development_dependency_is_an_edge_too() {
        let metadata = one("tidegate-plugin", "tidegate-storage", "\"/x\"", "\"dev\"");
        assert_eq!(complaints(&metadata).len(), 1);
    }

    #[test]
    fn outside_crates_stay_where_they_belong() {
        for (name, to) in [
            ("tidegate-storage", "tokio"),
            ("tidegate-protocol", "tokio"),
            ("tidegate-broker", "rocksdb"),
            ("tidegate-broker", "wasmtime"),
            ("tidegate-metadata", "openraft"),
        ] {
            assert_eq!(
                complaints(&one(name, to, "null", "null")).len(),
                1,
                "{name} -> {to}"
            );
        }
    }

    #[test]
    fn pure_crates_get_no_randomness_but_their_tests_may() {
        assert_eq!(
            complaints(&one("tidegate-coordinator", "rand", "null", "null")).len(),
            1
        );
        assert!(complaints(&one("tidegate-coordinator", "rand", "null", "\"dev\"")).is_empty());
        assert!(complaints(&one("tidegate-broker", "uuid", "null", "null")).is_empty());
    }

    #[test]
    fn a_crate_nobody_has_heard_of_is_named() {
        let complaints = complaints(&one("tidegate-extra", "serde", "null", "null"));
        assert!(complaints[0].contains("tidegate-extra"), "{complaints:?}");
    }

    #[test]
    fn nonsense_is_an_error() {
        assert!(parse("{}").is_err());
        assert!(parse("no").is_err());
    }
}
