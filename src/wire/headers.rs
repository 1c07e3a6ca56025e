//! The headers of a packet without what it carries: what a capture to be handed on may hold.
//!
//! Does not: decode, or change a byte.

use std::ops::Range;

use super::bytes::{Payload, u8_at};
use super::link::{self, Protocol};
use super::{Checksums, Decoded, Packetized, Tunnels, ipv4, ipv6, tunnel};
use crate::frame::Frame;
use crate::tuple::TCP;

/// Length of a TCP header without options, in bytes.
const TCP_HEADER_LEN: usize = 20;
/// Where the data offset stands in a TCP header.
const DATA_OFFSET_AT: usize = 12;

/// The headers of an IP packet in a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    /// Where the IP header starts in the frame.
    pub(super) start: usize,
    /// Where layer 4 starts in the frame.
    pub(super) upper: usize,
    /// Layer 4, when it is TCP and its header is in this frame.
    pub(super) tcp: Option<Payload<'a>>,
}

/// Returns where in a frame the headers of the judged packet stand, from the IP header to the end of
/// the TCP options, as far as they were captured; none for a frame without an IP packet.
///
/// Of a packet that is not TCP, and of a later fragment, the IP header alone is told.
pub fn headers(frame: &Frame<'_>, tunnels: Tunnels) -> Option<Range<usize>> {
    let inner = if tunnels == Tunnels::Opened { tunnel::innermost_headers(frame) } else { None };
    let Found { start, upper, tcp } = inner.or_else(|| outermost(frame))?;
    let end = upper + tcp.map_or(0, tcp_len);
    Some(start..end.min(frame.bytes.len()))
}

/// Finds the outermost IP packet.
pub(super) fn outermost<'a>(frame: &Frame<'a>) -> Option<Found<'a>> {
    let network = link::network(frame.link, frame.bytes).ok()?;
    let start = network.offset;
    let captured = frame.bytes.get(start..)?;
    let beyond_capture = (frame.original_len as usize).saturating_sub(frame.bytes.len());
    let payload = Payload { captured, len: captured.len() + beyond_capture };
    let packet = Packetized { payload, offset: start, checksums: Checksums::Ignored };
    let (fixed_len, carried) = match network.protocol {
        Protocol::Ipv4 => (ipv4::header_len(captured)?, ipv4::carried(packet)),
        Protocol::Ipv6 => (ipv6::HEADER_LEN, ipv6::carried(packet)),
    };
    let decoded = super::decode_packet(network.protocol, packet);
    let is_later = matches!(decoded, Decoded::Fragment(fragment) if fragment.is_later());
    let Some((datagram, headers_len)) = carried.filter(|_| !is_later) else {
        return Some(Found { start, upper: start + fixed_len, tcp: None });
    };
    let tcp = (datagram.protocol == TCP).then_some(datagram.payload);
    Some(Found { start, upper: start + headers_len, tcp })
}

/// Returns how many bytes of a TCP segment are header. Of one that is longer than the segment the
/// part that cannot be options is told.
fn tcp_len(segment: Payload<'_>) -> usize {
    let words = u8_at(segment.captured, DATA_OFFSET_AT).map_or(0, |byte| byte >> 4);
    let told = usize::from(words) * 4;
    let len = if told <= segment.len { told.max(TCP_HEADER_LEN) } else { TCP_HEADER_LEN };
    len.min(segment.captured.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::LinkType;
    use crate::time::Timestamp;

    /// 203.0.113.1:1000 > 192.0.2.1:80 with a TCP header of `words` words, and payload behind it.
    fn packet(fragment_word: u16, words: u8) -> Vec<u8> {
        let mut bytes = vec![0x45, 0, 0, 200, 0, 1];
        bytes.extend(fragment_word.to_be_bytes());
        bytes.extend([64, 6, 0, 0, 203, 0, 113, 1, 192, 0, 2, 1]);
        bytes.extend([3, 232, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, words << 4, 0x10, 0, 1, 0, 0, 0, 0]);
        bytes.extend([0xaa; 60]);
        bytes
    }

    fn found(link: LinkType, bytes: &[u8]) -> Option<Range<usize>> {
        let original_len = u32::try_from(bytes.len()).unwrap();
        let (number, ts, clock) = (1, Timestamp(0), Timestamp(0));
        headers(
            &Frame { number, ts, clock, link, original_len, is_outbound: false, bytes },
            Tunnels::Closed,
        )
    }

    #[test]
    fn headers_end_with_the_tcp_options() {
        assert_eq!(found(LinkType::RAW, &packet(0, 8)), Some(0..52));
        let mut ethernet = vec![1; 12];
        ethernet.extend([0x81, 0, 0, 5, 8, 0]);
        ethernet.extend(packet(0, 5));
        assert_eq!(found(LinkType::ETHERNET, &ethernet), Some(18..58));
    }

    #[test]
    fn a_header_length_that_is_impossible_reveals_no_payload() {
        assert_eq!(found(LinkType::RAW, &packet(0, 2)), Some(0..40));
    }

    #[test]
    fn a_later_fragment_has_an_ip_header_alone() {
        assert_eq!(found(LinkType::RAW, &packet(0x2000, 5)), Some(0..40));
        assert_eq!(found(LinkType::RAW, &packet(100, 5)), Some(0..20));
    }

    #[test]
    fn what_the_snap_length_cut_is_not_told() {
        assert_eq!(found(LinkType::RAW, &packet(0, 8)[..45]), Some(0..45));
        assert_eq!(found(LinkType::RAW, &packet(0, 8)[..30]), Some(0..30));
        assert_eq!(found(LinkType::ETHERNET, &[0; 10]), None);
    }

    #[test]
    fn extension_headers_are_headers() {
        let mut bytes = vec![0x60, 0, 0, 0, 0, 100, 60, 64];
        bytes.extend([0x20; 32]);
        bytes.extend([6, 0, 1, 4, 0, 0, 0, 0]);
        bytes.extend(&packet(0, 6)[20..]);
        assert_eq!(found(LinkType::RAW, &bytes), Some(0..72));
    }
}
