//! Why it happened, for a terminal: the causes with what they rest on, and what to do.

use std::io::{self, Write};

use crate::audit::{Audit, Inputs};
use crate::diagnose::{Diagnoses, Diagnosis, Level, Remedy, Step};
use crate::report::text::place_name;
use crate::report::{Detail, counted, printable};

/// Columns of a line.
const WIDTH: usize = 100;
/// The connections captured at several places that are shown unless more is asked for.
const SEEN_TWICE: usize = 3;
/// The causes shown unless more is asked for.
const CAUSES: usize = 2;

/// Writes the verdict.
pub(super) fn write_verdict(diagnoses: &Diagnoses, out: &mut dyn Write) -> io::Result<()> {
    write_wrapped("", &diagnoses.conclusion.sentence, out)
}

/// Writes the causes and what to do about the surest.
pub(super) fn write(
    audit: &Audit,
    diagnoses: &Diagnoses,
    detail: Detail,
    out: &mut dyn Write,
) -> io::Result<()> {
    let most = if detail == Detail::Verbose { usize::MAX } else { CAUSES };
    if !diagnoses.causes.is_empty() {
        writeln!(out, "\nCause")?;
    }
    for cause in diagnoses.causes.iter().take(most) {
        write_cause(cause, &audit.inputs, detail, out)?;
    }
    write_quality(diagnoses, out)?;
    write_seen_twice(diagnoses, detail, out)?;
    let surest = diagnoses
        .causes
        .iter()
        .filter(|found| detail == Detail::Verbose || found.score.level() >= Some(Level::Probable));
    let Some(cause) = surest.clone().find(|found| !found.remedies.is_empty()) else {
        return Ok(());
    };
    writeln!(out, "\nRemedy for {}", cause.cause.id())?;
    for (index, remedy) in cause.remedies.iter().enumerate() {
        write_remedy(index + 1, remedy, detail, out)?;
    }
    if detail != Detail::Verbose {
        writeln!(
            out,
            "  -v tells how it survives a reboot, its risk, its check and its roll-back"
        )?;
    }
    Ok(())
}

/// Writes what an upgrade of the kernel would change.
pub(super) fn write_upgrade(diagnoses: &Diagnoses, out: &mut dyn Write) -> io::Result<()> {
    let Some(sentence) = &diagnoses.upgrade else { return Ok(()) };
    writeln!(out, "\nKernel")?;
    write_wrapped("  ", sentence, out)
}

fn write_cause(
    found: &Diagnosis,
    inputs: &Inputs,
    detail: Detail,
    out: &mut dyn Write,
) -> io::Result<()> {
    let level = found.score.level().map_or("", Level::code);
    let (id, title, score) = (found.cause.id(), found.cause.title(), found.score.total());
    writeln!(out, "  {id} {title}: {level}, {score}/100")?;
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
        let places = found.evidence.iter().map(|frame| place_name(inputs.place(*frame)));
        let places: Vec<_> = places.collect();
        write_wrapped("    see ", &places.join(", "), out)?;
    }
    if detail == Detail::Verbose && !found.flows.is_empty() {
        let flows: Vec<_> = found.flows.iter().map(ToString::to_string).collect();
        let all = counted(found.flow_count, "connection");
        write_wrapped("    ", &format!("{all}: flows {}", flows.join(", ")), out)?;
    }
    Ok(())
}

fn write_quality(diagnoses: &Diagnoses, out: &mut dyn Write) -> io::Result<()> {
    let quality = &diagnoses.quality;
    if quality.shortcomings.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nCapture quality {} %", quality.percent)?;
    for found in &quality.shortcomings {
        let line = format!("{} ({}, {} %)", found.what, found.code, found.percent);
        write_wrapped("  ", &line, out)?;
    }
    Ok(())
}

/// Writes which connections were captured at several places, and what differs there.
fn write_seen_twice(diagnoses: &Diagnoses, detail: Detail, out: &mut dyn Write) -> io::Result<()> {
    let most = if detail == Detail::Verbose { usize::MAX } else { SEEN_TWICE };
    let told = diagnoses.seen_twice.iter().filter(|seen| !seen.changes.is_empty());
    let told: Vec<_> = told.take(most).collect();
    if !told.is_empty() {
        writeln!(out, "\nCaptured at several places; there")?;
    }
    for seen in told {
        let other = seen.other_flow.map_or_else(String::new, |other| format!(" as flow {other}"));
        let place = seen.places.as_ref().map_or_else(String::new, |(here, there)| {
            format!(" ({} here, {} there)", printable(here), printable(there))
        });
        let line = format!("flow {}{other}{place}: {}", seen.flow, seen.changes.join("; "));
        write_wrapped("  ", &line, out)?;
    }
    Ok(())
}

fn write_remedy(
    number: usize,
    remedy: &Remedy,
    detail: Detail,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "  {number}. {}", remedy.title)?;
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

/// Writes words behind a lead, on as many lines as they need.
fn write_wrapped(lead: &str, words: &str, out: &mut dyn Write) -> io::Result<()> {
    let indent = lead.len() - lead.trim_start().len() + 2;
    let mut line = lead.to_owned();
    let mut is_empty = true;
    for word in words.split(' ') {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(out, "{line}")?;
            line = " ".repeat(indent);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    writeln!(out, "{line}")
}
