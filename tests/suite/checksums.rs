//! Whose checksums are judged: never those of packets that the capturing host sent, however the
//! capture says so and whatever way its frames take through the program.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use crate::capture_writer::{Order, PcapngWriter};
use crate::hostile::packet::{Packet, SYN, fragments, of_protocol};
use crate::program::{Scratch, run, status, text};

const RAW: u16 = 101;
const JUDGED: [&str; 2] = ["--sysctl", "nf_conntrack_checksum=1"];
/// Code of the flags of a packet, in both kinds of packet block.
const FLAGS: u16 = 2;
const DROPCOUNT: u16 = 4;
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;
const IPIP: u8 = 4;

const HOSTS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2))];

/// A SYN whose TCP checksum is wrong.
fn corrupt(port: u16) -> Vec<u8> {
    let [src, dst] = HOSTS;
    let packet = Packet::new((src, port), (dst, 80), SYN);
    Packet { is_checksum_wrong: true, payload_len: 64, ..packet }.bytes()
}

fn begin(order: Order) -> PcapngWriter {
    let mut writer = PcapngWriter::new(order);
    writer.interface(RAW, 0, &[]);
    writer
}

fn flags(order: Order, value: u32) -> (u16, Vec<u8>) {
    (FLAGS, order.u32(value).to_vec())
}

fn push(writer: &mut PcapngWriter, ticks: u64, bytes: &[u8], options: &[(u16, Vec<u8>)]) {
    writer.enhanced_with(0, ticks, (u32::try_from(bytes.len()).unwrap(), bytes), options);
}

/// A capture of one corrupt SYN a microsecond, each with these flags.
fn flagged(order: Order, first_tick: u64, values: &[u32]) -> Vec<u8> {
    let mut writer = begin(order);
    for (tick, value) in (first_tick..).zip(values) {
        push(&mut writer, tick, &corrupt(tick as u16), &[flags(order, *value)]);
    }
    writer.bytes
}

/// The numbers of the frames whose checksum is called wrong, those of the second file plus 100.
fn wrong(scratch: &Scratch, arguments: &[&str]) -> Vec<u64> {
    let output = run(&scratch.0, &[&JUDGED[..], &["--verdicts", "-"], arguments].concat());
    assert_eq!(text(&output.stderr), "");
    let lines = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap());
    let is_wrong = |line: &Value| line["reason"] == "tcp_bad_csum";
    let number = |line: Value| {
        line["file"].as_u64().unwrap_or_default() * 100 + line["frame"].as_u64().unwrap()
    };
    lines.filter(is_wrong).map(number).collect()
}

#[test]
fn a_packet_marked_as_outbound_is_excused_and_no_other() {
    let scratch = Scratch::new("checksum-flags");
    for order in [Order::Little, Order::Big] {
        // Link errors and the kind of reception stand in the same word as the direction.
        let values = [0, INBOUND, OUTBOUND, 0xff00_0000 | OUTBOUND, 3, OUTBOUND << 2];
        let mut writer = begin(order);
        for (tick, value) in (1..).zip(values) {
            push(&mut writer, tick, &corrupt(tick as u16), &[flags(order, value)]);
        }
        let drops = writer.number(DROPCOUNT, 5);
        push(&mut writer, 7, &corrupt(7), &[drops.clone(), flags(order, OUTBOUND)]);
        push(&mut writer, 8, &corrupt(8), &[flags(order, OUTBOUND), drops]);
        push(&mut writer, 9, &corrupt(9), &[]);
        push(&mut writer, 10, &corrupt(10), &[(FLAGS, vec![2])]);
        scratch.write("a.pcapng", &writer.bytes);
        assert_eq!(wrong(&scratch, &["a.pcapng"]), [1, 2, 5, 6, 9, 10], "{order:?}");
        let report = run(&scratch.0, &[&JUDGED[..], &["a.pcapng"]].concat());
        let report = text(&report.stdout);
        assert!(
            report.contains("4 frames sent by the capturing host: checksums not judged"),
            "{report}"
        );
        assert!(report.contains("10 packets dropped"), "{report}");
        let json = run(&scratch.0, &[&JUDGED[..], &["--format", "json", "a.pcapng"]].concat());
        let json: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!(json["capture"]["excused_checksums"], 4);
        assert_eq!(status(&run(&scratch.0, &["a.pcapng"])), 0, "nothing is judged by default");
    }
}

#[test]
fn merged_and_filtered_frames_keep_their_direction() {
    let scratch = Scratch::new("checksum-merged");
    scratch.write("a.pcapng", &flagged(Order::Little, 10, &[OUTBOUND, INBOUND, OUTBOUND, 0]));
    scratch.write("b.pcapng", &flagged(Order::Big, 11, &[INBOUND, OUTBOUND, OUTBOUND, 0]));
    assert_eq!(wrong(&scratch, &["a.pcapng", "b.pcapng"]), [2, 101, 4, 104]);
    scratch.write("c.pcapng", &flagged(Order::Big, 1000, &[INBOUND, OUTBOUND, 0]));
    assert_eq!(wrong(&scratch, &["a.pcapng", "c.pcapng"]), [2, 4, 101, 103]);
    let filter = ["--filter", "src port 11 or src port 12 or src port 13"];
    if text(&run(&scratch.0, &[&filter[..], &["absent"]].concat()).stderr).contains("libpcap") {
        return eprintln!("skipped: libpcap is not installed");
    }
    assert_eq!(wrong(&scratch, &[&filter[..], &["a.pcapng"]].concat()), [2, 4]);
    let both = [&filter[..], &["a.pcapng", "b.pcapng"]].concat();
    assert_eq!(wrong(&scratch, &both), [2, 101, 4]);
}

#[test]
fn fragments_and_packets_in_tunnels_are_excused_as_their_frames_are() {
    let scratch = Scratch::new("checksum-inside");
    let order = Order::Little;
    for (direction, expected) in [(OUTBOUND, vec![]), (INBOUND, vec![3, 4])] {
        let mut writer = begin(order);
        let mut packets = fragments(&corrupt(1), 40, 7);
        assert_eq!(packets.len(), 3);
        packets.push(of_protocol(HOSTS[0], HOSTS[1], IPIP, &corrupt(2)));
        for (tick, packet) in (1..).zip(&packets) {
            push(&mut writer, tick, packet, &[flags(order, direction)]);
        }
        scratch.write("a.pcapng", &writer.bytes);
        assert_eq!(wrong(&scratch, &["--inner", "a.pcapng"]), expected, "direction {direction}");
    }
}

#[test]
fn the_obsolete_block_and_links_that_tell_the_direction_are_believed_too() {
    let scratch = Scratch::new("checksum-links");
    let order = Order::Little;
    let mut writer = begin(order);
    for direction in [INBOUND, OUTBOUND] {
        let bytes = corrupt(direction as u16);
        let len = order.u32(u32::try_from(bytes.len()).unwrap());
        // Interface, drops, time, both lengths.
        let head = [&[0; 12][..], &len, &len].concat();
        assert_eq!(bytes.len() % 4, 0);
        let option = [&order.u16(FLAGS)[..], &order.u16(4), &order.u32(direction), &[0; 4]];
        writer.block(2, &[&head[..], &bytes, &option.concat()].concat());
    }
    scratch.write("a.pcapng", &writer.bytes);
    assert_eq!(wrong(&scratch, &["a.pcapng"]), [1]);
    for (link, head) in
        [(204, &[0xff, 3, 0, 0x21][..]), (205, &[0x0f, 0, 8, 0]), (166, &[3, 0, 0x21])]
    {
        let mut writer = PcapngWriter::new(order);
        writer.interface(link, 0, &[]);
        for direction in [0, 1] {
            let frame = [&[direction][..], head, &corrupt(u16::from(direction) + 1)].concat();
            push(&mut writer, 1, &frame, &[]);
        }
        scratch.write("a.pcapng", &writer.bytes);
        assert_eq!(wrong(&scratch, &["a.pcapng"]), [1], "link type {link}");
    }
}
