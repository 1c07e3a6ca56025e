//! When things went wrong: counts over the time of a capture, in a bounded number of intervals.
//!
//! Intervals are aligned to the calendar, not to the first frame, so that parts of a run that were
//! counted apart can be added. When the events span more intervals than are kept, intervals
//! are joined to longer ones; how long they become depends on the earliest and the latest event
//! alone, and not on the order in which events are counted.

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
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Happened {
    /// INVALID packets.
    pub invalid: u64,
    /// Packets that sent something again.
    pub retransmitted: u64,
}

/// Counts of INVALID packets and retransmissions over the time of a capture.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Timeline {
    /// Position in [`LENGTHS_NS`].
    length: usize,
    /// The number of the first interval, counted from 1970.
    first: i64,
    /// The intervals from the first in which something happened to the last.
    intervals: Vec<Happened>,
    /// The time from which times are told.
    origin: Timestamp,
}

/// A time line as it is read, which may be anything.
#[derive(serde::Deserialize)]
struct Written {
    length: usize,
    first: i64,
    intervals: Vec<Happened>,
    origin: Timestamp,
}

impl TryFrom<Written> for Timeline {
    type Error = &'static str;

    /// Takes what a time line can have come to.
    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Written { length, first, intervals, origin } = written;
        let is_possible = |length_ns: &i64| {
            let last = first.checked_add(MAX_INTERVALS);
            first.checked_mul(*length_ns).is_some()
                && last.is_some_and(|last| last.checked_mul(*length_ns).is_some())
        };
        // The longest intervals may reach to the ends of time.
        let is_longest = length == LENGTHS_NS.len() - 1 && first.unsigned_abs() < 1 << 16;
        let is_known = LENGTHS_NS.get(length).is_some_and(is_possible) || is_longest;
        if is_known && intervals.len() as u64 <= MAX_INTERVALS.unsigned_abs() {
            Ok(Self { length, first, intervals, origin })
        } else {
            Err("a time line that no run comes to")
        }
    }
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
        let origin = self.origin;
        let start = move |number: i64| {
            Timestamp(Timestamp(number.saturating_mul(length_ns)).nanos_since(origin))
        };
        let intervals = (self.first..).zip(&self.intervals);
        let told = intervals.filter(|(_, happened)| **happened != Happened::default());
        told.map(move |(number, happened)| (start(number), *happened))
    }

    /// Tells times from this one on, once everything is counted.
    pub const fn count_from(&mut self, origin: Timestamp) {
        self.origin = origin;
    }

    /// Returns whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    fn add(&mut self, ts: Timestamp, happened: Happened) {
        let place = self.place(ts);
        if place.is_none() {
            self.make_room(ts);
        }
        if let Some(interval) =
            place.or_else(|| self.place(ts)).and_then(|at| self.intervals.get_mut(at))
        {
            interval.add(happened);
        }
    }

    /// Returns the position of the interval that a time lies in, if it is there.
    fn place(&self, ts: Timestamp) -> Option<usize> {
        let place = ts.0.div_euclid(self.length_ns()).checked_sub(self.first)?;
        usize::try_from(place).ok().filter(|place| *place < self.intervals.len())
    }

    /// Makes an interval for a time, and intervals longer if there are too many.
    fn make_room(&mut self, ts: Timestamp) {
        loop {
            let number = ts.0.div_euclid(self.length_ns());
            if self.intervals.is_empty() {
                self.first = number;
            }
            let count = i64::try_from(self.intervals.len()).unwrap_or(i64::MAX);
            let first = self.first.min(number);
            let end = self.first.saturating_add(count).max(number.saturating_add(1));
            let is_longest = self.length + 1 == LENGTHS_NS.len();
            if end.saturating_sub(first) <= MAX_INTERVALS || is_longest {
                let before = usize::try_from(self.first - first).unwrap_or(0);
                let all = usize::try_from(end.saturating_sub(first)).unwrap_or(0);
                self.intervals.splice(0..0, std::iter::repeat_n(Happened::default(), before));
                self.intervals.resize(all, Happened::default());
                self.first = first;
                return;
            }
            self.lengthen_to(self.length + 1);
        }
    }

    /// Joins intervals to longer ones, unless they are as long already.
    fn lengthen_to(&mut self, length: usize) {
        if length <= self.length {
            return;
        }
        let shorter = std::mem::take(self);
        (self.length, self.origin) = (length, shorter.origin);
        for (start, happened) in shorter.iter() {
            self.add(start, happened);
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
            assert!(timeline.intervals.len() <= 240, "{span}");
            assert_eq!(timeline.iter().map(|(_, happened)| happened.invalid).sum::<u64>(), 1000);
        }
        assert_eq!(counted(&[Timestamp(i64::MIN), Timestamp(i64::MAX)]).iter().count(), 2);
    }

    #[test]
    fn what_no_run_comes_to_is_refused() {
        let read = |length, first, intervals| {
            let intervals = vec![Happened::default(); intervals];
            Timeline::try_from(Written { length, first, intervals, origin: Timestamp(0) })
        };
        assert!(read(0, 1_700_000_000_000, 240).is_ok());
        assert!(read(LENGTHS_NS.len() - 1, -11, 22).is_ok());
        for (length, first, intervals) in
            [(23, 0, 1), (usize::MAX, 0, 1), (0, i64::MAX, 1), (22, i64::MIN, 1), (5, 0, 241)]
        {
            assert!(read(length, first, intervals).is_err(), "{length} {first} {intervals}");
        }
        let times = times();
        let timeline = counted(&times);
        let Timeline { length, first, intervals, origin } = timeline.clone();
        assert_eq!(Timeline::try_from(Written { length, first, intervals, origin }), Ok(timeline));
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
