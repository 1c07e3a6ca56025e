//! Where the rules of causes end: conversations that lack one thing, or have one too many.

use serde_json::Value;

use super::{WIN, healthy, later, level, line, report, report_as, verdict};
use crate::conversation::{ACK, FIN, From, Line, RST, SYN, handshake};

fn client(millis: u64, seq: u32, ack: u32, len: u16) -> Line {
    line(millis, From::Client, ACK, (seq, ack), len)
}

fn server(millis: u64, seq: u32, ack: u32, len: u16) -> Line {
    line(millis, From::Server, ACK, (seq, ack), len)
}

/// A handshake that offers MSS, SACK and no scaling, and a request.
fn opened() -> Vec<Line> {
    let mut lines = handshake(WIN);
    for line in &mut lines {
        line.offers_all = line.flags & SYN != 0;
    }
    lines.push(client(21, 1, 1, 100));
    lines
}

/// SACK blocks of the client's acknowledgement of the first byte.
fn sack(millis: u64, left: u32, right: u32) -> Line {
    let mut option = vec![1, 1, 5, 10];
    option.extend([left.to_be_bytes(), right.to_be_bytes()].concat());
    Line { extra: Box::leak(option.into_boxed_slice()), ..client(millis, 101, 1, 0) }
}

fn cause<'a>(report: &'a Value, id: &str) -> &'a Value {
    let causes = report["causes"].as_array().unwrap();
    causes.iter().find(|cause| cause["id"] == id).unwrap_or_else(|| panic!("{id}: {causes:?}"))
}

/// Adds as many healthy flows as keep the quality of a capture from hiding what is looked for.
fn among_healthy<const N: usize>(flows: [Vec<Line>; N]) -> Vec<Vec<Line>> {
    flows.into_iter().chain(std::iter::repeat_with(healthy).take(14)).collect()
}

/// A flow that runs into a window of 10 kB and sends 16 kB all the same; all of it is acknowledged.
fn overrun(missing: Option<usize>) -> Vec<Line> {
    let narrow = |line: Line| Line { win: 10_000, ..line };
    let mut lines: Vec<_> = opened().into_iter().map(narrow).collect();
    let burst = (0..16).map(|n| narrow(server(31, 1 + 1000 * n, 101, 1000)));
    lines.extend(burst.enumerate().filter(|(n, _)| Some(*n) != missing).map(|(_, line)| line));
    lines.push(narrow(client(41, 101, 16_001, 0)));
    lines
}

#[test]
fn a_sender_beyond_every_window_is_told_from_frames_that_are_missing() {
    let old = |name, flows: &[Vec<Line>]| report_as("5.10.262", name, flows);
    let found = old("overrun", &[overrun(None), overrun(None), healthy()]);
    assert_eq!(level(&found, "C05"), Some("probable"), "{}", found["causes"]);
    let torn = [overrun(Some(3)), overrun(Some(4))];
    let torn = old("overrun_torn", &among_healthy(torn));
    assert_eq!(level(&torn, "C05"), None, "{}", torn["causes"]);
}

#[test]
fn a_gap_behind_which_packets_are_proven_dropped_is_no_loss_of_the_capture() {
    let mut lines = opened();
    // The second segment is not in the capture; the server does not hear that both arrived.
    lines.extend([server(31, 1, 101, 1000), client(41, 101, 2001, 0)]);
    lines.extend([341, 941, 2141].map(|millis| server(millis, 1, 101, 1000)));
    let report = report("dropped_behind_a_gap", &[lines.clone(), lines, healthy()]);
    assert!(report["verdict"]["invalid"]["packets"].as_u64().unwrap() > 0);
    assert_eq!(level(&report, "capture_loss"), None, "{}", report["causes"]);
}

#[test]
fn one_packet_with_impossible_flags_is_probable_and_no_more() {
    let probe = vec![line(0, From::Client, FIN, (1, 0), 0)];
    assert_eq!(level(&report("one_flag", &[probe, healthy()]), "C19"), Some("probable"));
}

/// A request after a pause, sent again so often, and answered or not.
fn pausing(repeats: usize, is_answered: bool) -> Vec<Line> {
    let mut lines = opened();
    lines.extend([server(31, 1, 101, 1000), client(32, 101, 1001, 0)]);
    let waits = [0, 300, 900, 2100, 4500];
    let sent = waits.iter().take(repeats + 1).map(|wait| client(60_000 + wait, 101, 1001, 100));
    lines.extend(sent);
    if is_answered {
        lines.push(server(70_000, 1001, 201, 500));
    }
    lines
}

#[test]
fn a_pause_after_which_an_answer_comes_late_or_is_hardly_asked_for_is_survived() {
    let alive = || later(80_000, &healthy());
    let of = |name, repeats, is_answered| {
        let paused = || pausing(repeats, is_answered);
        level(&report(name, &[paused(), paused(), alive()]), "C12").map(str::to_owned)
    };
    assert!(of("unanswered", 4, false).is_some());
    assert_eq!(of("answered_late", 4, true), None);
    assert_eq!(of("asked_once_more", 1, false), None);
}

#[test]
fn some_connections_begun_before_the_capture_are_possible_and_no_more() {
    let late: Vec<_> = healthy().into_iter().filter(|line| line.flags & SYN == 0).collect();
    let found = report("some_late", &[late.clone(), late.clone(), healthy()]);
    assert_eq!(level(&found, "C20"), Some("possible"));
    assert_eq!(level(&report("all_late", &[late.clone(), late]), "C20"), Some("probable"));
}

/// A segment that is lost and sent again with success.
fn lossy() -> Vec<Line> {
    let mut lines = opened();
    lines.extend([server(31, 1, 101, 1000), server(331, 1, 101, 1000), client(341, 101, 1001, 0)]);
    lines
}

#[test]
fn only_what_the_tracker_had_no_part_in_is_plain_loss() {
    assert_eq!(level(&report("lossy", &[lossy(), healthy()]), "C24"), Some("probable"));
    let late: Vec<_> = lossy().into_iter().filter(|line| line.flags & SYN == 0).collect();
    assert_eq!(level(&report("lossy_late", &[late, healthy()]), "C24"), None);
    let mut asked_again = healthy();
    asked_again.iter_mut().skip(1).for_each(|line| line.millis += 3000);
    asked_again.insert(1, Line { millis: 3000, ..asked_again[0] });
    assert_eq!(level(&report("asked_again", &[asked_again, healthy()]), "C24"), None, "a rule may");
    let mut refused = lossy();
    refused.extend([3, 4, 5].map(|n| server(400 + n, 900_000, 101, 1000)));
    assert_eq!(level(&report("lossy_refused", &[refused, healthy()]), "C24"), None);
}

/// All between the beginning and what comes so many bytes further is hidden.
fn hidden(bytes: u32, flags: u8) -> Vec<Line> {
    let mut lines = opened();
    lines.extend([server(31, 1, 101, 1000), client(32, 101, 1001, 0)]);
    lines.push(line(2000, From::Server, flags, (bytes, 101), if flags == ACK { 1000 } else { 0 }));
    let end = bytes + if flags == ACK { 1000 } else { 1 };
    lines.extend([2010, 2400, 3200].map(|millis| client(millis, 101, end, 0)));
    lines
}

#[test]
fn data_is_hidden_by_an_offload_only_up_to_the_end_of_flows_and_in_all_of_them() {
    let three = |flags| [3_000_000, 5_000_000, 900_000].map(|bytes| hidden(bytes, flags)).to_vec();
    assert_eq!(level(&report("to_the_end", &three(ACK | FIN)), "C07"), Some("probable"));
    assert_eq!(level(&report("in_between", &three(ACK)), "C07"), None);
    // The data of others is there.
    let mut whole = opened();
    for n in 0..60_u32 {
        let (millis, seq) = (31 + 2 * u64::from(n), 1 + 20_000 * n);
        whole.extend([server(millis, seq, 101, 20_000), client(millis + 1, 101, seq + 20_000, 0)]);
    }
    let beside = report("whole_beside", &[three(ACK | FIN), vec![whole]].concat());
    let found = cause(&beside, "C07");
    assert_eq!(found["parts"]["other flows show their data"], -20, "{found}");
    // Others miss frames in between: so may these.
    let mut torn = opened();
    torn.extend([server(31, 1, 101, 1000), server(33, 2001, 101, 1000), client(41, 101, 3001, 0)]);
    torn.push(client(42, 101, 4001, 0));
    let torn = report("torn_beside", &[three(ACK | FIN), vec![torn]].concat());
    assert_ne!(level(&torn, "C07"), Some("probable"), "{}", torn["causes"]);
    assert_eq!(cause(&torn, "capture_loss")["flow_count"], 4, "{}", torn["causes"]);
}

/// A segment that times out again and again.
fn stuck(size: u16) -> Vec<Line> {
    let mut lines = opened();
    lines.extend([32, 300, 850, 1950, 4150].map(|millis| server(millis, 1, 101, size)));
    lines
}

#[test]
fn a_size_that_gets_through_elsewhere_or_at_last_is_no_black_hole() {
    let mut at_last = stuck(1400);
    at_last.push(client(4160, 101, 1401, 0));
    let found = report("at_last", &[at_last.clone(), at_last, healthy()]);
    assert_eq!(level(&found, "C17"), None, "{}", found["causes"]);
    let halves = || {
        let mut lines = stuck(1400);
        for (millis, seq) in [(8600, 1), (8640, 701)] {
            lines.extend([server(millis, seq, 101, 700), client(millis + 20, 101, seq + 700, 0)]);
        }
        lines
    };
    let mut bulk = opened();
    for n in 0..60_u32 {
        let (millis, seq) = (31 + 2 * u64::from(n), 1 + 1400 * n);
        bulk.extend([server(millis, seq, 101, 1400), client(millis + 1, 101, seq + 1400, 0)]);
    }
    // Told of, so that the flow is looked at.
    bulk.extend([server(400, 84_001, 101, 1400), server(700, 84_001, 101, 1400)]);
    bulk.push(client(710, 101, 85_401, 0));
    let alone = report("size_alone", &[halves(), halves(), healthy()]);
    assert_eq!(level(&alone, "C17"), Some("confirmed"), "{}", alone["causes"]);
    let beside = report("bulk_beside", &[halves(), halves(), bulk]);
    assert_ne!(level(&beside, "C17"), Some("confirmed"), "{}", beside["causes"]);
}

/// Eight segments, and six reports about them, of which so many are off by this much.
fn off_by(shift: u32, off: u64) -> Vec<Line> {
    let mut lines = opened();
    lines.extend((0..8).map(|n| server(30 + u64::from(n), 1 + 1000 * n, 101, 1000)));
    for n in 0..6_u64 {
        let by = if n < off { shift } else { 0 };
        let left = 1001 + 1000 * u32::try_from(n).unwrap();
        lines.push(sack(40 + n, left + by, 8001 + by));
    }
    lines.extend([server(60, 1, 101, 1000), client(70, 101, 8001, 0)]);
    lines
}

#[test]
fn sound_blocks_of_the_same_host_speak_against_a_shift() {
    let shifted = || off_by(1 << 28, 6);
    let found = report("all_off", &[shifted(), off_by(1 << 27, 6), healthy()]);
    assert!(level(&found, "C01").is_some());
    let partly = report("some_off", &[off_by(1 << 28, 3), off_by(1 << 28, 3), healthy()]);
    assert_eq!(level(&partly, "C01"), None, "{}", partly["causes"]);
    let others = report("others_sound", &[shifted(), off_by(1 << 27, 6), off_by(0, 0)]);
    if level(&others, "C01").is_some() {
        let parts = &cause(&others, "C01")["parts"];
        assert_eq!(parts["SACK blocks that are sound"], -40, "{parts}");
    }
    assert!(others["causes"][0]["score"].as_u64() < found["causes"][0]["score"].as_u64());
}

#[test]
fn blocks_off_by_a_little_tell_nothing_where_frames_are_missing_or_exchanged() {
    let off = || off_by(1500, 6);
    assert!(level(&report("little_off", &[off(), off(), healthy()]), "C02").is_some());
    let torn = || off_by(1500, 6).into_iter().filter(|line| line.seq != 3001).collect();
    let found = report("little_off_torn", &among_healthy([torn(), torn()]));
    assert_eq!(level(&found, "C02"), None, "{}", found["causes"]);
    let mut exchanged = opened();
    exchanged.extend([client(30, 101, 1001, 0), server(31, 1, 101, 1000)]);
    let found = report("little_off_exchanged", &among_healthy([off(), off(), exchanged]));
    assert_eq!(level(&found, "C02"), None, "{}", found["causes"]);
}

/// A connection that ends or not, and SYNs from its ports a minute later.
fn again(ends: bool, syns: &[u64], is_challenged: bool) -> Vec<Line> {
    let mut lines = if ends { healthy() } else { opened() };
    for millis in syns {
        lines.push(line(*millis, From::Client, SYN, (900_000_000, 0), 0));
        if is_challenged {
            lines.push(server(millis + 10, 1, 101, 0));
        }
    }
    lines
}

#[test]
fn a_port_used_again_is_at_fault_where_the_syn_has_to_come_again() {
    let asked = [60_000, 61_000, 63_000, 67_000];
    let of = |name, lines: Vec<Line>| {
        level(&report(name, &[lines.clone(), lines, healthy()]), "C13").map(str::to_owned)
    };
    assert!(of("challenged_again", again(false, &asked, true)).is_some());
    assert_eq!(of("challenged_once", again(false, &asked[..1], true)), None);
    assert_eq!(of("unanswered_again", again(true, &asked, false)).as_deref(), Some("possible"));
    let found = report("challenged_loss", &[again(false, &asked, true), healthy()]);
    assert_eq!(level(&found, "C24"), None, "{}", found["causes"]);
}

#[test]
fn a_refused_reset_after_which_nothing_is_repeated_harmed_nobody() {
    let mut lines = opened();
    lines.extend([server(31, 1, 101, 1000), client(41, 101, 1001, 0)]);
    lines.push(line(60, From::Server, RST, (500, 0), 0));
    lines.push(line(2000, From::Client, ACK | FIN, (101, 1001), 0));
    let found = report("reset_unheard", &[lines.clone(), lines.clone(), lines]);
    assert_eq!(level(&found, "C10"), Some("possible"), "{}", found["causes"]);
}

/// A SYN reaches two hosts at the same distance, and the client takes the second answer.
fn answered_twice(isn: u32) -> Vec<Line> {
    let first = handshake(WIN);
    let ack = isn.wrapping_add(1);
    vec![
        first[0],
        first[1],
        line(1010, From::Server, SYN | ACK, (isn, 1), 0),
        client(1020, 1, ack, 0),
        client(1021, 1, ack, 100),
        server(1031, ack, 101, 1000),
        client(1041, 101, ack.wrapping_add(1000), 0),
    ]
}

#[test]
fn two_syn_acks_over_one_way_are_never_confirmed_whatever_else_holds() {
    let twice = [5_000_000, 77_000_000].map(answered_twice).to_vec();
    let found = report("one_way_twice", &[twice, vec![healthy()]].concat());
    assert_eq!(level(&found, "C14"), Some("probable"));
    assert_eq!(cause(&found, "C14")["parts"]["packets INVALID by it"], 20);
    assert_eq!(cause(&found, "C14")["parts"]["clean control flows"], 15);
    // What acknowledges a lower one is let through without its data: the answer to that is INVALID.
    let lower = [4_290_000_000, 4_200_000_000].map(answered_twice).to_vec();
    let found = report("lower_twice", &lower);
    assert_eq!(found["verdict"]["invalid_by_reason"]["ack_over"], 2, "{}", found["verdict"]);
    assert_eq!(cause(&found, "C14")["parts"]["packets INVALID by it"], 20);
}

#[test]
fn a_syn_ack_with_a_window_of_zero_that_never_opens_is_no_proxys() {
    let mut lines = handshake(WIN);
    lines[1].win = 0;
    let found = report("never_opens", &[lines.clone(), lines, healthy()]);
    assert_eq!(level(&found, "C15"), None, "{}", found["causes"]);
}

/// Packets of two segments that time out, with or without SACK, and then one segment that passes.
fn joined(has_sack: bool) -> Vec<Line> {
    let mut lines = handshake(WIN);
    for line in lines.iter_mut().filter(|line| line.flags & SYN != 0) {
        line.offers_all = has_sack;
        line.extra = if has_sack { &[] } else { &[2, 4, 5, 0xb4] };
    }
    lines.push(client(21, 1, 1, 100));
    lines.extend([32, 300, 850, 1950, 4150].map(|millis| server(millis, 1, 101, 2920)));
    lines.extend([server(8600, 1, 101, 1460), client(8620, 101, 1461, 0)]);
    lines
}

#[test]
fn joined_packets_in_vain_are_found_with_sack_and_without() {
    for (name, has_sack) in [("joined_sack", true), ("joined_no_sack", false)] {
        let found = report(name, &[joined(has_sack), joined(has_sack), healthy()]);
        assert_eq!(level(&found, "C23"), Some("probable"), "{name}: {}", found["causes"]);
        assert_eq!(level(&found, "C24"), None, "{name}: it is the size and not chance");
    }
}

#[test]
fn without_sack_joined_packets_may_arrive_in_part() {
    let mut lines = joined(false);
    lines.truncate(4);
    // Duplicate acknowledgements tell that something arrives behind the first byte, and not what.
    lines.push(server(31, 1, 101, 5840));
    for millis in [80, 110, 140] {
        lines.push(server(millis, 1, 101, 5840));
        lines.extend([10, 11, 12].map(|after| client(millis + after, 101, 1, 0)));
    }
    lines.extend([server(170, 1, 101, 1460), client(180, 101, 5841, 0)]);
    let found = report("joined_dup_acks", &[lines.clone(), lines, healthy()]);
    assert_eq!(level(&found, "C23"), None, "{}", found["causes"]);
}

#[test]
fn joined_packets_of_which_some_arrive_are_not_in_vain() {
    let mut lines = opened();
    lines.extend([server(31, 1, 101, 5840), server(60, 5841, 101, 1460), sack(70, 5841, 7301)]);
    for (millis, left) in [(80, 5841), (110, 5841), (140, 4381)] {
        lines.extend([server(millis, 1, 101, 5840), sack(millis + 10, left, 7301)]);
    }
    for n in 0..4_u32 {
        let (millis, seq) = (170 + 30 * u64::from(n), 1 + 1460 * n);
        let end = if n == 3 { 7301 } else { seq + 1460 };
        lines.extend([server(millis, seq, 101, 1460), client(millis + 10, 101, end, 0)]);
    }
    let found = report("joined_some", &[lines.clone(), lines, healthy()]);
    assert_eq!(level(&found, "C23"), None, "{}", found["causes"]);
    assert_eq!(verdict(&found).0, "none");
}
