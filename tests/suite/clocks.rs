//! Several taps with clocks of their own: what they hold alike is judged once, whatever their clocks
//! say.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tcp_window_audit::frame::LinkType;
use tcp_window_audit::segment::{Direction, Flags, PerDirection};
use tcp_window_audit::tuple::Endpoint;

use crate::generate::file::{Record, pcapng, pcapng_of};
use crate::generate::frame::{Encapsulation, frame};
use crate::generate::simulator::Captured;
use crate::program::PROGRAM;
use crate::sightings::{BEGIN_NS, Elsewhere, SAME, captured, essence};

const SECOND: i64 = 1_000_000_000;
/// By how much the clock of the tap nearer to the originator is ahead.
const CLOCKS: [i64; 8] = [
    -3600 * SECOND,
    -5 * SECOND,
    -SECOND / 3,
    -SECOND / 50,
    0,
    SECOND / 50,
    5 * SECOND,
    86_400 * SECOND,
];

const MADE: [&str; 3] = ["clean_download", "sequence_randomiser_leaves_sack_alone", "ipv6_upload"];

fn record(captured: &Captured, ahead_ns: i64) -> Record {
    let Captured { time_ns, direction, addresses, segment, .. } = captured;
    let bytes = frame(Encapsulation::Ethernet, addresses, *direction, segment);
    Record { time_ns: BEGIN_NS + time_ns + ahead_ns, bytes }
}

fn records(packets: &[Captured], ahead_ns: i64) -> Vec<Record> {
    let mut packets = packets.to_vec();
    packets.sort_by_key(|captured| captured.time_ns);
    packets.iter().map(|captured| record(captured, ahead_ns)).collect()
}

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("clocks-{name}.pcapng"));
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A file of one tap.
fn tap(name: &str, packets: &[Captured], ahead_ns: i64) -> PathBuf {
    file(name, &pcapng(LinkType::ETHERNET, 128, &records(packets, ahead_ns)))
}

/// One file of two taps, in the order of their clocks.
fn both_taps(name: &str, here: &[Captured], there: &[Captured], ahead_ns: i64) -> PathBuf {
    let (here, there) = (records(here, 0), records(there, ahead_ns));
    let mut all: Vec<_> = here.iter().map(|record| (0, record)).collect();
    all.extend(there.iter().map(|record| (1, record)));
    all.sort_by_key(|(_, record)| record.time_ns);
    file(name, &pcapng_of(LinkType::ETHERNET, 128, 2, &all))
}

fn report(files: &[&PathBuf]) -> Value {
    let output = Command::new(PROGRAM).args(["--format", "json"]).args(files).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn elsewhere(packets: &[Captured], elsewhere: Elsewhere) -> Vec<Captured> {
    packets.iter().map(|captured| elsewhere.sees(captured)).collect()
}

/// The words of a shortcoming.
fn shortcoming(report: &Value, code: &str) -> String {
    let all = report["quality"]["shortcomings"].as_array().unwrap();
    let found = all.iter().find(|found| found["code"] == code);
    found.map_or_else(String::new, |found| found["what"].as_str().unwrap().to_owned())
}

#[test]
fn two_files_whose_clocks_differ_are_judged_as_one_tap() {
    for case in MADE {
        let here = captured(case);
        let there = elsewhere(&here, Elsewhere { hops: 1, ..SAME });
        let once = tap(&format!("{case}-once"), &here, 0);
        let alone = report(&[&once]);
        for ahead_ns in CLOCKS {
            let other = tap(&format!("{case}-other"), &there, ahead_ns);
            for files in [[&once, &other], [&other, &once]] {
                let both = report(&files);
                assert_eq!(essence(&both), essence(&alone), "{case} {ahead_ns}");
                assert_eq!(both["capture"]["copies"], here.len(), "{case} {ahead_ns}");
                // Two hosts captured it: nobody tracks it twice.
                let causes = both["causes"].as_array().unwrap();
                assert!(causes.iter().all(|cause| cause["id"] != "C22"), "{case} {ahead_ns}");
                let told = shortcoming(&both, "clocks_differ");
                assert_eq!(told.is_empty(), ahead_ns == 0, "{case} {ahead_ns}: {told}");
            }
        }
    }
}

#[test]
fn connections_that_are_translated_between_two_clocks_are_joined() {
    let here = captured("sequence_randomiser_leaves_sack_alone");
    let flows = report(&[&tap("nat-once", &here, 0)])["verdict"]["flows"].clone();
    let (mut port, mut last) = (50_505, None);
    let mut inside = |captured: &Captured| {
        port += u16::from(last.replace(captured.addresses.a) != Some(captured.addresses.a));
        let client = Some(Endpoint { addr: [10, 1, 2, 3].into(), port });
        Elsewhere { hops: 1, client, ..SAME }.sees(captured)
    };
    let there: Vec<_> = here.iter().map(&mut inside).collect();
    for ahead_ns in [-5 * SECOND, -SECOND / 3, 0, 5 * SECOND] {
        let both = report(&[&tap("nat-here", &here, 0), &tap("nat-there", &there, ahead_ns)]);
        let joined = both["seen_twice"].as_array().map_or(0, Vec::len);
        assert_eq!(joined, flows, "{ahead_ns}: {}", both["quality"]);
    }
}

#[test]
fn the_difference_is_measured_apart_from_the_path_between() {
    let here = captured("clean_download");
    let there = elsewhere(&here, Elsewhere { hops: 1, ..SAME });
    let both = report(&[&tap("told-here", &here, 0), &tap("told-there", &there, 5 * SECOND)]);
    let ahead = both["capture"]["files"][1]["clock_ahead_ns"].as_i64().unwrap();
    assert_eq!(ahead, 5 * SECOND, "{both}");
    assert_eq!(both["capture"]["files"][0]["clock_ahead_ns"], Value::Null);
    assert!(shortcoming(&both, "clocks_differ").contains("5.000000 s ahead, by 2 connections"));
}

#[test]
fn a_device_that_changes_numbers_stands_between_two_clocks() {
    let shift = PerDirection { original: 3_000_000_000, reply: 77_000_000 };
    let here = captured("clean_download");
    let there = elsewhere(&here, Elsewhere { hops: 1, shift, ..SAME });
    let once = tap("numbers-here", &here, 0);
    let alone = report(&[&once]);
    for ahead_ns in CLOCKS {
        let both = report(&[&once, &tap("numbers-there", &there, ahead_ns)]);
        assert_eq!(essence(&both), essence(&alone), "{ahead_ns}");
        let changes = both["seen_twice"][0]["changes"].to_string();
        assert!(changes.contains("SYN: sequence numbers -1294967296"), "{ahead_ns}: {changes}");
    }
}

#[test]
fn interfaces_of_one_file_may_have_two_clocks() {
    let here = captured("clean_download");
    let there = elsewhere(&here, Elsewhere { hops: 1, ..SAME });
    for ahead_ns in CLOCKS.into_iter().filter(|ahead_ns| ahead_ns.abs() < 100 * SECOND) {
        let both = report(&[&both_taps("interfaces", &here, &there, ahead_ns)]);
        assert_eq!(both["verdict"]["invalid"]["packets"], 0, "{ahead_ns}");
        assert_eq!(both["verdict"]["flows"], 2, "{ahead_ns}");
        assert_eq!(both["capture"]["copies"], here.len(), "{ahead_ns}");
    }
}

fn report_once(packets: &[Captured]) -> Value {
    report(&[&tap("once", packets, 0)])
}

/// The same conversation again between the same endpoints, later, with other numbers.
fn again(packets: &[Captured], after_ns: i64) -> Vec<Captured> {
    let elsewhere =
        Elsewhere { shift: PerDirection { original: 1_234_567_890, reply: 2_345_678_901 }, ..SAME };
    let later = |captured: &Captured| {
        let mut later = elsewhere.sees(captured);
        later.time_ns = captured.time_ns + after_ns;
        later.segment.ip_id = captured.segment.ip_id.wrapping_add(20_000);
        if let Some(timestamps) = &mut later.segment.options.timestamps {
            timestamps.value = timestamps.value.wrapping_add(7_000);
            timestamps.echo = timestamps.echo.wrapping_add(7_000);
        }
        later
    };
    packets.iter().map(later).collect()
}

#[test]
fn ports_that_are_used_again_are_no_copies() {
    let first = captured("clean_download");
    let mut here = first.clone();
    here.extend(again(&first, 3 * SECOND));
    let once = tap("reused-here", &here, 0);
    let alone = report(&[&once]);
    assert_eq!(alone["verdict"]["flows"], 4);
    assert_eq!(alone["capture"]["copies"], Value::Null);
    let there = elsewhere(&here, Elsewhere { hops: 1, ..SAME });
    for ahead_ns in CLOCKS {
        let both = report(&[&once, &tap("reused-there", &there, ahead_ns)]);
        assert_eq!(essence(&both), essence(&alone), "{ahead_ns}");
        assert_eq!(both["capture"]["copies"], here.len(), "{ahead_ns}");
    }
    // In one file nothing puts the two clocks right, and the second connection of the one place
    // passes the first of the other.
    for ahead_ns in [-2 * SECOND, SECOND / 50, 2 * SECOND] {
        let both = report(&[&both_taps("reused", &here, &there, ahead_ns)]);
        assert_eq!(both["verdict"]["invalid"]["packets"], 0, "{ahead_ns}");
        assert_eq!(both["capture"]["copies"], here.len(), "{ahead_ns}");
    }
}

#[test]
fn rotated_files_of_two_taps_are_two_places() {
    let here = captured("clean_download");
    let there = elsewhere(&here, Elsewhere { hops: 1, ..SAME });
    let alone = report_once(&here);
    let split = |packets: &[Captured], name: &str, ahead_ns| {
        let mut packets = packets.to_vec();
        packets.sort_by_key(|captured| captured.time_ns);
        let (head, tail) = packets.split_at(packets.len() / 2);
        [tap(&format!("{name}0"), head, ahead_ns), tap(&format!("{name}1"), tail, ahead_ns)]
    };
    let [a0, a1] = split(&here, "rotated-a", 0);
    for ahead_ns in [-SECOND / 50, SECOND / 10, 5 * SECOND] {
        let [b0, b1] = split(&there, "rotated-b", ahead_ns);
        let both = report(&[&a0, &a1, &b0, &b1]);
        assert_eq!(essence(&both), essence(&alone), "{ahead_ns}");
        assert_eq!(both["capture"]["copies"], here.len(), "{ahead_ns}");
    }
    let rotated = report(&[&a1, &a0]);
    assert_eq!(essence(&rotated), essence(&alone));
    assert_eq!(rotated["capture"]["copies"], Value::Null);
}

#[test]
fn a_syn_sent_again_in_the_next_file_makes_no_second_place() {
    let whole = captured("clean_download");
    let syn = *whole.iter().find(|captured| captured.segment.has(Flags::SYN)).unwrap();
    let client = syn.addresses;
    let mut early = syn;
    // The first try was lost behind the tap, one second before.
    early.time_ns -= SECOND;
    early.segment.ip_id = early.segment.ip_id.wrapping_sub(1);
    early.segment.options.timestamps.as_mut().unwrap().value -= 1000;
    let rest: Vec<_> = whole.iter().filter(|it| it.addresses.a == client.a).copied().collect();
    let both = report(&[&tap("again-0", &[early], 0), &tap("again-1", &rest, 0)]);
    assert_eq!(both["capture"]["copies"], Value::Null);
    assert_eq!(both["verdict"]["invalid"]["packets"], 0);
    let again = &both["endpoints"]["segments"];
    assert_eq!(again["syn"]["packets"], 1, "{again}");
}

fn without_syns(packets: &[Captured]) -> Vec<Captured> {
    packets.iter().filter(|captured| !captured.segment.has(Flags::SYN)).copied().collect()
}

#[test]
fn flows_without_a_syn_are_known_by_their_other_packets() {
    let here = without_syns(&captured("clean_download"));
    let there = elsewhere(&here, Elsewhere { hops: 1, ..SAME });
    let once = tap("mid-here", &here, 0);
    for ahead_ns in CLOCKS {
        let both = report(&[&once, &tap("mid-there", &there, ahead_ns)]);
        assert_eq!(both["capture"]["flows_seen_twice"], 2, "{ahead_ns}");
        assert_eq!(both["verdict"]["invalid"]["packets"], 0, "{ahead_ns}");
        let copies = both["capture"]["copies"].as_u64().unwrap();
        assert!(copies * 10 > here.len() as u64 * 9, "{ahead_ns}: {copies} of {}", here.len());
    }
}

#[test]
fn a_device_that_changes_numbers_is_known_without_a_syn() {
    let here = without_syns(&captured("clean_download"));
    for shift in [
        PerDirection { original: 3_000_000_000, reply: 77_000_000 },
        PerDirection { original: 0, reply: 2_500_000_000 },
        PerDirection { original: 900_000_000, reply: 0 },
    ] {
        let there = elsewhere(&here, Elsewhere { hops: 1, shift, ..SAME });
        let one_file = both_taps("mid-numbers", &here, &there, 0);
        let two_files = [tap("mid-numbers-0", &here, 0), tap("mid-numbers-1", &there, 2 * SECOND)];
        for files in [vec![&one_file], two_files.iter().collect()] {
            let both = report(&files);
            assert_eq!(both["capture"]["flows_seen_twice"], 2, "{shift:?}");
            assert_eq!(both["verdict"]["invalid"]["packets"], 0, "{shift:?}");
            let changes = both["seen_twice"].to_string();
            for direction in [Direction::Original, Direction::Reply] {
                let shifted = shift[direction].cast_signed();
                let told = changes.contains(&format!("{shifted:+}"));
                assert!(shifted == 0 || told, "{shift:?}: {changes}");
            }
        }
    }
}
