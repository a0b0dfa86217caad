//! Seeds as text: one a line, a name, a blank and the bytes in hexadecimal. One file holds all of a target's, so that a
//! change shows in a diff, and a crash that was found is one more line.

/// An input to begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// What `bin/seeds.rs` makes begins with it, and is made anew.
const MADE: &str = "made-";

impl Seed {
    /// A seed of our own encoders.
    pub(crate) fn made(name: impl AsRef<str>, bytes: impl Into<Vec<u8>>) -> Seed {
        let name = name
            .as_ref()
            .replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        Seed {
            name: format!("{MADE}{name}"),
            bytes: bytes.into(),
        }
    }

    pub fn is_made(&self) -> bool {
        self.name.starts_with(MADE)
    }
}

/// Reads a file of the corpus; lines that are empty or begin with `#` say nothing. The error names the line.
pub fn parse(text: &str) -> Result<Vec<Seed>, String> {
    let lines = text.lines().enumerate();
    let said = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    said.map(|(at, line)| seed(line).ok_or_else(|| format!("line {}: `name hex`", at + 1)))
        .collect()
}

pub fn unparse(seeds: &[Seed]) -> String {
    let line = |seed: &Seed| {
        let hex: String = seed
            .bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("{} {hex}\n", seed.name)
    };
    seeds.iter().map(line).collect()
}

fn seed(line: &str) -> Option<Seed> {
    let (name, hex) = line.split_once(' ').unwrap_or((line, ""));
    let digits = hex.trim().as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes = digits.map(|pair| byte(pair).filter(|_| pair.len() == 2));
    Some(Seed {
        name: name.to_owned(),
        bytes: bytes.collect::<Option<_>>()?,
    })
}
