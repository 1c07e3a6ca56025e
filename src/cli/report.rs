//! Which reports are written, and how.

use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use tcp_window_audit::report::{Detail, Format, Look};

use super::{Error, When, help};

/// What becomes of an audit.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct ReportArgs {
    /// Write a report, in the format that the extension tells: .txt, .json, .md, .ndjson, .html or
    /// .pcapng; repeatable
    #[arg(short, long = "output", value_name = "FILE")]
    outputs: Vec<PathBuf>,

    /// Write all formats into a new folder, to attach to a ticket; nothing is left if one fails
    #[arg(long, value_name = "DIR")]
    pub(super) incident: Option<PathBuf>,

    /// Format of standard output
    #[arg(long, default_value = Format::Text.name(), value_parser = format_parser())]
    pub(super) format: Format,

    /// Write the verdict on every TCP packet, one JSON object a line; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub(super) verdicts: Option<PathBuf>,

    /// Print the answer alone
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,

    /// Print more connections and packets
    #[arg(short, long)]
    verbose: bool,

    /// When to colour the text on standard output: `auto` is on a terminal, unless `NO_COLOR` is set
    #[arg(long, value_enum, default_value_t = When::Auto)]
    color: When,
}

/// A file to write a report to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Output {
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
}

impl ReportArgs {
    /// Returns the files to write to, each with its format.
    pub(super) fn outputs(&self) -> Result<Vec<Output>, Error> {
        self.outputs.iter().map(|path| output(path)).collect()
    }

    /// Returns how standard output looks.
    pub(super) fn look(&self) -> Look {
        let detail = match (self.quiet, self.verbose) {
            (true, _) => Detail::Quiet,
            (_, true) => Detail::Verbose,
            _ => Detail::Normal,
        };
        Look { detail, colours: help::colours(self.color) }
    }

    /// Returns the first option that asks for a report, if any does.
    pub(super) fn asked(&self) -> Option<&'static str> {
        let is_asked = [
            (!self.outputs.is_empty(), "-o"),
            (self.incident.is_some(), "--incident"),
            (self.format != Format::Text, "--format"),
            (self.verdicts.is_some(), "--verdicts"),
        ];
        is_asked.into_iter().find(|(is_asked, _)| *is_asked).map(|(_, option)| option)
    }
}

/// Accepts the formats by their names.
fn format_parser() -> impl TypedValueParser<Value = Format> {
    let find = |name: String| Format::ALL.into_iter().find(|format| format.name() == name);
    let names = PossibleValuesParser::new(Format::ALL.map(Format::name));
    names.map(move |name| find(name).unwrap_or(Format::Text))
}

/// Chooses the format of an output by its extension.
fn output(path: &Path) -> Result<Output, Error> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let mut formats = Format::ALL.into_iter();
    let format = formats
        .find(|format| Some(format.extension()) == extension)
        .ok_or_else(|| Error::OutputFormat(path.to_owned()))?;
    Ok(Output { path: path.to_owned(), format })
}
