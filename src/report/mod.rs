//! What people and programs read: an [`Audit`] in, bytes out.
//!
//! One module a format; those for people render the one [`view::View`]. Does not: judge anything,
//! read a capture, or know a clock. Text that comes from outside (file and interface names) is data:
//! each format escapes it in its own way, [`printable`] for a terminal.

use std::io::{self, Write};

use crate::audit::Audit;

mod event;
mod evidence;
mod html;
mod json;
mod markdown;
mod ndjson;
mod openmetrics;
mod pcapng;
mod text;
mod verdicts;
pub mod view;

pub use event::write_invalid;
pub use openmetrics::{Exposition, Standing, write_metrics};
pub use verdicts::write_verdicts;

/// The format of a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Format {
    /// Plain text for a terminal, at most 100 columns.
    Text,
    /// One JSON document.
    Json,
    /// Markdown to paste into a ticket, at most 30,000 characters.
    Markdown,
    /// One JSON object a line, as Suricata's EVE log has them.
    Ndjson,
    /// One self-contained HTML file.
    Html,
    /// The packets of the evidence, without payload, as a capture file with comments.
    Pcapng,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 6] =
        [Self::Text, Self::Json, Self::Markdown, Self::Ndjson, Self::Html, Self::Pcapng];

    /// Returns the name by which it is asked for.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Markdown => "markdown",
            Self::Ndjson => "ndjson",
            Self::Html => "html",
            Self::Pcapng => "pcapng",
        }
    }

    /// Returns the extension of its files.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Text => "txt",
            Self::Json => "json",
            Self::Markdown => "md",
            Self::Ndjson => "ndjson",
            Self::Html => "html",
            Self::Pcapng => "pcapng",
        }
    }

    /// Returns whether the report shows packets and flows themselves, for which the inputs are read a
    /// second time: [`Audit::exhibits`].
    pub const fn shows_exhibits(self) -> bool {
        matches!(self, Self::Html | Self::Pcapng)
    }

    /// Returns whether the report names the input by its hash, whatever the detail.
    pub const fn is_document(self) -> bool {
        !matches!(self, Self::Text)
    }
}

/// Whether a report for a terminal is coloured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Colours {
    /// Text alone.
    None,
    /// ANSI escape sequences around what matters.
    Ansi,
}

/// How a report looks; documents are the same for every look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Look {
    /// How much is told.
    pub detail: Detail,
    /// Whether it is coloured.
    pub colours: Colours,
}

impl Look {
    /// Everything, without colours: for a file.
    pub const FILE: Self = Self { detail: Detail::Verbose, colours: Colours::None };
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
pub fn write(audit: &Audit, format: Format, look: Look, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Text => text::write(audit, look, out),
        Format::Json => json::write(audit, out),
        Format::Markdown => markdown::write(audit, out),
        Format::Ndjson => ndjson::write(audit, out),
        Format::Html => html::write(audit, out),
        Format::Pcapng => evidence::write(audit, out),
    }
}

/// Returns the JSON Schema of the JSON report.
pub const fn json_schema() -> &'static str {
    json::JSON_SCHEMA
}

/// Escapes what could move a cursor, end a line or change the direction of writing.
pub fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut safe, c| {
        if is_harmless(c) {
            safe.push(c);
        } else {
            safe.extend(c.escape_unicode());
        }
        safe
    })
}

/// Returns whether a character stands for itself, and neither moves a cursor nor steers how text is
/// laid out (Unicode UAX #9, line separators, invisible characters and tags).
const fn is_harmless(c: char) -> bool {
    !matches!(
        c,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
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
