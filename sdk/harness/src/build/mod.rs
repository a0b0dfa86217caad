//! From a plugin's project to its component.
//!
//! A Rust project is a cargo package, and is built here. A project in another language says in its `tidegate.toml` which
//! command makes the component.

mod cargo;
mod command;
mod manifest;
mod module;
mod toolchain;

use std::path::{Path, PathBuf};

pub use manifest::{Kind, Manifest, ManifestError};

/// A project that can be built.
#[derive(Debug)]
pub struct Project(Inner);

#[derive(Debug)]
enum Inner {
    Cargo(cargo::CargoProject),
    Command(command::CommandProject),
}

/// What a build gives.
#[derive(Clone, Debug)]
pub struct Component {
    pub name: String,
    pub version: String,
    /// The component file, validated as a component but not yet as a plugin.
    pub bytes: Vec<u8>,
    /// Where the project's kind of build keeps what it makes.
    pub default_path: PathBuf,
}

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(
        "{} is no plugin: it has neither a Cargo.toml nor a tidegate.toml; `tidegate plugin new NAME` makes one",
        .0.display()
    )]
    NoProject(PathBuf),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A sentence: what is missing, and how to install it.
    #[error("{0}")]
    Toolchain(String),
    /// A sentence: what the project lacks.
    #[error("{0}")]
    Project(String),
    #[error("`{program}` does not start: {source}")]
    Start {
        program: String,
        source: std::io::Error,
    },
    /// The tool ran and failed; it said why on standard error.
    #[error("{0}")]
    Failed(String),
    #[error("{0}")]
    NotAComponent(String),
    #[error("{}: {source}", path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
}

impl Project {
    /// Reads what the project in `dir` says of itself. One with a `tidegate.toml` is built by its command, any other by cargo.
    ///
    /// # Errors
    /// If there is no project, or no tool to build it with.
    pub fn open(dir: &Path) -> Result<Project, BuildError> {
        let inner = if dir.join(manifest::FILE).exists() {
            let manifest = Manifest::read(&dir.join(manifest::FILE))?;
            Inner::Command(command::CommandProject::new(dir, manifest)?)
        } else if dir.join("Cargo.toml").exists() {
            Inner::Cargo(cargo::CargoProject::read(dir)?)
        } else {
            return Err(BuildError::NoProject(dir.to_owned()));
        };
        Ok(Project(inner))
    }

    pub fn name(&self) -> &str {
        match &self.0 {
            Inner::Cargo(project) => &project.name,
            Inner::Command(project) => &project.manifest.plugin.name,
        }
    }

    pub fn version(&self) -> &str {
        match &self.0 {
            Inner::Cargo(project) => &project.version,
            Inner::Command(project) => &project.manifest.plugin.version,
        }
    }

    /// Which way the build goes, for a progress line.
    pub fn way(&self) -> String {
        match &self.0 {
            Inner::Cargo(project) => project.toolchain.describe(),
            Inner::Command(project) => project.describe(),
        }
    }

    /// Where the component is kept unless somebody says otherwise.
    pub fn default_path(&self) -> PathBuf {
        match &self.0 {
            Inner::Cargo(project) => project.default_out(),
            Inner::Command(project) => project.default_out(),
        }
    }

    /// Builds it. The tools say what they have to say on standard error.
    ///
    /// # Errors
    /// If a tool is missing or fails, or what it made is no component.
    pub fn build(&self) -> Result<Component, BuildError> {
        let bytes = match &self.0 {
            Inner::Cargo(project) => project.build()?,
            Inner::Command(project) => project.build()?,
        };
        Ok(Component {
            name: self.name().to_owned(),
            version: self.version().to_owned(),
            bytes,
            default_path: self.default_path(),
        })
    }
}
