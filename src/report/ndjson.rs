//! The report as one JSON object a line: the verdict.

use std::io::{self, Write};

use crate::audit::Audit;
use crate::report::view::{Extent, View};

/// Writes the report.
pub(super) fn write(audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
    let view = View::of(audit, Extent::DOCUMENT);
    serde_json::to_writer(&mut *out, &view.diagnoses.conclusion.sentence)?;
    writeln!(out)
}
