//! The SYNs and SYN-ACKs of a run, the earliest of them: what stacks and paths show of themselves.
//!
//! Does not: compare them.

use crate::audit::Totals;
use crate::segment::Segment;
use crate::time::Timestamp;
use crate::tuple::{Endpoint, FlowKey, Orientation, Vantage};

/// The SYNs and SYN-ACKs that are kept, earliest first: 2 MB.
pub const MAX_OPENINGS: usize = 10_000;

/// A SYN or SYN-ACK where its flow is judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Opening {
    /// The frame.
    pub frame: u64,
    /// Capture time.
    pub ts: Timestamp,
    /// Tracker time, by which the frames of several files are ordered.
    pub clock: Timestamp,
    /// The flow, by its first frame.
    pub flow: u64,
    /// The endpoints.
    pub key: FlowKey,
    /// Which way it went.
    pub orientation: Orientation,
    /// Where it was captured.
    pub vantage: Vantage,
    /// The segment.
    pub segment: Segment,
}

impl Opening {
    /// Returns who sent it, and to whom.
    pub fn endpoints(&self) -> (Endpoint, Endpoint) {
        self.key.endpoints(self.orientation)
    }
}

/// The openings of one shard, or of several, bounded.
#[derive(Clone, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Openings {
    kept: Vec<Opening>,
}

impl Openings {
    /// Takes an opening; those of one shard come in the order of the tracker's time.
    pub fn push(&mut self, opening: Opening) {
        if self.kept.len() < MAX_OPENINGS {
            self.kept.push(opening);
        }
    }

    /// Returns whether there is no room for more.
    pub const fn is_full(&self) -> bool {
        self.kept.len() >= MAX_OPENINGS
    }

    /// Adds the openings of another shard.
    pub fn merge(&mut self, part: Self) {
        self.kept.extend(part.kept);
        self.kept.sort_by_key(|opening| (opening.clock, opening.frame));
        self.kept.truncate(MAX_OPENINGS);
    }

    /// Returns them in order.
    pub fn finish(self) -> Vec<Opening> {
        self.kept
    }
}

impl Totals {
    /// Counts a SYN as a copy that was judged before the next sight of it came.
    pub fn count_judged_copy(&mut self) {
        self.new = self.new.saturating_sub(1);
        self.copies += 1;
    }

    /// Takes back that a packet opened an entry: the flow starts over, and the next one opens another.
    pub fn count_judged_again(&mut self) {
        self.new = self.new.saturating_sub(1);
    }
}
