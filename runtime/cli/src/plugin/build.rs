//! `tidegate plugin build`: a project becomes a component, in one step. How is the harness's part.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use sha2::{Digest, Sha256};
use tidegate_test::{Component, Project};

use crate::output::{say, size_text};

/// Build the plugin in DIR into one component file.
///
/// A directory with a tidegate.toml is built by the command that stands there, any other by cargo. Which tools were found, and
/// where, is said first.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate plugin build                                   # the project here
  tidegate plugin build plugins/match --out match.wasm
  TIDEGATE_WASM_TOOLCHAIN=debian tidegate plugin build    # force Debian's toolchain")]
pub(crate) struct BuildArgs {
    /// The plugin's directory, with its Cargo.toml or tidegate.toml.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Where to write the component [default: <target directory>/plugins/<name>.wasm].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: BuildArgs) -> Result<()> {
    let component = build(&args.dir)?;
    let out = args.out.unwrap_or_else(|| component.default_path.clone());
    write_whole(&out, &component.bytes)?;
    say!(
        "{}  {}  sha256:{}",
        out.display(),
        size_text(component.bytes.len() as u64),
        hex(&Sha256::digest(&component.bytes))
    )?;
    eprintln!(
        "next: tidegate plugin push {} --name {} --version {}",
        out.display(),
        component.name,
        component.version
    );
    Ok(())
}

/// Builds, and says which way it took.
pub(crate) fn build(dir: &Path) -> Result<Component> {
    let project = Project::open(dir)?;
    eprintln!(
        "building {} {} with {}",
        project.name(),
        project.version(),
        project.way()
    );
    Ok(project.build()?)
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
