//! Packets of several segments that were captured at one place, and of which nothing came to another
//! one before they were sent again: what a device between the two has kept.
//!
//! Whoever splits a joined packet sends its bytes on at once, whatever their packets look like then. So
//! not packets are compared but bytes; and since SACK and tail probes let later bytes overtake, each
//! stretch for itself.
//!
//! Does not: say why.

use crate::segment::Segment;
use crate::seq::SeqNum;

/// Joined packets that wait for their bytes to come to the other place: two places of one machine
/// are a packet apart, and no sender has more of the largest ones under way than 4 MiB.
const MAX_PENDING: usize = 64;

/// Joined packets that only one place has, and whose bytes were sent again before any of them came to
/// the other one.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Kept {
    /// How often.
    pub segments: u32,
    /// Payload bytes of the smallest.
    pub smallest: u32,
    /// Payload bytes of the largest.
    pub largest: u32,
    /// The frame of the first.
    pub first_frame: u64,
    /// Joined packets of which bytes did come to the other place at once.
    pub passed: u32,
}

/// A joined packet of which nothing has come to the other place yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
struct Pending {
    start: SeqNum,
    end: SeqNum,
    frame: u64,
    ip_id: u16,
    tsval: Option<u32>,
}

impl Pending {
    fn overlaps(&self, start: SeqNum, end: SeqNum) -> bool {
        self.start.is_before(end) && start.is_before(self.end)
    }

    /// Returns whether this segment left its sender at another time, as its counters tell.
    fn is_older_than(&self, segment: &Segment) -> bool {
        let tsval = segment.options.timestamps.map(|timestamps| timestamps.value);
        self.ip_id != segment.ip_id || self.tsval != tsval
    }
}

/// One way of a flow at the place where its packets come first, and at another one.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Race {
    /// Whether packets come elsewhere first, and then to the place that is judged.
    leads_elsewhere: Option<bool>,
    pending: Vec<Pending>,
    kept: Kept,
    /// Whether single segments came to the other place.
    has_passed: bool,
}

impl Race {
    /// Takes a segment with bytes, in numbers of the place that is judged; `mss` is the size of
    /// segments that its receiver accepts, as far as it said.
    pub(super) fn see(
        &mut self,
        frame: u64,
        segment: &Segment,
        (seq, mss): (SeqNum, Option<u16>),
        is_copy: bool,
    ) {
        let Some(mss) = mss.filter(|_| segment.len > 0) else { return };
        let (end, is_joined) = (seq.plus(segment.len), segment.len > u32::from(mss));
        if is_copy != *self.leads_elsewhere.get_or_insert(is_copy) {
            self.arrive((seq, end), is_joined);
            return;
        }
        let Self { pending, kept, .. } = self;
        pending.retain(|waiting| {
            let is_again = waiting.overlaps(seq, end) && waiting.is_older_than(segment);
            if is_again {
                kept.add(waiting);
            }
            !is_again
        });
        if is_joined && pending.len() < MAX_PENDING {
            let tsval = segment.options.timestamps.map(|timestamps| timestamps.value);
            pending.push(Pending { start: seq, end, frame, ip_id: segment.ip_id, tsval });
        }
    }

    /// Takes bytes at the place where they come last.
    fn arrive(&mut self, (start, end): (SeqNum, SeqNum), is_joined: bool) {
        let before = self.pending.len();
        self.pending.retain(|waiting| !waiting.overlaps(start, end));
        let came = u32::try_from(before - self.pending.len()).unwrap_or(u32::MAX);
        self.kept.passed = self.kept.passed.saturating_add(came);
        self.has_passed |= !is_joined;
    }

    /// Returns the joined packets that did not come to the other place, and those that did.
    pub(super) const fn kept(&self) -> Kept {
        self.kept
    }

    /// Returns whether single segments came to the other place.
    pub(super) const fn has_passed(&self) -> bool {
        self.has_passed
    }

    /// Drops what is only needed while the flow goes on.
    pub(super) fn finish(&mut self) {
        self.pending = Vec::new();
    }
}

impl Kept {
    fn add(&mut self, joined: &Pending) {
        let len = joined.end.0.wrapping_sub(joined.start.0);
        if self.segments == 0 {
            (self.smallest, self.first_frame) = (len, joined.frame);
        }
        self.segments = self.segments.saturating_add(1);
        self.smallest = self.smallest.min(len);
        self.largest = self.largest.max(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u16 = 1460;

    /// Packets at two places, the first nearer to the sender: identification, number, length, and
    /// whether it is there, or at the other place.
    fn race(packets: &[(u16, u32, u32, bool)]) -> Race {
        let mut race = Race::default();
        for (frame, (ip_id, seq, len, is_copy)) in (1..).zip(packets) {
            let segment = Segment { len: *len, ip_id: *ip_id, ..Segment::default() };
            race.see(frame, &segment, (SeqNum(*seq), Some(MSS)), *is_copy);
        }
        race
    }

    const FIRST: (u16, u32, u32, bool) = (1, 0, 100, true);

    #[test]
    fn a_joined_packet_is_kept_if_it_is_sent_again_before_any_of_it_came() {
        let race =
            race(&[FIRST, (2, 100, 4000, true), (3, 100, 1400, true), (3, 100, 1400, false)]);
        let Kept { segments, smallest, first_frame, passed, .. } = race.kept();
        assert_eq!((segments, smallest, first_frame, passed), (1, 4000, 2, 0));
        assert!(race.has_passed());
    }

    #[test]
    fn bytes_that_overtake_do_not_make_it_pass() {
        let tail = [(3, 4100, 1400, true), (3, 4100, 1400, false)];
        let again = [(4, 100, 2900, true), (5, 100, 1400, true)];
        let race = race(&[&[FIRST, (2, 100, 4000, true)][..], &tail, &again].concat());
        assert_eq!((race.kept().segments, race.kept().passed), (2, 0));
    }

    #[test]
    fn what_comes_split_has_passed() {
        let parts = [(2, 100, 1400, false), (3, 1500, 1400, false), (4, 2900, 1200, false)];
        let again = [(5, 1500, 1400, true), (5, 1500, 1400, false)];
        let race = race(&[&[FIRST, (2, 100, 4000, true)][..], &parts, &again].concat());
        assert_eq!((race.kept().segments, race.kept().passed), (0, 1));
    }

    #[test]
    fn a_third_sight_of_a_packet_is_not_sent_again() {
        let race = race(&[FIRST, (2, 100, 4000, true), (2, 100, 4000, true)]);
        assert_eq!(race.kept(), Kept::default());
    }
}
