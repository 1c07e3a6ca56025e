//! A packet of a flow as it was captured at one place, with what is known of the flow there.
//!
//! Does not: compare packets.

use crate::flow::half::{Half, Tick};
use crate::segment::{Flags, Segment};
use crate::seq::SeqNum;
use crate::time::Timestamp;
use crate::tuple::{Orientation, Vantage};

/// The marks of the place where a packet was captured.
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
pub struct Mark {
    /// File and interface.
    pub vantage: Vantage,
    /// Time to live, or hop limit, of packets of this way there.
    pub ttl: u8,
}

/// A SYN or SYN-ACK as it was captured at one place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Sight {
    /// The frame.
    pub frame: u64,
    /// When, by the clock of that place.
    pub ts: Timestamp,
    /// Where.
    pub mark: Mark,
    /// The segment.
    pub segment: Segment,
}

/// How one way of a flow began where it is judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    /// The first sequence number.
    pub(super) first_seq: Option<SeqNum>,
    /// Where the first packet was captured.
    pub(super) vantage: Vantage,
    /// Whether nothing has been seen this way.
    pub(super) is_first: bool,
    /// Whether the flow has ended.
    pub(super) has_ended: bool,
}

impl Opened {
    /// Returns whether a SYN or SYN-ACK is the one that opened this way, at another place: the side
    /// has gone on since, and would not send it again.
    pub(super) fn is_seen_by(&self, glance: &Glance<'_>) -> bool {
        !self.is_first
            && glance.segment.has(Flags::SYN)
            && self.first_seq == Some(glance.segment.seq)
            && self.vantage != glance.vantage
            && glance.own.is(Half::SYN)
            && glance.own.has_spoken()
    }
}

/// A packet, with what is known of its flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glance<'a> {
    pub(super) frame: u64,
    pub(super) ts: Timestamp,
    pub(super) vantage: Vantage,
    pub(super) orientation: Orientation,
    /// Whether it goes the original way, as far as is known.
    pub(super) is_original: bool,
    pub(super) segment: &'a Segment,
    /// The sender, and the receiver.
    pub(super) own: &'a Half,
    pub(super) peer: &'a Half,
}

impl Glance<'_> {
    pub(super) const fn mark(&self) -> Mark {
        Mark { vantage: self.vantage, ttl: self.segment.ttl }
    }

    pub(super) const fn sight(&self) -> Sight {
        Sight { frame: self.frame, ts: self.ts, mark: self.mark(), segment: *self.segment }
    }

    pub(super) const fn now(&self) -> Tick {
        Tick::of(self.ts)
    }
}
