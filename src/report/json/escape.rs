//! JSON that is harmless on a terminal: what could move the cursor or turn the direction of writing
//! is escaped, not only what RFC 8259 demands.

use std::fmt::Write as _;
use std::io::{self, Write};

use crate::report::is_harmless;

/// Passes JSON on with every harmful character as `\uXXXX`. Such characters stand in strings only, so
/// that the document means the same.
pub(in crate::report) struct Escaping<'a>(pub(in crate::report) &'a mut dyn Write);

impl Write for Escaping<'_> {
    /// Takes whole characters: `serde_json` never divides one.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_plain = |byte: &u8| byte.is_ascii() && *byte != 0x7f;
        match std::str::from_utf8(bytes) {
            Ok(text) if !bytes.iter().all(is_plain) => {
                self.0.write_all(escaped(text).as_bytes())?;
            }
            _ => self.0.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Escapes harmful characters, but the line feeds between values.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut safe, c| {
        if is_harmless(c) || c == '\n' {
            safe.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(safe, "\\u{unit:04x}");
            }
        }
        safe
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmful_characters_are_escaped_and_read_as_they_were() {
        let name = "é\u{7f}\u{9b}2J\u{202e}\u{e0041}\u{1b}\n\"\\";
        let mut bytes = Vec::new();
        serde_json::to_writer(Escaping(&mut bytes), name).unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        assert_eq!(text, "\"é\\u007f\\u009b2J\\u202e\\udb40\\udc41\\u001b\\n\\\"\\\\\"");
        assert_eq!(serde_json::from_str::<String>(text).unwrap(), name);
    }
}
