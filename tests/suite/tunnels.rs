//! The innermost segment of a frame, compared with tshark over the captures beside the repository,
//! where these are there.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::capture_writer::{MICROSECONDS, Order, PcapWriter};

use tcp_window_audit::frame::{Batch, Frame};
use tcp_window_audit::source::{self, FrameSource, Timeline};
use tcp_window_audit::wire::{Checksums, Decoded, Undecodable, decode, decode_innermost};

/// Captures above this size hold nothing new about tunnels.
const MAX_FILE_BYTES: u64 = 700_000;

/// The innermost TCP header of a frame: source port, destination port, sequence number.
type Header = (u16, u16, u32);

/// Frames that tshark takes otherwise, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    ("snabb-tcp-ipv6-2frags-bound-reverse~2.pcap", "it opens what comes first of a datagram"),
    ("wswiki-netlink-nflog.pcap", "it reads all messages of a netlink frame, not the first alone"),
    (
        "flowlab-01_mpls_pw_eth_ipv4_tcp_no_cw.pcap",
        "it takes the frame for one with a control word",
    ),
    ("flowlab-17_ah_invalid_payload_length_too_small.pcap", "the header is shorter than it can be"),
    ("sv-bug-6875-01_fuzz.pcap", "it gives up"),
    ("tcpdump-bigtcp-ipv6.pcap", "it takes a payload length of 0 for an empty datagram (BIG TCP)"),
];

#[test]
fn the_innermost_segment_is_the_one_that_tshark_finds() {
    compare(|path| {
        let mut has_tunnel = false;
        for_each_frame(path, |frame| {
            has_tunnel |= decode_innermost(frame, Checksums::Ignored) != decode(frame);
        });
        has_tunnel
    });
}

/// Takes minutes: `cargo test --release --test suite tunnels -- --ignored --nocapture`.
#[test]
#[ignore = "asks tshark about every capture; the test above asks about those with tunnels"]
fn tshark_finds_no_tunnel_that_is_not_opened() {
    compare(|_| true);
}

#[test]
fn a_tunnel_in_fragments_is_counted_and_not_opened() {
    let fragment = |more: u8, offset: u8, payload: [u8; 24]| {
        let header = [0x45, 0, 0, 44, 0, 7, more, offset, 64, 4, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
        [&header[..], &payload].concat()
    };
    let mut writer = PcapWriter::new(Order::Little, MICROSECONDS, 101);
    for fragment in [fragment(0x20, 0, [0x45; 24]), fragment(0, 3, [0; 24])] {
        writer.frame(1_000_000_000, 44, &fragment);
    }
    let counts = |arguments: &[&str]| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tcp-window-audit"))
            .args(["--format", "json", "-"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&writer.bytes).unwrap();
        let output = child.wait_with_output().unwrap().stdout;
        let report: serde_json::Value = serde_json::from_slice(&output).unwrap();
        report["capture"].clone()
    };
    assert_eq!(counts(&[])["other_protocols"]["4"], 1);
    let opened = counts(&["--inner"]);
    assert_eq!(opened["undecodable"]["tunnel_fragmented"], 1, "{opened}");
    assert_eq!((&opened["frames"], &opened["inner"]), (&2.into(), &true.into()));
}

fn compare(is_wanted: impl Fn(&Path) -> bool) {
    let (mut compared, mut nested, mut found) = (0, 0, Vec::new());
    for path in captures().into_iter().filter(|path| is_wanted(path)) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if DIFFERENCES.iter().any(|(known, _)| *known == name) {
            continue;
        }
        let Some(rows) = tshark(&path) else { return };
        for_each_frame(&path, |frame| {
            let Some((expected, protocols)) = rows.get(&frame.number) else { return };
            let ours = match decode_innermost(frame, Checksums::Ignored) {
                Decoded::Segment(packet) if packet.segment.fault.is_some() => return,
                Decoded::Segment(packet) => {
                    let (src, dst) = packet.key.endpoints(packet.orientation);
                    Some((src.port, dst.port, packet.segment.seq.0))
                }
                // It reads whatever it can of these.
                Decoded::Fragment(_)
                | Decoded::Undecodable(
                    Undecodable::BadIpHeader
                    | Undecodable::IpHeaderCut
                    | Undecodable::TcpHeaderCut
                    | Undecodable::TunnelHeaderCut,
                ) => return,
                _ => None,
            };
            compared += 1;
            nested += u64::from(expected.is_some() && protocols.matches(":ip").count() > 1);
            if ours != *expected {
                let number = frame.number;
                found.push(format!("{name} {number}: {ours:?} {expected:?} {protocols}"));
            }
        });
    }
    for line in found.iter().take(400) {
        eprintln!("{line}");
    }
    eprintln!("{compared} frames compared, {nested} with TCP in tunnels");
    assert!(found.is_empty(), "{} of {compared} differ", found.len());
    assert!(nested > 100 || captures().is_empty(), "nothing was compared");
}

fn tshark(path: &Path) -> Option<BTreeMap<u64, (Option<Header>, String)>> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-r"]).arg(path).args(["-T", "fields", "-E", "separator=;"]);
    command.args(["-E", "occurrence=l"]);
    for preference in [
        "tcp.relative_sequence_numbers:FALSE",
        "tcp.analyze_sequence_numbers:FALSE",
        "tcp.desegment_tcp_streams:FALSE",
        "ip.defragment:FALSE",
        "ipv6.defragment:FALSE",
    ] {
        command.args(["-o", preference]);
    }
    for field in ["frame.number", "frame.protocols", "tcp.srcport", "tcp.dstport", "tcp.seq_raw"] {
        command.args(["-e", field]);
    }
    let Ok(output) = command.output() else {
        eprintln!("skipped: no tshark");
        return None;
    };
    Some(String::from_utf8_lossy(&output.stdout).lines().filter_map(row).collect())
}

fn row(line: &str) -> Option<(u64, (Option<Header>, String))> {
    let [number, protocols, src, dst, seq] = line.split(';').collect::<Vec<_>>().try_into().ok()?;
    let header = || Some((src.parse().ok()?, dst.parse().ok()?, seq.parse().ok()?));
    let innermost = protocols.rsplit(':').find(|name| ["tcp", "udp", "icmp"].contains(name));
    let is_tcp = innermost == Some("tcp") && !protocols.contains("icmp");
    let header = is_tcp.then(header).flatten();
    Some((number.parse().ok()?, (header, protocols.to_owned())))
}

fn for_each_frame(path: &Path, mut each: impl FnMut(&Frame<'_>)) {
    let Ok(mut frames) = source::open(path, Timeline::default()) else { return };
    let mut batch = Batch::default();
    while frames.fill(&mut batch).unwrap_or(false) {
        batch.frames(0..batch.len()).for_each(|frame| each(&frame));
    }
}

fn captures() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures");
    let folders = ["dev", "malformed"].map(|folder| std::fs::read_dir(root.join(folder)));
    let mut files: Vec<PathBuf> = folders
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.metadata().unwrap().len() <= MAX_FILE_BYTES)
        .collect();
    files.sort();
    files
}
