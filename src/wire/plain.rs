//! The short way for the frames of which captures nearly always consist: Ethernet without tags, an
//! IP header without options, extension headers or fragments, and a whole TCP header without fault.
//!
//! It finds what the long way finds, or nothing at all.

use super::datagram::{Addresses, ports};
use super::options;
use super::tcp::is_valid_combination;
use crate::frame::{Frame, LinkType};
use crate::segment::{Flags, Options, Segment};
use crate::seq::SeqNum;
use crate::tuple::{FlowKey, Orientation, TCP};

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

/// A plain frame that was found, but not read in full.
#[derive(Clone, Copy, Debug)]
pub struct Plain<'a> {
    /// The flow that the segment belongs to.
    pub key: FlowKey,
    /// Which way it travels.
    pub orientation: Orientation,
    ttl: u8,
    ip_id: u16,
    /// Payload bytes by the IP length.
    len: u32,
    header: &'a [u8; TCP_LEN],
    options: &'a [u8],
}

/// Finds the segment of a plain frame whose checksums are not to be judged; none when the frame
/// is not plain.
#[inline(always)]
#[expect(clippy::inline_always, reason = "what is found stays in registers: 100 instructions")]
pub fn plain<'a>(frame: &Frame<'a>) -> Option<Plain<'a>> {
    if frame.link != LinkType::ETHERNET {
        return None;
    }
    match frame.bytes {
        [_, _, _, _, _, _, _, _, _, _, _, _, 0x08, 0x00, 0x45, ..] => {
            let (headers, rest) = frame.bytes.split_first_chunk::<{ IPV4_LEN + TCP_LEN }>()?;
            let (ip, tcp) = split::<IPV4_LEN, _>(headers)?;
            Plain::new(&ipv4(ip)?, tcp, rest)
        }
        [_, _, _, _, _, _, _, _, _, _, _, _, 0x86, 0xdd, 0x60..=0x6f, ..] => {
            let (headers, rest) = frame.bytes.split_first_chunk::<{ IPV6_LEN + TCP_LEN }>()?;
            let (ip, tcp) = split::<IPV6_LEN, _>(headers)?;
            Plain::new(&ipv6(ip)?, tcp, rest)
        }
        _ => None,
    }
}

impl<'a> Plain<'a> {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is found stays in registers: 100 instructions")]
    fn new(network: &Network, header: &'a [u8; TCP_LEN], rest: &'a [u8]) -> Option<Self> {
        let [p0, p1, p2, p3, .., offset, flags, _, _, _, _, _, _] = *header;
        let header_len = usize::from(offset >> 4) * 4;
        let options = rest.get(..header_len.checked_sub(TCP_LEN)?)?;
        let len = u32::try_from(network.len.checked_sub(header_len)?).ok()?;
        if !is_valid_combination(Flags(flags)) {
            return None;
        }
        let (key, orientation) = network.addresses.key(TCP, ports([p0, p1, p2, p3]));
        let Network { ttl, ip_id, .. } = *network;
        Some(Self { key, orientation, ttl, ip_id, len, header, options })
    }

    /// Returns how many bytes of the frame it was found by.
    pub(super) fn headers_len(&self) -> usize {
        let ip = if self.key.is_ipv4() { IPV4_LEN } else { IPV6_LEN };
        ip + TCP_LEN + self.options.len()
    }

    /// Reads the segment into its place, which saves moving it there.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is found stays in registers: 100 instructions")]
    pub fn read(&self, segment: &mut Segment) {
        let [_, _, _, _, s0, s1, s2, s3, a0, a1, a2, a3, offset, flags, w0, w1, ..] = *self.header;
        segment.seq = SeqNum(u32::from_be_bytes([s0, s1, s2, s3]));
        segment.ack = SeqNum(u32::from_be_bytes([a0, a1, a2, a3]));
        segment.len = self.len;
        segment.win = u16::from_be_bytes([w0, w1]);
        segment.flags = Flags(flags);
        segment.header_len = (offset >> 4) * 4;
        segment.options = Options::default();
        segment.fault = None;
        segment.options_cut = false;
        segment.ttl = self.ttl;
        segment.ip_id = self.ip_id;
        if let Some(timestamps) = options::only_timestamps(self.options) {
            segment.options.timestamps = Some(timestamps);
            segment.options.layout = options::ALIGNED_LAYOUT;
        } else if !self.options.is_empty() {
            segment.options = options::walk(self.options, self.options.len());
        }
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
