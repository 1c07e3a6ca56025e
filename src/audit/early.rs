//! Connections in which data is acknowledged far sooner than the SYN was answered, by server: somebody
//! nearer than the far end acknowledges.
//!
//! Does not: name a cause; a first packet that is slow, for a cache to be filled or a radio to wake
//! up, looks the same in one connection.

use crate::audit::Span;
use crate::flow::{FlowAudit, Gist, SideGist};
use crate::segment::Direction;

/// The shortest handshake that tells a far end from a near one, in microseconds.
const LEAST_FAR_US: u32 = 20_000;
/// How many times sooner the soonest answer has to come. The average tells less: an acknowledgement
/// without data is answered when the next data goes that way, which may be long after.
const SOONER: u32 = 4;

/// Connections of a server with early acknowledgements.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Early {
    /// The connections.
    pub flows: Span,
    /// The quickest and the slowest answer to their SYNs, or SYN-ACKs, in microseconds.
    pub handshake_us: (u32, u32),
    /// The quickest acknowledgement of data, in microseconds.
    pub soonest_us: u32,
}

impl Early {
    /// Takes a finished connection whose SYN was not sent again.
    pub(super) fn count(&mut self, audit: &FlowAudit, gist: &Gist) {
        let early = Direction::BOTH
            .into_iter()
            .find_map(|way| early(&gist.sides[way]).filter(|_| audit.directions()[way].bytes > 0));
        let Some((handshake_us, soonest_us)) = early else { return };
        self.widen((handshake_us, handshake_us), soonest_us);
        self.flows.add(audit);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        if other.flows.flows > 0 {
            self.widen(other.handshake_us, other.soonest_us);
            self.flows.merge(&other.flows);
        }
    }

    fn widen(&mut self, (low, high): (u32, u32), soonest_us: u32) {
        let is_first = self.flows.flows == 0;
        let (least, most) = if is_first { (low, high) } else { self.handshake_us };
        self.handshake_us = (least.min(low), most.max(high));
        self.soonest_us = if is_first { soonest_us } else { self.soonest_us.min(soonest_us) };
    }
}

/// Returns the times of the handshake and of the soonest answer, where the latter is far too short.
fn early(side: &SideGist) -> Option<(u32, u32)> {
    let handshake = side.rtt_handshake_us.filter(|micros| *micros >= LEAST_FAR_US)?;
    let soonest = side.rtt_min_us.filter(|soonest| *soonest <= handshake / SOONER)?;
    Some((handshake, soonest))
}
