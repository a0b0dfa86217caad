//! `tidegate plugin build`: a cargo project becomes a component, in one step.
//!
//! cargo makes a core module for `wasm32-unknown-unknown`; the module carries the WIT types its
//! bindings were generated from, and wit-component makes a component of the two, in this process.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use serde_json::Value;
use sha2::{Digest, Sha256};
use wit_component::ComponentEncoder;

use super::toolchain::{TARGET, Toolchain};
use crate::output::{say, size_text};

/// Build the plugin in DIR (a cargo project) into one component file.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate plugin build                                   # the project here
  tidegate plugin build plugins/match --out match.wasm
  TIDEGATE_WASM_TOOLCHAIN=debian tidegate plugin build    # force Debian's toolchain")]
pub(crate) struct BuildArgs {
    /// The plugin's directory, with its Cargo.toml.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Where to write the component [default: <cargo's target directory>/plugins/<package>.wasm].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: BuildArgs) -> Result<()> {
    let toolchain = Toolchain::find()?;
    let project = Project::read(toolchain, &args.dir)?;
    eprintln!(
        "building {} {} with {}",
        project.name,
        project.version,
        toolchain.describe()
    );
    let module = compile(toolchain, &project)?;
    let component = componentize(&module)?;
    let out = args.out.unwrap_or_else(|| project.default_out());
    write_whole(&out, &component)?;
    let digest = Sha256::digest(&component);
    say!(
        "{}  {}  sha256:{}",
        out.display(),
        size_text(component.len() as u64),
        hex(&digest)
    )?;
    eprintln!(
        "next: tidegate plugin push {} --name {} --version {}",
        out.display(),
        project.name,
        project.version
    );
    Ok(())
}

/// What cargo says about the project.
struct Project {
    dir: PathBuf,
    manifest: PathBuf,
    name: String,
    version: String,
    target_dir: PathBuf,
}

impl Project {
    fn read(toolchain: Toolchain, dir: &Path) -> Result<Project> {
        let manifest = dir.join("Cargo.toml");
        let manifest = manifest.canonicalize().map_err(|_| {
            anyhow!(
                "there is no {}; name the plugin's directory",
                manifest.display()
            )
        })?;
        let output = toolchain
            .cargo(dir)
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .stderr(Stdio::inherit())
            .output()
            .context("cargo does not start")?;
        ensure!(
            output.status.success(),
            "cargo metadata failed for {}",
            manifest.display()
        );
        let metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
        Project::from_metadata(&metadata, manifest)
    }

    fn from_metadata(metadata: &Value, manifest: PathBuf) -> Result<Project> {
        let packages = metadata["packages"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let package = packages
            .iter()
            .find(|p| p["manifest_path"].as_str().map(Path::new) == Some(&manifest))
            .with_context(|| {
                format!(
                    "{} is no package (a workspace?); name one",
                    manifest.display()
                )
            })?;
        let targets = package["targets"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let is_cdylib = |t: &Value| {
            t["crate_types"]
                .as_array()
                .is_some_and(|all| all.iter().any(|c| c == "cdylib"))
        };
        ensure!(
            targets.iter().any(is_cdylib),
            "{} makes no Wasm library; add to it:\n  [lib]\n  crate-type = [\"cdylib\"]",
            manifest.display()
        );
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(Project {
            dir: manifest.parent().map(Path::to_owned).unwrap_or_default(),
            name: text(&package["name"]),
            version: text(&package["version"]),
            target_dir: text(&metadata["target_directory"]).into(),
            manifest,
        })
    }

    fn default_out(&self) -> PathBuf {
        self.target_dir
            .join("plugins")
            .join(format!("{}.wasm", self.name))
    }
}

/// Runs cargo, which shows its own progress, and finds the module among the artifacts it names.
fn compile(toolchain: Toolchain, project: &Project) -> Result<Vec<u8>> {
    let mut child = toolchain
        .cargo(&project.dir)
        .args(["build", "--release", "--lib", "--target", TARGET])
        .arg("--message-format=json-render-diagnostics")
        .args(toolchain.build_args())
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo does not start")?;
    let stdout = child.stdout.take().context("cargo has no output")?;
    let mut module = None;
    for line in BufReader::new(stdout).lines() {
        let message: Value = serde_json::from_str(&line?).unwrap_or_default();
        module = artifact(&message, &project.manifest).or(module);
    }
    ensure!(
        child.wait()?.success(),
        "cargo could not build {}; its words are above",
        project.name
    );
    let module = module.context("cargo built no .wasm library")?;
    std::fs::read(&module).with_context(|| format!("reading {}", module.display()))
}

fn artifact(message: &Value, manifest: &Path) -> Option<PathBuf> {
    let ours = message["reason"] == "compiler-artifact"
        && message["manifest_path"].as_str().map(Path::new) == Some(manifest);
    let files = message["filenames"].as_array().filter(|_| ours)?;
    let wasm = files
        .iter()
        .filter_map(Value::as_str)
        .find(|name| name.ends_with(".wasm"))?;
    Some(wasm.into())
}

fn componentize(module: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = ComponentEncoder::default()
        .validate(true)
        .module(module)
        .context("the module does not say which WIT world it is for; does it use tidegate-sdk?")?;
    let component = encoder.encode().context(
        "the module does not fit its world (an import other than the world's, such as WASI or a \
         missing export?)",
    )?;
    if component.is_empty() {
        bail!("wit-component made nothing of the module");
    }
    Ok(component)
}

/// Written beside and renamed, so that nobody reads half a plugin.
fn write_whole(out: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(dir) = out.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    }
    let part = out.with_extension(format!("wasm.{}", std::process::id()));
    std::fs::write(&part, bytes)
        .and_then(|()| std::fs::rename(&part, out))
        .with_context(|| format!("writing {}", out.display()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
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
        let project =
            Project::from_metadata(&metadata("cdylib"), "/w/match/Cargo.toml".into()).unwrap();
        assert_eq!(
            (project.name.as_str(), project.version.as_str()),
            ("match", "0.2.0")
        );
        assert_eq!(project.default_out(), Path::new("/t/plugins/match.wasm"));
        assert!(Project::from_metadata(&metadata("cdylib"), "/w/Cargo.toml".into()).is_err());
    }

    #[test]
    fn says_what_a_plain_library_lacks() {
        let error = Project::from_metadata(&metadata("lib"), "/w/match/Cargo.toml".into());
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
