//! The evidence as Markdown: a table of key frames for each of the worst flows.

use std::fmt::Write as _;

use crate::flow::Effect;
use crate::report::grouped;
use crate::report::markdown::escape::{fenced, text};
use crate::report::markdown::sections::{list, table};
use crate::report::view::{EvidenceFlow, EvidencePacket, View};

/// How to read the tables.
const LEGEND: &str = "`original` is the way of the packet that opened the connection, `reply` the \
    other. Numbers are relative to the first of their side, raw in brackets. Bounds I to IV are \
    those of the kernel's `tcp_in_window()`. Dropped or not is told where later packets prove it.\n";

/// Writes the evidence; none without flows to show.
pub(super) fn section(view: &View<'_>) -> Option<String> {
    if view.evidence.is_empty() {
        return None;
    }
    let mut section = format!("### Evidence\n\n{LEGEND}");
    for shown in &view.evidence {
        section.push('\n');
        section.push_str(&flow(shown));
    }
    if view.evidence_not_shown > 0 {
        let others = grouped(view.evidence_not_shown);
        let _ = writeln!(
            section,
            "\n{others} more connections with INVALID packets: see the JSON report."
        );
    }
    Some(section)
}

fn flow(flow: &EvidenceFlow<'_>) -> String {
    let (original, reply) = (text(&flow.original.to_string()), text(&flow.reply.to_string()));
    let mut words = format!("#### Flow {}: {original} > {reply}\n\n", flow.id);
    let _ = writeln!(words, "{}\n", text(&flow.summary));
    let notes = list(&flow.notes, text);
    if !notes.is_empty() {
        let _ = writeln!(words, "{notes}");
    }
    if !flow.packets.is_empty() {
        let head = [
            "frame",
            "time",
            "way",
            "flags",
            "len",
            "seq",
            "ack",
            "SACK up to",
            "rule",
            "beyond the bound",
            "be_liberal=1",
            "dropped?",
        ];
        words.push_str(&table(&head, flow.packets.iter().map(row).collect()));
        words.push('\n');
    }
    let filters = [flow.frame_filter.clone(), flow.flow_filter.clone()];
    words.push_str("Wireshark display filters, for these frames and for the flow:\n\n");
    words.push_str(&fenced("", &filters));
    words
}

fn row(shown: &EvidencePacket<'_>) -> Vec<String> {
    let packet = shown.packet;
    let absent = || "–".to_owned();
    let beyond = |excess: crate::report::view::Excess| {
        format!("{} bytes ({})", grouped(u64::from(excess.bytes)), excess.bound)
    };
    let effect = match packet.effect {
        Effect::Dropped => "proven",
        Effect::NotDropped => "no, proven",
        Effect::Unknown => "unknown",
    };
    vec![
        text(shown.place_name.trim_start_matches("frame ")),
        shown.offset.clone(),
        shown.direction.to_owned(),
        shown.flags.clone(),
        grouped(u64::from(packet.len)),
        shown.seq.clone(),
        shown.ack.clone().unwrap_or_else(absent),
        shown.sack.clone().unwrap_or_else(absent),
        format!("{} {}", packet.ctstate.name(), text(packet.reason.code())),
        shown.excess.map_or_else(absent, beyond),
        packet.liberal.name().to_owned(),
        effect.to_owned(),
    ]
}
