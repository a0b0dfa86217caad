//! Rust source with what is not code taken out: comments, literals, and what only tests compile.

/// The same text, line for line and byte for byte as long, with comments and the insides of literals blank.
pub fn code_of(source: &str) -> String {
    let mut out = source.as_bytes().to_vec();
    let mut at = 0;
    while at < out.len() {
        let end = literal_or_comment(&out, at);
        match end {
            Some(end) => {
                blank(&mut out[at..end]);
                at = end;
            }
            None => at += 1,
        }
    }
    // Only whole literals and comments were blanked, so what is left is still UTF-8.
    String::from_utf8_lossy(&out).into_owned()
}

/// The code without items under `#[cfg(test)]`; takes what [`code_of`] gives.
pub fn without_tests(code: &str) -> String {
    let mut out = code.as_bytes().to_vec();
    let mut from = 0;
    while let Some(found) = code[from..].find(CFG_TEST) {
        let start = from + found;
        let end = item_end(code.as_bytes(), start + CFG_TEST.len());
        blank(&mut out[start..end]);
        from = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Names of the modules that `#[cfg(test)] mod name;` puts into files of their own.
pub fn test_modules(code: &str) -> Vec<&str> {
    code.split(CFG_TEST)
        .skip(1)
        .filter_map(|rest| {
            let rest = rest.trim_start();
            let rest = rest.strip_prefix("pub(crate)").unwrap_or(rest).trim_start();
            let name = rest.strip_prefix("mod ")?.split(';').next()?.trim();
            name.chars()
                .all(|c| c.is_alphanumeric() || c == '_')
                .then_some(name)
        })
        .collect()
}

/// Lines, counted from 1, on which `path` stands as a whole word (or path of words).
pub fn lines_naming(code: &str, path: &str) -> Vec<usize> {
    let named = |line: &str| {
        line.match_indices(path).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = line[at + path.len()..].chars().next();
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        })
    };
    code.lines()
        .enumerate()
        .filter(|(_, line)| named(line))
        .map(|(at, _)| at + 1)
        .collect()
}

const CFG_TEST: &str = "#[cfg(test)]";

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn blank(bytes: &mut [u8]) {
    bytes
        .iter_mut()
        .filter(|byte| **byte != b'\n')
        .for_each(|byte| *byte = b' ');
}

/// Where the comment or literal that begins at `at` ends, if one begins there.
fn literal_or_comment(text: &[u8], at: usize) -> Option<usize> {
    let rest = &text[at..];
    let fresh = at == 0 || !is_word(char::from(text[at - 1]));
    match rest {
        [b'/', b'/', ..] => Some(
            rest.iter()
                .position(|byte| *byte == b'\n')
                .map_or(text.len(), |n| at + n),
        ),
        [b'/', b'*', ..] => Some(block_comment_end(text, at)),
        [b'"', ..] => Some(string_end(text, at + 1)),
        [b'r', b'"' | b'#', ..] if fresh => raw_string_end(text, at + 1),
        [b'b', b'r', b'"' | b'#', ..] if fresh => raw_string_end(text, at + 2),
        [b'\'', ..] => char_end(text, at + 1),
        _ => None,
    }
}

fn block_comment_end(text: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start + 2, 1);
    while at < text.len() && depth > 0 {
        let step = match &text[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                2
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        at += step;
    }
    at
}

fn string_end(text: &[u8], start: usize) -> usize {
    let mut at = start;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// `start` is at the hashes or the quote after the `r`. `None` is a raw identifier such as `r#type`.
fn raw_string_end(text: &[u8], start: usize) -> Option<usize> {
    let hashes = text[start..]
        .iter()
        .take_while(|byte| **byte == b'#')
        .count();
    let quote = start + hashes;
    if text.get(quote) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let body = &text[quote + 1..];
    let end = body.windows(close.len()).position(|window| window == close);
    Some(end.map_or(text.len(), |n| quote + 1 + n + close.len()))
}

/// A character literal ends within a few bytes; a lifetime has no closing quote.
fn char_end(text: &[u8], start: usize) -> Option<usize> {
    match &text[start..] {
        [b'\\', _, rest @ ..] => rest
            .iter()
            .position(|byte| *byte == b'\'')
            .map(|n| start + 2 + n + 1),
        [first, ..] => {
            let length = match first {
                0..0x80 => 1,
                0xF0.. => 4,
                0xE0.. => 3,
                _ => 2,
            };
            (text.get(start + length) == Some(&b'\'')).then_some(start + length + 1)
        }
        [] => None,
    }
}

/// The end of the item that follows an attribute: its closing brace, or its semicolon.
fn item_end(text: &[u8], start: usize) -> usize {
    let mut depth = 0usize;
    for (at, byte) in text.iter().enumerate().skip(start) {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_not_code() {
        let source = r##"
            let a = "tokio"; // tokio
            /* tokio /* nested */ tokio */
            let b = r#"tokio " "#; let c = '"'; let d = "\"tokio";
            fn e<'a>(x: &'a str) { tokio(x) }
        "##;
        assert_eq!(lines_naming(&code_of(source), "tokio"), [5]);
    }

    #[test]
    fn lifetimes_and_raw_identifiers_open_nothing() {
        let code = code_of("fn f<'a>(r#type: &'a u8, c: char) { if c == '\\'' { tokio() } } // x");
        assert_eq!(lines_naming(&code, "tokio"), [1]);
        assert!(!code.contains('x'));
    }

    #[test]
    fn words_match_whole() {
        let code = "my_tokio tokios\ntokio::spawn\nstd::time::Instant\nstd::time::Instants";
        assert_eq!(lines_naming(code, "tokio"), [2]);
        assert_eq!(lines_naming(code, "std::time::Instant"), [3]);
    }

    #[test]
    fn what_only_tests_compile_is_taken_out() {
        let code = "a();\n#[cfg(test)]\nmod tests {\n fn t() { now() }\n}\n#[cfg(test)]\nmod more;\nnow();";
        assert_eq!(lines_naming(&without_tests(code), "now"), [8]);
        assert_eq!(test_modules(code), ["more"]);
    }

    #[test]
    fn text_outside_ascii_keeps_its_lines() {
        let code = code_of("let e = 'é'; // naïve\nlet s = \"→\";\ntokio");
        assert_eq!(lines_naming(&code, "tokio"), [3]);
    }
}
