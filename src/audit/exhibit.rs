//! What a report shows of its evidence beyond numbers: packets themselves, and flows in full.
//!
//! An audit keeps numbers only. Exhibits are gathered by reading the inputs a second time, for a few
//! flows and packets that the audit has found worth it.
//!
//! Does not: choose them, or read them.

use std::collections::BTreeSet;

use crate::flow::{FlowStory, Trace};
use crate::time::Timestamp;
use crate::tuple::{FlowKey, Share};

/// The packets shown at most.
pub const MAX_SHOWN_PACKETS: usize = 400;

/// What is to be gathered.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Wish {
    /// Flows to be shown in full.
    pub flows: Vec<WantedFlow>,
    /// Frames to be shown, by their numbers within the run; those beyond [`MAX_SHOWN_PACKETS`] are
    /// left out.
    pub frames: BTreeSet<u64>,
}

/// A flow to be shown in full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WantedFlow {
    /// The endpoints.
    pub key: FlowKey,
    /// Number of the first frame: the flow's id.
    pub first_frame: u64,
    /// The frame to look at closely.
    pub focus: Option<u64>,
    /// Tracker time of the last packet.
    pub last_seen: Timestamp,
}

impl WantedFlow {
    /// Returns whether this is the flow that was told.
    pub fn is(&self, told: &FlowStory) -> bool {
        self.first_frame == told.audit.first_frame && self.key == told.key
    }
}

impl Wish {
    /// Returns whether there is nothing to gather.
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty() && self.frames.is_empty()
    }
}

impl Exhibits {
    /// Returns that there is nothing to show, and why.
    pub fn without(why: &str) -> Self {
        Self { missing: Some(why.to_owned()), ..Self::default() }
    }
}

impl Wish {
    /// Returns what pieces of a capture hold that have the flows of one share.
    pub fn of_share(&self, share: Share) -> Self {
        let flows = self.flows.iter().filter(|flow| share.worker(&flow.key, 1).is_some());
        Self { flows: flows.copied().collect(), frames: self.frames.clone() }
    }
}

impl Exhibits {
    /// Puts together what was gathered for the shares of a wish.
    pub fn of_shares(wish: &Wish, shares: Vec<Self>) -> Self {
        let mut all = Self::default();
        for share in shares {
            all.flows.extend(share.flows);
            all.packets.extend(share.packets);
            all.missing = all.missing.or(share.missing);
        }
        let place = |shown: &ShownFlow| wish.flows.iter().position(|wanted| wanted.is(&shown.told));
        all.flows.sort_by_key(place);
        // Some frames are in the pieces of all shares.
        all.packets.sort_by_key(|packet| (packet.clock, packet.frame, packet.part));
        all.packets.dedup_by_key(|packet| (packet.frame, packet.part));
        all.packets.truncate(MAX_SHOWN_PACKETS);
        all
    }
}

/// A flow in full: what happened, and its packets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownFlow {
    /// The flow and what happened.
    pub told: FlowStory,
    /// Its packets.
    pub trace: Trace,
}

/// A packet without what it carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownPacket {
    /// Frame number within the run.
    pub frame: u64,
    /// The position of the packet among those of its frame, from 0.
    pub part: u16,
    /// Capture time.
    pub ts: Timestamp,
    /// Tracker time, by which the frames of several files are ordered.
    pub clock: Timestamp,
    /// Bytes from the IP header on that were on the wire.
    pub original_len: u32,
    /// The captured bytes from the IP header to the end of the TCP options.
    pub headers: Vec<u8>,
}

/// What was gathered.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Exhibits {
    /// The flows, in the order in which they were wished for.
    pub flows: Vec<ShownFlow>,
    /// The packets, in capture order.
    pub packets: Vec<ShownPacket>,
    /// Why something is missing, if something is.
    pub missing: Option<String>,
}
