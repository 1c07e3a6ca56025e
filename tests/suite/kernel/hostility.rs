//! Hostile traffic through the live kernel: it is judged, and what it is made for happens.

use std::collections::BTreeMap;

use tcp_window_audit::kernel::{OracleSettings, TimeMode};

use super::oracle;
use crate::hostile::Hostile;

/// What must be seen; the kernel's texts without their numbers.
const EXPECTED: [&str; 31] = [
    "new",
    "established",
    "related",
    "invalid",
    "fragment-held",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "TIME_WAIT",
    "CLOSE",
    "SYN_SENT2",
    " bytes more than expected",
    "ACK is over upper bound  (ACKed data not seen yet)",
    "SEQ is over upper bound  (over the window of the receiver)",
    "SEQ is under lower bound  (already ACKed data retransmitted)",
    "ignored ACK under lower bound  (possible overly delayed)",
    "bad checksum",
    "challenge-ack ignored",
    "invalid new",
    "invalid rst",
    "invalid tcp flag combination",
    "truncated packet",
    "packet (index ) in dir  ignored, state SYN_SENT",
    "packet (index ) in dir  ignored, state ESTABLISHED",
    "packet (index ) in dir  ignored, state LAST_ACK",
    "packet (index ) in dir  invalid, state SYN_SENT",
    "packet (index ) in dir  invalid, state TIME_WAIT",
    "packet (index , dir ) response for index  lower timeout to ",
];

/// The texts are those of Linux 6.12 to 6.18; other kernels have others.
#[test]
fn hostile_traffic_meets_every_rule() {
    let Some(mut oracle) = oracle(&OracleSettings::default()) else { return };
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for (time_ns, packet) in Hostile::new(1).take(100_000) {
        let verdict = oracle.judge(&packet, time_ns).unwrap();
        let mut count = |what: String| *seen.entry(what).or_default() += 1;
        count(verdict.state.name().to_owned());
        if let Some(tcp) = verdict.entry.and_then(|entry| entry.tcp) {
            count(tcp.state.name().to_owned());
        }
        for text in verdict.reasons {
            let text: String = text.chars().filter(|c| !c.is_ascii_digit()).collect();
            count(text.trim_start_matches("nf_ct_proto_: ").to_owned());
        }
    }
    for (what, times) in &seen {
        println!("{times:8} {what}");
    }
    if super::release_is(&["6.12.", "6.18."]) {
        let missing: Vec<_> = EXPECTED
            .iter()
            .filter(|what| !seen.keys().any(|key| key.trim() == what.trim()))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}

/// Clocks differ, verdicts do not, where nothing expires in between.
#[test]
fn both_time_modes_say_the_same_while_nothing_expires() {
    let mode = |time| OracleSettings { time, ..OracleSettings::default() };
    let (Some(mut fast), Some(mut by_capture)) =
        (oracle(&mode(TimeMode::Fast)), oracle(&mode(TimeMode::Virtual)))
    else {
        return;
    };
    for (_, packet) in Hostile::new(3).take(20_000) {
        let (first, second) =
            (fast.judge(&packet, 0).unwrap(), by_capture.judge(&packet, 0).unwrap());
        assert_eq!((first.state, first.direction), (second.state, second.direction));
        assert_eq!(first.reasons, second.reasons);
        assert_eq!(first.entry.map(|entry| entry.tcp), second.entry.map(|entry| entry.tcp));
    }
}

#[test]
#[ignore = "measures: run with --release --nocapture"]
#[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
fn packets_per_second() {
    let packets: Vec<_> = Hostile::new(2).take(1_000_000).collect();
    for time in [TimeMode::Fast, TimeMode::Virtual] {
        let settings = OracleSettings { time, ..OracleSettings::default() };
        let Some(mut oracle) = oracle(&settings) else { return };
        let start = std::time::Instant::now();
        for (time_ns, packet) in &packets {
            oracle.judge(packet, *time_ns).unwrap();
        }
        let rate = packets.len() as u128 * 1_000_000 / start.elapsed().as_micros();
        println!("{time:?}: {rate} packets/s");
    }
}
