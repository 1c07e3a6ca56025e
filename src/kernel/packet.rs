//! Which entry of the connection table a packet is about.
//!
//! Does not: judge; what it cannot read has no tuple.

use super::tap::IpVersion;

/// IP protocol numbers with a form of their own in the table.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
/// Protocols whose tuple holds two ports: TCP, UDP, DCCP, SCTP, UDP-Lite.
const WITH_PORTS: [u8; 5] = [TCP, UDP, 33, 132, 136];

/// What the table tells entries apart by, as the packet travels (`struct nf_conntrack_tuple`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Tuple {
    /// Which addresses.
    pub(super) version: IpVersion,
    /// IP protocol number.
    pub(super) protocol: u8,
    /// Source address; IPv4 in the first four bytes.
    pub(super) source: [u8; 16],
    /// Destination address.
    pub(super) destination: [u8; 16],
    /// Ports, or for ICMP the id, and the type above the code.
    pub(super) detail: [u16; 2],
}

impl Tuple {
    /// Returns the same tuple for both directions of an entry.
    pub(super) fn canonical(self) -> Self {
        let [first, second] = self.detail;
        let is_turned = match self.protocol {
            ICMP | ICMPV6 => request_of(first_byte(second)).is_some(),
            _ => (self.source, first) > (self.destination, second),
        };
        if is_turned { self.inverted() } else { self }
    }

    /// Returns whether the detail is that of ICMP or ICMPv6.
    pub(super) fn is_icmp(&self) -> bool {
        matches!(self.protocol, ICMP | ICMPV6)
    }

    /// Returns whether the protocol has a detail in the tuple.
    pub(super) fn has_detail(&self) -> bool {
        self.is_icmp() || self.protocol == GRE || WITH_PORTS.contains(&self.protocol)
    }

    fn inverted(self) -> Self {
        let [first, second] = self.detail;
        let detail = if self.is_icmp() {
            let [kind, code] = second.to_be_bytes();
            [first, u16::from_be_bytes([request_of(kind).unwrap_or(kind), code])]
        } else {
            [second, first]
        };
        Self { source: self.destination, destination: self.source, detail, ..self }
    }
}

/// GRE of version 0 has an entry for each pair of addresses; its detail is 0.
const GRE: u8 = 47;

fn first_byte(number: u16) -> u8 {
    let [first, _] = number.to_be_bytes();
    first
}

/// Returns the ICMP or ICMPv6 request that a type answers.
fn request_of(kind: u8) -> Option<u8> {
    match kind {
        0 => Some(8),
        14 => Some(13),
        16 => Some(15),
        18 => Some(17),
        129 => Some(128),
        140 => Some(139),
        _ => None,
    }
}

/// What can be seen of a packet before it is fed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sight {
    /// Which IP header.
    pub(super) version: IpVersion,
    /// The entry that it is about: its own, or for an ICMP error that of the quoted packet.
    pub(super) tuple: Option<Tuple>,
    /// Whether it is one of several fragments; the tuple is then left open.
    pub(super) is_fragment: bool,
    /// Whether its header may not survive the reassembly of fragments.
    pub(super) may_be_rewritten: bool,
    /// Whether it is a TCP segment with RST or FIN.
    pub(super) is_closing: bool,
}

impl Sight {
    /// Looks at an IP packet; `None` when it is neither IPv4 nor IPv6.
    pub(super) fn of(packet: &[u8]) -> Option<Self> {
        let version = match packet.first()? >> 4 {
            4 => IpVersion::V4,
            6 => IpVersion::V6,
            _ => return None,
        };
        let mut sight = Self {
            version,
            tuple: None,
            is_fragment: false,
            may_be_rewritten: false,
            is_closing: false,
        };
        let Some(datagram) = Datagram::read(packet) else { return Some(sight) };
        sight.may_be_rewritten = datagram.fragment.is_some();
        if datagram.fragment.is_some_and(|fragment| fragment & MORE_OR_OFFSET != 0) {
            sight.is_fragment = true;
            return Some(sight);
        }
        let flags = datagram.payload.get(13).copied().unwrap_or_default();
        sight.is_closing = datagram.protocol == TCP && flags & 0x05 != 0;
        sight.tuple = datagram.entry_tuple();
        Some(sight)
    }
}

/// An IP header that could be read.
#[derive(Clone, Copy, Debug)]
struct Datagram<'a> {
    version: IpVersion,
    protocol: u8,
    source: [u8; 16],
    destination: [u8; 16],
    /// Offset in units of 8 bytes above three bits, the lowest of which says that more follow;
    /// `None` when the datagram is whole.
    fragment: Option<u16>,
    payload: &'a [u8],
}

/// Offset and "more follow".
const MORE_OR_OFFSET: u16 = 0xfff9;
/// Offset alone.
const OFFSET: u16 = 0xfff8;

impl<'a> Datagram<'a> {
    fn read(packet: &'a [u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::read_v4(packet),
            6 => Self::read_v6(packet),
            _ => None,
        }
    }

    fn read_v4(packet: &'a [u8]) -> Option<Self> {
        let header_len = usize::from(packet.first()? & 0xf) * 4;
        let word = read_u16(packet, 6)?;
        let fragment = (word & 0x1fff) << 3 | (word >> 13 & 1);
        let address = |at: usize| {
            let mut bytes = [0; 16];
            bytes.first_chunk_mut::<4>()?.copy_from_slice(packet.get(at..at + 4)?);
            Some(bytes)
        };
        Some(Self {
            version: IpVersion::V4,
            protocol: *packet.get(9)?,
            source: address(12)?,
            destination: address(16)?,
            fragment: (fragment != 0).then_some(fragment),
            payload: packet.get(header_len.max(20)..)?,
        })
    }

    fn read_v6(packet: &'a [u8]) -> Option<Self> {
        let address = |at: usize| packet.get(at..at + 16)?.try_into().ok();
        let (source, destination) = (address(8)?, address(24)?);
        let mut protocol = *packet.get(6)?;
        let mut payload = packet.get(40..)?;
        let mut fragment = None;
        loop {
            let len = match protocol {
                0 | 43 | 60 => usize::from(*payload.get(1)?) * 8 + 8,
                51 => usize::from(*payload.get(1)?) * 4 + 8,
                44 => {
                    fragment = Some(read_u16(payload, 2)?);
                    8
                }
                _ => break,
            };
            protocol = *payload.first()?;
            payload = payload.get(len..)?;
            if fragment.is_some_and(|fragment| fragment & OFFSET != 0) {
                break;
            }
        }
        let version = IpVersion::V6;
        Some(Self { version, protocol, source, destination, fragment, payload })
    }

    fn entry_tuple(&self) -> Option<Tuple> {
        match self.error_payload() {
            Some(quoted) => {
                let quoted = Self::read(quoted)?;
                let is_later = quoted.fragment.is_some_and(|fragment| fragment & OFFSET != 0);
                if is_later { None } else { quoted.own_tuple() }
            }
            None => self.own_tuple(),
        }
    }

    /// Returns the quoted packet of an ICMP or ICMPv6 error message.
    fn error_payload(&self) -> Option<&'a [u8]> {
        let kind = *self.payload.first()?;
        let is_error = match self.protocol {
            ICMP => matches!(kind, 3 | 4 | 5 | 11 | 12),
            ICMPV6 => kind < 128,
            _ => false,
        };
        if is_error { self.payload.get(8..) } else { None }
    }

    fn own_tuple(&self) -> Option<Tuple> {
        let detail = if matches!(self.protocol, ICMP | ICMPV6) {
            [read_u16(self.payload, 4)?, read_u16(self.payload, 0)?]
        } else if WITH_PORTS.contains(&self.protocol) {
            [read_u16(self.payload, 0)?, read_u16(self.payload, 2)?]
        } else {
            [0, 0]
        };
        let Self { version, protocol, source, destination, .. } = *self;
        Some(Tuple { version, protocol, source, destination, detail })
    }
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
        packet[6..8].copy_from_slice(&fragment.to_be_bytes());
        packet.extend_from_slice(&[192, 0, 2, 1, 192, 0, 2, 2]);
        packet.extend_from_slice(payload);
        packet
    }

    #[test]
    fn both_directions_have_one_canonical_tuple() {
        let tuple = Sight::of(&v4(TCP, 0, &[0, 80, 1, 0])).unwrap().tuple.unwrap();
        assert_eq!(tuple.detail, [80, 256]);
        assert_eq!(tuple.inverted().canonical(), tuple.canonical());
        let echo = Sight::of(&v4(ICMP, 0, &[8, 0, 0, 0, 0, 9, 0, 1])).unwrap().tuple.unwrap();
        let mut reply = Tuple { detail: [9, 0], ..echo };
        (reply.source, reply.destination) = (echo.destination, echo.source);
        assert_eq!(reply.canonical(), echo.canonical());
        assert_ne!(Tuple { detail: [9, 0], ..echo }.canonical(), echo.canonical());
    }

    #[test]
    fn an_icmp_error_is_about_the_quoted_packet() {
        let quoted = v4(TCP, 0, &[0, 80, 1, 0, 0, 0, 0, 0]);
        let error = [&[3, 1, 0, 0, 0, 0, 0, 0][..], &quoted].concat();
        let sight = Sight::of(&v4(ICMP, 0, &error)).unwrap();
        assert_eq!(sight.tuple, Sight::of(&quoted).unwrap().tuple);
    }

    #[test]
    fn fragments_have_no_tuple_yet() {
        for fragment in [0x2000, 0x0001] {
            let sight = Sight::of(&v4(TCP, fragment, &[0, 80, 1, 0])).unwrap();
            assert!(sight.is_fragment && sight.tuple.is_none());
        }
    }

    #[test]
    fn what_is_cut_has_no_tuple() {
        let whole = v4(TCP, 0, &[0, 80, 1, 0]);
        for end in 1..whole.len() {
            assert_eq!(Sight::of(&whole[..end]).unwrap().tuple, None, "{end}");
        }
        assert_eq!(Sight::of(&[]), None);
        assert_eq!(Sight::of(&[0x50]), None);
    }
}
