//! Other addresses in the headers of a packet, which stay as sound or unsound as they were.
//!
//! Does not: decide which addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::bytes::be16;
use super::headers::{Found, outermost};
use crate::frame::{Frame, LinkType};
use crate::time::Timestamp;

/// Where the checksum stands in an IPv4 header, and in a TCP header.
const IPV4_CHECKSUM_AT: usize = 10;
const TCP_CHECKSUM_AT: usize = 16;
/// Length of the fixed headers in bytes.
const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
/// Bytes of an extension header that say which comes next, and how long this one is.
const EXTENSION_START: usize = 2;

/// Replaces the addresses of a packet that begins with its IP header and holds headers only.
///
/// Options of IPv4 and what IPv6 extension headers hold may name further addresses: they become
/// padding. Checksums are adjusted by what was changed (RFC 1624), so that a right one stays right and
/// a wrong one wrong. What is no IP header is emptied.
pub fn map_addresses(packet: &mut [u8], map: &dyn Fn(IpAddr) -> IpAddr) {
    let original_len = u32::try_from(packet.len()).unwrap_or(u32::MAX);
    let (ts, clock) = (Timestamp(0), Timestamp(0));
    let frame = Frame {
        number: 1,
        ts,
        clock,
        link: LinkType::RAW,
        original_len,
        is_outbound: false,
        bytes: packet,
    };
    let found = outermost(&frame).map(|Found { upper, tcp, .. }| (upper, tcp.is_some()));
    let Some((upper, has_tcp)) = found else {
        packet.fill(0);
        return;
    };
    let (addresses_at, change) = if packet.first().is_some_and(|byte| byte >> 4 == 4) {
        let options = packet.get(IPV4_LEN..upper.min(packet.len())).unwrap_or_default().to_vec();
        replace(packet, IPV4_LEN, &vec![0; options.len()], IPV4_CHECKSUM_AT);
        (12, replaced::<4>(packet, 12, &|bytes| map(IpAddr::V4(Ipv4Addr::from(bytes)))))
    } else {
        blank_extensions(packet, upper);
        (8, replaced::<16>(packet, 8, &|bytes| map(IpAddr::V6(Ipv6Addr::from(bytes)))))
    };
    let old = packet.get(addresses_at..addresses_at + change.len()).map(<[u8]>::to_vec);
    let Some(old) = old else { return };
    if has_tcp {
        adjust(packet, upper + TCP_CHECKSUM_AT, &old, &change);
    }
    if change.len() == 8 {
        replace(packet, addresses_at, &change, IPV4_CHECKSUM_AT);
    } else if let Some(place) = packet.get_mut(addresses_at..addresses_at + change.len()) {
        place.copy_from_slice(&change);
    }
}

/// Returns what two addresses that follow one another become.
fn replaced<const N: usize>(packet: &[u8], at: usize, map: &dyn Fn([u8; N]) -> IpAddr) -> Vec<u8> {
    let mut change = Vec::new();
    for start in [at, at + N] {
        let Some(bytes) = packet.get(start..).and_then(<[u8]>::first_chunk::<N>) else { break };
        match map(*bytes) {
            IpAddr::V4(address) => change.extend(address.octets()),
            IpAddr::V6(address) => change.extend(address.octets()),
        }
    }
    change
}

/// Writes bytes, and adjusts the checksum that covers them.
fn replace(packet: &mut [u8], at: usize, new: &[u8], checksum_at: usize) {
    let Some(old) = packet.get(at..at + new.len()).map(<[u8]>::to_vec) else { return };
    adjust(packet, checksum_at, &old, new);
    if let Some(place) = packet.get_mut(at..at + new.len()) {
        place.copy_from_slice(new);
    }
}

/// Adjusts a checksum by words that changed: RFC 1624, equation 3.
fn adjust(packet: &mut [u8], checksum_at: usize, old: &[u8], new: &[u8]) {
    let Some(checksum) = be16(packet, checksum_at) else { return };
    let words =
        |bytes: &[u8]| -> Vec<u16> { bytes.chunks(2).filter_map(|word| be16(word, 0)).collect() };
    let removed = words(old).into_iter().map(|word| u32::from(!word));
    let added = words(new).into_iter().map(u32::from);
    let mut sum = u32::from(!checksum) + removed.chain(added).sum::<u32>();
    while sum > u32::from(u16::MAX) {
        sum = (sum >> 16) + (sum & u32::from(u16::MAX));
    }
    let adjusted = !u16::try_from(sum).unwrap_or(0);
    if let Some(place) = packet.get_mut(checksum_at..checksum_at + 2) {
        place.copy_from_slice(&adjusted.to_be_bytes());
    }
}

/// Turns what extension headers hold into padding; which headers there are stays.
fn blank_extensions(packet: &mut [u8], upper: usize) {
    let mut at = IPV6_LEN;
    while at < upper {
        let Some([_, words]) = packet.get(at..).and_then(<[u8]>::first_chunk::<2>) else { return };
        let end = (at + 8 + usize::from(*words) * 8).min(upper).min(packet.len());
        if let Some(content) = packet.get_mut(at + EXTENSION_START..end) {
            content.fill(0);
        }
        at = end.max(at + 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::checksum::Sum;

    fn other(address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(!v4.to_bits())),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(!v6.to_bits())),
        }
    }

    /// 203.0.113.1 > 192.0.2.1 with an IP option and 20 bytes of TCP, checksums right.
    fn packet() -> Vec<u8> {
        let mut bytes = vec![0x46, 0, 0, 44, 0, 1, 0, 0, 64, 6, 0, 0];
        bytes.extend([203, 0, 113, 1, 192, 0, 2, 1, 7, 4, 9, 9]);
        bytes.extend([3, 232, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 0, 1, 0, 0, 0, 0]);
        let header = Sum::default().add_bytes(&bytes[..24]).fold();
        bytes[10..12].copy_from_slice(&(!header).to_be_bytes());
        let tcp = pseudo(&bytes).add_bytes(&bytes[24..]).fold();
        bytes[40..42].copy_from_slice(&(!tcp).to_be_bytes());
        bytes
    }

    fn pseudo(packet: &[u8]) -> Sum {
        Sum::default().add_bytes(&packet[12..20]).add_bytes(&[0, 6, 0, 20])
    }

    #[test]
    fn addresses_are_replaced_and_checksums_stay_right() {
        let mut bytes = packet();
        map_addresses(&mut bytes, &other);
        assert_eq!(bytes[12..20], [52, 255, 142, 254, 63, 255, 253, 254]);
        assert_eq!(bytes[20..24], [0; 4], "options may hold addresses");
        assert!(Sum::default().add_bytes(&bytes[..24]).is_intact());
        assert!(pseudo(&bytes).add_bytes(&bytes[24..]).is_intact());
    }

    #[test]
    fn a_wrong_checksum_stays_wrong() {
        let mut bytes = packet();
        bytes[40] ^= 0x55;
        map_addresses(&mut bytes, &other);
        assert!(!pseudo(&bytes).add_bytes(&bytes[24..]).is_intact());
    }

    #[test]
    fn what_extension_headers_hold_becomes_padding() {
        let mut bytes = vec![0x60, 0, 0, 0, 0, 44, 43, 64];
        bytes.extend([0x20; 32]);
        bytes.extend([6, 2, 4, 1]);
        bytes.extend([0x77; 20]);
        bytes.extend([3, 232, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 0, 1, 0, 0, 0, 0]);
        map_addresses(&mut bytes, &other);
        assert_eq!(bytes[8..40], [0xdf; 32]);
        assert_eq!(bytes[40..42], [6, 2]);
        assert_eq!(bytes[42..64], [0; 22]);
        assert_eq!(bytes[64..68], [3, 232, 0, 80]);
    }

    #[test]
    fn whatever_the_bytes_are_no_address_is_left_and_nothing_breaks() {
        for len in 0..64 {
            for first in [0x45, 0x4f, 0x60, 0x00, 0xff] {
                let mut bytes = vec![first; len];
                map_addresses(&mut bytes, &other);
                assert_eq!(bytes.len(), len);
            }
        }
    }
}
