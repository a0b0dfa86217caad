//! Finding a Rust toolchain that can build for `wasm32-unknown-unknown`.
//!
//! Two ways are known. The active toolchain may have the target installed (rustup's way). Or Debian
//! ships one: `rustc-web` with the standard library's source, from which cargo builds std for the
//! target itself. Nothing is ever installed here; the error says what to install.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::BuildError;

pub(crate) const TARGET: &str = "wasm32-unknown-unknown";
/// Forces one way: `rustup` or `debian`.
pub(crate) const FORCE_VARIABLE: &str = "TIDEGATE_WASM_TOOLCHAIN";

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_LINKER: &str = "/usr/bin/wasm-ld";
const DEBIAN_STD_SOURCE: &str = "/usr/lib/rustlib/src/rust/library";

const HOW_TO_INSTALL: &str = "install one of:
  rustup target add wasm32-unknown-unknown
  apt install rustc-web cargo-web rust-web-src libstd-rust-web-dev lld      (Debian)";

/// A way to build for the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// The active toolchain has the target's standard library.
    Rustup,
    /// Debian's rustc-web, building the standard library from source.
    Debian,
}

impl Toolchain {
    /// The first way that works, or the one the environment forces.
    pub(crate) fn find() -> Result<Toolchain, BuildError> {
        match std::env::var(FORCE_VARIABLE).ok().as_deref() {
            None | Some("") => find_any(active_has_target(), missing_for_debian().is_empty()),
            Some("rustup") if active_has_target() => Ok(Toolchain::Rustup),
            Some("rustup") => Err(BuildError::Toolchain(format!(
                "{FORCE_VARIABLE}=rustup, but the active toolchain has no {TARGET}; run\n  \
                 rustup target add {TARGET}"
            ))),
            Some("debian") => match missing_for_debian() {
                missing if missing.is_empty() => Ok(Toolchain::Debian),
                missing => Err(BuildError::Toolchain(format!(
                    "{FORCE_VARIABLE}=debian, but {} is missing; run\n  apt install rustc-web \
                     cargo-web rust-web-src libstd-rust-web-dev lld",
                    missing.join(" and ")
                ))),
            },
            Some(other) => Err(BuildError::Toolchain(format!(
                "{FORCE_VARIABLE} is `{other}`; it may be `rustup` or `debian`"
            ))),
        }
    }

    /// What is about to be used and why, for the progress line.
    pub(crate) fn describe(self) -> String {
        match self {
            Toolchain::Rustup => format!("the active toolchain, {}", rustc_version("rustc")),
            Toolchain::Debian => format!(
                "Debian's rustc-web, {} (it builds std too: about a minute the first time)",
                rustc_version(DEBIAN_RUSTC)
            ),
        }
    }

    /// `cargo` of this toolchain, ready for a subcommand.
    pub(crate) fn cargo(self, dir: &Path) -> Command {
        let mut command = match self {
            Toolchain::Rustup => Command::new("cargo"),
            Toolchain::Debian => Command::new(DEBIAN_CARGO),
        };
        command.current_dir(dir);
        // When this runs under cargo (a test), that cargo's own variables must not leak into ours.
        for variable in [
            "CARGO",
            "RUSTC",
            "RUSTDOC",
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
        ] {
            command.env_remove(variable);
        }
        if self == Toolchain::Debian {
            command
                .env("PATH", path_with_usr_bin_first())
                .env("RUSTC", DEBIAN_RUSTC)
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-ld")
                .env_remove("RUSTUP_TOOLCHAIN");
        }
        command
    }

    /// Arguments of `cargo build` beyond the target.
    pub(crate) fn build_args(self) -> &'static [&'static str] {
        match self {
            Toolchain::Rustup => &[],
            Toolchain::Debian => &["-Z", "build-std=std,panic_abort"],
        }
    }
}

fn find_any(active: bool, debian: bool) -> Result<Toolchain, BuildError> {
    match (active, debian) {
        (true, _) => Ok(Toolchain::Rustup),
        (false, true) => Ok(Toolchain::Debian),
        (false, false) => Err(BuildError::Toolchain(format!(
            "no toolchain here can build for {TARGET}; {HOW_TO_INSTALL}"
        ))),
    }
}

/// rustc names the directory whether or not the target is installed, so look into it.
fn active_has_target() -> bool {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .output();
    let Ok(output) = output else { return false };
    let dir = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    std::fs::read_dir(dir).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|e| e.file_name().to_string_lossy().starts_with("libcore"))
    })
}

fn missing_for_debian() -> Vec<&'static str> {
    let needed = [DEBIAN_RUSTC, DEBIAN_CARGO, DEBIAN_LINKER, DEBIAN_STD_SOURCE];
    needed
        .into_iter()
        .filter(|path| !Path::new(path).exists())
        .collect()
}

fn path_with_usr_bin_first() -> std::ffi::OsString {
    let mut path = std::ffi::OsString::from("/usr/bin");
    if let Some(rest) = std::env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    path
}

fn rustc_version(rustc: &str) -> String {
    let output = Command::new(rustc).arg("--version").output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    text.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefers_the_active_toolchain() {
        assert_eq!(find_any(true, true).unwrap(), Toolchain::Rustup);
        assert_eq!(find_any(false, true).unwrap(), Toolchain::Debian);
        let told = find_any(false, false).unwrap_err().to_string();
        assert!(
            told.contains("rustup target add") && told.contains("apt install"),
            "{told}"
        );
    }
}
