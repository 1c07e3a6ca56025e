//! Causes that the handshake shows: two answers, another one's answer, refusals, no answer.

use super::{WIN, healthy, later, level, line, report, verdict};
use crate::conversation::{ACK, From, Line, RST, SYN, handshake};

/// A SYN reaches two hosts, and the client takes the second answer.
fn answered_twice(other_isn: u32, ttl: u8) -> Vec<Line> {
    let first = handshake(WIN);
    let theirs = |millis, seq, len| Line {
        ttl,
        ..line(millis, From::Server, ACK, (other_isn.wrapping_add(seq), 101), len)
    };
    let ack = other_isn.wrapping_add(1);
    let second = line(1010, From::Server, SYN | ACK, (other_isn, 1), 0);
    vec![
        first[0],
        first[1],
        Line { ttl, ..second },
        line(1020, From::Client, ACK, (1, ack), 0),
        line(1021, From::Client, ACK, (1, ack), 100),
        theirs(1031, 1, 1000),
        line(1041, From::Client, ACK, (101, ack.wrapping_add(1000)), 0),
    ]
}

#[test]
fn two_syn_acks_with_different_numbers_come_from_two_hosts() {
    let twice = [5_000_000, 77_000_000].map(|isn| answered_twice(isn, 60)).to_vec();
    let report = report("two_syn_acks", &[twice, vec![healthy()]].concat());
    assert_eq!(verdict(&report), ("confirmed", Some("C14")));
}

/// The tracker takes the numbers anew after a SYN that it ignored.
#[test]
fn a_second_syn_ack_after_a_second_syn_makes_nothing_invalid() {
    let mut lines = answered_twice(5_000_000, 60);
    lines.insert(2, line(1000, From::Client, SYN, (0, 0), 0));
    let report = report("second_syn", &[lines.clone(), lines, healthy()]);
    assert_eq!(report["verdict"]["invalid"]["packets"], 0);
    assert!(matches!(level(&report, "C14"), Some("possible" | "probable")));
}

#[test]
fn two_syn_acks_over_one_way_may_be_one_host() {
    let report = report("one_host", &[answered_twice(5_000_000, 64), healthy()]);
    assert!(matches!(level(&report, "C14"), Some("possible" | "probable")));
}

#[test]
fn a_syn_ack_sent_again_is_no_second_one() {
    let mut lines = handshake(WIN);
    lines.insert(2, line(15, From::Server, SYN | ACK, (0, 1), 0));
    let report = report("syn_ack_again", &[lines, healthy()]);
    assert_eq!(level(&report, "C14"), None);
}

/// A proxy answers with a window of zero, and the server opens it.
fn proxied(ttl: u8) -> Vec<Line> {
    let first = handshake(WIN);
    vec![
        first[0],
        Line { win: 0, ttl, ..first[1] },
        first[2],
        line(40, From::Server, ACK, (1, 1), 0),
        line(50, From::Client, ACK, (1, 1), 100),
        line(60, From::Server, ACK, (1, 101), 1000),
        line(70, From::Client, ACK, (101, 1001), 0),
    ]
}

#[test]
fn a_syn_ack_with_a_window_of_zero_and_another_ttl_comes_from_a_proxy() {
    let report = report("proxied", &[proxied(250), proxied(250), healthy()]);
    assert_eq!(level(&report, "C15"), Some("confirmed"));
    assert_eq!(verdict(&report).0, "none");
    assert_eq!(report["causes"][0]["parts"]["clean control flows"], 15);
    let finding = report["causes"][0]["finding"].as_str().unwrap();
    let both = "2 with a window of zero at first, 2 over another way than what follows";
    assert!(finding.ends_with(both), "{finding}");
    // Those that are affected are no control group, though nothing of them is INVALID.
    let all = self::report("proxied_all", &[proxied(250), proxied(250)]);
    assert!(all["causes"][0]["parts"]["clean control flows"].is_null(), "{}", all["causes"]);
}

/// A connection whose SYN-ACK arrives with another TTL than all that its server sends later.
fn answered(syn_ack: u8, later: u8) -> Vec<Line> {
    let mut lines = healthy();
    for line in lines.iter_mut().filter(|line| line.from == From::Server) {
        line.ttl = if line.flags & SYN != 0 { syn_ack } else { later };
    }
    lines
}

/// The only connection of a capture, by no more than its TTLs, as with balancers that answer SYNs three
/// hops before their servers.
#[test]
fn one_syn_ack_from_nearer_than_what_follows_is_possibly_of_a_proxy() {
    let report = report("nearer", &[answered(50, 47)]);
    assert_eq!(level(&report, "C15"), Some("possible"));
    let finding = report["causes"][0]["finding"].as_str().unwrap();
    assert!(finding.ends_with("1 connection: 1 over another way than what follows"), "{finding}");
    assert_eq!(level(&self::report("as_near", &[answered(47, 47)]), "C15"), None);
}

#[test]
fn a_syn_ack_from_further_than_what_follows_comes_from_no_proxy() {
    // What answers for a server stands before it; the other way round, something acknowledges for it.
    let by_ttls = |syn_ack, later| {
        let flows = [answered(syn_ack, later), answered(syn_ack, later), healthy()];
        let report = report("ttls", &flows);
        let finding = report["causes"][0]["finding"].as_str().unwrap_or_default();
        assert!(!finding.contains("window of zero"), "{finding}");
        level(&report, "C15").map(str::to_owned)
    };
    assert_eq!(by_ttls(63, 53).as_deref(), Some("probable"));
    assert_eq!(by_ttls(53, 63), None);
    // Which of them began with more is not known.
    assert_eq!(by_ttls(53, 120).as_deref(), Some("probable"));
}

#[test]
fn a_window_that_shuts_later_is_no_proxy() {
    let mut lines = handshake(WIN);
    lines.extend([
        line(21, From::Client, ACK, (1, 1), 100),
        Line { win: 0, ..line(31, From::Server, ACK, (1, 101), 0) },
        line(100, From::Server, ACK, (1, 101), 0),
    ]);
    let report = report("shut_later", &[lines.clone(), lines]);
    assert_eq!(level(&report, "C15"), None);
}

/// A client that offers everything, and a server that answers it in full or not.
fn offered(full: bool) -> Vec<Line> {
    let mut lines = healthy();
    lines[0].offers_all = true;
    lines[1].offers_all = full;
    lines
}

#[test]
fn bare_syn_acks_of_a_server_that_gives_full_ones_are_cookies() {
    let full = (0..3).map(|n| later(n * 100, &offered(true)));
    let bare = (0..4).map(|n| later(5000 + n * 10, &offered(false)));
    let report = report("cookies", &full.chain(bare).collect::<Vec<_>>());
    assert_eq!(level(&report, "C15"), Some("probable"));
}

#[test]
fn a_server_that_never_gives_full_ones_sends_no_cookies() {
    let bare: Vec<_> = (0..4).map(|n| later(n * 10, &offered(false))).collect();
    assert_eq!(level(&report("bare", &bare), "C15"), None);
}

/// A port whose last connection the server still holds; `resets` says whether the client can answer
/// the challenge.
fn reused(resets: bool) -> Vec<Line> {
    let mut lines = handshake(WIN);
    lines.extend([
        line(21, From::Client, ACK, (1, 1), 100),
        line(31, From::Server, ACK, (1, 101), 1000),
        line(32, From::Client, ACK, (101, 1001), 0),
    ]);
    let isn = 900_000_000;
    let challenge = |millis| line(millis, From::Server, ACK, (1001, 101), 0);
    lines.extend([line(60_000, From::Client, SYN, (isn, 0), 0), challenge(60_010)]);
    if resets {
        lines.push(line(60_011, From::Client, RST, (101, 0), 0));
        lines.push(line(61_000, From::Client, SYN, (isn, 0), 0));
        lines.push(line(61_010, From::Server, SYN | ACK, (500_000, isn + 1), 0));
        lines.push(line(61_011, From::Client, ACK, (isn + 1, 500_001), 0));
    } else {
        for millis in [61_000, 63_000, 67_000] {
            lines.extend([line(millis, From::Client, SYN, (isn, 0), 0), challenge(millis + 10)]);
        }
    }
    lines
}

#[test]
fn a_challenge_that_is_not_heard_keeps_the_port_shut() {
    let report = report("challenged", &[reused(false), reused(false), healthy()]);
    assert_eq!(verdict(&report).1, Some("C13"));
    assert!(matches!(level(&report, "C13"), Some("probable" | "confirmed")));
}

#[test]
fn a_challenge_that_is_answered_costs_a_second_and_no_more() {
    let report = report("answered", &[reused(true), reused(true), healthy()]);
    assert!(matches!(level(&report, "C13"), None | Some("possible")));
    assert_eq!(level(&report, "C11"), None);
}

/// A SYN that nobody answers, sent four times.
fn unanswered(clock: Option<u32>) -> Vec<Line> {
    let syn = |seconds: u64| Line {
        stamps: clock.map(|clock| (clock + 1000 * u32::try_from(seconds).unwrap(), 0)),
        ..line(1000 * seconds, From::Client, SYN, (0, 0), 0)
    };
    [0, 1, 3, 7].map(syn).to_vec()
}

fn stamped(clock: u32, lines: &[Line]) -> Vec<Line> {
    let stamp = |line: &Line| clock + u32::try_from(line.millis).unwrap();
    lines.iter().map(|line| Line { stamps: Some((stamp(line), 1)), ..*line }).collect()
}

#[test]
fn syns_of_a_slow_clock_behind_one_address_that_nobody_answers_are_named() {
    let (fast, slow) = (50_000_000, 10_000_000);
    let refused = (0..3).map(|n| later(500 * n, &unanswered(Some(slow))));
    let report = report(
        "slow_clock",
        &refused.chain([stamped(fast, &healthy()), stamped(fast, &healthy())]).collect::<Vec<_>>(),
    );
    assert_eq!(level(&report, "C16"), Some("probable"));
}

#[test]
fn syns_of_the_same_clock_that_nobody_answers_are_not() {
    let clock = 10_000_000;
    let refused = (0..3).map(|_| unanswered(Some(clock)));
    let report =
        report("same_clock", &refused.chain([stamped(clock, &healthy())]).collect::<Vec<_>>());
    assert_eq!(level(&report, "C16"), None);
}

/// Connections of every kind that servers are told apart by.
pub(super) fn many_kinds() -> Vec<Vec<Line>> {
    let (fast, slow) = (50_000_000, 10_000_000);
    let refused = (0..9).map(|n| later(5000 + 500 * n, &unanswered(Some(slow))));
    let full = (0..9).map(|n| stamped(fast, &later(n * 100, &offered(true))));
    let bare = (0..9).map(|n| later(30_000 + n * 10, &offered(false)));
    refused.chain(full).chain(bare).chain([long_lived()]).collect()
}

/// A connection that was there before and goes on for a minute.
fn long_lived() -> Vec<Line> {
    let mut lines = handshake(WIN);
    for n in 0..60 {
        let (millis, seq) = (u64::from(n) * 1000 + 100, 1 + n * 100);
        lines.push(line(millis, From::Client, ACK, (seq, 1), 100));
        lines.push(line(millis + 10, From::Server, ACK, (1, seq + 100), 0));
    }
    lines
}

#[test]
fn syns_without_answer_beside_a_connection_that_lives_may_be_a_full_table() {
    let refused = (0..4).map(|n| later(5000 + 100 * n, &unanswered(None)));
    let report = report("full", &refused.chain([long_lived()]).collect::<Vec<_>>());
    assert_eq!(level(&report, "C21"), Some("possible"));
    assert_eq!(verdict(&report), ("possible", Some("C21")));
}

#[test]
fn syns_to_a_server_of_which_nothing_lives_are_not() {
    let refused: Vec<_> = (0..4).map(|n| later(5000 + 100 * n, &unanswered(None))).collect();
    assert_eq!(level(&report("down", &refused), "C21"), None);
}
