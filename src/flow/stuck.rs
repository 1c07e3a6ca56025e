//! Segments that were sent again and again and did not get through, by their sizes.
//!
//! A path that drops packets beyond a size shows in this: what is large is sent again until the
//! sender gives up, what is small arrives.
//!
//! Does not: name a cause.

/// Timeouts in a row of the same bytes from which on they count as stuck.
const LEAST_TIMEOUTS: u32 = 2;

/// What of one side did not get through; sizes are payload bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Stuck {
    /// Timeouts of segments that had timed out before.
    pub timeouts: u32,
    /// The smallest segment that timed out twice in a row or more; 0 when there is none.
    pub smallest: u32,
    /// The largest of them.
    pub largest: u32,
    /// The largest segment that got through when it was sent again; 0 when none did.
    pub got_through: u32,
    /// The largest stretch that arrived behind what did not, as SACK tells; 0 when none did.
    pub arrived_behind: u32,
    /// ICMP messages that say that a packet was too big for a hop.
    pub too_big: u32,
    /// The first frame that was sent in vain.
    pub first_frame: u64,
}

impl Stuck {
    /// Takes a timeout, the how manieth in a row, of a segment.
    pub(super) fn timed_out(&mut self, in_a_row: u32, len: u32, frame: u64) {
        if in_a_row < LEAST_TIMEOUTS || len == 0 {
            return;
        }
        if self.timeouts == 0 {
            self.first_frame = frame;
            self.smallest = len;
        }
        self.timeouts += 1;
        self.smallest = self.smallest.min(len);
        self.largest = self.largest.max(len);
    }

    /// Takes a stretch that arrived behind bytes that did not.
    pub(super) fn arrived_behind(&mut self, len: u32) {
        self.arrived_behind = self.arrived_behind.max(len);
    }

    /// Takes the acknowledgement of a segment that was sent again.
    pub(super) fn got_through(&mut self, len: u32) {
        self.got_through = self.got_through.max(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_stuck_from_its_second_timeout_on() {
        let mut stuck = Stuck::default();
        stuck.timed_out(1, 500, 7);
        assert_eq!(stuck, Stuck::default());
        stuck.timed_out(2, 1400, 8);
        stuck.timed_out(3, 1200, 9);
        let Stuck { timeouts, smallest, largest, first_frame, .. } = stuck;
        assert_eq!((timeouts, smallest, largest, first_frame), (2, 1200, 1400, 8));
    }
}
