//! What frames are decoded to, compared with tshark and with what kernels made of them, over the
//! captures beside the repository, where these are there.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;

use tcp_window_audit::frame::{Batch, Frame};
use tcp_window_audit::segment::{HeaderFault, Segment};
use tcp_window_audit::source::{self, FrameSource, Timeline};
use tcp_window_audit::wire::fragments::Reassembler;
use tcp_window_audit::wire::{
    Checksums, Decoded, NonTcp, Packet, Tracking, Undecodable, decode, decode_with,
};

/// Captures whose recordings count frames in another way than Wireshark does.
const COUNTED_OTHERWISE: [&str; 1] = ["pngtg-difficult_test202.pcapng"];

/// Captures above this size are left to the tests of the whole pipeline.
const MAX_FILE_BYTES: u64 = 700_000;

/// What tshark is asked for, in this order.
const FIELDS: &[&str] = &[
    "frame.number",
    "frame.protocols",
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.seq_raw",
    "tcp.ack_raw",
    "tcp.flags",
    "tcp.window_size_value",
    "tcp.hdr_len",
    "tcp.len",
    "tcp.options.mss_val",
    "tcp.options.wscale.shift",
    "tcp.options.timestamp.tsval",
    "tcp.options.timestamp.tsecr",
    "tcp.options.sack_le",
    "tcp.options.sack_re",
    "ip.ttl",
    "ipv6.hlim",
    "ip.id",
];

#[test]
fn each_tcp_header_reads_as_tshark_reads_it() {
    let (mut compared, mut found) = (0, Vec::new());
    for path in captures() {
        let Some(rows) = tshark(&path) else { return };
        for_each_frame(&path, |frame| {
            let Some(row) = rows.get(&frame.number) else { return };
            // It cuts a checksum of the inner frame off, which FabricPath does not have.
            if row.values["frame.protocols"].contains(":cfp:") {
                return;
            }
            let ours = match decode(frame) {
                Decoded::Segment(packet) if is_for_tshark(&packet.segment, frame) => Some(packet),
                Decoded::Segment(_) | Decoded::Fragment(_) => return,
                Decoded::Undecodable(Undecodable::TcpHeaderCut | Undecodable::BadIpHeader) => {
                    return;
                }
                _ => None,
            };
            let expected = row.outermost_is_tcp.then(|| row.text.clone());
            let ours = ours.map(|packet| describe(&packet, row));
            compared += u64::from(ours.is_some());
            if ours != expected {
                found.push(format!(
                    "{} {}:\n  {ours:?}\n  {expected:?}",
                    name(&path),
                    frame.number
                ));
            }
        });
    }
    report(compared, &found);
}

#[test]
fn each_frame_reaches_the_tracker_as_it_reached_the_kernel() {
    let (mut compared, mut found) = (0, Vec::new());
    for path in captures() {
        let Some(recorded) = recording(&path) else { continue };
        let mut reassembler = Reassembler::new(Checksums::Enforced);
        for_each_frame(&path, |frame| {
            let Some((theirs, is_invalid)) = recorded.get(&frame.number) else { return };
            let decoded = match decode_with(frame, Checksums::Enforced) {
                Decoded::Fragment(fragment) => reassembler.add(&fragment.read(frame), frame.clock),
                decoded => Some(decoded),
            };
            let mut ours = reached(decoded.as_ref());
            let is_fragment = matches!(decode(frame), Decoded::Fragment(_));
            if is_fragment && ours == Reached::Unseen {
                // The recording calls each fragment held that did not come out.
                ours = Reached::Held;
            }
            if *theirs == Reached::NotIp && !is_opened_by_the_recording(frame) {
                return;
            }
            compared += 1;
            let is_checked = decoded.is_some_and(|decoded| is_invalid_in_itself(&decoded));
            if ours != *theirs || (is_checked && !is_invalid) {
                found.push(format!("{} {}: {ours:?} {theirs:?}", name(&path), frame.number));
            }
        });
    }
    report(compared, &found);
}

#[test]
fn a_shorter_snap_length_changes_nothing_but_what_is_known() {
    const FRAMES: u64 = 40;
    let (mut compared, mut found) = (0, Vec::new());
    for path in captures() {
        for_each_frame(&path, |frame| {
            if frame.number > FRAMES || frame.bytes.len() > 2000 {
                return;
            }
            let whole = decode(frame);
            for len in 0..frame.bytes.len() {
                let cut = decode(&Frame { bytes: &frame.bytes[..len], ..*frame });
                compared += 1;
                if !is_known_part(&cut, &whole) {
                    found.push(format!(
                        "{} {} {len}: {cut:?} {whole:?}",
                        name(&path),
                        frame.number
                    ));
                }
            }
        });
    }
    report(compared, &found);
}

/// Returns whether a frame that was cut says the same as the whole one, or says that it was cut.
fn is_known_part(cut: &Decoded, whole: &Decoded) -> bool {
    match (cut, whole) {
        (Decoded::Segment(cut), Decoded::Segment(whole)) if cut.segment.options_cut => {
            let (options, options_cut) = (whole.segment.options, whole.segment.options_cut);
            let segment = Segment { options, options_cut, ..cut.segment };
            *whole == Packet { segment, ..*cut }
        }
        (Decoded::Undecodable(reason), _) if cut != whole => matches!(
            reason,
            Undecodable::LinkHeaderCut
                | Undecodable::IpHeaderCut
                | Undecodable::TcpHeaderCut
                | Undecodable::OtherHeaderCut
        ),
        _ => cut == whole,
    }
}

fn report(compared: u64, found: &[String]) {
    for line in found.iter().take(40) {
        eprintln!("{line}");
    }
    assert!(found.is_empty(), "{} of {compared} differ", found.len());
    assert!(compared > 0 || captures().is_empty(), "nothing was compared");
    eprintln!("{compared} frames compared");
}

/// Returns whether tshark says what we say: it reads no header that is not whole or not valid, and
/// takes the end of the frame for the end of an IP packet that goes beyond.
fn is_for_tshark(segment: &Segment, frame: &Frame<'_>) -> bool {
    let has_header = segment.fault.is_none_or(|fault| fault == HeaderFault::BadFlags);
    let tcp_len = segment.len as usize + usize::from(segment.header_len);
    let ip_header_len = if ethertype(frame.bytes) == 0x86dd { 40 } else { 20 };
    let headers_len = type_at(frame.bytes) + 2 + ip_header_len;
    let fits = frame.link.0 != 1 || headers_len + tcp_len <= frame.original_len as usize;
    has_header && !segment.options_cut && fits
}

/// One frame as tshark sees it.
struct Row {
    outermost_is_tcp: bool,
    values: HashMap<&'static str, String>,
    text: String,
}

/// Asks tshark for all frames of a file; `None` where there is no tshark.
fn tshark(path: &Path) -> Option<BTreeMap<u64, Row>> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-r"]).arg(path).args(["-T", "fields", "-E", "separator=;"]);
    command.args(["-E", "occurrence=a", "-E", "aggregator=,"]);
    for preference in [
        "tcp.relative_sequence_numbers:FALSE",
        "tcp.analyze_sequence_numbers:FALSE",
        "tcp.desegment_tcp_streams:FALSE",
        "ip.defragment:FALSE",
        "ipv6.defragment:FALSE",
    ] {
        command.args(["-o", preference]);
    }
    for field in FIELDS {
        command.args(["-e", field]);
    }
    let Ok(output) = command.output() else {
        eprintln!("skipped: no tshark");
        return None;
    };
    Some(String::from_utf8_lossy(&output.stdout).lines().map(row).collect())
}

fn row(line: &str) -> (u64, Row) {
    let values: HashMap<&str, String> =
        FIELDS.iter().copied().zip(line.split(';').map(str::to_owned)).collect();
    let mut row = Row {
        outermost_is_tcp: outermost_is_tcp(&values["frame.protocols"]),
        values,
        text: String::new(),
    };
    row.text = join(FIELDS[2..].iter().map(|field| format!("{field}={}", row.expected(field))));
    (row.values["frame.number"].parse().unwrap(), row)
}

impl Row {
    /// Returns the first value of a field, all of them for SACK edges.
    fn expected(&self, field: &str) -> String {
        let all = &self.values[field];
        if field.starts_with("tcp.options.sack") {
            return all.clone();
        }
        all.split(',').next().unwrap_or_default().to_owned()
    }
}

/// Returns whether the first IP header of the frame carries TCP, extension headers aside.
fn outermost_is_tcp(protocols: &str) -> bool {
    let mut names = protocols.split(':').skip_while(|name| !matches!(*name, "ip" | "ipv6"));
    let is_v4 = names.next() == Some("ip");
    let extension = |name: &&str| !is_v4 && (name.starts_with("ipv6.") || *name == "ah");
    names.find(|name| !extension(name)) == Some("tcp")
}

/// Writes a packet as a [`Row`] is written.
fn describe(packet: &Packet, row: &Row) -> String {
    let (src, dst) = packet.key.endpoints(packet.orientation);
    let segment = &packet.segment;
    let of = |is_ours: bool, text: String| if is_ours { text } else { String::new() };
    let number = |value: Option<u32>| value.map_or_else(String::new, |value| value.to_string());
    let is_v4 = src.addr.is_ipv4();
    let blocks = segment.options.sack.as_slice();
    let edges = |edges: Vec<String>| edges.join(",");
    join(FIELDS[2..].iter().map(|field| {
        let value = match *field {
            "ip.src" => of(is_v4, src.addr.to_string()),
            "ip.dst" => of(is_v4, dst.addr.to_string()),
            "ipv6.src" => of(!is_v4, src.addr.to_string()),
            "ipv6.dst" => of(!is_v4, dst.addr.to_string()),
            "tcp.srcport" => src.port.to_string(),
            "tcp.dstport" => dst.port.to_string(),
            "tcp.seq_raw" => segment.seq.to_string(),
            "tcp.ack_raw" => segment.ack.to_string(),
            "tcp.flags" => {
                let reserved = row.expected(field)[..4].to_owned();
                format!("{reserved}{:02x}", segment.flags.0)
            }
            "tcp.window_size_value" => segment.win.to_string(),
            "tcp.hdr_len" => segment.header_len.to_string(),
            "tcp.len" => segment.len.to_string(),
            "tcp.options.mss_val" => number(segment.options.mss.map(u32::from)),
            "tcp.options.wscale.shift" => number(segment.options.wscale.map(u32::from)),
            "tcp.options.timestamp.tsval" => number(segment.options.timestamps.map(|t| t.value)),
            "tcp.options.timestamp.tsecr" => number(segment.options.timestamps.map(|t| t.echo)),
            "tcp.options.sack_le" => edges(blocks.iter().map(|b| b.left.to_string()).collect()),
            "tcp.options.sack_re" => edges(blocks.iter().map(|b| b.right.to_string()).collect()),
            "ip.ttl" => of(is_v4, segment.ttl.to_string()),
            "ipv6.hlim" => of(!is_v4, segment.ttl.to_string()),
            "ip.id" => of(is_v4, format!("0x{:04x}", segment.ip_id)),
            _ => unreachable!("{field}"),
        };
        format!("{field}={value}")
    }))
}

fn join(fields: impl Iterator<Item = String>) -> String {
    fields.collect::<Vec<_>>().join(" ")
}

/// Returns whether the recording looks for IP in frames like this; link headers that Linux has no
/// plain network device for were not opened, nor LLC.
fn is_opened_by_the_recording(frame: &Frame<'_>) -> bool {
    match frame.link.0 {
        1 => !matches!(ethertype(frame.bytes), 0x8900..=0x89ff | 0x88e7 | 0..=1500),
        0 | 12 | 101 | 113 | 228 | 229 | 276 => true,
        _ => false,
    }
}

/// Returns the type of an Ethernet frame behind its VLAN tags.
fn ethertype(bytes: &[u8]) -> u16 {
    be16(bytes, type_at(bytes))
}

/// Returns where that type stands.
fn type_at(bytes: &[u8]) -> usize {
    let is_tag = |at: &usize| matches!(be16(bytes, *at), 0x8100 | 0x88a8 | 0x9100);
    12 + 4 * (12..).step_by(4).take_while(is_tag).count()
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]))
}

/// How far a frame came, and what was wrong with its TCP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reached {
    /// No IP in the frame.
    NotIp,
    /// Dropped before the tracker.
    Unseen,
    /// A fragment that completes nothing.
    Held,
    /// The tracker, which found this fault in a TCP header.
    Tracker(Option<HeaderFault>),
    /// The tracker, which never tracks it.
    Untracked,
}

fn reached(decoded: Option<&Decoded>) -> Reached {
    match decoded {
        None | Some(Decoded::Undecodable(Undecodable::FragmentDropped)) => Reached::Held,
        Some(Decoded::Undecodable(reason)) => match reason {
            Undecodable::BadIpHeader => Reached::Unseen,
            Undecodable::LinkType(_) | Undecodable::NotIp | Undecodable::LinkHeaderCut => {
                Reached::NotIp
            }
            _ => Reached::Tracker(None),
        },
        Some(Decoded::Segment(packet)) => Reached::Tracker(packet.segment.fault),
        Some(Decoded::Other(NonTcp {
            tracking: Tracking::Untracked | Tracking::MulticastRouter,
            ..
        })) => Reached::Untracked,
        Some(_) => Reached::Tracker(None),
    }
}

/// Returns whether the tracker calls this INVALID whatever it knows.
fn is_invalid_in_itself(decoded: &Decoded) -> bool {
    match decoded {
        Decoded::Segment(packet) => packet.segment.fault.is_some(),
        Decoded::Other(datagram) => matches!(datagram.tracking, Tracking::Invalid(_)),
        _ => false,
    }
}

/// Reads how far each frame of a capture came in Linux 6.18.44, and whether it was INVALID.
fn recording(path: &Path) -> Option<BTreeMap<u64, (Reached, bool)>> {
    let stem = name(path);
    let stem = stem.strip_suffix(".gz").unwrap_or(&stem);
    if COUNTED_OTHERWISE.contains(&stem) {
        return None;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/verdicts/6.18.44");
    let file = File::open(folder.join(format!("{stem}.strict.jsonl.gz"))).ok()?;
    let lines = BufReader::new(flate2::read::MultiGzDecoder::new(file)).lines().skip(1);
    Some(lines.map(|line| reached_kernel(&line.unwrap())).collect())
}

fn reached_kernel(line: &str) -> (u64, (Reached, bool)) {
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    let why = value["why"].to_string();
    let is_tcp = why.contains("nf_ct_proto_6:");
    let reached = match value["v"].as_str().unwrap() {
        "not-ip" => Reached::NotIp,
        "unseen" => Reached::Unseen,
        "fragment-held" => Reached::Held,
        "untracked" => Reached::Untracked,
        _ if !is_tcp => Reached::Tracker(None),
        _ if why.contains("truncated/malformed packet") => {
            Reached::Tracker(Some(HeaderFault::Truncated))
        }
        _ if why.contains("bad checksum") => Reached::Tracker(Some(HeaderFault::BadChecksum)),
        _ if why.contains("invalid tcp flag combination") => {
            Reached::Tracker(Some(HeaderFault::BadFlags))
        }
        _ => Reached::Tracker(None),
    };
    (value["n"].as_u64().unwrap(), (reached, value["v"] == "invalid"))
}

fn for_each_frame(path: &Path, mut each: impl FnMut(&Frame<'_>)) {
    let Ok(mut frames) = source::open(path, Timeline::default()) else { return };
    let mut batch = Batch::default();
    while frames.fill(&mut batch).unwrap_or(false) {
        batch.frames(0..batch.len()).for_each(|frame| each(&frame));
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// Returns the captures beside the repository, smallest first.
fn captures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures/dev");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("skipped: no captures in {}", folder.display());
        return Vec::new();
    };
    let mut files: Vec<(u64, PathBuf)> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| name(path).contains(".pcap"))
        .map(|path| (path.metadata().unwrap().len(), path))
        .filter(|(len, _)| *len <= MAX_FILE_BYTES)
        .collect();
    files.sort();
    files.into_iter().map(|(_, path)| path).collect()
}
