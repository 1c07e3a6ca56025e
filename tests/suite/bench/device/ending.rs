//! Devices after which one end does not know that the other is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::pass;
use crate::bench::packet::{ACK, Ends, FIN, Packet, RST, SYN};
use crate::bench::path::{Device, Out, Way};

/// Ends connections after so many requests, and tells clients by resets in the name of the server: with
/// the number that is due, or behind it, as of stacks that answer with the number of an old ACK.
pub(in crate::bench) struct Dies {
    /// Segments with data of a client that still pass.
    after: u32,
    /// Bytes by which a reset is behind what the client has acknowledged.
    behind: u32,
    seen: BTreeMap<Ends, Seen>,
}

/// What has passed of a connection.
#[derive(Default)]
struct Seen {
    requests: u32,
    /// The TTL of the server's packets here.
    ttl: u8,
}

impl Dies {
    pub(in crate::bench) const fn after(after: u32, behind: u32) -> Self {
        Self { after, behind, seen: BTreeMap::new() }
    }
}

impl Device for Dies {
    fn take(&mut self, way: Way, packet: Packet, _: Duration, out: &mut Vec<Out>) {
        let seen = self.seen.entry(packet.ends().flow()).or_default();
        let is_request = way == Way::Away && packet.payload_len() > 0;
        seen.requests += u32::from(is_request);
        if seen.requests <= self.after {
            if way == Way::Home {
                seen.ttl = packet.ttl();
            }
            return pass(way, packet, out);
        }
        if is_request {
            let seq = packet.ack().wrapping_sub(self.behind);
            let mut reset = Packet::segment(packet.ends().flip(), RST, seq, 0);
            reset.set_ttl(seen.ttl);
            reset.mend_header();
            pass(way.flip(), reset, out);
        }
    }
}

/// Keeps the first RST or FIN of each client, so that the server believes it to be there; and drops
/// what the server says of it later, if wanted.
pub(in crate::bench) struct HoldsEnds {
    /// Whether the server's answer to a SYN of the same ports is dropped.
    drops_challenges: bool,
    /// Connections whose end was kept.
    held: BTreeSet<Ends>,
    /// Those that were opened anew.
    again: BTreeSet<Ends>,
}

impl HoldsEnds {
    pub(in crate::bench) const fn with_challenges(drops_challenges: bool) -> Self {
        Self { drops_challenges, held: BTreeSet::new(), again: BTreeSet::new() }
    }
}

impl Device for HoldsEnds {
    fn take(&mut self, way: Way, packet: Packet, _: Duration, out: &mut Vec<Out>) {
        let flow = packet.ends().flow();
        let ends = packet.has(RST) || packet.has(FIN);
        if way == Way::Away && ends && self.held.insert(flow) {
            return;
        }
        if packet.is_bare_syn() && self.held.contains(&flow) {
            self.again.insert(flow);
        }
        let is_challenge = way == Way::Home && packet.has(ACK) && !packet.has(SYN);
        if is_challenge && self.drops_challenges && self.again.contains(&flow) {
            return;
        }
        pass(way, packet, out);
    }
}
