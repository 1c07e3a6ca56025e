//! Each tunnel leads to the packet inside, and nothing else does.

use std::net::Ipv4Addr;

use super::*;
use crate::frame::LinkType;
use crate::time::Timestamp;
use crate::wire::{Packet, decode, decode_innermost};

/// A TCP segment in IPv4, 40 bytes, and in IPv6, 60 bytes.
fn v4() -> Vec<u8> {
    let tcp = [0x9c, 0x40, 0, 80, 0, 0, 3, 232, 0, 0, 0, 77, 0x50, 0x10, 1, 2, 0, 0, 0, 0];
    ipv4(6, &tcp)
}

fn v6() -> Vec<u8> {
    ipv6(6, &v4()[20..])
}

fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let header =
        [0x45, 0, len[0], len[1], 0, 1, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    [&header, payload].concat()
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let fixed = [0x60, 0, 0, 0, len[0], len[1], next, 64];
    let teredo = [0x20, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    [&fixed[..], &teredo, &[0xfd; 16], payload].concat()
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + payload.len()).unwrap().to_be_bytes();
    let port = port.to_be_bytes();
    ipv4(17, &[&[0xc0, 0, port[0], port[1], len[0], len[1], 0, 0], payload].concat())
}

fn ethernet_frame(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&[2; 12], &ethertype.to_be_bytes()[..], payload].concat()
}

fn inner(link: LinkType, bytes: &[u8], original_len: usize) -> Decoded {
    let ts = Timestamp::default();
    let original_len = u32::try_from(original_len).unwrap();
    let frame = Frame { number: 1, ts, clock: ts, link, original_len, is_outbound: false, bytes };
    decode_innermost(&frame, Checksums::Ignored)
}

fn raw(bytes: &[u8]) -> Decoded {
    inner(LinkType::RAW, bytes, bytes.len())
}

fn outer(bytes: &[u8]) -> Decoded {
    let (ts, original_len) = (Timestamp::default(), u32::try_from(bytes.len()).unwrap());
    decode(&Frame {
        number: 1,
        ts,
        clock: ts,
        link: LinkType::RAW,
        original_len,
        is_outbound: false,
        bytes,
    })
}

/// Tunnels in IPv4: protocol, and the header in front of what is inside.
fn in_ip() -> Vec<(u8, Vec<u8>, Vec<u8>)> {
    let frame = ethernet_frame(0x0800, &v4());
    let tagged = ethernet_frame(0x8100, &[&[0, 7, 0x86, 0xdd], &v6()[..]].concat());
    let gre = |header: &[u8]| header.to_vec();
    vec![
        (4, vec![], v4()),
        (94, vec![], v4()),
        (41, vec![], v6()),
        (47, gre(&[0, 0, 8, 0]), v4()),
        (47, gre(&[0, 0, 0x86, 0xdd]), v6()),
        (47, gre(&[0xb0, 0, 8, 0, 1, 1, 0, 0, 2, 2, 2, 2, 3, 3, 3, 3]), v4()),
        (47, gre(&[0x20, 0, 0x65, 0x58, 0, 1, 2, 3]), frame.clone()),
        (47, gre(&[0, 0, 0x88, 0xbe]), frame.clone()),
        (47, gre(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 9, 0x10, 0, 0, 0, 0, 0, 0, 0]), tagged.clone()),
        (
            47,
            gre(&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 9, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            frame.clone(),
        ),
        (
            47,
            [&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 9, 0x20][..], &[0; 10], &[1], &[7; 8]].concat(),
            frame.clone(),
        ),
        (47, gre(&[0, 0, 0x88, 0x3e]), v4()),
        (47, gre(&[0, 0, 0x88, 0x3e, 0, 0, 0, 0]), v4()),
        (47, gre(&[0x30, 0x01, 0x88, 0x0b, 0, 44, 0, 1, 0, 0, 0, 1, 0xff, 3, 0, 0x21]), v4()),
        (47, gre(&[0x30, 0x81, 0x88, 0x0b, 0, 44, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0x21]), v4()),
        (47, gre(&[0x20, 1, 0x64, 0, 0, 54, 1, 0]), frame.clone()),
        (47, gre(&[0, 0, 0x88, 0x47, 0, 1, 0x01, 64]), v4()),
        (51, vec![6, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9], {
            v4()[20..].to_vec()
        }),
        (51, [&[4, 4, 0, 0][..], &[9; 20]].concat(), v4()),
        (97, vec![0x30, 0], tagged),
        (137, vec![0, 1, 0x01, 64], frame),
    ]
}

/// The same for UDP, by destination port.
fn in_udp() -> Vec<(u16, Vec<u8>, Vec<u8>)> {
    let frame = ethernet_frame(0x0800, &v4());
    let vxlan = vec![8, 0, 0, 0, 0, 1, 2, 0];
    let nsh = [0x0f, 0xc6, 1, 3, 0, 0, 1, 0xff, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4];
    vec![
        (4789, vxlan.clone(), frame.clone()),
        (8472, vxlan, frame.clone()),
        (4790, vec![0x0c, 0, 0, 1, 0, 1, 2, 0], v4()),
        (4790, vec![0x0c, 0, 0, 2, 0, 1, 2, 0], v6()),
        (4790, [&[0x0c, 0, 0, 4, 0, 1, 2, 0][..], &nsh].concat(), frame.clone()),
        (6081, vec![0, 0, 0x65, 0x58, 0, 1, 2, 0], frame.clone()),
        (6081, vec![2, 0, 8, 0, 0, 1, 2, 0, 1, 1, 1, 1, 2, 2, 2, 2], v4()),
        (2152, vec![0x30, 0xff, 0, 40, 0, 0, 0, 1], v4()),
        (2152, vec![0x32, 0xff, 0, 44, 0, 0, 0, 1, 0, 7, 0, 0], v6()),
        (2152, vec![0x34, 0xff, 0, 52, 0, 0, 0, 1, 0, 0, 0, 0x85, 1, 0, 9, 0xc0, 1, 5, 5, 0], v4()),
        (3544, vec![], v6()),
        (3544, vec![0, 0, 1, 2, 3, 4, 5, 6], v6()),
        (3544, [&[0, 1, 1, 2, 9, 8, 8][..], &[7; 9], &[0, 0, 1, 2, 3, 4, 5, 6]].concat(), v6()),
        (4341, vec![0x80, 0, 0, 0, 0, 0, 0, 1], v4()),
        (6635, vec![0, 1, 0x00, 64, 0, 2, 0x01, 64], v6()),
        (6635, vec![0, 1, 0x01, 64, 0, 0, 0, 0], frame),
        (
            5247,
            [
                &[0, 0x20, 3, 0x20][..],
                &[0; 12],
                &[0x11, 8, 0, 0],
                &[2; 18],
                &[0; 2],
                &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0],
            ]
            .concat(),
            v4(),
        ),
        (5247, vec![0, 0x10, 2, 0, 0, 0, 0, 0], ethernet_frame(0x0800, &v4())),
        (1701, vec![0, 2, 0, 1, 0, 2, 0xff, 3, 0, 0x21], v4()),
        (1701, vec![0x4a, 2, 0, 60, 0, 1, 0, 2, 0, 1, 0, 1, 0, 2, 9, 9, 0, 0x21], v4()),
    ]
}

fn all() -> Vec<(String, Vec<u8>, usize)> {
    let ip = in_ip().into_iter().map(|(protocol, header, inside)| {
        (
            format!("protocol {protocol} {header:x?}"),
            ipv4(protocol, &[&header[..], &inside].concat()),
            { 20 + header.len() },
        )
    });
    let udp = in_udp().into_iter().map(|(port, header, inside)| {
        (format!("port {port} {header:x?}"), udp(port, &[&header[..], &inside].concat()), {
            28 + header.len()
        })
    });
    ip.chain(udp).collect()
}

fn is_inner(decoded: &Decoded) -> bool {
    let Decoded::Segment(Packet { segment, .. }) = decoded else { return false };
    segment.seq.0 == 1000 && segment.len == 0 && segment.header_len == 20 && segment.fault.is_none()
}

#[test]
fn each_tunnel_leads_to_the_segment_inside() {
    for (name, packet, _) in all() {
        assert!(is_inner(&raw(&packet)), "{name}: {:?}", raw(&packet));
        assert!(matches!(outer(&packet), Decoded::Other(_)), "{name} is closed unless asked");
        let in_v6 = ipv6(packet[9], &packet[20..]);
        assert!(is_inner(&raw(&in_v6)) || packet[9] == 51, "{name} in IPv6: {:?}", raw(&in_v6));
    }
}

#[test]
fn each_tunnel_header_that_ends_early_is_cut_or_is_none() {
    for (name, packet, inside_at) in all() {
        for len in 28..inside_at {
            let cut = inner(LinkType::RAW, &packet[..len], packet.len());
            let is_told = matches!(
                cut,
                Decoded::Undecodable(
                    Undecodable::TunnelHeaderCut
                        | Undecodable::IpHeaderCut
                        | Undecodable::TcpHeaderCut
                )
            );
            assert!(is_told, "{name} cut at {len}: {cut:?}");
        }
        for len in 0..packet.len() {
            // By its own length the packet ends here: never a segment out of nothing.
            let short = raw(&packet[..len]);
            assert!(!is_inner(&short) || len >= packet.len() - 20, "{name} ends at {len}");
        }
    }
}

#[test]
fn a_tunnel_in_a_tunnel_is_opened_and_too_many_are_not() {
    let nested = udp(
        4789,
        &[&[8, 0, 0, 0, 0, 0, 1, 0][..], &{
            ethernet_frame(0x0800, &ipv4(47, &[&[0, 0, 0x86, 0xdd][..], &ipv6(4, &v4())].concat()))
        }]
        .concat(),
    );
    assert!(is_inner(&raw(&nested)));
    let mut packet = v4();
    for depth in 1..=MAX_DEPTH + 1 {
        packet = ipv4(4, &packet);
        let expected = depth < MAX_DEPTH;
        assert_eq!(is_inner(&raw(&packet)), expected, "{depth} deep");
    }
    assert_eq!(raw(&packet), Decoded::Undecodable(Undecodable::TunnelTooDeep));
}

#[test]
fn what_carries_no_ip_stays_what_it_is() {
    let arp = ethernet_frame(0x0806, &[0; 28]);
    let vxlan_of = |inside: &[u8]| udp(4789, &[&[8, 0, 0, 0, 0, 0, 1, 0], inside].concat());
    for packet in [
        vxlan_of(&arp),
        udp(4789, &[0; 60]),
        udp(6081, &[&[0, 0x80, 8, 0, 0, 0, 0, 0][..], &v4()].concat()),
        udp(2152, &[0x32, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0]),
        udp(3544, &[&[0x60; 8][..], &[0xfd; 32]].concat()),
        udp(53, &v4()),
        ipv4(47, &[0x40, 0, 8, 0, 0, 0, 0, 0]),
        ipv4(47, &[0, 7, 8, 0]),
        ipv4(51, &[6, 0, 0, 0]),
    ] {
        assert_eq!(raw(&packet), outer(&packet), "{packet:x?}");
        assert!(matches!(raw(&packet), Decoded::Other(_)));
    }
}

#[test]
fn what_stands_between_the_link_layer_and_ip_is_opened() {
    let frame = ethernet_frame(0x0800, &v4());
    let nsh = [&[0x0f, 0xc2, 2, 3, 0, 0, 1, 0xff][..], &frame].concat();
    let wire = |frame: Vec<u8>, link| inner(link, &frame, frame.len());
    for (frame, link) in [
        (ethernet_frame(0x894f, &nsh), LinkType::ETHERNET),
        (
            ethernet_frame(0x8847, &[&[0, 1, 1, 64, 0, 0, 0, 0][..], &frame].concat()),
            LinkType::ETHERNET,
        ),
        (ethernet_frame(0x8847, &[&[0, 1, 1, 64][..], &frame].concat()), LinkType::ETHERNET),
        ([&[0; 14][..], &[0x89, 0x4f], &nsh].concat(), LinkType::LINUX_SLL),
        ([&[0x89, 0x4f][..], &[0; 18], &nsh].concat(), LinkType::LINUX_SLL2),
        ([&[0x0f, 0, 0x88, 0x47, 0, 1, 1, 64][..], &frame].concat(), LinkType(104)),
    ] {
        assert!(is_inner(&wire(frame.clone(), link)), "{frame:x?}");
    }
    let arp = ethernet_frame(0x0806, &[0; 28]);
    assert_eq!(wire(arp, LinkType::ETHERNET), Decoded::Undecodable(Undecodable::NotIp));
}

#[test]
fn a_fragment_inside_a_tunnel_says_where_it_stands() {
    let mut fragment = ipv4(6, &[7; 32]);
    fragment[6] = 0x20;
    let packet =
        udp(4789, &[&[8, 0, 0, 0, 0, 0, 1, 0][..], &ethernet_frame(0x0800, &fragment)].concat());
    let Decoded::Fragment(found) = raw(&packet) else { panic!("{:?}", raw(&packet)) };
    assert_eq!(found.start, 20 + 8 + 8 + 14 + 20);
    assert_eq!(found.src, Ipv4Addr::new(192, 0, 2, 1));
}
