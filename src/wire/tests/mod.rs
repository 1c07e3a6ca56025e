//! Frames and what they are decoded to, from the link header to the TCP options.

mod extensions;
mod icmp;
mod others;

use std::net::{IpAddr, Ipv4Addr};

use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::*;
use crate::frame::LinkType;
use crate::segment::{Flags, HeaderFault, Layout, Options};
use crate::seq::SeqNum;
use crate::time::Timestamp;
use crate::tuple::{Endpoint, TCP};

const SRC: [u8; 4] = [192, 0, 2, 1];
const DST: [u8; 4] = [198, 51, 100, 7];

fn cut_frame(link: LinkType, bytes: &[u8], original_len: usize) -> Frame<'_> {
    let ts = Timestamp::default();
    let original_len = u32::try_from(original_len).unwrap();
    Frame { number: 1, ts, clock: ts, link, original_len, is_outbound: false, interface: 0, bytes }
}

fn frame(link: LinkType, bytes: &[u8]) -> Frame<'_> {
    cut_frame(link, bytes, bytes.len())
}

fn ethernet(bytes: &[u8]) -> Decoded {
    decode(&frame(LinkType::ETHERNET, bytes))
}

fn raw(bytes: &[u8]) -> Decoded {
    decode(&frame(LinkType::RAW, bytes))
}

fn segment(decoded: Decoded) -> Packet {
    match decoded {
        Decoded::Segment(packet) => packet,
        other => panic!("{other:?}"),
    }
}

fn fault(decoded: Decoded) -> Option<HeaderFault> {
    segment(decoded).segment.fault
}

/// An IPv4 packet with a timestamps option and five bytes of payload: 20 + 32 + 5 bytes.
fn v4() -> Vec<u8> {
    let options = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
    let builder = PacketBuilder::ipv4(SRC, DST, 64)
        .tcp(4000, 80, 1000, 501)
        .ack(77)
        .options_raw(&options)
        .unwrap();
    let mut bytes = Vec::new();
    builder.write(&mut bytes, b"hello").unwrap();
    bytes
}

/// An IPv6 packet without options and with three bytes of payload: 40 + 20 + 3 bytes.
fn v6() -> Vec<u8> {
    let builder = PacketBuilder::ipv6([1; 16], [2; 16], 61).tcp(4000, 80, 1000, 501).syn();
    let mut bytes = Vec::new();
    builder.write(&mut bytes, b"abc").unwrap();
    bytes
}

fn behind(header: &[u8], packet: &[u8]) -> Vec<u8> {
    [header, packet].concat()
}

/// Repairs the IPv4 header checksum after a change.
fn with_checksum(mut packet: Vec<u8>) -> Vec<u8> {
    packet[10..12].fill(0);
    let sum = !checksum::Sum::default().add_bytes(&packet[..20]).fold();
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

#[test]
fn a_segment_is_read_with_its_flow_and_all_its_fields() {
    let packet = segment(raw(&v4()));
    let (src, dst) = packet.key.endpoints(packet.orientation);
    assert_eq!(src, Endpoint { addr: IpAddr::V4(Ipv4Addr::from(SRC)), port: 4000 });
    assert_eq!(dst, Endpoint { addr: IpAddr::V4(Ipv4Addr::from(DST)), port: 80 });
    assert_eq!(packet.key.protocol(), TCP);
    let Segment { seq, ack, len, win, flags, header_len, options, fault, ttl, .. } = packet.segment;
    assert_eq!((seq, ack, len, win), (SeqNum(1000), SeqNum(77), 5, 501));
    assert_eq!((flags, header_len, ttl, fault), (Flags::ACK, 32, 64, None));
    assert_eq!(options.timestamps.unwrap().echo, 2);
}

#[test]
fn ipv6_is_read_too() {
    let packet = segment(raw(&v6()));
    assert_eq!((packet.segment.len, packet.segment.ttl), (3, 61));
    assert_eq!(packet.key.endpoints(packet.orientation).0.addr, IpAddr::from([1; 16]));
}

#[test]
fn ethernet_padding_is_no_payload() {
    let mut bytes = behind(&[0; 12], &[0x08, 0x00]);
    bytes.extend(v4());
    bytes.extend([0xff; 9]);
    assert_eq!(segment(ethernet(&bytes)).segment.len, 5);
}

#[test]
fn every_vlan_tag_is_passed_over() {
    let tags = [0x81, 0x00, 0, 1, 0x88, 0xa8, 0, 2, 0x91, 0x00, 0, 3, 0x81, 0x00, 0, 4, 0x86, 0xdd];
    let bytes = behind(&behind(&[0; 12], &tags), &v6());
    assert_eq!(segment(ethernet(&bytes)).segment.len, 3);
}

#[test]
fn each_link_header_leads_to_the_same_segment() {
    let (four, six) = (v4(), v6());
    let mac = [0_u8; 12];
    let llc_snap = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0];
    let mut sll = [0_u8; 16];
    sll[14] = 8;
    let mut sll_vlan = [0_u8; 20];
    sll_vlan[14..20].copy_from_slice(&[0x81, 0, 0, 7, 8, 0]);
    let mut sll2 = [0_u8; 20];
    sll2[0] = 8;
    let signed = [0x88, 0xe5, 0x03, 0, 0, 0, 0, 1];
    let channel = [0x88, 0xe5, 0x20, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 2, 0, 1, 0x81, 0, 0, 7];
    let cases: [(u16, Vec<u8>); 23] = [
        (1, behind(&mac, &[8, 0])),
        (1, behind(&mac, &behind(&[0, 65], &llc_snap))),
        (1, behind(&mac, &[0, 60, 6, 6, 3])),
        (1, behind(&mac, &[0x88, 0x64, 0x11, 0, 0, 1, 0, 59, 0, 0x21])),
        (1, behind(&mac, &[0x88, 0x47, 0, 1, 0x00, 64, 0, 2, 0x01, 64])),
        (1, behind(&mac, &behind(&signed, &[8, 0]))),
        (1, behind(&mac, &behind(&channel, &[8, 0]))),
        (1, behind(&mac, &[0x89, 0x26, 1, 1, 1, 1, 8, 0])),
        (1, behind(&mac, &[0x89, 0x3f, 1, 1, 1, 1, 1, 1, 0x81, 0, 0, 7, 8, 0])),
        (1, behind(&mac, &[0x89, 0x09, 1, 1, 0, 1, 0, 9, 8, 0])),
        (1, behind(&behind(&mac, &[0x88, 0xe7, 0, 1, 2, 3]), &behind(&mac, &[8, 0]))),
        (1, behind(&behind(&mac, &[0x89, 0x03, 0x40, 0x20]), &behind(&mac, &[8, 0]))),
        (0, vec![2, 0, 0, 0]),
        (0, vec![0, 0, 0, 2]),
        (108, vec![0, 0, 0, 2]),
        (12, vec![]),
        (14, vec![]),
        (101, vec![]),
        (228, vec![]),
        (113, sll.to_vec()),
        (113, sll_vlan.to_vec()),
        (276, sll2.to_vec()),
        (276, behind(&[0x81, 0], &behind(&[0; 18], &[0, 9, 8, 0]))),
    ];
    for (link, header) in cases {
        let bytes = behind(&header, &four);
        assert_eq!(decode(&frame(LinkType(link), &bytes)), raw(&four), "{link} {header:x?}");
        for cut in 0..header.len() {
            let cut = cut_frame(LinkType(link), &bytes[..cut], bytes.len());
            let expected = Decoded::Undecodable(Undecodable::LinkHeaderCut);
            assert_eq!(decode(&cut), expected, "{link} {header:x?}");
        }
    }
    for family in [10, 24, 28, 30] {
        let bytes = behind(&[0, 0, 0, family], &six);
        assert_eq!(decode(&frame(LinkType::NULL, &bytes)), raw(&six));
    }
    assert_eq!(decode(&frame(LinkType::IPV6, &six)), raw(&six));
}

#[test]
fn what_is_not_ip_is_told() {
    let not_ip = Decoded::Undecodable(Undecodable::NotIp);
    let arp = behind(&[0; 12], &[8, 6, 0, 0]);
    let spanning_tree = behind(&[0; 12], &[0, 38, 0x42, 0x42, 3, 0, 0]);
    assert_eq!(ethernet(&arp), not_ip);
    assert_eq!(ethernet(&spanning_tree), not_ip);
    assert_eq!(raw(&[0x50; 40]), not_ip);
    // Encrypted, or changed in another way: the control byte tells.
    for control in [0x0c, 0x2c, 0x08, 0x04] {
        let sealed = behind(&[0; 12], &[0x88, 0xe5, control, 0, 0, 0, 0, 1, 8, 0, 0x45, 0]);
        assert_eq!(ethernet(&sealed), Decoded::Undecodable(Undecodable::Macsec), "{control:x}");
    }
    assert_eq!(decode(&frame(LinkType::NULL, &[7; 40])), not_ip);
    let unknown = LinkType(65_000);
    let expected = Decoded::Undecodable(Undecodable::LinkType(65_000));
    assert_eq!(decode(&frame(unknown, &[])), expected);
}

#[test]
fn headers_in_headers_come_to_an_end() {
    // A length in the place of a type announces LLC, whose SNAP holds a type again.
    let llc = [0, 100, 0xaa, 0xaa, 3, 0, 0, 0].repeat(1 << 20);
    let not_ip = Decoded::Undecodable(Undecodable::NotIp);
    assert_eq!(ethernet(&behind(&[0; 12], &llc)), not_ip);
    let tags = [0x81, 0, 0, 1, 0x88, 0xe5, 0, 0, 0, 0, 0, 1].repeat(1 << 20);
    assert_eq!(ethernet(&behind(&[0; 12], &behind(&tags, &[8, 6, 0]))), not_ip);
}

#[test]
fn a_length_of_zero_stands_for_the_rest_of_the_frame() {
    let mut four = v4();
    four[2..4].fill(0);
    let four = with_checksum(four);
    let big = cut_frame(LinkType::RAW, &four[..52], 70_052);
    assert_eq!(segment(decode(&big)).segment.len, 70_000);
    let mut six = v6();
    six[4..6].fill(0);
    assert_eq!(segment(raw(&six)).segment.len, 3);
    let mut udp = four;
    udp[9] = 17;
    assert_eq!(raw(&with_checksum(udp)), Decoded::Undecodable(Undecodable::BadIpHeader));
}

#[test]
fn a_jumbo_payload_option_tells_the_length() {
    let mut packet = v6()[..40].to_vec();
    packet[4..6].fill(0);
    packet[6] = 0;
    packet.extend([6, 0, 0xc2, 4, 0, 2, 0, 0]);
    packet.extend_from_slice(&v6()[40..60]);
    let jumbo = |original_len| decode(&cut_frame(LinkType::RAW, &packet, original_len));
    assert_eq!(segment(jumbo(200_000)).segment.len, 0x2_0000 - 28);
    let bad = Decoded::Undecodable(Undecodable::BadIpHeader);
    let verified = cut_frame(LinkType::RAW, &packet, 0x2_0000 + 39);
    assert_eq!(decode_with(&verified, Checksums::Verified), bad);
    packet[45] = 0;
    let too_short = cut_frame(LinkType::RAW, &packet, 200_000);
    assert_eq!(decode_with(&too_short, Checksums::Verified), bad);
}

#[test]
fn a_bad_ipv4_header_is_dropped_before_the_tracker() {
    let bad = Decoded::Undecodable(Undecodable::BadIpHeader);
    let changed = |at: usize, value: u8| {
        let mut packet = v4();
        packet[at] = value;
        decode_with(&frame(LinkType::IPV4, &with_checksum(packet)), Checksums::Verified)
    };
    assert_eq!(changed(0, 0x44), bad);
    assert_eq!(changed(0, 0x65), bad);
    assert_eq!(changed(3, 19), bad);
    assert_eq!(changed(3, 58), bad);
    assert_eq!(segment(changed(3, 52)).segment.len, 0);
    let mut corrupt = v4();
    corrupt[8] ^= 1;
    assert_eq!(decode_with(&frame(LinkType::RAW, &corrupt), Checksums::Verified), bad);
}

#[test]
fn a_capture_that_was_cut_or_anonymised_is_taken_at_its_word() {
    let mut packet = v4();
    packet[3] = 58;
    packet[8] ^= 1;
    assert_eq!(segment(raw(&packet)).segment.len, 6);
    let mut longer = v6();
    longer[5] += 1;
    assert_eq!(segment(raw(&longer)).segment.len, segment(raw(&v6())).segment.len + 1);
}

#[test]
fn an_empty_header_checksum_counts_only_when_checksums_are_verified() {
    let mut packet = v4();
    packet[10..12].fill(0);
    let frame = frame(LinkType::RAW, &packet);
    assert_eq!(segment(decode(&frame)).segment.len, 5);
    let bad = Decoded::Undecodable(Undecodable::BadIpHeader);
    assert_eq!(decode_with(&frame, Checksums::Verified), bad);
}

#[test]
fn an_empty_header_checksum_goes_with_an_empty_length() {
    let mut packet = v4();
    packet[2..4].fill(0);
    packet[10..12].fill(0);
    let verified = |packet: &[u8]| decode_with(&frame(LinkType::RAW, packet), Checksums::Verified);
    assert_eq!(segment(verified(&packet)).segment.len, 5);
    packet[11] = 1;
    assert_eq!(verified(&packet), Decoded::Undecodable(Undecodable::BadIpHeader));
}

#[test]
fn an_ipv6_payload_beyond_the_frame_is_dropped() {
    let bad = Decoded::Undecodable(Undecodable::BadIpHeader);
    let mut packet = v6();
    packet[5] += 1;
    assert_eq!(decode_with(&frame(LinkType::RAW, &packet), Checksums::Verified), bad);
    packet[5] -= 1;
    packet[0] = 0x50;
    assert_eq!(decode(&frame(LinkType::IPV6, &packet)), bad);
}

#[test]
fn header_faults_come_in_the_order_of_the_kernel() {
    let by_length = |l4_len: u8| {
        let mut packet = v4();
        packet[3] = 20 + l4_len;
        fault(raw(&with_checksum(packet)))
    };
    assert_eq!(by_length(0), Some(HeaderFault::NotTrackable));
    assert_eq!(by_length(3), Some(HeaderFault::NotTrackable));
    assert_eq!(by_length(4), Some(HeaderFault::Short));
    assert_eq!(by_length(19), Some(HeaderFault::Short));
    assert_eq!(by_length(20), Some(HeaderFault::Truncated));
    assert_eq!(by_length(31), Some(HeaderFault::Truncated));
    assert_eq!(by_length(32), None);
    let by_offset = |words: u8| {
        let mut packet = v4();
        packet[32] = words << 4;
        fault(raw(&packet))
    };
    assert_eq!(by_offset(4), Some(HeaderFault::Truncated));
    assert_eq!(by_offset(5), None);
    assert_eq!(by_offset(9), None);
    assert_eq!(by_offset(10), Some(HeaderFault::Truncated));
}

#[test]
fn only_the_combinations_of_the_kernel_are_valid() {
    let valid = [0x02, 0x22, 0x12, 0x04, 0x14, 0x11, 0x31, 0x10, 0x30];
    for flags in 0..=255 {
        let mut packet = v4();
        packet[33] = flags;
        let expected = (!valid.contains(&(flags & 0x37))).then_some(HeaderFault::BadFlags);
        assert_eq!(fault(raw(&packet)), expected, "{flags:#x}");
    }
}

#[test]
fn a_wrong_checksum_is_a_fault_only_when_asked_for_and_known() {
    for (mut packet, checksum_at) in [(v4(), 36), (v6(), 56)] {
        let verified = |packet: &[u8], original_len| {
            fault(decode_with(&cut_frame(LinkType::RAW, packet, original_len), Checksums::Verified))
        };
        let len = packet.len();
        assert_eq!(verified(&packet, len), None);
        packet[checksum_at - 2] ^= 1;
        assert_eq!(verified(&packet, len), Some(HeaderFault::BadChecksum));
        assert_eq!(fault(raw(&packet)), None);
        assert_eq!(verified(&packet[..len - 1], len), None);
        packet[checksum_at - 3] = 0;
        let both = verified(&packet, len);
        assert_eq!(both, Some(HeaderFault::BadChecksum), "it comes before the flags");
    }
}

#[test]
fn a_checksum_left_to_the_network_card_is_never_wrong() {
    let mut packet = v4();
    let addresses =
        datagram::Addresses::V4 { src: u32::from_be_bytes(SRC), dst: u32::from_be_bytes(DST) };
    let partial = checksum::Sum::pseudo_header(addresses, TCP, 37).fold();
    packet[36..38].copy_from_slice(&partial.to_be_bytes());
    let verified =
        |packet: &[u8]| fault(decode_with(&frame(LinkType::RAW, packet), Checksums::Verified));
    assert_eq!(verified(&packet), None);
    packet[37] ^= 1;
    assert_eq!(verified(&packet), Some(HeaderFault::BadChecksum));
}

#[test]
fn the_snap_length_is_told_from_the_end_of_the_packet() {
    let packet = v4();
    let whole = segment(raw(&packet)).segment;
    for cut in 1..=packet.len() {
        let decoded = decode(&cut_frame(LinkType::RAW, &packet[..cut], packet.len()));
        match cut {
            ..20 => assert_eq!(decoded, Decoded::Undecodable(Undecodable::IpHeaderCut)),
            20..40 => assert_eq!(decoded, Decoded::Undecodable(Undecodable::TcpHeaderCut)),
            40..52 => {
                let segment = segment(decoded).segment;
                assert!(segment.options_cut);
                let options = Options { layout: Layout::default(), ..segment.options };
                assert_eq!((segment.len, options), (5, Options::default()));
            }
            52.. => assert_eq!(segment(decoded).segment, whole),
        }
    }
}

#[test]
fn a_fault_that_the_length_proves_outlives_the_cut() {
    let mut packet = v4();
    packet[3] = 30;
    let packet = with_checksum(packet);
    let cut = |len| decode(&cut_frame(LinkType::RAW, &packet[..len], packet.len()));
    assert_eq!(fault(cut(24)), Some(HeaderFault::Short));
    assert_eq!(cut(23), Decoded::Undecodable(Undecodable::TcpHeaderCut));
}

/// Decodes bytes as if they were a frame, and a fragment of one datagram after the other.
fn decode_anything(reassembler: &mut fragments::Reassembler, frame: &Frame<'_>) {
    let verified = decode_with(frame, Checksums::Verified);
    for decoded in [decode(frame), verified] {
        if let Decoded::Fragment(fragment) = decoded {
            reassembler.add(&fragment.read(frame), frame.clock);
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange(
        link in 0_u16..300,
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        beyond in 0_usize..3000,
    ) {
        let frame = cut_frame(LinkType(link), &bytes, bytes.len() + beyond);
        decode_anything(&mut fragments::Reassembler::default(), &frame);
    }

    #[test]
    fn no_change_of_a_packet_is_too_strange(
        is_v4: bool,
        changes in prop::collection::vec((0_usize..64, any::<u8>()), 0..6),
        rest in prop::collection::vec(any::<u8>(), 0..100),
        cut in 0_usize..160,
    ) {
        let mut reassembler = fragments::Reassembler::default();
        let mut packet = if is_v4 { v4() } else { v6() };
        packet.extend(rest);
        for (at, value) in changes {
            if let Some(byte) = packet.get_mut(at) {
                *byte = value;
            }
            let bytes = if is_v4 { with_checksum(packet.clone()) } else { packet.clone() };
            let captured = bytes.get(..cut).unwrap_or(&bytes);
            let frame = cut_frame(LinkType::RAW, captured, bytes.len());
            decode_anything(&mut reassembler, &frame);
        }
    }
}

/// Asserts that the short way finds what the long way finds, or nothing; returns whether it found any.
fn is_plain(bytes: &[u8], original_len: usize) -> bool {
    let frame = cut_frame(LinkType::ETHERNET, bytes, original_len);
    let Some(plain) = plain(frame.link, frame.bytes) else { return false };
    let packet = segment(decode(&frame));
    let mut segment = Segment { options: packet.segment.options, ..Segment::default() };
    assert_eq!((plain.key, plain.orientation), (packet.key, packet.orientation));
    plain.read(&mut segment);
    assert_eq!(segment, packet.segment);
    true
}

#[test]
fn the_short_way_finds_what_the_long_way_finds_or_nothing() {
    const MACS: [u8; 12] = [0; 12];
    let v4 = behind(&[&MACS[..], &[8, 0]].concat(), &v4());
    let v6 = behind(&[&MACS[..], &[0x86, 0xdd]].concat(), &v6());
    for whole in [v4, v6] {
        assert!(is_plain(&whole, whole.len()));
        for cut in 0..whole.len() {
            is_plain(&whole[..cut], whole.len());
        }
        for at in 12..whole.len() {
            for value in 0..=u8::MAX {
                let mut bytes = whole.clone();
                bytes[at] = value;
                if bytes[12..14] == [8, 0] {
                    let packet = with_checksum(bytes.split_off(14));
                    bytes.extend(packet);
                }
                is_plain(&bytes, bytes.len());
            }
        }
    }
}

#[test]
fn checksums_of_packets_that_the_capturing_host_sent_are_never_judged() {
    let mut corrupt = v4();
    *corrupt.last_mut().unwrap() ^= 1;
    let cooked = |packet_type: u8| {
        let mut bytes = vec![0, packet_type, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 0x08, 0x00];
        bytes.extend(&corrupt);
        bytes
    };
    let cooked_2 = |packet_type: u8| {
        let mut bytes = vec![0x08, 0x00, 0, 0, 0, 0, 0, 1, 0, 1, packet_type, 6];
        bytes.extend([2, 0, 0, 0, 0, 1, 0, 0]);
        bytes.extend(&corrupt);
        bytes
    };
    let judge = |link, bytes: &[u8], checksums| fault(decode_with(&frame(link, bytes), checksums));
    let bad = Some(HeaderFault::BadChecksum);
    for (link, received, sent) in [
        (LinkType::LINUX_SLL, cooked(0), cooked(4)),
        (LinkType::LINUX_SLL2, cooked_2(0), cooked_2(4)),
    ] {
        assert_eq!(judge(link, &received, Checksums::Verified), bad);
        assert_eq!(judge(link, &sent, Checksums::Verified), None);
        assert_eq!(judge(link, &sent, Checksums::Enforced), bad);
    }
}
