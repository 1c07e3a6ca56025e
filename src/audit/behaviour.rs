//! What the ends of all flows did: counts and distributions over a run.

use std::collections::BTreeMap;

use crate::audit::Histogram;
use crate::flow::{
    ConnState, EffectCounts, Gist, KindCounts, Proofs, Repeated, SideGist, SideSummary, Summary,
};

/// Flows in which something was seen at least once.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct FlowsWith {
    /// Something was sent again.
    pub retransmissions: u64,
    /// A window was zero.
    pub zero_window: u64,
    /// A window was filled.
    pub full_window: u64,
    /// A window shrank.
    pub shrunk_window: u64,
    /// Data went beyond every window offered.
    pub overrun: u64,
    /// A shift count above 14 was offered.
    pub scale_out_of_range: u64,
    /// The windows are scaled by more than the handshake shows.
    pub hidden_scaling: u64,
    /// A sender does not know that windows are scaled.
    pub blind_sender: u64,
    /// SACK blocks lie outside what was sent.
    pub sack_outside: u64,
    /// Nothing passed for a while although something was due.
    pub stalls: u64,
    /// A SYN had no answer.
    pub unanswered_syn: u64,
    /// The handshake had trouble.
    pub handshake_trouble: u64,
    /// Bytes were acknowledged that were never seen.
    pub missed_bytes: u64,
    /// Packets are larger than segments can be.
    pub superpackets: u64,
}

/// Totals of what the ends did.
#[derive(Clone, PartialEq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Behaviour {
    /// Packets below the highest number, by kind.
    pub kinds: KindCounts,
    /// Proofs that something had been sent again without need.
    pub proofs: Proofs,
    /// Flows by what was seen in them.
    pub flows: FlowsWith,
    /// Flows by how they ended.
    pub conn_states: BTreeMap<ConnState, u64>,
    /// What became of INVALID packets.
    pub effects: EffectCounts,
    /// Bytes acknowledged and never seen.
    pub missed_bytes: u64,
    /// Bytes acknowledged before the first segment of their side was seen.
    pub acked_before: u64,
    /// Data captured after its acknowledgement.
    pub data_after_ack: u64,
    /// Holes given up because a flow had too many.
    pub holes_forgotten: u64,
    /// The longest stall, in microseconds.
    pub longest_stall_us: u32,
    /// The least time the originator's side took to answer, a flow each.
    pub rtt_near: Histogram,
    /// The least time the responder's side took to answer, a flow each.
    pub rtt_far: Histogram,
    /// The time from SYN to the acknowledgement of the SYN-ACK, a flow each.
    pub rtt_handshake: Histogram,
    /// How long data had made no progress when it was sent again, a packet each.
    pub retransmission_delay: Histogram,
}

impl Behaviour {
    /// Counts a packet that sent something again.
    pub fn count_repeated(&mut self, repeated: Repeated) {
        self.retransmission_delay.record(repeated.idle_us);
    }

    /// Counts a finished flow of which there is no more to say.
    pub fn count_gist(&mut self, gist: &Gist) {
        let sides = [&gist.sides.original, &gist.sides.reply];
        let any = |holds: fn(&SideGist) -> bool| u64::from(sides.iter().any(|side| holds(side)));
        *self.conn_states.entry(gist.conn_state).or_default() += 1;
        self.missed_bytes += gist.sides.original.missed_bytes + gist.sides.reply.missed_bytes;
        self.flows.scale_out_of_range += any(SideGist::offers_too_much);
        self.flows.missed_bytes += any(|side| side.missed_bytes > 0);
        self.flows.superpackets += any(|side| side.sends_superpackets);
        self.flows.unanswered_syn += u64::from(gist.conn_state == ConnState::S0);
        if let Some(far) = gist.sides.original.rtt_min_us {
            self.rtt_far.record(far);
        }
        if let Some(near) = gist.sides.reply.rtt_min_us {
            self.rtt_near.record(near);
        }
        if let Some((far, near)) = gist.handshake_us() {
            self.rtt_handshake.record(far.saturating_add(near));
        }
    }

    /// Counts a finished flow.
    pub fn count_flow(&mut self, summary: &Summary) {
        self.count_gist(&summary.gist());
        let sides = [&summary.sides.original, &summary.sides.reply];
        let any = |holds: fn(&SideSummary) -> bool| u64::from(sides.iter().any(|side| holds(side)));
        self.effects.merge(&summary.effects);
        for side in sides {
            if !side.kinds.is_empty() {
                self.kinds.merge(&side.counts());
            }
            self.acked_before += u64::from(side.acked_before);
            self.proofs.merge(&side.proofs);
            self.holes_forgotten += u64::from(side.holes_forgotten);
            self.data_after_ack += u64::from(side.data_after_ack);
        }
        if let Some(stall) = summary.stall {
            self.longest_stall_us = self.longest_stall_us.max(stall.micros);
        }
        self.flows.merge(&FlowsWith {
            retransmissions: any(|side| side.retransmitted.packets > 0),
            zero_window: any(|side| side.window.zero > 0),
            full_window: any(|side| side.window.full > 0),
            shrunk_window: any(|side| side.window.shrunk > 0),
            overrun: any(|side| side.window.overrun > 0),
            hidden_scaling: any(|side| side.hidden_shift.is_some()),
            blind_sender: any(|side| side.peer_is_blind),
            sack_outside: any(|side| side.sack.beyond + side.sack.below > 0),
            stalls: u64::from(summary.stalls > 0),
            handshake_trouble: u64::from(summary.handshake.is_troubled()),
            ..FlowsWith::default()
        });
    }

    /// Adds the totals of another shard.
    pub fn merge(&mut self, part: &Self) {
        self.kinds.merge(&part.kinds);
        self.proofs.merge(&part.proofs);
        self.flows.merge(&part.flows);
        for (state, count) in &part.conn_states {
            *self.conn_states.entry(*state).or_default() += count;
        }
        self.effects.merge(&part.effects);
        self.missed_bytes += part.missed_bytes;
        self.acked_before += part.acked_before;
        self.holes_forgotten += part.holes_forgotten;
        self.data_after_ack += part.data_after_ack;
        self.longest_stall_us = self.longest_stall_us.max(part.longest_stall_us);
        for (mine, theirs) in [
            (&mut self.rtt_near, &part.rtt_near),
            (&mut self.rtt_far, &part.rtt_far),
            (&mut self.rtt_handshake, &part.rtt_handshake),
            (&mut self.retransmission_delay, &part.retransmission_delay),
        ] {
            mine.merge(theirs);
        }
    }
}

impl FlowsWith {
    /// Returns each count with its code, in a fixed order.
    pub const fn list(&self) -> [(&'static str, u64); 14] {
        [
            ("retransmissions", self.retransmissions),
            ("stalls", self.stalls),
            ("zero_window", self.zero_window),
            ("full_window", self.full_window),
            ("shrunk_window", self.shrunk_window),
            ("overrun", self.overrun),
            ("scale_out_of_range", self.scale_out_of_range),
            ("hidden_scaling", self.hidden_scaling),
            ("blind_sender", self.blind_sender),
            ("sack_outside", self.sack_outside),
            ("unanswered_syn", self.unanswered_syn),
            ("handshake_trouble", self.handshake_trouble),
            ("missed_bytes", self.missed_bytes),
            ("superpackets", self.superpackets),
        ]
    }

    const fn merge(&mut self, other: &Self) {
        self.retransmissions += other.retransmissions;
        self.zero_window += other.zero_window;
        self.full_window += other.full_window;
        self.shrunk_window += other.shrunk_window;
        self.overrun += other.overrun;
        self.scale_out_of_range += other.scale_out_of_range;
        self.hidden_scaling += other.hidden_scaling;
        self.blind_sender += other.blind_sender;
        self.sack_outside += other.sack_outside;
        self.stalls += other.stalls;
        self.unanswered_syn += other.unanswered_syn;
        self.handshake_trouble += other.handshake_trouble;
        self.missed_bytes += other.missed_bytes;
        self.superpackets += other.superpackets;
    }
}
