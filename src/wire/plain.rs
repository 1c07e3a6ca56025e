//! The short way for the frames of which captures nearly always consist: Ethernet without tags, an
//! IP header without options, extension headers or fragments, and a whole TCP header without fault.
//!
//! It finds what the long way finds, or nothing at all.

use super::bytes::{be16, be32};
use super::options;
use super::tcp::is_valid_combination;
use crate::frame::LinkType;
use crate::segment::{Flags, Options, Segment};
use crate::seq::SeqNum;
use crate::tuple::{Endpoint, FlowKey, Orientation, TCP};

/// Length of an Ethernet header, and of those with an IP header behind it.
const ETHERNET_LEN: usize = 14;
const IPV4_LEN: usize = ETHERNET_LEN + 20;
const IPV6_LEN: usize = ETHERNET_LEN + 40;
/// Type field and what follows it: version 4 and a header of five words; version 6.
const IPV4_KIND: u32 = 0x08_0045;
const IPV6_KIND: u32 = 0x8_6dd6;
/// Length of a TCP header without options.
const TCP_LEN: usize = 20;

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
pub fn plain(link: LinkType, bytes: &[u8]) -> Option<Plain<'_>> {
    plain_v4(link, bytes).or_else(|| plain_v6(link, bytes))
}

/// Finds the segment of a plain frame of IPv4, as [`plain`] does.
#[inline(always)]
#[expect(clippy::inline_always, reason = "what is found stays in registers: 100 instructions")]
pub fn plain_v4(link: LinkType, bytes: &[u8]) -> Option<Plain<'_>> {
    let (headers, rest) = bytes.split_first_chunk::<{ IPV4_LEN + TCP_LEN }>()?;
    // Type field, version and length of the IP header, type of service.
    let is_ipv4 = link == LinkType::ETHERNET && be32(headers, 12)? >> 8 == IPV4_KIND;
    // Flags and offset of fragments, time to live, protocol. "Do not fragment" may be set, all else
    // makes it a fragment; reserved bits do not matter.
    let middle = be32(headers, 20)?;
    if !is_ipv4 || middle & 0x3fff_00ff != u32::from(TCP) {
        return None;
    }
    let [_, _, ttl, _] = middle.to_be_bytes();
    let (len, ip_id) = (be16(headers, 16)?, be16(headers, 18)?);
    let (src, dst) = (be32(headers, 26)?, be32(headers, 30)?);
    let (src_port, dst_port) = (be16(headers, 34)?, be16(headers, 36)?);
    let flow = FlowKey::of_v4(TCP, (src, src_port), (dst, dst_port));
    let len = u32::from(len).checked_sub(20)?;
    Plain::new(flow, (ttl, ip_id, len), headers.last_chunk()?, rest)
}

/// Finds the segment of a plain frame of IPv6, as [`plain`] does.
pub fn plain_v6(link: LinkType, bytes: &[u8]) -> Option<Plain<'_>> {
    let (headers, rest) = bytes.split_first_chunk::<{ IPV6_LEN + TCP_LEN }>()?;
    let is_ipv6 = link == LinkType::ETHERNET && be32(headers, 12)? >> 12 == IPV6_KIND;
    let [_, _, _, _, len0, len1, next, ttl] = *headers.get(ETHERNET_LEN..)?.first_chunk()?;
    if !is_ipv6 || next != TCP {
        return None;
    }
    let endpoint = |address_at: usize, port_at| {
        let addr: [u8; 16] = *headers.get(address_at..)?.first_chunk()?;
        Some(Endpoint { addr: addr.into(), port: be16(headers, port_at)? })
    };
    let (src, dst) = (endpoint(22, IPV6_LEN)?, endpoint(38, IPV6_LEN + 2)?);
    let flow = FlowKey::of(TCP, src, dst);
    let len = u32::from(u16::from_be_bytes([len0, len1]));
    Plain::new(flow, (ttl, 0, len), headers.last_chunk()?, rest)
}

impl<'a> Plain<'a> {
    /// Takes what the IP header says: flow, time to live, identification, and the length of the TCP
    /// segment with its header.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is found stays in registers: 100 instructions")]
    fn new(
        (key, orientation): (FlowKey, Orientation),
        (ttl, ip_id, len): (u8, u16, u32),
        header: &'a [u8; TCP_LEN],
        rest: &'a [u8],
    ) -> Option<Self> {
        let [offset, flags] = *header.get(12..)?.first_chunk()?;
        let header_len = offset >> 4 << 2;
        let options = rest.get(..usize::from(header_len.checked_sub(20)?))?;
        let len = len.checked_sub(u32::from(header_len))?;
        if !is_valid_combination(Flags(flags)) {
            return None;
        }
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
    pub fn read(self, segment: &mut Segment) {
        let number = |at| be32(self.header, at).unwrap_or_default();
        let [offset, flags, w0, w1] = number(12).to_be_bytes();
        segment.seq = SeqNum(number(4));
        segment.ack = SeqNum(number(8));
        segment.len = self.len;
        segment.win = u16::from_be_bytes([w0, w1]);
        segment.flags = Flags(flags);
        segment.header_len = offset >> 4 << 2;
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
