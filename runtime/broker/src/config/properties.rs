//! Java's properties format, as far as Kafka's files use it: comments, continuation lines, escapes.

/// Reads the pairs in the order of the file. The error is a sentence with the line's number.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let start = line.trim_start();
        if start.is_empty() || start.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = start.to_owned();
        while continues(&logical) {
            logical.pop();
            let Some((_, next)) = lines.next() else { break };
            logical.push_str(next.trim_start());
        }
        pairs.push(pair(&logical).map_err(|why| format!("line {}: {why}", number + 1))?);
    }
    Ok(pairs)
}

/// A line goes on when it ends in a backslash that is not itself escaped.
fn continues(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// The key ends at the first `=`, `:` or blank that is not escaped.
fn pair(line: &str) -> Result<(String, String), String> {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && (c == '=' || c == ':' || c.is_whitespace());
        escaped = !escaped && c == '\\';
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start();
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start();
    Ok((unescape(key)?, unescape(value)?))
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('u') => out.push(unicode(&mut chars)?),
            Some(other) => out.push(other),
            None => {}
        }
    }
    Ok(out)
}

/// `\u` and four digits, and two of these for a character beyond the first plane.
fn unicode(chars: &mut std::str::Chars<'_>) -> Result<char, String> {
    let wrong = || "`\\u` takes four hexadecimal digits of a character".to_owned();
    let first = four_digits(chars).ok_or_else(wrong)?;
    if !(0xd800..0xdc00).contains(&first) {
        return char::from_u32(first).ok_or_else(wrong);
    }
    let low = (chars.next() == Some('\\') && chars.next() == Some('u'))
        .then(|| four_digits(chars))
        .flatten()
        .filter(|low| (0xdc00..0xe000).contains(low))
        .ok_or_else(wrong)?;
    char::from_u32(0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00)).ok_or_else(wrong)
}

fn four_digits(chars: &mut std::str::Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |number, _| {
        Some(number * 16 + chars.next()?.to_digit(16)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap()
    }

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn separators_comments_and_blank_lines() {
        let text = "# a comment\n! another\n\n a=1\nb : 2 \nc 3\nd\ne=\nf = = x\r\ng=#no comment";
        let wanted = [
            ("a", "1"),
            ("b", "2 "),
            ("c", "3"),
            ("d", ""),
            ("e", ""),
            ("f", "= x"),
            ("g", "#no comment"),
        ];
        assert_eq!(read(text), pairs(&wanted));
    }

    #[test]
    fn lines_go_on_after_a_backslash() {
        let text = "a=1,\\\n   2,\\\n   3\nb=x\\\\\nc=y\\\n";
        assert_eq!(
            read(text),
            pairs(&[("a", "1,2,3"), ("b", "x\\"), ("c", "y")])
        );
    }

    #[test]
    fn escapes() {
        let text = "a\\ b\\=c=\\u00e9\\ud83d\\ude00\\t\\x\npath=C:\\\\data";
        assert_eq!(
            read(text),
            pairs(&[("a b=c", "é😀\tx"), ("path", "C:\\data")])
        );
        assert!(parse("ok=1\nbad=\\u12").unwrap_err().starts_with("line 2:"));
        assert!(parse("bad=\\ud83dx").is_err());
    }

    #[test]
    fn nothing_makes_it_panic() {
        for text in [
            "\\",
            "=",
            ":",
            "\\\\\\",
            "\u{feff}a=1",
            "a=\\u",
            "\\u",
            " \\\n\\\n",
        ] {
            let _ = parse(text);
        }
    }
}
