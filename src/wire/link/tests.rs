//! Each link header leads to the packet behind it, or says that it was cut.

use super::*;

/// Link types with the header that they put in front of an IPv4 packet.
const V4: &[(u16, &[u8])] = &[
    (6, &[0x10, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0]),
    // With 2 bytes of routing information.
    (6, &[0x10, 0x40, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 2, 0, 6, 6, 3]),
    (8, &[0; 16]),
    (9, &[0xff, 3, 0, 0x21]),
    (9, &[0, 0x21]),
    (9, &[0x21]),
    (9, &[0xff, 3, 0x21]),
    (9, &[0xff, 3, 2, 0x81, 0, 0, 1, 64]),
    (10, &[0x50, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0]),
    (50, &[0xff, 3, 0, 0x21]),
    (50, &[0x0f, 0, 8, 0]),
    (51, &[0x11, 0, 0, 1, 0, 42, 0, 0x21]),
    (100, &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0]),
    (104, &[0x8f, 0, 8, 0]),
    (
        105,
        &[
            0x08, 1, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 0x10, 0, 0xaa,
            0xaa, 3, 0, 0, 0, 8, 0,
        ],
    ),
    // Quality of service, four addresses, an HT control field.
    (
        105,
        &[
            0x88, 0x83, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 0x10, 0, 4, 4,
            4, 4, 4, 4, 0, 0, 5, 5, 5, 5, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0,
        ],
    ),
    // An aggregate.
    (
        105,
        &[
            0x88, 1, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 0x10, 0, 0x80, 0,
            6, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 0, 48, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0,
        ],
    ),
    (107, &[0x18, 0x61, 0x03, 0xcc]),
    (107, &[0x18, 0x60, 0x01, 0x03, 0, 0x80, 0, 0, 0, 8, 0]),
    (107, &[0x18, 0x61, 0x03, 0xcf, 0, 0x21]),
    (107, &[0x18, 0x61, 8, 0]),
    (109, &[2, 0, 0, 0, 9, 9, 9, 9, 0, 0, 0, 0]),
    (109, &[0, 0, 0, 2, 9, 9, 9, 9, 0, 0, 0, 0]),
    (117, &[6, 2, 0, 0, 1, 1, 0, 0]),
    (122, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0]),
    // Radiotap with a timestamp and flags that say that the header is padded.
    (
        127,
        &[
            0, 0, 24, 0, 3, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 0x20, 0, 0, 0, 0, 0, 0, 0, 0x88, 1, 0,
            0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 0x10, 0, 0, 0, 0, 0, 0xaa,
            0xaa, 3, 0, 0, 0, 8, 0,
        ],
    ),
    // Radiotap with two presence words and no padding.
    (
        127,
        &[
            0, 0, 16, 0, 2, 0, 0, 0x80, 0, 0, 0, 0, 0x10, 0, 0, 0, 0x08, 1, 0, 0, 1, 1, 1, 1, 1, 1,
            2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 0x10, 0, 6, 6, 3,
        ],
    ),
    (138, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0]),
    (143, &[0, 0, 0, 60, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 8, 0]),
    (143, &[1, 2, 0, 60, 9, 9, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 8, 0]),
    (166, &[0, 3, 0, 0x21]),
    (178, &[0x4d, 0x47, 0x43, 0x80, 0, 2, 9, 9, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 8, 0]),
    (178, &[0x4d, 0x47, 0x43, 0x02, 0, 0, 0, 2]),
    (179, &[0x4d, 0x47, 0x43, 0, 0xff, 3, 0, 0x21]),
    (180, &[0x4d, 0x47, 0x43, 0, 0x18, 0x61, 8, 0]),
    (181, &[0x4d, 0x47, 0x43, 0, 0x0f, 0, 8, 0]),
    (192, &[0, 0, 8, 0, 9, 0, 0, 0, 0xff, 3, 0, 0x21]),
    (204, &[1, 0xff, 3, 0, 0x21]),
    (204, &[1, 0, 0x21]),
    (205, &[1, 0x0f, 0, 8, 0]),
    (206, &[1, 0x18, 0x61, 8, 0]),
    (219, &[0, 0, 1, 64]),
    (239, &[2, 0, 0, 40, 6, 0, 10, 0, 0, 0, 0, 0, 24, 0, 9, 0]),
    (239, &[2, 0, 0, 40, 0, 6, 0, 10, 0, 0, 0, 0, 0, 24, 0, 9]),
    (
        242,
        &[
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0,
        ],
    ),
    (
        253,
        &[
            0, 4, 3, 0x38, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 60, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 2, 0, 0, 0, 24, 0, 9, 0,
        ],
    ),
    (258, &[12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]),
    (
        274,
        &[0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0xd5, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 8, 0],
    ),
];

/// The same for an IPv6 packet.
const V6: &[(u16, &[u8])] = &[
    (9, &[0xff, 3, 0, 0x57]),
    (104, &[0x0f, 0, 0x86, 0xdd]),
    (107, &[0x18, 0x61, 0x03, 0x8e]),
    (109, &[24, 0, 0, 0, 9, 9, 9, 9, 0, 0, 0, 0]),
    (117, &[8, 28, 0, 0, 1, 1, 0, 0]),
    (219, &[0, 0, 0, 64, 0, 0, 1, 64]),
    (239, &[10, 0, 0, 40, 24, 0, 9, 0]),
];

#[test]
fn each_header_leads_to_the_packet_behind_it() {
    for (cases, first_byte, expected) in
        [(V4, 0x45, Network::v4 as fn(usize) -> Network), (V6, 0x60, Network::v6)]
    {
        for &(link, header) in cases {
            let bytes = [header, &[first_byte; 60]].concat();
            let found = network(LinkType(link), &bytes);
            assert_eq!(found, Ok(expected(header.len())), "{link} {header:x?}");
        }
    }
}

#[test]
fn each_header_that_ends_early_is_cut() {
    for &(link, header) in V4.iter().chain(V6) {
        for len in 0..header.len() {
            let found = network(LinkType(link), &header[..len]);
            let is_short_form = matches!(link, 9 | 104..=107 | 204..=206);
            let expected = Err(Undecodable::LinkHeaderCut);
            assert!(found == expected || is_short_form, "{link} {len} {header:x?} {found:?}");
        }
    }
}

#[test]
fn a_prism_header_has_the_byte_order_of_its_host_and_may_be_an_avs_header() {
    let wlan = V4.iter().find(|(link, _)| *link == 105).unwrap().1;
    let prism = |head: [u8; 8]| [&head[..], &[0; 136], wlan, &[0x45]].concat();
    let expected = Ok(Network::v4(144 + wlan.len()));
    for len in [[144, 0, 0, 0], [0, 0, 0, 144]] {
        let bytes = prism([0, 0, 0, 0x44, len[0], len[1], len[2], len[3]]);
        assert_eq!(network(LinkType(119), &bytes), expected);
    }
    let avs = prism([0x80, 0x21, 0x10, 0x02, 0, 0, 0, 144]);
    assert_eq!(network(LinkType(119), &avs), expected);
    assert_eq!(network(LinkType(163), &avs), expected);
}

#[test]
fn wireless_frames_without_readable_data_are_not_ip() {
    let data = V4.iter().find(|(link, _)| *link == 105).unwrap().1;
    let changed = |at: usize, value: u8| {
        let mut bytes = data.to_vec();
        bytes[at] |= value;
        network(LinkType(105), &bytes)
    };
    assert_eq!(changed(0, 0), Ok(Network::v4(data.len())));
    assert_eq!(changed(0, 0x40), Err(Undecodable::NotIp), "no data");
    assert_eq!(changed(0, 0x04), Err(Undecodable::NotIp), "control");
    assert_eq!(changed(1, 0x40), Err(Undecodable::NotIp), "protected");
    assert_eq!(changed(1, 0x04), Err(Undecodable::NotIp), "first fragment");
    assert_eq!(changed(22, 0x01), Err(Undecodable::NotIp), "later fragment");
}

#[test]
fn control_frames_of_wireless_networks_are_whole_though_short() {
    let acknowledgement = [0xd4, 0, 0, 0, 1, 1, 1, 1, 1, 1];
    assert_eq!(network(LinkType(105), &acknowledgement), Err(Undecodable::NotIp));
    let of_controller = [0, 0xd4, 0, 0, 1, 1, 1, 1, 1, 1];
    assert_eq!(wireless(&of_controller, 0), Err(Undecodable::NotIp));
    assert_eq!(network(LinkType(105), &[0x08, 1, 0, 0]), Err(Undecodable::LinkHeaderCut), "data");
}

#[test]
fn headers_that_carry_something_else_are_not_ip() {
    let cases: [(u16, &[u8]); 11] = [
        (9, &[0xff, 3, 0xc0, 0x21]),
        (10, &[0x00; 30]),
        (6, &[0x10, 0x00, 0, 0, 0, 0, 0, 0, 0]),
        (104, &[0x8f, 0, 0x80, 0x35, 0, 0]),
        (107, &[0x18, 0x61, 0x03, 0x08]),
        (143, &[0xc0, 0, 0, 0]),
        (178, b"XYZ\0"),
        (192, &[0, 0, 8, 0, 192, 0, 0, 0, 0, 0, 8, 0, 192, 0, 0, 0]),
        (239, &[2, 0, 0, 40, 3, 0, 10, 0]),
        (253, &[0; 40]),
        (258, &[12, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 2, 0, 0, 0]),
    ];
    for (link, bytes) in cases {
        assert_eq!(network(LinkType(link), bytes), Err(Undecodable::NotIp), "{link}");
    }
}
