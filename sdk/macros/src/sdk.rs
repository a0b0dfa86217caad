//! What the crate at hand calls the SDK.

use std::{env, fs, path::Path};

use syn::{Path as Name, parse_quote};

/// `::tidegate` if the crate's manifest has a dependency of that name (tidegate-sdk renamed), else
/// `::tidegate_sdk`. Any other name is told with the option `crate`.
pub(crate) fn path() -> Name {
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .and_then(|dir| fs::read_to_string(Path::new(&dir).join("Cargo.toml")).ok());
    if manifest.is_some_and(|manifest| depends_on_tidegate(&manifest)) {
        parse_quote!(::tidegate)
    } else {
        parse_quote!(::tidegate_sdk)
    }
}

fn depends_on_tidegate(manifest: &str) -> bool {
    let mut in_dependencies = false;
    manifest.lines().map(str::trim).any(|line| {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end_matches(']');
            in_dependencies = table.ends_with("dependencies");
            return table.ends_with("dependencies.tidegate");
        }
        let key = line.split(['=', '.']).next().unwrap_or_default().trim();
        in_dependencies && key == "tidegate"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_renamed_dependency() {
        for manifest in [
            "[dependencies]\ntidegate = { package = \"tidegate-sdk\", path = \"x\" }",
            "[dependencies]\nserde = \"1\"\ntidegate.workspace = true",
            "[dependencies.tidegate]\npackage = \"tidegate-sdk\"",
            "[dev-dependencies]\ntidegate={package=\"tidegate-sdk\"}",
        ] {
            assert!(depends_on_tidegate(manifest), "{manifest}");
        }
    }

    #[test]
    fn anything_else_is_the_sdk_by_its_own_name() {
        for manifest in [
            "[dependencies]\ntidegate-sdk = { path = \"x\" }",
            "[package]\ntidegate = 1\n[dependencies]\nserde = \"1\"",
            "",
        ] {
            assert!(!depends_on_tidegate(manifest), "{manifest}");
        }
    }
}
