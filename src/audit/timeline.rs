//! When things went wrong: counts over the time of a capture, in a bounded number of intervals.
//!
//! Intervals are aligned to the calendar, not to the first frame, so that parts of a run that were
//! counted apart can be added. When the events span more intervals than are kept, intervals
//! are joined to longer ones; how long they become depends on the earliest and the latest event
//! alone, and not on the order in which events are counted.

use std::collections::BTreeMap;

use crate::time::Timestamp;

/// The most intervals that are kept.
pub const MAX_INTERVALS: i64 = 240;

/// How long an interval can be, in nanoseconds: each is a multiple of the one before, and all are
/// lengths that a person has a name for, from a millisecond to ten thousand days.
const LENGTHS_NS: [i64; 23] = {
    const MS: i64 = 1_000_000;
    const MIN: i64 = 60_000 * MS;
    const DAY: i64 = 1440 * MIN;
    [
        MS,
        2 * MS,
        10 * MS,
        20 * MS,
        100 * MS,
        200 * MS,
        1000 * MS,
        2000 * MS,
        10_000 * MS,
        20_000 * MS,
        MIN,
        2 * MIN,
        10 * MIN,
        30 * MIN,
        60 * MIN,
        120 * MIN,
        360 * MIN,
        720 * MIN,
        DAY,
        10 * DAY,
        100 * DAY,
        1000 * DAY,
        10_000 * DAY,
    ]
};

/// What happened in one interval.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Happened {
    /// INVALID packets.
    pub invalid: u64,
    /// Packets that sent something again.
    pub retransmitted: u64,
}

/// Counts of INVALID packets and retransmissions over the time of a capture.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Timeline {
    /// Position in [`LENGTHS_NS`].
    length: usize,
    /// By the number of the interval since 1970.
    intervals: BTreeMap<i64, Happened>,
}

impl Timeline {
    /// Counts an INVALID packet.
    #[cold]
    pub fn count_invalid(&mut self, ts: Timestamp) {
        self.add(ts, Happened { invalid: 1, retransmitted: 0 });
    }

    /// Counts a packet that sent something again.
    #[cold]
    pub fn count_retransmission(&mut self, ts: Timestamp) {
        self.add(ts, Happened { invalid: 0, retransmitted: 1 });
    }

    /// Adds the counts of another part of the run.
    pub fn merge(&mut self, part: &Self) {
        self.lengthen_to(part.length);
        for (start, happened) in part.iter() {
            self.add(start, happened);
        }
    }

    /// Returns how long each interval is, in nanoseconds.
    pub fn length_ns(&self) -> i64 {
        LENGTHS_NS.get(self.length).copied().unwrap_or(i64::MAX)
    }

    /// Returns the intervals in which something happened: where each begins, and what happened.
    pub fn iter(&self) -> impl Iterator<Item = (Timestamp, Happened)> {
        let length_ns = self.length_ns();
        let start = move |number: i64| Timestamp(number.saturating_mul(length_ns));
        self.intervals.iter().map(move |(number, happened)| (start(*number), *happened))
    }

    /// Returns whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    fn add(&mut self, ts: Timestamp, happened: Happened) {
        self.intervals.entry(ts.0.div_euclid(self.length_ns())).or_default().add(happened);
        while self.span() > MAX_INTERVALS && self.length + 1 < LENGTHS_NS.len() {
            self.lengthen_to(self.length + 1);
        }
    }

    /// Returns the intervals from the first in which something happened to the last.
    fn span(&self) -> i64 {
        let first = self.intervals.first_key_value().map_or(0, |(number, _)| *number);
        let last = self.intervals.last_key_value().map_or(-1, |(number, _)| *number);
        last.saturating_sub(first).saturating_add(1)
    }

    /// Joins intervals to longer ones, unless they are as long already.
    fn lengthen_to(&mut self, length: usize) {
        if length <= self.length {
            return;
        }
        let shorter_ns = self.length_ns();
        self.length = length;
        let times = self.length_ns() / shorter_ns;
        for (number, happened) in std::mem::take(&mut self.intervals) {
            self.intervals.entry(number.div_euclid(times)).or_default().add(happened);
        }
    }
}

impl Happened {
    const fn add(&mut self, other: Self) {
        self.invalid += other.invalid;
        self.retransmitted += other.retransmitted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times in no order, seconds to years apart.
    fn times() -> Vec<Timestamp> {
        let mut state = 7_u64;
        let mut times = Vec::new();
        for exponent in 0..58_u32 {
            for _ in 0..4 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let offset = (state >> 5).cast_signed() % (1 << exponent.max(1));
                times.push(Timestamp(1_700_000_000_000_000_000 + offset));
            }
        }
        times
    }

    fn counted(times: &[Timestamp]) -> Timeline {
        let mut timeline = Timeline::default();
        for ts in times {
            timeline.count_invalid(*ts);
        }
        timeline
    }

    #[test]
    fn each_length_is_a_multiple_of_the_one_before() {
        assert!(LENGTHS_NS.windows(2).all(|pair| pair[1] > pair[0] && pair[1] % pair[0] == 0));
    }

    #[test]
    fn the_order_of_counting_and_the_division_into_parts_make_no_difference() {
        let times = times();
        let whole = counted(&times);
        let mut backwards = times.clone();
        backwards.reverse();
        assert_eq!(counted(&backwards), whole);
        for cut in [0, 1, 100, times.len()] {
            let (mut head, tail) = (counted(&times[..cut]), counted(&times[cut..]));
            head.merge(&tail);
            assert_eq!(head, whole, "cut at {cut}");
        }
    }

    #[test]
    fn the_intervals_stay_within_their_bound_and_lose_no_event() {
        for span in [1, 1_000_000, 86_400_000_000_000, i64::MAX / 2] {
            let times: Vec<_> = (0..1000).map(|n| Timestamp(span / 1000 * n)).collect();
            let timeline = counted(&times);
            assert!(timeline.span() <= MAX_INTERVALS, "{span}");
            assert_eq!(timeline.iter().map(|(_, happened)| happened.invalid).sum::<u64>(), 1000);
        }
        assert_eq!(counted(&[Timestamp(i64::MIN), Timestamp(i64::MAX)]).iter().count(), 2);
    }

    #[test]
    fn an_interval_begins_at_or_before_its_events() {
        let mut timeline = Timeline::default();
        timeline.count_retransmission(Timestamp(-1));
        let (start, happened) = timeline.iter().next().unwrap();
        assert_eq!(start, Timestamp(-1_000_000));
        assert_eq!(happened, Happened { invalid: 0, retransmitted: 1 });
    }
}
