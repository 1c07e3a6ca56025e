//! A device that changes the length of payload, as inspection engines do.

use std::collections::BTreeMap;
use std::time::Duration;

use super::pass;
use crate::bench::packet::{ACK, Ends, Packet};
use crate::bench::path::{Device, Out, Way};

/// Puts some bytes into what walks away, at these distances from the first byte of a connection, and
/// translates numbers and acknowledgements; SACK blocks are forgotten.
pub(in crate::bench) struct Inspector {
    /// Where, and how many.
    pub inserts: &'static [(u32, u32)],
    /// The first number of each connection.
    pub first: BTreeMap<Ends, u32>,
}

impl Inspector {
    pub(in crate::bench) const fn new(inserts: &'static [(u32, u32)]) -> Self {
        Self { inserts, first: BTreeMap::new() }
    }

    /// Returns the bytes put in before this distance.
    fn before(&self, distance: u32) -> u32 {
        let passed = self.inserts.iter().filter(|(at, _)| *at <= distance);
        passed.map(|(_, bytes)| bytes).sum()
    }

    /// Returns the distance that is told as this one behind the device.
    fn back(&self, distance: u32) -> u32 {
        let mut moved = 0;
        for (at, bytes) in self.inserts {
            if at + moved + bytes > distance {
                return (distance - moved).min(*at);
            }
            moved += bytes;
        }
        distance - moved
    }
}

impl Device for Inspector {
    fn take(&mut self, way: Way, mut packet: Packet, _: Duration, out: &mut Vec<Out>) {
        let flow = packet.ends().flow();
        if packet.is_bare_syn() {
            self.first.insert(flow, packet.seq().wrapping_add(1));
        }
        let Some(first) = self.first.get(&flow).copied().filter(|_| packet.is_tcp()) else {
            pass(way, packet, out);
            return;
        };
        match way {
            Way::Away if !packet.is_bare_syn() => {
                let start = packet.seq().wrapping_sub(first);
                let len = u32::try_from(packet.payload_len()).unwrap();
                let inside =
                    self.inserts.iter().filter(|(at, _)| start < *at && *at <= start + len);
                let more: u32 = inside.map(|(_, bytes)| bytes).sum();
                packet.set_seq(packet.seq().wrapping_add(self.before(start)));
                packet.append(usize::try_from(more).unwrap());
            }
            Way::Home if packet.has(ACK) && !packet.is_syn_ack() => {
                let told = packet.ack().wrapping_sub(first);
                packet.set_ack(first.wrapping_add(self.back(told)));
            }
            _ => {}
        }
        packet.mend();
        pass(way, packet, out);
    }
}
