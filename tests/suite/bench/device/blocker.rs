//! Devices that let some packets not pass.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::{Choice, pass};
use crate::bench::packet::{ACK, Ends, Packet, RST, SYN, TIMESTAMPS};
use crate::bench::path::{Device, Out, Way};

/// Loses what is chosen.
pub(in crate::bench) struct Loses(pub Choice);

impl Device for Loses {
    fn take(&mut self, way: Way, packet: Packet, _: Duration, out: &mut Vec<Out>) {
        if !(self.0)(way, &packet) {
            pass(way, packet, out);
        }
    }
}

/// Lets packets of at most so many bytes pass, whatever they carry, and says nothing of the others.
pub(in crate::bench) struct BlackHole {
    pub most: usize,
}

impl Device for BlackHole {
    fn take(&mut self, way: Way, packet: Packet, _: Duration, out: &mut Vec<Out>) {
        if packet.bytes.len() <= self.most {
            pass(way, packet, out);
        }
    }
}

/// What a device does with a packet of a connection that it has forgotten.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::bench) enum Forgotten {
    Drops,
    Resets,
}

/// Forgets connections that are idle for too long.
pub(in crate::bench) struct IdleKiller {
    pub timeout: Duration,
    pub does: Forgotten,
    pub last: BTreeMap<Ends, Duration>,
}

impl IdleKiller {
    pub(in crate::bench) fn new(timeout: Duration, does: Forgotten) -> Self {
        Self { timeout, does, last: BTreeMap::new() }
    }
}

impl Device for IdleKiller {
    fn take(&mut self, way: Way, packet: Packet, now: Duration, out: &mut Vec<Out>) {
        let flow = packet.ends().flow();
        let is_new = packet.has(SYN);
        let known =
            self.last.get(&flow).is_some_and(|last| now.saturating_sub(*last) < self.timeout);
        if is_new || known {
            self.last.insert(flow, now);
            return pass(way, packet, out);
        }
        self.last.remove(&flow);
        if self.does == Forgotten::Resets && !packet.has(RST) {
            let reset = Packet::segment(packet.ends().flip(), RST, packet.ack(), 0);
            let reset = if packet.has(ACK) { reset } else { return };
            pass(way.flip(), reset, out);
        }
    }
}

/// Drops SYNs whose timestamp is older than the last one of that address, as a server with
/// `tcp_tw_recycle` did.
#[derive(Default)]
pub(in crate::bench) struct DropsOldClocks {
    newest: BTreeMap<Ipv4Addr, u32>,
}

impl Device for DropsOldClocks {
    fn take(&mut self, way: Way, packet: Packet, _: Duration, out: &mut Vec<Out>) {
        if packet.is_bare_syn() {
            let options = packet.options();
            let clock = options.iter().find(|(kind, _)| *kind == TIMESTAMPS);
            let clock = clock.map(|(_, v)| u32::from_be_bytes([v[0], v[1], v[2], v[3]]));
            let newest = self.newest.entry(packet.ends().src.0).or_insert(clock.unwrap_or(0));
            let ahead = clock.unwrap_or(*newest).wrapping_sub(*newest).cast_signed();
            if ahead < 0 {
                return;
            }
            *newest = newest.wrapping_add(ahead.cast_unsigned());
        }
        pass(way, packet, out);
    }
}
