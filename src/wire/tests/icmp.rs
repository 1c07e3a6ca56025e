//! ICMP and `ICMPv6`: errors, queries, what is not tracked and what is INVALID.

use super::others::{non_tcp, of_protocol};
use super::*;

/// An ICMP message to `SRC` about the segment `v4()`, of which `quoted` bytes are there.
fn error(icmp_type: u8, quoted: usize) -> Vec<u8> {
    let mut message = vec![icmp_type, 3, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&v4()[..quoted]);
    let mut packet = of_protocol(1, &message);
    packet[12..16].copy_from_slice(&[10, 0, 0, 1]);
    packet[16..20].copy_from_slice(&SRC);
    with_checksum(packet)
}

/// An `ICMPv6` packet from `src` to 0101:…:0101.
fn v6_from(src: [u8; 16], hop_limit: u8, message: &[u8]) -> Vec<u8> {
    let mut packet = v6()[..40].to_vec();
    packet[5] = u8::try_from(message.len()).unwrap();
    packet[6..8].copy_from_slice(&[58, hop_limit]);
    packet[8..24].copy_from_slice(&src);
    packet[24..40].fill(1);
    packet.extend(message);
    packet
}

fn tcp_error(decoded: Decoded) -> IcmpError {
    match decoded {
        Decoded::TcpError(error) => error,
        other => panic!("{other:?}"),
    }
}

fn invalid(decoded: Decoded) -> Fault {
    match non_tcp(decoded).tracking {
        Tracking::Invalid(fault) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_error_type_names_the_quoted_flow() {
    let packet = segment(raw(&v4()));
    for icmp_type in [3, 4, 5, 11, 12] {
        let error = tcp_error(raw(&error(icmp_type, 28)));
        assert_eq!((error.key, error.orientation), (packet.key, packet.orientation));
        assert_eq!((error.icmp_type, error.icmp_code), (icmp_type, 3));
        assert!(error.traits.to_quoted_sender);
    }
}

#[test]
fn an_error_to_somebody_else_is_told() {
    let mut packet = error(3, 28);
    packet[19] ^= 1;
    assert!(!tcp_error(raw(&with_checksum(packet))).traits.to_quoted_sender);
}

#[test]
fn a_quote_needs_a_whole_header_the_first_fragment_and_four_bytes() {
    assert!(!tcp_error(raw(&error(3, 24))).traits.quotes_eight_bytes);
    assert!(!tcp_error(raw(&error(3, 27))).traits.quotes_eight_bytes);
    assert!(tcp_error(raw(&error(3, 28))).traits.quotes_eight_bytes);
    for quoted in [0, 19, 20, 23] {
        assert_eq!(invalid(raw(&error(3, quoted))), Fault::Quote, "{quoted}");
    }
    let changed = |at: usize, value: u8| {
        let mut packet = error(3, 28);
        packet[at] = value;
        raw(&packet)
    };
    assert_eq!(invalid(changed(28 + 7, 1)), Fault::Quote, "a later fragment");
    assert_eq!(invalid(changed(28, 0x48)), Fault::Quote, "options beyond the end");
    tcp_error(changed(28 + 6, 0x20));
}

#[test]
fn what_the_snap_length_cut_off_a_quote_is_told() {
    let packet = error(3, 28);
    for len in 20..packet.len() {
        let decoded = decode(&cut_frame(LinkType::RAW, &packet[..len], packet.len()));
        let is_cut = decoded == Decoded::Undecodable(Undecodable::OtherHeaderCut);
        assert_eq!(is_cut, len < 52, "{len} {decoded:?}");
    }
}

#[test]
fn errors_about_other_protocols_name_their_flow() {
    let mut packet = error(3, 28);
    packet[28 + 9] = 17;
    let datagram = non_tcp(raw(&packet));
    assert!(matches!(datagram.tracking, Tracking::Error(traits) if traits.to_quoted_sender));
    assert_eq!(datagram.key.protocol(), 17);
    assert_eq!(datagram.key.endpoints(datagram.orientation).1.port, 80);
    packet[28 + 9] = 1;
    packet[48] = 8;
    let echo = non_tcp(raw(&packet));
    assert!(matches!(echo.tracking, Tracking::Error(traits) if traits.to_quoted_sender));
    packet[48] = 3;
    assert_eq!(invalid(raw(&packet)), Fault::Quote, "an error about an error");
}

#[test]
fn queries_and_their_answers_share_a_flow() {
    let pairs = [(8, 0), (13, 14), (15, 16), (17, 18)];
    for (request, answer) in pairs {
        let of = |icmp_type| {
            let datagram = non_tcp(raw(&of_protocol(1, &[icmp_type, 7, 0, 0, 0x12, 0x34, 0, 1])));
            assert_eq!(datagram.key.endpoints(datagram.orientation).0.port, 0x1234);
            datagram.tracking
        };
        let query =
            |is_request| Tracking::Query(Query { request_type: request, code: 7, is_request });
        assert_eq!((of(request), of(answer)), (query(true), query(false)));
    }
}

#[test]
fn icmp_faults_are_those_of_the_kernel() {
    let of = |payload: &[u8]| invalid(raw(&of_protocol(1, payload)));
    assert_eq!(of(&[8, 0, 0, 0, 0, 0, 0]), Fault::ShortPacket);
    assert_eq!(of(&[19, 0, 0, 0, 0, 0, 0, 0]), Fault::IcmpType);
    assert_eq!(of(&[9, 0, 0, 0, 0, 0, 0, 0]), Fault::NotInvertible);
    assert_eq!(invalid(raw(&of_protocol(58, &[128, 0, 0, 0, 0, 0, 0, 0]))), Fault::NotTrackable);
    let packet = of_protocol(1, &[8, 0, 0, 0, 0, 0, 0, 0]);
    let verified = decode_with(&frame(LinkType::RAW, &packet), Checksums::Verified);
    assert_eq!(invalid(verified), Fault::BadChecksum);
    let packet = of_protocol(1, &[8, 0, 0xf7, 0xff, 0, 0, 0, 0]);
    let verified = decode_with(&frame(LinkType::RAW, &packet), Checksums::Verified);
    assert!(matches!(non_tcp(verified).tracking, Tracking::Query(_)));
}

#[test]
fn icmpv6_errors_are_all_types_below_128() {
    for icmp_type in [0, 1, 2, 3, 4, 100, 127] {
        let message = [&[icmp_type, 0, 0, 0, 0, 0, 5, 0], &v6()[..44]].concat();
        let error = tcp_error(raw(&v6_from([9; 16], 64, &message)));
        let packet = segment(raw(&v6()));
        assert_eq!((error.key, error.orientation), (packet.key, packet.orientation));
        assert!(error.traits.to_quoted_sender);
        let short = raw(&v6_from([9; 16], 64, &message[..message.len() - 1]));
        assert_eq!(invalid(short), Fault::Quote);
    }
}

#[test]
fn a_quoted_ipv6_packet_may_have_extension_headers() {
    let mut quoted = v6()[..40].to_vec();
    quoted[6] = 60;
    quoted.extend([44, 0, 1, 4, 0, 0, 0, 0, 6, 0, 0, 1, 0, 0, 0, 9, 0x0f, 0xa0, 0, 80]);
    let message = [&[1, 0, 0, 0, 0, 0, 0, 0], &quoted[..]].concat();
    let error = tcp_error(raw(&v6_from([9; 16], 64, &message)));
    assert_eq!(error.key.endpoints(error.orientation).0.port, 4000);
    let mut later = message;
    later[8 + 40 + 8 + 3] = 9;
    assert_eq!(invalid(raw(&v6_from([9; 16], 64, &later))), Fault::Quote);
}

#[test]
fn icmpv6_types_are_tracked_untracked_or_invalid() {
    for icmp_type in 128..=255 {
        let message = [icmp_type, 0, 0, 0, 0, 5, 0, 0];
        let tracking = non_tcp(raw(&v6_from([9; 16], 255, &message))).tracking;
        match icmp_type {
            128 | 129 | 139 | 140 => {
                let request_type = if icmp_type < 130 { 128 } else { 139 };
                let is_request = icmp_type == request_type;
                let query = Query { request_type, code: 0, is_request };
                assert_eq!(tracking, Tracking::Query(query));
            }
            130..=136 | 143 => assert_eq!(tracking, Tracking::Untracked, "{icmp_type}"),
            151 | 152 => assert_eq!(tracking, Tracking::MulticastRouter, "{icmp_type}"),
            137 => assert_eq!(tracking, Tracking::Invalid(Fault::ShortRedirect)),
            _ => assert_eq!(tracking, Tracking::Invalid(Fault::NotInvertible), "{icmp_type}"),
        }
    }
}

#[test]
fn an_icmpv6_redirect_is_an_error_on_conditions() {
    let mut link_local = [0; 16];
    link_local[..2].copy_from_slice(&[0xfe, 0xbf]);
    let mut message = vec![137, 0, 0, 0, 0, 0, 0, 0];
    message.resize(40, 0);
    let without_options = message.clone();
    message.extend([4, 7, 0, 0, 0, 0, 0, 0]);
    message.extend_from_slice(&v6()[..48]);
    let redirect = |src, hop_limit, message: &[u8]| raw(&v6_from(src, hop_limit, message));
    let error = tcp_error(redirect(link_local, 255, &message));
    assert!(error.icmp_type == 137 && error.traits.is_redirect);
    message[1] = 1;
    assert_eq!(invalid(redirect(link_local, 255, &message)), Fault::NotInvertible, "a code");
    message[1] = 0;
    assert_eq!(invalid(redirect(link_local, 254, &message)), Fault::RedirectOrigin);
    assert_eq!(invalid(redirect([0xfe; 16], 255, &message)), Fault::RedirectOrigin);
    assert_eq!(invalid(redirect(link_local, 255, &message[..39])), Fault::ShortRedirect);
    let bare = redirect(link_local, 255, &without_options);
    assert_eq!(invalid(bare), Fault::RedirectWithoutOptions);
    message[41] = 0;
    assert_eq!(invalid(redirect(link_local, 255, &message)), Fault::RedirectWithoutOptions);
    message[40..42].copy_from_slice(&[2, 7]);
    assert_eq!(invalid(redirect(link_local, 255, &message)), Fault::NotInvertible);
}

#[test]
fn an_icmpv6_checksum_covers_the_pseudo_header() {
    let addresses = datagram::Addresses::V6 {
        src: u128::from_be_bytes([9; 16]),
        dst: u128::from_be_bytes([1; 16]),
    };
    let mut message = [128, 0, 0, 0, 0, 5, 0, 0];
    let sum = checksum::Sum::pseudo_header(addresses, 58, 8).add_bytes(&message).fold();
    message[2..4].copy_from_slice(&(!sum).to_be_bytes());
    let verified = |message: &[u8]| {
        decode_with(&frame(LinkType::RAW, &v6_from([9; 16], 64, message)), Checksums::Verified)
    };
    assert!(matches!(non_tcp(verified(&message)).tracking, Tracking::Query(_)));
    message[5] ^= 1;
    assert_eq!(invalid(verified(&message)), Fault::BadChecksum);
}
