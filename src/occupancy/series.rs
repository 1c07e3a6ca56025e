//! Counts over time, kept as differences: what changed in each step of time.
//!
//! A step is one second. A span of more than [`MAX_STEPS`] steps is kept in steps of two seconds, of
//! four, and so on, so that memory is bounded whatever the times of a capture are. Steps are aligned
//! to 1970, so that how a run was divided makes no difference to what comes out.
//!
//! Does not: know what is counted.

use crate::time::{NANOS_PER_SEC, Timestamp};

/// The most steps of a series: 18 hours of seconds; 1 MiB in the series of every run.
pub const MAX_STEPS: usize = 1 << 16;
/// The longest step, in seconds as a power of two: steps of all that a time can be are shorter.
const MAX_SHIFT: u32 = 32;

/// Changes of `N` counts over time.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(into = "Flat", try_from = "Flat")]
pub struct Series<const N: usize> {
    /// Seconds of a step, as a power of two.
    shift: u32,
    /// Number of the first step, counted from 1970.
    first: i64,
    steps: Vec<[i32; N]>,
}

/// A series as it is written: the counts of all steps in one list.
#[derive(serde::Serialize, serde::Deserialize)]
struct Flat {
    shift: u32,
    first: i64,
    counts: Vec<i32>,
}

impl<const N: usize> From<Series<N>> for Flat {
    fn from(series: Series<N>) -> Self {
        let Series { shift, first, steps } = series;
        Self { shift, first, counts: steps.as_flattened().to_vec() }
    }
}

impl<const N: usize> TryFrom<Flat> for Series<N> {
    type Error = &'static str;

    /// Takes what a series can have come to.
    fn try_from(Flat { shift, first, counts }: Flat) -> Result<Self, Self::Error> {
        let (steps, rest) = counts.as_chunks::<N>();
        let is_possible = rest.is_empty() && steps.len() <= MAX_STEPS && shift <= MAX_SHIFT;
        let is_near =
            first.unsigned_abs() <= i64::MAX.unsigned_abs() / NANOS_PER_SEC.unsigned_abs();
        if is_possible && is_near {
            Ok(Self { shift, first, steps: steps.to_vec() })
        } else {
            Err("a series that no run comes to")
        }
    }
}

/// One step of a series.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step<const N: usize> {
    /// When it begins.
    pub start: Timestamp,
    /// When it ends: what happens at this time belongs to the next.
    pub end: Timestamp,
    /// What changed in it.
    pub changes: [i64; N],
    /// The sums of all changes up to its end.
    pub sums: [i64; N],
}

impl<const N: usize> Default for Series<N> {
    fn default() -> Self {
        Self { shift: 0, first: 0, steps: Vec::new() }
    }
}

impl<const N: usize> Series<N> {
    /// Adds to one of the counts at a time.
    #[inline]
    pub fn add(&mut self, at: Timestamp, count: usize, change: i32) {
        self.add_each(at, [(count, change)]);
    }

    /// Adds to several of the counts at a time.
    #[inline]
    pub fn add_each<const M: usize>(&mut self, at: Timestamp, changes: [(usize, i32); M]) {
        let index = self.index_of(at);
        let Some(step) = self.steps.get_mut(index) else { return };
        for (count, change) in changes {
            if let Some(place) = step.get_mut(count) {
                *place = place.saturating_add(change);
            }
        }
    }

    /// Returns the seconds of a step.
    pub const fn step_seconds(&self) -> i64 {
        1 << self.shift
    }

    /// Returns the steps from the first change to the last.
    pub fn steps(&self) -> impl Iterator<Item = Step<N>> {
        let mut sums = [0; N];
        (self.first..).zip(&self.steps).map(move |(number, step)| {
            let changes = step.map(i64::from);
            for (sum, change) in sums.iter_mut().zip(changes) {
                *sum += change;
            }
            Step { start: self.start_of(number), end: self.start_of(number + 1), changes, sums }
        })
    }

    /// Counts all times from the step of another.
    pub fn count_from(&mut self, start: Timestamp) {
        self.first -= start.0.div_euclid(NANOS_PER_SEC) >> self.shift;
    }

    /// Adds the changes of another part of the run.
    pub fn merge(&mut self, part: &Self) {
        if part.steps.is_empty() {
            return;
        }
        if self.steps.is_empty() {
            self.clone_from(part);
            return;
        }
        while self.shift < part.shift {
            self.coarsen();
        }
        // Both ends first, so that what is there is moved once.
        let last = part.first.saturating_add(wide(part.steps.len() - 1));
        for number in [part.first, last] {
            self.index_of(part.start_of(number));
        }
        for (number, step) in (part.first..).zip(&part.steps) {
            let index = self.index_of(part.start_of(number));
            add_all(self.steps.get_mut(index), step);
        }
    }

    fn start_of(&self, number: i64) -> Timestamp {
        Timestamp::from_parts(number.saturating_mul(1 << self.shift), 0)
    }

    /// Finds the step of a time, making room for it.
    #[inline]
    fn index_of(&mut self, at: Timestamp) -> usize {
        let second = at.0.div_euclid(NANOS_PER_SEC);
        let index = (second >> self.shift) - self.first;
        match usize::try_from(index) {
            Ok(index) if index < self.steps.len() => index,
            _ => self.make_room(second),
        }
    }

    #[cold]
    fn make_room(&mut self, second: i64) -> usize {
        if self.steps.is_empty() {
            self.first = second >> self.shift;
        }
        while self.span_with(second >> self.shift) > wide(MAX_STEPS) {
            self.coarsen();
        }
        let number = second >> self.shift;
        if let Ok(missing) = usize::try_from(self.first - number) {
            self.steps.splice(..0, std::iter::repeat_n([0; N], missing));
            self.first = number;
        }
        let index = usize::try_from(number - self.first).unwrap_or(0);
        if index >= self.steps.len() {
            self.steps.resize(index + 1, [0; N]);
        }
        index
    }

    /// Returns how many steps there would be with this one.
    fn span_with(&self, number: i64) -> i64 {
        let last = self.first + wide(self.steps.len().max(1)) - 1;
        number.max(last) - number.min(self.first) + 1
    }

    /// Doubles the length of a step.
    fn coarsen(&mut self) {
        let old = std::mem::take(&mut self.steps);
        let first = self.first;
        self.first >>= 1;
        self.shift += 1;
        for (number, step) in (first..).zip(old) {
            let index = usize::try_from((number >> 1) - self.first).unwrap_or(0);
            if index >= self.steps.len() {
                self.steps.push([0; N]);
            }
            add_all(self.steps.get_mut(index), &step);
        }
    }
}

fn add_all<const N: usize>(sums: Option<&mut [i32; N]>, step: &[i32; N]) {
    for (sum, change) in sums.into_iter().flatten().zip(step) {
        *sum = sum.saturating_add(*change);
    }
}

fn wide(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_parts(second, 5)
    }

    /// The sums at the end of each step, with the second in which the step begins.
    fn sums(series: &Series<2>) -> Vec<(i64, [i64; 2])> {
        series.steps().map(|step| (step.start.0 / NANOS_PER_SEC, step.sums)).collect()
    }

    #[test]
    fn counts_go_up_and_down() {
        let mut series = Series::<2>::default();
        series.add(at(10), 0, 1);
        series.add(at(12), 0, 1);
        series.add(at(12), 1, 1);
        series.add(at(11), 0, -1);
        series.add(at(9), 1, 2);
        assert_eq!(sums(&series), [(9, [0, 2]), (10, [1, 2]), (11, [0, 2]), (12, [1, 3])]);
    }

    #[test]
    fn times_can_be_counted_from_the_first() {
        let mut series = Series::<2>::default();
        series.add(at(1000), 0, 1);
        series.add(at(1002), 0, 1);
        series.count_from(Timestamp::from_parts(1000, 999));
        assert_eq!(sums(&series), [(0, [1, 0]), (1, [1, 0]), (2, [2, 0])]);
    }

    #[test]
    fn a_long_span_is_kept_in_longer_steps() {
        let mut series = Series::<2>::default();
        series.add(at(1), 0, 1);
        series.add(at(200_000), 0, 1);
        assert_eq!(series.step_seconds(), 4);
        assert!(series.steps.len() <= MAX_STEPS);
        assert_eq!(series.steps().last().map(|step| step.sums), Some([2, 0]));
        series.add(Timestamp(i64::MIN), 1, 1);
        series.add(Timestamp(i64::MAX), 1, -1);
        assert!(series.steps.len() <= MAX_STEPS);
        assert_eq!(series.steps().last().map(|step| step.sums), Some([2, 0]));
    }

    #[test]
    fn any_division_of_the_changes_gives_the_same_series() {
        let changes: Vec<_> = (0..4000_i64).map(|n| (n * n * 7919 % 300_000, n % 2)).collect();
        let mut whole = Series::<2>::default();
        let mut parts = [Series::default(), Series::default(), Series::default()];
        for (index, &(second, column)) in changes.iter().enumerate() {
            let column = usize::try_from(column).unwrap();
            whole.add(at(second), column, 1);
            // The third part gets a narrow span, so that parts have steps of different lengths.
            let part = if second < 900 { 2 } else { index % 2 };
            parts[part].add(at(second), column, 1);
        }
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let mut merged = Series::default();
            for part in order {
                merged.merge(&parts[part]);
            }
            assert_eq!(merged, whole, "{order:?}");
        }
    }
}
