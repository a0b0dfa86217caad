//! Projects that another language's tools build.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{BuildError, Manifest, module};

/// Directories with tools, before those of `PATH`; separated as `PATH` is.
const TOOLS_VARIABLE: &str = "TIDEGATE_TOOLS";
/// What every component begins with: the magic, the layer of components, and its version.
const COMPONENT_HEAD: &[u8] = b"\0asm\x0d\0\x01\0";
/// The contract, for a project that has no copy of it.
const WIT: &str = include_str!("../../../../wit/plugin.wit");

#[derive(Debug)]
pub(crate) struct CommandProject {
    dir: PathBuf,
    pub(crate) manifest: Manifest,
    /// Found beside the project: programs, and packages for Node.
    bin_dirs: Vec<PathBuf>,
    node_modules: Vec<PathBuf>,
}

impl CommandProject {
    pub(crate) fn new(dir: &Path, manifest: Manifest) -> Result<CommandProject, BuildError> {
        let dir = dir.canonicalize().map_err(|source| BuildError::File {
            path: dir.to_owned(),
            source,
        })?;
        let all = |names: &[&str]| -> Vec<PathBuf> {
            let up = dir.ancestors();
            up.flat_map(|above| names.iter().map(|name| above.join(name)))
                .filter(|found| found.is_dir())
                .collect()
        };
        let mut bin_dirs = all(&["node_modules/.bin", ".venv/bin", "venv/bin"]);
        let mut node_modules = all(&["node_modules"]);
        for tools in std::env::var_os(TOOLS_VARIABLE)
            .iter()
            .flat_map(std::env::split_paths)
        {
            // `node_modules/.bin` has packages beside it that scripts import.
            if let Some(packages) = tools.parent().filter(|dir| dir.ends_with("node_modules")) {
                node_modules.push(packages.to_owned());
            }
            bin_dirs.push(tools);
        }
        Ok(CommandProject {
            dir,
            manifest,
            bin_dirs,
            node_modules,
        })
    }

    pub(crate) fn describe(&self) -> String {
        let command = self.manifest.build.command.join(" ");
        let dirs: Vec<String> = self
            .bin_dirs
            .iter()
            .map(|dir| dir.display().to_string())
            .collect();
        match dirs.is_empty() {
            true => format!("`{command}`"),
            false => format!("`{command}`, tools first from {}", dirs.join(", ")),
        }
    }

    pub(crate) fn default_out(&self) -> PathBuf {
        let file = format!("{}.wasm", self.manifest.plugin.name);
        self.dir.join("target/plugins").join(file)
    }

    pub(crate) fn build(&self) -> Result<Vec<u8>, BuildError> {
        let work = self.dir.join("target/tidegate");
        let out = work.join("component.wasm");
        let file_error = |path: &Path| {
            let path = path.to_owned();
            move |source| BuildError::File { path, source }
        };
        std::fs::create_dir_all(&work).map_err(file_error(&work))?;
        // What an earlier build left must not be taken for what this one made.
        if out.exists() {
            std::fs::remove_file(&out).map_err(file_error(&out))?;
        }
        let wit = self.wit_dir(&work).map_err(file_error(&work))?;
        let plugin = &self.manifest.plugin;
        let (program, arguments) = match self.manifest.build.command.split_first() {
            Some((program, arguments)) => (program, arguments),
            None => return Err(super::ManifestError::NoCommand.into()),
        };
        let status = Command::new(program)
            .args(arguments)
            .current_dir(&self.dir)
            .env("PATH", joined(&self.bin_dirs, "PATH"))
            .env("NODE_PATH", joined(&self.node_modules, "NODE_PATH"))
            .env("TIDEGATE_OUT", &out)
            .env("TIDEGATE_WIT", wit)
            .env("TIDEGATE_WORLD", plugin.kind.as_str())
            .env("TIDEGATE_NAME", &plugin.name)
            .env("TIDEGATE_VERSION", &plugin.version)
            // A build's words are no result: what is printed by this program may be piped into another.
            .stdout(std::io::stderr())
            .status()
            .map_err(|source| BuildError::Start {
                program: program.clone(),
                source,
            })?;
        if !status.success() {
            return Err(BuildError::Failed(format!(
                "`{}` failed ({status}); its words are above",
                self.manifest.build.command.join(" ")
            )));
        }
        let bytes = std::fs::read(&out).map_err(|_| {
            BuildError::NotAComponent(format!(
                "`{}` wrote no component to $TIDEGATE_OUT, {}",
                self.manifest.build.command.join(" "),
                out.display()
            ))
        })?;
        if module::is_module(&bytes) {
            return module::componentize(&bytes, plugin.kind);
        }
        match bytes.starts_with(COMPONENT_HEAD) {
            true => Ok(bytes),
            false => Err(BuildError::NotAComponent(format!(
                "{} is neither a WebAssembly component nor a core module to make one of",
                out.display()
            ))),
        }
    }

    /// The project's own copy of the contract, else ours.
    fn wit_dir(&self, work: &Path) -> std::io::Result<PathBuf> {
        let own = self.dir.join("vendor/tidegate/wit");
        if own.join("plugin.wit").exists() {
            return Ok(own);
        }
        let wit = work.join("wit");
        std::fs::create_dir_all(&wit)?;
        std::fs::write(wit.join("plugin.wit"), WIT)?;
        Ok(wit)
    }
}

/// The directories, then those that the variable has.
fn joined(first: &[PathBuf], variable: &str) -> OsString {
    let before = std::env::var_os(variable).unwrap_or_default();
    let all = first
        .iter()
        .cloned()
        .chain(std::env::split_paths(&before))
        .filter(|dir| !dir.as_os_str().is_empty());
    // A directory whose name has the separator cannot be said in such a list at all.
    std::env::join_paths(all).unwrap_or(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(dir: &Path, script: &str) -> CommandProject {
        let manifest = format!(
            "[plugin]\nname = 'p'\nversion = '0.2.0'\nkind = 'filter'\nlang = 'sh'\n[build]\n\
             command = ['sh', '-c', '''{script}''']"
        );
        CommandProject::new(dir, manifest.parse().unwrap()).unwrap()
    }

    #[test]
    fn the_command_is_told_where_and_what() {
        let dir = tempfile::tempdir().unwrap();
        let script = r#"test -f "$TIDEGATE_WIT/plugin.wit" && test "$TIDEGATE_WORLD" = filter &&
            printf '\000asm\r\000\001\000%s' "$TIDEGATE_NAME-$TIDEGATE_VERSION" > "$TIDEGATE_OUT""#;
        let bytes = project(dir.path(), script).build().unwrap();
        assert_eq!(bytes.strip_prefix(COMPONENT_HEAD).unwrap(), b"p-0.2.0");
    }

    #[test]
    fn tools_beside_the_project_come_first() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("node_modules/.bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::create_dir_all(dir.path().join("p")).unwrap();
        let project = project(&dir.path().join("p"), "true");
        assert!(project.describe().contains("node_modules/.bin"));
        assert!(project.node_modules[0].ends_with("node_modules"));
    }

    #[test]
    fn what_fails_is_told() {
        let dir = tempfile::tempdir().unwrap();
        for (script, words) in [
            ("exit 3", "exit status: 3"),
            ("true", "wrote no component"),
            (
                "printf '\\000asm\\001\\000\\000\\000' > $TIDEGATE_OUT",
                "core module",
            ),
        ] {
            let error = project(dir.path(), script).build().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
