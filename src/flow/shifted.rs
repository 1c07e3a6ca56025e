//! A device that changes sequence numbers between two places, on a flow whose SYN is not in the
//! capture: the same packets with the same length, clock and identification, and with numbers that
//! differ by one constant.
//!
//! Looked for only where the numbers of a flow jump to and fro.
//!
//! Does not: decide which place is judged.

use crate::flow::glance::{Glance, Mark};
use crate::flow::half::Tick;
use crate::segment::Flags;
use crate::seq::SeqNum;
use crate::tuple::PerOrientation;

/// Packets with the same difference in a row that make it a constant.
const LEAST_IN_A_ROW: u32 = 4;
/// Packets of one way that wait for their other sight.
const RECENT: usize = 32;
/// The time within which the other sight comes.
const PASSING_US: u32 = 100_000;

/// A packet that waits for its other sight.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
struct Named {
    ip_id: u16,
    tsval: Option<u32>,
    len: u32,
    flags: Flags,
    seq: SeqNum,
    mark: Mark,
    at: Tick,
}

/// A constant that has been found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Constant {
    /// A number at the place where packets of this way were seen first.
    pub(super) here: SeqNum,
    /// The marks of that place.
    pub(super) mark: Mark,
    /// By how much numbers are higher at the other place.
    pub(super) offset: u32,
}

impl Constant {
    /// Returns the same as seen from the place of the later sight.
    pub(super) const fn turned(&self, later: &Glance<'_>) -> Self {
        let offset = self.offset.wrapping_neg();
        Self { here: later.segment.seq, mark: later.mark(), offset }
    }
}

/// What was seen of one way.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
struct Way {
    recent: Vec<Named>,
    next: usize,
    offset: u32,
    in_a_row: u32,
}

/// The search for a constant.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Shifted {
    ways: PerOrientation<Way>,
}

impl Shifted {
    /// Compares a packet with those before; returns the constant once enough of them agree.
    pub(super) fn find(&mut self, glance: &Glance<'_>) -> Option<Constant> {
        let segment = glance.segment;
        if segment.ip_id == 0 || segment.has(Flags::RST) {
            return None;
        }
        let packet = Named {
            ip_id: segment.ip_id,
            tsval: segment.options.timestamps.map(|timestamps| timestamps.value),
            len: segment.len,
            flags: segment.flags,
            seq: segment.seq,
            mark: glance.mark(),
            at: glance.now(),
        };
        self.ways[glance.orientation].find(packet)
    }
}

impl Way {
    fn find(&mut self, packet: Named) -> Option<Constant> {
        let is_other_sight = |before: &Named| {
            let same_name = (before.ip_id, before.tsval) == (packet.ip_id, packet.tsval);
            let same_kind = (before.len, before.flags) == (packet.len, packet.flags);
            let soon = packet.at.since(before.at) < PASSING_US;
            same_name && same_kind && soon && before.seq != packet.seq
        };
        let Some(found) = self.recent.iter().position(is_other_sight) else {
            self.remember(packet);
            return None;
        };
        let before = self.recent.get(found).copied()?;
        let offset = packet.seq.0.wrapping_sub(before.seq.0);
        self.in_a_row = if offset == self.offset { self.in_a_row + 1 } else { 1 };
        self.offset = offset;
        let is_constant = self.in_a_row >= LEAST_IN_A_ROW;
        is_constant.then_some(Constant { here: before.seq, mark: before.mark, offset })
    }

    fn remember(&mut self, packet: Named) {
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
