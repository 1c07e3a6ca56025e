//! By how much two clocks differ, by packets that both of them stamped.
//!
//! A SYN and its answer pass two places in opposite order. So half the sum of the two differences in
//! time is that of the clocks, and half their difference is what a packet takes between the places.
//! Medians count, so that few odd packets move nothing.

/// How the clock of one place stands to that of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClockDifference {
    /// By how much the clock of the second place is ahead, in nanoseconds.
    pub ahead_ns: i64,
    /// What a packet takes from one to the other, in nanoseconds; none where only one way was seen.
    pub passing_ns: Option<i64>,
    /// The connections that it rests on.
    pub flows: u64,
}

impl ClockDifference {
    /// Compares by connections: by how much later the second place has the SYN, and the SYN-ACK, in
    /// nanoseconds. Those of which both are known count alone, if there are any.
    pub fn of(samples: &[(Option<i64>, Option<i64>)]) -> Option<Self> {
        let whole = samples.iter().filter_map(|(syn, answer)| Some(((*syn)?, (*answer)?)));
        let whole: Vec<(i64, i64)> = whole.collect();
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        if whole.is_empty() {
            let any = samples.iter().filter_map(|(syn, answer)| syn.or(*answer)).collect();
            let flows = count(samples.len());
            return Some(Self { ahead_ns: median(any)?, passing_ns: None, flows });
        }
        let ahead = whole.iter().map(|(syn, answer)| i64::midpoint(*syn, *answer)).collect();
        let passing = whole.iter().map(|(syn, answer)| (syn.saturating_sub(*answer) / 2).abs());
        let passing_ns = median(passing.collect());
        Some(Self { ahead_ns: median(ahead)?, passing_ns, flows: count(whole.len()) })
    }

    /// Returns whether the clocks differ by more than the path between the places explains, and by
    /// at least so much.
    pub fn matters(&self, least_ns: i64) -> bool {
        self.ahead_ns.saturating_abs() > self.passing_ns.unwrap_or(0).max(least_ns)
    }
}

/// Returns the middle one of these.
pub fn median(mut values: Vec<i64>) -> Option<i64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_there_and_back_tells_clock_and_path_apart() {
        // 5 s ahead, 2 ms away.
        let found = ClockDifference::of(&[(Some(5_002_000_000), Some(4_998_000_000))]).unwrap();
        assert_eq!((found.ahead_ns, found.passing_ns), (5_000_000_000, Some(2_000_000)));
        assert!(found.matters(1_000_000) && !found.matters(6_000_000_000));
    }

    #[test]
    fn one_odd_connection_does_not_move_the_median() {
        let odd = (Some(90_000_000_000), Some(90_000_000_000));
        let usual = (Some(1_000), Some(3_000));
        assert_eq!(ClockDifference::of(&[usual, odd, usual]).unwrap().ahead_ns, 2_000);
        assert_eq!(ClockDifference::of(&[]), None);
    }
}
