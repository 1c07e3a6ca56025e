//! Devices after which packets arrive twice, late, or damaged.

use std::time::Duration;

use super::{Choice, pass};
use crate::bench::packet::Packet;
use crate::bench::path::{Device, Out, Way};

/// Sends what is chosen a second time, so much later.
pub(in crate::bench) struct Copies {
    pub chosen: Choice,
    pub after: Duration,
}

impl Device for Copies {
    fn take(&mut self, way: Way, packet: Packet, _: Duration, out: &mut Vec<Out>) {
        if (self.chosen)(way, &packet) {
            let packet = packet.clone();
            out.push(Out { way, after: self.after, packet });
        }
        pass(way, packet, out);
    }
}

/// Damages a byte of the payload of what is chosen, and leaves the checksum as it was.
pub(in crate::bench) struct Damages(pub Choice);

impl Device for Damages {
    fn take(&mut self, way: Way, mut packet: Packet, _: Duration, out: &mut Vec<Out>) {
        if packet.payload_len() > 0 && (self.0)(way, &packet) {
            let last = packet.bytes.len() - 1;
            packet.bytes[last] ^= 0x20;
        }
        pass(way, packet, out);
    }
}
