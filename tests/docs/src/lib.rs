//! Takes the fenced blocks out of Markdown files.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// The documents that are held to this.
pub const DOCUMENTS: [&str; 4] = [
    "README.md",
    "docs/configuration.md",
    "docs/operations.md",
    "docs/plugins.md",
];

/// One fenced block.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Block {
    /// Where its opening fence stands, from 1.
    pub line: usize,
    /// What the fence says: the language, then `,continued` perhaps.
    pub info: String,
    pub text: String,
    /// The reason of a `<!-- not run: … -->` on the line before.
    pub not_run: Option<String>,
}

/// The fenced blocks of a document, in order.
pub fn blocks(markdown: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    let mut before = "";
    for (index, line) in markdown.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => {
                open = Some(Block {
                    line: index + 1,
                    info: info.trim().to_owned(),
                    text: String::new(),
                    not_run: reason(before),
                });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
        before = line;
    }
    found
}

/// For a build script: writes the wanted Rust modules of all documents to `snippets.rs` in its output directory.
pub fn write_modules(root: &Path, wanted: impl Fn(&str) -> bool) {
    let mut text = String::new();
    for name in DOCUMENTS {
        let path = root.join(name);
        println!("cargo::rerun-if-changed={}", path.display());
        let document =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let stem = name
            .trim_end_matches(".md")
            .replace('/', "_")
            .to_lowercase();
        text += &rust_modules(&stem, &document, &wanted);
    }
    let out = env::var_os("OUT_DIR").expect("cargo gives a build script its directory");
    fs::write(PathBuf::from(out).join("snippets.rs"), text)
        .expect("the output directory can be written");
}

/// The Rust blocks of a document as modules of their own; a continued one is part of the module before it.
fn rust_modules(name: &str, markdown: &str, wanted: &impl Fn(&str) -> bool) -> String {
    let mut modules: Vec<(usize, String)> = Vec::new();
    for block in blocks(markdown) {
        let continued = match block.info.as_str() {
            _ if block.not_run.is_some() => continue,
            "rust" => false,
            "rust,continued" => true,
            _ => continue,
        };
        match modules.last_mut() {
            Some((_, text)) if continued => text.push_str(&block.text),
            _ => modules.push((block.line, block.text)),
        }
    }
    modules
        .iter()
        .filter(|(_, text)| wanted(text))
        .map(|(line, text)| format!("mod {name}_line_{line} {{\n{text}}}\n"))
        .collect()
}

fn reason(line: &str) -> Option<String> {
    let said = line
        .trim()
        .strip_prefix("<!-- not run:")?
        .strip_suffix("-->")?;
    Some(said.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# T\n```rust\nfn a() {}\n```\n```rust,continued\nfn b() {}\n```\n\
        <!-- not run: takes long -->\n```console\n$ make\n```\n```rust\nfn c() {}\n```\n";

    #[test]
    fn blocks_are_found_where_they_stand() {
        let found = blocks(TEXT);
        assert_eq!(found.len(), 4);
        assert_eq!((found[0].line, found[0].text.as_str()), (2, "fn a() {}\n"));
        assert_eq!(found[2].not_run.as_deref(), Some("takes long"));
        assert_eq!(found[3].not_run, None);
    }

    #[test]
    fn continued_blocks_join() {
        let modules = rust_modules("t", TEXT, &|_| true);
        assert_eq!(
            modules,
            "mod t_line_2 {\nfn a() {}\nfn b() {}\n}\nmod t_line_12 {\nfn c() {}\n}\n"
        );
    }
}
