//! What a capture holds is not always what was on the wire: makes a packet that a kernel can judge.
//!
//! Ethernet trailers are cut by the IP length. Packets that the snap length cut are filled with
//! zeros to their IP length and get a new layer-4 checksum, so that checksums of cut packets are
//! never judged; those of whole packets are. An IP length of 0, which segmentation offload leaves in
//! captures of the sending host, is filled in. Nothing else is changed.
//!
//! Does not: know link layers, files or the kernel.

/// What was changed about a packet.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Changes {
    /// Whether an IP length of 0 was filled in.
    pub is_length_filled: bool,
    /// What the snap length made necessary.
    pub padding: Padding,
    /// Whether the snap length had cut the TCP header itself: options are then zeros.
    pub is_header_cut: bool,
}

/// What the snap length made necessary.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Padding {
    /// Nothing: the packet was captured whole.
    #[default]
    Whole,
    /// Zeros, and no checksum: a fragment or a protocol whose checksum is not known here.
    Zeros,
    /// Zeros and a new layer-4 checksum.
    ZerosAndChecksum,
}

/// A packet to be judged.
#[derive(Clone, Copy, Debug)]
pub struct Prepared<'a> {
    /// The packet from its IP header.
    pub bytes: &'a [u8],
    /// What was changed about it.
    pub changes: Changes,
}

/// Prepares the captured bytes of a packet, from its IP header to the end of the frame.
///
/// `wire_len` is what there was of them on the wire, in bytes. The `buffer` holds a packet that is
/// not captured as it is needed; it is used again from packet to packet. Bytes that are no IP header
/// come back as they are.
pub fn prepare<'a>(captured: &'a [u8], wire_len: usize, buffer: &'a mut Vec<u8>) -> Prepared<'a> {
    let unchanged = Prepared { bytes: captured, changes: Changes::default() };
    let Some(header) = Header::read(captured) else { return unchanged };
    let is_length_filled = header.total_len.is_none();
    let wanted_len = header.total_len.unwrap_or(wire_len).min(wire_len.max(captured.len()));
    if wanted_len <= captured.len() && !is_length_filled {
        let bytes = captured.get(..wanted_len).unwrap_or(captured);
        return Prepared { bytes, ..unchanged };
    }
    buffer.clear();
    buffer.extend_from_slice(captured);
    buffer.resize(wanted_len, 0);
    if is_length_filled {
        header.fill_length(buffer);
    }
    let mut changes = Changes { is_length_filled, ..Changes::default() };
    if wanted_len > captured.len() {
        changes.is_header_cut = is_tcp_header_cut(&header, captured);
        let is_summed = header.sum(buffer).is_some();
        changes.padding = if is_summed { Padding::ZerosAndChecksum } else { Padding::Zeros };
    }
    Prepared { bytes: buffer, changes }
}

/// Returns the packet with the right IPv4 header checksum, for captures whose checksums are not to be
/// judged: the kernel drops a datagram with a wrong one before conntrack sees it.
pub fn repair_header<'a>(packet: &'a [u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
    let header_len = match packet.first() {
        Some(first) if first >> 4 == 4 => usize::from(first & 0x0f) * 4,
        _ => return packet,
    };
    buffer.clear();
    buffer.extend_from_slice(packet);
    let Some(header) = buffer.get_mut(..header_len) else { return packet };
    let Some(field) = header.get_mut(10..12) else { return packet };
    field.fill(0);
    let words = header.chunks_exact(2).filter_map(|pair| pair.first_chunk::<2>());
    let sum: u32 = words.map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX);
    if let Some(field) = header.get_mut(10..12) {
        field.copy_from_slice(&checksum.to_be_bytes());
    }
    buffer
}

impl Changes {
    /// Returns a letter for each change: L length, P padding, C checksum, ! header cut.
    pub fn letters(self) -> String {
        let mut letters = String::new();
        if self.is_length_filled {
            letters.push('L');
        }
        letters.push_str(match self.padding {
            Padding::Whole => "",
            Padding::Zeros => "P",
            Padding::ZerosAndChecksum => "PC",
        });
        if self.is_header_cut {
            letters.push('!');
        }
        letters
    }
}

/// What must be known of an IP header.
#[derive(Clone, Copy, Debug)]
struct Header {
    is_v4: bool,
    /// Of the datagram by its IP header; `None` when that says 0.
    total_len: Option<usize>,
    /// Where the layer-4 header begins; `None` in a fragment.
    transport_at: Option<usize>,
    protocol: u8,
}

impl Header {
    fn read(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::read_v4(packet),
            6 => Self::read_v6(packet),
            _ => None,
        }
    }

    fn read_v4(packet: &[u8]) -> Option<Self> {
        let header_len = usize::from(packet.first()? & 0xf) * 4;
        let total_len = usize::from(read_u16(packet, 2)?);
        let is_fragment = read_u16(packet, 6)? & 0x3fff != 0;
        Some(Self {
            is_v4: true,
            total_len: (total_len != 0).then_some(total_len),
            transport_at: (!is_fragment && header_len >= 20).then_some(header_len),
            protocol: *packet.get(9)?,
        })
    }

    fn read_v6(packet: &[u8]) -> Option<Self> {
        let payload_len = usize::from(read_u16(packet, 4)?);
        let mut protocol = *packet.get(6)?;
        // A jumbogram says 0 and begins with a hop-by-hop header (RFC 2675).
        let is_offloaded = payload_len == 0 && matches!(protocol, 6 | 17);
        let mut at = 40;
        while let (0 | 43 | 60, Some(len)) = (protocol, packet.get(at + 1)) {
            protocol = *packet.get(at)?;
            at += usize::from(*len) * 8 + 8;
        }
        Some(Self {
            is_v4: false,
            total_len: (!is_offloaded).then_some(payload_len + 40),
            transport_at: Some(at),
            protocol,
        })
    }

    /// Writes the length of the datagram, and for IPv4 the checksum of the header.
    fn fill_length(&self, packet: &mut [u8]) {
        if !self.is_v4 {
            let len = u16::try_from(packet.len().saturating_sub(40)).unwrap_or_default();
            write_u16(packet, 4, len);
            return;
        }
        let len = u16::try_from(packet.len()).unwrap_or_default();
        write_u16(packet, 2, len);
        write_u16(packet, 10, 0);
        let header_len = self.transport_at.unwrap_or(20);
        let sum = packet.get(..header_len).map(|header| fold(add(header, 0)));
        write_u16(packet, 10, sum.unwrap_or_default());
    }

    /// Writes the layer-4 checksum; `None` when there is none that is known here.
    fn sum(&self, packet: &mut [u8]) -> Option<()> {
        let at = self.transport_at?;
        let (offset, has_pseudo_header) = match (self.protocol, self.is_v4) {
            (6, _) => (16, true),
            (17, _) => (6, true),
            (58, false) => (2, true),
            (1, true) => (2, false),
            _ => return None,
        };
        let old = read_u16(packet, at + offset)?;
        if self.protocol == 17 && self.is_v4 && old == 0 {
            return None;
        }
        write_u16(packet, at + offset, 0);
        let transport = packet.get(at..)?;
        let mut sum = add(transport, 0);
        if has_pseudo_header {
            let addresses = if self.is_v4 { packet.get(12..20)? } else { packet.get(8..40)? };
            sum = add(addresses, sum) + u64::from(self.protocol) + transport.len() as u64;
        }
        let sum = fold(sum);
        let is_udp_zero = self.protocol == 17 && sum == 0;
        write_u16(packet, at + offset, if is_udp_zero { 0xffff } else { sum });
        Some(())
    }
}

fn is_tcp_header_cut(header: &Header, captured: &[u8]) -> bool {
    let Some(at) = header.transport_at.filter(|_| header.protocol == 6) else { return false };
    let words = captured.get(at + 12).map(|byte| usize::from(byte >> 4));
    let needed = words.map_or(20, |words| (words * 4).max(20));
    captured.len() < at + needed
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

fn write_u16(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// Adds 16-bit words, the last filled with a zero byte, to a ones' complement sum (RFC 1071).
fn add(bytes: &[u8], sum: u64) -> u64 {
    let words = bytes.chunks(2).map(|chunk| match *chunk {
        [high, low] => u64::from(u16::from_be_bytes([high, low])),
        [high] => u64::from(high) << 8,
        _ => 0,
    });
    words.fold(sum, u64::wrapping_add)
}

/// Returns the checksum of a sum: its carries added in, complemented.
fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A SYN of 40 bytes with right checksums.
    const SYN: [u8; 40] = [
        0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0xf6, 0xcc, 192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 0, 1, 0,
        0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0x10, 0, 0x1b, 0xdd, 0, 0,
    ];

    #[test]
    fn a_trailer_is_cut() {
        let frame = [&SYN[..], &[1, 2, 3, 4, 5, 6]].concat();
        let mut buffer = Vec::new();
        let prepared = prepare(&frame, frame.len(), &mut buffer);
        assert_eq!((prepared.bytes, prepared.changes.letters()), (&SYN[..], String::new()));
    }

    #[test]
    fn a_cut_packet_is_filled_and_summed() {
        let mut buffer = Vec::new();
        let prepared = prepare(&SYN[..34], 40, &mut buffer);
        assert_eq!(prepared.changes.letters(), "PC!");
        assert_eq!(prepared.bytes.len(), 40);
        let sum = add(&prepared.bytes[20..], add(&SYN[12..20], 26));
        assert_eq!(fold(sum), 0);
    }

    #[test]
    fn what_was_short_on_the_wire_stays_short() {
        let mut buffer = Vec::new();
        let prepared = prepare(&SYN[..34], 34, &mut buffer);
        assert_eq!((prepared.bytes, prepared.changes.letters()), (&SYN[..34], String::new()));
    }

    #[test]
    fn a_length_of_zero_is_filled_in() {
        let mut offloaded = SYN;
        offloaded[3] = 0;
        let mut buffer = Vec::new();
        let prepared = prepare(&offloaded, 40, &mut buffer);
        assert_eq!((prepared.bytes, prepared.changes.letters()), (&SYN[..], "L".to_owned()));
    }

    #[test]
    fn nothing_that_is_captured_panics() {
        let mut buffer = Vec::new();
        for first in [0x00, 0x40, 0x4f, 0x60, 0xff] {
            for len in 0..60 {
                let bytes = vec![first; len];
                prepare(&bytes, 100, &mut buffer);
            }
        }
    }
}
