//! Packets of several protocols at chosen times.

use etherparse::PacketBuilder;

use crate::capture_writer::{NANOSECONDS, Order, PcapWriter};

/// A packet from its IP header, and when it passes, in nanoseconds.
pub type Timed = (u64, Vec<u8>);

pub const MILLIS: u64 = 1_000_000;

/// An IPv4 address and a port.
pub type End = ([u8; 4], u16);

pub fn udp(from: End, to: End, payload: usize) -> Vec<u8> {
    let builder = PacketBuilder::ipv4(from.0, to.0, 64).udp(from.1, to.1);
    written(builder.size(payload), |bytes| builder.write(bytes, &vec![0; payload]).unwrap())
}

/// An echo request, or the reply to one.
pub fn echo(from: [u8; 4], to: [u8; 4], id: u16, is_reply: bool) -> Vec<u8> {
    let builder = PacketBuilder::ipv4(from, to, 64);
    let builder = if is_reply {
        builder.icmpv4_echo_reply(id, 1)
    } else {
        builder.icmpv4_echo_request(id, 1)
    };
    written(builder.size(8), |bytes| builder.write(bytes, &[0; 8]).unwrap())
}

/// A TCP segment; the flags are letters of SAFR.
pub fn tcp(from: End, to: End, flags: &str, (seq, ack): (u32, u32), payload: usize) -> Vec<u8> {
    let mut builder = PacketBuilder::ipv4(from.0, to.0, 64).tcp(from.1, to.1, seq, 60_000);
    for flag in flags.chars() {
        builder = match flag {
            'S' => builder.syn(),
            'A' => builder.ack(ack),
            'F' => builder.fin(),
            'R' => builder.rst(),
            other => panic!("no flag {other}"),
        };
    }
    written(builder.size(payload), |bytes| builder.write(bytes, &vec![0; payload]).unwrap())
}

fn written(size: usize, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size);
    write(&mut bytes);
    bytes
}

/// A TCP connection from its SYN on, in steps of 30 ms.
pub struct Connection {
    ends: [End; 2],
    next: [u32; 2],
    at: u64,
    pub packets: Vec<Timed>,
}

impl Connection {
    pub fn new(client: End, server: End, at: u64) -> Self {
        Self { ends: [client, server], next: [1000, 5000], at, packets: Vec::new() }
    }

    /// Sends a segment: from the client if `side` is 0, from the server if it is 1.
    pub fn send(&mut self, side: usize, flags: &str, payload: usize) -> &mut Self {
        let (from, to) = (self.ends[side], self.ends[1 - side]);
        let numbers = (self.next[side], self.next[1 - side]);
        self.packets.push((self.at, tcp(from, to, flags, numbers, payload)));
        let counted = flags.chars().filter(|flag| "SF".contains(*flag)).count() + payload;
        self.next[side] += u32::try_from(counted).unwrap();
        self.at += 30 * MILLIS;
        self
    }

    pub fn handshake(&mut self) -> &mut Self {
        self.send(0, "S", 0).send(1, "SA", 0).send(0, "A", 0)
    }

    pub fn exchange(&mut self) -> &mut Self {
        self.send(0, "A", 20).send(1, "A", 50).send(0, "A", 0)
    }

    pub fn close(&mut self) -> &mut Self {
        self.send(0, "FA", 0).send(1, "FA", 0).send(0, "A", 0)
    }

    pub fn wait(&mut self, millis: u64) -> &mut Self {
        self.at += millis * MILLIS;
        self
    }
}

/// Puts packets into the order of their times.
pub fn in_order(mut packets: Vec<Timed>) -> Vec<Timed> {
    packets.sort_by_key(|(at, _)| *at);
    packets
}

/// Returns a pcap of the packets, as they are from their IP headers; `begin` is added to all times.
pub fn pcap(begin: u64, packets: &[Timed]) -> Vec<u8> {
    const RAW: u32 = 101;
    let mut writer = PcapWriter::new(Order::Little, NANOSECONDS, RAW);
    for (at, bytes) in packets {
        writer.frame(begin + at, u32::try_from(bytes.len()).unwrap(), bytes);
    }
    writer.bytes
}
