//! Where the constant between two counts of sequence numbers moves, and by how many bytes: what a
//! device leaves behind that changes the length of payload.
//!
//! Does not: name a cause.

use crate::flow::half::Tick;
use crate::segment::{Flags, Segment};
use crate::seq::SeqNum;

/// Values that are kept of one way.
pub const MAX_STEPS: usize = 6;
/// Times in a row that a value must be seen.
const LEAST_IN_A_ROW: u32 = 2;
/// The most that an inspection engine adds to or takes from payload, in bytes.
const MOST: i32 = 1 << 12;
/// Packets that wait for their other sight.
const RECENT: usize = 32;
/// The time within which the other sight comes.
const PASSING_US: u32 = 100_000;

/// A value of the constant.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Plateau {
    /// The first frame that shows it.
    pub first_frame: u64,
    /// The value, in bytes.
    pub bytes: i32,
    /// How often it was seen.
    pub seen: u32,
}

/// The values of a constant that moves, in the order in which they came.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Steps {
    plateaus: [Plateau; MAX_STEPS],
    len: u8,
    /// A value that has not been seen often enough.
    candidate: Plateau,
}

impl Steps {
    /// Returns the values, each of which follows upon another one.
    pub fn plateaus(&self) -> &[Plateau] {
        self.plateaus.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Takes a value.
    pub(super) fn see(&mut self, frame: u64, bytes: i32) {
        let last = usize::from(self.len).checked_sub(1);
        if let Some(last) = last.and_then(|last| self.plateaus.get_mut(last))
            && last.bytes == bytes
        {
            last.seen = last.seen.saturating_add(1);
            self.candidate = Plateau::default();
            return;
        }
        if self.candidate.seen == 0 || self.candidate.bytes != bytes {
            self.candidate = Plateau { first_frame: frame, bytes, seen: 0 };
        }
        self.candidate.seen += 1;
        if self.candidate.seen < LEAST_IN_A_ROW {
            return;
        }
        if let Some(slot) = self.plateaus.get_mut(usize::from(self.len)) {
            *slot = std::mem::take(&mut self.candidate);
            self.len += 1;
        }
    }

    /// Takes by how much a SACK block reaches beyond everything sent, if that is little.
    pub(super) fn see_over(&mut self, frame: u64, over: i32) {
        if (1..MOST).contains(&over) {
            self.see(frame, over);
        }
    }
}

/// A packet that waits for its other sight.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
struct Waiting {
    ip_id: u16,
    tsval: Option<u32>,
    flags: Flags,
    seq: SeqNum,
    is_copy: bool,
    at: Tick,
}

/// The two sights of packets of one way, compared one by one.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Comparison {
    recent: Vec<Waiting>,
    next: usize,
    /// By how much numbers were higher elsewhere at first.
    first: Option<u32>,
    /// By how much more they were later.
    pub(super) steps: Steps,
}

impl Comparison {
    /// Takes a packet, which passed where the flow is judged, or is a copy.
    pub(super) fn see(&mut self, frame: u64, segment: &Segment, at: Tick, is_copy: bool) {
        if segment.ip_id == 0 || segment.has(Flags::SYN) || segment.has(Flags::RST) {
            return;
        }
        let tsval = segment.options.timestamps.map(|timestamps| timestamps.value);
        let Segment { ip_id, flags, seq, .. } = *segment;
        let packet = Waiting { ip_id, tsval, flags, seq, is_copy, at };
        let is_other_sight = |before: &Waiting| {
            let same = (before.ip_id, before.tsval, before.flags) == (ip_id, tsval, flags);
            same && before.is_copy != is_copy && at.since(before.at) < PASSING_US
        };
        let Some(found) = self.recent.iter().position(is_other_sight) else {
            self.remember(packet);
            return;
        };
        let before = self.recent.swap_remove(found);
        let (here, there) = if is_copy { (before.seq, seq) } else { (seq, before.seq) };
        let offset = there.0.wrapping_sub(here.0);
        let first = *self.first.get_or_insert(offset);
        let moved = offset.wrapping_sub(first).cast_signed();
        if moved.abs() < MOST {
            self.steps.see(frame, moved);
        }
    }

    /// Drops what is only needed while the flow goes on.
    pub(super) fn finish(&mut self) {
        self.recent = Vec::new();
    }

    fn remember(&mut self, packet: Waiting) {
        if self.recent.len() < RECENT {
            self.recent.push(packet);
            return;
        }
        self.next = (self.next + 1) % RECENT;
        if let Some(slot) = self.recent.get_mut(self.next) {
            *slot = packet;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_once_it_is_repeated() {
        let mut steps = Steps::default();
        for (frame, bytes) in [(1, 5), (2, 5), (3, 90), (4, 5), (5, 9), (6, 9), (7, 9), (8, 4)] {
            steps.see(frame, bytes);
        }
        let told: Vec<_> =
            steps.plateaus().iter().map(|it| (it.first_frame, it.bytes, it.seen)).collect();
        assert_eq!(told, [(1, 5, 3), (5, 9, 3)]);
    }

    #[test]
    fn two_sights_of_packets_tell_where_their_numbers_move() {
        let mut comparison = Comparison::default();
        let packet = |ip_id: u16, seq: u32| Segment {
            seq: SeqNum(seq),
            ip_id,
            flags: Flags::ACK,
            ..Segment::default()
        };
        let sights = [(1, 100, 1100), (2, 200, 1200), (3, 300, 1307), (4, 400, 1407)];
        for (ip_id, here, there) in sights {
            comparison.see(u64::from(ip_id), &packet(ip_id, there), Tick::default(), true);
            comparison.see(u64::from(ip_id), &packet(ip_id, here), Tick::default(), false);
        }
        let told: Vec<_> = comparison.steps.plateaus().iter().map(|it| it.bytes).collect();
        assert_eq!(told, [0, 7]);
    }
}
