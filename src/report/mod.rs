//! What people and programs read: an [`Audit`] in, bytes out.
//!
//! One file a format. Does not: compute anything, read a capture, or know a clock. Text that comes
//! from outside (file and interface names) is data: [`printable`] escapes it.

use std::io::{self, Write};

use crate::audit::Audit;

mod event;
mod json;
mod openmetrics;
mod text;
mod verdicts;
mod what_if;

pub use event::write_invalid;
pub use openmetrics::{MEDIA_TYPE, Standing, write_openmetrics};
pub use verdicts::write_verdicts;

/// The format of a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Plain text for a terminal, at most 100 columns.
    Text,
    /// One JSON document.
    Json,
}

/// How much a text report tells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Detail {
    /// The answer alone.
    Quiet,
    /// The answer, the worst flows with a few packets each, the capture.
    Normal,
    /// More flows, and every key packet.
    Verbose,
}

/// Writes the report.
///
/// # Errors
///
/// Those of `out`.
pub fn write(audit: &Audit, format: Format, detail: Detail, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Text => text::write(audit, detail, out),
        Format::Json => json::write(audit, out),
    }
}

/// Escapes what could move a cursor, end a line or change the direction of writing.
pub fn printable(text: &str) -> String {
    let is_harmless = |c: char| !c.is_control() && !is_format_control(c);
    text.chars().fold(String::with_capacity(text.len()), |mut safe, c| {
        if is_harmless(c) {
            safe.push(c);
        } else {
            safe.extend(c.escape_unicode());
        }
        safe
    })
}

/// Returns whether a character steers how text is laid out (Unicode UAX #9 and line separators).
const fn is_format_control(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Counts a noun: `1 packet`, `2 packets`, with commas between thousands.
fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(count))
}

/// Writes a number with commas between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_letters_are_not() {
        assert_eq!(printable("eth0 é"), "eth0 é");
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\u{a}");
        assert_eq!(printable("x\u{202e}y\u{9b}"), "x\\u{202e}y\\u{9b}");
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(counted(1, "packet"), "1 packet");
    }
}
