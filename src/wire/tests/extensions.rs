//! IPv6 extension headers, and fragments of both address families from frame to datagram.

use super::others::non_tcp;
use super::*;
use fragments::Reassembler;

/// The IPv6 packet `v6()` with extension headers in front of its payload.
fn extended(first: u8, extensions: &[u8]) -> Vec<u8> {
    let plain = v6();
    let mut packet = plain[..40].to_vec();
    packet[5] += u8::try_from(extensions.len()).unwrap();
    packet[6] = first;
    packet.extend(extensions);
    packet.extend_from_slice(&plain[40..]);
    packet
}

/// Feeds packets to decoder and reassembler, and returns what the last one came to.
fn reassembled(packets: &[Vec<u8>]) -> Option<Decoded> {
    let mut reassembler = Reassembler::default();
    let mut last = None;
    for packet in packets {
        let frame = frame(LinkType::RAW, packet);
        last = match decode(&frame) {
            Decoded::Fragment(fragment) => reassembler.add(&fragment.read(&frame), frame.clock),
            decoded => Some(decoded),
        };
    }
    last
}

/// Cuts an IPv4 packet without options into two fragments, the first with `len` bytes of payload.
fn split_v4(packet: &[u8], len: usize) -> [Vec<u8>; 2] {
    let part = |word: u16, payload: &[u8]| {
        let mut part = [&packet[..20], payload].concat();
        part[3] = u8::try_from(part.len()).unwrap();
        part[6..8].copy_from_slice(&word.to_be_bytes());
        with_checksum(part)
    };
    let units = u16::try_from(len / 8).unwrap();
    [part(0x2000, &packet[20..20 + len]), part(units, &packet[20 + len..])]
}

#[test]
fn extension_headers_are_passed_over() {
    let cases: [(u8, &[u8]); 6] = [
        (0, &[6, 0, 1, 4, 0, 0, 0, 0]),
        (43, &[6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (60, &[6, 0, 1, 4, 0, 0, 0, 0]),
        (51, &[6, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]),
        // An atomic fragment.
        (44, &[6, 0, 0, 0, 0, 0, 0, 9]),
        (0, &[60, 0, 1, 4, 0, 0, 0, 0, 44, 0, 1, 4, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 9]),
    ];
    for (first, extensions) in cases {
        assert_eq!(raw(&extended(first, extensions)), raw(&v6()), "{first}");
    }
}

#[test]
fn a_chain_without_an_upper_layer_is_not_trackable() {
    let fault = |packet: &[u8]| non_tcp(raw(packet)).tracking;
    let not_trackable = Tracking::Invalid(Fault::NotTrackable);
    assert_eq!(fault(&extended(59, &[])), not_trackable);
    assert_eq!(fault(&extended(0, &[59, 0, 0, 0, 0, 0, 0, 0])), not_trackable);
    assert_eq!(fault(&extended(0, &[60, 255, 0, 0, 0, 0, 0, 0])), not_trackable);
    let mut short = extended(60, &[6, 0, 1, 4, 0, 0, 0, 0]);
    short[5] = 1;
    assert_eq!(fault(&short), not_trackable);
}

#[test]
fn a_chain_that_the_snap_length_cut_is_told() {
    let packet = extended(44, &[60, 0, 0, 1, 0, 0, 0, 9, 6, 0, 1, 4, 0, 0, 0, 0]);
    for len in 0..48 {
        let decoded = decode(&cut_frame(LinkType::IPV6, &packet[..len], packet.len()));
        assert_eq!(decoded, Decoded::Undecodable(Undecodable::IpHeaderCut), "{len}");
    }
}

#[test]
fn ipv6_fragments_are_put_together_behind_any_header() {
    let fragment = |offset: u8, more: u8, payload: &[u8]| {
        let mut packet = v6()[..40].to_vec();
        packet[5] = 16 + u8::try_from(payload.len()).unwrap();
        packet[6] = 0;
        packet.extend([44, 0, 1, 4, 0, 0, 0, 0]);
        packet.extend([60, 0, 0, offset | more, 0, 0, 0, 9]);
        packet.extend(payload);
        packet
    };
    let payload = [&[6, 0, 1, 4, 0, 0, 0, 0], &v6()[40..]].concat();
    let first = fragment(0, 1, &payload[..8]);
    assert_eq!(fault(raw(&first)), Some(HeaderFault::NotTrackable), "it is let pass");
    // The destination options announce TCP, of which not all 20 bytes are in the first fragment.
    let first = fragment(0, 1, &payload[..16]);
    assert_eq!(fault(raw(&first)), Some(HeaderFault::Short), "it is let pass");
    let long = [&payload[..], &[0; 9]].concat();
    let parts = [fragment(32, 0, &long[32..]), fragment(0, 1, &long[..32])];
    let whole = segment(reassembled(&parts).unwrap()).segment;
    assert_eq!(whole, Segment { len: 12, ..segment(raw(&v6())).segment });
}

#[test]
fn a_fragment_of_a_jumbogram_is_let_pass() {
    let mut packet = v6()[..40].to_vec();
    packet[4..7].copy_from_slice(&[0, 0, 0]);
    packet.extend([44, 0, 0xc2, 4, 0, 1, 0, 0]);
    packet.extend([6, 0, 0, 8, 0, 0, 0, 9]);
    let decoded = decode(&cut_frame(LinkType::RAW, &packet, 70_000));
    assert_eq!(non_tcp(decoded).tracking, Tracking::Invalid(Fault::NotTrackable));
}

#[test]
fn ipv4_fragments_are_put_together() {
    let whole = segment(raw(&v4()));
    for len in [8, 16, 24, 32] {
        let [first, second] = split_v4(&v4(), len);
        for parts in [[first.clone(), second.clone()], [second, first]] {
            assert_eq!(reassembled(&parts[..1]), None, "{len}");
            assert_eq!(segment(reassembled(&parts).unwrap()), whole, "{len}");
        }
    }
}

#[test]
fn a_fragment_that_was_cut_gives_what_is_known_of_the_datagram() {
    let [first, second] = split_v4(&v4(), 32);
    let mut reassembler = Reassembler::default();
    let mut add = |packet: &[u8], len: usize| {
        let frame = cut_frame(LinkType::RAW, &packet[..len], packet.len());
        let Decoded::Fragment(fragment) = decode(&frame) else { panic!("no fragment") };
        reassembler.add(&fragment.read(&frame), frame.clock)
    };
    add(&first, 40);
    let packet = segment(add(&second, 20).unwrap());
    assert!(packet.segment.options_cut);
    assert_eq!(packet.segment.len, 5);
    add(&first, 39);
    let decoded = add(&second, 20).unwrap();
    assert_eq!(decoded, Decoded::Undecodable(Undecodable::TcpHeaderCut));
}
