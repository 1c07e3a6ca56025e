//! What is kept of a flow that a rule spoke of: counts by reason, and the first packets.
//!
//! Does not: judge packets, or find out what became of them.

use crate::conntrack::{CtState, Margins, Members, Reason, TcpState};
use crate::flow::{Effect, Observation};
use crate::segment::Flags;
use crate::seq::SeqNum;
use crate::time::Timestamp;
use crate::tuple::Orientation;

/// The key packets kept for one flow: the first ones that a rule spoke of.
pub const MAX_KEY_PACKETS: usize = 10;

/// A packet that a rule spoke of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct KeyPacket {
    /// Frame number, from 1.
    pub frame: u64,
    /// Capture time.
    pub ts: Timestamp,
    /// Which way it went between the endpoints of the key.
    pub orientation: Orientation,
    /// Sequence number of its first byte.
    pub seq: SeqNum,
    /// Acknowledgement number.
    pub ack: SeqNum,
    /// The highest SACK edge after the acknowledgement, if there is one.
    pub sack: Option<SeqNum>,
    /// Payload bytes.
    pub len: u32,
    /// Raw window field.
    pub win: u16,
    /// Flags.
    pub flags: Flags,
    /// What was said of it.
    pub ctstate: CtState,
    /// Why.
    pub reason: Reason,
    /// TCP state of the entry afterwards.
    pub state: Option<TcpState>,
    /// Distances to the bounds.
    pub margins: Option<Margins>,
    /// What `nf_conntrack_tcp_be_liberal` = 1 would have said.
    pub liberal: CtState,
    /// What became of it behind the capture point.
    pub effect: Effect,
}

/// Number of reasons, for counters.
const REASONS: usize = Reason::ALL.len();

/// What is kept of a flow that a rule spoke of; a clean flow has none.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Evidence {
    /// INVALID packets by reason, in the order of [`Reason::ALL`].
    pub invalid: [u64; REASONS],
    /// Packets that passed although a rule spoke of them, by reason.
    pub passed: [u64; REASONS],
    /// Packets INVALID even with `nf_conntrack_tcp_be_liberal` = 1.
    pub invalid_liberal: u64,
    /// The policies under which a packet of the flow is INVALID.
    pub hit_under: Members,
    /// The first packets that a rule spoke of, INVALID ones first in line for the places.
    pub key_packets: Vec<KeyPacket>,
}

impl Default for Evidence {
    fn default() -> Self {
        Self {
            invalid: [0; REASONS],
            passed: [0; REASONS],
            invalid_liberal: 0,
            hit_under: Members::default(),
            key_packets: Vec::new(),
        }
    }
}

impl Evidence {
    /// Returns the INVALID packets of the flow.
    pub fn invalid_packets(&self) -> u64 {
        self.invalid.iter().sum()
    }

    /// Returns the codes of the rules that made packets INVALID, with their counts.
    pub fn invalid_by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> {
        by_reason(&self.invalid)
    }

    /// Returns the codes of the rules that spoke of packets which passed, with their counts.
    pub fn passed_by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> {
        by_reason(&self.passed)
    }

    /// Returns the capture times of the key packets.
    pub fn times(&mut self) -> impl Iterator<Item = &mut Timestamp> {
        self.key_packets.iter_mut().map(|packet| &mut packet.ts)
    }

    pub(super) fn add(&mut self, observation: &Observation<'_>) {
        let verdict = &observation.verdict;
        self.hit_under = self.hit_under.or(observation.invalid_for);
        self.invalid_liberal += u64::from(observation.liberal == CtState::Invalid);
        let Some(reason) = verdict.reason else { return };
        let counts = if verdict.is_invalid() { &mut self.invalid } else { &mut self.passed };
        if let Some(count) = counts.get_mut(reason as usize) {
            *count += 1;
        }
        self.keep(KeyPacket::of(observation, reason));
    }

    pub(super) fn resolve(&mut self, frame: u64, effect: Effect) {
        if let Some(packet) = self.key_packets.iter_mut().find(|packet| packet.frame == frame) {
            packet.effect = effect;
        }
    }

    /// Keeps a key packet while there is room; an INVALID one takes the place of the last that
    /// passed.
    fn keep(&mut self, packet: KeyPacket) {
        if self.key_packets.len() < MAX_KEY_PACKETS {
            self.key_packets.push(packet);
        } else if packet.ctstate == CtState::Invalid
            && let Some(passed) =
                self.key_packets.iter().rposition(|kept| kept.ctstate != CtState::Invalid)
        {
            self.key_packets.remove(passed);
            self.key_packets.push(packet);
        }
    }
}

fn by_reason(counts: &[u64; REASONS]) -> impl Iterator<Item = (&'static str, u64)> {
    let codes = Reason::ALL.iter().map(|reason| reason.code());
    codes.zip(counts.iter().copied()).filter(|(_, count)| *count > 0)
}

impl KeyPacket {
    fn of(observation: &Observation<'_>, reason: Reason) -> Self {
        let segment = observation.arrival.segment;
        let sack = segment.sack();
        Self {
            frame: observation.frame,
            ts: observation.ts,
            orientation: observation.arrival.orientation,
            seq: segment.seq,
            ack: segment.ack,
            sack: (sack != segment.ack).then_some(sack),
            len: segment.len,
            win: segment.win,
            flags: segment.flags,
            ctstate: observation.verdict.ctstate,
            reason,
            state: observation.verdict.state,
            margins: observation.verdict.margins,
            liberal: observation.liberal,
            effect: Effect::Unknown,
        }
    }
}
