//! The text of a conversation file, from packets and what a kernel said about them.
//!
//! Does not: write marks or log texts; a file without them claims nothing about them.

use std::fmt::Write as _;

use super::{Host, Packet, Settings};

/// Numbers this far above the initial one or less are written relative to it, others as `abs:`.
const NEAR: u32 = 1_000_000;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const LETTERS: [(u8, char); 8] = [
    (0x01, 'F'),
    (0x02, 'S'),
    (0x04, 'R'),
    (0x08, 'P'),
    (0x20, 'U'),
    (0x40, 'E'),
    (0x80, 'W'),
    (0x10, '.'),
];

/// What stands above the packets.
#[derive(Debug)]
pub(crate) struct Head {
    pub purpose: String,
    pub origin: String,
    pub id: String,
    /// The kernel that said so.
    pub kernel: String,
    pub settings: Settings,
}

/// A packet with its verdict.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Milliseconds since the first.
    pub time_ms: i64,
    pub from: Host,
    pub packet: Packet,
    /// The right side of the line.
    pub verdict: String,
}

/// Returns the text of a file.
pub(crate) fn text(head: &Head, lines: &[Line]) -> String {
    let Head { purpose, origin, id, kernel, settings } = head;
    let mut text = format!("# {purpose}\n# origin: {origin}\n# id: {id}\n\nkernels {kernel}\n");
    let usual = Settings::default();
    for (key, value, default) in [
        ("loose", settings.loose, usual.loose),
        ("be_liberal", settings.be_liberal, usual.be_liberal),
        ("max_retrans", settings.max_retrans, usual.max_retrans),
        ("ignore_invalid_rst", settings.ignore_invalid_rst, usual.ignore_invalid_rst),
        ("checksum", settings.checksum, usual.checksum),
    ] {
        if value != default {
            writeln!(text, "sysctl {key}={value}").unwrap();
        }
    }
    let initial = [Host::A, Host::B].map(|host| initial_number(lines, host));
    for (arrow, number) in [">", "<"].into_iter().zip(initial) {
        if let Some(number) = number {
            writeln!(text, "isn {arrow} {number}").unwrap();
        }
    }
    text.push('\n');
    let mut lefts = Vec::new();
    let mut before = lines.first().map_or(0, |line| line.time_ms);
    for line in lines {
        let pause = line.time_ms - before;
        before = line.time_ms;
        let packet = packet_text(line, initial);
        lefts.push(format!("+{}.{:03} {packet}", pause / 1000, pause % 1000));
    }
    let width = lefts.iter().map(String::len).max().unwrap_or(0).min(100);
    for (left, line) in lefts.iter().zip(lines) {
        writeln!(text, "{left:width$} => {}", line.verdict).unwrap();
    }
    text
}

/// Writes milliseconds as seconds, without zeros at the end.
pub(crate) fn seconds(millis: i64) -> String {
    let text = format!("{}.{:03}", millis / 1000, millis % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Returns the number before the first byte of a side: of its SYN, or one below what it sent first.
fn initial_number(lines: &[Line], host: Host) -> Option<u32> {
    let is_of_host = |line: &&Line| line.from == host && line.packet.raw.is_none();
    let mut sent = lines.iter().filter(is_of_host).map(|line| &line.packet);
    let first = sent.clone().next()?;
    let syn = sent.find(|packet| packet.flags & SYN != 0);
    Some(syn.map_or(first.seq.wrapping_sub(1), |packet| packet.seq))
}

fn packet_text(line: &Line, [a, b]: [Option<u32>; 2]) -> String {
    let (arrow, own, peer) = if line.from == Host::A { (">", a, b) } else { ("<", b, a) };
    let packet = &line.packet;
    if let Some(raw) = &packet.raw {
        return format!("{arrow} raw {}", hex(raw));
    }
    let letters: String =
        LETTERS.iter().filter(|(bit, _)| packet.flags & bit != 0).map(|(_, c)| c).collect();
    let letters = if letters.is_empty() { "-" } else { &letters };
    let seq = number(packet.seq, own);
    let span = match seq.parse::<u32>() {
        Ok(from) => format!("{seq}:{}({})", from + packet.len, packet.len),
        Err(_) => format!("{seq}({})", packet.len),
    };
    let mut text = format!("{arrow} {letters:<3} {span}");
    if packet.flags & ACK != 0 || packet.ack != 0 {
        write!(text, " ack {}", number(packet.ack, peer)).unwrap();
    }
    write!(text, " win {}", packet.win).unwrap();
    if !packet.options.is_empty() {
        write!(text, " <{}>", options(&packet.options).join(",")).unwrap();
    }
    if packet.bad_checksum {
        text.push_str(" badcsum");
    }
    text
}

fn number(value: u32, base: Option<u32>) -> String {
    let relative = base.map(|base| value.wrapping_sub(base)).filter(|offset| *offset < NEAR);
    relative.map_or_else(|| format!("abs:{value}"), |offset| offset.to_string())
}

/// Names the options; what has no notation stands as hex.
fn options(bytes: &[u8]) -> Vec<String> {
    let word = |at: &[u8]| u32::from_be_bytes(at.try_into().unwrap());
    let mut items = Vec::new();
    let mut rest = bytes;
    while let [kind, ..] = *rest {
        let len = match (kind, rest.get(1)) {
            (0 | 1, _) => 1,
            (_, Some(len)) if (2..=rest.len()).contains(&usize::from(*len)) => usize::from(*len),
            _ => rest.len(),
        };
        let (option, after) = rest.split_at(len);
        rest = after;
        items.push(match *option {
            [0] => "eol".to_owned(),
            [1] => "nop".to_owned(),
            [2, 4, high, low] => format!("mss {}", u16::from_be_bytes([high, low])),
            [3, 3, shift] => format!("wscale {shift}"),
            [4, 2] => "sackOK".to_owned(),
            [8, 10, ref body @ ..] if body.len() == 8 => {
                format!("TS val {} ecr {}", word(&body[..4]), word(&body[4..]))
            }
            [5, len, ref body @ ..] if usize::from(len) == option.len() && is_blocks(body) => {
                let block =
                    |edges: &[u8]| format!(" abs:{}-{}", word(&edges[..4]), word(&edges[4..]));
                format!("sack{}", body.chunks(8).map(block).collect::<String>())
            }
            _ => format!("hex {}", hex(option)),
        });
    }
    items
}

fn is_blocks(body: &[u8]) -> bool {
    !body.is_empty() && body.len().is_multiple_of(8)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
fn what_is_written_is_read_back() {
    let packet = |flags, seq, ack, options: &[u8]| Packet {
        flags,
        seq,
        ack,
        win: 229,
        options: options.to_vec(),
        len: 3,
        ..Packet::default()
    };
    let all_options = [
        2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, 7, 1, 5, 10, 0, 0, 0, 1, 0, 0,
        0, 9, 0,
    ];
    let odd_options = [5, 2, 1, 9, 3, 7, 77, 200];
    let packets = [
        packet(0x02, u32::MAX, 0, &all_options),
        packet(0x12, 7, 0, &odd_options),
        packet(0xff, 5, 3_000_000_000, &[]),
        packet(0, 900, 1, &[]),
        Packet { bad_checksum: true, ..packet(0x10, 6, 8, &[]) },
        Packet { raw: Some(vec![1, 2, 3, 4, 0xff]), ..Packet::default() },
    ];
    let mut lines = Vec::new();
    for (time_ms, packet) in [0, 1, 999, 1000, 61_001, 61_001].into_iter().zip(packets) {
        let from = if lines.len() % 2 == 0 { Host::A } else { Host::B };
        let verdict = format!("INVALID CLOSE {}s seq_over", seconds(time_ms));
        lines.push(Line { time_ms, from, packet, verdict });
    }
    let settings = Settings { loose: 0, max_retrans: 0, ..Settings::default() };
    let of = str::to_owned;
    let (purpose, origin, id, kernel) = (of("One."), of("two"), of("three"), of("6.18.44"));
    let text = text(&Head { purpose, origin, id, kernel, settings }, &lines);
    let scenario = super::parse::scenario("x.txt", &text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!((scenario.purpose.as_str(), scenario.settings), ("One.", settings));
    assert_eq!(scenario.steps.len(), lines.len());
    for (step, line) in scenario.steps.iter().zip(&lines) {
        assert_eq!((step.from, &step.packet), (line.from, &line.packet), "{text}");
        assert_eq!(step.time.nanos_since(super::START), line.time_ms * 1_000_000);
        assert_eq!(step.expected[0].ttl_ms, Some(line.time_ms));
    }
    let kernels: Vec<_> = super::PROFILES
        .iter()
        .enumerate()
        .filter_map(|(index, name)| scenario.speaks_for(index).then_some(*name))
        .collect();
    assert_eq!(kernels, ["6.18.44"]);
}
