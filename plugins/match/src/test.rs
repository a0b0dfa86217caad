//! What a field is tested for.

use memchr::memmem::Finder;
use regex_automata::{
    meta::{BuildError, Regex},
    util::syntax,
};
use serde::Deserialize;
use tidegate::Number;

/// How large a compiled expression may be, in bytes: a tenth of what the crate allows, so that no
/// binding takes much of an instance's memory.
const REGEX_BYTES: usize = 1 << 20;

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Op {
    Contains,
    Equals,
    Prefix,
    Regex,
    Exists,
    Gt,
    Lt,
}

#[expect(clippy::large_enum_variant, reason = "there is one for each instance")]
pub(crate) enum Test {
    Contains(Finder<'static>),
    Equals(Vec<u8>),
    Prefix(Vec<u8>),
    Regex(Regex),
    Exists,
    Above(Number),
    Below(Number),
}

impl Test {
    /// # Errors
    /// A sentence, if the value does not suit the operation.
    pub(crate) fn new(op: Op, value: Option<String>) -> Result<Self, String> {
        let need = |op: &str| {
            value
                .clone()
                .ok_or_else(|| format!("`op = {op}` needs a `value`"))
        };
        let need_some = |op: &str| match need(op)? {
            value if value.is_empty() => Err(format!(
                "`op = {op}` with an empty `value` would match everything"
            )),
            value => Ok(value),
        };
        Ok(match op {
            Op::Contains => Self::Contains(Finder::new(&need_some("contains")?).into_owned()),
            Op::Equals => Self::Equals(need("equals")?.into_bytes()),
            Op::Prefix => Self::Prefix(need_some("prefix")?.into_bytes()),
            Op::Regex => Self::Regex(regex(&need("regex")?)?),
            Op::Exists => Self::Exists,
            Op::Gt => Self::Above(number("gt", &need("gt")?)?),
            Op::Lt => Self::Below(number("lt", &need("lt")?)?),
        })
    }

    #[inline]
    pub(crate) fn passes(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Contains(finder) => finder.find(bytes).is_some(),
            Self::Equals(value) => bytes == value,
            Self::Prefix(value) => bytes.starts_with(value),
            Self::Regex(regex) => regex.is_match(bytes),
            Self::Exists => true,
            Self::Above(limit) => Number::parse(bytes).is_some_and(|number| number > *limit),
            Self::Below(limit) => Number::parse(bytes).is_some_and(|number| number < *limit),
        }
    }
}

fn number(op: &str, text: &str) -> Result<Number, String> {
    Number::parse(text.as_bytes())
        .ok_or_else(|| format!("`op = {op}` needs a number as its `value`, and `{text}` is none"))
}

/// In Unicode mode, but over bytes: what is not UTF-8 can be searched, and is matched by no class.
fn regex(pattern: &str) -> Result<Regex, String> {
    let limits = Regex::config()
        .nfa_size_limit(Some(REGEX_BYTES))
        .hybrid_cache_capacity(REGEX_BYTES)
        .utf8_empty(false);
    Regex::builder()
        .configure(limits)
        .syntax(syntax::Config::new().utf8(false))
        .build(pattern)
        .map_err(|error| {
            format!(
                "`value` cannot be used as a regular expression: {}",
                why(&error)
            )
        })
}

/// A syntax error shows itself as a drawing of several lines, the last of which says it in words.
fn why(error: &BuildError) -> String {
    let Some(syntax) = error.syntax_error() else {
        return format!("it takes more than {REGEX_BYTES} bytes when compiled");
    };
    let drawing = syntax.to_string();
    let words = drawing.lines().last().unwrap_or(&drawing);
    words.trim_start_matches("error: ").to_string()
}
