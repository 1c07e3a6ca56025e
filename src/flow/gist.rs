//! The part of a [`Summary`] that every flow has: all there is to say of a clean one.
//!
//! Does not: know anything that is kept of a flow beside its numbers.

use crate::flow::detail::Side;
use crate::flow::half::{Half, Offer};
use crate::flow::history::{ConnState, Letter};
use crate::flow::scaling::MAX_SHIFT;
use crate::flow::way::OneWay;
use crate::flow::{FlowAudit, SideSummary, Summary};
use crate::segment::PerDirection;

/// Payload bytes of the largest packet that Ethernet carries, jumbo frames included.
const LARGEST_PAYLOAD: u16 = 9_000;

/// Bytes above the highest seen that an acknowledgement may cover and still tell of missed frames.
const MAX_MISSED: u32 = 1 << 26;

/// What one side of a flow did, in short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SideGist {
    /// What its SYN said of window scaling.
    pub offer: Offer,
    /// Whether its SYN permitted SACK.
    pub sack_permitted: bool,
    /// Whether a packet is larger than the other side accepts segments.
    pub sends_superpackets: bool,
    /// Bytes of this side that were acknowledged and never seen.
    pub missed_bytes: u64,
    /// The shortest time the other side took to answer, in microseconds.
    pub rtt_min_us: Option<u32>,
    /// The same for the SYN or SYN-ACK.
    pub rtt_handshake_us: Option<u32>,
}

/// What the two ends of a flow did, in short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gist {
    /// How the flow ended.
    pub conn_state: ConnState,
    /// What each side did.
    pub sides: PerDirection<SideGist>,
}

impl FlowAudit {
    /// Returns what there is to say of a flow of which nothing is kept beside its numbers; none where
    /// more is, which [`FlowAudit::summary`] tells.
    #[inline]
    pub fn gist(&self) -> Option<Gist> {
        if self.exchange.detail.is_some() || self.evidence.is_some() {
            return None;
        }
        let (way, back) = (self.original, self.original.flip());
        let halves = &self.exchange.halves;
        let (original, reply) = (&halves[way], &halves[back]);
        let ways = self.directions();
        let gist = Gist {
            conn_state: ConnState::of(original.marks, reply.marks),
            sides: PerDirection {
                original: SideGist::of((original, reply), None, &ways.original),
                reply: SideGist::of((reply, original), None, &ways.reply),
            },
        };
        debug_assert!(self.summary().says_only(&gist), "{gist:?} of {self:?}");
        Some(gist)
    }
}

impl SideGist {
    #[inline]
    pub(super) fn of((own, peer): (&Half, &Half), kept: Option<&Side>, way: &OneWay) -> Self {
        let is_larger = peer.is(Half::MSS) && way.largest > peer.mss;
        Self {
            offer: own.offer(),
            sack_permitted: own.is(Half::SACK),
            sends_superpackets: is_larger || way.largest > LARGEST_PAYLOAD,
            missed_bytes: missed(own, peer, kept),
            rtt_min_us: own.min_rtt(),
            rtt_handshake_us: way.handshake_us,
        }
    }

    /// Returns whether its SYN offered a shift count above 14.
    pub const fn offers_too_much(&self) -> bool {
        matches!(self.offer, Offer::Shift(shift) if shift > MAX_SHIFT)
    }
}

impl Gist {
    /// Returns the time of the handshake as seen from the capture point: answer to the SYN, and
    /// answer to the SYN-ACK, in microseconds.
    pub const fn handshake_us(&self) -> Option<(u32, u32)> {
        match (self.sides.original.rtt_handshake_us, self.sides.reply.rtt_handshake_us) {
            (Some(far), Some(near)) => Some((far, near)),
            _ => None,
        }
    }
}

impl Summary {
    /// Returns the part that every flow has.
    pub fn gist(&self) -> Gist {
        let side = |side: &SideSummary| SideGist {
            offer: side.offer,
            sack_permitted: side.sack_permitted,
            sends_superpackets: side.sends_superpackets,
            missed_bytes: side.missed_bytes,
            rtt_min_us: side.rtt_min_us,
            rtt_handshake_us: side.rtt_handshake_us,
        };
        let sides =
            PerDirection { original: side(&self.sides.original), reply: side(&self.sides.reply) };
        Gist { conn_state: self.conn_state, sides }
    }
}

/// Returns the bytes of `own` that the other side acknowledged although they were never seen.
#[inline]
fn missed(own: &Half, peer: &Half, kept: Option<&Side>) -> u64 {
    if !own.is(Half::SEQ) || !peer.is(Half::ACK) {
        return 0;
    }
    let tail = u32::try_from(peer.ack.offset_from(own.max_end)).unwrap_or(0);
    let is_fin = own.marks & Letter::Fin.mark() == 0 && peer.marks & Letter::Fin.mark() != 0;
    // The last number acknowledged may be that of a FIN that was missed as well: no byte of data.
    let tail = if is_fin { tail.saturating_sub(1) } else { tail };
    let tail = if tail > MAX_MISSED { 0 } else { u64::from(tail) };
    kept.map_or(0, |side| side.missed_up_to(peer.ack)) + tail
}
