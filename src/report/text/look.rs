//! How the report looks on a terminal: colours, and lines that fit.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use crate::report::Colours;

/// Columns of a line.
pub(super) const WIDTH: usize = 100;

/// What is shown how. A plain style writes nothing but the text.
#[derive(Clone, Copy)]
pub(super) struct Palette {
    /// The answer, when something is INVALID.
    pub(super) bad: Style,
    /// The answer, when nothing is.
    pub(super) good: Style,
    /// What makes the answer incomplete.
    pub(super) warning: Style,
    /// The verdict.
    pub(super) strong: Style,
    /// What a part is called.
    pub(super) heading: Style,
}

impl Palette {
    pub(super) const fn of(colours: Colours) -> Self {
        let plain = Style::new();
        match colours {
            Colours::None => {
                Self { bad: plain, good: plain, warning: plain, strong: plain, heading: plain }
            }
            Colours::Ansi => Self {
                bad: AnsiColor::Red.on_default().bold(),
                good: AnsiColor::Green.on_default().bold(),
                warning: AnsiColor::Yellow.on_default().bold(),
                strong: plain.bold(),
                heading: AnsiColor::Cyan.on_default().bold(),
            },
        }
    }
}

/// Writes words behind a lead, on as many lines as they need.
pub(super) fn write_wrapped(lead: &str, words: &str, out: &mut dyn Write) -> io::Result<()> {
    write_styled(lead, words, Style::new(), out)
}

/// Writes words behind a lead in a style, on as many lines as they need.
pub(super) fn write_styled(
    lead: &str,
    words: &str,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let indent = lead.len() - lead.trim_start().len() + 2;
    let mut line = lead.to_owned();
    let mut is_empty = true;
    for word in words.split(' ') {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(out, "{style}{line}{style:#}")?;
            line = " ".repeat(indent);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    writeln!(out, "{style}{line}{style:#}")
}
