//! Entries of the connection table over time, with the limit.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::{Caption, Labels, Plot, Sign, Unit, WIDE, legend, picture, time};
use crate::audit::Audit;
use crate::occupancy::Moment;
use crate::report::grouped;
use crate::report::view::TableFacts;

const TOP: i64 = 56;
const BOTTOM: i64 = 416;
const HEIGHT: i64 = 500;

/// What lies upon each other, from below: class and words.
const LAYERS: [(&str, &str); 3] =
    [("table-tcp", "TCP"), ("table-udp", "UDP"), ("table-other", "other protocols")];

/// Draws the entries by protocol upon each other, and the limit if it is near enough to be seen.
pub(in crate::report::html) fn occupancy(table: &TableFacts, audit: &Audit) -> Markup {
    let (Some(first), Some(last)) = (audit.first_ts, table.moments.last()) else {
        return html! {};
    };
    if table.moments.len() < 2 {
        return html! {};
    }
    let highest = table.moments.iter().map(total).max().unwrap_or(0);
    // A limit far above would press the entries flat.
    let limit = table.max.filter(|max| *max <= highest.saturating_mul(4));
    let top = signed(limit.unwrap_or(0).max(highest));
    let span = (0, last.at.nanos_since(first).max(1));
    let plot = Plot::new(WIDE, span, (0, top + top / 12), (TOP, BOTTOM));
    let at = |moment: &Moment| plot.x.at(moment.at.nanos_since(first).max(0));
    let drawn = html! {
        (plot.axes(&Labels {
            x: ("time since the first frame", Unit::Time),
            y: ("entries", Unit::Count),
        }))
        @for (layer, (class, _)) in LAYERS.into_iter().enumerate() {
            path class=(class) d=(area(&plot, &table.moments, layer, at)) {}
        }
        @if let Some(limit) = limit {
            path.bound d=(format!("M{} {}H{}", plot.left(), plot.y.at(signed(limit)), plot.right())) {}
            text class="bound-name end" x=(plot.right()) y=(plot.y.at(signed(limit)) - 10) {
                "nf_conntrack_max"
            }
        }
    };
    let limit_words = table.max.map_or_else(
        || "There is no limit.".to_owned(),
        |max| format!("The limit is {}.", grouped(max)),
    );
    let caption = Caption {
        id: "table-plot".to_owned(),
        title: "Entries of the connection table over time".to_owned(),
        description: format!(
            "Entries by protocol over {}, at most {}. {limit_words}",
            time(span.1, span.1 / 100),
            grouped(highest),
        ),
    };
    let entries = LAYERS.map(|(class, words)| (class, Sign::Bar, words));
    html! {
        figure {
            figcaption {
                strong { "Entries over time" } ", by protocol upon each other. " (limit_words)
            }
            (picture(&caption, (WIDE, HEIGHT), &drawn))
            (legend(&entries))
        }
    }
}

fn total(moment: &Moment) -> u64 {
    moment.entries.iter().sum()
}

/// Returns the area between the layers below and this one with them.
fn area(plot: &Plot, moments: &[Moment], layer: usize, at: impl Fn(&Moment) -> i64) -> String {
    let height = |moment: &Moment, layers: usize| {
        let sum: u64 = moment.entries.iter().take(layers).sum();
        plot.y.at(signed(sum))
    };
    let mut path = String::new();
    for (index, moment) in moments.iter().enumerate() {
        let letter = if index == 0 { 'M' } else { 'L' };
        let _ = write!(path, "{letter}{} {}", at(moment), height(moment, layer + 1));
    }
    for moment in moments.iter().rev() {
        let _ = write!(path, "L{} {}", at(moment), height(moment, layer));
    }
    path.push('z');
    path
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX / 2)
}
