//! Why it happened, for a terminal: the causes with what they rest on, and what to do.

use std::io::{self, Write};

use crate::diagnose::{Diagnosis, Level, Remedy, Step};
use crate::report::text::look::{Palette, write_wrapped};
use crate::report::text::write_heading;
use crate::report::view::View;
use crate::report::{Detail, counted, printable};

/// The connections captured at several places that are shown unless more is asked for.
const SEEN_TWICE: usize = 3;
/// The causes shown unless more is asked for.
const CAUSES: usize = 2;

/// Writes the causes.
pub(super) fn write(
    view: &View<'_>,
    detail: Detail,
    palette: Palette,
    out: &mut dyn Write,
) -> io::Result<()> {
    let most = if detail == Detail::Verbose { usize::MAX } else { CAUSES };
    let causes = &view.diagnoses.causes;
    if !causes.is_empty() {
        write_heading("Cause", palette, out)?;
    }
    for cause in causes.iter().take(most) {
        write_cause(view, cause, detail, palette, out)?;
    }
    Ok(())
}

/// Writes what to do about the surest cause.
pub(super) fn write_remedies(
    view: &View<'_>,
    detail: Detail,
    palette: Palette,
    out: &mut dyn Write,
) -> io::Result<()> {
    let Some(cause) = view.cause_to_mend() else { return Ok(()) };
    write_heading(&format!("Remedy for {}", cause.cause.id()), palette, out)?;
    for (index, remedy) in view.remedies().iter().enumerate() {
        write_remedy(index + 1, remedy, detail, palette, out)?;
    }
    if detail != Detail::Verbose {
        writeln!(
            out,
            "  -v tells how it survives a reboot, its risk, its check and its roll-back"
        )?;
    }
    Ok(())
}

fn write_cause(
    view: &View<'_>,
    found: &Diagnosis,
    detail: Detail,
    palette: Palette,
    out: &mut dyn Write,
) -> io::Result<()> {
    let level = found.score.level().map_or("", Level::code);
    let (id, title, score) = (found.cause.id(), found.cause.title(), found.score.total());
    let style = palette.strong;
    writeln!(out, "  {style}{id} {title}: {level}, {score}/100{style:#}")?;
    write_wrapped("    ", &format!("{}.", found.finding), out)?;
    for note in &found.notes {
        write_wrapped("    ", note, out)?;
    }
    write_wrapped("    score: ", &found.score.to_string(), out)?;
    for against in &found.against {
        write_wrapped("    against it: ", against, out)?;
    }
    let most = if detail == Detail::Verbose { usize::MAX } else { 4 };
    for (name, value) in found.parameters.iter().take(most) {
        write_wrapped("    ", &format!("{name}: {value}"), out)?;
    }
    if !found.evidence.is_empty() {
        write_wrapped("    see ", &view.places(found).join(", "), out)?;
    }
    if detail == Detail::Verbose && !found.flows.is_empty() {
        let flows: Vec<_> = found.flows.iter().map(ToString::to_string).collect();
        let all = counted(found.flow_count, "connection");
        write_wrapped("    ", &format!("{all}: flows {}", flows.join(", ")), out)?;
    }
    Ok(())
}

/// Writes what the capture is good for, where something is wrong with it.
pub(super) fn write_quality(
    view: &View<'_>,
    palette: Palette,
    out: &mut dyn Write,
) -> io::Result<()> {
    let quality = &view.diagnoses.quality;
    if quality.shortcomings.is_empty() {
        return Ok(());
    }
    write_heading(&format!("Capture quality {} %", quality.percent), palette, out)?;
    for found in &quality.shortcomings {
        let line = format!("{} ({}, {} %)", found.what, found.code, found.percent);
        write_wrapped("  ", &printable(&line), out)?;
    }
    Ok(())
}

/// Writes which connections were captured at several places, and what differs there.
pub(super) fn write_seen_twice(
    view: &View<'_>,
    detail: Detail,
    palette: Palette,
    out: &mut dyn Write,
) -> io::Result<()> {
    let most = if detail == Detail::Verbose { usize::MAX } else { SEEN_TWICE };
    let told = view.diagnoses.seen_twice.iter().filter(|seen| !seen.changes.is_empty());
    let told: Vec<_> = told.take(most).collect();
    if !told.is_empty() {
        write_heading("Captured at several places; there", palette, out)?;
    }
    for seen in told {
        write_wrapped("  ", &printable(&seen.sentence()), out)?;
    }
    Ok(())
}

pub(super) fn write_remedy(
    number: usize,
    remedy: &Remedy,
    detail: Detail,
    palette: Palette,
    out: &mut dyn Write,
) -> io::Result<()> {
    let style = palette.strong;
    writeln!(out, "  {style}{number}. {}{style:#}", remedy.title)?;
    write_steps(&remedy.steps, out)?;
    if detail != Detail::Verbose {
        return Ok(());
    }
    if !remedy.persist.is_empty() {
        writeln!(out, "    to survive a reboot,")?;
        write_steps(&remedy.persist, out)?;
    }
    for (lead, words) in
        [("risk: ", remedy.risk), ("check: ", remedy.check), ("undo: ", remedy.undo)]
    {
        write_wrapped(&format!("    {lead}"), words, out)?;
    }
    Ok(())
}

/// Writes lines to run as they are, so that they can be copied.
fn write_steps(steps: &[Step], out: &mut dyn Write) -> io::Result<()> {
    for step in steps {
        writeln!(out, "    {}:", step.runner.words())?;
        for line in &step.lines {
            writeln!(out, "      {line}")?;
        }
    }
    Ok(())
}
