//! Fragments in every order, twice, overlapping, too long, too late and too many.

use std::net::IpAddr;

use super::*;
use crate::frame::LinkType;
use crate::segment::HeaderFault;

/// A TCP header with ACK, 4 bytes of payload behind it, and a checksum that is right for
/// 1.1.1.1 → 1.1.1.1.
fn tcp() -> Vec<u8> {
    let mut bytes = vec![0, 80, 0, 81, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 0, 9, 0, 0, 0, 0];
    bytes.extend(b"data");
    let addresses = Addresses::of(address(true), address(true));
    let sum = Sum::pseudo_header(addresses, 6, 24).add_bytes(&bytes);
    bytes[16..18].copy_from_slice(&(!sum.fold()).to_be_bytes());
    bytes
}

fn address(is_v4: bool) -> IpAddr {
    if is_v4 { IpAddr::from([1; 4]) } else { IpAddr::from([1; 16]) }
}

fn part(offset: u32, len: u32, more: bool) -> Fragment {
    Fragment {
        src: address(true),
        dst: address(true),
        id: 7,
        protocol: 6,
        ttl: 64,
        ecn: 0,
        more,
        offset,
        len,
        start: 0,
        header_len: 20,
    }
}

fn part6(offset: u32, len: u32, more: bool) -> Fragment {
    let src = address(false);
    Fragment { src, dst: src, header_len: 0, ..part(offset, len, more) }
}

/// What a fragment came to.
#[derive(PartialEq, Eq, Debug)]
enum Came {
    Held,
    Dropped,
    Whole(Option<HeaderFault>, u32),
    Other,
}

fn add_at(reassembler: &mut Reassembler, seconds: i64, fragment: Fragment, bytes: &[u8]) -> Came {
    let clock = Timestamp::from_parts(seconds, 0);
    let link = LinkType::RAW;
    let frame =
        Frame { number: 1, ts: clock, clock, link, original_len: 2000, is_outbound: false, bytes };
    match reassembler.add(&fragment.read(&frame), clock) {
        None => Came::Held,
        Some(Decoded::Undecodable(Undecodable::FragmentDropped)) => Came::Dropped,
        Some(Decoded::Segment(packet)) => Came::Whole(packet.segment.fault, packet.segment.len),
        Some(_) => Came::Other,
    }
}

/// Adds fragments of `tcp()`, zeros beyond, all at one time.
fn play(fragments: &[Fragment]) -> (Vec<Came>, u64) {
    let mut bytes = tcp();
    bytes.resize(70_000, 0);
    let mut reassembler = Reassembler::new(Checksums::Verified);
    let came = fragments
        .iter()
        .map(|fragment| {
            let from = bytes.get(fragment.offset as usize..).unwrap_or_default();
            add_at(&mut reassembler, 0, *fragment, from)
        })
        .collect();
    (came, reassembler.finish())
}

#[test]
fn a_header_in_eight_byte_pieces_is_put_together_in_any_order() {
    let parts = [part(0, 8, true), part(8, 8, true), part(16, 8, false)];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let (came, incomplete) = play(&order.map(|at| parts[at]));
        assert_eq!(came, [Came::Held, Came::Held, Came::Whole(None, 4)], "{order:?}");
        assert_eq!(incomplete, 0);
    }
}

#[test]
fn a_wrong_checksum_of_the_whole_datagram_is_found() {
    let mut reassembler = Reassembler::new(Checksums::Verified);
    let mut bytes = tcp();
    bytes[20] ^= 1;
    assert_eq!(add_at(&mut reassembler, 0, part(0, 16, true), &bytes), Came::Held);
    let came = add_at(&mut reassembler, 0, part(16, 8, false), &bytes[16..]);
    assert_eq!(came, Came::Whole(Some(HeaderFault::BadChecksum), 4));
    assert_eq!(add_at(&mut reassembler, 0, part(0, 16, true), &bytes), Came::Held);
    let came = add_at(&mut reassembler, 0, part(16, 8, false), &bytes[16..20]);
    assert_eq!(came, Came::Whole(None, 4), "a byte was not captured");
}

#[test]
fn a_duplicate_is_held_and_an_overlap_discards_the_datagram() {
    let (came, incomplete) = play(&[part(0, 8, true), part(0, 8, true), part(8, 16, false)]);
    assert_eq!(came, [Came::Held, Came::Held, Came::Whole(None, 4)]);
    assert_eq!(incomplete, 0);
    let (came, incomplete) = play(&[part(0, 16, true), part(8, 16, false)]);
    assert_eq!((came, incomplete), (vec![Came::Held, Came::Dropped], 1));
    let (came, incomplete) = play(&[part(8, 16, false), part(0, 16, true)]);
    assert_eq!((came, incomplete), (vec![Came::Held, Came::Dropped], 1));
    let (came, _) = play(&[part6(0, 16, true), part6(8, 16, false), part6(16, 8, false)]);
    assert_eq!(came, [Came::Held, Came::Dropped, Came::Held], "the last begins anew");
}

#[test]
fn a_part_of_a_run_is_a_duplicate_and_one_across_two_runs_is_an_overlap() {
    let grown = [part(0, 8, true), part(8, 8, true), part(0, 16, true)];
    assert_eq!(play(&grown).0, [Came::Held, Came::Held, Came::Held]);
    let filled = [part(8, 8, true), part(0, 8, true), part(0, 16, true)];
    assert_eq!(play(&filled).0, [Came::Held, Came::Held, Came::Dropped]);
}

#[test]
fn a_part_beyond_the_end_discards_an_ipv4_datagram_and_is_dropped_from_an_ipv6_one() {
    let parts = [part(16, 8, false), part(24, 8, true), part(0, 16, true)];
    assert_eq!(play(&parts).0, [Came::Held, Came::Dropped, Came::Held]);
    let parts = [part6(16, 8, false), part6(24, 8, true), part6(0, 16, true)];
    assert_eq!(play(&parts).0[..2], [Came::Held, Came::Dropped]);
    assert!(matches!(play(&parts).0[2], Came::Whole(..)));
    let parts = [part(16, 8, false), part(16, 16, false)];
    assert_eq!(play(&parts).0, [Came::Held, Came::Dropped]);
    let parts = [part(0, 24, true), part(0, 16, false)];
    assert_eq!(play(&parts).0, [Came::Held, Came::Dropped]);
}

#[test]
fn a_length_that_is_no_multiple_of_8_is_trimmed_in_ipv4_and_passes_in_ipv6() {
    let parts = [part(0, 17, true), part(16, 8, false)];
    assert_eq!(play(&parts).0, [Came::Held, Came::Whole(None, 4)]);
    let parts = [part6(0, 16, true), part6(16, 9, true)];
    assert_eq!(play(&parts), (vec![Came::Held, Came::Other], 1));
    assert!(matches!(play(&[part6(0, 21, true)]).0[0], Came::Whole(_, 1)));
}

#[test]
fn an_empty_part_brings_nothing() {
    assert_eq!(play(&[part(0, 8, true), part(8, 7, true)]), (vec![Came::Held, Came::Dropped], 1));
    let parts = [part6(0, 8, true), part6(8, 0, true), part6(8, 16, false)];
    assert_eq!(play(&parts).0[..2], [Came::Held, Came::Dropped]);
    assert!(matches!(play(&parts).0[2], Came::Whole(..)));
}

#[test]
fn a_datagram_of_65535_bytes_is_the_longest() {
    let most = [part(0, 65_512, true), part(65_512, 3, false)];
    assert!(matches!(play(&most).0[1], Came::Whole(_, 65_495)));
    let over = [part(0, 65_512, true), part(65_512, 4, false)];
    assert_eq!(play(&over), (vec![Came::Held, Came::Dropped], 1));
    assert_eq!(play(&[part6(65_528, 8, false)]).0, [Came::Dropped]);
    assert_eq!(play(&[part6(65_528, 7, false)]).0, [Came::Held]);
}

#[test]
fn datagrams_are_told_apart_by_their_key() {
    let other_id = Fragment { id: 8, ..part(16, 8, false) };
    assert_eq!(play(&[part(0, 16, true), other_id]), (vec![Came::Held, Came::Held], 2));
    let udp = Fragment { protocol: 17, ..part(16, 8, false) };
    assert_eq!(play(&[part(0, 16, true), udp]), (vec![Came::Held, Came::Held], 2));
    let other_header = Fragment { protocol: 17, ..part6(16, 8, false) };
    let came = play(&[part6(0, 16, true), other_header]).0;
    assert!(matches!(came[1], Came::Whole(..)), "the first fragment's protocol counts");
}

#[test]
fn ecn_not_capable_goes_with_nothing_else() {
    let with = |ecn| Fragment { ecn, ..part(16, 8, false) };
    assert_eq!(play(&[part(0, 16, true), with(3)]), (vec![Came::Held, Came::Dropped], 1));
    let capable = Fragment { ecn: 2, ..part(0, 16, true) };
    assert_eq!(play(&[capable, with(3)]).0[1], Came::Whole(None, 4));
}

#[test]
fn a_datagram_is_given_up_30_seconds_after_its_first_fragment_and_60_in_ipv6() {
    let bytes = tcp();
    for (first, last, timeout) in
        [(part(0, 16, true), part(16, 8, false), 30), (part6(0, 16, true), part6(16, 8, false), 60)]
    {
        let mut reassembler = Reassembler::default();
        assert_eq!(add_at(&mut reassembler, 5, first, &bytes), Came::Held);
        let came = add_at(&mut reassembler, 4 + timeout, last, &bytes[16..]);
        assert_eq!(came, Came::Whole(None, 4));
        assert_eq!(add_at(&mut reassembler, 5, first, &bytes), Came::Held);
        assert_eq!(add_at(&mut reassembler, 5 + timeout, last, &bytes[16..]), Came::Held);
        assert_eq!(reassembler.incomplete(), 1);
        assert_eq!(reassembler.finish(), 2);
    }
}

#[test]
fn memory_is_bounded_and_given_back() {
    let bytes = vec![0; 60_000];
    let mut reassembler = Reassembler::default();
    let opened = |reassembler: &mut Reassembler, id| {
        let fragment = Fragment { id, ..part(0, 60_000, true) };
        add_at(reassembler, 0, fragment, &bytes) == Came::Held
    };
    let held = (0..1000).filter(|id| opened(&mut reassembler, *id)).count();
    assert_eq!(held, 4 * 1024 * 1024 / 60_768 + 1);
    assert_eq!(add_at(&mut reassembler, 0, part6(0, 16, true), &bytes), Came::Held);
    for id in 1000.. {
        let fragment = Fragment { id: 1, ..part(60_000 + 8 * id, 8, true) };
        add_at(&mut reassembler, 0, fragment, &bytes);
        assert!(reassembler.charged[0] <= HARD_LIMIT);
        if !reassembler.queues.contains_key(&fragment.key()) {
            break;
        }
    }
    add_at(&mut reassembler, 60, part(0, 8, true), &bytes);
    assert_eq!(reassembler.charged, [776, 0]);
    assert_eq!(reassembler.deadlines.len(), 1);
    reassembler.finish();
    assert_eq!(reassembler.charged, [0, 0]);
    assert!(reassembler.queues.is_empty());
}
