//! Writes JSON into a buffer.

/// Appends a string: quotes, and escapes for what a string may not have in it. What is no UTF-8
/// becomes U+FFFD.
///
/// ```
/// let mut out = Vec::new();
/// tidegate_sdk::json::write_string(&mut out, b"a \"quoted\"\nline");
/// assert_eq!(out, br#""a \"quoted\"\nline""#);
/// ```
pub fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        chunk.valid().bytes().for_each(|byte| write_byte(out, byte));
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

fn write_byte(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0..0x20 => {
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&digits);
            return;
        }
        _ => {
            out.push(byte);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_parser_reads_what_was_written(text: String) {
            let mut out = Vec::new();
            write_string(&mut out, text.as_bytes());
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn bytes_become_a_string(text: Vec<u8>) {
            let mut out = Vec::new();
            write_string(&mut out, &text);
            let read = serde_json::from_slice::<String>(&out).unwrap();
            prop_assert_eq!(read, String::from_utf8_lossy(&text));
        }
    }
}
