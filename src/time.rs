//! Capture time: nanoseconds since 1970, from the capture and from nowhere else.
//!
//! Does not: read a clock.

use std::fmt;

/// Nanoseconds in a second.
pub const NANOS_PER_SEC: i64 = 1_000_000_000;

/// A point in time as the capture recorded it: nanoseconds since 1970-01-01T00:00:00Z.
///
/// The range is that of `i64`, 1677 to 2262; sources clamp what lies outside.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Debug,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Returns the time `seconds` and `nanos` after 1970, clamped to the range.
    #[inline]
    pub const fn from_parts(seconds: i64, nanos: i64) -> Self {
        Self(seconds.saturating_mul(NANOS_PER_SEC).saturating_add(nanos))
    }

    /// Returns the nanoseconds from `earlier` to this time; negative when this comes first.
    #[inline]
    pub const fn nanos_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the time `nanos` later.
    #[inline]
    pub const fn plus_nanos(self, nanos: i64) -> Self {
        // A branch that is never taken costs less than what it takes to do without.
        match self.0.checked_add(nanos) {
            Some(sum) => Self(sum),
            None => Self::beyond(nanos),
        }
    }

    /// Returns the end of the range that lies that way.
    #[cold]
    const fn beyond(nanos: i64) -> Self {
        Self(if nanos < 0 { i64::MIN } else { i64::MAX })
    }
}

impl fmt::Display for Timestamp {
    /// Writes RFC 3339 in UTC with nanoseconds: `2015-05-05T10:02:11.000123456Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.div_euclid(NANOS_PER_SEC);
        let nanos = self.0.rem_euclid(NANOS_PER_SEC);
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
    }
}

/// Turns days since 1970-01-01 into a proleptic Gregorian date.
///
/// Counts in 400-year eras that begin on 1 March of year 0, so that the leap day comes last.
const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + (month <= 2) as i64;
    (year, month, day)
}

/// The clock by which the tracker's timeouts run: capture time that never goes back.
///
/// Captures from several queues are slightly out of order, so a step back of up to
/// [`CaptureClock::TOLERANCE_NS`] stands still; a larger one (concatenated captures, a clock that
/// was set) is taken as a new origin from which time goes on. A kernel's own clock, which the
/// timeouts follow there, never goes back either.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct CaptureClock {
    now: Timestamp,
    /// What is added to capture time, in nanoseconds; grows with each large step back.
    shift_ns: i64,
}

impl Default for CaptureClock {
    /// Starts before every time, so that the first one sets it.
    fn default() -> Self {
        Self { now: Timestamp(i64::MIN), shift_ns: 0 }
    }
}

impl CaptureClock {
    /// The largest step back, in nanoseconds, that counts as disorder of the capture: 10 s.
    pub const TOLERANCE_NS: i64 = 10 * NANOS_PER_SEC;

    /// Moves the clock to a frame's capture time and returns the tracker's time.
    #[inline]
    pub const fn advance(&mut self, captured: Timestamp) -> Timestamp {
        if self.shift_ns == 0 && self.now.0 <= captured.0 {
            self.now = captured;
        } else {
            *self = self.after(captured);
        }
        self.now
    }

    /// Returns the clock moved to a frame's capture time. Stands alone, and takes the clock by its value,
    /// so that it stays in registers where time goes on.
    #[inline(never)]
    const fn after(self, captured: Timestamp) -> Self {
        let Self { now, shift_ns } = self;
        let time = captured.plus_nanos(shift_ns);
        if now.0 <= time.0 {
            return Self { now: time, shift_ns };
        }
        let behind_ns = now.nanos_since(time);
        let is_disorder = behind_ns <= Self::TOLERANCE_NS;
        let shift_ns = if is_disorder { shift_ns } else { shift_ns.saturating_add(behind_ns) };
        Self { now, shift_ns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates_are_written_as_rfc_3339() {
        let cases = [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (1_430_820_131_000_123_456, "2015-05-05T10:02:11.000123456Z"),
            (951_782_400 * NANOS_PER_SEC, "2000-02-29T00:00:00.000000000Z"),
            (4_107_542_400 * NANOS_PER_SEC, "2100-03-01T00:00:00.000000000Z"),
        ];
        for (nanos, text) in cases {
            assert_eq!(Timestamp(nanos).to_string(), text);
        }
    }

    #[test]
    fn a_small_step_back_stands_still_and_a_large_one_starts_anew() {
        let mut clock = CaptureClock::default();
        let second = |s: i64| Timestamp::from_parts(s, 0);
        assert_eq!(clock.advance(second(100)), second(100));
        assert_eq!(clock.advance(second(95)), second(100));
        assert_eq!(clock.advance(second(101)), second(101));
        assert_eq!(clock.advance(second(20)), second(101));
        assert_eq!(clock.advance(second(23)), second(104));
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        let mut clock = CaptureClock::default();
        clock.advance(Timestamp(i64::MAX));
        clock.advance(Timestamp(i64::MIN));
        clock.advance(Timestamp(i64::MAX));
        assert_eq!(Timestamp::from_parts(i64::MAX, 0), Timestamp(i64::MAX));
        assert!(!Timestamp(i64::MIN).to_string().is_empty());
    }
}
