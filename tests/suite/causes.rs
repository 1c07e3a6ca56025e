//! Causes that no simulated capture shows, on conversations written by hand.

mod gate;
mod handshake;
mod limits;
mod packets;
mod paths;
mod pauses;
mod places;

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::conversation::{self, ACK, FIN, From, Line, RST, SYN, capture};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tcp-window-audit");
const WIN: u16 = 64_000;

fn line(millis: u64, from: From, flags: u8, (seq, ack): (u32, u32), len: u16) -> Line {
    Line { millis, from, flags, seq, ack, win: WIN, len, ..Line::PLAIN }
}

/// A handshake, a request, its answer, and the end.
fn healthy() -> Vec<Line> {
    let mut lines = conversation::handshake(WIN);
    lines.extend([
        line(21, From::Client, ACK, (1, 1), 100),
        line(31, From::Server, ACK, (1, 101), 1000),
        line(41, From::Client, ACK | FIN, (101, 1001), 0),
        line(51, From::Server, ACK | FIN, (1001, 102), 0),
        line(61, From::Client, ACK, (102, 1002), 0),
    ]);
    lines
}

/// Only what one side of it sends.
fn only(from: From, lines: &[Line]) -> Vec<Line> {
    lines.iter().filter(|line| line.from == from).copied().collect()
}

fn report(test: &str, conversations: &[Vec<Line>]) -> Value {
    report_as("6.18.44", test, conversations)
}

/// Judges as a kernel of this profile does.
fn report_as(kernel: &str, test: &str, conversations: &[Vec<Line>]) -> Value {
    report_on(test, &capture(conversations), &["--kernel", kernel])
}

/// Reports on the bytes of a capture.
fn report_on(test: &str, capture: &[u8], arguments: &[&str]) -> Value {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}.pcap"));
    std::fs::write(&path, capture).unwrap();
    let output = Command::new(PROGRAM)
        .args(["--format", "json"])
        .args(arguments)
        .arg(&path)
        .output()
        .unwrap();
    std::fs::remove_file(&path).unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What is known of servers is gathered over all connections: it must not depend on who reads them.
#[test]
fn causes_over_many_connections_are_the_same_for_any_number_of_threads() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("threads_of_causes.pcap");
    std::fs::write(&path, capture(&handshake::many_kinds())).unwrap();
    let run = |threads: &str| {
        let arguments = ["-v", "--threads", threads];
        Command::new(PROGRAM).args(arguments).arg(&path).output().unwrap().stdout
    };
    let one = run("1");
    assert!(String::from_utf8_lossy(&one).contains("C15"));
    for threads in ["2", "3", "7"] {
        assert_eq!(String::from_utf8_lossy(&run(threads)), String::from_utf8_lossy(&one));
    }
    std::fs::remove_file(&path).unwrap();
}

/// Returns how sure a cause is, if it is named at all.
fn level<'a>(report: &'a Value, id: &str) -> Option<&'a str> {
    let cause = report["causes"].as_array().unwrap().iter().find(|cause| cause["id"] == id)?;
    cause["level"].as_str()
}

/// Moves a conversation to another time.
fn later(millis: u64, lines: &[Line]) -> Vec<Line> {
    lines.iter().map(|line| Line { millis: line.millis + millis, ..*line }).collect()
}

fn verdict(report: &Value) -> (&str, Option<&str>) {
    (report["verdict"]["level"].as_str().unwrap(), report["verdict"]["cause"].as_str())
}

#[test]
fn healthy_conversations_have_no_cause() {
    let report = report("healthy", &[healthy(), healthy()]);
    assert_eq!(verdict(&report), ("none", None));
    assert!(report["causes"].as_array().unwrap().is_empty(), "{report}");
}

#[test]
fn flows_of_one_direction_beside_whole_ones_point_at_the_route() {
    let half = only(From::Client, &healthy());
    let report = report("half", &[healthy(), half.clone(), half, healthy()]);
    assert_eq!(verdict(&report), ("probable", Some("C08")));
    let cause = &report["causes"][0];
    assert_eq!(cause["parts"]["flows with both directions"], 15);
    let routes = cause["remedies"][0]["steps"][0]["lines"].as_array().unwrap();
    assert!(routes[0].as_str().unwrap().ends_with("192.0.2.1"), "no answers: {routes:?}");
    assert!(routes[1].as_str().unwrap().ends_with("198.51.100.1"), "{routes:?}");
}

#[test]
fn a_capture_of_one_direction_cannot_be_judged() {
    for from in [From::Client, From::Server] {
        let half = only(from, &healthy());
        let report = report("one_sided", &[half.clone(), half]);
        assert_eq!(verdict(&report), ("cannot_judge", None));
        assert!(report["causes"].as_array().unwrap().iter().all(|cause| cause["id"] != "C08"));
    }
}

/// A server resets with an old number, and the client sends its request again.
fn refused_reset(client_repeats: &[u64]) -> Vec<Line> {
    let mut lines = healthy();
    lines.truncate(5);
    lines.push(line(41, From::Client, ACK, (101, 1001), 0));
    lines.push(line(50, From::Client, ACK, (101, 1001), 100));
    lines.push(line(60, From::Server, RST, (500, 0), 0));
    for millis in client_repeats {
        lines.push(line(*millis, From::Client, ACK, (101, 1001), 100));
    }
    lines
}

#[test]
fn a_refused_reset_after_which_the_receiver_goes_on_is_a_cause() {
    let alive = refused_reset(&[260, 660, 1460, 3060]);
    let report = report("reset", &[alive.clone(), alive.clone(), alive]);
    assert_eq!(verdict(&report), ("probable", Some("C10")));
}

#[test]
fn a_late_reset_that_changes_nothing_is_none() {
    let report = report("late_reset", &[refused_reset(&[])]);
    assert!(report["causes"].as_array().unwrap().iter().all(|cause| cause["id"] != "C10"));
}

#[test]
fn a_reader_that_shuts_its_window_is_not_the_firewall() {
    let mut lines = conversation::handshake(WIN);
    lines.extend([
        line(21, From::Client, ACK, (1, 1), 1000),
        Line { win: 0, ..line(31, From::Server, ACK, (1, 1001), 0) },
        line(1031, From::Server, ACK, (1, 1001), 0),
        line(1041, From::Client, ACK, (1001, 1), 1000),
        line(1051, From::Server, ACK, (1, 2001), 0),
    ]);
    let report = report("zero_window", &[lines]);
    assert_eq!(verdict(&report), ("none", Some("C24")));
    assert!(report["verdict"]["sentence"].as_str().unwrap().starts_with("Not the firewall: "));
    let note = report["causes"][0]["notes"][0].as_str().unwrap();
    assert!(note.ends_with("look at the reading application."), "{note}");
}

#[test]
fn flows_without_their_syn_are_not_judged_strictly() {
    let late: Vec<_> = healthy().into_iter().filter(|line| line.flags & SYN == 0).collect();
    let alone = report("late", std::slice::from_ref(&late));
    assert_eq!(verdict(&alone), ("cannot_judge", None));
    let beside = report("late_beside", &[late, healthy()]);
    assert_eq!(verdict(&beside), ("none", None));
    assert_eq!(beside["causes"][0]["id"], "C20");
    assert_eq!(beside["causes"][0]["flow_count"], 1);
}

#[test]
fn one_packet_missing_in_the_capture_blames_nobody() {
    let mut lines = healthy();
    lines.remove(3);
    let report = report("gap", &[lines, healthy()]);
    assert_eq!(report["verdict"]["cause"], "capture_loss");
    assert_ne!(report["verdict"]["level"], "confirmed");
    let mut lines = conversation::handshake(WIN);
    lines.extend([
        line(21, From::Client, ACK, (1, 1), 100),
        line(41, From::Client, ACK, (101, 1001), 0),
        line(51, From::Server, ACK, (1001, 101), 1000),
        line(61, From::Client, ACK, (101, 2001), 0),
    ]);
    let report = self::report("gap_of_one", &[lines, healthy()]);
    let finding = report["causes"][0]["finding"].as_str().unwrap();
    assert!(finding.starts_with("1 INVALID packet in 1 connection follows bytes"), "{finding}");
}
