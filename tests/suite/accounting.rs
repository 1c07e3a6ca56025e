//! Every frame is in exactly one count, whatever its bytes are.

use std::io::Cursor;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::capture_writer::{Order, PcapngWriter};
use crate::fuzz::audit;
use tcp_window_audit::source::Timeline;
use tcp_window_audit::source::file::FileSource;
use tcp_window_audit::wire::Tunnels;

/// Link types in the registry, and some beyond.
const LINK_TYPES: u16 = 310;

/// A frame: link type, bytes, and how many more there were on the wire.
type Raw = (u16, Vec<u8>, u32);

/// Bytes that are noise, noise that begins as IP does, or packets with some bytes changed.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let noise = vec(any::<u8>(), 0..200);
    let headed = (any::<[u8; 4]>(), vec(any::<u8>(), 16..200)).prop_map(|(choice, mut bytes)| {
        bytes[0] = if choice[0] & 1 == 0 { 0x45 } else { 0x60 };
        bytes[9 - 3 * usize::from(choice[0] & 1)] =
            [6, 17, 1, 58, 47, 4, 41, 44, 51][usize::from(choice[1]) % 9];
        bytes[6] &= choice[2];
        bytes
    });
    let packet = (any::<u8>(), vec((any::<u8>(), any::<u8>()), 0..4), 0_usize..90).prop_map(
        |(kind, changes, len)| {
            let mut packet = packet(kind);
            for (at, value) in changes {
                let at = usize::from(at) % packet.len();
                packet[at] = value;
            }
            packet.truncate(len.max(1));
            packet
        },
    );
    prop_oneof![noise, headed, packet]
}

/// A packet of one of the kinds that are counted apart.
fn packet(kind: u8) -> Vec<u8> {
    let tcp = [0x9c, 0x40, 0, 80, 0, 0, 3, 232, 0, 0, 0, 77, 0x50, 0x10, 1, 2, 0, 0, 0, 0];
    let ip = |protocol: u8, fragment: [u8; 2], payload: &[u8]| {
        let len = (20 + payload.len()) as u8;
        let [flags, offset] = fragment;
        let header =
            [0x45, 0, 0, len, 0, 1, flags, offset, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        [&header[..], payload].concat()
    };
    let whole = ip(6, [0, 0], &tcp);
    match kind % 7 {
        0 => whole,
        1 => ip(6, [0x20, 0], &tcp[..16]),
        2 => ip(6, [0, 2], &tcp[16..]),
        3 => ip(1, [0, 0], &[&[3, 3, 0, 0, 0, 0, 0, 0], &whole[..]].concat()),
        4 => ip(4, [0, 0], &whole),
        5 => ip(47, [0, 0], &[&[0, 0, 8, 0], &whole[..]].concat()),
        _ => ip(
            17,
            [0, 0],
            &[&[0xc0, 0, 8, 0x68, 0, 56, 0, 0, 0x30, 0xff, 0, 40, 0, 0, 0, 1], &whole[..]].concat(),
        ),
    }
}

fn capture(frames: &[Raw]) -> Vec<u8> {
    let mut writer = PcapngWriter::new(Order::Little);
    for link in 0..LINK_TYPES {
        writer.interface(link, 0, &[]);
    }
    for (time, (link, bytes, beyond)) in (1..).zip(frames) {
        let original_len = u32::try_from(bytes.len()).unwrap() + beyond;
        writer.enhanced(u32::from(*link), time, original_len, bytes);
    }
    writer.bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn frames_are_segments_errors_others_fragments_or_undecodable(
        frames in vec((0..LINK_TYPES, bytes(), 0_u32..3), 1..80),
        raw in vec((prop_oneof![Just(101_u16), Just(228)], bytes(), 0_u32..3), 1..80),
    ) {
        for frames in [&frames, &raw] {
            let capture = capture(frames);
            for (tunnels, threads) in [(Tunnels::Closed, 1), (Tunnels::Opened, 1), (Tunnels::Opened, 3)] {
                let reader = Box::new(Cursor::new(capture.clone()));
                let mut source =
                    FileSource::from_reader("noise".to_owned(), reader, Timeline::default()).unwrap();
                let (audit, verdicts) = audit(&mut source, tunnels, threads);
                let tally = &audit.tally;
                let other: u64 = tally.other.values().sum();
                let undecodable: u64 = tally.undecodable.values().sum();
                let counted =
                    tally.segments + tally.tcp_errors + other + tally.fragments + undecodable;
                prop_assert_eq!(counted, frames.len() as u64);
                prop_assert_eq!(verdicts, tally.segments + tally.tcp_errors);
                let totals = &audit.totals;
                let judged = totals.new + totals.established + totals.invalid + totals.dropped + totals.copies;
                prop_assert_eq!(judged, tally.segments);
                prop_assert_eq!(totals.errors_related + totals.errors_invalid, tally.tcp_errors);
                prop_assert!(audit.incomplete.is_empty());
            }
        }
    }
}
