//! Finds one value in a JSON document by its pointer (RFC 6901), skipping over the rest; or
//! [changes](Pointers) some and copies the rest.
//!
//! ```
//! use tidegate_sdk::json::Pointer;
//!
//! let pointer = Pointer::parse("/order/lines/1/sku").unwrap();
//! let document = br#"{"id": 7, "order": {"lines": [{"sku": "a"}, {"sku": "b"}]}}"#;
//! assert_eq!(pointer.find(document).unwrap().text().unwrap(), &b"b"[..]);
//! ```
//!
//! What is skipped is matched for quotes and brackets only, and what stands behind the value is not
//! read at all. So a document that is not JSON may still yield a value; one that is JSON yields the
//! value a parser would, where its keys are unique. Of keys that are not, the first counts.

mod edit;
mod write;

use std::borrow::Cow;

pub use edit::{Change, NotJson, Pointers};
pub use write::write_string;

/// How deep a document may nest: as deep as serde_json reads.
const MAX_DEPTH: usize = 128;

/// The way to a value: member names and array indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    name: Vec<u8>,
    /// The token as an array index, where it is one.
    index: Option<usize>,
}

impl Pointer {
    /// # Errors
    /// A sentence, if the text is not a pointer.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.is_empty() && !text.starts_with('/') {
            return Err(format!("the JSON pointer `{text}` does not begin with `/`"));
        }
        let tokens: Vec<Token> = text
            .split('/')
            .skip(1)
            .map(Token::parse)
            .collect::<Result<_, _>>()?;
        if tokens.len() > MAX_DEPTH {
            return Err(format!(
                "a JSON pointer goes at most {MAX_DEPTH} levels deep"
            ));
        }
        Ok(Self { tokens })
    }

    /// The value, or `None` if the document has none there, is cut short before it, or nests deeper
    /// than 128 levels on the way.
    pub fn find<'a>(&self, document: &'a [u8]) -> Option<Json<'a>> {
        let mut cursor = Cursor {
            bytes: document,
            at: 0,
        };
        cursor.space();
        for token in &self.tokens {
            match cursor.next()? {
                b'{' => cursor.enter_member(&token.name)?,
                b'[' => cursor.enter_element(token.index?)?,
                _ => return None,
            }
        }
        Json::new(cursor.value()?)
    }
}

impl Token {
    fn parse(text: &str) -> Result<Self, String> {
        let mut name = Vec::with_capacity(text.len());
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            name.push(match byte {
                b'~' => match bytes.next() {
                    Some(b'0') => b'~',
                    Some(b'1') => b'/',
                    _ => return Err(format!("in `{text}`, `~` stands before neither 0 nor 1")),
                },
                byte => byte,
            });
        }
        let plain = text == "0" || !text.starts_with(['0', '+']);
        Ok(Self {
            name,
            index: if plain { text.parse().ok() } else { None },
        })
    }
}

/// A value as it stands in the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<'a> {
    raw: &'a [u8],
}

impl<'a> Json<'a> {
    /// Containers are taken on trust; anything else must be what its first byte says.
    fn new(raw: &'a [u8]) -> Option<Self> {
        let sound = match raw.first()? {
            b'{' | b'[' | b'"' => true,
            b'-' | b'0'..=b'9' => raw
                .iter()
                .all(|byte| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')),
            _ => matches!(raw, b"true" | b"false" | b"null"),
        };
        sound.then_some(Self { raw })
    }

    pub fn is_null(&self) -> bool {
        self.raw == b"null"
    }

    /// As it stands in the document, with quotes and escapes.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The contents of a string, unescaped; of anything else, how it is written. `None` if a
    /// string has an escape that is none.
    pub fn text(&self) -> Option<Cow<'a, [u8]>> {
        match self.raw {
            [b'"', contents @ .., b'"'] => unescape(contents),
            raw => Some(Cow::Borrowed(raw)),
        }
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// From behind `{` to the value of the member of this name.
    fn enter_member(&mut self, name: &[u8]) -> Option<()> {
        loop {
            self.space();
            if self.next()? != b'"' {
                return None;
            }
            let key = self.string_contents()?;
            self.space();
            if self.next()? != b':' {
                return None;
            }
            self.space();
            if is_named(key, name) {
                return Some(());
            }
            self.skip_to_next()?;
        }
    }

    /// From behind `[` to the element at this index.
    fn enter_element(&mut self, index: usize) -> Option<()> {
        self.space();
        for _ in 0..index {
            self.skip_to_next()?;
            self.space();
        }
        (self.peek()? != b']').then_some(())
    }

    /// Over a value and the comma behind it; `None` if there is no comma.
    fn skip_to_next(&mut self) -> Option<()> {
        self.value()?;
        self.space();
        (self.next()? == b',').then_some(())
    }

    /// Over a value, which is given as it stands.
    fn value(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        match self.next()? {
            b'"' => {
                self.string_contents()?;
            }
            b'{' | b'[' => self.skip_container()?,
            b',' | b':' | b']' | b'}' => return None,
            _ => self.skip_scalar(),
        }
        self.bytes.get(start..self.at)
    }

    /// From behind the opening quote to behind the closing one; what is between, as it stands.
    fn string_contents(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        loop {
            self.at += quote_or_backslash(self.bytes.get(self.at..)?)?;
            if self.next()? == b'"' {
                return self.bytes.get(start..self.at - 1);
            }
            self.at += 1;
        }
    }

    /// From behind the opening bracket to behind the one that closes it. Counts brackets instead of
    /// recursing, so that no document can exhaust the stack.
    fn skip_container(&mut self) -> Option<()> {
        let mut depth = 1;
        while depth > 0 {
            match self.next()? {
                b'"' => {
                    self.string_contents()?;
                }
                b'{' | b'[' if depth == MAX_DEPTH => return None,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
        }
        Some(())
    }

    fn skip_scalar(&mut self) {
        while let Some(byte) = self.peek() {
            if matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r') {
                break;
            }
            self.at += 1;
        }
    }
}

/// Most strings end within a few bytes, where a loop is faster than setting up a vector search.
#[inline]
fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    const NEAR: usize = 16;
    let near = bytes
        .iter()
        .take(NEAR)
        .position(|byte| matches!(byte, b'"' | b'\\'));
    near.or_else(|| Some(NEAR + memchr::memchr2(b'"', b'\\', bytes.get(NEAR..)?)?))
}

fn is_named(key: &[u8], name: &[u8]) -> bool {
    if key == name {
        // A name with a backslash in it is always written escaped.
        return !name.contains(&b'\\');
    }
    // Escapes only make a key longer, so that most keys need no second look.
    key.len() > name.len() && key.contains(&b'\\') && unescape(key).is_some_and(|key| *key == *name)
}

fn unescape(contents: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(first) = memchr::memchr(b'\\', contents) else {
        return Some(Cow::Borrowed(contents));
    };
    let mut text = contents[..first].to_vec();
    let mut rest = &contents[first..];
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'\\' {
            text.push(byte);
            continue;
        }
        let (&escape, behind) = rest.split_first()?;
        rest = behind;
        match escape {
            b'"' | b'\\' | b'/' => text.push(escape),
            b'b' => text.push(8),
            b'f' => text.push(12),
            b'n' => text.push(b'\n'),
            b'r' => text.push(b'\r'),
            b't' => text.push(b'\t'),
            b'u' => {
                let character = unicode_escape(&mut rest)?;
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => return None,
        }
    }
    Some(Cow::Owned(text))
}

/// Reads what follows `\u`, and the second half of a surrogate pair with it.
fn unicode_escape(rest: &mut &[u8]) -> Option<char> {
    let high = u32::from(hex4(rest)?);
    if !(0xD800..0xDC00).contains(&high) {
        return char::from_u32(high);
    }
    *rest = rest.strip_prefix(b"\\u")?;
    let low = u32::from(hex4(rest)?);
    if !(0xDC00..0xE000).contains(&low) {
        return None;
    }
    char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
}

fn hex4(rest: &mut &[u8]) -> Option<u16> {
    let (digits, behind) = rest.split_first_chunk::<4>()?;
    *rest = behind;
    digits.iter().try_fold(0u16, |value, digit| {
        Some(value << 4 | char::from(*digit).to_digit(16)? as u16)
    })
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prelude::*};
    use serde_json::Value;

    use super::*;

    fn find(pointer: &str, document: &str) -> Option<String> {
        let text = Pointer::parse(pointer)
            .unwrap()
            .find(document.as_bytes())?
            .text()?
            .into_owned();
        Some(String::from_utf8(text).unwrap())
    }

    #[test]
    fn the_examples_of_rfc_6901() {
        let document = r#"{"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4,
            "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8}"#;
        let expected = [
            ("/foo", r#"["bar", "baz"]"#),
            ("/foo/0", "bar"),
            ("/", "0"),
            ("/a~1b", "1"),
            ("/c%d", "2"),
            ("/e^f", "3"),
            ("/g|h", "4"),
            ("/i\\j", "5"),
            ("/k\"l", "6"),
            ("/ ", "7"),
            ("/m~0n", "8"),
        ];
        for (pointer, text) in expected {
            assert_eq!(find(pointer, document).as_deref(), Some(text), "{pointer}");
        }
        assert_eq!(find("", document).as_deref(), Some(document));
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let document = r#" {"a": [1, {"b": "x\n\u00e9\ud83d\ude00"}], "e": [], "o": {}} "#;
        for pointer in [
            "/b", "/a/2", "/a/01", "/a/-", "/a/b", "/a/0/0", "/e/0", "/e/1", "/o/x",
        ] {
            assert_eq!(find(pointer, document), None, "{pointer}");
        }
        assert_eq!(find("/a/1/b", document).as_deref(), Some("x\né😀"));
        assert_eq!(find("", ""), None);
    }

    #[test]
    fn escapes_in_keys() {
        assert_eq!(find("/ab", r#"{"\u0061b": 1}"#).as_deref(), Some("1"));
        assert_eq!(find(r"/\u0061", r#"{"\u0061": 1}"#), None);
    }

    #[test]
    fn what_is_not_json_is_not_found() {
        let broken = [
            "nul",
            "{",
            r#"{"a"}"#,
            r#"{"a" 1}"#,
            r#"{"a": }"#,
            r#"{"a": x}"#,
            r#"{"a": "\ud800"}"#,
            r#"{"a": "\x"}"#,
            r#"{"a": "\"#,
        ];
        for document in broken {
            assert_eq!(find("/a", document), None, "{document}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("[{}{}, 7]", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(find("/1", &nested(100)).as_deref(), Some("7"));
        assert_eq!(find("/1", &nested(1_000_000)), None);
        assert!(Pointer::parse(&"/a".repeat(129)).is_err());
    }

    #[test]
    fn pointers_are_checked() {
        assert!(Pointer::parse("a").is_err());
        assert!(Pointer::parse("/a~2").is_err());
        assert!(Pointer::parse("/a~").is_err());
    }

    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 64, 6, |inner| {
            prop_oneof![
                collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                collection::hash_map(".{0,3}|[a-c~/\\\\]{0,2}", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// Every pointer that leads somewhere.
    fn pointers(value: &Value, prefix: &str, into: &mut Vec<String>) {
        into.push(prefix.into());
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    pointers(item, &format!("{prefix}/{index}"), into);
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    let token = name.replace('~', "~0").replace('/', "~1");
                    pointers(member, &format!("{prefix}/{token}"), into);
                }
            }
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn finds_what_serde_json_finds(document in documents(), pretty: bool) {
            let text = if pretty {
                serde_json::to_string_pretty(&document).unwrap()
            } else {
                document.to_string()
            };
            let mut all = Vec::new();
            pointers(&document, "", &mut all);
            for pointer in &all {
                let found = Pointer::parse(pointer).unwrap().find(text.as_bytes()).unwrap();
                let expected = document.pointer(pointer).unwrap();
                prop_assert_eq!(&serde_json::from_slice::<Value>(found.raw()).unwrap(),
                    &serde_json::from_str::<Value>(&expected.to_string()).unwrap());
                if let Value::String(string) = expected {
                    prop_assert_eq!(&*found.text().unwrap(), string.as_bytes());
                }
            }
        }

        #[test]
        fn finds_nothing_where_serde_json_finds_nothing(document in documents(), last in "[a-c0-7]{0,2}") {
            let text = document.to_string();
            let mut all = Vec::new();
            pointers(&document, "", &mut all);
            for pointer in all.iter().map(|pointer| format!("{pointer}/{last}")) {
                let found = Pointer::parse(&pointer).unwrap().find(text.as_bytes());
                prop_assert_eq!(found.is_some(), document.pointer(&pointer).is_some(), "{}", pointer);
            }
        }

        #[test]
        fn never_panics(document: Vec<u8>, pointer in "(/[a0]?){0,3}") {
            if let Some(found) = Pointer::parse(&pointer).unwrap().find(&document) {
                let _ = found.text();
            }
        }

        #[test]
        fn never_panics_on_what_looks_like_json(document in r#"([\[\]{}:,"\\u0 a]|"a":|"a"){0,24}"#, pointer in "(/[a0]?){0,3}") {
            if let Some(found) = Pointer::parse(&pointer).unwrap().find(document.as_bytes()) {
                let _ = found.text();
            }
        }
    }
}
