use tcp_window_audit::segment::Flags;
use tcp_window_audit::seq::SeqNum;

use super::*;

const FILE: &str = "\
# What it shows.
# origin: invented
# id: X01
# a remark

sysctl be_liberal=1
isn > 4294967040          # 256 below the wrap
isn < 100

+0.000 > S   0:0(0) win 29200 <mss 1460,sackOK,nop,wscale 7> => NEW SYN_SENT 120s
+0.010 < S.  0:0(0) ack 1 win 28960                          => ESTABLISHED SYN_RECV 59.99s a_b c_d
    @ el6 3.10..4.19.0: INVALID -
+2 > P.  1:1461(1460) ack abs:7 win 227 <sack 10-20 abs:5-6>  => INVALID - seq_over

marks
  1 original -a | 1 2 3 4 5 0a | 0 0 0 0 0 00 | 1 2 3 4 5 6 7 8 ff
    @ el6: reply r- | = | 9 9 9 9 9 00 | =
    @ el7: -

log
  2 one # two
    @ 6.18.0: -
";

fn read() -> Scenario {
    scenario("x.txt", FILE).unwrap()
}

fn profile(name: &str) -> usize {
    PROFILES.iter().position(|known| *known == name).unwrap()
}

#[test]
fn the_head_is_read() {
    let scenario = read();
    assert_eq!(scenario.purpose, "What it shows.");
    assert_eq!((scenario.origin.as_str(), scenario.id.as_str()), ("invented", "X01"));
    assert_eq!(scenario.settings, Settings { be_liberal: 1, ..Settings::default() });
}

#[test]
fn numbers_are_relative_to_each_sides_own_and_wrap() {
    let scenario = read();
    let segments: Vec<_> =
        scenario.steps.iter().map(|step| step.packet.segment(&scenario.settings)).collect();
    assert_eq!((segments[0].seq, segments[0].header_len), (SeqNum(4_294_967_040), 30));
    assert_eq!((segments[1].seq, segments[1].ack), (SeqNum(100), SeqNum(4_294_967_041)));
    let data = &segments[2];
    assert_eq!((data.seq, data.ack, data.end()), (SeqNum(4_294_967_041), SeqNum(7), SeqNum(1205)));
    assert_eq!(data.flags, Flags::PSH.with(Flags::ACK));
    let edges: Vec<_> =
        data.options.sack.as_slice().iter().map(|b| (b.left.0, b.right.0)).collect();
    assert_eq!(edges, [(110, 120), (5, 6)]);
}

#[test]
fn times_add_up_from_line_to_line() {
    let scenario = read();
    let millis: Vec<_> =
        scenario.steps.iter().map(|step| step.time.nanos_since(START) / 1_000_000).collect();
    assert_eq!(millis, [0, 10, 2010]);
}

#[test]
fn exceptions_hold_for_the_kernels_they_name_alone() {
    let steps = read().steps;
    let verdict = |name| {
        let expected = &steps[1].expected[profile(name)];
        (expected.ctstate.clone(), expected.ttl_ms, expected.reasons.len())
    };
    for name in ["el6", "3.10", "el7", "4.19.0"] {
        assert_eq!(verdict(name), ("INVALID".to_owned(), None, 0));
    }
    for name in ["2.6.32", "el8", "6.18.44"] {
        assert_eq!(verdict(name), ("ESTABLISHED".to_owned(), Some(59_990), 2));
    }
}

#[test]
fn marks_repeat_what_stands_above_and_may_be_absent() {
    let steps = read().steps;
    let mark = |name| steps[0].expected[profile(name)].mark;
    let (default, el6) = (mark("6.18.44").unwrap(), mark("el6").unwrap());
    assert_eq!((default.sides.original.flags, default.last.flags), (10, 255));
    assert_eq!((default.last.dir, default.last.win), (Direction::Reply, 7));
    assert_eq!(
        (default.pkt_dir, default.assured, default.seen_reply),
        (Direction::Original, true, false)
    );
    assert_eq!((el6.sides.original, el6.last), (default.sides.original, default.last));
    assert_eq!((el6.pkt_dir, el6.seen_reply, el6.sides.reply.end), (Direction::Reply, true, 9));
    assert_eq!(mark("el7"), None);
    assert_eq!(steps[1].expected[profile("6.18.0")].log, None);
    assert_eq!(steps[1].expected[profile("6.18.44")].log.as_deref(), Some("one"));
}

#[test]
fn a_damaged_header_is_built_from_its_words() {
    let text =
        "isn > 1000\n+0 > S 0:0(0) win 100 doff 4 => INVALID -\n+0 > - 0:0(0) cut 9 => INVALID -";
    let steps = scenario("x.txt", text).unwrap().steps;
    let raw = |index: usize| steps[index].packet.raw.clone().unwrap();
    assert_eq!(raw(0)[..4], [0x03, 0xe8, 0, 80]);
    assert_eq!(raw(0)[12..16], [0x40, 0x02, 0, 100]);
    assert_eq!(raw(1).len(), 9);
}

#[test]
fn mistakes_are_reported_with_their_line() {
    let error = |text: &str| scenario("x.txt", text).unwrap_err();
    assert!(error("isn > 0\n+0 > S 0:1(0) win 1 => NEW SYN_SENT 1s").starts_with("2: "));
    assert!(error("+0 > S 0:0(0) win 1 => NEW SYN_SENT 1s").contains("isn"));
    assert!(error("sysctl lose=1").contains("lose"));
    assert!(error("+0 > S abs:0(0) win 1 => NEW SYN_SENT").contains("time"));
    assert!(error("+0 > S abs:0(0) win 1 => OLD -").contains("OLD"));
    assert!(error("+0 > Q abs:0(0) win 1 => NEW -").contains("flag"));
    assert!(error("+0.0001 > S abs:0(0) win 1 => NEW -").contains("finer"));
    assert!(error("@ 7.0: NEW -").contains("7.0"));
}
