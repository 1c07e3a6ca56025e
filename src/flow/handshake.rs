//! Trouble with the handshake.
//!
//! Does not: know data or windows.

use crate::flow::half::Tick;
use crate::seq::SeqNum;

/// The retries of a SYN whose times are kept: a Linux host gives up after six.
pub const MAX_RETRIES: usize = 8;

/// A SYN or RST that the other side may answer with a challenge ACK (RFC 5961).
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Challenge {
    /// Whether the high endpoint of the key sent it.
    pub(super) from_high: bool,
    /// What a usual answer would acknowledge.
    pub(super) end: SeqNum,
}

/// What went wrong in the handshake of a flow.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Handshake {
    /// When SYNs were sent again, in microseconds after the first packet of the flow.
    pub syn_retries_us: Vec<u32>,
    /// SYNs sent again whose times found no room.
    pub syn_retries_not_kept: u32,
    /// SYN-ACKs that the originator answered with a RST.
    pub syn_acks_reset: u32,
    /// ACKs that challenge a SYN or a RST.
    pub challenge_acks: u32,
    /// SYN-ACKs with another initial number than the first.
    pub other_syn_acks: u32,
    /// SYNs or SYN-ACKs whose options are not those of the first.
    pub options_changed: u32,
    /// The same packet seen twice with different options: something between rewrote them.
    pub options_rewritten: u32,
    pub(super) challenge: Option<Challenge>,
    /// The number after another SYN-ACK, which the originator may choose to acknowledge.
    pub(super) other_end: Option<SeqNum>,
}

impl Handshake {
    /// Returns whether anything is to be told.
    pub fn is_troubled(&self) -> bool {
        let counts = [
            self.syn_acks_reset,
            self.challenge_acks,
            self.other_syn_acks,
            self.options_changed,
            self.options_rewritten,
        ];
        !self.syn_retries_us.is_empty() || counts.iter().any(|count| *count > 0)
    }

    pub(super) fn retried(&mut self, now: Tick, first: Tick) {
        if self.syn_retries_us.len() < MAX_RETRIES {
            self.syn_retries_us.push(now.since(first));
        } else {
            self.syn_retries_not_kept += 1;
        }
    }
}
