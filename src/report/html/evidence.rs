//! The connections that prove it: pictures, key packets, and how to find them in Wireshark.
//!
//! Does not: choose them.

use maud::{Markup, html};

use crate::audit::ShownFlow;
use crate::conntrack::CtState;
use crate::flow::Effect;
use crate::report::html::{Section, not_shown, picture};
use crate::report::view::{EvidenceFlow, EvidencePacket, Excess, View, offset, span};
use crate::report::{counted, grouped, printable};

/// Shows the connections with INVALID packets, else those whose ends had the most trouble.
pub(super) fn section(view: &View<'_>) -> Option<Section> {
    let exhibits = &view.audit.exhibits;
    let missing = html! {
        @if let Some(missing) = &exhibits.missing {
            p.missing { "There are no pictures of connections: " (printable(missing)) "." }
        }
    };
    if !view.evidence.is_empty() {
        let content = html! {
            (missing)
            @for flow in &view.evidence { (connection(view, flow)) }
            (not_shown(view.evidence_not_shown))
        };
        return Some(Section::new("evidence", "Evidence", content));
    }
    if exhibits.flows.is_empty() {
        return None;
    }
    let content = html! {
        p { "No packet is INVALID; these are the connections whose ends had the most trouble." }
        @for shown in &exhibits.flows { (troubled(view, shown)) }
    };
    Some(Section::new("evidence", "Connections with trouble", content))
}

/// Shows a connection with INVALID packets.
fn connection(view: &View<'_>, flow: &EvidenceFlow<'_>) -> Markup {
    html! {
        article.flow id=(format!("flow-{}", flow.id)) {
            h3 { "flow " (flow.id) " " span.ends { (flow.original) " → " (flow.reply) } }
            p { (flow.summary) }
            (directions(flow.original, flow.reply))
            @for note in &flow.notes { p.note { (printable(note)) } }
            @if let Some(shown) = shown(view, flow.id) { (pictures(view, shown)) }
            (packets(flow))
            dl.facts {
                dt { "these packets" } dd { pre { code { (flow.frame_filter) } } }
                dt { "the connection" } dd { pre { code { (flow.flow_filter) } } }
            }
        }
    }
}

fn directions(original: impl std::fmt::Display, reply: impl std::fmt::Display) -> Markup {
    html! {
        p.directions {
            "original: " (original) " → " (reply) "; reply: " (reply) " → " (original)
        }
    }
}

/// Shows a connection without INVALID packets.
fn troubled(view: &View<'_>, shown: &ShownFlow) -> Markup {
    let told = &shown.told;
    let audit = &told.audit;
    let (original, reply) = told.key.endpoints(audit.original);
    let directions = audit.directions();
    let sides = &told.summary.sides;
    let again = sides.original.retransmitted.packets + sides.reply.retransmitted.packets;
    html! {
        article.flow id=(format!("flow-{}", audit.first_frame)) {
            h3 { "flow " (audit.first_frame) " " span.ends { (original) " → " (reply) } }
            p {
                (counted(directions.original.packets + directions.reply.packets, "packet")) ", "
                (grouped(again)) " sent again, " (span(audit.first_ts, audit.last_ts)) ", "
                (grouped(directions.original.bytes)) " > " (counted(directions.reply.bytes, "byte"))
            }
            @if let Some(stall) = told.summary.stall {
                p {
                    (counted(u64::from(told.summary.stalls), "stall")) ", the longest until "
                    (offset(stall.ts, audit.first_ts)) ", waiting for " (stall.waiting.code())
                    ", ended by " (stall.end.words())
                }
            }
            (pictures(view, shown))
        }
    }
}

fn shown<'a>(view: &View<'a>, id: u64) -> Option<&'a ShownFlow> {
    view.audit.exhibits.flows.iter().find(|shown| shown.told.audit.first_frame == id)
}

fn pictures(view: &View<'_>, shown: &ShownFlow) -> Markup {
    html! {
        (picture::sequences(shown, &view.audit.inputs))
        div.pair { (picture::windows(shown)) }
    }
}

/// Lists the packets that a rule spoke of.
fn packets(flow: &EvidenceFlow<'_>) -> Markup {
    const TITLES: [(&str, bool); 11] = [
        ("frame", true),
        ("time", true),
        ("direction", false),
        ("flags", false),
        ("bytes", true),
        ("seq", true),
        ("ack", true),
        ("SACK to", true),
        ("verdict", false),
        ("bytes beyond bound", true),
        ("became of it", false),
    ];
    html! {
        div.wide { table.packets {
            caption {
                "The first packets that a rule spoke of. Numbers are relative to the first of their \
                 side, raw ones in brackets; bounds are those of tcp_in_window()."
            }
            thead { tr {
                @for (title, is_number) in TITLES { th.number[is_number] scope="col" { (title) } }
            } }
            tbody { @for packet in &flow.packets { (row(packet)) } }
        } }
        (bounds(flow))
    }
}

fn row(shown: &EvidencePacket<'_>) -> Markup {
    let packet = shown.packet;
    let became = match packet.effect {
        Effect::Dropped => "dropped",
        Effect::NotDropped => "not dropped",
        Effect::Unknown => "–",
    };
    html! {
        tr {
            th.number scope="row" {
                @if let Some(file) = shown.place.file { (file) ":" }
                (shown.place.frame)
            }
            td.number { (shown.offset) }
            td { (shown.direction) }
            td { code { (shown.flags) } }
            td.number { (packet.len) }
            td.number.split { (shown.seq) }
            td.number.split { (shown.ack.as_deref().unwrap_or("–")) }
            td.number.split { (shown.sack.as_deref().unwrap_or("–")) }
            td {
                strong.bad[packet.ctstate == CtState::Invalid] { (packet.ctstate.name()) }
                br;
                code { (packet.reason.code()) }
            }
            td.number {
                @match shown.excess {
                    Some(excess) => {
                        (excess.bound) br; (grouped(u64::from(excess.bytes)))
                    }
                    None => "–",
                }
            }
            td { (became) }
        }
    }
}

/// Says what the bounds of the table are, and what passes if liberal.
fn bounds(flow: &EvidenceFlow<'_>) -> Markup {
    let mut bounds: Vec<_> = flow.packets.iter().filter_map(|packet| packet.excess).collect();
    bounds.sort_unstable_by_key(|excess| excess.bound);
    bounds.dedup_by_key(|excess| excess.bound);
    let invalid = flow.packets.iter().filter(|shown| shown.packet.ctstate == CtState::Invalid);
    let all_pass = invalid.clone().count() > 0 && { invalid }.all(|shown| shown.passes_if_liberal);
    html! {
        @for Excess { bound, words, .. } in &bounds { p.note { "Bound " (bound) ": " (words) "." } }
        @if all_pass { p.note { "With be_liberal=1 all of these would pass." } }
    }
}
