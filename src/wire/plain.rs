//! The short way for the frames of which captures nearly always consist: Ethernet without tags, an
//! IP header without options, extension headers or fragments, and a whole TCP header without fault.
//!
//! It finds what the long way finds, or nothing at all.

use super::bytes::{be16, be32, be64};
use super::options::Found;
use super::tcp::is_valid_combination;
use crate::frame::LinkType;
use crate::segment::{Flags, Segment};
use crate::seq::SeqNum;
use crate::tuple::{FlowKey, Orientation, TCP};

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
    network: Network<'a>,
    header: Header<'a>,
}

/// What stands before the TCP header.
#[derive(Clone, Copy, Debug)]
enum Network<'a> {
    Ipv4(&'a [u8; IPV4_LEN]),
    Ipv6(&'a [u8; IPV6_LEN]),
}

/// A TCP header that is whole and without fault.
#[derive(Clone, Copy, Debug)]
struct Header<'a> {
    fixed: &'a [u8; TCP_LEN],
    options: Found<'a>,
    /// Bytes of both.
    len: u8,
    /// Payload bytes by the IP length.
    payload_len: u32,
}

/// Finds the segment of a plain frame whose checksums are not to be judged; none when the frame
/// is not plain.
pub fn plain(link: LinkType, bytes: &[u8]) -> Option<Plain<'_>> {
    plain_v4(link, bytes).or_else(|| plain_v6(link, bytes))
}

/// Finds the segment of a plain frame of IPv4, as [`plain`] does.
#[inline(always)]
#[expect(clippy::inline_always, reason = "what is found stays in registers")]
pub fn plain_v4(link: LinkType, bytes: &[u8]) -> Option<Plain<'_>> {
    let (headers, rest) = bytes.split_first_chunk::<{ IPV4_LEN + TCP_LEN }>()?;
    // Type field, version and length of the IP header, type of service.
    let is_ipv4 = link == LinkType::ETHERNET && be32(headers, 12)? >> 8 == IPV4_KIND;
    // Flags and offset of fragments, time to live, protocol. "Do not fragment" may be set, all else
    // makes it a fragment; reserved bits do not matter.
    if !is_ipv4 || be32(headers, 20)? & 0x3fff_00ff != u32::from(TCP) {
        return None;
    }
    let header = Header::new(headers.last_chunk()?, rest, (be16(headers, 16)?, 20))?;
    let (addresses, ports) = (be64(headers, 26)?, be32(headers, IPV4_LEN)?);
    let (key, orientation) = FlowKey::of_v4_words(TCP, addresses, ports);
    Some(Plain { key, orientation, network: Network::Ipv4(headers.first_chunk()?), header })
}

/// Finds the segment of a plain frame of IPv6, as [`plain`] does.
#[inline]
pub fn plain_v6(link: LinkType, bytes: &[u8]) -> Option<Plain<'_>> {
    let (headers, rest) = bytes.split_first_chunk::<{ IPV6_LEN + TCP_LEN }>()?;
    let is_ipv6 = link == LinkType::ETHERNET && be32(headers, 12)? >> 12 == IPV6_KIND;
    if !is_ipv6 || headers[20] != TCP {
        return None;
    }
    let header = Header::new(headers.last_chunk()?, rest, (be16(headers, 18)?, 0))?;
    let address = |at: usize| Some([be64(headers, at)?, be64(headers, at + 8)?]);
    let (src, dst, ports) = (address(22)?, address(38)?, be32(headers, IPV6_LEN)?);
    let (key, orientation) = FlowKey::of_v6_words(TCP, src, dst, ports);
    Some(Plain { key, orientation, network: Network::Ipv6(headers.first_chunk()?), header })
}

impl<'a> Header<'a> {
    /// Finds the options in the `rest` of a frame; the length in the IP header is `len`, of which the
    /// TCP header begins at `at`.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is found stays in registers")]
    fn new(fixed: &'a [u8; TCP_LEN], rest: &'a [u8], (len, at): (u16, u32)) -> Option<Self> {
        let words = fixed[12] >> 4;
        let (header_len, options) = match Found::timestamps(rest) {
            // What nearly every segment has: most of what follows is known then.
            Some(found) if words == 8 => (32, found),
            _ => {
                let options = rest.get(..usize::from((words << 2).checked_sub(20)?))?;
                (words << 2, Found::Any(options))
            }
        };
        let payload_len = u32::from(len).checked_sub(at + u32::from(header_len))?;
        let is_valid = is_valid_combination(Flags(fixed[13]));
        is_valid.then_some(Self { fixed, options, len: header_len, payload_len })
    }
}

impl Plain<'_> {
    /// Returns how many bytes of the frame it was found by.
    pub(super) fn headers_len(&self) -> usize {
        let before = match self.network {
            Network::Ipv4(headers) => headers.len(),
            Network::Ipv6(headers) => headers.len(),
        };
        before + usize::from(self.header.len)
    }

    /// Reads the segment into its place, which saves moving it there. What is read here need not be
    /// kept in registers until then.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is found stays in registers")]
    pub fn read(self, segment: &mut Segment) {
        let Header { fixed, options, len, payload_len } = self.header;
        let (ttl, ip_id) = match self.network {
            Network::Ipv4(headers) => (headers[22], be16(headers, 18).unwrap_or_default()),
            Network::Ipv6(headers) => (headers[21], 0),
        };
        segment.seq = SeqNum(be32(fixed, 4).unwrap_or_default());
        segment.ack = SeqNum(be32(fixed, 8).unwrap_or_default());
        segment.len = payload_len;
        segment.win = be16(fixed, 14).unwrap_or_default();
        segment.flags = Flags(fixed[13]);
        segment.header_len = len;
        segment.fault = None;
        segment.options_cut = false;
        segment.ttl = ttl;
        segment.ip_id = ip_id;
        options.read(&mut segment.options);
    }
}
