//! The packets of a frame: one, but for the few link layers that put several into one frame.
//!
//! Does not: decode them.

use super::link::{Logged, logged};
use crate::frame::{Frame, LinkType};

/// One netfilter log message.
const NFLOG: LinkType = LinkType(239);

/// Returns the packets of a frame, each as a frame of its own with the circumstances of the whole: the
/// frame itself, but for netlink, of which each netfilter log message has a packet.
#[inline]
pub fn packets<'a>(frame: &Frame<'a>) -> impl Iterator<Item = Frame<'a>> + use<'a> {
    let frame = *frame;
    let is_netlink = frame.link == LinkType::NETLINK;
    let mut next = if is_netlink { logged(frame.bytes, 0) } else { None };
    let whole = if next.is_none() { Some(frame) } else { None };
    let messages = std::iter::from_fn(move || {
        let message = next.take()?;
        next = logged(frame.bytes, message.next);
        Some(packet(&frame, message))
    });
    whole.into_iter().chain(messages)
}

fn packet<'a>(frame: &Frame<'a>, message: Logged) -> Frame<'a> {
    let bytes = frame.bytes.get(message.start..).unwrap_or_default();
    let bytes = bytes.get(..message.len).unwrap_or(bytes);
    let original_len = u32::try_from(message.len).unwrap_or(u32::MAX);
    Frame { link: NFLOG, original_len, bytes, ..*frame }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use crate::wire::{Decoded, decode};

    /// A netlink message of this type around these bytes, padded.
    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let len = u32::try_from(16 + body.len()).unwrap();
        let mut message = len.to_le_bytes().to_vec();
        message.extend(kind.to_le_bytes());
        message.extend([0; 10]);
        message.extend(body);
        message.resize(message.len().next_multiple_of(4), 0);
        message
    }

    /// A netfilter log message with an IPv4 packet that holds a bare SYN from this port.
    fn log(port: u16) -> Vec<u8> {
        let mut body = vec![2, 0, 0, 40, 44, 0, 9, 0];
        body.extend([0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
        body.extend(port.to_be_bytes());
        body.extend([0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 1, 0, 0, 0, 0, 0]);
        message(0x0400, &body)
    }

    fn frame(bytes: &[u8]) -> Frame<'_> {
        Frame {
            number: 7,
            ts: Timestamp(1),
            clock: Timestamp(1),
            link: LinkType::NETLINK,
            interface: 0,
            original_len: u32::try_from(bytes.len()).unwrap(),
            is_outbound: false,
            bytes,
        }
    }

    fn ports(bytes: &[u8]) -> Vec<u16> {
        let port = |frame: Frame<'_>| match decode(&frame) {
            Decoded::Segment(packet) => packet.key.endpoints(packet.orientation).0.port,
            other => panic!("{other:?}"),
        };
        packets(&frame(bytes)).map(port).collect()
    }

    /// The header of a frame with messages of netfilter.
    const COOKED: [u8; 16] = [0, 4, 3, 56, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12];

    #[test]
    fn each_logged_packet_of_a_netlink_frame_is_there_in_order() {
        let other = message(0x0401, &[1, 2, 3]);
        let bytes = [&COOKED[..], &log(10), &other, &log(11), &log(12)].concat();
        assert_eq!(ports(&bytes), [10, 11, 12]);
        assert!(packets(&frame(&bytes)).all(|packet| packet.number == 7));
    }

    #[test]
    fn what_logs_nothing_stays_one_frame() {
        let bytes = [&COOKED[..], &message(0x0401, &[1, 2, 3])].concat();
        let whole: Vec<_> = packets(&frame(&bytes)).collect();
        assert_eq!(whole.len(), 1);
        assert_eq!(whole[0].bytes, bytes);
        let of_another_family = [&[0; 16][..], &log(10)].concat();
        let links: Vec<_> = packets(&frame(&of_another_family)).map(|packet| packet.link).collect();
        assert_eq!(links, [LinkType::NETLINK]);
    }

    #[test]
    fn messages_end_where_their_lengths_make_no_sense() {
        for len in [0_u32, 15, u32::MAX] {
            let mut bad = log(11);
            bad[..4].copy_from_slice(&len.to_le_bytes());
            let bytes = [&COOKED[..], &log(10), &bad, &log(12)].concat();
            let expected: &[u16] = if len == u32::MAX { &[10, 11] } else { &[10] };
            assert_eq!(ports(&bytes), expected, "{len}");
        }
        let cut = [&COOKED[..], &log(10), &log(11)[..40]].concat();
        assert_eq!(packets(&frame(&cut)).count(), 2);
    }
}
