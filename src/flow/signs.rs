//! Signs of a fault on the path: what packets of a flow show beyond their numbers, such as a RST that
//! took another way than its host's packets, or a pause after which nobody answers.
//!
//! Kept apart from everything else and only where there is one.
//!
//! Does not: name causes.

use crate::flow::half::Tick;
use crate::seq::SeqNum;
use crate::tuple::{Orientation, PerOrientation};

/// How often something was seen.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Seen {
    /// Packets.
    pub packets: u32,
    /// The first frame; 0 where there is none.
    pub first_frame: u64,
}

impl Seen {
    pub(super) fn add(&mut self, frame: u64) {
        self.packets = self.packets.saturating_add(1);
        if self.first_frame == 0 {
            self.first_frame = frame;
        }
    }
}

/// RSTs that took another way than the packets of the host in whose name they came.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct ForeignResets {
    /// How often.
    pub seen: Seen,
    /// TTL or hop limit of the first.
    pub ttl: u8,
    /// TTL or hop limit of the packet before, from the same address.
    pub host_ttl: u8,
    /// Seconds that nothing had passed before the first.
    pub idle_s: u16,
}

/// Segments far below the highest number, and older than it by the clock or counter of their sender.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Stale {
    /// How often.
    pub seen: Seen,
    /// How far the first ended below the highest number, in bytes.
    pub behind: u32,
    /// RSTs that carry the acknowledgement number of one, within a second.
    pub drew_resets: Seen,
    /// The acknowledgement number of the last.
    pub(super) ack: SeqNum,
    pub(super) at: Tick,
}

/// Numbers that are ahead of everything captured by more than a gap.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Leap {
    /// How often.
    pub seen: Seen,
    /// How far the sequence number of the first was ahead, in bytes.
    pub seq_bytes: u32,
    /// How far its acknowledgement number was ahead, in bytes.
    pub ack_bytes: u32,
    /// Whether the first was a FIN or RST.
    pub closes: bool,
}

/// The signs in the packets of one side.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct SideSigns {
    /// RSTs in its name that took another way.
    pub foreign_resets: ForeignResets,
    /// Packets with which it went on after a RST in its name.
    pub after_reset: Seen,
    /// Segments far older than their neighbours.
    pub stale: Stale,
    /// Segments without the timestamp that both SYNs agreed upon.
    pub unstamped: Seen,
    /// Numbers far ahead of what was captured.
    pub leap: Leap,
}

/// A pause after which the flow did not go on.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Pause {
    /// The frame of the first packet that was sent again, or of the RST.
    pub frame: u64,
    /// How long nothing had passed, in seconds.
    pub seconds: u16,
    /// Whether the high endpoint of the key spoke first after it.
    pub(super) from_high: bool,
    /// How often that was sent again without any answer.
    pub repeats: u32,
    /// The RST that answered it.
    pub reset_frame: Option<u64>,
    /// Whether an answer came after all.
    pub answered: bool,
}

/// Another SYN-ACK for the same SYN, with another initial number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct SecondSynAck {
    /// Its frame.
    pub frame: u64,
    /// Its initial number relative to that of the first, in bytes.
    pub offset: i32,
    /// TTL or hop limit of the first.
    pub first_ttl: u8,
    /// Its own.
    pub ttl: u8,
}

/// A SYN that was answered by an acknowledgement of something else.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct ChallengedSyn {
    /// The frame of the answer.
    pub ack_frame: u64,
    /// The RST that answered the answer.
    pub reset_frame: Option<u64>,
    /// The SYN that came again.
    pub retry_frame: Option<u64>,
    pub(super) ack: SeqNum,
    pub(super) from_high: bool,
}

/// A SYN-ACK that something else sent than what spoke afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct StandIn {
    /// The frame of the first packet after the SYN-ACK.
    pub frame: u64,
    /// TTL or hop limit of the SYN-ACK.
    pub syn_ack_ttl: u8,
    /// TTL or hop limit of that packet.
    pub ttl: u8,
}

impl StandIn {
    /// Returns whether the SYN-ACK may have come from before the server: not, where it made more hops
    /// than what follows.
    pub const fn is_before_server(self) -> bool {
        first_ttl(self.syn_ack_ttl) != first_ttl(self.ttl) || self.syn_ack_ttl > self.ttl
    }
}

/// Returns the usual TTL with which a packet began that arrives with this one.
const fn first_ttl(ttl: u8) -> u8 {
    match ttl {
        0..=64 => 64,
        65..=128 => 128,
        129.. => u8::MAX,
    }
}

/// A SYN-ACK with a window of zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct ShutSynAck {
    /// Its frame.
    pub frame: u64,
    /// The frame that opened the window, the next one of the same side.
    pub opened: Option<u64>,
}

/// The signs of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Signs {
    /// Those in the packets of each side.
    pub(super) sides: PerOrientation<SideSigns>,
    /// A pause after which the flow did not go on.
    pub pause: Option<Pause>,
    /// Another SYN-ACK for the same SYN.
    pub second_syn_ack: Option<SecondSynAck>,
    /// A SYN that was answered by an acknowledgement of something else.
    pub challenged_syn: Option<ChallengedSyn>,
    /// A SYN-ACK that something else sent than what spoke afterwards.
    pub stand_in: Option<StandIn>,
    /// A SYN-ACK with a window of zero.
    pub shut_syn_ack: Option<ShutSynAck>,
}

impl Signs {
    /// Returns those of the side that sends this way.
    pub(super) const fn of(&mut self, orientation: Orientation) -> &mut SideSigns {
        match orientation {
            Orientation::LowToHigh => &mut self.sides.low_to_high,
            Orientation::HighToLow => &mut self.sides.high_to_low,
        }
    }
}
