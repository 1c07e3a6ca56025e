//! A WAN optimiser beside the clients: it announces itself, and acknowledges in the name of servers.

use std::collections::BTreeMap;
use std::time::Duration;

use super::pass;
use crate::bench::packet::{ACK, Ends, FIN, NOP, Packet, RST, SYN, TIMESTAMPS};
use crate::bench::path::{Device, Out, Way};

/// The option by which optimisers find one another (Riverbed; IANA TCP option kind 76).
pub(in crate::bench) const PROBE: u8 = 76;

/// Puts its option into SYNs, and answers data of clients at once; what the servers acknowledge later
/// goes no further.
pub(in crate::bench) struct Optimiser {
    /// Whether it takes care of a packet's connection.
    serves: fn(&Packet) -> bool,
    flows: BTreeMap<Ends, Flow>,
}

struct Flow {
    /// The last packet of the server.
    last: Packet,
    /// The number after its last byte.
    end: u32,
    /// What has been acknowledged in its name.
    acked: u32,
    /// The client's clock when it last sent.
    clock: Vec<u8>,
}

impl Optimiser {
    pub(in crate::bench) const fn of(serves: fn(&Packet) -> bool) -> Self {
        Self { serves, flows: BTreeMap::new() }
    }

    fn announce(syn: &mut Packet) {
        let mut options = syn.options();
        options.push((NOP, Vec::new()));
        options.push((PROBE, vec![1, 1, 192, 0, 2, 200, 0, 1]));
        syn.set_options(&options);
        syn.mend();
    }

    /// Acknowledges what comes in order from a client.
    fn answer(&mut self, packet: &Packet, out: &mut Vec<Out>) {
        let Some(flow) = self.flows.get_mut(&packet.ends().flow()) else { return };
        let stamps = packet.options().into_iter().find(|(kind, _)| *kind == TIMESTAMPS);
        flow.clock = stamps.map(|(_, stamps)| stamps[..4].to_vec()).unwrap_or_default();
        if packet.payload_len() == 0 || packet.seq() != flow.acked || packet.has(FIN) {
            return;
        }
        flow.acked = packet.end();
        let mut ack = Packet::segment(packet.ends().flip(), ACK, flow.end, flow.acked);
        ack.set_win(flow.last.win());
        ack.set_id(flow.last.id().wrapping_add(0x4000));
        let mut options = flow.last.options();
        options.retain(|(kind, _)| *kind == NOP || *kind == TIMESTAMPS);
        ack.set_options(&options);
        echo(&mut ack, &flow.clock);
        pass(Way::Home, ack, out);
    }

    /// Takes a packet of a server; returns what of it goes on to the client.
    fn learn(&mut self, mut packet: Packet) -> Option<Packet> {
        let key = packet.ends().flow();
        if packet.is_syn_ack() {
            let (end, acked, mut last) = (packet.end(), packet.ack(), packet.clone());
            // Windows of SYNs are not scaled.
            last.set_win(packet.win() >> 7);
            self.flows.insert(key, Flow { last, end, acked, clock: Vec::new() });
            return Some(packet);
        }
        let Some(flow) = self.flows.get_mut(&key) else { return Some(packet) };
        let ends = [FIN, RST].iter().any(|flag| packet.has(*flag));
        flow.last = packet.clone();
        flow.end = packet.end();
        let is_behind = flow.acked.wrapping_sub(packet.ack()).cast_signed() >= 0;
        if is_behind && packet.payload_len() == 0 && !ends {
            return None;
        }
        if is_behind {
            packet.set_ack(flow.acked);
        }
        echo(&mut packet, &flow.clock);
        Some(packet)
    }
}

/// Has a packet echo this clock, as one of the optimiser's own stack does.
fn echo(packet: &mut Packet, clock: &[u8]) {
    let mut options = packet.options();
    for (_, stamps) in options.iter_mut().filter(|(kind, _)| *kind == TIMESTAMPS) {
        stamps[4..4 + clock.len()].copy_from_slice(clock);
    }
    packet.set_options(&options);
    packet.mend();
}

impl Device for Optimiser {
    fn take(&mut self, way: Way, mut packet: Packet, _: Duration, out: &mut Vec<Out>) {
        match way {
            _ if !packet.is_tcp() || !(self.serves)(&packet) => pass(way, packet, out),
            Way::Away => {
                if packet.has(SYN) {
                    Self::announce(&mut packet);
                }
                self.answer(&packet, out);
                pass(way, packet, out);
            }
            Way::Home => {
                if let Some(packet) = self.learn(packet) {
                    pass(way, packet, out);
                }
            }
        }
    }
}

/// Has the first packet of each connection wait, each for another time: a path that is set up on
/// demand.
pub(in crate::bench) struct SlowFirst {
    /// The waits, one after the other.
    pub waits_ms: &'static [u64],
    pub seen: Vec<Ends>,
}

impl Device for SlowFirst {
    fn take(&mut self, way: Way, packet: Packet, _: Duration, out: &mut Vec<Out>) {
        if packet.is_bare_syn() && !self.seen.contains(&packet.ends()) {
            let wait = self.waits_ms[self.seen.len() % self.waits_ms.len()];
            self.seen.push(packet.ends());
            return out.push(Out { way, after: Duration::from_millis(wait), packet });
        }
        pass(way, packet, out);
    }
}
