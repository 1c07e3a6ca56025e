//! The IPv4 header, checked as `ip_rcv_core()` does (`net/ipv4/ip_input.c`, Linux 6.18).
//!
//! Does not: know link layers or layer 4.

use std::ops::Range;

use super::bytes::Payload;
use super::checksum::Sum;
use super::datagram::{Addresses, Datagram};
use super::fragments::Fragment;
use super::{Checksums, Decoded, Packetized, Undecodable, transport};
use crate::tuple::TCP;

/// Length of a header without options, in bytes.
const MIN_HEADER_LEN: usize = 20;
/// "More fragments" in the word of flags and offset.
const MORE_FRAGMENTS: u16 = 0x2000;
/// The fragment offset, in units of 8 bytes, in the word of flags and offset.
const OFFSET_MASK: u16 = 0x1fff;

/// Decodes an IPv4 packet.
#[inline]
pub(super) fn decode(packet: Packetized<'_>) -> Decoded {
    let Payload { captured, len: available } = packet.payload;
    let Some(header) = captured.first_chunk::<MIN_HEADER_LEN>() else {
        return missing_header(MIN_HEADER_LEN, available);
    };
    let header_len = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || header_len < MIN_HEADER_LEN {
        return Decoded::Undecodable(Undecodable::BadIpHeader);
    }
    let Some((whole_header, _)) = captured.split_at_checked(header_len) else {
        return missing_header(header_len, available);
    };
    let protocol = header[9];
    let total_len = match u16::from_be_bytes([header[2], header[3]]) {
        // Left to the network card, which cuts the segment into packets.
        0 if protocol == TCP => available,
        total_len => usize::from(total_len),
    };
    let believed = packet.checksums == Checksums::Ignored
        || (total_len <= available && is_intact(whole_header));
    if total_len < header_len || !believed {
        return Decoded::Undecodable(Undecodable::BadIpHeader);
    }
    let datagram = datagram(packet, header, header_len, total_len);
    let fragment_word = u16::from_be_bytes([header[6], header[7]]);
    if fragment_word & (MORE_FRAGMENTS | OFFSET_MASK) == 0 {
        transport::decode(&datagram)
    } else {
        Decoded::Fragment(fragment(
            &datagram,
            fragment_word,
            header[1],
            packet.offset..packet.offset + header_len,
        ))
    }
}

/// Reads the header of a packet that decoded well and is no fragment, and how long it is.
pub(super) fn carried(packet: Packetized<'_>) -> Option<(Datagram<'_>, usize)> {
    let header = packet.payload.captured.first_chunk::<MIN_HEADER_LEN>()?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    Some((datagram(packet, header, header_len, total_len), header_len))
}

/// Returns how long the header is that a packet begins with.
pub(super) fn header_len(packet: &[u8]) -> Option<usize> {
    let header_len = usize::from(packet.first()? & 0x0f) * 4;
    Some(header_len.max(MIN_HEADER_LEN))
}

/// Describes the datagram behind a header that was checked.
#[inline]
fn datagram<'a>(
    packet: Packetized<'a>,
    header: &[u8; MIN_HEADER_LEN],
    header_len: usize,
    total_len: usize,
) -> Datagram<'a> {
    Datagram {
        addresses: Addresses::V4 {
            src: u32::from_be_bytes([header[12], header[13], header[14], header[15]]),
            dst: u32::from_be_bytes([header[16], header[17], header[18], header[19]]),
        },
        protocol: header[9],
        ttl: header[8],
        ip_id: u16::from_be_bytes([header[4], header[5]]),
        payload: Payload::new(packet.payload.captured, total_len).after(header_len),
        payload_sum: None,
        checksums: packet.checksums,
    }
}

/// Tells a header that the capture cut from one that the packet is too short for.
#[cold]
fn missing_header(needed: usize, available: usize) -> Decoded {
    Decoded::Undecodable(if needed > available {
        Undecodable::BadIpHeader
    } else {
        Undecodable::IpHeaderCut
    })
}

/// Returns whether the header checksum holds, or is 0 in a segment that the network card cuts into
/// packets and completes.
#[inline]
fn is_intact(header: &[u8]) -> bool {
    let is_zero = |at: usize| header.get(at..at + 2) == Some(&[0, 0]);
    Sum::default().add_bytes(header).is_intact() || (is_zero(10) && is_zero(2))
}

#[cold]
#[expect(clippy::cast_possible_truncation, reason = "at most 60, 65,535 and the length of a frame")]
fn fragment(datagram: &Datagram<'_>, word: u16, tos: u8, header: Range<usize>) -> Fragment {
    Fragment {
        src: datagram.addresses.src(),
        dst: datagram.addresses.dst(),
        id: u32::from(datagram.ip_id),
        protocol: datagram.protocol,
        ttl: datagram.ttl,
        ecn: tos & 3,
        more: word & MORE_FRAGMENTS != 0,
        offset: u32::from(word & OFFSET_MASK) * 8,
        len: datagram.payload.len as u32,
        start: header.end as u32,
        header_len: header.len() as u16,
    }
}
