//! The short way for the frames of which captures nearly always consist: Ethernet without tags, an
//! IP header without options, extension headers or fragments, and a whole TCP header without fault.
//!
//! It finds what the long way finds, or nothing at all.

use super::datagram::{Addresses, ports};
use super::tcp::is_valid_combination;
use super::{Packet, options};
use crate::frame::{Frame, LinkType};
use crate::segment::{Flags, Options};
use crate::seq::SeqNum;
use crate::tuple::TCP;

/// Length of an Ethernet header, and of those with an IP header behind it.
const ETHERNET_LEN: usize = 14;
const IPV4_LEN: usize = ETHERNET_LEN + 20;
const IPV6_LEN: usize = ETHERNET_LEN + 40;
/// Length of a TCP header without options.
const TCP_LEN: usize = 20;

/// What the IP header says.
struct Network {
    addresses: Addresses,
    ttl: u8,
    ip_id: u16,
    /// Length of the TCP segment, header included.
    len: usize,
}

/// Decodes a plain frame into `packet`, which is written in place because it is large, and returns
/// whether it was one. Checksums are not judged.
#[inline]
pub fn decode_plain(frame: &Frame<'_>, packet: &mut Packet) -> bool {
    frame.link == LinkType::ETHERNET && decode(frame.bytes, packet).is_some()
}

#[inline]
fn decode(bytes: &[u8], packet: &mut Packet) -> Option<()> {
    match bytes {
        [_, _, _, _, _, _, _, _, _, _, _, _, 0x08, 0x00, 0x45, ..] => {
            let (headers, rest) = bytes.split_first_chunk::<{ IPV4_LEN + TCP_LEN }>()?;
            let (ip, tcp) = split::<IPV4_LEN, _>(headers)?;
            segment(&ipv4(ip)?, tcp, rest, packet)
        }
        [_, _, _, _, _, _, _, _, _, _, _, _, 0x86, 0xdd, 0x60..=0x6f, ..] => {
            let (headers, rest) = bytes.split_first_chunk::<{ IPV6_LEN + TCP_LEN }>()?;
            let (ip, tcp) = split::<IPV6_LEN, _>(headers)?;
            segment(&ipv6(ip)?, tcp, rest, packet)
        }
        _ => None,
    }
}

/// Splits whole headers into those up to IP and that of TCP.
#[inline]
fn split<const IP: usize, const ALL: usize>(
    headers: &[u8; ALL],
) -> Option<(&[u8; IP], &[u8; TCP_LEN])> {
    Some((headers.first_chunk()?, headers.last_chunk()?))
}

#[inline]
fn ipv4(header: &[u8; IPV4_LEN]) -> Option<Network> {
    let [
        ..,
        len0,
        len1,
        id0,
        id1,
        flags,
        offset,
        ttl,
        protocol,
        _,
        _,
        s0,
        s1,
        s2,
        s3,
        d0,
        d1,
        d2,
        d3,
    ] = *header;
    // "Do not fragment" may be set, all else makes it a fragment; reserved bits do not matter.
    let is_fragment = flags & 0x3f | offset != 0;
    if is_fragment || protocol != TCP {
        return None;
    }
    Some(Network {
        addresses: Addresses::V4 {
            src: u32::from_be_bytes([s0, s1, s2, s3]),
            dst: u32::from_be_bytes([d0, d1, d2, d3]),
        },
        ttl,
        ip_id: u16::from_be_bytes([id0, id1]),
        len: usize::from(u16::from_be_bytes([len0, len1])).checked_sub(20)?,
    })
}

#[inline]
fn ipv6(header: &[u8; IPV6_LEN]) -> Option<Network> {
    let fixed: &[u8; 8] = header.get(ETHERNET_LEN..)?.first_chunk()?;
    let [_, _, _, _, len0, len1, next, ttl] = *fixed;
    if next != TCP {
        return None;
    }
    let dst = u128::from_be_bytes(*header.last_chunk()?);
    let (before, _) = header.split_last_chunk::<16>()?;
    let src = u128::from_be_bytes(*before.last_chunk()?);
    let len = usize::from(u16::from_be_bytes([len0, len1]));
    Some(Network { addresses: Addresses::V6 { src, dst }, ttl, ip_id: 0, len })
}

#[inline]
fn read_options(bytes: &[u8]) -> Options {
    match options::only_timestamps(bytes) {
        Some(timestamps) => Options { timestamps: Some(timestamps), ..Options::default() },
        None => options::walk(bytes, bytes.len()),
    }
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a length comes from 16 bits")]
fn segment(
    network: &Network,
    header: &[u8; TCP_LEN],
    rest: &[u8],
    packet: &mut Packet,
) -> Option<()> {
    let [p0, p1, p2, p3, s0, s1, s2, s3, a0, a1, a2, a3, offset, flags, w0, w1, ..] = *header;
    let header_len = (offset >> 4) * 4;
    let options_len = usize::from(header_len).checked_sub(TCP_LEN)?;
    let len = network.len.checked_sub(usize::from(header_len))?;
    let flags = Flags(flags);
    if !is_valid_combination(flags) {
        return None;
    }
    let segment = &mut packet.segment;
    match options_len {
        0 => segment.options = Options::default(),
        _ => segment.options = read_options(rest.get(..options_len)?),
    }
    segment.seq = SeqNum(u32::from_be_bytes([s0, s1, s2, s3]));
    segment.ack = SeqNum(u32::from_be_bytes([a0, a1, a2, a3]));
    segment.len = len as u32;
    segment.win = u16::from_be_bytes([w0, w1]);
    segment.flags = flags;
    segment.header_len = header_len;
    segment.fault = None;
    segment.options_cut = false;
    segment.ttl = network.ttl;
    segment.ip_id = network.ip_id;
    (packet.key, packet.orientation) = network.addresses.key(TCP, ports([p0, p1, p2, p3]));
    Some(())
}
