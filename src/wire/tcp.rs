//! The TCP header: ports, numbers, and what is wrong with it.
//!
//! Does not: know IP headers or flows.

use super::bytes::Missing;
use super::datagram::{Datagram, ports};
use super::options;
use super::{Checksums, Decoded, Packet, Undecodable};
use crate::segment::{Flags, HeaderFault, Options, Segment};
use crate::seq::SeqNum;
use crate::tuple::TCP;

/// Length of the header without options, in bytes.
const FIXED_LEN: usize = 20;

/// Decodes the TCP segment that a datagram carries.
#[inline]
pub(super) fn decode(datagram: &Datagram<'_>) -> Decoded {
    let Some((fixed, rest)) = datagram.payload.captured.split_first_chunk::<FIXED_LEN>() else {
        return decode_short(datagram);
    };
    let [p0, p1, p2, p3, ..] = *fixed;
    let (key, orientation) = datagram.addresses.key(TCP, ports([p0, p1, p2, p3]));
    let header_len = usize::from(fixed[12] >> 4) * 4;
    let options_len = header_len.saturating_sub(FIXED_LEN);
    let fault = fault(datagram, header_len, Flags(fixed[13]));
    let is_truncated = fault == Some(HeaderFault::Truncated);
    let options_cut = rest.len() < options_len && !is_truncated;
    let with_options = |options| {
        let fixed_fields = fixed_fields(datagram, fixed);
        let segment = Segment { options, fault, options_cut, ..fixed_fields };
        Decoded::Segment(Packet { key, orientation, segment })
    };
    if options_len == 0 || is_truncated {
        return with_options(Options::NONE);
    }
    with_options(options::walk(rest.get(..options_len).unwrap_or(rest)))
}

/// Decodes a segment of which fewer than 20 bytes are there: too short by its IP length, which is
/// a fault, or cut by the snap length.
#[cold]
fn decode_short(datagram: &Datagram<'_>) -> Decoded {
    let (fault, ports) = match datagram.payload.chunk::<4>(0) {
        Err(Missing::Absent) => (HeaderFault::NotTrackable, [0, 0]),
        Ok(bytes) if datagram.payload.len < FIXED_LEN => (HeaderFault::Short, ports(bytes)),
        Ok(_) | Err(Missing::Cut) => return Decoded::Undecodable(Undecodable::TcpHeaderCut),
    };
    let (key, orientation) = datagram.addresses.key(TCP, ports);
    let mut fixed = [0; FIXED_LEN];
    for (slot, byte) in fixed.iter_mut().zip(datagram.payload.captured) {
        *slot = *byte;
    }
    let segment = Segment { fault: Some(fault), ..fixed_fields(datagram, &fixed) };
    Decoded::Segment(Packet { key, orientation, segment })
}

/// Reads what stands in the first 20 bytes, and in the IP header.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a datagram's length comes from 32 bits")]
fn fixed_fields(datagram: &Datagram<'_>, fixed: &[u8; FIXED_LEN]) -> Segment {
    let header_len = (fixed[12] >> 4) * 4;
    Segment {
        seq: SeqNum(u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]])),
        ack: SeqNum(u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]])),
        len: datagram.payload.len.saturating_sub(usize::from(header_len)) as u32,
        win: u16::from_be_bytes([fixed[14], fixed[15]]),
        flags: Flags(fixed[13]),
        header_len,
        ttl: datagram.ttl,
        ip_id: datagram.ip_id,
        ..Segment::default()
    }
}

/// Returns the first thing that is wrong with a header of at least 20 bytes.
#[inline]
fn fault(datagram: &Datagram<'_>, header_len: usize, flags: Flags) -> Option<HeaderFault> {
    if header_len < FIXED_LEN || datagram.payload.len < header_len {
        return Some(HeaderFault::Truncated);
    }
    if datagram.checksums != Checksums::Ignored && is_corrupt(datagram) {
        return Some(HeaderFault::BadChecksum);
    }
    (!is_valid_combination(flags)).then_some(HeaderFault::BadFlags)
}

/// Returns whether the checksum is wrong, and not merely left to the network card.
#[cold]
fn is_corrupt(datagram: &Datagram<'_>) -> bool {
    let pseudo_header = datagram.pseudo_header();
    let partial = Ok(pseudo_header.fold().to_be_bytes());
    let is_excused =
        datagram.checksums == Checksums::Verified && datagram.payload.chunk::<2>(16) == partial;
    datagram.is_corrupt(pseudo_header) && !is_excused
}

/// Returns whether the flags, PSH, ECE and CWR aside, are in `tcp_valid_flags`
/// (`nf_conntrack_proto_tcp.c`, Linux 6.18).
#[inline]
pub(super) const fn is_valid_combination(flags: Flags) -> bool {
    const FIN: u8 = Flags::FIN.0;
    const SYN: u8 = Flags::SYN.0;
    const RST: u8 = Flags::RST.0;
    const ACK: u8 = Flags::ACK.0;
    const URG: u8 = Flags::URG.0;
    /// A bit for each valid combination.
    const BITS: u64 = 1 << SYN
        | 1 << (SYN | URG)
        | 1 << (SYN | ACK)
        | 1 << RST
        | 1 << (RST | ACK)
        | 1 << (FIN | ACK)
        | 1 << (FIN | ACK | URG)
        | 1 << ACK
        | 1 << (ACK | URG);
    BITS >> (flags.0 & (FIN | SYN | RST | ACK | URG)) & 1 != 0
}
