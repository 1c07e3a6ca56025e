//! The report for a terminal: the answer in the first lines, then what it rests on.
//!
//! Lines fit 100 columns, but for commands and filters to copy.

mod behaviour;
mod cause;
mod look;
mod table;

use std::fmt::Write as _;
use std::io::{self, Write};

use crate::audit::Audit;
use crate::report::view::{EvidenceFlow, EvidencePacket, Extent, Fact, RuleCount, View, WhatIf};
use crate::report::{Detail, Look, counted, grouped, printable};
use look::{Palette, write_styled, write_wrapped};

/// Writes the report.
pub(super) fn write(audit: &Audit, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let (detail, palette) = (look.detail, Palette::of(look.colours));
    let view = View::of(audit, extent(detail));
    let is_clean = audit.strict().packets == 0 && audit.totals.errors_invalid == 0;
    let style = if is_clean { palette.good } else { palette.bad };
    write_styled("", &view.answer, style, out)?;
    write_styled("", &view.diagnoses.conclusion.sentence, palette.strong, out)?;
    writeln!(out, "Judged as {} would judge at the capture point.", view.judge)?;
    if let Some(exempt) = &view.exempt {
        write_wrapped("", &printable(exempt), out)?;
    }
    for problem in &audit.incomplete {
        let words = format!("INCOMPLETE: {}", printable(problem));
        write_styled("", &words, palette.warning, out)?;
    }
    if detail == Detail::Quiet {
        return Ok(());
    }
    write_affected(&view, palette, out)?;
    cause::write(&view, detail, palette, out)?;
    write_what_if(&view, palette, out)?;
    write_rules(&view, palette, out)?;
    write_flows(&view, palette, out)?;
    cause::write_remedies(&view, detail, palette, out)?;
    if let Some(facts) = &view.table {
        table::write(facts, detail, palette, out)?;
    }
    behaviour::write(&view, detail, palette, out)?;
    for told in &audit.stories {
        behaviour::write_full(audit, told, palette, out)?;
    }
    cause::write_quality(&view, palette, out)?;
    write_facts("Capture", &view.capture, palette, out)?;
    write_facts("Method", &view.method, palette, out)?;
    if detail == Detail::Verbose {
        write_facts("Reproduce", &view.reproduce, palette, out)?;
        write_facts("Privacy", &view.privacy, palette, out)?;
    }
    write_limits(&view, palette, out)
}

/// Returns how much evidence is shown.
const fn extent(detail: Detail) -> Extent {
    match detail {
        Detail::Quiet => Extent { flows: 0, packets: 0 },
        Detail::Normal => Extent { flows: 3, packets: 2 },
        Detail::Verbose => Extent { flows: 50, packets: usize::MAX },
    }
}

fn write_heading(title: &str, palette: Palette, out: &mut dyn Write) -> io::Result<()> {
    let style = palette.heading;
    writeln!(out, "\n{style}{title}{style:#}")
}

fn write_affected(view: &View<'_>, palette: Palette, out: &mut dyn Write) -> io::Result<()> {
    let Some(affected) = &view.affected else { return Ok(()) };
    write_heading("Affected", palette, out)?;
    for fact in affected.facts() {
        write_wrapped("  ", &format!("{}: {}", fact.name, fact.words), out)?;
    }
    Ok(())
}

/// Writes the table of kernels and settings, and what an upgrade would change.
fn write_what_if(view: &View<'_>, palette: Palette, out: &mut dyn Write) -> io::Result<()> {
    let Some(WhatIf { columns, rows, legend }) = &view.what_if else { return Ok(()) };
    write_heading("INVALID packets (connections) under other kernels and settings", palette, out)?;
    write!(out, "  {:<26}", "Linux")?;
    for title in columns {
        write!(out, "{title:>width$}", width = column_width(title))?;
    }
    writeln!(out)?;
    for row in rows {
        write!(out, "  {:<26}", row.name())?;
        for (title, cell) in columns.iter().zip(row.cells) {
            write!(out, "{:>width$}", WhatIf::cell(cell), width = column_width(title))?;
        }
        writeln!(out)?;
    }
    writeln!(out, "  {legend}")?;
    match &view.diagnoses.upgrade {
        Some(sentence) => write_wrapped("  ", sentence, out),
        None => Ok(()),
    }
}

/// Returns how wide a column is, so that its title stands apart and a line fits 100 columns.
fn column_width(title: &str) -> usize {
    (title.len() + 3).max(15)
}

fn write_rules(view: &View<'_>, palette: Palette, out: &mut dyn Write) -> io::Result<()> {
    let lists = [
        ("INVALID by rule", &view.invalid_by_rule),
        ("Passed, though a rule speaks of them", &view.passed_by_rule),
    ];
    for (title, rules) in lists.into_iter().filter(|(_, rules)| !rules.is_empty()) {
        write_heading(title, palette, out)?;
        for RuleCount { reason, packets } in rules {
            let count = grouped(*packets);
            writeln!(out, "  {:<22} {count:>9}  {}", reason.code(), reason.words())?;
        }
    }
    Ok(())
}

fn write_flows(view: &View<'_>, palette: Palette, out: &mut dyn Write) -> io::Result<()> {
    if view.evidence.is_empty() {
        return Ok(());
    }
    let title = if view.evidence_not_shown > 0 {
        let all = view.evidence_not_shown + view.evidence.len() as u64;
        format!("Worst {} of {} connections", view.evidence.len(), grouped(all))
    } else {
        "Connections with INVALID packets".to_owned()
    };
    write_heading(&title, palette, out)?;
    view.evidence.iter().try_for_each(|flow| write_flow(flow, out))
}

fn write_flow(flow: &EvidenceFlow<'_>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out)?;
    write_wrapped("  ", &format!("flow {}  {} > {}", flow.id, flow.original, flow.reply), out)?;
    write_wrapped("    ", &flow.summary, out)?;
    flow.notes.iter().try_for_each(|note| write_wrapped("    ", note, out))?;
    for packet in &flow.packets {
        write_packet(packet, out)?;
    }
    writeln!(out, "    Wireshark: {}", flow.frame_filter)?;
    writeln!(out, "    {}", flow.flow_filter)
}

/// Writes a key packet: where it stands and what it says, then what the tracker says of it.
fn write_packet(shown: &EvidencePacket<'_>, out: &mut dyn Write) -> io::Result<()> {
    let packet = shown.packet;
    let line = format!(
        "{}  {}  {}  [{}]  len {}  win {}  {}{}",
        shown.place_name,
        shown.offset,
        shown.direction,
        shown.flags,
        packet.len,
        packet.win,
        shown.state,
        if shown.passes_if_liberal { ", passes if liberal" } else { "" },
    );
    write_wrapped("    ", &line, out)?;
    let mut numbers = format!("seq {}", shown.seq);
    for (name, number) in [("ack", &shown.ack), ("sack", &shown.sack)] {
        if let Some(number) = number {
            let _ = write!(numbers, "  {name} {number}");
        }
    }
    write_wrapped("      ", &numbers, out)?;
    let (ctstate, reason) = (packet.ctstate.name(), packet.reason);
    writeln!(out, "      {ctstate} {}: {}", reason.code(), reason.words())?;
    if let Some(excess) = shown.excess {
        let beyond = counted(u64::from(excess.bytes), "byte");
        let words = format!("{beyond} beyond bound {}, {}", excess.bound, excess.words);
        write_wrapped("        ", &words, out)?;
    }
    Ok(())
}

fn write_facts(
    title: &str,
    facts: &[Fact],
    palette: Palette,
    out: &mut dyn Write,
) -> io::Result<()> {
    write_heading(title, palette, out)?;
    for Fact { name, words } in facts {
        let words = printable(words);
        if *name == "command" {
            // To copy: one line, however long.
            writeln!(out, "  {name}: {words}")?;
        } else {
            write_wrapped("  ", &format!("{name}: {words}"), out)?;
        }
    }
    Ok(())
}

fn write_limits(view: &View<'_>, palette: Palette, out: &mut dyn Write) -> io::Result<()> {
    if view.limits.is_empty() {
        return Ok(());
    }
    write_heading("Limits", palette, out)?;
    view.limits.iter().try_for_each(|limit| write_wrapped("  ", limit, out))
}
