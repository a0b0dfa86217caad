//! The templates and SDKs that this binary carries, so that `plugin new` needs nothing but itself.
//!
//! The build script packs `wit/` and, of `sdk/<language>/`, what a project needs to be built. The paths are those of the
//! repository, and a new project has the same ones below [`VENDOR`], so that what refers to another file still finds it.

/// Where a project keeps the SDK and the contract that it was made with.
pub(super) const VENDOR: &str = "vendor/tidegate";

/// (path in the repository, content)
const PACKED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/packed.rs"));

/// What stands for something else in a template.
pub(super) struct Names<'a> {
    pub(super) name: &'a str,
    pub(super) version: &'a str,
}

/// One file of a new project.
pub(super) struct ProjectFile {
    /// Relative to the project, with `/`.
    pub(super) path: String,
    pub(super) content: Vec<u8>,
}

/// The kinds that have a template in a language.
pub(super) fn kinds(lang: &str) -> Vec<&'static str> {
    let folder = format!("sdk/{lang}/template/");
    let mut kinds: Vec<&str> = PACKED
        .iter()
        .filter_map(|(path, _)| path.strip_prefix(&folder)?.split('/').next())
        .collect();
    kinds.dedup();
    kinds
}

/// Everything that a new project consists of; nothing if there is no such template.
pub(super) fn files(lang: &str, kind: &str, names: &Names<'_>) -> Vec<ProjectFile> {
    let template = format!("sdk/{lang}/template/{kind}/");
    let own = PACKED.iter().filter_map(|(path, content)| {
        let path = path.strip_prefix(&template)?;
        Some(ProjectFile {
            path: path.strip_suffix(".tmpl").unwrap_or(path).to_owned(),
            content: filled(content, lang, names),
        })
    });
    let mut files: Vec<ProjectFile> = own.collect();
    if files.is_empty() {
        return files;
    }
    // The procedural macros of Rust's SDK are a crate of their own.
    let mut sdks = vec![format!("sdk/{lang}/")];
    if lang == "rust" {
        sdks.push("sdk/macros/".to_owned());
    }
    let is_vendored = |path: &str| {
        path.starts_with("wit/")
            || sdks.iter().any(|sdk| {
                path.strip_prefix(sdk)
                    .is_some_and(|rest| !rest.starts_with("template/"))
            })
    };
    let vendored = PACKED.iter().filter(|(path, _)| is_vendored(path));
    files.extend(vendored.map(|(path, content)| ProjectFile {
        path: format!("{VENDOR}/{path}"),
        content: content.to_vec(),
    }));
    files
}

/// A template's file with the project's names. One that is not text is taken as it is.
fn filled(content: &[u8], lang: &str, names: &Names<'_>) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(content) else {
        return content.to_vec();
    };
    text.replace("{{name}}", names.name)
        .replace("{{ident}}", &names.name.replace('-', "_"))
        .replace("{{version}}", names.version)
        .replace("{{sdk}}", &format!("{VENDOR}/sdk/{lang}"))
        .replace("{{wit}}", &format!("{VENDOR}/wit"))
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names<'_> = Names {
        name: "only-errors",
        version: "0.1.0",
    };

    #[test]
    fn rust_has_every_kind() {
        assert_eq!(kinds("rust"), ["filter", "router", "transform"]);
        assert!(kinds("cobol").is_empty());
        assert!(files("cobol", "filter", &NAMES).is_empty());
    }

    #[test]
    fn a_project_is_whole_and_named() {
        let files = files("rust", "filter", &NAMES);
        let find = |path: &str| {
            let file = files.iter().find(|file| file.path == path);
            let file = file.unwrap_or_else(|| panic!("no {path}"));
            String::from_utf8(file.content.clone()).unwrap()
        };
        assert!(find("Cargo.toml").contains("name = \"only-errors\""));
        find("vendor/tidegate/wit/plugin.wit");
        find("vendor/tidegate/sdk/rust/src/lib.rs");
        let unfilled = |file: &&ProjectFile| {
            let text = String::from_utf8_lossy(&file.content);
            !file.path.starts_with(VENDOR) && text.contains("{{")
        };
        let names: Vec<&str> = files
            .iter()
            .filter(unfilled)
            .map(|f| f.path.as_str())
            .collect();
        assert!(
            names.is_empty(),
            "placeholders that nobody knows: {names:?}"
        );
        assert!(files.iter().all(|file| !file.path.contains("/template/")));
    }
}
