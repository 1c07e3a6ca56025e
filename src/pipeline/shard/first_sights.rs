//! The SYNs and SYN-ACKs of late, as first seen, so that a copy from a file whose clock is behind is
//! known however late it comes.
//!
//! Kept section by section, so that what is forgotten does not depend on the number of threads.
//!
//! Does not: decide what becomes of a copy.

use std::collections::{BTreeMap, VecDeque};

use crate::flow::{Mark, Sight, is_same_elsewhere};
use crate::pipeline::slice::Item;
use crate::segment::{Flags, Segment};
use crate::tuple::{FlowKey, Orientation, Vantage};

/// SYNs and SYN-ACKs of a section: with 1024 sections these are 64 Ki, and take 16 MB.
const EACH: usize = 64;

/// A SYN or SYN-ACK with its endpoints.
#[derive(Debug)]
struct Seen {
    key: FlowKey,
    orientation: Orientation,
    sight: Sight,
}

/// The SYNs and SYN-ACKs of late.
#[derive(Default, Debug)]
pub(super) struct FirstSights {
    sections: BTreeMap<usize, VecDeque<Seen>>,
}

impl FirstSights {
    /// Returns where else this SYN or SYN-ACK was seen first, and keeps it if it was not; at a place
    /// that is `left_out` the endpoints suffice for an answer, the last one counts.
    pub(super) fn find(&mut self, item: &Item, left_out: bool) -> Option<Sight> {
        let (packet, vantage) = (&item.packet, item.stamp.vantage());
        let segment = &packet.segment;
        if !segment.has(Flags::SYN) || segment.fault.is_some() {
            return None;
        }
        let seen = self.sections.entry(packet.key.section()).or_default();
        let is_of_flow =
            |seen: &&Seen| seen.key == packet.key && seen.orientation == packet.orientation;
        let is_it = |seen: &&Seen| is_it(seen, (segment, vantage), left_out);
        if let Some(found) = seen.iter().rev().filter(is_of_flow).find(is_it) {
            return Some(found.sight);
        }
        if seen.len() == EACH {
            seen.pop_front();
        }
        let mark = Mark { vantage, ttl: segment.ttl };
        let sight = Sight { frame: item.stamp.number, ts: item.stamp.ts, mark, segment: *segment };
        seen.push_back(Seen { key: packet.key, orientation: packet.orientation, sight });
        None
    }
}

fn is_it(seen: &Seen, (segment, vantage): (&Segment, Vantage), left_out: bool) -> bool {
    let first = &seen.sight.segment;
    let clock = |segment: &Segment| segment.options.timestamps.map(|ts| ts.value);
    let is_answer = first.has(Flags::ACK) && segment.has(Flags::ACK);
    let same_clock = clock(first).is_some() && clock(first) == clock(segment);
    let is_elsewhere = seen.sight.mark.vantage != vantage;
    is_elsewhere && (is_same_elsewhere(first, segment) || left_out && is_answer && same_clock)
}
