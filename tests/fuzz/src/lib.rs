//! What is done with bytes from a fuzzer, or from the corpus, and what must hold afterwards: no
//! panic, every frame in one count, memory within bounds, reports that are what they claim to be.

use std::io::{self, Cursor};

use tcp_window_audit::audit::{Audit, Inputs, Method, PacketVerdict};
use tcp_window_audit::conntrack::{Profile, Sysctls};
use tcp_window_audit::diagnose::{diagnose, wish};
use tcp_window_audit::frame::{Batch, Frame, LinkType};
use tcp_window_audit::pipeline::{Observer, Plan, Run, Wanted, gather};
use tcp_window_audit::report::{self, Format, Look};
use tcp_window_audit::source::file::FileSource;
use tcp_window_audit::source::{FrameSource, Timeline};
use tcp_window_audit::time::Timestamp;
use tcp_window_audit::wire::fragments::Reassembler;
use tcp_window_audit::wire::{Checksums, Decoded, Tunnels, decode_innermost, decode_with, packets};

/// What one batch may take: a block, or the largest record there may be.
const MAX_BATCH_BYTES: usize = 33 << 20;
/// Decompressed bytes after which an input of a fuzzer has shown what it can.
const ENOUGH_FRAMES: u64 = 1 << 20;

/// Reads a capture file of any format and compression.
pub fn file(data: &[u8]) {
    let Some(mut source) = open(data) else { return };
    let (mut batch, mut frames, mut last) = (Batch::default(), 0, 0);
    while frames < ENOUGH_FRAMES && source.fill(&mut batch).unwrap_or(false) {
        assert!(batch.buffer.len() <= MAX_BATCH_BYTES, "{} bytes", batch.buffer.len());
        for frame in batch.frames(0..batch.len()) {
            assert!(frame.number > last, "numbers go up");
            last = frame.number;
        }
        frames += batch.len() as u64;
    }
    let summary = source.summary();
    assert!(summary.interfaces.len() <= 1 << 16);
}

/// Decodes a frame: its link type in two bytes, how much longer it was in one, then its bytes.
pub fn frame(data: &[u8]) {
    let [a, b, beyond, bytes @ ..] = data else { return };
    let original_len = bytes.len() + usize::from(*beyond) * 8;
    let mut ts = Timestamp(0);
    for checksums in [Checksums::Ignored, Checksums::Verified, Checksums::Enforced] {
        let mut reassembler = Reassembler::new(checksums);
        let mut incomplete = 0;
        for decode in [decode_with, decode_innermost] {
            ts = ts.plus_nanos(1);
            let frame = Frame {
                number: 1,
                ts,
                clock: ts,
                link: LinkType(u16::from_be_bytes([*a, *b])),
                interface: 0,
                original_len: u32::try_from(original_len).unwrap_or(u32::MAX),
                is_outbound: false,
                bytes,
            };
            for packet in packets(&frame) {
                if let Decoded::Fragment(fragment) = decode(&packet, checksums) {
                    let completed = reassembler.add(&fragment.read(&packet), ts);
                    incomplete += u64::from(completed.is_none());
                }
            }
        }
        assert!(reassembler.finish() <= incomplete);
    }
}

/// Audits a conversation, eight bytes a packet.
pub fn conversation(data: &[u8]) {
    let capture = converse(data);
    let (audit, verdicts) =
        audit_both_ways(&capture, Tunnels::Closed).expect("a capture of our own");
    let packets = data.len() as u64 / 8;
    assert_eq!(audit.tally.frames(), packets);
    assert_eq!(verdicts, audit.tally.segments + audit.tally.tcp_errors);
    assert!(audit.liberal().packets <= packets && audit.strict().packets <= packets);
}

/// Audits a capture and writes every report of it.
pub fn report(data: &[u8]) {
    for tunnels in [Tunnels::Closed, Tunnels::Opened] {
        let Some((mut audit, verdicts)) = audit_both_ways(data, tunnels) else { return };
        assert_eq!(verdicts, audit.tally.segments + audit.tally.tcp_errors);
        let wish = wish(&audit, &diagnose(&audit));
        if let Some(mut source) = open(data) {
            audit.exhibits = gather(&plan(Wanted::Verdicts, tunnels, 1), &wish, &mut source);
        }
        let totals = &audit.totals;
        let judged = totals.new + totals.established + totals.invalid + totals.dropped;
        assert_eq!(judged, audit.tally.segments);
        check_reports(&audit);
    }
}

fn check_reports(audit: &Audit) {
    let value: serde_json::Value = serde_json::from_str(&json(audit)).expect("valid JSON");
    assert_eq!(value["capture"]["frames"].as_u64(), Some(audit.tally.frames()));
    let is_harmful = |c: char| c.is_control() && c != '\n';
    for format in Format::ALL {
        let mut text = Vec::new();
        report::write(audit, format, Look::FILE, &mut text).expect("memory takes all");
        if format == Format::Pcapng {
            assert_eq!(frames(&text), audit.exhibits.packets.len());
            continue;
        }
        let text = String::from_utf8(text).expect("UTF-8");
        assert!(!text.contains(is_harmful), "a capture steers the terminal by {}", format.name());
        match format {
            Format::Markdown => assert!(text.chars().count() <= 30_000, "{}", text.len()),
            Format::Ndjson => text.lines().for_each(|line| {
                let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
                assert_eq!(line["event_type"], "tcp_window_audit");
            }),
            _ => {}
        }
    }
}

/// Reads a capture that is sound, and counts its frames.
fn frames(capture: &[u8]) -> usize {
    let mut source = open(capture).expect("a capture");
    let (mut batch, mut frames) = (Batch::default(), 0);
    while source.fill(&mut batch).expect("a sound capture") {
        frames += batch.len();
    }
    frames
}

fn open(data: &[u8]) -> Option<FileSource> {
    let reader = Box::new(Cursor::new(data.to_vec()));
    FileSource::from_reader("fuzz\u{1b}[2J".to_owned(), reader, Timeline::default()).ok()
}

/// How inputs are audited.
fn plan(wanted: Wanted, tunnels: Tunnels, threads: usize) -> Plan {
    let method = Method::new(Profile::DEFAULT, Sysctls::default());
    Plan { tunnels, threads, wanted, ..Plan::new(method) }
}

/// Audits a source, and counts the verdicts told.
pub fn audit(source: &mut FileSource, tunnels: Tunnels, threads: usize) -> (Audit, u64) {
    let mut run = Run::new(&plan(Wanted::Verdicts, tunnels, threads));
    let mut counter = Counter(0);
    run.read(source, &mut counter);
    (run.finish(), counter.0)
}

/// Audits a capture packet by packet, and by the short ways that are taken where nobody wants every
/// verdict; finds that both report the same.
fn audit_both_ways(data: &[u8], tunnels: Tunnels) -> Option<(Audit, u64)> {
    let audited = audit(&mut open(data)?, tunnels, 1);
    let mut by_short_ways = Run::new(&plan(Wanted::Findings, tunnels, 1));
    by_short_ways.read(&mut open(data)?, &mut Counter(0));
    assert_eq!(json(&by_short_ways.finish()), json(&audited.0));
    Some(audited)
}

fn json(audit: &Audit) -> String {
    let mut json = Vec::new();
    report::write(audit, Format::Json, Look::FILE, &mut json).expect("memory takes all");
    String::from_utf8(json).expect("UTF-8")
}

struct Counter(u64);

impl Observer for Counter {
    fn verdicts(&mut self, verdicts: &[PacketVerdict], inputs: &Inputs) -> io::Result<()> {
        self.0 += verdicts.len() as u64;
        report::write_verdicts(verdicts, inputs, &mut io::sink())
    }

    fn progress(&mut self, _: u64, _: &dyn FrameSource) {}
}

/// Makes a capture of TCP in IPv4 out of eight bytes a packet: flow, direction and options; flags;
/// two numbers, near to where a number may be; window and payload; time.
fn converse(data: &[u8]) -> Vec<u8> {
    let mut capture = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    capture.extend([0xff, 0xff, 0, 0, 101, 0, 0, 0]);
    let mut micros = 1_000_000_000_000_000_u64;
    let (packets, _) = data.as_chunks::<8>();
    for packet in packets {
        let [place, flags, s0, s1, a0, a1, size, step] = *packet;
        let pause = 1_u64 << (step % 40);
        micros = if step < 200 { micros.wrapping_add(pause) } else { micros.wrapping_sub(pause) };
        let number = |high, low| (i32::from(i16::from_be_bytes([high, low])) * 37).cast_unsigned();
        let is_reply = place & 1 != 0;
        let port = 1000 + u16::from((place >> 1) & 3);
        let (ports, bases) = if is_reply {
            ([80, port], [7_000_000, 4_294_960_000])
        } else {
            ([port, 80], [4_294_960_000, 7_000_000])
        };
        let mut tcp = [ports[0].to_be_bytes(), ports[1].to_be_bytes()].concat();
        tcp.extend(u32::wrapping_add(bases[0], number(s0, s1)).to_be_bytes());
        tcp.extend(u32::wrapping_add(bases[1], number(a0, a1)).to_be_bytes());
        let options: &[u8] = match place >> 6 {
            0 => &[],
            1 => &[3, 3, size, 1, 4, 2, 1, 1],
            2 => &[1, 1, 5, 10, 0, 106, 0, s0, 0, 106, 255, a0],
            _ => &[size, step, s0, s1],
        };
        let header_words = u8::try_from(5 + options.len() / 4).unwrap_or(5);
        tcp.extend([header_words << 4, flags, size, s1, 0, 0, 0, 0]);
        tcp.extend(options);
        let payload_len = u16::from(size) * 5;
        let ip_len = 20 + u16::try_from(tcp.len()).unwrap_or(0) + payload_len;
        let mut ip = vec![0x45, 0];
        ip.extend(ip_len.to_be_bytes());
        ip.extend([0, 0, 0, 0, 64, 6, 0, 0]);
        ip.extend(if is_reply { [10, 0, 0, 2, 10, 0, 0, 1] } else { [10, 0, 0, 1, 10, 0, 0, 2] });
        ip.extend(tcp);
        let seconds = u32::try_from(micros / 1_000_000 % (1 << 32)).unwrap_or(0);
        let fraction = u32::try_from(micros % 1_000_000).unwrap_or(0);
        let captured_len = u32::try_from(ip.len()).unwrap_or(0);
        for word in [seconds, fraction, captured_len, u32::from(ip_len)] {
            capture.extend(word.to_le_bytes());
        }
        capture.extend(ip);
    }
    capture
}
