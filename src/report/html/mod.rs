//! The report as one self-contained HTML page: everything that the view tells, and pictures.
//!
//! The page holds its style and its pictures, runs no script and asks for nothing: its policy forbids
//! it. Everything is written through `maud`, which escapes text and attributes; what could steer the
//! direction of writing is escaped before.
//!
//! Does not: judge, or read packets: what pictures show is in [`Audit::exhibits`].

mod causes;
mod evidence;
mod picture;
mod table;

use std::io::{self, Write};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::audit::Audit;
use crate::diagnose::{SeenTwice, VerdictLevel};
use crate::report::view::{Extent, Fact, RuleCount, View, WhatIf};
use crate::report::{counted, grouped, printable};

/// What the page may do: show itself.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; \
                      form-action 'none'";

const STYLE: &str = include_str!("style.css");

/// Writes the report.
pub(super) fn write(audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
    let view = View::of(audit, Extent::DOCUMENT);
    out.write_all(page(&view).into_string().as_bytes())
}

/// A part of the page.
struct Section {
    id: &'static str,
    title: String,
    content: Markup,
}

impl Section {
    fn new(id: &'static str, title: impl Into<String>, content: Markup) -> Self {
        Self { id, title: title.into(), content }
    }
}

fn page(view: &View<'_>) -> Markup {
    let sections = sections(view);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content=(concat!("tcp-window-audit ", env!("CARGO_PKG_VERSION")));
                link rel="icon" href="data:,";
                title { "tcp-window-audit: " (view.answer) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (header(view))
                nav aria-label="Contents" {
                    ol { @for Section { id, title, .. } in &sections {
                        li { a href=(format!("#{id}")) { (title) } }
                    } }
                }
                main { @for Section { id, title, content } in &sections {
                    section id=(id) { h2 { (title) } (content) }
                } }
                footer {
                    p {
                        "Written by tcp-window-audit " (env!("CARGO_PKG_VERSION"))
                        ". No payload, no MAC addresses, no scripts, nothing loaded from elsewhere."
                    }
                }
            }
        }
    }
}

/// The answer, as it must stand alone on the first screen.
fn header(view: &View<'_>) -> Markup {
    let conclusion = &view.diagnoses.conclusion;
    let audit = view.audit;
    let (strict, liberal) = (audit.strict(), audit.liberal());
    let tiles = [
        (
            "INVALID packets",
            grouped(strict.packets),
            format!("of {}", grouped(audit.tally.segments)),
        ),
        ("connections hit", grouped(strict.flows), format!("of {}", grouped(audit.totals.flows))),
        ("INVALID with be_liberal=1", grouped(liberal.packets), String::new()),
        ("capture quality", format!("{} %", view.diagnoses.quality.percent), String::new()),
    ];
    html! {
        header class=(level_class(conclusion.level)) {
            p.kicker { "TCP connection tracking audit" }
            p.badge { (level_name(conclusion.level)) }
            h1 { (printable(&conclusion.sentence)) }
            p.answer { (printable(&view.answer)) "." }
            p.judge { "Judged as " (view.judge) " would judge at the capture point." }
            @for problem in &audit.incomplete {
                p.incomplete { strong { "Incomplete: " } (printable(problem)) }
            }
            dl.tiles { @for (name, value, of) in &tiles {
                div { dt { (name) } dd { (value) " " small { (of) } } }
            } }
        }
    }
}

const fn level_class(level: VerdictLevel) -> &'static str {
    match level {
        VerdictLevel::Cause(_) => "level-cause",
        VerdictLevel::Nothing => "level-nothing",
        VerdictLevel::CannotJudge => "level-unknown",
    }
}

const fn level_name(level: VerdictLevel) -> &'static str {
    match level {
        VerdictLevel::Cause(level) => level.code(),
        VerdictLevel::Nothing => "nothing found",
        VerdictLevel::CannotJudge => "cannot judge",
    }
}

/// The parts of the page, in the order of the view.
fn sections(view: &View<'_>) -> Vec<Section> {
    let mut sections = Vec::new();
    if let Some(affected) = &view.affected {
        sections.push(Section::new("affected", "Who is affected", facts(&affected.facts())));
    }
    if !view.diagnoses.causes.is_empty() {
        sections.push(Section::new("causes", "Causes", causes::causes(view)));
    }
    if let Some(what_if) = &view.what_if {
        let title = "What another kernel or setting would change";
        sections.push(Section::new("what-if", title, what_if_table(what_if)));
    }
    if !view.remedies().is_empty() {
        sections.push(Section::new("remedy", "What to do", causes::remedies(view)));
    }
    sections.push(Section::new("capture-wide", "Over the capture", over_the_capture(view)));
    sections.extend(evidence::section(view));
    sections.extend(table::section(view));
    if !view.diagnoses.seen_twice.is_empty() {
        let title = "Captured at several places";
        sections.push(Section::new("seen-twice", title, seen_twice(&view.diagnoses.seen_twice)));
    }
    sections.push(Section::new("quality", "What the capture is good for", quality(view)));
    sections.push(Section::new("method", "How it was judged", facts(&view.method)));
    sections.push(Section::new("reproduce", "How to do it again", facts(&view.reproduce)));
    sections.push(Section::new("privacy", "What this report gives away", facts(&view.privacy)));
    if !view.limits.is_empty() {
        let limits = html! { ul { @for limit in &view.limits { li { (printable(limit)) } } } };
        sections.push(Section::new("limits", "What was not judged", limits));
    }
    sections
}

/// Lists facts; commands stand in a box to copy from.
fn facts(facts: &[Fact]) -> Markup {
    html! {
        dl.facts { @for Fact { name, words } in facts {
            dt { (name) }
            dd {
                @if *name == "command" { pre { code { (printable(words)) } } }
                @else { (printable(words)) }
            }
        } }
    }
}

fn what_if_table(what_if: &WhatIf) -> Markup {
    html! {
        p { "INVALID packets, and in brackets the connections hit, as each kernel would have judged \
             this capture with one setting changed." }
        div.wide { table {
            thead { tr {
                th scope="col" { "Linux" }
                @for title in what_if.columns { th.number scope="col" { (title) } }
            } }
            tbody { @for row in &what_if.rows {
                tr.own[row.is_own] {
                    th scope="row" {
                        (row.name())
                        @if row.is_own { " " span.note { "judged by" } }
                    }
                    @for cell in row.cells {
                        @let is_zero = cell.is_some_and(|hits| hits.packets == 0);
                        td.number.zero[is_zero] { (WhatIf::cell(cell)) }
                    }
                }
            } }
        } }
    }
}

/// Rules, and what happened when and how often.
fn over_the_capture(view: &View<'_>) -> Markup {
    html! {
        (rules("Packets that are INVALID, by rule", &view.invalid_by_rule))
        (rules("Packets that pass, though a rule speaks of them", &view.passed_by_rule))
        (picture::timeline(view.audit))
        div.pair { (picture::distributions(view.audit)) }
    }
}

fn rules(title: &str, rules: &[RuleCount]) -> Markup {
    html! {
        @if !rules.is_empty() {
            div.wide { table.rules {
                caption { (title) }
                thead { tr {
                    th scope="col" { "rule" }
                    th.number scope="col" { "packets" }
                    th scope="col" { "what it says" }
                } }
                tbody { @for RuleCount { reason, packets } in rules {
                    tr {
                        th scope="row" { code { (reason.code()) } }
                        td.number { (grouped(*packets)) }
                        td { (reason.words()) }
                    }
                } }
            } }
        }
    }
}

/// Connections captured at several places, and what differs there.
fn seen_twice(all: &[SeenTwice]) -> Markup {
    html! {
        p { "Each is judged from one of the places; what comes from the others is left out." }
        div.wide { table {
            thead { tr {
                @for title in ["connection", "places", "what differs elsewhere"] {
                    th scope="col" { (title) }
                }
            } }
            tbody { @for seen in all {
                tr {
                    th scope="row" { (seen.name()) }
                    @for cell in seen.cells() { td { (printable(&cell)) } }
                }
            } }
        } }
    }
}

fn quality(view: &View<'_>) -> Markup {
    let quality = &view.diagnoses.quality;
    html! {
        p {
            "Quality " strong { (quality.percent) " %" }
            @if quality.shortcomings.is_empty() { ": nothing is known to be wrong with it." }
            @else { ": the worst of these multiplies every score, but those that say that it does not matter." }
        }
        @if !quality.shortcomings.is_empty() {
            ul { @for found in &quality.shortcomings {
                li { (printable(&found.what)) " (" code { (found.code) } ", leaves " (found.percent) " %)" }
            } }
        }
        (facts(&view.capture))
    }
}

/// Counts what is not shown.
fn not_shown(count: u64) -> Markup {
    html! {
        @if count > 0 {
            p.note { "Not shown: " (counted(count, "more connection")) " with INVALID packets." }
        }
    }
}
