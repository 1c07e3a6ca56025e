//! The IPv6 header and its extension headers, walked as `ipv6_skip_exthdr()` does
//! (`net/ipv6/exthdrs_core.c`, Linux 6.18).
//!
//! Does not: know link layers or layer 4.

use std::borrow::Cow;

use super::bytes::{Missing, Payload};
use super::datagram::{Addresses, Datagram};
use super::fragments::Fragment;
use super::transport::{ICMPV6, UDP};
use super::{Checksums, Decoded, Fault, Packetized, Undecodable, transport};
use crate::tuple::TCP;

/// Length of the fixed header in bytes.
pub(super) const HEADER_LEN: usize = 40;
/// Largest payload length that the fixed header can tell.
const MAX_PAYLOAD_LEN: usize = 65_535;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const NO_NEXT_HEADER: u8 = 59;
const DESTINATION_OPTIONS: u8 = 60;

/// Length of the fragment header in bytes.
const FRAGMENT_HEADER_LEN: usize = 8;
/// "More fragments" in the word of offset and flags.
const MORE_FRAGMENTS: u16 = 1;
/// The fragment offset in bytes, in the word of offset and flags.
const OFFSET_MASK: u16 = 0xfff8;

/// The Pad1 option, which has no length byte (RFC 8200, section 4.2).
const OPTION_PAD1: u8 = 0;
/// The jumbo payload option (RFC 2675).
const OPTION_JUMBO: u8 = 0xc2;

/// Decodes an IPv6 packet.
#[inline]
pub(super) fn decode(packet: Packetized<'_>) -> Decoded {
    let Payload { captured, len: available } = packet.payload;
    let Some(header) = captured.first_chunk::<HEADER_LEN>() else {
        let is_cut = available >= HEADER_LEN;
        let reason = if is_cut { Undecodable::IpHeaderCut } else { Undecodable::BadIpHeader };
        return Decoded::Undecodable(reason);
    };
    let rest = packet.payload.after(HEADER_LEN);
    let payload_len = payload_len(header, rest);
    let too_long = payload_len > rest.len && packet.checksums != Checksums::Ignored;
    if header[0] >> 4 != 6 || too_long {
        return Decoded::Undecodable(Undecodable::BadIpHeader);
    }
    let datagram = datagram(packet, header, payload_len);
    if datagram.protocol == TCP {
        return transport::decode(&datagram);
    }
    match fragment_header(&datagram) {
        Ok(Some(found)) if !is_passed(&datagram, header, found) => {
            Decoded::Fragment(fragment(&datagram, found, header, packet.offset + HEADER_LEN))
        }
        Ok(_) | Err(Missing::Absent) => decode_extended(&datagram),
        Err(Missing::Cut) => Decoded::Undecodable(Undecodable::IpHeaderCut),
    }
}

/// Reads the headers of a packet that decoded well and is no fragment, and how long they are.
pub(super) fn carried(packet: Packetized<'_>) -> Option<(Datagram<'_>, usize)> {
    let header = packet.payload.captured.first_chunk::<HEADER_LEN>()?;
    let payload_len = payload_len(header, packet.payload.after(HEADER_LEN));
    let whole = datagram(packet, header, payload_len);
    let upper = upper_layer(whole.payload, Next { protocol: whole.protocol, at: 0 }).ok()?;
    let payload = whole.payload.after(upper.at);
    let datagram = Datagram { protocol: upper.protocol, payload, ..whole };
    Some((datagram, HEADER_LEN + upper.at))
}

/// Returns the bytes of a packet with the fragment header cut out that follows its header at once.
pub(super) fn without_fragment_header(packet: &[u8]) -> Cow<'_, [u8]> {
    const NEXT_HEADER_AT: usize = 6;
    let Some((header, rest)) = packet.split_first_chunk::<HEADER_LEN>() else {
        return Cow::Borrowed(packet);
    };
    match rest.split_at_checked(FRAGMENT_HEADER_LEN) {
        Some(([next, ..], rest)) if header[0] >> 4 == 6 && header[NEXT_HEADER_AT] == FRAGMENT => {
            let mut header = *header;
            header[NEXT_HEADER_AT] = *next;
            Cow::Owned([&header, rest].concat())
        }
        _ => Cow::Borrowed(packet),
    }
}

/// Describes the datagram behind a header that was checked, extension headers included.
#[inline]
fn datagram<'a>(
    packet: Packetized<'a>,
    header: &[u8; HEADER_LEN],
    payload_len: usize,
) -> Datagram<'a> {
    let rest = packet.payload.after(HEADER_LEN);
    Datagram {
        addresses: Addresses::V6 { src: address(header, 8), dst: address(header, 24) },
        protocol: header[6],
        ttl: header[7],
        ip_id: 0,
        payload: Payload::new(rest.captured, payload_len),
        payload_sum: None,
        checksums: packet.checksums,
    }
}

fn address(header: &[u8; HEADER_LEN], at: usize) -> u128 {
    let bytes = header.get(at..).and_then(<[u8]>::first_chunk::<16>);
    bytes.map_or(0, |bytes| u128::from_be_bytes(*bytes))
}

/// Returns the length of the payload in bytes.
///
/// A length of 0 stands for the rest of the frame when it is left to the network card, for that of
/// a jumbo payload option when there is one, and for itself otherwise.
#[inline]
fn payload_len(header: &[u8; HEADER_LEN], rest: Payload<'_>) -> usize {
    match (u16::from_be_bytes([header[4], header[5]]), header[6]) {
        (0, TCP) => rest.len,
        (0, HOP_BY_HOP) => jumbo_len(rest).unwrap_or(rest.len),
        (payload_len, _) => usize::from(payload_len),
    }
}

/// Returns the length that a jumbo payload option in the hop-by-hop header tells; one that a
/// plain length could have told is no length at all (RFC 2675, section 3).
fn jumbo_len(rest: Payload<'_>) -> Option<usize> {
    let [_, words] = rest.chunk::<2>(0).ok()?;
    let header_len = 8 + usize::from(words) * 8;
    let mut options = rest.captured.get(2..header_len)?;
    while let Some((&kind, after_kind)) = options.split_first() {
        options = match *after_kind {
            _ if kind == OPTION_PAD1 => after_kind,
            [4, a, b, c, d, ..] if kind == OPTION_JUMBO => {
                let jumbo_len = u32::from_be_bytes([a, b, c, d]) as usize;
                return Some(if jumbo_len > MAX_PAYLOAD_LEN { jumbo_len } else { usize::MAX });
            }
            [len, ..] => after_kind.get(1 + usize::from(len)..)?,
            [] => return None,
        };
    }
    None
}

/// One header of the chain: which one comes next, and where.
#[derive(Clone, Copy, Debug)]
struct Next {
    protocol: u8,
    /// Offset in the payload of the packet.
    at: usize,
}

/// A fragment header that stands for a real fragment.
#[derive(Clone, Copy, Debug)]
struct FragmentHeader {
    /// Where it starts in the payload of the packet.
    at: usize,
    next: Next,
    word: u16,
    id: u32,
}

const fn is_extension(protocol: u8) -> bool {
    matches!(
        protocol,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | NO_NEXT_HEADER | DESTINATION_OPTIONS
    )
}

/// Steps over one extension header.
fn step(payload: Payload<'_>, here: Next) -> Result<Next, Missing> {
    let [protocol, words] = payload.chunk::<2>(here.at)?;
    let len = match here.protocol {
        FRAGMENT => FRAGMENT_HEADER_LEN,
        AUTHENTICATION => (usize::from(words) + 2) * 4,
        _ => (usize::from(words) + 1) * 8,
    };
    Ok(Next { protocol, at: here.at + len })
}

/// Finds the fragment header, as `find_prev_fhdr()` does (`nf_conntrack_reasm.c`, Linux 6.18).
///
/// One of offset 0 with nothing to follow is an atomic fragment (RFC 6946), which is whole.
fn fragment_header(datagram: &Datagram<'_>) -> Result<Option<FragmentHeader>, Missing> {
    let mut here = Next { protocol: datagram.protocol, at: 0 };
    while is_extension(here.protocol) && here.protocol != NO_NEXT_HEADER {
        if here.protocol == FRAGMENT {
            let [protocol, _, w0, w1, i0, i1, i2, i3] = datagram.payload.chunk(here.at)?;
            let found = FragmentHeader {
                at: here.at,
                next: Next { protocol, at: here.at + FRAGMENT_HEADER_LEN },
                word: u16::from_be_bytes([w0, w1]),
                id: u32::from_be_bytes([i0, i1, i2, i3]),
            };
            return Ok((found.word & (OFFSET_MASK | MORE_FRAGMENTS) != 0).then_some(found));
        }
        here = step(datagram.payload, here)?;
    }
    Ok(None)
}

/// Returns whether the kernel lets a fragment pass as it is: any in a jumbogram, and a first one
/// without all headers, by RFC 8200, section 4.5, and `ipv6frag_thdr_truncated()`
/// (`net/ipv6/reassembly.c`, Linux 6.18).
fn is_passed(datagram: &Datagram<'_>, header: &[u8; HEADER_LEN], found: FragmentHeader) -> bool {
    if header[4..6] == [0, 0] {
        return true;
    }
    if found.word & OFFSET_MASK != 0 {
        return false;
    }
    let Ok(upper) = upper_layer(datagram.payload, found.next) else { return false };
    let header_len = match upper.protocol {
        TCP => 20,
        UDP | ICMPV6 => 8,
        _ => 1,
    };
    upper.at + header_len > datagram.payload.len
}

/// Why the chain of headers leads to no layer 4.
enum NoUpperLayer {
    /// A later fragment, no next header, or a chain that goes beyond the packet.
    NotTrackable,
    /// The snap length cut the chain.
    Cut,
}

impl From<Missing> for NoUpperLayer {
    fn from(missing: Missing) -> Self {
        match missing {
            Missing::Absent => Self::NotTrackable,
            Missing::Cut => Self::Cut,
        }
    }
}

/// Walks from `here` to the first header that is no extension header.
fn upper_layer(payload: Payload<'_>, mut here: Next) -> Result<Next, NoUpperLayer> {
    while is_extension(here.protocol) {
        if here.protocol == NO_NEXT_HEADER {
            return Err(NoUpperLayer::NotTrackable);
        }
        if here.protocol == FRAGMENT {
            let word = u16::from_be_bytes(payload.chunk(here.at + 2)?);
            if word & OFFSET_MASK != 0 {
                return Err(NoUpperLayer::NotTrackable);
            }
        }
        here = step(payload, here)?;
    }
    Ok(here)
}

/// Decodes a datagram that may begin with extension headers.
pub(super) fn decode_extended(datagram: &Datagram<'_>) -> Decoded {
    let start = Next { protocol: datagram.protocol, at: 0 };
    match upper_layer(datagram.payload, start) {
        Ok(upper) => transport::decode(&Datagram {
            protocol: upper.protocol,
            payload: datagram.payload.after(upper.at),
            payload_sum: datagram.payload_sum.filter(|_| upper.at == 0),
            ..*datagram
        }),
        Err(NoUpperLayer::NotTrackable) => Decoded::Other(datagram.invalid(Fault::NotTrackable)),
        Err(NoUpperLayer::Cut) => Decoded::Undecodable(Undecodable::IpHeaderCut),
    }
}

/// Finds what an ICMP error quotes: the upper-layer protocol and its offset in `payload`.
pub(super) fn quoted_upper_layer(
    payload: Payload<'_>,
    protocol: u8,
) -> Result<Option<(u8, usize)>, transport::HeaderCut> {
    match upper_layer(payload, Next { protocol, at: 0 }) {
        Ok(upper) => Ok(Some((upper.protocol, upper.at))),
        Err(NoUpperLayer::NotTrackable) => Ok(None),
        Err(NoUpperLayer::Cut) => Err(transport::HeaderCut),
    }
}

#[cold]
#[expect(clippy::cast_possible_truncation, reason = "lengths of at most 65,535, and of a frame")]
fn fragment(
    datagram: &Datagram<'_>,
    found: FragmentHeader,
    header: &[u8; HEADER_LEN],
    payload_offset: usize,
) -> Fragment {
    Fragment {
        src: datagram.addresses.src(),
        dst: datagram.addresses.dst(),
        id: found.id,
        protocol: found.next.protocol,
        ttl: datagram.ttl,
        ecn: (header[1] >> 4) & 3,
        more: found.word & MORE_FRAGMENTS != 0,
        offset: u32::from(found.word & OFFSET_MASK),
        len: (datagram.payload.len - found.next.at) as u32,
        start: (payload_offset + found.next.at) as u32,
        header_len: found.at as u16,
    }
}
