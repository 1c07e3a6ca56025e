//! A reader of capture files, just large enough to replay them.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use flate2::read::MultiGzDecoder;

/// A frame of a capture file.
pub struct Captured {
    pub time_ns: i64,
    pub link: u16,
    pub bytes: Vec<u8>,
    pub wire_len: usize,
}

/// Reads a pcap or pcapng file, also compressed; `None` when it is neither.
pub fn read(path: &Path) -> Option<Vec<Captured>> {
    let mut bytes = fs::read(path).ok()?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        MultiGzDecoder::new(&bytes[..]).read_to_end(&mut plain).ok()?;
        bytes = plain;
    }
    match bytes.first_chunk::<4>()? {
        [0xd4, 0xc3, 0xb2, 0xa1] => Some(pcap(&bytes, u32::from_le_bytes, 1000)),
        [0x4d, 0x3c, 0xb2, 0xa1] => Some(pcap(&bytes, u32::from_le_bytes, 1)),
        [0xa1, 0xb2, 0xc3, 0xd4] => Some(pcap(&bytes, u32::from_be_bytes, 1000)),
        [0xa1, 0xb2, 0x3c, 0x4d] => Some(pcap(&bytes, u32::from_be_bytes, 1)),
        [0x0a, 0x0d, 0x0d, 0x0a] => Some(pcapng(&bytes)),
        _ => None,
    }
}

fn word(bytes: &[u8], at: usize, read: fn([u8; 4]) -> u32) -> Option<u32> {
    Some(read(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn pcap(bytes: &[u8], order: fn([u8; 4]) -> u32, unit_ns: i64) -> Vec<Captured> {
    let link = word(bytes, 20, order).unwrap_or(0) as u16;
    let mut frames = Vec::new();
    let mut at = 24;
    while let Some(wire_len) = word(bytes, at + 12, order) {
        let field = |offset| word(bytes, at + offset, order).unwrap_or(0);
        let (seconds, fraction, len) = (field(0), field(4), field(8) as usize);
        let Some(data) = bytes.get(at + 16..at + 16 + len) else { break };
        let time_ns = i64::from(seconds) * 1_000_000_000 + i64::from(fraction) * unit_ns;
        frames.push(Captured { time_ns, link, bytes: data.to_vec(), wire_len: wire_len as usize });
        at += 16 + len;
    }
    frames
}

/// An interface of a pcapng section: its link type, and how long its ticks are.
struct Interface {
    link: u16,
    ticks_per_second: u128,
    snap_len: usize,
}

fn pcapng(bytes: &[u8]) -> Vec<Captured> {
    let (mut at, mut order) = (0, u32::from_le_bytes as fn([u8; 4]) -> u32);
    let (mut interfaces, mut frames) = (Vec::new(), Vec::new());
    while let Some(kind) = word(bytes, at, order) {
        if kind == 0x0a0d_0d0a {
            let is_little = bytes.get(at + 8) == Some(&0x4d);
            order = if is_little { u32::from_le_bytes } else { u32::from_be_bytes };
            interfaces.clear();
        }
        let Some(len) = word(bytes, at + 4, order).filter(|len| *len >= 12) else { break };
        let Some(block) = bytes.get(at + 8..at + len as usize - 4) else { break };
        match kind {
            1 => interfaces.push(interface(block, order)),
            6 => frames.extend(enhanced(block, order, &interfaces)),
            3 => frames.extend(simple(block, order, &interfaces)),
            _ => {}
        }
        at += len as usize;
    }
    frames
}

fn half(bytes: &[u8], at: usize, order: fn([u8; 4]) -> u32) -> u16 {
    let is_little = order([1, 0, 0, 0]) == 1;
    let read = if is_little { u16::from_le_bytes } else { u16::from_be_bytes };
    bytes.get(at..at + 2).map_or(0, |b| read(b.try_into().unwrap()))
}

fn interface(block: &[u8], order: fn([u8; 4]) -> u32) -> Interface {
    let mut ticks_per_second = 1_000_000;
    let mut at = 8;
    while at + 4 <= block.len() {
        let (code, len) = (half(block, at, order), usize::from(half(block, at + 2, order)));
        if code == 9 && len == 1 {
            let exponent = u32::from(block[at + 4] & 0x7f);
            let base: u128 = if block[at + 4] & 0x80 == 0 { 10 } else { 2 };
            ticks_per_second = base.pow(exponent);
        }
        at += 4 + len.next_multiple_of(4);
    }
    let snap_len = word(block, 4, order).unwrap_or(0) as usize;
    Interface { link: half(block, 0, order), ticks_per_second, snap_len }
}

fn enhanced(block: &[u8], order: fn([u8; 4]) -> u32, interfaces: &[Interface]) -> Option<Captured> {
    let field = |at| word(block, at, order);
    let interface = interfaces.get(field(0)? as usize)?;
    let ticks = u128::from(field(4)?) << 32 | u128::from(field(8)?);
    let time_ns = (ticks * 1_000_000_000 / interface.ticks_per_second) as i64;
    let (len, wire_len) = (field(12)? as usize, field(16)? as usize);
    let bytes = block.get(20..20 + len)?.to_vec();
    Some(Captured { time_ns, link: interface.link, bytes, wire_len })
}

fn simple(block: &[u8], order: fn([u8; 4]) -> u32, interfaces: &[Interface]) -> Option<Captured> {
    let interface = interfaces.first()?;
    let wire_len = word(block, 0, order)? as usize;
    let room = if interface.snap_len == 0 { wire_len } else { interface.snap_len };
    let bytes = block.get(4..4 + wire_len.min(room))?.to_vec();
    Some(Captured { time_ns: 0, link: interface.link, bytes, wire_len })
}

impl Captured {
    /// Returns where the IP header begins; `None` when the link header announces none.
    pub fn ip_at(&self) -> Option<usize> {
        match self.link {
            1 => self.after_ethertype(12),
            12 | 14 | 101 | 228 | 229 => Some(0),
            0 | 108 => Some(4),
            113 => self.after_ethertype(14),
            276 => matches!(self.ethertype(0)?, 0x0800 | 0x86dd).then_some(20),
            _ => None,
        }
    }

    fn ethertype(&self, at: usize) -> Option<u16> {
        Some(u16::from_be_bytes(self.bytes.get(at..at + 2)?.try_into().ok()?))
    }

    fn after_ethertype(&self, mut at: usize) -> Option<usize> {
        loop {
            match self.ethertype(at)? {
                0x8100 | 0x88a8 | 0x9100 => at += 4,
                0x0800 | 0x86dd => return Some(at + 2),
                0x8864 => {
                    return matches!(self.ethertype(at + 8)?, 0x0021 | 0x0057).then_some(at + 10);
                }
                0x8847 => return self.after_labels(at + 2),
                _ => return None,
            }
        }
    }
    fn after_labels(&self, mut at: usize) -> Option<usize> {
        while self.bytes.get(at + 2)? & 1 == 0 {
            at += 4;
        }
        matches!(self.bytes.get(at + 4)? >> 4, 4 | 6).then_some(at + 4)
    }
}
