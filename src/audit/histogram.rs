//! Distributions of times, mergeable over shards.

/// The longest time told apart, in microseconds: one hour. What is longer counts as this.
const LONGEST_US: u64 = 3_600_000_000;
/// Decimal digits that are kept: quantiles are within 0.1 %.
const DIGITS: u8 = 3;

/// The times of a distribution that lie in a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bin {
    /// The shortest time, in microseconds.
    pub from_us: u64,
    /// The shortest time that is too long.
    pub to_us: u64,
    /// How many times there are.
    pub count: u64,
}

/// Where bins begin: 0, and 1, 2 and 5 times each power of ten.
const BIN_STEPS: [u64; 3] = [1, 2, 5];

/// A distribution of times in microseconds. A time of 0 is one between equal time stamps: it was too
/// short to tell.
#[derive(Clone, PartialEq, Default, Debug, serde::Serialize, serde::Deserialize)]
#[serde(into = "Vec<(u64, u64)>", from = "Vec<(u64, u64)>")]
pub struct Histogram(Option<hdrhistogram::Histogram<u64>>);

impl From<Histogram> for Vec<(u64, u64)> {
    /// Lists the times that were told apart, and how often each came.
    fn from(histogram: Histogram) -> Self {
        let times = histogram.0.iter().flat_map(hdrhistogram::Histogram::iter_recorded);
        times.map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
    }
}

impl From<Vec<(u64, u64)>> for Histogram {
    fn from(times: Vec<(u64, u64)>) -> Self {
        let mut histogram = Self::default();
        for (micros, count) in times {
            if let Some(times) = histogram.times() {
                times.saturating_record_n(micros, count);
            }
        }
        histogram
    }
}

impl Histogram {
    /// Adds a time.
    pub fn record(&mut self, micros: u32) {
        if let Some(times) = self.times() {
            times.saturating_record(u64::from(micros));
        }
    }

    fn times(&mut self) -> Option<&mut hdrhistogram::Histogram<u64>> {
        if self.0.is_none() {
            // The bounds are constants that the crate accepts, which a test shows.
            self.0 = hdrhistogram::Histogram::new_with_bounds(1, LONGEST_US, DIGITS).ok();
        }
        self.0.as_mut()
    }

    /// Adds the times of another distribution.
    pub fn merge(&mut self, other: &Self) {
        match (&mut self.0, &other.0) {
            (_, None) => {}
            (None, Some(_)) => self.0.clone_from(&other.0),
            // Both have the same bounds, so that nothing of the other can be out of range.
            (Some(times), Some(others)) => times.add(others).unwrap_or_default(),
        }
    }

    /// Returns how many times there are.
    pub fn len(&self) -> u64 {
        self.0.as_ref().map_or(0, hdrhistogram::Histogram::len)
    }

    /// Returns how many times are at most so many microseconds.
    pub fn at_most(&self, micros: u64) -> u64 {
        self.0.as_ref().map_or(0, |times| times.count_between(0, micros))
    }

    /// Returns the sum of all times in microseconds, to 0.1 %.
    pub fn sum_us(&self) -> u64 {
        let Some(times) = &self.0 else { return 0 };
        times
            .iter_recorded()
            .fold(0, |sum, step| sum + step.value_iterated_to() * step.count_since_last_iteration())
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many times lie in each bin: bins begin at 0, and at 1, 2 and 5 times the powers
    /// of ten.
    pub fn bins(&self) -> Vec<Bin> {
        let powers = 0..10_u32;
        let steps = powers.flat_map(|power| BIN_STEPS.map(|step| step * 10_u64.pow(power)));
        let starts: Vec<_> = std::iter::once(0).chain(steps).collect();
        let ends = starts.iter().skip(1).copied();
        let bin = |(from_us, to_us)| Bin { from_us, to_us, count: 0 };
        let mut bins: Vec<_> = starts.iter().copied().zip(ends).map(bin).collect();
        for value in self.0.iter().flat_map(hdrhistogram::Histogram::iter_recorded) {
            let micros = value.value_iterated_to();
            let its_own = bins.iter_mut().find(|bin| bin.from_us <= micros && micros < bin.to_us);
            if let Some(bin) = its_own {
                bin.count += value.count_at_value();
            }
        }
        bins
    }

    /// Returns the time in microseconds below or at which this many of a thousand lie; none
    /// without times.
    pub fn quantile_us(&self, permille: u32) -> Option<u64> {
        let times = self.0.as_ref()?;
        Some(times.value_at_quantile(f64::from(permille) / 1000.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_close_and_merging_is_adding() {
        let (mut all, mut even, mut odd) =
            (Histogram::default(), Histogram::default(), Histogram::default());
        for micros in 1..=10_000 {
            all.record(micros);
            if micros % 2 == 0 { even.record(micros) } else { odd.record(micros) }
        }
        even.merge(&odd);
        assert_eq!(even, all);
        let median = all.quantile_us(500).unwrap();
        assert!((4995..=5005).contains(&median), "{median}");
        assert_eq!(Histogram::default().quantile_us(500), None);
    }

    #[test]
    fn what_is_written_and_read_again_answers_alike() {
        let mut times = Histogram::default();
        (0..5000_u32).for_each(|step| times.record(step * step));
        let again = Histogram::from(Vec::from(times.clone()));
        assert_eq!(
            (again.len(), again.sum_us(), again.bins()),
            (5000, times.sum_us(), times.bins())
        );
        for permille in [0, 1, 500, 950, 990, 999, 1000] {
            assert_eq!(again.quantile_us(permille), times.quantile_us(permille), "{permille}");
        }
        assert_eq!(Histogram::from(Vec::new()), Histogram::default());
    }

    #[test]
    fn every_time_is_in_one_bin() {
        let mut times = Histogram::default();
        for micros in [0, 1, 2, 4, 5, 999, 1000, 123_456, u32::MAX] {
            times.record(micros);
        }
        let bins = times.bins();
        assert_eq!(bins.iter().map(|bin| bin.count).sum::<u64>(), 9);
        assert_eq!(bins[0], Bin { from_us: 0, to_us: 1, count: 1 });
        assert_eq!(bins[2], Bin { from_us: 2, to_us: 5, count: 2 });
        assert!(bins.windows(2).all(|pair| pair[0].to_us == pair[1].from_us));
    }

    #[test]
    fn no_time_at_all_is_not_a_microsecond() {
        let mut times = Histogram::default();
        (0..3).for_each(|_| times.record(0));
        times.record(7);
        for times in [&times, &Histogram::from(Vec::from(times.clone()))] {
            let quantiles = [0, 500, 1000].map(|permille| times.quantile_us(permille));
            assert_eq!(quantiles, [Some(0), Some(0), Some(7)]);
            assert_eq!((times.at_most(0), times.sum_us(), times.len()), (3, 7, 4));
        }
    }

    #[test]
    fn times_beyond_the_bounds_count_at_the_bounds() {
        let mut times = Histogram::default();
        times.record(0);
        times.record(u32::MAX);
        assert_eq!(times.len(), 2);
    }
}
