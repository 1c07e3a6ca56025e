//! IP packets, byte by byte, right or wrong as wanted.

use std::net::IpAddr;

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;
pub const URG: u8 = 0x20;

const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// A TCP packet before it is bytes.
#[derive(Clone, Debug)]
pub struct Packet {
    pub src: (IpAddr, u16),
    pub dst: (IpAddr, u16),
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub win: u16,
    /// The option bytes; filled to whole words.
    pub options: Vec<u8>,
    pub payload_len: usize,
    /// A data offset that is not the right one, in words.
    pub wrong_offset: Option<u8>,
    pub is_checksum_wrong: bool,
    /// Where the datagram ends, in bytes of the TCP header.
    pub cut_at: Option<usize>,
    /// Whether options stand between the IP and the TCP header.
    pub has_ip_options: bool,
    pub id: u16,
}

impl Packet {
    pub fn new(src: (IpAddr, u16), dst: (IpAddr, u16), flags: u8) -> Self {
        Self {
            src,
            dst,
            seq: 0,
            ack: 0,
            flags,
            win: 0,
            options: Vec::new(),
            payload_len: 0,
            wrong_offset: None,
            is_checksum_wrong: false,
            cut_at: None,
            has_ip_options: false,
            id: 0,
        }
    }

    /// Returns the packet from its IP header.
    pub fn bytes(&self) -> Vec<u8> {
        let mut transport = self.transport();
        let mut sum = checksum(self.src.0, self.dst.0, TCP, &transport);
        if self.is_checksum_wrong {
            sum = sum.wrapping_add(0x0101);
        }
        transport[16..18].copy_from_slice(&sum.to_be_bytes());
        if let Some(end) = self.cut_at {
            transport.truncate(end);
        }
        let options = if self.has_ip_options { ip_options(self.src.0) } else { Vec::new() };
        datagram(self.src.0, self.dst.0, TCP, (&options, &transport), self.id)
    }

    fn transport(&self) -> Vec<u8> {
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4).min(40), 0);
        let words = self.wrong_offset.unwrap_or(5 + (options.len() / 4) as u8);
        let mut bytes = Vec::with_capacity(20 + options.len() + self.payload_len);
        bytes.extend_from_slice(&self.src.1.to_be_bytes());
        bytes.extend_from_slice(&self.dst.1.to_be_bytes());
        bytes.extend_from_slice(&self.seq.to_be_bytes());
        bytes.extend_from_slice(&self.ack.to_be_bytes());
        bytes.extend_from_slice(&[words << 4, self.flags]);
        bytes.extend_from_slice(&self.win.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&options);
        bytes.resize(bytes.len() + self.payload_len, 0x61);
        bytes
    }
}

/// Puts an IP header before a payload of any protocol.
pub fn of_protocol(src: IpAddr, dst: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    datagram(src, dst, protocol, (&[], payload), 0)
}

/// Puts an IP header before a TCP header of any shape.
pub fn tcp_datagram(src: IpAddr, dst: IpAddr, transport: &[u8]) -> Vec<u8> {
    datagram(src, dst, TCP, (&[], transport), 0)
}

/// Four bytes that mean nothing: NOPs of IPv4, or an IPv6 destination options header of padding.
fn ip_options(family: IpAddr) -> Vec<u8> {
    match family {
        IpAddr::V4(_) => vec![1, 1, 1, 0],
        IpAddr::V6(_) => vec![TCP, 0, 1, 4, 0, 0, 0, 0],
    }
}

/// Puts an IP header before the options and the payload.
fn datagram(
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    (options, payload): (&[u8], &[u8]),
    id: u16,
) -> Vec<u8> {
    let content_len = options.len() + payload.len();
    let mut bytes = Vec::with_capacity(40 + content_len);
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let [high, low] = ((20 + content_len) as u16).to_be_bytes();
            bytes.extend_from_slice(&[0x45 + (options.len() / 4) as u8, 0, high, low]);
            bytes.extend_from_slice(&id.to_be_bytes());
            bytes.extend_from_slice(&[0, 0, 64, protocol, 0, 0]);
            bytes.extend_from_slice(&src.octets());
            bytes.extend_from_slice(&dst.octets());
            bytes.extend_from_slice(options);
            sum_header(&mut bytes);
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let next = if options.is_empty() { protocol } else { DESTINATION_OPTIONS };
            let [high, low] = (content_len as u16).to_be_bytes();
            bytes.extend_from_slice(&[0x60, 0, 0, 0, high, low, next, 64]);
            bytes.extend_from_slice(&src.octets());
            bytes.extend_from_slice(&dst.octets());
            bytes.extend_from_slice(options);
        }
        _ => panic!("one packet, one family"),
    }
    bytes.extend_from_slice(payload);
    bytes
}

fn sum_header(bytes: &mut [u8]) {
    let header_len = usize::from(bytes[0] & 0xf) * 4;
    bytes[10..12].fill(0);
    let sum = fold(add(&bytes[..header_len]));
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// Returns an ICMP error from `router` to `to` that quotes the first bytes of a packet.
pub fn icmp_error(router: IpAddr, to: IpAddr, kind: (u8, u8), quoted: &[u8]) -> Vec<u8> {
    let mut message = vec![kind.0, kind.1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(quoted);
    let (protocol, sum) = match router {
        IpAddr::V4(_) => (ICMP, fold(add(&message))),
        IpAddr::V6(_) => (ICMPV6, checksum(router, to, ICMPV6, &message)),
    };
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    datagram(router, to, protocol, (&[], &message), 0)
}

/// Cuts a packet without IP options into fragments of `size` bytes, a multiple of 8.
pub fn fragments(packet: &[u8], size: usize, id: u32) -> Vec<Vec<u8>> {
    let is_v4 = packet[0] >> 4 == 4;
    let (header, payload) = packet.split_at(if is_v4 { 20 } else { 40 });
    let last = payload.len().div_ceil(size).max(1) - 1;
    let pieces = payload.chunks(size).enumerate();
    let make = |(index, piece): (usize, &[u8])| {
        let word = (index * size) as u16;
        let more = index != last;
        if is_v4 {
            fragment_v4(header, piece, (word / 8) | (u16::from(more) << 13), id as u16)
        } else {
            fragment_v6(header, piece, word | u16::from(more), id)
        }
    };
    pieces.map(make).collect()
}

fn fragment_v4(header: &[u8], piece: &[u8], offset: u16, id: u16) -> Vec<u8> {
    let mut bytes = header.to_vec();
    bytes[2..4].copy_from_slice(&((20 + piece.len()) as u16).to_be_bytes());
    bytes[4..6].copy_from_slice(&id.to_be_bytes());
    bytes[6..8].copy_from_slice(&offset.to_be_bytes());
    sum_header(&mut bytes);
    bytes.extend_from_slice(piece);
    bytes
}

fn fragment_v6(header: &[u8], piece: &[u8], offset: u16, id: u32) -> Vec<u8> {
    let mut bytes = header.to_vec();
    let next = std::mem::replace(&mut bytes[6], FRAGMENT);
    bytes[4..6].copy_from_slice(&((8 + piece.len()) as u16).to_be_bytes());
    bytes.extend_from_slice(&[next, 0]);
    bytes.extend_from_slice(&offset.to_be_bytes());
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(piece);
    bytes
}

fn checksum(src: IpAddr, dst: IpAddr, protocol: u8, transport: &[u8]) -> u16 {
    let addresses = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => add(&src.octets()) + add(&dst.octets()),
        (IpAddr::V6(src), IpAddr::V6(dst)) => add(&src.octets()) + add(&dst.octets()),
        _ => panic!("one packet, one family"),
    };
    fold(addresses + u64::from(protocol) + transport.len() as u64 + add(transport))
}

fn add(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(2);
    let sum: u64 =
        words.by_ref().map(|word| u64::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    sum + words.remainder().first().map_or(0, |byte| u64::from(*byte) << 8)
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
