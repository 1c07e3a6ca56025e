//! Devices after which packets arrive twice, late, or damaged.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Choice, pass};
use crate::bench::packet::{Ends, Packet, RST};
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

/// A host that translates addresses, whose old kernel takes packets far below the window for
/// INVALID: they reach its own address, where nobody knows them, and it resets their sender.
#[derive(Default)]
pub(in crate::bench) struct OldTranslator {
    /// The highest number after data that came home, of each flow.
    highest: BTreeMap<Ends, u32>,
}

/// Bytes below the highest number from which on a packet is too old.
const TOO_OLD: u32 = 70_000;

impl Device for OldTranslator {
    fn take(&mut self, way: Way, packet: Packet, _: Duration, out: &mut Vec<Out>) {
        if way == Way::Home && packet.payload_len() > 0 {
            let highest = self.highest.entry(packet.ends()).or_insert_with(|| packet.end());
            let below = highest.wrapping_sub(packet.end());
            if below.cast_signed() > TOO_OLD.cast_signed() {
                let reset = Packet::segment(packet.ends().flip(), RST, packet.ack(), 0);
                return pass(Way::Away, reset, out);
            }
            if below.cast_signed() < 0 {
                *highest = packet.end();
            }
        }
        pass(way, packet, out);
    }
}
