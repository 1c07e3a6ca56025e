//! What a rule exempts from tracking is UNTRACKED, makes no entry, and is counted.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::capture_writer::{MICROSECONDS, Order, PcapWriter};
use crate::program::{PROGRAM, Scratch, run, status, text};

const RAW: u32 = 101;
const ETHERNET: u32 = 1;
const SYN: u8 = 0x02;
const SYN_ACK: u8 = 0x12;
const CLIENT: u8 = 1;
const SERVER: u8 = 2;

/// A TCP header from or to port 80, without options; client and server are the last byte of their
/// addresses.
fn tcp(from: u8, flags: u8) -> Vec<u8> {
    let (src, dst) = if from == CLIENT { ([0x9c, 0x40], [0, 80]) } else { ([0, 80], [0x9c, 0x40]) };
    let ack = if flags == SYN { [0; 4] } else { [0, 0, 0, 101] };
    let rest = [0x50, flags, 0x20, 0, 0, 0, 0, 0];
    [&src[..], &dst, &[0, 0, 0, 100], &ack, &rest].concat()
}

fn peer_of(from: u8) -> u8 {
    CLIENT + SERVER - from
}

/// An IPv4 packet; `fragment` is the word of flags and offset.
fn ipv4(from: u8, protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let [high, low] = fragment.to_be_bytes();
    let head = [0x45, 0, len[0], len[1], 0, 7, high, low, 64, protocol, 0, 0];
    let addresses = [10, 0, 0, from, 10, 0, 0, peer_of(from)];
    [&head[..], &addresses, payload].concat()
}

/// An IPv6 packet.
fn ipv6(from: u8, next: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let address = |last: u8| [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    let head = [0x60, 0, 0, 0, len[0], len[1], next, 64];
    [&head[..], &address(from), &address(peer_of(from)), payload].concat()
}

/// A capture of these frames, a millisecond apart.
fn capture(link: u32, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = PcapWriter::new(Order::Little, MICROSECONDS, link);
    for (number, bytes) in (1..).zip(frames) {
        writer.frame(number * 1_000_000, u32::try_from(bytes.len()).unwrap(), bytes);
    }
    writer.bytes
}

/// Judges the frames with these options: frame, verdict, reason of each line; none without libpcap.
fn judge(link: u32, frames: &[Vec<u8>], options: &[&str]) -> Option<Vec<String>> {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let scratch = Scratch::new(&format!("notrack-{}", RUNS.fetch_add(1, Ordering::Relaxed)));
    scratch.write("a.pcap", &capture(link, frames));
    let options = [&["-q", "--verdicts", "v", "a.pcap"], options].concat();
    let output = run(&scratch.0, &options);
    if text(&output.stderr).contains("libpcap") {
        eprintln!("skipped: libpcap is not installed");
        return None;
    }
    let lines = std::fs::read_to_string(scratch.0.join("v")).unwrap();
    let tell = |line: &str| {
        let said: Value = serde_json::from_str(line).unwrap();
        format!("{} {} {}", said["frame"], said["ctstate"], said["reason"]).replace('"', "")
    };
    Some(lines.lines().map(tell).collect())
}

#[test]
fn a_rule_for_one_direction_leaves_the_other_without_an_entry() {
    let tagged = |packet: Vec<u8>| [&[0; 12][..], &[0x81, 0, 0, 5, 8, 0], &packet].concat();
    let frames = [
        tagged(ipv4(CLIENT, 6, 0, &tcp(CLIENT, SYN))),
        tagged(ipv4(SERVER, 6, 0, &tcp(SERVER, SYN_ACK))),
    ];
    let Some(tracked) = judge(ETHERNET, &frames, &[]) else { return };
    assert_eq!(tracked, ["1 NEW null", "2 ESTABLISHED null"]);
    let Some(half) = judge(ETHERNET, &frames, &["--notrack", "tcp dst port 80"]) else { return };
    assert_eq!(half, ["1 UNTRACKED null", "2 INVALID invalid_new"], "behind the VLAN tag too");
    let rules = ["--notrack", "dst port 80", "--notrack", "src port 80"];
    let Some(whole) = judge(ETHERNET, &frames, &rules) else { return };
    assert_eq!(whole, ["1 UNTRACKED null", "2 UNTRACKED null"]);
}

#[test]
fn a_datagram_in_fragments_follows_its_first_one() {
    let segment = [tcp(CLIENT, SYN), vec![0; 12]].concat();
    let (first, last) = segment.split_at(24);
    let frames = [
        ipv4(CLIENT, 6, 3, last),
        ipv4(CLIENT, 6, 0x2000, first),
        ipv6(CLIENT, 44, &[&[6, 0, 0, 1, 0, 0, 0, 7], first].concat()),
        ipv6(CLIENT, 44, &[&[6, 0, 0, 24, 0, 0, 0, 7], last].concat()),
    ];
    let Some(tracked) = judge(RAW, &frames, &["--notrack", "udp"]) else { return };
    assert_eq!(tracked, ["2 NEW null", "4 NEW null"]);
    let Some(exempt) = judge(RAW, &frames, &["--notrack", "tcp dst port 80"]) else { return };
    assert_eq!(exempt, ["2 UNTRACKED null", "4 UNTRACKED null"]);
}

#[test]
fn tunnels_that_are_opened_meet_the_rule_inside() {
    let frames = [ipv4(CLIENT, 4, 0, &ipv4(CLIENT, 6, 0, &tcp(CLIENT, SYN)))];
    let Some(inside) = judge(RAW, &frames, &["--inner", "--notrack", "port 80"]) else { return };
    assert_eq!(inside, ["1 UNTRACKED null"]);
    let Some(outside) = judge(RAW, &frames, &["--inner", "--notrack", "proto 4"]) else { return };
    assert_eq!(outside, ["1 NEW null"], "behind the end of the tunnel its header is gone");
}

#[test]
fn an_error_about_an_untracked_connection_is_invalid_unless_exempt_itself() {
    let syn = ipv4(CLIENT, 6, 0, &tcp(CLIENT, SYN));
    let unreachable = [&[3, 3, 0, 0, 0, 0, 0, 0], &syn[..]].concat();
    let frames = [syn, ipv4(SERVER, 1, 0, &unreachable)];
    let Some(related) = judge(RAW, &frames, &[]) else { return };
    assert_eq!(related, ["1 NEW null", "2 RELATED null"]);
    let Some(lost) = judge(RAW, &frames, &["--notrack", "tcp"]) else { return };
    assert_eq!(lost, ["1 UNTRACKED null", "2 INVALID icmp_unknown"]);
    let Some(exempt) = judge(RAW, &frames, &["--notrack", "tcp or icmp"]) else { return };
    assert_eq!(exempt, ["1 UNTRACKED null", "2 UNTRACKED null"]);
}

#[test]
fn reports_count_what_is_untracked_and_name_the_rule() {
    let scratch = Scratch::new("notrack-report");
    let udp = [0, 53, 0x9c, 0x40, 0, 8, 0, 0];
    let frames = [
        ipv4(CLIENT, 6, 0, &tcp(CLIENT, SYN)),
        ipv4(SERVER, 6, 0, &tcp(SERVER, SYN_ACK)),
        ipv4(SERVER, 17, 0, &udp),
        ipv4(SERVER, 47, 0, &[0; 8]),
    ];
    scratch.write("a.pcap", &capture(RAW, &frames));
    let rules = ["--notrack", "port 80", "--notrack", "port 53", "a.pcap"];
    let output = run(&scratch.0, &rules);
    if text(&output.stderr).contains("libpcap") {
        eprintln!("skipped: libpcap is not installed");
        return;
    }
    assert_eq!(status(&output), 0, "nothing is INVALID");
    let report = text(&output.stdout);
    let line = "UNTRACKED: 2 packets of TCP, 1 others (--notrack port 80, port 53)";
    assert!(report.contains(line), "{report}");
    let output = run(&scratch.0, &[&["--format", "json"], &rules[..]].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdict"]["ctstate"], serde_json::json!({"UNTRACKED": 2}));
    assert_eq!(report["verdict"]["datagrams"]["17"]["UNTRACKED"], 1);
    assert_eq!(report["verdict"]["datagrams"]["47"]["NEW"], 1);
    assert_eq!(report["verdict"]["flows_untracked"], 1);
    assert_eq!(report["method"]["notrack"][1], "port 53");
}

#[test]
fn what_no_rule_of_the_raw_table_can_see_is_refused() {
    let scratch = Scratch::new("notrack-wrong");
    scratch.write("a.pcap", &capture(RAW, &[]));
    for expression in ["ether host 0:1:2:3:4:5", "vlan 5", "no such words"] {
        let output = run(&scratch.0, &["--notrack", expression, "a.pcap"]);
        assert_eq!(status(&output), 2, "{expression}");
        assert!(text(&output.stderr).contains("--notrack"), "{}", text(&output.stderr));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn without_libpcap_the_package_is_named() {
    let scratch = Scratch::new("notrack-no-libpcap");
    for name in ["libpcap.so.0.8", "libpcap.so.1", "libpcap.so", "libpcap.dylib"] {
        scratch.write(name, b"this is no library");
    }
    scratch.write("a.pcap", &capture(RAW, &[]));
    let mut command = Command::new(PROGRAM);
    command.args(["--notrack", "tcp", "a.pcap"]).current_dir(&scratch.0);
    let output = command.env("LD_LIBRARY_PATH", &scratch.0).output().unwrap();
    if status(&output) != 2 {
        eprintln!("skipped: this system finds libpcap although it is hidden");
        return;
    }
    assert!(text(&output.stderr).contains("--notrack needs libpcap"), "{}", text(&output.stderr));
}
