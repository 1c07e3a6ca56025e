//! The left side of a packet's line, in packetdrill's notation.

use super::super::{Host, Packet};
use super::{InitialNumbers, int};

const LETTERS: [(char, u8); 8] = [
    ('F', 0x01),
    ('S', 0x02),
    ('R', 0x04),
    ('P', 0x08),
    ('.', 0x10),
    ('U', 0x20),
    ('E', 0x40),
    ('W', 0x80),
];

/// Reads `> S. 0:0(0) ack 1 win 8000 <mss 1460>`: who sent it, and what.
pub(super) fn read(text: &str, isn: InitialNumbers) -> Result<(Host, Packet), String> {
    let (arrow, rest) = text.split_once(' ').ok_or("no direction")?;
    let from = match arrow {
        ">" => Host::A,
        "<" => Host::B,
        _ => return Err(format!("{arrow:?} is no direction")),
    };
    if let Some(bytes) = rest.trim().strip_prefix("raw ") {
        let packet = Packet { raw: Some(hex_bytes(bytes)?), ..Packet::default() };
        return Ok((from, packet));
    }
    let (rest, options) = match rest.split_once('<') {
        Some((before, after)) => {
            let (options, after) = after.split_once('>').ok_or("options without end")?;
            (format!("{before}{after}"), option_bytes(options, isn.of(from.flip()))?)
        }
        None => (rest.to_owned(), Vec::new()),
    };
    let mut words = rest.split_whitespace();
    let mut packet = Packet { options, ..Packet::default() };
    packet.flags = flags(words.next().ok_or("no flags")?)?;
    (packet.seq, packet.len) = span(words.next().ok_or("no numbers")?, isn.of(from))?;
    let mut damage = Damage::default();
    while let Some(word) = words.next() {
        if word == "badcsum" {
            packet.bad_checksum = true;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} without a value"))?;
        match word {
            "ack" => packet.ack = number(value, isn.of(from.flip()))?,
            "win" => packet.win = int(value)?,
            "doff" => damage.doff = Some(int(value)?),
            "cut" => damage.cut = Some(int(value)?),
            _ => return Err(format!("unknown word {word:?}")),
        }
    }
    packet.raw = damage.apply(from, &packet);
    Ok((from, packet))
}

/// What a line does to a header that would be whole.
#[derive(Default)]
struct Damage {
    doff: Option<u8>,
    cut: Option<usize>,
}

impl Damage {
    /// Returns the bytes of the damaged datagram; its checksum field is zero.
    fn apply(&self, from: Host, packet: &Packet) -> Option<Vec<u8>> {
        if self.doff.is_none() && self.cut.is_none() {
            return None;
        }
        let doff = self.doff.unwrap_or(5);
        let mut bytes = Vec::new();
        bytes.extend(from.endpoint().port.to_be_bytes());
        bytes.extend(from.flip().endpoint().port.to_be_bytes());
        bytes.extend(packet.seq.to_be_bytes());
        bytes.extend(packet.ack.to_be_bytes());
        bytes.extend([doff << 4, packet.flags]);
        bytes.extend(packet.win.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(&packet.options);
        bytes.truncate(self.cut.unwrap_or(bytes.len()));
        Some(bytes)
    }
}

fn flags(text: &str) -> Result<u8, String> {
    if text == "-" {
        return Ok(0);
    }
    text.chars().try_fold(0, |flags, letter| {
        let known = LETTERS.iter().find(|(known, _)| *known == letter);
        known.map(|(_, bit)| flags | bit).ok_or_else(|| format!("unknown flag {letter:?}"))
    })
}

/// Reads `seq:end(len)`, or `abs:seq(len)`, into sequence number and length.
fn span(text: &str, isn: Option<u32>) -> Result<(u32, u32), String> {
    let (numbers, len) = text
        .strip_suffix(')')
        .and_then(|text| text.split_once('('))
        .ok_or_else(|| format!("{text:?} is not seq:end(len)"))?;
    let len: u32 = int(len)?;
    if numbers.starts_with("abs:") {
        return Ok((number(numbers, isn)?, len));
    }
    let (seq, end) = numbers.split_once(':').ok_or_else(|| format!("{text:?} has no end"))?;
    if int::<u64>(seq)? + u64::from(len) != int::<u64>(end)? {
        return Err(format!("{text:?}: end is not seq + len"));
    }
    Ok((number(seq, isn)?, len))
}

/// Reads a number relative to `isn`, or `abs:N`.
fn number(text: &str, isn: Option<u32>) -> Result<u32, String> {
    if let Some(absolute) = text.strip_prefix("abs:") {
        return int(absolute);
    }
    let isn = isn.ok_or_else(|| format!("{text} is relative to an isn that is not given"))?;
    Ok(isn.wrapping_add(int(text)?))
}

fn option_bytes(text: &str, peer_isn: Option<u32>) -> Result<Vec<u8>, String> {
    let mut bytes: Vec<u8> = Vec::new();
    for option in text.split(',') {
        let words: Vec<&str> = option.split_whitespace().collect();
        match words[..] {
            ["eol"] => bytes.push(0),
            ["nop"] => bytes.push(1),
            ["mss", value] => {
                bytes.extend([2, 4]);
                bytes.extend(int::<u16>(value)?.to_be_bytes());
            }
            ["wscale", value] => bytes.extend([3, 3, int(value)?]),
            ["sackOK"] => bytes.extend([4, 2]),
            ["sack", ref blocks @ ..] => sack_option(&mut bytes, blocks, peer_isn)?,
            ["TS", "val", value, "ecr", echo] => {
                bytes.extend([8, 10]);
                bytes.extend(int::<u32>(value)?.to_be_bytes());
                bytes.extend(int::<u32>(echo)?.to_be_bytes());
            }
            ["hex", value] => bytes.extend(hex_bytes(value)?),
            _ => return Err(format!("unknown option {option:?}")),
        }
    }
    Ok(bytes)
}

fn sack_option(bytes: &mut Vec<u8>, blocks: &[&str], peer_isn: Option<u32>) -> Result<(), String> {
    bytes.extend([5, u8::try_from(2 + blocks.len() * 8).map_err(|_| "too many blocks")?]);
    for block in blocks {
        let (block, base) = match block.strip_prefix("abs:") {
            Some(absolute) => (absolute, Some(0)),
            None => (*block, peer_isn),
        };
        let (left, right) = block.split_once('-').ok_or("a block is left-right")?;
        bytes.extend(number(left, base)?.to_be_bytes());
        bytes.extend(number(right, base)?.to_be_bytes());
    }
    Ok(())
}

fn hex_bytes(text: &str) -> Result<Vec<u8>, String> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    match digits {
        Some(digits) if digits.len() % 2 == 0 => {
            Ok(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
        }
        _ => Err(format!("{text:?} is not hex bytes")),
    }
}
