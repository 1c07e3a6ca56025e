//! A difference that hostile traffic showed, as a file that shows it again: the conversation of the
//! packet, cut after it and without the packets that do not matter, with the kernel's verdicts.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tcp_window_audit::conntrack::{Policy, Setting, Sysctls};
use tcp_window_audit::frame::{Frame, LinkType};
use tcp_window_audit::kernel::compare::{Compared, Opinion};
use tcp_window_audit::segment::{HeaderFault, Segment};
use tcp_window_audit::time::{CaptureClock, Timestamp};
use tcp_window_audit::wire::fragments::Reassembler;
use tcp_window_audit::wire::{Checksums, Decoded, decode_with};

use crate::capture_writer::{NANOSECONDS, Order, PcapWriter};
use crate::hostile::Hostile;
use crate::pipeline::ip_packet;
use crate::scenario::write::{Head, Line, seconds, text};
use crate::scenario::{Host, Packet, Settings, parse};

/// Lets model and kernel judge a frame; none when it holds nothing about TCP.
pub type Judge = Box<dyn FnMut(&Frame<'_>) -> Option<Compared>>;

/// A packet about which the two do not agree.
#[derive(Debug)]
pub struct Difference {
    pub seed: u64,
    /// Its position in the traffic, from 1.
    pub number: u64,
    pub compared: Compared,
    pub bytes: Vec<u8>,
}

/// Who disagrees.
#[derive(Clone, Copy, Debug)]
pub struct Parties<'a> {
    pub policy: Policy,
    pub sysctls: &'a Sysctls,
    /// What the kernel calls itself.
    pub release: &'a str,
    /// Where below `target/tmp` the file goes.
    pub folder: &'a str,
}

/// Compares so many packets of a seed, up to the first difference; returns how many were about TCP.
pub fn seek(seed: u64, packets: usize, judge: &mut Judge) -> Result<usize, Box<Difference>> {
    let (mut clock, mut judged) = (CaptureClock::default(), 0);
    for (number, (time_ns, bytes)) in (1..).zip(Hostile::new(seed).take(packets)) {
        let Some(compared) = judge(&frame(number, time_ns, &bytes, &mut clock)) else { continue };
        if !compared.agree() {
            return Err(Box::new(Difference { seed, number, compared, bytes }));
        }
        judged += 1;
    }
    Ok(judged)
}

/// Writes the file, and returns where it is: a conversation for `testdata/scenarios`, or a capture
/// where the difference cannot be told in such a file.
///
/// `judges` gives two parties that have seen nothing.
pub fn write(difference: &Difference, parties: Parties<'_>, judges: &dyn Fn() -> Judge) -> PathBuf {
    let Difference { seed, number, .. } = difference;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(parties.folder);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("seed_{seed}_packet_{number}.txt"));
    if let Some(text) = conversation(difference, parties, judges) {
        std::fs::write(&path, text).unwrap();
        return path;
    }
    let path = path.with_extension("pcap");
    std::fs::write(&path, capture(difference)).unwrap();
    path
}

/// Returns the conversation with the packet, as small as it gets; none where that shows no
/// difference, or where what was said cannot be written.
fn conversation(
    difference: &Difference,
    parties: Parties<'_>,
    judges: &dyn Fn() -> Judge,
) -> Option<String> {
    let lines = shrink(flow(difference)?, judges)?;
    let Difference { seed, number, compared, .. } = difference;
    let Compared { model, kernel, .. } = compared;
    let release = parties.release.trim();
    let head = Head {
        purpose: format!("What packet {number} of hostile traffic, seed {seed}, differed in."),
        origin: format!("Linux {release}; kernel: {kernel}; model: {model}"),
        id: format!("hostile-{seed}-{number}"),
        kernel: parties.policy.profile.name().to_owned(),
        settings: settings(parties.sysctls),
    };
    let text = text(&head, &lines);
    let is_same = parse::scenario("", &text).is_ok_and(|read| {
        let read = read.steps.iter().map(|step| (step.from, &step.packet));
        read.eq(lines.iter().map(|line| (line.from, &line.packet)))
    });
    is_same.then_some(text)
}

/// Cuts after the first difference and leaves out what it does not need; none when there is none.
fn shrink(lines: Vec<Line>, judges: &dyn Fn() -> Judge) -> Option<Vec<Line>> {
    let mut smallest = up_to_difference(lines, judges)?;
    let mut at = 0;
    while at + 1 < smallest.len() {
        let mut without = smallest.clone();
        without.remove(at);
        match up_to_difference(without, judges) {
            // What was kept for a packet that is gone may now go too.
            Some(smaller) => (smallest, at) = (smaller, 0),
            None => at += 1,
        }
    }
    Some(smallest)
}

/// Replays the packets, with the kernel's verdicts as what is expected; none without a difference.
fn up_to_difference(mut lines: Vec<Line>, judges: &dyn Fn() -> Judge) -> Option<Vec<Line>> {
    let mut judge = judges();
    let (mut clock, mut expires_ms) = (CaptureClock::default(), 0);
    for (at, line) in lines.iter_mut().enumerate() {
        let bytes = ip_packet(line.from, &line.packet);
        let time_ns = START_NS + line.time_ms * 1_000_000;
        let compared = judge(&frame(at as u64 + 1, time_ns, &bytes, &mut clock))?;
        line.verdict = verdict(&compared.kernel, line.time_ms, &mut expires_ms);
        if !compared.agree() {
            lines.truncate(at + 1);
            return Some(lines);
        }
    }
    None
}

const START_NS: i64 = 1_500_000_000_000_000_000;

/// Writes what the kernel said; it tells the remaining time only where a packet set it.
fn verdict(said: &Opinion, now_ms: i64, expires_ms: &mut i64) -> String {
    let mut text = said.ctstate.to_uppercase();
    if let Some(timeout_s) = said.timeout_s {
        *expires_ms = now_ms + timeout_s * 1000;
    }
    match said.entry {
        Some((state, ..)) => {
            write!(text, " {state} {}s", seconds(*expires_ms - now_ms)).unwrap();
        }
        None => text.push_str(" -"),
    }
    for reason in &said.reasons {
        write!(text, " {reason}").unwrap();
    }
    text
}

/// Returns the packets between the two endpoints, up to the one that differs; none when that is no
/// segment.
fn flow(difference: &Difference) -> Option<Vec<Line>> {
    let mut reassembler = Reassembler::new(Checksums::Ignored);
    let (mut clock, mut segments) = (CaptureClock::default(), Vec::new());
    for (number, (time_ns, bytes)) in traffic(difference) {
        let frame = frame(number, time_ns, &bytes, &mut clock);
        let mut decoded = decode_with(&frame, Checksums::Ignored);
        let mut is_whole = true;
        if let Decoded::Fragment(fragment) = decoded {
            is_whole = false;
            let Some(completed) = reassembler.add(&fragment.read(&frame), Timestamp::default())
            else {
                continue;
            };
            decoded = completed;
        }
        let Decoded::Segment(found) = decoded else { continue };
        // Without ports a packet belongs to no conversation.
        if found.segment.fault != Some(HeaderFault::NotTrackable) {
            let packet = if is_whole {
                of_frame(&frame, &found.segment)
            } else {
                of_segment(&found.segment)
            };
            segments.push((number, time_ns, found.key, found.orientation, packet));
        }
    }
    let &(number, _, key, ..) = segments.last()?;
    segments.retain(|segment| segment.2 == key);
    let &(_, start_ns, _, opener, _) = segments.first().filter(|_| number == difference.number)?;
    let line = |(_, time_ns, _, orientation, packet)| Line {
        time_ms: (time_ns - start_ns) / 1_000_000,
        from: if orientation == opener { Host::A } else { Host::B },
        packet,
        verdict: String::new(),
    };
    Some(segments.into_iter().map(line).collect())
}

/// Reads a packet off the bytes of its frame.
fn of_frame(frame: &Frame<'_>, segment: &Segment) -> Packet {
    const DESTINATION_OPTIONS: u8 = 60;
    let bytes = frame.bytes;
    let transport_at = match bytes[0] >> 4 {
        4 => usize::from(bytes[0] & 0xf) * 4,
        _ if bytes[6] == DESTINATION_OPTIONS => 48,
        _ => 40,
    };
    let transport = &bytes[transport_at..];
    let header_len = usize::from(segment.header_len);
    match segment.fault {
        Some(HeaderFault::Truncated) if header_len < 20 => {
            Packet { raw: Some(transport[..20].to_vec()), ..Packet::default() }
        }
        Some(HeaderFault::Short | HeaderFault::Truncated) => {
            Packet { raw: Some(transport.to_vec()), ..Packet::default() }
        }
        _ => {
            let judged = decode_with(frame, Checksums::Enforced);
            let bad_checksum = matches!(judged, Decoded::Segment(packet)
                if packet.segment.fault == Some(HeaderFault::BadChecksum));
            let options = transport[20..header_len].to_vec();
            Packet { options, bad_checksum, ..of_segment(segment) }
        }
    }
}

/// Takes what was read of a packet; of the options, the only ones that reassembled packets have.
fn of_segment(segment: &Segment) -> Packet {
    let mut options = Vec::new();
    if let Some(timestamps) = segment.options.timestamps {
        options.extend([1, 1, 8, 10]);
        options.extend(timestamps.value.to_be_bytes());
        options.extend(timestamps.echo.to_be_bytes());
    }
    Packet {
        seq: segment.seq.0,
        ack: segment.ack.0,
        flags: segment.flags.0,
        win: segment.win,
        options,
        len: segment.len,
        ..Packet::default()
    }
}

/// Returns a capture of all packets between the two hosts, up to the one that differs.
fn capture(difference: &Difference) -> Vec<u8> {
    let hosts = hosts(&difference.bytes);
    let mut writer = PcapWriter::new(Order::Little, NANOSECONDS, 101);
    for (_, (time_ns, bytes)) in traffic(difference) {
        if self::hosts(&bytes) == hosts {
            writer.frame(time_ns.cast_unsigned(), bytes.len() as u32, &bytes);
        }
    }
    writer.bytes
}

/// The two addresses of a packet, the smaller first.
fn hosts(packet: &[u8]) -> [&[u8]; 2] {
    let (addresses, len) =
        if packet[0] >> 4 == 4 { (&packet[12..20], 4) } else { (&packet[8..40], 16) };
    let (src, dst) = addresses.split_at(len);
    if src < dst { [src, dst] } else { [dst, src] }
}

/// The traffic up to the packet that differs.
fn traffic(difference: &Difference) -> impl Iterator<Item = (u64, (i64, Vec<u8>))> {
    (1..=difference.number).zip(Hostile::new(difference.seed))
}

fn frame<'a>(number: u64, time_ns: i64, bytes: &'a [u8], clock: &mut CaptureClock) -> Frame<'a> {
    let ts = Timestamp(time_ns);
    let (clock, original_len) = (clock.advance(ts), bytes.len() as u32);
    Frame { number, ts, clock, link: LinkType::RAW, original_len, is_outbound: false, bytes }
}

fn settings(sysctls: &Sysctls) -> Settings {
    let value = |setting| u32::from(setting == Setting::On);
    Settings {
        loose: value(sysctls.loose),
        be_liberal: value(sysctls.be_liberal),
        max_retrans: u32::from(sysctls.limits.max_retrans),
        ignore_invalid_rst: value(sysctls.ignore_invalid_rst),
        checksum: value(sysctls.checksum),
    }
}
