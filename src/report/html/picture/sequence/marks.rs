//! What is written and marked in a time-sequence plot: INVALID packets with their frames, the names
//! of the bounds, and SACK blocks that lie outside of it.
//!
//! Does not: decide what is INVALID.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::super::{Path, Plot, signed};
use super::scene::{Mark, Scene};
use crate::report::counted;

/// Half the size of a cross, where there are few and where there are many.
const ARM: i64 = 9;
const SHORT_ARM: i64 = 6;
const MANY: usize = 100;
/// Width of a digit of a label, its height, and how far it stands from its cross.
const DIGIT: i64 = 14;
const LINE: i64 = 26;
const GAP: i64 = 14;
/// How near to a mark with a label another goes without.
const CROWD: i64 = 60;
/// The labels of one picture.
const MOST_LABELS: usize = 16;
/// The names of the tracker's bounds.
const NAMES: [&str; 4] = ["I", "II", "III", "IV"];

/// A place that is written on: left, top, right, bottom.
#[derive(Clone, Copy, Debug)]
struct Box(i64, i64, i64, i64);

impl Box {
    const fn overlaps(self, other: Self) -> bool {
        self.0 < other.2 && other.0 < self.2 && self.1 < other.3 && other.1 < self.3
    }
}

/// A cross and where its label is written, if there is room.
struct Placed<'a> {
    mark: &'a Mark,
    x: i64,
    y: i64,
    label: Option<(i64, i64)>,
}

/// Marks the INVALID packets.
pub(super) fn invalid(plot: &Plot, scene: &Scene) -> Markup {
    let placed = place(plot, scene);
    let arm = if placed.len() > MANY { SHORT_ARM } else { ARM };
    html! {
        @for Placed { mark, x, y, label } in &placed {
            g.invalid {
                title { (mark.words) }
                path class="cross" d=(cross((*x, *y), arm)) {}
                @if let Some((x, y)) = label {
                    text class="frame" x=(x) y=(y) { "#" (mark.frame) }
                }
            }
        }
    }
}

fn cross((x, y): (i64, i64), arm: i64) -> String {
    let (left, right, top, bottom) = (x - arm, x + arm, y - arm, y + arm);
    format!("M{left} {top}L{right} {bottom}M{right} {top}L{left} {bottom}")
}

/// Puts labels beside their crosses, where they do not cover one another.
fn place<'a>(plot: &Plot, scene: &'a Scene) -> Vec<Placed<'a>> {
    let mut taken: Vec<Box> = Vec::new();
    let mut placed = Vec::new();
    let at =
        |mark: &Mark| (plot.x.at(mark.at), plot.y.at(mark.place).clamp(plot.top(), plot.bottom()));
    let arms = |(x, y): (i64, i64)| Box(x - SHORT_ARM, y - SHORT_ARM, x + SHORT_ARM, y + SHORT_ARM);
    let crosses: Vec<_> = scene.invalid.iter().map(|mark| arms(at(mark))).collect();
    for mark in &scene.invalid {
        let (x, y) = at(mark);
        let width = DIGIT * (i64::try_from(mark.frame.to_string().len()).unwrap_or(1) + 1);
        let is_crowded = placed.iter().any(|other: &Placed<'_>| {
            other.label.is_some() && (other.x - x).abs() < CROWD && (other.y - y).abs() < CROWD
        });
        let label = if taken.len() < MOST_LABELS && !is_crowded {
            let free = spots(plot, (x, y), width)
                .find(|spot| !taken.iter().chain(&crosses).any(|other| spot.overlaps(*other)));
            taken.extend(free);
            free.map(|Box(left, _, _, bottom)| (left, bottom - 6))
        } else {
            None
        };
        placed.push(Placed { mark, x, y, label });
    }
    placed
}

/// Returns where a label may stand, the best place first.
fn spots(plot: &Plot, (x, y): (i64, i64), width: i64) -> impl Iterator<Item = Box> {
    let (top, bottom, first, last) = (plot.top(), plot.bottom(), plot.left(), plot.right());
    let above = (1..=3).map(move |n| y - GAP - n * LINE);
    let below = (0..=1).map(move |n| y + GAP + n * LINE);
    let heights = above.chain(below).filter(move |line| *line >= top && line + LINE <= bottom);
    heights.flat_map(move |line| {
        let lefts = [x - width / 2, x + GAP, x - GAP - width, x + 3 * GAP, x - 3 * GAP - width];
        let fits = move |left: &i64| *left >= first && left + width <= last;
        lefts.into_iter().filter(fits).map(move |left| Box(left, line, left + width, line + LINE))
    })
}

/// Names the tracker's bounds where their lines end, or leave the picture.
pub(super) fn bounds(plot: &Plot, scene: &Scene) -> Markup {
    let mut names: Vec<Box> = Vec::new();
    let lines = NAMES.into_iter().zip(&scene.bounds);
    let seen = lines.filter_map(|(name, line)| {
        let (at, number) = line.iter().rev().find(|(_, number)| plot.y.holds(*number))?;
        let is_last = line.last().is_some_and(|(last, _)| last == at);
        let x = if is_last { plot.right() + 8 } else { plot.x.at(*at) + 8 };
        Some((name, x, plot.y.at(*number) + 8))
    });
    let mut placed = Vec::new();
    for (name, x, y) in seen {
        let spot = |n: i64| Box(x, y - LINE + n * LINE, x + 3 * DIGIT, y + n * LINE);
        let free = (0..4).map(spot).find(|spot| !names.iter().any(|name| spot.overlaps(*name)));
        if let Some(spot) = free {
            names.push(spot);
            placed.push((name, spot));
        }
    }
    html! {
        @for (name, Box(x, _, _, y)) in &placed {
            text class="bound-name" x=(x) y=(y) { (name) }
        }
    }
}

/// Shows SACK blocks beyond the plotted numbers as arrows at its edge, and says how far they are.
pub(super) fn outside(plot: &Plot, scene: &Scene) -> Markup {
    let above: Vec<_> = scene.sack.iter().filter(|block| block.from > plot.y.hi).collect();
    let below: Vec<_> = scene.sack.iter().filter(|block| block.to < plot.y.lo).collect();
    let data_end = |at: i64| {
        let sent = scene.data.iter().map(|(_, sent)| sent).filter(|sent| sent.at <= at);
        sent.map(|sent| sent.to).filter(|to| plot.y.holds(*to)).max().unwrap_or(0)
    };
    let distances = above.iter().map(|block| block.to - data_end(block.at));
    let arrows = |blocks: &[&super::scene::Stretch], y: i64, tip: i64| {
        let mut path = Path::default();
        let mut last = i64::MIN;
        for block in blocks {
            let x = plot.x.at(block.at);
            if x >= last.saturating_add(12) {
                let _ = write!(path.data, "M{} {y}L{x} {tip}L{} {y}", x - 7, x + 7);
                last = x;
            }
        }
        path.data
    };
    let (top, bottom) = (plot.top(), plot.bottom());
    let least = distances.clone().min();
    let most = distances.max();
    html! {
        @if let (Some(least), Some(most)) = (least, most) {
            path class="sack-away" d=(arrows(&above, top + 22, top + 6)) {}
            text class="sack-name end" x=(plot.right() - 14) y=(top + 52) {
                (counted(above.len() as u64, "SACK block")) " above the picture, "
                (range(least, most)) " beyond the highest byte sent"
            }
        }
        @if !below.is_empty() {
            path class="sack-away" d=(arrows(&below, bottom - 22, bottom - 6)) {}
            text class="sack-name end" x=(plot.right() - 14) y=(bottom - 32) {
                (counted(below.len() as u64, "SACK block")) " below the picture"
            }
        }
    }
}

fn range(least: i64, most: i64) -> String {
    if least == most {
        format!("{} bytes", signed(least))
    } else {
        format!("{} to {} bytes", signed(least), signed(most))
    }
}
