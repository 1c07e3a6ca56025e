//! What became of the frames of a run.
//!
//! Does not: know flows.

use std::collections::BTreeMap;

use crate::wire::Undecodable;

/// What became of the frames of a run; every frame is in exactly one of the first counts.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Tally {
    /// TCP segments that were judged.
    pub segments: u64,
    /// ICMP errors about TCP that were judged.
    pub tcp_errors: u64,
    /// IP datagrams of other protocols, by protocol number.
    pub other: BTreeMap<u8, u64>,
    /// Fragments that wait for the rest of their datagram, or waited for one that came.
    pub fragments: u64,
    /// Frames that gave nothing to judge, by reason.
    pub undecodable: BTreeMap<Undecodable, u64>,
    /// Packets, counted above too, behind the first of their frame.
    pub further_packets: u64,
    /// Frames, counted above too, whose checksums would have been judged if the capturing host had
    /// not sent them.
    pub excused_checksums: u64,
    /// What a sample of the TCP checksums showed, whether they are judged or not.
    pub checksums: ChecksumSample,
}

/// The TCP checksums of some frames: the first ones, and some of all that follow.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct ChecksumSample {
    /// Segments captured whole whose checksums were looked at.
    pub looked_at: u64,
    /// Checksums that the network card of the capturing host was still to fill in.
    pub unfinished: u64,
    /// Wrong ones.
    pub wrong: u64,
}

impl Tally {
    /// Returns the number of all frames counted.
    pub fn frames(&self) -> u64 {
        self.segments
            + self.tcp_errors
            + self.fragments
            + self.other.values().sum::<u64>()
            + self.undecodable.values().sum::<u64>()
            - self.further_packets
    }

    /// Counts fragments as undecodable whose datagram never became complete.
    pub fn give_up_fragments(&mut self, incomplete: u64) {
        if incomplete > 0 {
            self.fragments = self.fragments.saturating_sub(incomplete);
            *self.undecodable.entry(Undecodable::IncompleteDatagram).or_default() += incomplete;
        }
    }

    /// Adds the counts of another part of the run.
    pub fn merge(&mut self, part: &Self) {
        self.segments += part.segments;
        self.tcp_errors += part.tcp_errors;
        self.fragments += part.fragments;
        self.checksums.looked_at += part.checksums.looked_at;
        self.checksums.unfinished += part.checksums.unfinished;
        self.checksums.wrong += part.checksums.wrong;
        self.excused_checksums += part.excused_checksums;
        self.further_packets += part.further_packets;
        for (protocol, count) in &part.other {
            *self.other.entry(*protocol).or_default() += count;
        }
        for (reason, count) in &part.undecodable {
            *self.undecodable.entry(*reason).or_default() += count;
        }
    }
}
