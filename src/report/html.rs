//! The report as one self-contained HTML page: verdict and answer.

use std::io::{self, Write};

use crate::audit::Audit;
use crate::report::view::{Extent, View};

/// Writes the report.
pub(super) fn write(audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
    let view = View::of(audit, Extent::DOCUMENT);
    writeln!(out, "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">")?;
    writeln!(out, "<title>{}</title>", escaped(&view.answer))?;
    writeln!(out, "<h1>{}</h1>", escaped(&view.diagnoses.conclusion.sentence))?;
    writeln!(out, "<p>{}</p>\n</html>", escaped(&view.answer))
}

/// Escapes text for elements and for attributes in double quotes.
fn escaped(text: &str) -> String {
    let text = crate::report::printable(text).replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}
