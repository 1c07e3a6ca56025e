//! What is said of the capture itself, and of checksums, on simulated flows.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tcp_window_audit::frame::LinkType;

use crate::capture_writer::{Order, PcapngWriter};
use crate::generate::cases::CASES;
use crate::generate::file::{Record, pcapng};
use crate::generate::frame::{Encapsulation, frame};
use crate::generate::simulator::{Captured, run};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tcp-window-audit");
const BEGIN_NS: i64 = 1_700_000_000_000_000_000;
/// Where the TCP checksum stands behind an Ethernet and an IPv4 header.
const CHECKSUM_AT: usize = 14 + 20 + 16;
const JUDGED: [&str; 2] = ["--sysctl", "nf_conntrack_checksum=1"];

fn flow() -> Vec<Captured> {
    flows_of("clean_download")
}

fn flows_of(name: &str) -> Vec<Captured> {
    let case = CASES.iter().find(|case| case.name == name).unwrap();
    (case.flows)().into_iter().flat_map(run).collect()
}

fn records(packets: &[Captured]) -> Vec<Record> {
    let mut packets: Vec<_> = packets.iter().collect();
    packets.sort_by_key(|captured| captured.time_ns);
    let record = |captured: &&Captured| {
        let Captured { time_ns, direction, addresses, segment, .. } = captured;
        let bytes = frame(Encapsulation::Ethernet, addresses, *direction, segment);
        Record { time_ns: BEGIN_NS + time_ns, bytes }
    };
    packets.iter().map(record).collect()
}

fn report(test: &str, records: &[Record], arguments: &[&str]) -> Value {
    report_on(test, &pcapng(LinkType::ETHERNET, 65_535, records), arguments)
}

fn report_on(test: &str, capture: &[u8], arguments: &[&str]) -> Value {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("gate-{test}.pcapng"));
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

fn level<'a>(report: &'a Value, id: &str) -> Option<&'a str> {
    let cause = report["causes"].as_array().unwrap().iter().find(|cause| cause["id"] == id)?;
    cause["level"].as_str()
}

fn says(report: &Value, code: &str) -> bool {
    let found = report["quality"]["shortcomings"].as_array().unwrap();
    found.iter().any(|shortcoming| shortcoming["code"] == code)
}

fn damage(record: &mut Record) {
    *record.bytes.last_mut().unwrap() ^= 0x55;
}

#[test]
fn flows_that_miss_frames_tell_nothing_of_window_scaling() {
    let all = records(&flows_of("window_scale_stripped_from_syn_ack"));
    assert_eq!(level(&report("stripped", &all, &[]), "C03"), Some("confirmed"));
    let mut count = 0;
    let torn: Vec<_> = all
        .into_iter()
        .filter(|record| {
            count += usize::from(record.bytes.len() > 200);
            record.bytes.len() <= 200 || count % 30 != 0
        })
        .collect();
    let report = report("stripped_torn", &torn, &[]);
    assert!(leaves(&report, "missed_frames").is_some(), "{}", report["quality"]);
    assert_eq!(level(&report, "C03"), None, "{}", report["causes"]);
}

/// Has one data packet of each so many arrive damaged first, and then sent again.
fn damaged(every: usize) -> Vec<Record> {
    let mut records = records(&flow());
    let data = records.iter().filter(|record| record.bytes.len() > 200).step_by(every);
    let mut damaged: Vec<_> = data
        .map(|record| Record { time_ns: record.time_ns - 1_000, bytes: record.bytes.clone() })
        .collect();
    damaged.iter_mut().for_each(damage);
    records.extend(damaged);
    records.sort_by_key(|record| record.time_ns);
    records
}

#[test]
fn a_clean_capture_has_no_shortcoming() {
    let report = report("clean", &records(&flow()), &[]);
    assert_eq!(report["quality"]["percent"], 100);
    assert!(report["quality"]["shortcomings"].as_array().unwrap().is_empty());
}

/// The percent that a shortcoming leaves.
fn leaves(report: &Value, code: &str) -> Option<u64> {
    let found = report["quality"]["shortcomings"].as_array().unwrap();
    found.iter().find(|found| found["code"] == code)?["percent"].as_u64()
}

#[test]
fn packets_that_the_capture_says_it_lost_are_told() {
    let packets = pcapng(LinkType::ETHERNET, 65_535, &records(&flow()));
    for (lost, left) in [(0, None), (1, Some(70)), (100, Some(40))] {
        let mut writer = PcapngWriter::new(Order::Little);
        writer.interface(101, 0, &[]);
        // isb_osdrop of the pcapng specification.
        let dropped = writer.number(7, lost);
        writer.statistics(0, &[dropped]);
        let report = report_on("lost", &[writer.bytes, packets.clone()].concat(), &[]);
        assert_eq!(leaves(&report, "drops"), left, "{}", report["quality"]);
    }
}

#[test]
fn headers_that_the_snap_length_cuts_are_told() {
    let of = |snap_len| {
        let capture = pcapng(LinkType::ETHERNET, snap_len, &records(&flow()));
        leaves(&report_on("cut", &capture, &[]), "truncated")
    };
    assert_eq!(of(128), None);
    // Ethernet, IPv4, and TCP with four bytes of its options.
    assert_eq!(of(14 + 20 + 24), Some(40));
}

#[test]
fn packets_that_are_there_twice_now_and_then_are_told() {
    let once = records(&flow());
    let of = |every| {
        let copies = once.iter().skip(1).step_by(every);
        let copy = |it: &Record| Record { time_ns: it.time_ns + 1, bytes: it.bytes.clone() };
        let mut twice: Vec<_> = copies.map(copy).chain(once.iter().map(copy)).collect();
        twice.sort_by_key(|record| record.time_ns);
        leaves(&report("now_and_then", &twice, &[]), "duplicates")
    };
    assert_eq!(of(20), Some(70));
    // A single one of many is nothing to speak of.
    assert_eq!(of(once.len()), None);
}

#[test]
fn a_time_without_any_frame_is_told_and_lowers_nothing() {
    let mut late = records(&flow());
    let half = late.len() / 2;
    late[half..].iter_mut().for_each(|record| record.time_ns += 400_000_000_000);
    assert_eq!(leaves(&report("silence", &late, &[]), "time_jump"), Some(100));
    assert_eq!(leaves(&report("no_silence", &records(&flow()), &[]), "time_jump"), None);
}

#[test]
fn a_capture_that_ends_within_a_packet_is_told() {
    let mut capture = pcapng(LinkType::ETHERNET, 65_535, &records(&flow()));
    capture.truncate(capture.len() - 30);
    let report = report_on("torn", &capture, &[]);
    assert_eq!(leaves(&report, "incomplete"), Some(100), "{}", report["quality"]);
}

#[test]
fn damaged_packets_are_found_where_checksums_are_judged() {
    let judged = report("damaged", &damaged(40), &JUDGED);
    assert_eq!(level(&judged, "C18"), Some("probable"));
    // A single one may be a tool's.
    assert_eq!(level(&report("damaged_once", &damaged(100_000), &JUDGED), "C18"), None);
    let sound = report("undamaged", &records(&flow()), &JUDGED);
    assert_eq!(level(&sound, "C18"), None);
}

#[test]
fn a_capture_in_which_every_checksum_is_wrong_was_rewritten() {
    let mut rewritten = records(&flow());
    rewritten.iter_mut().for_each(damage);
    for judging in [&[][..], &JUDGED[..]] {
        let report = report("rewritten", &rewritten, judging);
        assert_ne!(level(&report, "C18"), Some("probable"));
        assert_ne!(level(&report, "C18"), Some("confirmed"));
    }
}

#[test]
fn unfinished_checksums_are_told_and_blame_nobody() {
    let mut unfinished = records(&flow());
    for record in unfinished.iter_mut().filter(|record| record.bytes[26..30] == [192, 0, 2, 80]) {
        let len = u32::try_from(record.bytes.len() - 34).unwrap();
        let words = record.bytes[26..34].chunks(2);
        let sum: u32 = words.map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
        let sum = sum + 6 + len;
        let folded = u16::try_from((sum >> 16) + (sum & 0xffff)).unwrap();
        record.bytes[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&folded.to_be_bytes());
    }
    for judging in [&[][..], &JUDGED[..]] {
        let report = report("unfinished", &unfinished, judging);
        assert!(says(&report, "partial_checksums"), "{}", report["quality"]);
        assert_eq!(level(&report, "C18"), None);
    }
}

#[test]
fn acknowledgements_captured_before_their_data_are_told() {
    let mut packets = flow();
    // Every acknowledgement is captured a round trip early, as by another queue.
    for captured in &mut packets {
        if captured.segment.ack.0 != 0 && captured.segment.len == 0 {
            captured.time_ns -= 60_000;
        }
    }
    let report = report("early", &records(&packets), &[]);
    assert!(says(&report, "ack_before_data"), "{}", report["quality"]);
    assert_ne!(report["verdict"]["level"], "confirmed");
}

#[test]
fn a_jump_of_the_clock_is_told() {
    let mut late = records(&flow());
    let half = late.len() / 2;
    late[half..].iter_mut().for_each(|record| record.time_ns -= 2_000_000_000);
    let report = report("jump", &late, &[]);
    assert!(says(&report, "time_steps_back"));
    assert_eq!(report["quality"]["percent"], 40);
}
