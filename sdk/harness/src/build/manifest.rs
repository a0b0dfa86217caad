//! `tidegate.toml`: what a plugin project that is not cargo's says of itself.

use std::path::{Path, PathBuf};

use serde::Deserialize;

pub(crate) const FILE: &str = "tidegate.toml";

/// The whole file.
///
/// ```
/// let text = r#"
///     [plugin]
///     name = "only-errors"
///     version = "0.1.0"
///     kind = "filter"
///     lang = "python"
///     [build]
///     command = ["sh", "build.sh"]
/// "#;
/// let manifest: tidegate_test::Manifest = text.parse()?;
/// assert_eq!(manifest.plugin.name, "only-errors");
/// # Ok::<(), tidegate_test::ManifestError>(())
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub plugin: PluginSection,
    pub build: BuildSection,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct PluginSection {
    pub name: String,
    pub version: String,
    pub kind: Kind,
    pub lang: String,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct BuildSection {
    /// Program and arguments, run in the project's directory. It writes the component to `$TIDEGATE_OUT`.
    pub command: Vec<String>,
}

/// The world that the plugin implements.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Filter,
    Router,
    Transform,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Filter => "filter",
            Kind::Router => "router",
            Kind::Transform => "transform",
        }
    }
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("reading {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{FILE} is not as it should be: {0}")]
    Syntax(String),
    #[error("{FILE} has an empty `build.command`; name the program that makes the component")]
    NoCommand,
    #[error(
        "the plugin's name `{0}` in {FILE} may have letters, digits, dots, hyphens and underscores only"
    )]
    Name(String),
}

impl Manifest {
    pub(crate) fn read(path: &Path) -> Result<Manifest, ManifestError> {
        let text = std::fs::read_to_string(path).map_err(|source| ManifestError::Read {
            path: path.to_owned(),
            source,
        })?;
        text.parse()
    }
}

impl std::str::FromStr for Manifest {
    type Err = ManifestError;

    fn from_str(text: &str) -> Result<Manifest, ManifestError> {
        let manifest: Manifest =
            toml::from_str(text).map_err(|error| ManifestError::Syntax(error.to_string()))?;
        if manifest.build.command.is_empty() {
            return Err(ManifestError::NoCommand);
        }
        // The name becomes the name of a file.
        let name = &manifest.plugin.name;
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            return Err(ManifestError::Name(name.clone()));
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, command: &str) -> String {
        format!(
            "[plugin]\nname = '{name}'\nversion = '1'\nkind = 'router'\nlang = 'c'\n[build]\ncommand = {command}"
        )
    }

    #[test]
    fn a_whole_file() {
        let manifest: Manifest = text("a-b", "['make']").parse().unwrap();
        assert_eq!(manifest.plugin.kind, Kind::Router);
        assert_eq!(manifest.build.command, ["make"]);
    }

    #[test]
    fn mistakes_are_told() {
        for (text, words) in [
            (text("../x", "['make']"), "../x"),
            (text("x", "[]"), "empty"),
            (text("x", "['make']\nshell = 1"), "unknown field `shell`"),
            (String::new(), "missing field `plugin`"),
        ] {
            let error = text.parse::<Manifest>().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
