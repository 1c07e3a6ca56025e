//! Distributions of times: how long both sides took to answer, and how long data waited before it
//! was sent again.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::{Caption, HALF, Scale, Width, picture, signed};
use crate::audit::{Audit, Bin, Histogram};
use crate::report::{counted, grouped};

const TOP: i64 = 56;
const BOTTOM: i64 = 300;
const HEIGHT: i64 = 384;

/// Draws those of which there is any time.
pub(in crate::report::html) fn distributions(audit: &Audit) -> Markup {
    let behaviour = &audit.totals.behaviour;
    let all = [
        ("rtt-near", "Round trip to the originator", "connection", &behaviour.rtt_near),
        ("rtt-far", "Round trip to the responder", "connection", &behaviour.rtt_far),
        ("rtt-handshake", "Round trip of the handshake", "connection", &behaviour.rtt_handshake),
        (
            "retransmission-delay",
            "Wait before data was sent again",
            "packet",
            &behaviour.retransmission_delay,
        ),
    ];
    html! {
        @for (id, name, noun, times) in all {
            @if !times.is_empty() { (distribution(id, name, noun, times)) }
        }
    }
}

fn distribution(id: &str, name: &str, noun: &str, times: &Histogram) -> Markup {
    let bins = bins(times);
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(1);
    let quantile = |permille| times.quantile_us(permille).map(micros).unwrap_or_default();
    let (median, late) = (quantile(500), quantile(950));
    let count = counted(times.len(), noun);
    let untold = match times.at_most(0) {
        0 => String::new(),
        untold => format!(" {} too short to tell: 0 µs by the time stamps.", grouped(untold)),
    };
    let caption = Caption {
        id: id.to_owned(),
        title: name.to_owned(),
        description: format!("{count}: half of them up to {median}, 95 % up to {late}.{untold}"),
    };
    let height = i64::try_from(most).unwrap_or(i64::MAX);
    let y = Scale::new((0, height), (BOTTOM, TOP));
    let Width { left: first, right, .. } = HALF;
    let width = (right - first) / i64::try_from(bins.len().max(1)).unwrap_or(1);
    let mut bars = String::new();
    let mut grid = String::new();
    for (index, bin) in (0..).zip(&bins) {
        let left = first + index * width;
        let top = y.at(i64::try_from(bin.count).unwrap_or(i64::MAX));
        if bin.count > 0 {
            let (top, right) = (top.min(BOTTOM - 3), left + width - 4);
            let _ = write!(bars, "M{} {BOTTOM}V{top}H{right}V{BOTTOM}z", left + 4);
        }
    }
    for tick in y.ticks(3) {
        let _ = write!(grid, "M{first} {}H{right}", y.at(tick));
    }
    let drawn = html! {
        path class="grid" d=(grid) {}
        @for tick in y.ticks(3) {
            text class="tick end" x=(first - 12) y=(y.at(tick) + 8) { (signed(tick)) }
        }
        path class="time-bar" d=(bars) {}
        @for (index, bin) in (0..).zip(&bins) {
            @if bin.count > 0 {
                text class="tick mid" x=(first + index * width + width / 2)
                    y=(y.at(i64::try_from(bin.count).unwrap_or(i64::MAX)) - 8) { (grouped(bin.count)) }
            }
            text class="tick mid" x=(first + index * width) y=(BOTTOM + 32) { (micros(bin.from_us)) }
        }
        @if let Some(last) = bins.last() {
            text class="tick mid" x=(first + width * i64::try_from(bins.len()).unwrap_or(0))
                y=(BOTTOM + 32) { (micros(last.to_us)) }
        }
        text class="axis end" x=(right) y=(BOTTOM + 66) { "time, each bar from one mark to the next" }
        text class="axis" x="8" y=(TOP - 26) { (noun) "s" }
    };
    html! {
        figure {
            figcaption {
                strong { (name) }
                ": " (count) ", half of them up to " (median) ", 95 % up to " (late) "." (untold)
            }
            (picture(&caption, (HALF, HEIGHT), &drawn))
        }
    }
}

/// Returns the bins from the first to the last that has a time, with at least six in all.
fn bins(times: &Histogram) -> Vec<Bin> {
    const LEAST: usize = 6;
    let all = times.bins();
    let first = all.iter().position(|bin| bin.count > 0).unwrap_or(0);
    let last = all.iter().rposition(|bin| bin.count > 0).unwrap_or(0);
    let missing = LEAST.saturating_sub(last + 1 - first);
    let first = first.saturating_sub(missing / 2);
    let last = (last + missing - missing / 2).min(all.len().saturating_sub(1));
    all.get(first..=last).unwrap_or_default().to_vec()
}

/// Writes a time given in microseconds, with at most three digits that count.
fn micros(micros: u64) -> String {
    let (unit, name) = match micros {
        1_000_000.. => (1_000_000, "s"),
        1000.. => (1000, "ms"),
        _ => (1, "µs"),
    };
    let (whole, rest) = (micros / unit, micros % unit);
    let digits = match whole {
        100.. => 0,
        10.. => 1,
        _ => 2,
    };
    let decimals = format!("{:03}", rest * 1000 / unit);
    let decimals = decimals.get(..digits).unwrap_or_default().trim_end_matches('0');
    let point = if decimals.is_empty() { "" } else { "." };
    format!("{}{point}{decimals} {name}", grouped(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_too_short_to_tell_are_counted() {
        let mut times = Histogram::default();
        times.record(0);
        let page = distribution("x", "Handshake", "connection", &times).into_string();
        assert_eq!(page.matches("1 too short to tell: 0 µs by the time stamps.").count(), 2);
        let mut times = Histogram::default();
        times.record(1);
        let page = distribution("x", "Handshake", "connection", &times).into_string();
        assert!(!page.contains("too short"), "{page}");
    }

    #[test]
    fn times_have_three_digits_that_count() {
        let cases = [
            (5, "5 µs"),
            (1000, "1 ms"),
            (40_031, "40 ms"),
            (40_631, "40.6 ms"),
            (1_401_000, "1.4 s"),
            (3_600_000_000, "3,600 s"),
        ];
        for (time, text) in cases {
            assert_eq!(micros(time), text);
        }
    }
}
