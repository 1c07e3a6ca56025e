//! The time span of frames, appended run after run.
//!
//! Does not: know frames, or what a step back means.

use crate::time::Timestamp;

/// The time span of frames, and how often it stepped back.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Times {
    span: Option<Span>,
    pub(super) steps_back: u64,
    /// The longest step back, in nanoseconds.
    pub(super) longest_step_back: i64,
    /// The longest time without any frame, in nanoseconds.
    pub(super) longest_silence: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
struct Span {
    first: Timestamp,
    last: Timestamp,
    earliest: Timestamp,
    latest: Timestamp,
}

impl Times {
    #[inline]
    fn add(&mut self, ts: Timestamp) {
        let span = self.span.get_or_insert(Span { first: ts, last: ts, earliest: ts, latest: ts });
        let step = ts.nanos_since(span.last);
        span.last = ts;
        if step < 0 {
            self.steps_back += 1;
            self.longest_step_back = self.longest_step_back.max(step.saturating_neg());
            span.earliest = span.earliest.min(ts);
        } else {
            self.longest_silence = self.longest_silence.max(step);
            span.latest = span.latest.max(ts);
        }
    }

    /// Adds the times of frames in their order.
    pub(super) fn add_all(&mut self, mut times: impl Iterator<Item = Timestamp>) {
        let Some(first) = times.next() else { return };
        self.add(first);
        // Those of most frames follow one another: the span is looked at in the end.
        let (mut last, mut longest) = (first, 0);
        for ts in times {
            if ts < last {
                self.end_at(last);
                self.add(ts);
            } else {
                // Without a sign there is room for every step.
                longest = longest.max(ts.0.abs_diff(last.0));
            }
            last = ts;
        }
        let longest = i64::try_from(longest).unwrap_or(i64::MAX);
        self.longest_silence = self.longest_silence.max(longest);
        self.end_at(last);
    }

    /// Notes that the times went on to this one, without a step back.
    fn end_at(&mut self, last: Timestamp) {
        if let Some(span) = &mut self.span {
            span.last = last;
            span.latest = span.latest.max(last);
        }
    }

    /// Appends the times of the frames that follow.
    pub(super) fn merge(&mut self, next: &Self) {
        let Some(following) = next.span else { return };
        self.add(following.first);
        self.steps_back += next.steps_back;
        self.longest_step_back = self.longest_step_back.max(next.longest_step_back);
        self.longest_silence = self.longest_silence.max(next.longest_silence);
        if let Some(span) = &mut self.span {
            span.last = following.last;
            span.earliest = span.earliest.min(following.earliest);
            span.latest = span.latest.max(following.latest);
        }
    }

    /// Returns the times of the earliest and the latest frame.
    pub(super) fn range(&self) -> Option<(Timestamp, Timestamp)> {
        self.span.map(|span| (span.earliest, span.latest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_the_same_whether_added_one_by_one_or_in_runs() {
        let seconds = [5, 7, 6, 6, 9, 1, 8].map(|s| Timestamp::from_parts(s, 0));
        let mut whole = Times::default();
        for ts in seconds {
            whole.add(ts);
        }
        for cut in 0..seconds.len() {
            let (mut head, mut tail) = (Times::default(), Times::default());
            seconds[..cut].iter().for_each(|ts| head.add(*ts));
            seconds[cut..].iter().for_each(|ts| tail.add(*ts));
            head.merge(&tail);
            assert_eq!((head.steps_back, head.range()), (2, whole.range()), "cut at {cut}");
        }
    }
}
