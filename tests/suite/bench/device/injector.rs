//! Devices that send packets in the name of a host.

use std::collections::BTreeMap;
use std::time::Duration;

use super::pass;
use crate::bench::packet::{Ends, Packet, RST};
use crate::bench::path::{Device, Out, Way};

/// Resets both ends of each connection once so many segments with data have walked this way.
pub(in crate::bench) struct InjectsResets {
    pub counted: Way,
    pub after: u32,
    /// The TTL of the resets where they begin.
    pub ttl: u8,
    pub seen: BTreeMap<Ends, u32>,
}

impl InjectsResets {
    fn reset(&self, ends: Ends, seq: u32, id: u16) -> Packet {
        let mut reset = Packet::segment(ends, RST, seq, 0);
        reset.set_ttl(self.ttl);
        reset.set_id(id);
        reset.mend();
        reset
    }
}

impl Device for InjectsResets {
    fn take(&mut self, way: Way, packet: Packet, _: Duration, out: &mut Vec<Out>) {
        if way == self.counted && packet.payload_len() > 0 {
            let seen = self.seen.entry(packet.ends().flow()).or_default();
            *seen += 1;
            if *seen == self.after {
                let ends = packet.ends();
                for (step, id) in [(0, 0x3a17), (1460, 0x3a18), (4380, 0x3a19)] {
                    pass(way, self.reset(ends, packet.seq().wrapping_add(step), id), out);
                }
                pass(way.flip(), self.reset(ends.flip(), packet.ack(), 0x3a1a), out);
            }
        }
        pass(way, packet, out);
    }
}

/// Two servers answer each SYN: before the SYN-ACK of the server comes that of another one.
///
/// In every second flow the number of the other one is higher.
pub(in crate::bench) struct TwoBackends {
    /// By how much the numbers differ.
    pub apart: u32,
    /// The TTL of the other's SYN-ACK.
    pub ttl: u8,
    pub flows: Vec<Ends>,
}

impl Device for TwoBackends {
    fn take(&mut self, way: Way, packet: Packet, _: Duration, out: &mut Vec<Out>) {
        let ends = packet.ends();
        if packet.is_syn_ack() && !self.flows.contains(&ends) {
            let is_lower = self.flows.len().is_multiple_of(2);
            self.flows.push(ends);
            let by = if is_lower { self.apart.wrapping_neg() } else { self.apart };
            let mut other = packet.clone();
            other.set_seq(packet.seq().wrapping_add(by));
            other.set_ttl(self.ttl);
            other.set_id(0x77aa);
            other.mend();
            pass(way, other, out);
        }
        pass(way, packet, out);
    }
}

/// Sends segments with flags that no TCP sends, beside each SYN.
pub(in crate::bench) struct OddFlags(pub &'static [u8]);

impl Device for OddFlags {
    fn take(&mut self, way: Way, packet: Packet, _: Duration, out: &mut Vec<Out>) {
        if packet.is_bare_syn() {
            for flags in self.0 {
                let odd = Packet::segment(packet.ends(), *flags, packet.seq(), 0);
                pass(way, odd, out);
            }
        }
        pass(way, packet, out);
    }
}
