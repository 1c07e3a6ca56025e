//! Pictures as inline SVG, drawn in whole numbers so that they are the same bytes everywhere.
//!
//! Colours, fonts and line widths are classes of the page's style sheet: a picture follows the light
//! or dark scheme of its reader, and paper. A unit is half a pixel of the widest page.
//!
//! Does not: know what is drawn; that is one file a picture.

mod distribution;
mod occupancy;
mod sequence;
mod timeline;
mod window;

use std::fmt::Write as _;

use maud::{Markup, html};

pub(super) use distribution::distributions;
pub(super) use occupancy::occupancy;
pub(super) use sequence::sequences;
pub(super) use timeline::timeline;
pub(super) use window::windows;

use crate::report::grouped;

/// How wide a picture is, and where the plotted area begins and ends in it.
#[derive(Clone, Copy, Debug)]
struct Width {
    all: i64,
    left: i64,
    right: i64,
}

/// As wide as the page.
const WIDE: Width = Width { all: 1920, left: 160, right: 1870 };
/// Two beside each other.
const HALF: Width = Width { all: 960, left: 136, right: 910 };
/// How far beyond its area something may lie and still be drawn where it is.
const BEYOND: i64 = 4000;

/// A scale from numbers to positions.
#[derive(Clone, Copy, Debug)]
struct Scale {
    lo: i64,
    hi: i64,
    from: i64,
    to: i64,
}

impl Scale {
    /// Returns a scale that puts `lo` at `from` and `hi` at `to`.
    fn new((lo, hi): (i64, i64), (from, to): (i64, i64)) -> Self {
        Self { lo, hi: hi.max(lo.saturating_add(1)), from, to }
    }

    /// Returns where a number lies, or a place beyond the area in its direction.
    fn at(self, value: i64) -> i64 {
        let [lo, hi, from, to] = [self.lo, self.hi, self.from, self.to].map(i128::from);
        let place = from + (i128::from(value) - lo) * (to - from) / (hi - lo);
        let (least, most) = (self.from.min(self.to) - BEYOND, self.from.max(self.to) + BEYOND);
        i64::try_from(place.clamp(i128::from(least), i128::from(most))).unwrap_or(self.from)
    }

    /// Returns whether a number is on the scale.
    const fn holds(self, value: i64) -> bool {
        self.lo <= value && value <= self.hi
    }

    /// Returns the distance between marks: 1, 2 or 5 times a power of ten, at most `most` of them.
    fn step(self, most: i64) -> i64 {
        let span = self.hi.saturating_sub(self.lo);
        let mut step = 1_i64;
        let mut factors = [2, 5, 10].into_iter().cycle();
        let mut power = 1_i64;
        while span / step > most && step < i64::MAX / 10 {
            let factor = factors.next().unwrap_or(10);
            step = power * factor;
            if factor == 10 {
                power = step;
            }
        }
        step
    }

    /// Returns the round numbers of the scale.
    fn ticks(self, most: i64) -> impl Iterator<Item = i64> {
        let step = i128::from(self.step(most));
        let first = i128::from(self.lo).div_euclid(step) * step;
        let ticks = (0..=i128::from(most) + 2).map(move |n| first + n * step);
        ticks.filter_map(|tick| i64::try_from(tick).ok()).filter(move |tick| self.holds(*tick))
    }
}

/// What the numbers of a scale are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    /// Nanoseconds.
    Time,
    /// Bytes, or sequence numbers.
    Bytes,
    /// Anything counted.
    Count,
}

impl Unit {
    /// Writes the numbers of a scale, `step` apart.
    fn label(self, value: i64, step: i64) -> String {
        match self {
            Self::Time => time(value, step),
            Self::Bytes | Self::Count => signed(value),
        }
    }
}

/// Writes a number with commas between thousands.
fn signed(value: i64) -> String {
    let sign = if value < 0 { "−" } else { "" };
    format!("{sign}{}", grouped(value.unsigned_abs()))
}

/// Writes a time in the unit and with the decimals that a step can be told by.
fn time(value_ns: i64, step_ns: i64) -> String {
    const UNITS: [(i64, &str); 4] =
        [(1_000_000_000, "s"), (1_000_000, "ms"), (1000, "µs"), (1, "ns")];
    let step_ns = step_ns.max(1);
    // Milliseconds as long as a reader would not say seconds.
    let fits = |&&(unit_ns, _): &&(i64, &str)| step_ns.saturating_mul(10) >= unit_ns;
    let (unit_ns, name) = UNITS.iter().find(fits).copied().unwrap_or((1, "ns"));
    let mut digits = 0;
    let mut part_ns = unit_ns;
    while part_ns > step_ns {
        part_ns /= 10;
        digits += 1;
    }
    let sign = if value_ns < 0 { "−" } else { "" };
    let value = value_ns.unsigned_abs();
    let (unit, part) = (unit_ns.unsigned_abs(), part_ns.max(1).unsigned_abs());
    let whole = grouped(value / unit);
    if digits == 0 {
        return format!("{sign}{whole} {name}");
    }
    format!("{sign}{whole}.{:0digits$} {name}", value % unit / part)
}

/// The data of a path, written so that neighbours at the same place cost nothing.
#[derive(Clone, Default, Debug)]
struct Path {
    data: String,
    last: Option<(i64, i64)>,
}

impl Path {
    /// Goes on horizontally, then vertically, to a place.
    fn step_to(&mut self, x: i64, y: i64) {
        match self.last {
            None => _ = write!(self.data, "M{x} {y}"),
            // Along the same height nothing is written before it ends.
            Some((_, height)) if height == y => {}
            Some(_) => _ = write!(self.data, "H{x}V{y}"),
        }
        self.last = Some((x, y));
    }

    /// Ends a line that was gone by steps.
    fn end(&mut self, x: i64) {
        if self.last.is_some() {
            let _ = write!(self.data, "H{x}");
        }
    }

    /// Draws a vertical bar, at least a unit high.
    fn bar(&mut self, x: i64, (from, to): (i64, i64)) {
        let to = if from == to { to - 1 } else { to };
        if self.last == Some((x, to)) {
            return;
        }
        let _ = write!(self.data, "M{x} {from}V{to}");
        self.last = Some((x, to));
    }
}

/// The area that is plotted in, with both scales.
#[derive(Clone, Copy, Debug)]
struct Plot {
    x: Scale,
    y: Scale,
}

/// What stands along the axes.
#[derive(Clone, Copy, Debug)]
struct Labels<'a> {
    x: (&'a str, Unit),
    y: (&'a str, Unit),
}

impl Plot {
    /// Returns a plot of this width, between these heights.
    fn new(width: Width, x: (i64, i64), y: (i64, i64), (top, bottom): (i64, i64)) -> Self {
        Self { x: Scale::new(x, (width.left, width.right)), y: Scale::new(y, (bottom, top)) }
    }

    const fn left(&self) -> i64 {
        self.x.from
    }

    const fn right(&self) -> i64 {
        self.x.to
    }

    const fn top(&self) -> i64 {
        self.y.to
    }

    const fn bottom(&self) -> i64 {
        self.y.from
    }

    /// Draws the grid, with a name and round numbers along both axes.
    fn axes(&self, labels: &Labels<'_>) -> Markup {
        const WIDTH_OF_A_TICK: i64 = 190;
        const HEIGHT_OF_A_TICK: i64 = 80;
        let (left, right) = (self.left(), self.right());
        let most_x = (right - left) / WIDTH_OF_A_TICK;
        let most_y = ((self.bottom() - self.top()) / HEIGHT_OF_A_TICK).max(2);
        let (x_step, y_step) = (self.x.step(most_x), self.y.step(most_y));
        let mut grid = String::new();
        for tick in self.x.ticks(most_x) {
            let _ = write!(grid, "M{} {}V{}", self.x.at(tick), self.top(), self.bottom());
        }
        for tick in self.y.ticks(most_y) {
            let _ = write!(grid, "M{left} {}H{right}", self.y.at(tick));
        }
        html! {
            path class="grid" d=(grid) {}
            @for tick in self.x.ticks(most_x) {
                text class="tick mid" x=(self.x.at(tick)) y=(self.bottom() + 32) {
                    (labels.x.1.label(tick, x_step))
                }
            }
            @for tick in self.y.ticks(most_y) {
                text class="tick end" x=(left - 12) y=(self.y.at(tick) + 8) {
                    (labels.y.1.label(tick, y_step))
                }
            }
            text class="axis end" x=(right) y=(self.bottom() + 66) { (labels.x.0) }
            text class="axis" x="8" y=(self.top() - 26) { (labels.y.0) }
        }
    }

    /// Limits what is drawn to the area.
    fn clip(&self, id: &str) -> Markup {
        let (width, height) = (self.right() - self.left(), self.bottom() - self.top());
        html! {
            clipPath id=(id) {
                rect x=(self.left()) y=(self.top()) width=(width) height=(height) {}
            }
        }
    }
}

/// Who a picture is for those who do not see it.
#[derive(Clone, Debug)]
struct Caption {
    /// Unique in the page.
    id: String,
    title: String,
    /// What there is to see.
    description: String,
}

/// Frames what was drawn as a picture of this size.
fn picture(caption: &Caption, (width, height): (Width, i64), drawn: &Markup) -> Markup {
    let width = width.all;
    let Caption { id, title, description } = caption;
    html! {
        svg.plot viewBox=(format!("0 0 {width} {height}")) role="img"
            aria-labelledby=(format!("{id}-t {id}-d")) {
            title id=(format!("{id}-t")) { (title) }
            desc id=(format!("{id}-d")) { (description) }
            (drawn)
        }
    }
}

/// How something looks in a legend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sign {
    Bar,
    Line,
    Cross,
}

/// Explains what is drawn: class, sign and words.
fn legend(entries: &[(&str, Sign, &str)]) -> Markup {
    html! {
        ul.legend {
            @for (class, sign, words) in entries {
                li {
                    svg viewBox="0 0 48 32" aria-hidden="true" {
                        @match sign {
                            Sign::Bar => path class=(class) d="M12 28V4M24 28V4M36 28V4" {},
                            Sign::Line => path class=(class) d="M2 16H46" {},
                            Sign::Cross => path class=(class) d="M14 6L34 26M34 6L14 26" {},
                        }
                    }
                    (words)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_puts_its_ends_where_they_belong_and_clamps_what_is_far_beyond() {
        let scale = Scale::new((-10, 90), (1000, 0));
        assert_eq!((scale.at(-10), scale.at(40), scale.at(90)), (1000, 500, 0));
        assert_eq!((scale.at(i64::MAX), scale.at(i64::MIN)), (-BEYOND, 1000 + BEYOND));
        assert_eq!(Scale::new((5, 5), (0, 100)).at(5), 0);
    }

    #[test]
    fn ticks_are_round_and_few() {
        for (lo, hi) in [(0, 1), (0, 9), (3, 97), (-5000, 123_456), (0, i64::MAX / 2), (7, 8)] {
            let scale = Scale::new((lo, hi), (0, 100));
            let ticks: Vec<_> = scale.ticks(8).collect();
            assert!(!ticks.is_empty() && ticks.len() <= 9, "{lo}..{hi}: {ticks:?}");
            assert!(ticks.iter().all(|tick| scale.holds(*tick)));
        }
        assert_eq!(Scale::new((3, 97), (0, 1)).ticks(8).collect::<Vec<_>>(), [20, 40, 60, 80]);
    }

    #[test]
    fn ticks_at_the_ends_of_all_numbers_are_on_the_scale() {
        for (lo, hi) in [(0, i64::MAX), (i64::MIN, 0), (i64::MIN, i64::MAX)] {
            let scale = Scale::new((lo, hi), (0, 100));
            let ticks: Vec<_> = scale.ticks(8).collect();
            assert!(!ticks.is_empty() && ticks.iter().all(|tick| scale.holds(*tick)));
            assert!(ticks.windows(2).all(|pair| pair[0] < pair[1]), "{ticks:?}");
        }
    }

    #[test]
    fn times_are_told_in_the_unit_of_their_steps() {
        assert_eq!(time(1_500_000_000, 500_000_000), "1.5 s");
        assert_eq!(time(30_000_000_000, 10_000_000_000), "30 s");
        assert_eq!(time(20_000_000, 20_000_000), "20 ms");
        assert_eq!(time(12_340_000_000, 100_000_000), "12.3 s");
        assert_eq!(time(-1_500_000, 500_000), "−1.5 ms");
        assert_eq!(time(5, 1), "5 ns");
    }

    #[test]
    fn a_line_by_steps_writes_only_where_it_turns() {
        let mut path = Path::default();
        for (x, y) in [(0, 10), (1, 10), (2, 10), (3, 8), (4, 8)] {
            path.step_to(x, y);
        }
        path.end(9);
        assert_eq!(path.data, "M0 10H3V8H9");
    }
}
