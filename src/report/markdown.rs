//! The report as Markdown to paste into a ticket: the verdict.

use std::io::{self, Write};

use crate::audit::Audit;
use crate::report::printable;
use crate::report::view::{Extent, View};

/// Writes the report.
pub(super) fn write(audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
    let view = View::of(audit, Extent::DOCUMENT);
    writeln!(out, "{}", printable(&view.diagnoses.conclusion.sentence))
}
