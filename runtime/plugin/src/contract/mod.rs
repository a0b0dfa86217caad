//! The versions of `tidegate:plugin` that this broker runs, one file each.
//!
//! A component names its version in what it imports; everything that differs between versions (the host functions, the
//! types of the calls, what a description holds) is behind [`Version`]. A new version is a new file here that becomes
//! the host's own (`wire`), a conversion in the file it replaces, and an arm in each `match` below.

mod v0_0_1;
pub(crate) mod v0_1_0;

use std::time::Duration;

use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::failure::CallError;
use crate::guest::Guest;
use crate::instance::{Exports, Instance};
use crate::verdict::{Answer, Terms, excerpt};

/// The newest version's types, which the host works with.
pub(crate) use v0_1_0 as wire;

const PACKAGE: &str = "tidegate:plugin/";

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Version {
    /// Never released: it keeps this dispatcher honest, so that a second released version is not the first to use it.
    V0_0_1,
    V0_1_0,
}

impl Version {
    pub(crate) const NEWEST: Version = Version::V0_1_0;

    /// The version that a component was built against, by what it imports and exports. One that names none uses nothing
    /// that differs between the released versions, so it is taken for the oldest of them; its types are checked anyway.
    /// The error is a sentence.
    pub(crate) fn of(
        engine: &Engine,
        component: &Component,
        preview: bool,
    ) -> Result<Version, String> {
        let ty = component.component_type();
        let imports = ty.imports(engine).map(|(name, _)| name);
        let names = imports.chain(ty.exports(engine).map(|(name, _)| name));
        Version::of_names(names, preview)
    }

    fn of_names<'a>(
        names: impl Iterator<Item = &'a str>,
        preview: bool,
    ) -> Result<Version, String> {
        let mut found = None;
        for name in names.filter_map(|name| name.strip_prefix(PACKAGE)) {
            let text = name.split_once('@').map_or("", |(_, version)| version);
            let version = Version::parse(text, preview)?;
            if found.is_some_and(|found| found != version) {
                return Err(
                    "the plugin mixes two versions of tidegate:plugin; build all of it against one"
                        .to_owned(),
                );
            }
            found = Some(version);
        }
        Ok(found.unwrap_or(Version::V0_1_0))
    }

    fn parse(text: &str, preview: bool) -> Result<Version, String> {
        let newest = Version::NEWEST.as_str();
        match text {
            "0.1.0" => Ok(Version::V0_1_0),
            "0.0.1" if preview => Ok(Version::V0_0_1),
            "0.0.1" => Err(format!(
                "the plugin is built against tidegate:plugin@0.0.1, which was never released; build it against {newest}"
            )),
            other => Err(format!(
                "the plugin is built against tidegate:plugin@{}, and this broker runs 0.1.0 to {newest}: build it \
                 against one of these, or run a newer broker",
                excerpt(other)
            )),
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Version::V0_0_1 => "0.0.1",
            Version::V0_1_0 => "0.1.0",
        }
    }

    /// The one interface with functions that a plugin of this version may import.
    pub(crate) fn host(self) -> &'static str {
        match self {
            Version::V0_0_1 => v0_0_1::HOST,
            Version::V0_1_0 => v0_1_0::HOST,
        }
    }

    /// The interface of its types, which are not code.
    pub(crate) fn types(self) -> &'static str {
        match self {
            Version::V0_0_1 => v0_0_1::TYPES,
            Version::V0_1_0 => v0_1_0::TYPES,
        }
    }

    /// Errors of type, found in the dry run instead of at the first batch.
    pub(crate) fn check_types(
        self,
        instance: &mut Instance,
        exports: &Exports,
    ) -> Result<(), String> {
        instance.check_setup_types(exports)?;
        match self {
            Version::V0_0_1 => v0_0_1::check_types(instance, exports),
            Version::V0_1_0 => v0_1_0::check_types(instance, exports),
        }
    }

    pub(crate) fn describe(
        self,
        instance: &mut Instance,
        exports: &Exports,
        deadline: Duration,
    ) -> Result<wire::Description, CallError> {
        match self {
            Version::V0_0_1 => v0_0_1::describe(instance, exports, deadline),
            Version::V0_1_0 => v0_1_0::describe(instance, exports, deadline),
        }
    }

    /// One batch, and the check of what comes back.
    pub(crate) fn run(
        self,
        instance: &mut Instance,
        batch: wire::Batch<'_>,
        terms: &Terms<'_>,
        deadline: Duration,
    ) -> Result<Answer, CallError> {
        match self {
            Version::V0_0_1 => v0_0_1::run(instance, batch, terms, deadline),
            Version::V0_1_0 => v0_1_0::run(instance, batch, terms, deadline),
        }
    }
}

/// Links the host functions of every version, each under its own name; which of them a component may use is decided by
/// [`Version::of`] before it is linked.
pub(crate) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    v0_0_1::link(linker)?;
    v0_1_0::link(linker)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str], preview: bool) -> Result<Version, String> {
        Version::of_names(names.iter().copied(), preview)
    }

    #[test]
    fn the_imports_name_the_version() {
        let named = |version: &str| {
            [
                format!("tidegate:plugin/types@{version}"),
                format!("tidegate:plugin/host@{version}"),
            ]
        };
        let of_version = |version: &str, preview| {
            let names = named(version);
            of(&[&names[0], "describe", &names[1]], preview)
        };
        assert_eq!(of_version("0.1.0", false), Ok(Version::V0_1_0));
        assert_eq!(of_version("0.0.1", true), Ok(Version::V0_0_1));
        assert_eq!(
            of_version("0.0.1", false).unwrap_err(),
            "the plugin is built against tidegate:plugin@0.0.1, which was never released; build it against 0.1.0"
        );
        let unknown = of_version("0.9.0", true).unwrap_err();
        assert!(
            unknown.contains("@0.9.0, and this broker runs"),
            "{unknown}"
        );
    }

    #[test]
    fn one_that_names_none_is_of_the_first_release() {
        assert_eq!(of(&["describe", "filter"], false), Ok(Version::V0_1_0));
    }

    #[test]
    fn a_mixture_is_refused() {
        let names = ["tidegate:plugin/types@0.1.0", "tidegate:plugin/host@0.0.1"];
        assert!(of(&names, true).unwrap_err().contains("mixes"));
        assert!(of(&["tidegate:plugin/host"], true).is_err());
    }
}
