//! `tidegate plugin new`: a project that builds, and whose tests pass.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

use super::template::{self, Names, VENDOR};
use crate::output::{Tint, say, tinted};

/// Make a new plugin's project, which builds and whose test passes.
///
/// It has the SDK and the contract beside it, and needs nothing of Tidegate but this program.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate plugin new only-errors                                 # a filter in Rust, in ./only-errors
  tidegate plugin new by-region --kind router
  tidegate plugin new mask --kind transform --lang rust --dir plugins/mask

Then, in the new directory:
  tidegate plugin test            # builds it, runs golden/*.jsonl in the broker's engine
  tidegate plugin build --out plugin.wasm
  tidegate plugin push plugin.wasm --name only-errors --version 0.1.0")]
pub(crate) struct NewArgs {
    /// Lower-case letters, digits and hyphens.
    #[arg(value_parser = plugin_name)]
    name: String,
    /// What it does with a record: keep it or not, send it to other topics, or change it.
    #[arg(long, value_enum, default_value = "filter")]
    kind: Kind,
    #[arg(long, value_enum, default_value = "rust")]
    lang: Lang,
    /// Where to put it [default: ./NAME]. It may exist if it is empty.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
enum Kind {
    Filter,
    Router,
    Transform,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
enum Lang {
    Rust,
    C,
    Js,
    Python,
    Go,
}

pub(crate) fn run(args: NewArgs) -> Result<()> {
    let (kind, lang) = (word(&args.kind), word(&args.lang));
    let names = Names {
        name: &args.name,
        version: "0.1.0",
    };
    let files = template::files(&lang, &kind, &names);
    if files.is_empty() {
        let kinds = template::kinds(&lang);
        match kinds.is_empty() {
            true => bail!("this build of tidegate has no templates in {lang}; try --lang rust"),
            false => bail!(
                "there is no template of a {kind} in {lang}, but of a {}; the SDK in {VENDOR}/sdk/{lang} may have the \
                 world all the same",
                kinds.join(" and a ")
            ),
        }
    }
    let dir = args.dir.unwrap_or_else(|| PathBuf::from(&args.name));
    ensure_empty(&dir)?;
    for file in &files {
        let path = dir.join(&file.path);
        let write = || {
            std::fs::create_dir_all(path.parent().unwrap_or(&dir))?;
            std::fs::write(&path, &file.content)
        };
        write().with_context(|| format!("writing {}", path.display()))?;
    }
    say!(
        "{}",
        tinted(
            &format!("{} is a {kind} in {lang}", dir.display()),
            Tint::Good
        )
    )?;
    for file in files.iter().filter(|file| !file.path.starts_with(VENDOR)) {
        say!("  {}", file.path)?;
    }
    say!(
        "  {VENDOR}/  the SDK and the contract, version {}",
        env!("CARGO_PKG_VERSION")
    )?;
    eprintln!("next: cd {} && tidegate plugin test", dir.display());
    Ok(())
}

fn word(value: &impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

/// Nothing of anybody's is ever written over.
fn ensure_empty(dir: &Path) -> Result<()> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => {
            ensure!(
                entries.next().is_none(),
                "{} is not empty; name another with --dir",
                dir.display()
            );
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("looking into {}", dir.display())),
    }
}

/// A name that is a cargo package, a file and a word of a chain.
fn plugin_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let starts = text.starts_with(|c: char| c.is_ascii_lowercase());
    match starts && text.chars().all(plain) && !text.ends_with('-') && text.len() <= 64 {
        true => Ok(text.to_owned()),
        false => Err(
            "a name has lower-case letters, digits and hyphens, and begins with a letter"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_everywhere() {
        assert_eq!(plugin_name("only-errors2").unwrap(), "only-errors2");
        for wrong in ["", "2fast", "Upper", "a_b", "../x", "a b", "ends-"] {
            assert!(plugin_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_directory_in_use_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(ensure_empty(dir.path()).is_ok());
        assert!(ensure_empty(&dir.path().join("new")).is_ok());
        std::fs::write(dir.path().join("x"), "").unwrap();
        assert!(ensure_empty(dir.path()).is_err());
    }
}
