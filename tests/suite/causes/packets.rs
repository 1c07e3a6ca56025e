//! Causes that single packets of an open connection show: stale ones, RSTs of others, hidden data,
//! impossible flags, missing timestamps.

use super::{WIN, healthy, later, level, line, report, report_as, report_on, verdict};
use crate::conversation::{ACK, FIN, From, Line, RST, SYN, capture, handshake};

/// A download of so many segments of 1000 bytes, each acknowledged.
fn download(segments: u32) -> Vec<Line> {
    let mut lines = handshake(WIN);
    lines.push(line(21, From::Client, ACK, (1, 1), 100));
    for n in 0..segments {
        let (millis, seq) = (31 + 2 * u64::from(n), 1 + 1000 * n);
        lines.push(line(millis, From::Server, ACK, (seq, 101), 1000));
        lines.push(line(millis + 1, From::Client, ACK, (101, seq + 1000), 0));
    }
    lines
}

/// A segment of long ago arrives again, and the client's address resets the connection.
fn stale(draws_reset: bool) -> Vec<Line> {
    let mut lines = download(100);
    lines.push(Line { id: Some(5), ..line(500, From::Server, ACK, (1, 101), 1000) });
    if draws_reset {
        lines.push(Line { ttl: 61, ..line(501, From::Client, RST, (101, 0), 0) });
    }
    lines
}

#[test]
fn a_stale_packet_that_draws_a_reset_is_a_cause() {
    let report = report("stale", &[stale(true), stale(true), healthy()]);
    assert_eq!(level(&report, "C06"), Some("confirmed"));
    assert_eq!(verdict(&report), ("confirmed", Some("C06")));
    assert_eq!(level(&report, "C11"), None);
}

#[test]
fn stale_packets_that_nobody_minds_are_possible_at_most() {
    let report = report("unminded", &[stale(false), stale(false), stale(false), healthy()]);
    assert_eq!(level(&report, "C06"), Some("possible"));
    assert_eq!(verdict(&report).0, "possible");
}

#[test]
fn what_is_sent_again_after_long_is_not_stale() {
    let mut lines = download(100);
    lines.push(line(500, From::Server, ACK, (1, 101), 1000));
    let report = report("not_stale", &[lines.clone(), lines]);
    assert_eq!(level(&report, "C06"), None);
}

#[test]
fn an_upgrade_is_told_to_help_against_stale_packets_only_where_it_does() {
    let old = report_as("5.4", "upgrade", &[stale(false), healthy()]);
    let sentence = old["upgrade"].as_str().unwrap();
    assert!(sentence.contains("would leave 0 INVALID packets"), "{sentence}");
    let new = report_as("6.6.57", "upgraded", &[stale(false), healthy()]);
    assert!(new["upgrade"].is_null());
}

/// Handshake, request and the first answer, then nothing before the end of a long transfer.
fn offloaded(bytes: u32) -> Vec<Line> {
    let mut lines = handshake(WIN);
    lines.extend([
        line(21, From::Client, ACK, (1, 1), 100),
        line(31, From::Server, ACK, (1, 101), 1000),
        line(32, From::Client, ACK, (101, 1001), 0),
        line(2000, From::Server, ACK | FIN, (bytes, 101), 0),
        line(2010, From::Client, ACK | FIN, (101, bytes + 1), 0),
        line(2400, From::Client, ACK | FIN, (101, bytes + 1), 0),
        line(3200, From::Client, ACK | FIN, (101, bytes + 1), 0),
    ]);
    lines
}

#[test]
fn data_hidden_in_every_flow_points_at_offload_and_not_at_the_capture() {
    let flows = [3_000_000, 5_000_000, 9_000_000, 70_000_000].map(offloaded);
    let report = report("offload", &flows);
    let found = level(&report, "C07");
    assert!(matches!(found, Some("probable" | "confirmed")), "{found:?}");
    assert_eq!(level(&report, "capture_loss"), None);
}

#[test]
fn gaps_in_the_middle_of_flows_are_the_captures_fault() {
    let torn = |from: usize| {
        let mut lines = download(400);
        lines.drain(from..from + 300);
        lines
    };
    let report = report("torn", &[torn(100), torn(200), torn(300), torn(150)]);
    assert_eq!(level(&report, "C07"), None);
    assert_eq!(verdict(&report).1, Some("capture_loss"));
}

#[test]
fn one_flow_with_hidden_data_is_possible_at_most() {
    let report = report("hidden_once", &[offloaded(3_000_000), healthy(), download(100)]);
    assert!(matches!(level(&report, "C07"), None | Some("possible")));
}

/// A RST in the server's name, and what the server sends after it.
fn injected(ttl: u8, goes_on: bool) -> Vec<Line> {
    let mut lines = download(5);
    lines.push(Line { ttl, ..line(50, From::Server, RST, (5001, 0), 0) });
    if goes_on {
        lines.push(line(52, From::Server, ACK, (5001, 101), 1000));
        lines.push(line(260, From::Server, ACK, (5001, 101), 1000));
    }
    lines
}

#[test]
fn a_reset_of_another_hop_whose_sender_goes_on_is_injected() {
    let report = report("injected", &[injected(44, true), injected(44, true), healthy()]);
    assert_eq!(verdict(&report), ("confirmed", Some("C11")));
}

/// A SYN that is answered by a RST first and by a SYN-ACK then; the client may ask twice.
fn refused_then_answered(asks_twice: bool) -> Vec<Line> {
    let first = handshake(WIN);
    let mut lines = vec![
        first[0],
        Line { ttl: 46, ..line(5, From::Server, RST | ACK, (0, 1), 0) },
        Line { millis: 60, ..first[1] },
        Line { millis: 70, ..first[2] },
    ];
    if asks_twice {
        lines.insert(2, Line { millis: 50, ..first[0] });
    }
    lines
}

#[test]
fn a_syn_answered_by_a_reset_and_then_by_its_server_was_reset_on_the_way() {
    let flows = [refused_then_answered(false), refused_then_answered(false), healthy()];
    assert_eq!(level(&report("refused_first", &flows), "C11"), Some("confirmed"));
}

#[test]
fn a_port_that_opens_between_two_syns_was_not_reset_on_the_way() {
    let flows = [refused_then_answered(true), refused_then_answered(true), healthy()];
    assert_eq!(level(&report("refused_once", &flows), "C11"), None);
}

#[test]
fn a_reset_of_another_hop_alone_is_never_confirmed() {
    let report = report("foreign", &[injected(44, false), injected(44, false), healthy()]);
    assert!(matches!(level(&report, "C11"), Some("possible" | "probable")));
}

#[test]
fn a_reset_of_the_host_itself_is_not_injected() {
    let report = report("genuine", &[injected(64, false), injected(63, false), healthy()]);
    assert_eq!(level(&report, "C11"), None);
}

#[test]
fn a_reset_after_the_close_is_not_injected() {
    let mut lines = healthy();
    lines.push(Line { ttl: 44, ..line(70, From::Server, RST, (1002, 0), 0) });
    let report = report("closed_reset", &[lines.clone(), lines]);
    assert_eq!(level(&report, "C11"), None);
}

#[test]
fn a_scanner_that_resets_what_answers_it_is_not_injected() {
    let lines = vec![
        Line { ttl: 40, ..handshake(WIN)[0] },
        handshake(WIN)[1],
        Line { ttl: 128, ..line(11, From::Client, RST, (1, 0), 0) },
    ];
    let report = report("scanner", &[lines.clone(), lines, healthy()]);
    assert_eq!(level(&report, "C11"), None);
}

#[test]
fn flags_that_no_tcp_sends_are_named_whatever_the_window() {
    let probe = |flags| vec![line(0, From::Client, flags, (1, 0), 0)];
    let scan: Vec<_> = [0, FIN, FIN | 8 | 32, FIN | 2].map(probe).to_vec();
    let report = report("flags", &scan);
    assert_eq!(level(&report, "C19"), Some("confirmed"));
    assert_eq!(verdict(&report).1, Some("C19"));
}

#[test]
fn the_remedy_for_odd_flags_names_who_sends_them_and_helps_no_scan() {
    let mut answered = healthy();
    answered.push(line(70, From::Server, FIN, (1002, 0), 0));
    let probe = vec![Line { client: [192, 0, 2, 7], ..line(0, From::Client, FIN, (1, 0), 0) }];
    let remedies = |report: &serde_json::Value| {
        let causes = report["causes"].as_array().unwrap();
        causes.iter().find(|cause| cause["id"] == "C19").unwrap()["remedies"].to_string()
    };
    let told = remedies(&report("odd_from", &[answered, probe.clone()]));
    assert!(told.contains("saddr 198.51.100.1 ") && told.contains("saddr 192.0.2.7 "), "{told}");
    assert!(!told.contains("saddr 192.0.2.1 "), "{told}");
    // Records of 16 bytes and 40 of headers each, after the 24 of the file.
    let mut scan = capture(&vec![probe; 6]);
    for (port, record) in (1..).zip(scan[24..].chunks_exact_mut(16 + 40)) {
        record[16 + 22..][..2].copy_from_slice(&u16::to_be_bytes(port));
    }
    assert_eq!(remedies(&report_on("odd_scan", &scan, &[])), "[]");
}

/// The rule that leaves them untracked names what is valid; the tracker refuses all else, and that alone.
#[test]
fn the_remedy_for_odd_flags_is_for_all_that_are_refused_and_for_no_others() {
    const NAMES: [(&str, u8); 5] =
        [("fin", FIN), ("syn", SYN), ("rst", RST), ("ack", ACK), ("urg", 32)];
    let bits = |text: &str| -> u8 {
        let of = |name: &str| NAMES.iter().find(|(known, _)| *known == name.trim()).unwrap().1;
        text.trim_matches(['(', ')']).split('|').map(of).sum()
    };
    let all = bits("fin | syn | rst | ack | urg");
    let report = |flags| report("odd_flags", &[vec![line(0, From::Client, flags, (1, 0), 0)]]);
    let bare = report(0);
    let cause = bare["causes"].as_array().unwrap().iter().find(|cause| cause["id"] == "C19");
    let lines = cause.unwrap()["remedies"][0]["steps"][0]["lines"].as_array().unwrap();
    let rules = lines.iter().filter_map(|line| line.as_str()?.split_once("tcp flags & "));
    let [(_, rule)] = rules.collect::<Vec<_>>()[..] else { panic!("{lines:?}") };
    let (mask, valid) = rule.strip_suffix(" } notrack").unwrap().split_once(" != { ").unwrap();
    assert_eq!(bits(mask), all);
    let valid: Vec<_> = valid.split(',').map(bits).collect();
    for flags in 0..64 {
        let is_refused = level(&report(flags), "C19").is_some();
        assert_eq!(is_refused, !valid.contains(&(flags & all)), "{flags:#x}");
    }
}

#[test]
fn ordinary_flags_are_not_named() {
    let report = report("no_flags", &[healthy(), later(5000, &healthy())]);
    assert_eq!(level(&report, "C19"), None);
}

/// A connection that agrees upon timestamps, in which some segments have none and are lost.
fn unstamped(stamped_throughout: bool) -> Vec<Line> {
    let mut lines = download(10);
    for (n, line) in (1000..).zip(&mut lines) {
        line.stamps = Some((n, n - 1));
    }
    for millis in [100, 400, 1000, 2200] {
        let again = line(millis, From::Client, ACK, (101, 10_001), 50);
        let stamp = u32::try_from(2000 + millis).unwrap();
        let stamps = stamped_throughout.then_some((stamp, 1000));
        lines.push(Line { stamps, ..again });
    }
    lines
}

#[test]
fn segments_without_the_agreed_timestamp_are_named() {
    let report = report("unstamped", &[unstamped(false), unstamped(false)]);
    assert_eq!(level(&report, "C16"), Some("probable"));
}

#[test]
fn segments_without_the_agreed_timestamp_that_arrive_are_possible_and_no_more() {
    let mut lines = unstamped(false);
    lines.truncate(lines.len() - 4);
    for n in 0..4_u32 {
        let (millis, seq) = (100 + 20 * u64::from(n), 101 + 50 * n);
        lines.push(line(millis, From::Client, ACK, (seq, 10_001), 50));
        let stamps = Some((3000 + n, 1000));
        let answer = line(millis + 10, From::Server, ACK, (10_001, seq + 50), 0);
        lines.push(Line { stamps, ..answer });
    }
    let report = report("unstamped_arrives", &[lines.clone(), lines]);
    assert_eq!(level(&report, "C16"), Some("possible"), "{}", report["causes"]);
}

#[test]
fn segments_of_which_the_syn_ack_took_the_timestamps_lack_nothing() {
    // As behind a device that takes them from the SYN-ACK: the server goes on sending them.
    let half_agreed = || {
        let mut lines = unstamped(false);
        for line in &mut lines {
            let is_syn_ack = line.from == From::Server && line.flags & SYN != 0;
            let is_late = line.from == From::Client && line.flags & SYN == 0;
            if is_syn_ack || is_late {
                line.stamps = None;
            }
        }
        lines
    };
    let report = report("half_agreed", &[half_agreed(), half_agreed()]);
    assert_eq!(level(&report, "C16"), None, "{}", report["causes"]);
}

#[test]
fn segments_with_their_timestamp_that_are_lost_are_not() {
    let report = report("stamped", &[unstamped(true), unstamped(true)]);
    assert_eq!(level(&report, "C16"), None);
}
