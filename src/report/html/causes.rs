//! Causes with what they rest on, and what to do about the surest.
//!
//! Does not: decide which is the surest.

use std::collections::BTreeSet;

use maud::{Markup, html};

use crate::diagnose::{Diagnosis, Level, Remedy, Score, Step};
use crate::report::printable;
use crate::report::view::View;

/// Shows each cause as a card, the surest first.
pub(super) fn causes(view: &View<'_>) -> Markup {
    html! { @for found in &view.diagnoses.causes { (cause(view, found)) } }
}

fn cause(view: &View<'_>, found: &Diagnosis) -> Markup {
    let (id, title) = (found.cause.id(), found.cause.title());
    let level = found.score.level().map_or("", Level::code);
    html! {
        article.cause.blames[found.cause.blames_a_device()] id=(format!("cause-{id}")) {
            h3 { span.id { (id) } " " (title) }
            p.level { (level) ", " strong { (found.score.total()) "/100" } }
            (score(&found.score))
            p.finding { (printable(&found.finding)) "." }
            @for note in &found.notes { p { (printable(note)) } }
            dl.facts {
                @for against in &found.against { dt { "against it" } dd { (printable(against)) } }
                @for (name, value) in &found.parameters { dt { (name) } dd { (printable(value)) } }
                @if !found.evidence.is_empty() {
                    dt { "see" }
                    dd { (view.places(found).join(", ")) }
                }
                @if !found.flows.is_empty() {
                    dt { "connections" }
                    dd { (flows(view, found)) }
                }
            }
        }
    }
}

/// Draws the parts of a score as a bar, and writes them.
fn score(score: &Score) -> Markup {
    html! {
        div.score aria-hidden="true" {
            span style=(format!("width:{}%", score.total())) {}
        }
        p.parts { (score.to_string()) }
    }
}

/// Names the connections, those shown below as links.
fn flows(view: &View<'_>, found: &Diagnosis) -> Markup {
    let shown: BTreeSet<_> = view.evidence.iter().map(|flow| flow.id).collect();
    let drawn = view.audit.exhibits.flows.iter().map(|flow| flow.told.audit.first_frame);
    let shown: BTreeSet<_> = drawn.chain(shown).collect();
    let more = found.flow_count.saturating_sub(found.flows.len() as u64);
    html! {
        @for (index, id) in found.flows.iter().enumerate() {
            @if index > 0 { ", " }
            @if shown.contains(id) { a href=(format!("#flow-{id}")) { "flow " (id) } }
            @else { "flow " (id) }
        }
        @if more > 0 { " and " (more) " more" }
    }
}

/// Shows the remedies of the surest cause, the best first.
pub(super) fn remedies(view: &View<'_>) -> Markup {
    let Some(found) = view.cause_to_mend() else { return html! {} };
    html! {
        p { "For " (found.cause.id()) ", " (found.cause.title()) ". Try them in this order; a click into a \
             box of commands selects all of it." }
        ol.remedies { @for remedy in view.remedies() { li { (self::remedy(remedy)) } } }
    }
}

/// Shows one remedy.
pub(super) fn remedy(remedy: &Remedy) -> Markup {
    html! {
        h3 { (remedy.title) }
        @for step in &remedy.steps { (commands(step)) }
        @if !remedy.persist.is_empty() {
            p.lead { "To survive a reboot:" }
            @for step in &remedy.persist { (commands(step)) }
        }
        dl.facts {
            dt { "risk" } dd { (remedy.risk) }
            dt { "check" } dd { (remedy.check) }
            dt { "undo" } dd { (remedy.undo) }
        }
    }
}

/// Shows lines to run, to be selected as a whole.
fn commands(step: &Step) -> Markup {
    html! {
        p.runner { (step.runner.words()) ":" }
        pre { code { (printable_lines(&step.lines)) } }
    }
}

fn printable_lines(lines: &[String]) -> String {
    lines.iter().map(|line| printable(line)).collect::<Vec<_>>().join("\n")
}
