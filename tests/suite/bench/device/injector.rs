//! Devices that send packets in the name of a host.

use std::collections::BTreeMap;
use std::time::Duration;

use super::pass;
use crate::bench::packet::{ACK, Ends, Packet, RST};
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

/// Answers the first so many SYNs in the name of another backend: its SYN-ACK has another number.
///
/// Stands before the server. The flow that is opened in the end has numbers shifted by a constant,
/// as those of the second backend; the SYN-ACK of the first one was another.
pub(in crate::bench) struct OtherBackend {
    /// Added to the server's numbers from its second SYN-ACK on.
    pub shift: u32,
    pub ttl: u8,
    pub syn_acks: BTreeMap<Ends, u32>,
}

impl Device for OtherBackend {
    fn take(&mut self, way: Way, mut packet: Packet, _: Duration, out: &mut Vec<Out>) {
        if packet.is_tcp() {
            let seen = self.syn_acks.entry(packet.ends().flow()).or_default();
            if packet.is_syn_ack() {
                *seen += 1;
            }
            if *seen >= 2 {
                if way == Way::Home {
                    packet.set_seq(packet.seq().wrapping_add(self.shift));
                    packet.set_ttl(self.ttl);
                } else if packet.has(ACK) {
                    packet.set_ack(packet.ack().wrapping_sub(self.shift));
                    super::randomiser::shift_sack(&mut packet, self.shift.wrapping_neg());
                }
                packet.mend();
            }
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
