//! The flows that causes look at: those with INVALID packets, and those whose ends behaved as under
//! a known fault.
//!
//! Does not: name a cause.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::audit::Audit;
use crate::conntrack::{CtState, Reason};
use crate::diagnose::MAX_EVIDENCE;
use crate::flow::{
    ConnState, Effect, Evidence, FlowAudit, KeyPacket, Kind, Offer, SideSummary, StallEnd, Summary,
};
use crate::segment::Direction;
use crate::tuple::{Endpoint, FlowKey};

/// Timeouts in a row, each twice the one before, that mere loss hardly explains.
const LEAST_BACKOFF: u32 = 3;
/// A stall that is more than one retransmission timeout, in microseconds.
const LONG_US: u32 = 1_000_000;

/// One flow with its facts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case<'a> {
    pub(super) key: &'a FlowKey,
    pub(super) audit: &'a FlowAudit,
    pub(super) summary: &'a Summary,
    /// What a rule spoke of; none for a flow without an INVALID packet.
    pub(super) evidence: Option<&'a Evidence>,
}

/// Collects the flows, each once, by their first frames, but those whose twins are nearer to the
/// responder.
pub(super) fn cases<'a>(audit: &'a Audit, twins: &BTreeSet<u64>) -> Vec<Case<'a>> {
    let mut cases = BTreeMap::new();
    for flow in audit.suspects.iter().chain(&audit.troubled) {
        let (key, audit, summary) = (&flow.key, &flow.audit, &*flow.summary);
        cases.insert((audit.first_frame, key), Case { key, audit, summary, evidence: None });
    }
    for flow in &audit.findings {
        let (key, audit, summary) = (&flow.key, &flow.audit, &*flow.summary);
        let evidence = Some(&flow.evidence);
        cases.insert((audit.first_frame, key), Case { key, audit, summary, evidence });
    }
    cases.retain(|(flow, _), _| !twins.contains(flow));
    cases.into_values().collect()
}

impl<'a> Case<'a> {
    /// Returns each side with its direction.
    pub(super) fn sides(&self) -> impl Iterator<Item = (Direction, &'a SideSummary)> {
        let sides = &self.summary.sides;
        Direction::BOTH.into_iter().map(move |direction| (direction, &sides[direction]))
    }

    /// Returns the address of the side that sends in this direction.
    pub(super) fn address(&self, direction: Direction) -> IpAddr {
        let (original, reply) = self.key.endpoints(self.audit.original);
        match direction {
            Direction::Original => original.addr,
            Direction::Reply => reply.addr,
        }
    }

    /// Returns the address and port that the connection was opened to.
    pub(super) fn server(&self) -> Endpoint {
        self.key.endpoints(self.audit.original).1
    }

    /// Returns the INVALID packets for one of these reasons.
    pub(super) fn invalid(&self, reasons: &[Reason]) -> u64 {
        let count = |evidence: &Evidence| {
            let by_reason =
                reasons.iter().filter_map(|reason| evidence.invalid.get(*reason as usize).copied());
            by_reason.sum()
        };
        self.evidence.map_or(0, count)
    }

    /// Returns all INVALID packets.
    pub(super) fn all_invalid(&self) -> u64 {
        self.evidence.map_or(0, Evidence::invalid_packets)
    }

    /// Returns whether nothing is INVALID but what a tracker says of a connection that it meets in the
    /// middle, and the capture does not hold the beginning.
    pub(super) fn misses_only_its_beginning(&self) -> bool {
        let no_syn = self.summary.sides[Direction::Original].offer == Offer::NotSeen;
        no_syn && self.invalid(&[Reason::InvalidNew]) == self.all_invalid()
    }

    /// Returns whether packets were seen both ways.
    pub(super) fn is_two_way(&self) -> bool {
        let directions = self.audit.directions();
        directions.original.packets > 0 && directions.reply.packets > 0
    }

    /// Returns whether one direction is missing, and the other one is there from its SYN or SYN-ACK on.
    pub(super) fn lacks_one_direction(&self) -> bool {
        let directions = self.audit.directions();
        let opens = directions.original.syn_seen || directions.reply.syn_seen;
        opens && !self.is_two_way()
    }

    /// Returns whether a later packet proves that an INVALID one was dropped behind the capture
    /// point, or that its acknowledgement was not accepted.
    pub(super) const fn drop_is_proven(&self) -> bool {
        self.summary.effects.dropped > 0
    }

    /// Returns whether an end went on to the last as if what it waits for had never come: it sent the
    /// same again with growing pauses, or again what had long been acknowledged here.
    pub(super) fn repeats_unheard(&self) -> bool {
        let backs_off = self.sides().any(|(_, side)| {
            let answers = side.packets(Kind::SynAck);
            side.longest_backoff >= LEAST_BACKOFF || answers >= u64::from(LEAST_BACKOFF)
        });
        let ignores = self.summary.stall.is_some_and(|stall| {
            let again = [Kind::Spurious, Kind::AckNotProcessed].map(StallEnd::Again);
            stall.micros >= LONG_US && again.contains(&stall.end)
        });
        let is_closed = self.summary.conn_state == ConnState::Sf;
        self.is_two_way() && !is_closed && (backs_off || ignores)
    }

    /// Returns the key packets that are INVALID for one of these reasons.
    pub(super) fn key_packets(&self, reasons: &'a [Reason]) -> impl Iterator<Item = &'a KeyPacket> {
        let packets = self.evidence.map_or(&[][..], |evidence| evidence.key_packets.as_slice());
        packets.iter().filter(move |packet| {
            packet.ctstate == CtState::Invalid && reasons.contains(&packet.reason)
        })
    }

    /// Returns frames that show packets INVALID for these reasons, those proven dropped first.
    pub(super) fn frames(&self, reasons: &'a [Reason]) -> Vec<u64> {
        let mut packets: Vec<_> = self.key_packets(reasons).collect();
        packets.sort_by_key(|packet| (packet.effect != Effect::Dropped, packet.frame));
        packets.into_iter().map(|packet| packet.frame).collect()
    }

    /// Returns whether bytes were acknowledged that the capture does not hold.
    pub(super) fn misses_frames(&self) -> bool {
        self.sides().any(|(_, side)| side.missed_bytes > 0 || side.acked_unseen > 0)
    }
}

/// Takes each of these flows once, which come in the order of their first frames.
pub(super) fn each_once<'a>(cases: impl Iterator<Item = &'a Case<'a>>) -> Vec<&'a Case<'a>> {
    let mut cases: Vec<_> = cases.collect();
    cases.dedup_by_key(|case| (case.audit.first_frame, case.key));
    cases
}

/// Counts cases.
pub(super) fn count(cases: &[&Case<'_>]) -> u64 {
    u64::try_from(cases.len()).unwrap_or(u64::MAX)
}

/// Chooses the first of these frames as evidence; 0 stands for none.
pub(super) fn first_frames(frames: impl Iterator<Item = u64>) -> Vec<u64> {
    let frames: BTreeSet<u64> = frames.filter(|frame| *frame > 0).collect();
    frames.into_iter().take(MAX_EVIDENCE).collect()
}

/// Collects evidence of several flows: a few frames of each, in the order of the capture.
pub(super) fn evidence(cases: &[&Case<'_>], reasons: &'static [Reason], most: usize) -> Vec<u64> {
    const EACH: usize = 3;
    let mut frames: Vec<_> = cases
        .iter()
        .flat_map(|case| case.frames(reasons).into_iter().take(EACH))
        .take(most)
        .collect();
    frames.sort_unstable();
    frames
}
