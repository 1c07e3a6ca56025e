//! When packets were INVALID or sent again, over the whole capture.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::{Caption, Labels, Plot, Unit, WIDE, picture, time};
use crate::audit::{Audit, Happened};
use crate::report::{counted, grouped};
use crate::time::Timestamp;

/// Where the first row begins, how high a row is, from where to where the next begins, and what
/// stands below the last.
const TOP: i64 = 56;
const ROW: i64 = 180;
const PITCH: i64 = 270;
const BELOW: i64 = 84;

/// One of the counts.
struct Row {
    name: &'static str,
    class: &'static str,
    of: fn(&Happened) -> u64,
}

/// Draws both counts, one under the other; nothing when there is nothing to count.
pub(in crate::report::html) fn timeline(audit: &Audit) -> Markup {
    let counted_all = &audit.totals.timeline;
    let (Some(first), Some(last)) = (audit.first_ts, audit.last_ts) else { return html! {} };
    if counted_all.is_empty() {
        return html! {};
    }
    let length_ns = counted_all.length_ns();
    let intervals: Vec<_> = counted_all.iter().collect();
    let span = (0, last.nanos_since(first).max(length_ns));
    let length = time(length_ns, length_ns);
    let rows = [
        Row { name: "INVALID packets", class: "invalid-bar", of: |found| found.invalid },
        Row { name: "packets sent again", class: "again-bar", of: |found| found.retransmitted },
    ];
    let any = |row: &Row| intervals.iter().any(|(_, happened)| (row.of)(happened) > 0);
    let rows: Vec<_> = rows.into_iter().filter(any).collect();
    let tops: Vec<_> = (0..).map(|n| TOP + n * PITCH).take(rows.len()).collect();
    let last_top = tops.last().copied().unwrap_or(TOP);
    let drawn = html! {
        @for (Row { name, class, of }, &top) in rows.iter().zip(&tops) {
            @let heights = (top, top + ROW);
            @let highest = intervals.iter().map(|(_, happened)| of(happened)).max().unwrap_or(0);
            @let most = i64::try_from(highest).unwrap_or(i64::MAX).max(1);
            @let plot = Plot::new(WIDE, span, (0, most), heights);
            (plot.axes(&Labels {
                x: (if top == last_top { "time since the first frame" } else { "" }, Unit::Time),
                y: (&format!("{name}, each {length}"), Unit::Count),
            }))
            path class=(class) d=(bars(&plot, &intervals, (first, length_ns), *of)) {}
        }
    };
    let sum = |of: fn(&Happened) -> u64| intervals.iter().map(|(_, happened)| of(happened)).sum();
    let invalid: u64 = sum(|happened| happened.invalid);
    let again: u64 = sum(|happened| happened.retransmitted);
    let caption = Caption {
        id: "timeline".to_owned(),
        title: "INVALID packets and packets sent again over the capture".to_owned(),
        description: format!(
            "Bars over {}: {} and {} sent again, in intervals of {length}.{}",
            time(span.1, span.1 / 100),
            counted(invalid, "INVALID packet"),
            grouped(again),
            worst(&intervals, first),
        ),
    };
    html! {
        figure {
            figcaption {
                strong { "Over the whole capture" }
                ": packets a bar of " (length) "."
            }
            (picture(&caption, (WIDE, last_top + ROW + BELOW), &drawn))
        }
    }
}

/// Says when most packets were INVALID.
fn worst(intervals: &[(Timestamp, Happened)], first: Timestamp) -> String {
    let worst = intervals.iter().max_by_key(|(ts, happened)| (happened.invalid, -ts.0));
    match worst {
        Some((ts, happened)) if happened.invalid > 0 => {
            let at = ts.nanos_since(first).max(0);
            format!(
                " Most INVALID packets, {}, fall into the interval at {}.",
                grouped(happened.invalid),
                time(at, (at / 100).max(1))
            )
        }
        _ => String::new(),
    }
}

/// Draws a bar for each interval in which something happened, from two units wide on.
fn bars(
    plot: &Plot,
    intervals: &[(Timestamp, Happened)],
    (first, length_ns): (Timestamp, i64),
    of: fn(&Happened) -> u64,
) -> String {
    let mut path = String::new();
    for (start, happened) in intervals {
        let count = i64::try_from(of(happened)).unwrap_or(i64::MAX);
        if count == 0 {
            continue;
        }
        let from = start.nanos_since(first).clamp(plot.x.lo, plot.x.hi);
        let to = start.nanos_since(first).saturating_add(length_ns).clamp(plot.x.lo, plot.x.hi);
        let (left, right) = (plot.x.at(from), plot.x.at(to));
        let right = right.max(left + 3) - i64::from(right > left + 6);
        let (top, bottom) = (plot.y.at(count).min(plot.bottom() - 2), plot.bottom());
        let _ = write!(path, "M{left} {bottom}V{top}H{right}V{bottom}z");
    }
    path
}
