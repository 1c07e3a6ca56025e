//! UDP, other protocols with ports, and protocols without.

use super::*;

/// An IPv4 packet of any protocol.
pub(super) fn of_protocol(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = v4()[..20].to_vec();
    packet[3] = 20 + u8::try_from(payload.len()).unwrap();
    packet[9] = protocol;
    packet.extend(payload);
    with_checksum(packet)
}

/// What a decoded packet that is not TCP says.
pub(super) fn non_tcp(decoded: Decoded) -> NonTcp {
    match decoded {
        Decoded::Other(datagram) => datagram,
        other => panic!("{other:?}"),
    }
}

fn ports(datagram: &NonTcp) -> (u16, u16) {
    let (src, dst) = datagram.key.endpoints(datagram.orientation);
    (src.port, dst.port)
}

fn udp() -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ipv4(SRC, DST, 64).udp(5000, 53).write(&mut bytes, b"abc").unwrap();
    bytes
}

#[test]
fn a_udp_datagram_has_its_ports() {
    let datagram = non_tcp(raw(&udp()));
    assert_eq!((datagram.key.protocol(), ports(&datagram)), (17, (5000, 53)));
    assert_eq!(datagram.tracking, Tracking::Flow);
}

#[test]
fn udp_faults_are_those_of_the_kernel() {
    let of = |payload: &[u8]| non_tcp(raw(&of_protocol(17, payload))).tracking;
    assert_eq!(of(&[0, 1, 0]), Tracking::Invalid(Fault::NotTrackable));
    assert_eq!(of(&[0, 1, 0, 2]), Tracking::Invalid(Fault::ShortPacket));
    assert_eq!(of(&[0, 1, 0, 2, 0, 8, 0]), Tracking::Invalid(Fault::ShortPacket));
    assert_eq!(of(&[0, 1, 0, 2, 0, 7, 0, 0]), Tracking::Invalid(Fault::Malformed));
    assert_eq!(of(&[0, 1, 0, 2, 0, 9, 0, 0]), Tracking::Invalid(Fault::Malformed));
    assert_eq!(of(&[0, 1, 0, 2, 0, 8, 0, 0]), Tracking::Flow);
}

#[test]
fn a_udp_checksum_counts_unless_it_is_empty() {
    let verified = |packet: &[u8]| {
        non_tcp(decode_with(&frame(LinkType::RAW, packet), Checksums::Verified)).tracking
    };
    let mut packet = udp();
    assert_eq!(verified(&packet), Tracking::Flow);
    packet[28] ^= 1;
    assert_eq!(verified(&packet), Tracking::Invalid(Fault::BadChecksum));
    assert_eq!(non_tcp(raw(&packet)).tracking, Tracking::Flow);
    packet[26..28].fill(0);
    assert_eq!(verified(&packet), Tracking::Flow);
}

#[test]
fn ports_are_taken_where_the_kernel_finds_them() {
    for (protocol, expected) in [(132, (1, 2)), (33, (0, 0)), (47, (0, 0))] {
        let datagram = non_tcp(raw(&of_protocol(protocol, &[0, 1, 0, 2, 9])));
        assert_eq!(ports(&datagram), expected, "{protocol}");
        assert_eq!(datagram.tracking, Tracking::Flow);
    }
    let empty = non_tcp(raw(&of_protocol(50, &[])));
    assert_eq!(empty.tracking, Tracking::Flow);
    let short = non_tcp(raw(&of_protocol(132, &[0, 1, 0])));
    assert_eq!(short.tracking, Tracking::Invalid(Fault::NotTrackable));
}

#[test]
fn a_header_that_the_snap_length_cut_cannot_be_judged() {
    let packet = udp();
    for len in 20..28 {
        let cut = cut_frame(LinkType::RAW, &packet[..len], packet.len());
        assert_eq!(decode(&cut), Decoded::Undecodable(Undecodable::OtherHeaderCut), "{len}");
    }
    let cut = cut_frame(LinkType::RAW, &packet[..28], packet.len());
    assert_eq!(decode(&cut), raw(&packet));
}

#[test]
fn gre_has_the_call_of_pptp_and_else_no_ports() {
    let of = |payload: &[u8]| non_tcp(raw(&of_protocol(47, payload)));
    let plain = of(&[0x20, 0, 8, 0, 0, 0, 0, 7]);
    assert_eq!((plain.tracking, ports(&plain)), (Tracking::Flow, (0, 0)));
    let call = of(&[0x30, 1, 0x88, 0x0b, 0, 4, 0x12, 0x34]);
    assert_eq!((call.tracking, ports(&call)), (Tracking::Flow, (0, 0x1234)));
    let other = of(&[0x30, 1, 8, 0, 0, 4, 0x12, 0x34]);
    assert_eq!(other.tracking, Tracking::Invalid(Fault::EnhancedGre));
    assert_eq!(of(&[0x30, 1, 0x88]).tracking, Tracking::Flow, "too short to be enhanced");
}

#[test]
fn udp_lite_must_have_a_checksum_that_covers_its_header() {
    let of = |len: u8, checksum: u8| {
        non_tcp(raw(&of_protocol(136, &[0, 1, 0, 2, 0, len, 0, checksum, 0, 0]))).tracking
    };
    assert_eq!([of(0, 1), of(8, 1), of(10, 1)], [Tracking::Flow; 3]);
    assert_eq!([of(7, 1), of(11, 1)], [Tracking::Invalid(Fault::Malformed); 2]);
    assert_eq!(of(8, 0), Tracking::Invalid(Fault::BadChecksum));
}
