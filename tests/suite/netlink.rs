//! Netlink frames that hold several logged packets: each is judged, as if it had a frame of its own, and
//! what is said does not depend on who judges it.

use std::path::Path;

use serde_json::Value;

use crate::capture_writer::{NANOSECONDS, Order, PcapWriter};
use crate::hostile::Hostile;
use crate::parts::everything;
use crate::pieces::{Options, assert_same};
use crate::program::{Scratch, run, text};

/// Raw IP.
const RAW: u32 = 101;
/// Netlink messages.
const NETLINK: u32 = 253;

/// A netfilter log message with this packet as its payload attribute.
fn message(packet: &[u8]) -> Vec<u8> {
    let family = if packet[0] >> 4 == 4 { 2 } else { 10 };
    let mut body = vec![family, 0, 0, 40];
    body.extend(u16::try_from(4 + packet.len()).unwrap().to_le_bytes());
    body.extend([9, 0]);
    body.extend(packet);
    let mut message = u32::try_from(16 + body.len()).unwrap().to_le_bytes().to_vec();
    message.extend([0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    message.extend(body);
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

/// Writes the same hostile traffic twice: in netlink frames of one to nine packets, and each packet in a
/// frame of its own, at the time of the netlink frame.
fn write(folder: &Path, packets: usize) {
    let mut several = PcapWriter::new(Order::Little, NANOSECONDS, NETLINK);
    let mut single = PcapWriter::new(Order::Little, NANOSECONDS, RAW);
    let mut packets = Hostile::new(31).take(packets).peekable();
    let mut many = 0;
    while let Some((ns, _)) = packets.peek() {
        let ns = ns.unsigned_abs();
        let mut frame = vec![0, 4, 3, 56, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12];
        many = many % 9 + 1;
        for (_, packet) in packets.by_ref().take(many) {
            frame.extend(message(&packet));
            single.frame(ns, packet.len() as u32, &packet);
        }
        several.frame(ns, frame.len() as u32, &frame);
    }
    std::fs::write(folder.join("several.pcap"), several.bytes).unwrap();
    std::fs::write(folder.join("single.pcap"), single.bytes).unwrap();
}

/// What is said of each packet, without saying which it is.
fn said(folder: &Path, file: &str) -> Vec<String> {
    let output = run(folder, &["-q", "--verdicts", "verdicts.ndjson", file]);
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    let verdicts = std::fs::read_to_string(folder.join("verdicts.ndjson")).unwrap();
    let words = verdicts.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        for place in ["frame", "flow"] {
            line.as_object_mut().unwrap().remove(place);
        }
        line.to_string()
    });
    words.collect()
}

#[test]
fn packets_of_one_frame_are_judged_as_if_each_had_its_own() {
    let scratch = Scratch::new("netlink-alone");
    write(&scratch.0, 5_000);
    let several = said(&scratch.0, "several.pcap");
    let single = said(&scratch.0, "single.pcap");
    assert!(single.len() > 4_000, "{}", single.len());
    assert_eq!(several.len(), single.len());
    for (one, other) in several.iter().zip(&single) {
        assert_eq!(one, other);
    }
}

#[test]
fn frames_are_counted_as_such_and_their_packets_beside_them() {
    let scratch = Scratch::new("netlink-counted");
    write(&scratch.0, 450);
    let count = |file: &str, name: &str| {
        let output = run(&scratch.0, &["--format", "json", file]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        report["capture"][name].as_u64()
    };
    // One to nine are 45.
    assert_eq!(count("several.pcap", "frames"), Some(90));
    assert_eq!(count("several.pcap", "further_packets"), Some(360));
    assert_eq!(count("single.pcap", "frames"), Some(450));
    assert_eq!(count("single.pcap", "further_packets"), None);
    let output = run(&scratch.0, &["several.pcap"]);
    assert!(text(&output.stdout).contains("frames: 90, which hold 450 packets, of these"));
}

#[test]
fn packets_of_one_frame_are_the_same_for_threads_and_pieces() {
    let scratch = Scratch::new("netlink-shared");
    write(&scratch.0, 5_000);
    let of = |threads: &str| {
        let out = scratch.0.join(format!("threads-{threads}"));
        everything(&scratch.0, &out, &["--threads", threads, "several.pcap"])
    };
    let one = of("1");
    for threads in ["2", "3", "7"] {
        assert_eq!(one.differences(&of(threads)), [""; 0], "{threads} threads");
    }
    for count in [2, 5] {
        assert_same(&scratch, &scratch.0, count, &[&["several.pcap"]], Options::default());
    }
}
