//! Causes that lie on the path: sizes that do not get through, damage, optimisers, balancers, leaks,
//! inspection.

use serde_json::Value;

use super::{WIN, healthy, level, line, report, report_on, verdict};
use crate::conversation::{ACK, FIN, From, Line, Other, RST, SYN, capture_with, handshake, ping};

/// A server whose answer of this size never gets through, sent again with doubling gaps.
fn stuck(size: u16) -> Vec<Line> {
    let mut lines = handshake(WIN);
    lines.push(line(21, From::Client, ACK, (1, 1), 100));
    lines.push(line(31, From::Server, ACK, (1, 101), 0));
    for millis in [32, 300, 850, 1950, 4150] {
        lines.push(line(millis, From::Server, ACK, (1, 101), size));
    }
    lines
}

/// The same, whose sender finds out that half of it gets through.
fn finds_the_size(size: u16) -> Vec<Line> {
    let mut lines = stuck(size);
    let half = size / 2;
    for (step, start) in [1, 1 + u32::from(half)].into_iter().enumerate() {
        let millis = 8_600 + 40 * u64::try_from(step).unwrap();
        lines.push(line(millis, From::Server, ACK, (start, 101), half));
        let end = start + u32::from(half);
        lines.push(line(millis + 20, From::Client, ACK, (101, end), 0));
    }
    lines
}

/// Three pings of each size; those of 993 bytes and more have no answer.
fn pings() -> Vec<Other> {
    let mut packets = Vec::new();
    for (run, len) in (1..).zip([84_u16, 500, 992, 993, 1400]) {
        for number in 0..3 {
            let millis = 100 * u64::from(run) + u64::from(number);
            packets.push((millis, ping(run, number, len, From::Client)));
            if len < 993 {
                packets.push((millis, ping(run, number, len, From::Server)));
            }
        }
    }
    packets
}

fn parameters(report: &Value, id: &str) -> String {
    let causes = report["causes"].as_array().unwrap();
    let cause = causes.iter().find(|cause| cause["id"] == id).unwrap();
    format!("{} {} {}", cause["finding"], cause["notes"], cause["params"])
}

#[test]
fn a_size_that_does_not_get_through_is_a_fault_of_the_path() {
    let flows = [finds_the_size(1400), finds_the_size(1200), healthy(), healthy()];
    let report = report("black_hole", &flows);
    assert_eq!(verdict(&report), ("confirmed", Some("C17")));
    let told = parameters(&report, "C17");
    assert!(told.contains("segments of 1200 bytes and more"), "{told}");
    assert!(told.contains("600 bytes arrive"), "{told}");
    assert!(told.contains("be_liberal=1 changes nothing"), "{told}");
    assert_eq!(report["verdict"]["invalid"]["packets"], 0);
}

#[test]
fn pings_tell_the_size_from_which_on_the_path_fails() {
    let flows = [stuck(1400), stuck(1300), healthy()];
    let report = report_on("pings", &capture_with(&flows, &pings()), &[]);
    assert_eq!(verdict(&report), ("confirmed", Some("C17")));
    let told = parameters(&report, "C17");
    assert!(told.contains("packets of 993 bytes and more, pings too,"), "{told}");
    assert!(told.contains("Pings of 992 bytes are answered, those of 993 bytes are not"), "{told}");
}

#[test]
fn a_receiver_that_is_gone_is_no_black_hole_of_sizes() {
    let report = report("gone", &[stuck(1400), healthy()]);
    assert_ne!(level(&report, "C17"), Some("confirmed"));
    assert_ne!(level(&report, "C17"), Some("probable"));
}

#[test]
fn small_segments_in_vain_are_no_matter_of_size() {
    let report = report("small", &[finds_the_size(200), finds_the_size(200), healthy()]);
    assert_eq!(level(&report, "C17"), None);
}

#[test]
fn segments_that_passed_before_are_no_matter_of_size() {
    let mut lines = handshake(WIN);
    lines.push(line(21, From::Client, ACK, (1, 1), 100));
    for n in 0..60 {
        let (millis, seq) = (31 + 2 * u64::from(n), 1 + 1400 * n);
        lines.push(line(millis, From::Server, ACK, (seq, 101), 1400));
        lines.push(line(millis + 1, From::Client, ACK, (101, seq + 1400), 0));
    }
    let seq = 1 + 1400 * 60;
    for millis in [200, 500, 1050, 2150, 4350] {
        lines.push(line(millis, From::Server, ACK, (seq, 101), 1400));
    }
    lines.push(line(4360, From::Client, ACK, (101, seq), 0));
    let report = report("passed_before", &[lines, healthy()]);
    assert_eq!(level(&report, "C17"), None);
}

/// A SYN with the option of a WAN optimiser.
fn probed() -> Vec<Line> {
    let mut lines = healthy();
    lines[0].extra = &[76, 8, 1, 1, 10, 0, 0, 1];
    lines
}

#[test]
fn a_wan_optimiser_that_is_merely_there_is_possible_at_most() {
    let report = report("optimiser", &[probed(), probed(), healthy()]);
    assert_eq!(level(&report, "C25"), Some("possible"));
    assert_eq!(report["verdict"]["invalid"]["packets"], 0);
}

#[test]
fn a_wan_optimiser_whose_connections_are_refused_is_probable() {
    let refused = || {
        let mut lines = probed();
        lines.push(line(62, From::Server, ACK, (900_000, 102), 1000));
        lines.insert(5, line(35, From::Server, ACK, (200_000, 101), 1000));
        lines.insert(6, line(36, From::Server, ACK, (201_000, 101), 1000));
        lines
    };
    let report = report("optimiser_refused", &[refused(), refused(), healthy()]);
    assert!(report["verdict"]["invalid"]["packets"].as_u64().unwrap() > 0);
    assert_eq!(level(&report, "C25"), Some("probable"));
    let parts = &report["causes"][0]["parts"];
    assert!(parts["others without the option have INVALID packets too"].is_null(), "{parts}");
}

#[test]
fn a_wan_optimiser_is_the_less_at_fault_the_more_others_are_refused_too() {
    let refused_by_it = || {
        let mut lines = probed();
        lines.insert(5, line(35, From::Server, ACK, (200_000, 101), 1000));
        lines
    };
    let report = report("optimiser_beside", &[refused_by_it(), refused(), healthy()]);
    let causes = report["causes"].as_array().unwrap();
    let found = causes.iter().find(|cause| cause["id"] == "C25").unwrap();
    let parts = &found["parts"];
    assert_eq!(parts["others without the option have INVALID packets too"], -20, "{found}");
}

#[test]
fn options_of_other_kinds_are_no_wan_optimiser() {
    let mut lines = healthy();
    lines[0].extra = &[34, 6, 1, 2, 3, 4, 1, 1];
    let report = report("fast_open", &[lines, healthy()]);
    assert_eq!(level(&report, "C25"), None);
}

/// A late RST of the connection before it, which left with its private address.
fn leaked() -> Vec<Line> {
    leaked_from([10, 0, 0, 7])
}

/// The same, with this address.
fn leaked_from(inside: [u8; 4]) -> Vec<Line> {
    let late = |millis, flags, seq| Line {
        client: inside,
        ..line(millis, From::Client, flags, (seq, 1001), 0)
    };
    let mut lines = healthy();
    lines.extend([late(900, ACK | FIN, 101), late(1000, RST, 102), late(1100, RST, 102)]);
    lines
}

#[test]
fn packets_that_leave_untranslated_are_found_by_their_ports() {
    let report = report("leak", &[leaked(), leaked(), healthy()]);
    assert_eq!(level(&report, "C09"), Some("probable"));
    let told = parameters(&report, "C09");
    assert!(told.contains("10.0.0.7:40000 to 198.51.100.1:443, elsewhere 192.0.2.1"), "{told}");
}

#[test]
fn late_packets_of_another_public_address_are_no_leak() {
    let other = || leaked_from([203, 0, 113, 7]);
    let report = report("no_private", &[other(), other(), healthy()]);
    assert!(report["verdict"]["invalid"]["packets"].as_u64().unwrap() > 0);
    assert_eq!(level(&report, "C09"), None, "{}", report["causes"]);
}

#[test]
fn private_addresses_with_connections_of_their_own_leak_nothing() {
    let mut inside = healthy();
    for line in &mut inside {
        line.client = [10, 0, 0, 9];
    }
    let report = report("no_leak", &[leaked(), leaked(), inside]);
    assert_eq!(level(&report, "C09"), None);
}

/// A connection of a proxy: all of them offer the same, from one address.
fn balanced() -> Vec<Line> {
    let mut lines = healthy();
    for line in &mut lines {
        line.client = [192, 0, 2, 200];
        line.ttl = 255;
    }
    lines[0].extra = &[2, 4, 5, 0x50, 1, 1, 1, 1];
    lines
}

/// A connection whose data goes beyond every window: INVALID.
fn refused() -> Vec<Line> {
    let mut lines = healthy();
    lines.truncate(5);
    for n in 0..4 {
        let seq = 300_000 + 1000 * n;
        lines.push(line(60 + u64::from(n), From::Server, ACK, (seq, 101), 1000));
    }
    lines
}

#[test]
fn connections_through_a_balancer_are_the_control_group() {
    let mut flows: Vec<_> = std::iter::repeat_with(balanced).take(25).collect();
    flows.extend([refused(), refused(), healthy()]);
    let report = report("balancer", &flows);
    assert_eq!(level(&report, "C04"), Some("probable"));
    let told = parameters(&report, "C04");
    assert!(told.contains("25 connections from 192.0.2.200 share one fingerprint"), "{told}");
    assert!(told.contains("none of the trouble of 2 others"), "{told}");
    assert_ne!(report["verdict"]["cause"], "C04");
}

#[test]
fn a_group_that_has_the_trouble_too_is_no_control_group() {
    let mut flows: Vec<_> = std::iter::repeat_with(balanced).take(25).collect();
    for line in &mut flows[0] {
        if line.from == From::Client && line.millis > 21 {
            line.ack = 900_000;
        }
    }
    flows.extend([refused(), healthy()]);
    let report = report("troubled_group", &flows);
    assert_eq!(level(&report, "C04"), None);
}

#[test]
fn without_any_trouble_no_balancer_is_spoken_of() {
    let mut flows: Vec<_> = std::iter::repeat_with(balanced).take(25).collect();
    flows.push(healthy());
    assert_eq!(level(&report("calm_group", &flows), "C04"), None);
}

/// A transfer to a mail server in which the blocks of its acknowledgements are off by this much.
fn off_by(shift: u32) -> Vec<Line> {
    let mut lines = handshake(WIN);
    for line in &mut lines {
        line.offers_all = line.flags & SYN != 0;
    }
    for n in 0..8_u32 {
        lines.push(line(30 + u64::from(n), From::Client, ACK, (1 + 1000 * n, 1), 1000));
    }
    for n in 0..6_u32 {
        let (left, right) = (1001 + 1000 * n + shift, 8001 + shift);
        let mut option = vec![1, 1, 5, 10];
        option.extend(left.to_be_bytes());
        option.extend(right.to_be_bytes());
        let extra = Box::leak(option.into_boxed_slice());
        lines.push(Line { extra, ..line(40 + u64::from(n), From::Server, ACK, (1, 1), 0) });
    }
    lines.push(line(60, From::Client, ACK, (1, 1), 1000));
    lines.push(line(70, From::Server, ACK, (1, 8001), 0));
    lines
}

#[test]
fn blocks_off_by_some_bytes_point_at_an_inspection_engine_and_never_surely() {
    let report = report("inspection", &[off_by(1500), off_by(2300), healthy()]);
    // Nobody inspects what goes to port 443.
    assert_eq!(level(&report, "C02"), Some("possible"));
    assert_eq!(level(&report, "C01"), None);
}

#[test]
fn sound_blocks_point_at_nothing() {
    let report = report("sound_blocks", &[off_by(0), off_by(0), healthy()]);
    assert_eq!(level(&report, "C02"), None);
    assert_eq!(level(&report, "C01"), None);
}

#[test]
fn blocks_that_are_far_off_are_a_randomiser_and_no_inspection() {
    let report = report("far_blocks", &[off_by(1 << 28), off_by(1 << 27), healthy()]);
    assert_eq!(level(&report, "C02"), None);
    assert!(level(&report, "C01").is_some());
}

/// Packets of several segments that never get through, though single ones do.
fn joined(is_split: bool) -> Vec<Line> {
    let mut lines = handshake(WIN);
    for line in &mut lines {
        line.offers_all = line.flags & SYN != 0;
    }
    lines.push(line(21, From::Client, ACK, (1, 1), 100));
    lines.push(line(31, From::Server, ACK, (1, 101), 0));
    for millis in [32, 300, 850, 1950, 4150] {
        lines.push(line(millis, From::Server, ACK, (1, 101), 2920));
    }
    if is_split {
        lines.push(line(8600, From::Server, ACK, (1, 101), 1460));
        lines.push(line(8620, From::Client, ACK, (101, 1461), 0));
    }
    lines
}

/// A hole of four segments that is sent again joined, in vain, and then segment by segment; SACK
/// reports what lies behind it, and so many bytes of its end.
fn sent_again_joined(arrives: u32) -> Vec<Line> {
    let mut lines = handshake(WIN);
    for line in &mut lines {
        line.offers_all = line.flags & SYN != 0;
    }
    let server = |millis, seq, len| line(millis, From::Server, ACK, (seq, 101), len);
    let reports = |millis, ack: u32, left: u32| {
        let mut option = vec![1, 1, 5, 10];
        option.extend([left.to_be_bytes(), 7301_u32.to_be_bytes()].concat());
        let extra = Box::leak(option.into_boxed_slice());
        Line { extra, ..line(millis, From::Client, ACK, (101, ack), 0) }
    };
    lines.push(line(21, From::Client, ACK, (1, 1), 100));
    lines.extend([server(31, 1, 5840), server(60, 5841, 1460), reports(70, 1, 5841)]);
    for millis in [80, 110, 140] {
        lines.extend([server(millis, 1, 5840), reports(millis + 10, 1, 5841 - arrives)]);
    }
    for number in 0..4_u32 {
        let (millis, seq) = (170 + 30 * u64::from(number), 1 + 1460 * number);
        lines.push(server(millis, seq, 1460));
        let end = if number == 3 { 7301 } else { seq + 1460 };
        lines.push(line(millis + 10, From::Client, ACK, (101, end), 0));
    }
    lines
}

#[test]
fn joined_packets_of_which_sack_reports_nothing_are_told_from_those_of_which_it_does() {
    let nothing = || sent_again_joined(0);
    let found = report("joined_in_vain", &[nothing(), nothing(), healthy()]);
    assert_eq!(level(&found, "C23"), Some("probable"), "{}", found["causes"]);
    let partly = || sent_again_joined(1460);
    let lossy = report("joined_partly", &[partly(), partly(), healthy()]);
    assert_eq!(level(&lossy, "C23"), None, "{}", lossy["causes"]);
    // Those of others that arrive speak against it.
    let mixed = report("joined_of_others", &[nothing(), partly(), healthy()]);
    assert_ne!(level(&mixed, "C23"), Some("probable"), "{}", mixed["causes"]);
}

#[test]
fn joined_packets_that_do_not_get_through_are_told_from_the_mere_sight_of_them() {
    let report_of = |name: &str, flows: &[Vec<Line>]| report(name, flows);
    let stuck = report_of("superpackets", &[joined(true), joined(true), healthy()]);
    assert_eq!(level(&stuck, "C23"), Some("probable"));
    let mut passing = joined(true);
    passing.truncate(6);
    passing.push(line(40, From::Client, ACK, (101, 2921), 0));
    let seen = report_of("superpackets_pass", &[passing, healthy()]);
    assert_eq!(level(&seen, "C23"), None);
    let codes = seen["quality"]["shortcomings"].to_string();
    assert!(codes.contains("superpackets"), "{codes}");
}
