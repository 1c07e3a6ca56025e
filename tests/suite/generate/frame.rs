//! Segments as bytes on the wire: link, IP and TCP headers with right lengths and checksums.

use std::net::IpAddr;

use tcp_window_audit::frame::LinkType;
use tcp_window_audit::segment::{Direction, Flags, Options, Segment};
use tcp_window_audit::tuple::Endpoint;

/// The two ends of a flow; `a` opens it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub a: Endpoint,
    pub b: Endpoint,
}

impl Addresses {
    /// Returns source and destination of this direction.
    pub(crate) const fn of(&self, direction: Direction) -> (Endpoint, Endpoint) {
        match direction {
            Direction::Original => (self.a, self.b),
            Direction::Reply => (self.b, self.a),
        }
    }
}

/// What stands before the IP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Encapsulation {
    Ethernet,
    /// Ethernet with an IEEE 802.1Q tag.
    Vlan(u16),
    /// Linux cooked capture, version 1, as `tcpdump -i any` writes it.
    Cooked,
}

impl Encapsulation {
    pub(crate) const fn link_type(self) -> LinkType {
        match self {
            Self::Ethernet | Self::Vlan(_) => LinkType::ETHERNET,
            Self::Cooked => LinkType::LINUX_SLL,
        }
    }
}

/// Locally administered addresses of the two ends.
const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 0x0a], [2, 0, 0, 0, 0, 0x0b]];

/// Returns the whole frame.
pub(crate) fn frame(
    encapsulation: Encapsulation,
    addresses: &Addresses,
    direction: Direction,
    segment: &Segment,
) -> Vec<u8> {
    let (src, dst) = addresses.of(direction);
    let ethertype: [u8; 2] = if src.addr.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xdd] };
    let (from, to) = (MACS[direction as usize], MACS[direction.flip() as usize]);
    let mut bytes = Vec::new();
    match encapsulation {
        Encapsulation::Ethernet => bytes.extend([to, from].concat()),
        Encapsulation::Vlan(id) => {
            bytes.extend([to, from].concat());
            bytes.extend([0x81, 0x00]);
            bytes.extend(id.to_be_bytes());
        }
        Encapsulation::Cooked => {
            // Packet type 0 is "to us" and 4 "from us": the capture runs on the host of b.
            let kind = if direction == Direction::Original { 0 } else { 4 };
            bytes.extend([0, kind, 0, 1, 0, 6]);
            bytes.extend(from);
            bytes.extend([0, 0]);
        }
    }
    bytes.extend(ethertype);
    bytes.extend(packet(src, dst, segment));
    bytes
}

/// Returns the IP packet.
pub(crate) fn packet(src: Endpoint, dst: Endpoint, segment: &Segment) -> Vec<u8> {
    let tcp = tcp(src, dst, segment);
    let mut bytes = match (src.addr, dst.addr) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let total = u16::try_from(20 + tcp.len()).unwrap();
            let mut header = vec![0x45, 0];
            header.extend(total.to_be_bytes());
            header.extend(segment.ip_id.to_be_bytes());
            header.extend([0x40, 0, segment.ttl, 6, 0, 0]);
            header.extend(src.octets());
            header.extend(dst.octets());
            let checksum = checksum(&[&header]);
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            header
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let mut header = vec![0x60, 0, 0, 0];
            header.extend(u16::try_from(tcp.len()).unwrap().to_be_bytes());
            header.extend([6, segment.ttl]);
            header.extend(src.octets());
            header.extend(dst.octets());
            header
        }
        _ => panic!("both ends are of one family"),
    };
    bytes.extend(tcp);
    bytes
}

/// Returns TCP header and payload; each payload byte follows from its sequence number.
fn tcp(src: Endpoint, dst: Endpoint, segment: &Segment) -> Vec<u8> {
    let options = option_bytes(&segment.options);
    let mut bytes = Vec::new();
    bytes.extend(src.port.to_be_bytes());
    bytes.extend(dst.port.to_be_bytes());
    bytes.extend(segment.seq.0.to_be_bytes());
    let ack = if segment.has(Flags::ACK) { segment.ack.0 } else { 0 };
    bytes.extend(ack.to_be_bytes());
    let words = u8::try_from(5 + options.len() / 4).unwrap();
    bytes.extend([words << 4, segment.flags.0]);
    bytes.extend(segment.win.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(options);
    bytes.extend((0..segment.len).map(|at| payload(segment.seq.plus(at).0)));
    let checksum = checksum(&[&pseudo_header(src.addr, dst.addr, bytes.len()), &bytes]);
    bytes[16..18].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

fn payload(seq: u32) -> u8 {
    u8::try_from(seq % 251).unwrap()
}

fn pseudo_header(src: IpAddr, dst: IpAddr, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for addr in [src, dst] {
        match addr {
            IpAddr::V4(v4) => bytes.extend(v4.octets()),
            IpAddr::V6(v6) => bytes.extend(v6.octets()),
        }
    }
    bytes.extend(u32::try_from(len).unwrap().to_be_bytes());
    bytes.extend([0, 0, 0, 6]);
    bytes
}

/// Returns the internet checksum (RFC 1071) of parts that each begin at an even offset.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u64;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u64::from(*low));
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).unwrap()
}

/// Returns how many bytes the options take.
pub(crate) fn options_len(options: &Options) -> u8 {
    u8::try_from(option_bytes(options).len()).unwrap()
}

/// Returns the options in the order and alignment of Linux.
fn option_bytes(options: &Options) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mss) = options.mss {
        bytes.extend([2, 4]);
        bytes.extend(mss.to_be_bytes());
    }
    match (options.sack_permitted, options.timestamps.is_some()) {
        (true, true) => bytes.extend([4, 2]),
        (true, false) => bytes.extend([1, 1, 4, 2]),
        (false, true) => bytes.extend([1, 1]),
        (false, false) => {}
    }
    if let Some(timestamps) = options.timestamps {
        bytes.extend([8, 10]);
        bytes.extend(timestamps.value.to_be_bytes());
        bytes.extend(timestamps.echo.to_be_bytes());
    }
    if let Some(shift) = options.wscale {
        bytes.extend([1, 3, 3, shift]);
    }
    let blocks = options.sack.as_slice();
    if !blocks.is_empty() {
        bytes.extend([1, 1, 5, u8::try_from(2 + 8 * blocks.len()).unwrap()]);
        for block in blocks {
            bytes.extend(block.left.0.to_be_bytes());
            bytes.extend(block.right.0.to_be_bytes());
        }
    }
    bytes
}
