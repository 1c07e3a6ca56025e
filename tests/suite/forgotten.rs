//! A flood of flows at one instant: memory has a bound, and what it costs is the same for any number
//! of threads, and told.

use crate::capture_writer::{MICROSECONDS, Order, PcapWriter};
use crate::program::{Scratch, run, status, text};

/// Flows at one instant, more than the least budget has room for.
const FLOOD: u32 = 200_000;
const SYN: u8 = 0x02;
const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;

/// A packet between client number `client` and the server.
struct Sent {
    client: u32,
    is_reply: bool,
    flags: u8,
    seq: u32,
    ack: u32,
}

impl Sent {
    fn bytes(&self) -> Vec<u8> {
        let [a, b, c, d] = self.client.to_be_bytes();
        let client = ([10, a, b, c], 0x8000 | u16::from(d));
        let server = ([10, 255, 0, 1], 80);
        let (from, to) = if self.is_reply { (server, client) } else { (client, server) };
        let ip = [0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0];
        let tail = [0x50, self.flags, 0xff, 0xff, 0, 0, 0, 0];
        let numbers = [self.seq.to_be_bytes(), self.ack.to_be_bytes()].concat();
        let ports = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
        [&ip[..], &from.0, &to.0, &ports, &numbers, &tail].concat()
    }
}

/// One connection that is established, one that waits for its answer, a flood, and then what both
/// have still to say.
fn capture() -> Vec<u8> {
    let mut writer = PcapWriter::new(Order::Little, MICROSECONDS, 101);
    let mut send = |client, is_reply, flags, seq, ack| {
        let bytes = Sent { client, is_reply, flags, seq, ack }.bytes();
        writer.frame(1_000_000_000, 40, &bytes);
    };
    send(1, false, SYN, 1000, 0);
    send(1, true, SYN_ACK, 5000, 1001);
    send(1, false, ACK, 1001, 5001);
    send(2, false, SYN, 1000, 0);
    (10..10 + FLOOD).for_each(|client| send(client, false, SYN, 1, 0));
    send(1, false, ACK, 1001, 5001);
    send(2, true, SYN_ACK, 5000, 1001);
    writer.bytes
}

#[test]
fn a_flood_takes_no_more_memory_than_allowed_and_what_it_costs_is_told() {
    let scratch = Scratch::new("forgotten");
    scratch.write("flood.pcap", &capture());
    let audit = |threads: &str| {
        let common = ["--memory", "64M", "--threads", threads, "--format", "json"];
        let output = run(&scratch.0, &[&common[..], &["--verdicts", "v", "flood.pcap"]].concat());
        assert_eq!(status(&output), 2, "an audit that forgot something is not complete");
        let verdicts = std::fs::read_to_string(scratch.0.join("v")).unwrap();
        (text(&output.stdout).to_owned(), verdicts)
    };
    let (report, verdicts) = audit("1");
    for threads in ["2", "7"] {
        let (same_report, same_verdicts) = audit(threads);
        assert!(same_report == report && same_verdicts == verdicts, "{threads} threads");
    }
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let problem = report["problems"][0].as_str().unwrap();
    assert!(problem.contains("connections and 0 flows of other protocols were forgotten early"));
    assert!(problem.contains("--memory 64M"), "{problem}");
    // Connections are counted once, but for the one that came again.
    assert_eq!(report["verdict"]["flows"], FLOOD + 3);
    let mut last = verdicts.lines().rev();
    let [answer, established] = [last.next().unwrap(), last.next().unwrap()];
    assert!(established.contains(r#""flow":1,"dir":"original","ctstate":"ESTABLISHED""#));
    assert!(answer.contains(r#""reason":"invalid_new""#), "{answer}");
}

#[test]
fn nothing_is_forgotten_where_there_is_room() {
    let scratch = Scratch::new("not-forgotten");
    scratch.write("flood.pcap", &capture());
    let output = run(&scratch.0, &["--memory", "1G", "--format", "json", "flood.pcap"]);
    assert_eq!((status(&output), text(&output.stderr)), (0, ""));
}
