//! Connections captured on both sides of a device, and what the two sights tell together.

use super::{healthy, later, level, line, report, verdict};
use crate::conversation::{ACK, From, Line, SYN, handshake};

/// Who has a packet: both places, or the one beside its sender alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Both,
    BesideSender,
}

/// The two sights of a packet, the one beside its sender first; the far one passed a hop.
fn sights(id: u16, seen: Seen, near: Line, far: Line) -> Vec<Line> {
    let near = Line { id: Some(id), ttl: 64, ..near };
    let far = Line { id: Some(id), ttl: 63, ..far };
    if seen == Seen::Both { vec![near, far] } else { vec![near] }
}

/// A download whose packets of two segments each come in at a router, and pass it or do not, the first
/// of them as well.
fn joined(joined: Seen, first: Seen) -> Vec<Line> {
    let mut lines: Vec<_> = handshake(64_000).into_iter().map(|line| (Seen::Both, line)).collect();
    for (_, line) in &mut lines {
        line.offers_all = line.flags & SYN != 0;
    }
    lines.push((Seen::Both, line(21, From::Client, ACK, (1, 1), 100)));
    lines.push((Seen::Both, line(31, From::Server, ACK, (1, 101), 1000)));
    for round in 0..4_u32 {
        let (at, seq) = (100 + 1000 * u64::from(round), 1001 + 2920 * round);
        let seen = if round == 0 { first } else { joined };
        lines.push((seen, line(at, From::Server, ACK, (seq, 101), 2920)));
        let single = |after, seq, len| line(at + after, From::Server, ACK, (seq, 101), len);
        lines.push((Seen::Both, single(300, seq, 1460)));
        lines.push((Seen::Both, line(at + 310, From::Client, ACK, (101, seq + 1460), 0)));
        lines.push((Seen::Both, single(320, seq + 1460, 1460)));
        lines.push((Seen::Both, line(at + 330, From::Client, ACK, (101, seq + 2920), 0)));
    }
    let each = (1..).zip(lines).map(|(id, (seen, line))| sights(id, seen, line, line));
    each.flatten().collect()
}

#[test]
fn joined_packets_that_come_in_and_go_out_nowhere_are_the_cards_fault() {
    let stopped =
        report("in_and_nowhere", &[joined(Seen::BesideSender, Seen::BesideSender), healthy()]);
    assert_eq!(level(&stopped, "C23"), Some("confirmed"), "{}", stopped["causes"]);
    assert_eq!(verdict(&stopped), ("confirmed", Some("C23")));
    let told = stopped["causes"][0]["finding"].as_str().unwrap();
    assert!(told.contains("come in at one place and go out nowhere in 1 connection"), "{told}");
    for first in [Seen::Both, Seen::BesideSender] {
        let passing = report("in_and_out", &[joined(Seen::Both, first), healthy()]);
        assert_eq!(level(&passing, "C23"), None);
    }
    // One that passes shows that the router can split them.
    let some = report("in_and_out_once", &[joined(Seen::BesideSender, Seen::Both), healthy()]);
    assert_eq!(level(&some, "C23"), None, "{}", some["causes"]);
}

/// An upload to a mail server; between the two places something makes two packets longer.
fn inspected(by: [u16; 2]) -> Vec<Line> {
    let mut all = Vec::new();
    let mut id = 0;
    let mut push = |seen: Line, there: Line| {
        id += 1;
        all.extend(sights(id, Seen::Both, seen, there));
    };
    for line in handshake(64_000) {
        push(line, line);
    }
    let (mut near, mut far) = (1_u32, 1_u32);
    for n in 0..12_u16 {
        let more = match n {
            3 => by[0],
            7 => by[1],
            _ => 0,
        };
        let at = 30 + 20 * u64::from(n);
        let sent = line(at, From::Client, ACK, (near, 1), 200);
        push(sent, Line { seq: far, len: 200 + more, ..sent });
        near += 200;
        far += 200 + u32::from(more);
        let answer = line(at + 10, From::Server, ACK, (1, far), 0);
        push(answer, Line { ack: near, ..answer });
    }
    all
}

#[test]
fn the_steps_by_which_payload_grows_between_two_places_are_measured() {
    let found = report("inspected", &[inspected([7, 30]), healthy()]);
    assert_eq!(level(&found, "C02"), Some("possible"), "{}", found["causes"]);
    let told = found["causes"].as_array().unwrap().iter().find(|it| it["id"] == "C02").unwrap();
    let params = told["params"].to_string();
    // As seen from the place beside the server, numbers are lower at the other one.
    assert!(params.contains("move by -7 bytes from frame"), "{params}");
    assert!(params.contains("-30 bytes from frame"), "{params}");
    assert_eq!(found["verdict"]["invalid"]["packets"], 0);
    let none = report("not_inspected", &[inspected([0, 0]), healthy()]);
    assert_eq!(level(&none, "C02"), None);
}

#[test]
fn syns_that_many_senders_build_alike_are_a_scan_and_no_translation() {
    let sender = |number: u8| -> Vec<Line> {
        let alike = |line: &Line| Line {
            client: [192, 0, 2, number],
            ttl: 50 + number,
            id: Some(7),
            stamps: Some((line.millis.try_into().unwrap(), 1)),
            ..*line
        };
        healthy().iter().map(alike).collect()
    };
    let twice = |count| {
        let flows: Vec<_> = (1..=count).map(sender).collect();
        report("alike", &flows)["seen_twice"].as_array().map_or(0, Vec::len)
    };
    assert!(twice(2) > 0);
    assert_eq!(twice(6), 0);
}

/// A capture into which one of the same connection was merged that is this much later.
fn merged(millis: u64, clock: u32) -> Vec<Line> {
    let stamped = |clock: u32| -> Vec<Line> {
        let stamp = |line: &Line| (clock + u32::try_from(line.millis).unwrap(), 1);
        healthy().iter().map(|line| Line { stamps: Some(stamp(line)), ..*line }).collect()
    };
    [stamped(1000), later(millis, &stamped(clock))].concat()
}

#[test]
fn captures_merged_into_one_although_their_clocks_differ_are_told() {
    let shortcoming = |name, lines: Vec<Line>| {
        let report = report(name, &[lines.clone(), lines, healthy()]);
        let all = report["quality"]["shortcomings"].as_array().unwrap().clone();
        all.into_iter().find(|it| it["code"] == "merged_clocks")
    };
    for millis in [200, 5000] {
        let told = shortcoming("merged_clocks", merged(millis, 1000)).unwrap();
        let what = told["what"].as_str().unwrap();
        let apart = format!("{}.{:03}000 s apart", millis / 1000, millis % 1000);
        assert!(what.starts_with("the SYN of 2 connections") && what.contains(&apart), "{what}");
        assert_eq!(told["percent"], 40);
    }
    // At once it is another hop; with another clock it is another connection; without one, who knows.
    assert_eq!(shortcoming("merged_hops", merged(5, 1000)), None);
    assert_eq!(shortcoming("used_again", merged(5000, 6000)), None);
    for clock in [0, u32::MAX] {
        let stamps = Some((clock, 0));
        let mut by_hand = vec![Line { stamps, ..healthy()[0] }];
        by_hand.push(Line { millis: 3000, ..by_hand[0] });
        assert_eq!(shortcoming("by_hand", by_hand), None);
    }
}

/// An upload of which every segment is acknowledged after this time, though the SYN took 80 ms.
fn acknowledged_early(rtt: u64) -> Vec<Line> {
    acknowledged_after(80, rtt)
}

/// An upload of which the SYN, and every segment, is answered after these times.
fn acknowledged_after(syn_ack: u64, rtt: u64) -> Vec<Line> {
    let mut lines = vec![
        line(0, From::Client, SYN, (0, 0), 0),
        line(syn_ack, From::Server, SYN | ACK, (0, 1), 0),
        line(syn_ack + 1, From::Client, ACK, (1, 1), 0),
    ];
    for n in 0..12_u32 {
        let at = 90 + 100 * u64::from(n);
        lines.push(line(at, From::Client, ACK, (1 + 1000 * n, 1), 1000));
        lines.push(line(at + rtt, From::Server, ACK, (1, 1001 + 1000 * n), 0));
    }
    lines
}

#[test]
fn acknowledgements_sooner_than_the_far_end_could_are_possibly_an_optimisers() {
    let early = || acknowledged_early(2);
    let found = report("early", &[early(), early(), early()]);
    assert_eq!(level(&found, "C25"), Some("possible"), "{}", found["causes"]);
    // Some answers that wait for something else make it no less.
    let mixed = || [&acknowledged_early(2)[..7], &acknowledged_early(79)[7..]].concat();
    let found = report("early_at_times", &[mixed(), mixed(), mixed()]);
    assert_eq!(level(&found, "C25"), Some("possible"), "{}", found["causes"]);
    // One connection may have had to wait for its first packet.
    let one = report("early_once", &[early(), acknowledged_early(79), acknowledged_early(80)]);
    assert_eq!(level(&one, "C25"), None);
    assert_eq!(level(&report("early_twice", &[early(), early()]), "C25"), None);
    // A far end that is near proves nothing.
    let near = || acknowledged_after(16, 2);
    assert_eq!(level(&report("near", &[near(), near(), near()]), "C25"), None);
    // Handshakes that have nothing in common were waited for.
    let waits = [30, 60, 80].map(|wait| acknowledged_after(wait, 2));
    assert_eq!(level(&report("waits", &waits), "C25"), None);
    let usual = || acknowledged_early(78);
    assert_eq!(level(&report("usual", &[usual(), usual(), usual()]), "C25"), None);
}
