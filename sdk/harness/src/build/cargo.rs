//! A cargo project becomes a component, in one step.
//!
//! cargo makes a core module for `wasm32-unknown-unknown`; the module carries the WIT types its
//! bindings were generated from, and wit-component makes a component of the two, in this process.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use wit_component::ComponentEncoder;

use super::BuildError;
use super::toolchain::{TARGET, Toolchain};

/// What cargo says about the project.
#[derive(Debug)]
pub(crate) struct CargoProject {
    pub(crate) toolchain: Toolchain,
    dir: PathBuf,
    manifest: PathBuf,
    pub(crate) name: String,
    pub(crate) version: String,
    target_dir: PathBuf,
}

impl CargoProject {
    pub(crate) fn read(dir: &Path) -> Result<CargoProject, BuildError> {
        let toolchain = Toolchain::find()?;
        let manifest = dir.join("Cargo.toml");
        let manifest = manifest.canonicalize().map_err(|source| BuildError::File {
            path: manifest,
            source,
        })?;
        let output = toolchain
            .cargo(dir)
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .stderr(Stdio::inherit())
            .output()
            .map_err(does_not_start)?;
        if !output.status.success() {
            return Err(BuildError::Failed(format!(
                "cargo metadata failed for {}; its words are above",
                manifest.display()
            )));
        }
        let metadata = serde_json::from_slice(&output.stdout)
            .map_err(|error| BuildError::Failed(format!("cargo metadata gave no JSON: {error}")))?;
        CargoProject::from_metadata(toolchain, &metadata, manifest)
    }

    fn from_metadata(
        toolchain: Toolchain,
        metadata: &Value,
        manifest: PathBuf,
    ) -> Result<CargoProject, BuildError> {
        let packages = items(&metadata["packages"]);
        let package = packages
            .iter()
            .find(|p| p["manifest_path"].as_str().map(Path::new) == Some(&manifest))
            .ok_or_else(|| {
                BuildError::Project(format!(
                    "{} is no package (a workspace?); name one",
                    manifest.display()
                ))
            })?;
        let is_cdylib = |t: &Value| items(&t["crate_types"]).iter().any(|c| c == "cdylib");
        if !items(&package["targets"]).iter().any(is_cdylib) {
            return Err(BuildError::Project(format!(
                "{} makes no Wasm library; add to it:\n  [lib]\n  crate-type = [\"cdylib\"]",
                manifest.display()
            )));
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(CargoProject {
            toolchain,
            dir: manifest.parent().map(Path::to_owned).unwrap_or_default(),
            name: text(&package["name"]),
            version: text(&package["version"]),
            target_dir: text(&metadata["target_directory"]).into(),
            manifest,
        })
    }

    pub(crate) fn default_out(&self) -> PathBuf {
        self.target_dir
            .join("plugins")
            .join(format!("{}.wasm", self.name))
    }

    pub(crate) fn build(&self) -> Result<Vec<u8>, BuildError> {
        componentize(&self.compile()?)
    }

    /// Runs cargo, which shows its own progress, and finds the module among the artifacts it names.
    fn compile(&self) -> Result<Vec<u8>, BuildError> {
        let mut child = self
            .toolchain
            .cargo(&self.dir)
            .args(["build", "--release", "--lib", "--target", TARGET])
            .arg("--message-format=json-render-diagnostics")
            .args(self.toolchain.build_args())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(does_not_start)?;
        let mut module = None;
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let message: Value = serde_json::from_str(&line).unwrap_or_default();
                module = artifact(&message, &self.manifest).or(module);
            }
        }
        let status = child.wait().map_err(does_not_start)?;
        if !status.success() {
            return Err(BuildError::Failed(format!(
                "cargo could not build {}; its words are above",
                self.name
            )));
        }
        let module =
            module.ok_or_else(|| BuildError::Failed("cargo built no .wasm library".to_owned()))?;
        std::fs::read(&module).map_err(|source| BuildError::File {
            path: module,
            source,
        })
    }
}

fn does_not_start(source: std::io::Error) -> BuildError {
    BuildError::Start {
        program: "cargo".to_owned(),
        source,
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn artifact(message: &Value, manifest: &Path) -> Option<PathBuf> {
    let ours = message["reason"] == "compiler-artifact"
        && message["manifest_path"].as_str().map(Path::new) == Some(manifest);
    let wasm = items(&message["filenames"])
        .iter()
        .filter_map(Value::as_str)
        .find(|name| ours && name.ends_with(".wasm"))?;
    Some(wasm.into())
}

fn componentize(module: &[u8]) -> Result<Vec<u8>, BuildError> {
    let wrong = |error: &dyn std::fmt::Display, words: &str| {
        BuildError::NotAComponent(format!("{words}\n  {error:#}"))
    };
    let mut encoder = ComponentEncoder::default()
        .validate(true)
        .module(module)
        .map_err(|error| {
            wrong(
                &error,
                "the module does not say which WIT world it is for; does it use tidegate-sdk?",
            )
        })?;
    let component = encoder.encode().map_err(|error| {
        wrong(
            &error,
            "the module does not fit its world (an import other than the world's, such as WASI or a \
             missing export?)",
        )
    })?;
    match component.is_empty() {
        true => Err(BuildError::NotAComponent(
            "wit-component made nothing of the module".to_owned(),
        )),
        false => Ok(component),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(crate_type: &str) -> Value {
        json!({
            "target_directory": "/t",
            "packages": [
                {"name": "other", "manifest_path": "/w/other/Cargo.toml"},
                {"name": "match", "version": "0.2.0", "manifest_path": "/w/match/Cargo.toml",
                 "targets": [{"crate_types": [crate_type]}]},
            ],
        })
    }

    #[test]
    fn finds_the_package_by_its_manifest() {
        let read = |manifest: &str| {
            CargoProject::from_metadata(Toolchain::Rustup, &metadata("cdylib"), manifest.into())
        };
        let project = read("/w/match/Cargo.toml").unwrap();
        assert_eq!(
            (project.name.as_str(), project.version.as_str()),
            ("match", "0.2.0")
        );
        assert_eq!(project.default_out(), Path::new("/t/plugins/match.wasm"));
        assert!(read("/w/Cargo.toml").is_err());
    }

    #[test]
    fn says_what_a_plain_library_lacks() {
        let manifest = "/w/match/Cargo.toml".into();
        let error = CargoProject::from_metadata(Toolchain::Rustup, &metadata("lib"), manifest);
        assert!(
            error
                .err()
                .unwrap()
                .to_string()
                .contains("crate-type = [\"cdylib\"]")
        );
    }

    #[test]
    fn takes_the_module_of_this_package_only() {
        let message = |manifest: &str| {
            json!({"reason": "compiler-artifact", "manifest_path": manifest,
                   "filenames": ["/t/libx.rlib", "/t/x.wasm"]})
        };
        let manifest = Path::new("/w/match/Cargo.toml");
        let ours = artifact(&message("/w/match/Cargo.toml"), manifest);
        assert_eq!(ours, Some("/t/x.wasm".into()));
        assert_eq!(artifact(&message("/w/other/Cargo.toml"), manifest), None);
        assert_eq!(
            artifact(&json!({"reason": "build-finished"}), manifest),
            None
        );
    }

    #[test]
    fn a_module_without_a_world_is_refused_with_a_reason() {
        let empty = b"\0asm\x01\0\0\0";
        assert!(componentize(b"nothing").is_err());
        // An empty module has no world; whatever wit-component makes of it must still be a file.
        assert!(componentize(empty).map_or(true, |c| c.starts_with(b"\0asm")));
    }
}
