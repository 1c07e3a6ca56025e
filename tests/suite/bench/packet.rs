//! An IPv4 packet as devices see and change it; checksums are made right again after a change.

use std::net::Ipv4Addr;

/// TCP flags.
pub(super) const FIN: u8 = 1;
pub(super) const SYN: u8 = 2;
pub(super) const RST: u8 = 4;
pub(super) const PSH: u8 = 8;
pub(super) const ACK: u8 = 16;

/// Kinds of TCP options.
pub(super) const NOP: u8 = 1;
pub(super) const MSS: u8 = 2;
pub(super) const WSCALE: u8 = 3;
pub(super) const SACK_PERMITTED: u8 = 4;
pub(super) const SACK: u8 = 5;
pub(super) const TIMESTAMPS: u8 = 8;

const TCP: u8 = 6;

/// A whole IPv4 packet.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub bytes: Vec<u8>,
    /// Whether it travels where neither router nor capture point is.
    pub is_hidden: bool,
}

/// A TCP option: kind and value, without the length.
pub(super) type TcpOption = (u8, Vec<u8>);

impl Packet {
    /// Takes what came out of a tun device; none but IPv4.
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        let is_ipv4 = bytes.len() >= 20 && bytes[0] == 0x45;
        is_ipv4.then(|| Self { bytes: bytes.to_vec(), is_hidden: false })
    }

    /// Makes a segment without payload.
    pub(super) fn segment(ends: Ends, flags: u8, seq: u32, ack: u32) -> Self {
        let mut bytes = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, TCP, 0, 0];
        bytes.extend(ends.src.0.octets());
        bytes.extend(ends.dst.0.octets());
        bytes.extend(ends.src.1.to_be_bytes());
        bytes.extend(ends.dst.1.to_be_bytes());
        bytes.extend(seq.to_be_bytes());
        bytes.extend(ack.to_be_bytes());
        bytes.extend([0x50, flags, 0, 0, 0, 0, 0, 0]);
        let mut packet = Self { bytes, is_hidden: false };
        packet.mend();
        packet
    }

    pub(super) fn is_tcp(&self) -> bool {
        self.bytes[9] == TCP && self.bytes.len() >= 40
    }

    /// Returns whether a segment has all these flags.
    pub(super) fn has(&self, flags: u8) -> bool {
        self.is_tcp() && self.bytes[33] & flags == flags
    }

    pub(super) fn is_syn_ack(&self) -> bool {
        self.has(SYN | ACK)
    }

    pub(super) fn is_bare_syn(&self) -> bool {
        self.has(SYN) && !self.has(ACK)
    }

    pub(super) fn ends(&self) -> Ends {
        let addr =
            |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&self.bytes[at..at + 4]).unwrap());
        let ports = self.is_tcp();
        let port = |at| if ports { self.u16(at) } else { 0 };
        Ends { src: (addr(12), port(20)), dst: (addr(16), port(22)) }
    }

    pub(super) fn u16(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.bytes[at..at + 4].try_into().unwrap())
    }

    pub(super) fn seq(&self) -> u32 {
        self.u32(24)
    }

    pub(super) fn ack(&self) -> u32 {
        self.u32(28)
    }

    pub(super) fn win(&self) -> u16 {
        self.u16(34)
    }

    pub(super) fn set_seq(&mut self, seq: u32) {
        self.bytes[24..28].copy_from_slice(&seq.to_be_bytes());
    }

    pub(super) fn set_ack(&mut self, ack: u32) {
        self.bytes[28..32].copy_from_slice(&ack.to_be_bytes());
    }

    pub(super) fn set_win(&mut self, win: u16) {
        self.bytes[34..36].copy_from_slice(&win.to_be_bytes());
    }

    pub(super) fn set_ttl(&mut self, ttl: u8) {
        self.bytes[8] = ttl;
    }

    pub(super) fn ttl(&self) -> u8 {
        self.bytes[8]
    }

    pub(super) fn set_id(&mut self, id: u16) {
        self.bytes[4..6].copy_from_slice(&id.to_be_bytes());
    }

    pub(super) fn id(&self) -> u16 {
        self.u16(4)
    }

    pub(super) fn set_flags(&mut self, flags: u8) {
        self.bytes[33] = flags;
    }

    fn header_len(&self) -> usize {
        usize::from(self.bytes[32] >> 4) * 4
    }

    /// Returns the bytes of payload.
    pub(super) fn payload_len(&self) -> usize {
        if self.is_tcp() { self.bytes.len() - 20 - self.header_len() } else { 0 }
    }

    /// Returns the number after the last, SYN and FIN counted.
    pub(super) fn end(&self) -> u32 {
        let flags = u32::from(self.has(SYN)) + u32::from(self.has(FIN));
        self.seq().wrapping_add(flags + u32::try_from(self.payload_len()).unwrap())
    }

    /// Returns the options in their order, NOPs among them.
    pub(super) fn options(&self) -> Vec<TcpOption> {
        let mut rest = &self.bytes[40..20 + self.header_len()];
        let mut options = Vec::new();
        while let Some((&kind, after)) = rest.split_first() {
            let len = match kind {
                0 => break,
                NOP => 1,
                _ => usize::from(after[0]),
            };
            options.push((kind, rest.get(2..len).unwrap_or_default().to_vec()));
            rest = &rest[len..];
        }
        options
    }

    /// Puts other options in the place of those that are there.
    pub(super) fn set_options(&mut self, options: &[TcpOption]) {
        let mut bytes = Vec::new();
        for (kind, value) in options {
            bytes.push(*kind);
            if *kind != NOP {
                bytes.push(u8::try_from(value.len() + 2).unwrap());
                bytes.extend(value);
            }
        }
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let words = u8::try_from(5 + bytes.len() / 4).unwrap();
        let end = 20 + self.header_len();
        self.bytes.splice(40..end, bytes);
        self.bytes[32] = words << 4;
        let total = u16::try_from(self.bytes.len()).unwrap();
        self.bytes[2..4].copy_from_slice(&total.to_be_bytes());
    }

    /// Adds so many bytes to the payload.
    pub(super) fn append(&mut self, bytes: usize) {
        self.append_bytes(&vec![0; bytes]);
    }

    /// Returns the payload.
    pub(super) fn payload(&self) -> &[u8] {
        &self.bytes[self.bytes.len() - self.payload_len()..]
    }

    /// Takes the payload away.
    pub(super) fn cut_payload(&mut self) {
        self.bytes.truncate(20 + self.header_len());
    }

    /// Adds these bytes to the payload.
    pub(super) fn append_bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let total = u16::try_from(self.bytes.len()).unwrap();
        self.bytes[2..4].copy_from_slice(&total.to_be_bytes());
    }

    /// Makes the checksum of the IP header right.
    pub(super) fn mend_header(&mut self) {
        self.bytes[10..12].fill(0);
        let sum = checksum(&[&self.bytes[..20]]);
        self.bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    }

    /// Makes both checksums right.
    pub(super) fn mend(&mut self) {
        self.mend_header();
        if self.is_tcp() {
            self.bytes[36..38].fill(0);
            let len = u16::try_from(self.bytes.len() - 20).unwrap().to_be_bytes();
            let sum = checksum(&[&self.bytes[12..20], &[0, TCP], &len, &self.bytes[20..]]);
            self.bytes[36..38].copy_from_slice(&sum.to_be_bytes());
        }
    }
}

/// Returns the internet checksum (RFC 1071) of parts that each begin at an even offset.
pub(super) fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).unwrap()
}

/// Where a packet comes from and goes to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Ends {
    pub src: (Ipv4Addr, u16),
    pub dst: (Ipv4Addr, u16),
}

impl Ends {
    pub(super) const fn flip(self) -> Self {
        Self { src: self.dst, dst: self.src }
    }

    /// Returns the same for both ways.
    pub(super) fn flow(self) -> Self {
        self.min(self.flip())
    }
}
